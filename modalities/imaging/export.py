"""DICOM files of synthetic images, one a picture or slice, compressed or not, below dicom/ of a cohort; and back."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from ...core.config import Settings, parse
from ...core.dicom_patient import check_id
from ...core.errors import InputError
from ...core.modality import Record
from ...core.profile import PatientProfile
from .formats.dicom import height_of, read_dataset, stored_pixels

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
    iod: Literal["DX", "CR", "CT", "MR", "SC"] | None = None


PLAIN = ExportOptions()


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

    Each record holds "image": (row, column) uint16 of 12 bits, (slice, row, column) of the same for CT and
    MR, a file a slice, or (row, column, 3) uint8 RGB for SC. The bytes depend on the record, the profile
    and the options alone. What the profile does not know is empty where DICOM permits, else absent.
    Findings stand in Admitting Diagnoses Code Sequence. Raises InputError before the first file is
    written: an object that cannot hold the image, an encoder that is not installed, an id DICOM has no room for.
    """
    from .formats.iods import dataset_of, kind_of, plane_shape, slices

    check(options.compression, [side for record in records for side in plane_shape(record)])
    kinds = [kind_of(record, options.iod) for record in records]
    for profile in profiles:
        check_id(profile.patient_id)
    paths = []
    for record, profile, kind in zip(records, profiles, kinds, strict=True):
        place = folder / "dicom" / profile.patient_id / record.facts["study_uid"] / record.facts["series_uid"]
        place.mkdir(parents=True, exist_ok=True)
        for part in slices(record):
            dataset = dataset_of(part, record, profile, kind)
            compress(dataset, options.compression)
            path = place / f"{part.uid}.dcm"
            dataset.save_as(path, enforce_file_format=True)
            paths.append(path)
    return paths


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
            image = np.stack([stored_pixels(dataset, path) for path, dataset in files])
        else:
            image = stored_pixels(files[0][1], paths[0])
        series = {"slices": expected} if expected > 1 else {}
        return Record({"image": image}, _facts(files[0][1], files[0][0]) | series)
    except AttributeError as error:
        raise InputError(
            f"{paths[0]}: expected a DICOM file of a cohort, a tag is missing ({error})"
        ) from None


def _facts(dataset: "Dataset", path: Path) -> dict[str, Any]:
    from .formats.iods import GREYS, IODS, PLANES

    kinds = {iod.sop_class: name for name, iod in IODS.items()}
    if dataset.SOPClassUID not in kinds:
        raise InputError(f"{path}: expected {', '.join(IODS)}, got {dataset.SOPClassUID.name}")
    facts: dict[str, Any] = {
        "findings": [str(item.CodeValue) for item in dataset.get("AdmittingDiagnosesCodeSequence") or []],
        "view": str(dataset.get("ViewPosition") or "") or None,
        "body_part": str(dataset.BodyPartExamined),
        "study_uid": str(dataset.StudyInstanceUID),
        "series_uid": str(dataset.SeriesInstanceUID),
        "instance_uid": str(dataset.SOPInstanceUID),
        "pixel_spacing_mm": float(dataset.PixelSpacing[0]),
        "derivation": str(dataset.DerivationDescription),
        "iod": kinds[dataset.SOPClassUID],
    }
    if reasons := dataset.get("ReasonForVisitCodeSequence"):
        facts["diagnoses"] = [
            [str(item.CodingSchemeDesignator), str(item.CodeValue), str(item.CodeMeaning)] for item in reasons
        ]
    if facts["iod"] == "CT":
        low, slope = float(dataset.RescaleIntercept), float(dataset.RescaleSlope)
        facts["hounsfield"] = [low, round(low + slope * (GREYS - 1), 6)]
    if dataset.get("SliceThickness"):
        facts["slice_spacing_mm"] = float(dataset.SliceThickness)
    if IODS[facts["iod"]].series:
        names: dict[tuple[float, ...], str] = {across + down: name for name, (across, down) in PLANES.items()}
        axes = tuple(map(float, dataset.ImageOrientationPatient))
        if axes not in names:
            raise InputError(f"{path}: expected {', '.join(PLANES)} slices, got orientation {axes}")
        facts["plane"] = names[axes]
    return facts


def check(compression: Compression, sides: Sequence[int]) -> None:
    """Raises InputError where the encoder is not installed, or an image is too small for it; sides in pixels."""
    if compression == "none":
        return
    from pydicom.pixels.encoders.base import get_encoder

    codec = CODECS[compression]
    encoder = get_encoder(codec.syntax)
    if codec.encoder not in encoder.available_plugins:
        missing = "; ".join(line for line in encoder.missing_dependencies if line.startswith(codec.encoder))
        raise InputError(f"compression: {compression} cannot be written here, {missing}")
    if min(sides, default=codec.least) < codec.least:
        raise InputError(
            f"compression: {compression} needs images of at least {codec.least} x {codec.least} pixels, "
            f"got a side of {min(sides)}; write them with rle or none"
        )


def compress(dataset: "Dataset", compression: Compression) -> None:
    """Compress the pixels in place, every bit kept; UIDs and all other tags stay."""
    if compression != "none":
        codec = CODECS[compression]
        dataset.compress(codec.syntax, encoding_plugin=codec.encoder, generate_instance_uid=False)
