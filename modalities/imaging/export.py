"""DICOM files of synthetic images, one a picture or slice, compressed or not, below dicom/ of a cohort; and back."""

from collections.abc import Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from ...core.body_parts import REGIONS
from ...core.config import Settings, parse
from ...core.dicom_encoding import save
from ...core.dicom_patient import SEGMENTATIONS, broken, check_id
from ...core.errors import InputError, first_line
from ...core.extras import need
from ...core.identity import mask_uids
from ...core.modality import Record
from ...core.profile import PatientProfile
from ...core.types import AnyArray
from .formats.dicom import frames_of, height_of, read_dataset
from .formats.kinds import KINDS, Iod

if TYPE_CHECKING:
    from pydicom import Dataset


Compression = Literal["none", "rle", "jpeg-ls", "j2k"]


class Codec(NamedTuple):
    """A transfer syntax, and pydicom's name of the one encoder used: another might give other bytes."""

    syntax: str
    encoder: str
    least: int = 1  # pixels of the shorter side below which the encoder fails


CODECS: Mapping[str, Codec] = {
    "rle": Codec("1.2.840.10008.1.2.5", "pydicom"),
    "jpeg-ls": Codec("1.2.840.10008.1.2.4.80", "pyjpegls", 8),
    "j2k": Codec("1.2.840.10008.1.2.4.90", "pylibjpeg", 32),
}


class ExportOptions(Settings):
    """How images are written: lossless compression, and the kind of object (None: what each record says)."""

    compression: Compression = "none"
    iod: Iod | None = None


PLAIN = ExportOptions()
MASKS = "imaging.masks (false leaves them out): a DICOM segmentation"


class Dicom:
    """DICOM files; see core.contracts.PatientFormat."""

    name, modality = "dicom", "imaging"

    def __init__(self, options: Mapping[str, Any] | None = None) -> None:
        self.options = parse(ExportOptions, dict(options or {}), "DICOM options")

    def write(
        self, records: Sequence[Record], profiles: Sequence[PatientProfile], folder: Path
    ) -> list[Path]:
        """See export()."""
        return export(records, profiles, folder, self.options)

    def read(self, folder: Path, patient_ids: Sequence[str]) -> dict[str, Record]:
        """See read()."""
        return read(folder, patient_ids)


def export(
    records: Sequence[Record],
    profiles: Sequence[PatientProfile],
    folder: Path,
    options: ExportOptions = PLAIN,
) -> list[Path]:
    """Write dicom/<patient>/<study_uid>/<series_uid>/<instance_uid>.dcm below folder; the paths written.

    The mask of a record is a segmentation in a series of its own. Each record holds "image": (row, column) uint16 of 12
    bits or uint8, (slice, row, column) of the former, or (row, column, 3) uint8 RGB; formats.kinds says which object
    holds what. It may hold "mask", (row, column) or (slice, row, column) uint8 of labels. The bytes depend on the
    record, the profile and the options alone. What the profile does not know is empty where DICOM permits, else absent.
    Raises InputError before the first file is written: an object that cannot hold the image, an encoder that is
    not installed, an id DICOM has no room for, no date where the object needs one.
    """
    from .formats.iods import check_date, dataset_of, kind_of, plane_shape, slices

    if any("mask" in record.arrays for record in records):
        need(MASKS, "highdicom")
    check(options.compression, [side for record in records for side in plane_shape(record)])
    kinds = [kind_of(record, options.iod) for record in records]
    for profile, kind in zip(profiles, kinds, strict=True):
        check_id(profile.patient_id)
        check_date(kind, profile)
    paths = []
    for record, profile, kind in zip(records, profiles, kinds, strict=True):
        images = []
        place = folder / "dicom" / profile.patient_id / record.facts["study_uid"] / record.facts["series_uid"]
        place.mkdir(parents=True, exist_ok=True)
        for part in slices(record, kind):
            dataset = dataset_of(part, record, profile, kind)
            if "mask" in record.arrays:
                images.append(copy(dataset))
            compress(dataset, options.compression)
            path = place / f"{part.uid}.dcm"
            save(dataset, path)
            paths.append(path)
        if images:
            paths.append(_segmented(record, images, place.parent))
    return paths


def _segmented(record: Record, images: Sequence["Dataset"], study: Path) -> Path:
    """Write the mask of a record below the folder of its study, in a series of its own."""
    from .formats.segmentation import segmentation

    series, instance = mask_uids(record.facts)
    path = study / series / f"{instance}.dcm"
    path.parent.mkdir(exist_ok=True)
    segmentation(record, images).save_as(path, enforce_file_format=True)
    return path


def read(folder: Path, patient_ids: Sequence[str]) -> dict[str, Record]:
    """Records of these patients from a cohort folder, pixels exact; patients without an image are left out.

    A series of slices is one (slice, row, column) array, ordered along the normal of its plane.
    Raises InputError naming the path of an unreadable file, or of a patient without exactly one image
    or one whole series.
    """
    found = {}
    for patient_id in patient_ids:
        home = folder / "dicom" / patient_id
        if paths := sorted(home.glob("*/*/*.dcm")):
            found[patient_id] = _record(home, paths)
    return found


def _record(home: Path, paths: Sequence[Path]) -> Record:
    files = [(path, read_dataset(path)) for path in paths]
    covers = [file for file in files if file[1].get("SOPClassUID") in SEGMENTATIONS]
    files = [file for file in files if file[1].get("SOPClassUID") not in SEGMENTATIONS]
    if not files or len(covers) > 1:
        found = f"{len(files)} and {len(covers)}"
        raise InputError(f"{home}: expected one image and at most one segmentation, found {found}")
    try:
        expected = int(files[0][1].get("ImagesInAcquisition") or 1)
        if len(files) != expected or len({dataset.SeriesInstanceUID for _, dataset in files}) > 1:
            raise InputError(
                f"{home}: expected one image or one whole series, {expected} files; found {len(files)}"
            )
        if expected > 1:
            heights = {path: height_of(dataset) for path, dataset in files}
            if None in heights.values():
                raise InputError(
                    f"{home}: a slice does not say where it lies; expected orientation and position"
                )
            files.sort(key=lambda file: heights[file[0]] or 0.0)
        facts = _facts(files[0][1], files[0][0]) | ({"slices": expected} if expected > 1 else {})
        planes = [frames_of(dataset, path, KINDS[facts["iod"]].frames) for path, dataset in files]
        arrays = {"image": np.stack(planes) if expected > 1 else planes[0]}
        if covers:
            arrays["mask"], facts["mask_labels"] = _mask(
                *covers[0], [str(one.SOPInstanceUID) for _, one in files]
            )
        return Record(arrays, facts)
    except AttributeError as error:
        raise InputError(
            f"{paths[0]}: expected a DICOM file of a cohort, a tag is missing ({error})"
        ) from None


def _mask(path: Path, dataset: "Dataset", uids: Sequence[str]) -> tuple[AnyArray, list[dict[str, Any]]]:
    from .formats.segmentation import read_mask

    try:
        return read_mask(dataset, uids)
    except broken() as error:
        raise InputError(
            f"{path}: cannot be read as a segmentation of its image ({first_line(error)})"
        ) from None


def _facts(dataset: "Dataset", path: Path) -> dict[str, Any]:
    from .formats.modules import GREYS
    from .formats.sections import PLANES

    names = {kind.sop_class: name for name, kind in KINDS.items()}
    if dataset.SOPClassUID not in names:
        raise InputError(f"{path}: expected {', '.join(KINDS)}, got {dataset.SOPClassUID.name}")
    facts: dict[str, Any] = {
        "view": _view(dataset),
        "body_part": _region(dataset),
        "study_uid": str(dataset.StudyInstanceUID),
        "series_uid": str(dataset.SeriesInstanceUID),
        "instance_uid": str(dataset.SOPInstanceUID),
        "pixel_spacing_mm": _spacing(dataset),
        "derivation": str(dataset.DerivationDescription),
        "iod": names[dataset.SOPClassUID],
    }
    sequences = {
        "admitting_diagnoses": "AdmittingDiagnosesCodeSequence",
        "diagnoses": "ReasonForVisitCodeSequence",
    }
    for name, sequence in sequences.items():
        if items := dataset.get(sequence):
            facts[name] = [
                [str(item.CodingSchemeDesignator), str(item.CodeValue), str(item.CodeMeaning)]
                for item in items
            ]
    if (side := str(dataset.get("ImageLaterality") or dataset.get("Laterality") or "U")) != "U":
        facts["laterality"] = side
    if facts["iod"] == "CT":
        low, slope = float(dataset.RescaleIntercept), float(dataset.RescaleSlope)
        facts["hounsfield"] = [low, round(low + slope * (GREYS - 1), 6)]
    if dataset.get("SliceThickness"):
        facts["slice_spacing_mm"] = float(dataset.SliceThickness)
    detector = (dataset.get("DetectorInformationSequence") or [dataset])[0]
    if direction := detector.get("ImageOrientationPatient"):
        planes: dict[tuple[float, ...], str] = {
            across + down: name for name, (across, down) in PLANES.items()
        }
        if (axes := tuple(map(float, direction))) not in planes:
            raise InputError(f"{path}: expected {', '.join(PLANES)} slices, got orientation {axes}")
        facts["plane"] = planes[axes]
    return facts


def _view(dataset: "Dataset") -> str | None:
    """View Position, or of a mammogram our name of the view's code."""
    from .formats.projections import BREAST_VIEWS

    if position := str(dataset.get("ViewPosition") or ""):
        return position
    stated = [str(item.CodeValue) for item in dataset.get("ViewCodeSequence") or []]
    return next((view for view, (code, _, _) in BREAST_VIEWS.items() if code in stated), None)


def _region(dataset: "Dataset") -> str:
    """Body Part Examined; of a region that is coded alone, our name of the code."""
    if not dataset.get("BodyPartExamined") and (codes := dataset.get("AnatomicRegionSequence")):
        named = {code: region for region, (code, _, _) in REGIONS.items()}
        return named.get(str(codes[0].CodeValue), str(codes[0].CodeMeaning).upper())
    return str(dataset.get("BodyPartExamined") or "")


def _spacing(dataset: "Dataset") -> float:
    """Side of a pixel in mm."""
    if regions := dataset.get("SequenceOfUltrasoundRegions"):
        return round(float(regions[0].PhysicalDeltaX) * 10, 6)  # from cm
    return float(dataset.PixelSpacing[0])


def check(compression: Compression, sides: Sequence[int]) -> None:
    """Raises InputError where the encoder is not installed, or an image is too small for it; sides in pixels."""
    if compression == "none":
        return
    from .formats.dicom import NEEDS

    codec = CODECS[compression]
    need(f"compression: {compression}", *NEEDS.get(codec.encoder, ()))
    if min(sides, default=codec.least) < codec.least:
        raise InputError(
            f"compression: {compression} needs images of at least {codec.least} x {codec.least} pixels, "
            f"got a side of {min(sides)}; write them with rle or none"
        )


def compress(dataset: "Dataset", compression: Compression) -> None:
    """Compress the pixels in place, every bit kept; UIDs and all other tags stay."""
    if compression != "none":
        codec = CODECS[compression]
        if compression == "j2k" and dataset.SamplesPerPixel == 3:
            dataset.PhotometricInterpretation = (
                "YBR_RCT"  # the reversible transform, which objects of colour want
            )
        dataset.compress(codec.syntax, encoding_plugin=codec.encoder, generate_instance_uid=False)
