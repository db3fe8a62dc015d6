"""The objects an image can be written as: DX, CR, CT, MR and SC, each with its specific modules (PS3.3 A)."""

import re
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from pydicom import Dataset

from ....core.dicom_patient import add_patient, coded, started
from ....core.errors import InputError
from ....core.modality import Facts, Record
from ....core.profile import PatientProfile, derived_uid, slice_uid
from ....core.types import AnyArray
from . import modules
from .modules import REGIONS

GREYS = 1 << modules.BITS
VIEWS = {"PA": ("272479007", "SCT", "postero-anterior"), "AP": ("399348003", "SCT", "antero-posterior")}
HOUNSFIELD = (-1024.0, 3071.0)  # of stored 0 and 4095, where the record does not say: one unit a step
CT_WINDOWS = {"SOFT TISSUE": (40, 400), "LUNG": (-600, 1500), "BONE": (480, 2500)}  # center, width
# Directions of a row and of a column in patient coordinates: +x left, +y back, +z head
PLANES: Mapping[str, tuple[tuple[int, int, int], tuple[int, int, int]]] = {
    "axial": ((1, 0, 0), (0, 1, 0)),
    "coronal": ((1, 0, 0), (0, 0, -1)),
    "sagittal": ((0, 1, 0), (0, 0, -1)),
}


@dataclass(frozen=True)
class Slice:
    """One instance of a record: its pixels, its place (from 0) among `count`, its UID."""

    pixels: AnyArray
    place: int
    count: int
    uid: str


@dataclass(frozen=True)
class Iod:
    """A kind of object: SOP class, Modality, image type, what it may hold, and its specific modules."""

    sop_class: str
    modality: str
    noun: str
    image_type: tuple[str, ...]
    add: Callable[[Dataset, Facts, Slice], None]
    tags: Mapping[str, Any] = field(default_factory=dict)  # the same in every image
    series: bool = False  # may hold a volume, a file a slice
    colour: bool = False


def kind_of(record: Record, asked: str | None = None) -> str:
    """Which object a record becomes: what is asked, else what its facts say, else SC in colour and DX in grey.

    Raises InputError where the object cannot hold the image.
    """
    image, region = record.arrays["image"], record.facts["body_part"]
    colour = _colour(image)
    kind = asked or record.facts.get("iod") or ("SC" if colour else "DX")
    iod = IODS[kind]
    if not re.fullmatch("[A-Z0-9 _]{1,16}", region):
        raise InputError(f"body part {region!r}: DICOM takes 1 to 16 capitals, digits, spaces, underscores")
    if colour and not iod.colour:
        raise InputError(f"iod: {kind} holds grey images, got RGB; expected {_those('colour')}")
    if image.ndim == 3 and not colour and not iod.series:
        raise InputError(f"iod: {kind} holds one image, got {len(image)} slices; expected {_those('series')}")
    if kind == "DX" and region not in REGIONS:
        known = ", ".join(REGIONS)
        raise InputError(f"iod: DX needs a body part with a code ({known}), got {region}; write CR instead")
    return kind


def plane_shape(record: Record) -> tuple[int, int]:
    """Rows and columns of each instance of a record."""
    image = record.arrays["image"]
    rows, columns = image.shape[:2] if image.ndim == 2 or _colour(image) else image.shape[1:]
    return rows, columns


def slices(record: Record) -> Iterator[Slice]:
    """The instances of a record, in order; the first has the record's instance UID, the others derive theirs."""
    image, facts = record.arrays["image"], record.facts
    colour = _colour(image)
    assert image.ndim in (2, 3), f"expected an image or slices, got {image.shape}"
    assert colour or image.dtype == np.uint16, f"expected uint16 or RGB uint8 pixels, got {image.dtype}"
    assert colour or image.max() < GREYS, f"expected {modules.BITS}-bit pixels, the greatest is {image.max()}"
    if image.ndim == 2 or colour:
        yield Slice(image, 0, 1, facts["instance_uid"])
        return
    said = facts.get("slices", 1)  # which the health record lists
    assert said == len(image), f"expected the fact slices to be {len(image)}, got {said}"
    for place, pixels in enumerate(image):
        yield Slice(pixels, place, len(image), slice_uid(facts["series_uid"], facts["instance_uid"], place))


def dataset_of(part: Slice, record: Record, profile: PatientProfile, kind: str) -> Dataset:
    """The whole object of one slice, not compressed; the same for the same arguments."""
    iod, facts = IODS[kind], record.facts
    dataset = started(iod.sop_class, part.uid)
    add_patient(dataset, profile)
    modules.add_study(dataset, facts, profile)
    region = REGIONS.get(facts["body_part"], ("", "", facts["body_part"]))[2].lower()
    aspect = facts["view"] or (facts.get("plane", "axial") if iod.series else "")
    dataset.StudyDescription = f"Synthetic {region} {iod.noun}"
    dataset.SeriesDescription = " ".join(f"Synthetic {aspect} {region} {iod.noun}".split())
    modules.add_equipment(dataset)
    modules.add_region(dataset, facts["body_part"])
    modules.add_image(dataset, facts, iod.image_type)
    modules.add_pixels(dataset, part.pixels)
    dataset.Modality = iod.modality
    dataset.InstanceNumber = str(part.place + 1)
    for keyword, value in iod.tags.items():
        setattr(dataset, keyword, deepcopy(value))
    iod.add(dataset, facts, part)
    return dataset


def _add_dx(dataset: Dataset, facts: Facts, part: Slice) -> None:
    """DX Series, Anatomy Imaged, Positioning, Detector, Image; Acquisition Context (A.26)."""
    if facts["view"] is not None:
        dataset.ViewPosition = facts["view"]
        dataset.ViewCodeSequence = [coded(*VIEWS[facts["view"]])]
        dataset.ViewCodeSequence[0].ViewModifierCodeSequence = []
        dataset.PositionerType = ""
    dataset.ImagerPixelSpacing = dataset.PixelSpacing
    _add_rescale(dataset, 0, 1, "US")
    _add_windows(dataset, {"ALL": (GREYS // 2, GREYS)})


def _add_cr(dataset: Dataset, facts: Facts, part: Slice) -> None:
    """CR Series and Image (A.2)."""
    dataset.ViewPosition = facts["view"] or ""
    dataset.PatientOrientation = ["L", "F"] if facts["view"] in VIEWS else ""
    dataset.ImagerPixelSpacing = dataset.PixelSpacing
    _add_windows(dataset, {"ALL": (GREYS // 2, GREYS)})


def _add_ct(dataset: Dataset, facts: Facts, part: Slice) -> None:
    """Frame of Reference, Image Plane and CT Image (A.3): Hounsfield units, and the windows they are seen in."""
    _add_plane(dataset, facts, part)
    low, high = facts.get("hounsfield", HOUNSFIELD)
    _add_rescale(dataset, low, (high - low) / (GREYS - 1), "HU")
    usual = {k: (c, w) for k, (c, w) in CT_WINDOWS.items() if low <= c <= high and w < high - low}
    _add_windows(dataset, {**usual, "ALL": ((low + high + 1) / 2, high - low + 1)})


def _add_mr(dataset: Dataset, facts: Facts, part: Slice) -> None:
    """Frame of Reference, Image Plane and MR Image (A.4); no physical sequence was run, so none is named."""
    _add_plane(dataset, facts, part)
    _add_windows(dataset, {"ALL": (GREYS // 2, GREYS)})


def _add_sc(dataset: Dataset, facts: Facts, part: Slice) -> None:
    """SC Equipment and SC Image (A.8)."""
    if part.pixels.ndim == 2:
        _add_windows(dataset, {"ALL": (GREYS // 2, GREYS)})


def _add_plane(dataset: Dataset, facts: Facts, part: Slice) -> None:
    """Where the slice lies: the volume's centre is the origin, slices follow the normal of their plane."""
    across, down = (np.array(axis) for axis in PLANES[facts.get("plane", "axial")])
    spacing, thickness = float(facts["pixel_spacing_mm"]), facts.get("slice_spacing_mm")
    assert part.count == 1 or thickness, "a series needs slice_spacing_mm"
    rows, columns = part.pixels.shape
    along = (part.place - (part.count - 1) / 2) * float(thickness or 0)
    corner = -spacing * ((columns - 1) / 2 * across + (rows - 1) / 2 * down) + along * np.cross(across, down)
    dataset.FrameOfReferenceUID = derived_uid(facts["series_uid"], "frame of reference")
    dataset.PositionReferenceIndicator = ""
    dataset.PatientPosition = "HFS"
    dataset.ImageOrientationPatient = [str(value) for value in (*across, *down)]
    dataset.ImagePositionPatient = [modules.decimal(value + 0.0) for value in corner]  # no -0
    dataset.SliceThickness = modules.decimal(thickness) if thickness else ""
    if part.count > 1:
        dataset.SpacingBetweenSlices = modules.decimal(float(thickness or 0))
        dataset.ImagesInAcquisition = str(part.count)


def _add_rescale(dataset: Dataset, intercept: float, slope: float, unit: str) -> None:
    """Modality LUT: unit = slope * stored + intercept."""
    dataset.RescaleIntercept = modules.decimal(intercept)
    dataset.RescaleSlope = modules.decimal(slope)
    dataset.RescaleType = unit


def _add_windows(dataset: Dataset, windows: Mapping[str, tuple[float, float]]) -> None:
    """VOI LUT: the first window is the one shown."""
    dataset.WindowCenter = [modules.decimal(center) for center, _ in windows.values()]
    dataset.WindowWidth = [modules.decimal(width) for _, width in windows.values()]
    dataset.WindowCenterWidthExplanation = list(windows)


_STORAGE = "1.2.840.10008.5.1.4.1.1"
# PatientOrientation: rows run to the patient's left, columns to the feet. Fewer photons are a brighter pixel.
_DX = {
    "PresentationIntentType": "FOR PRESENTATION", "ImageLaterality": "U", "PatientOrientation": ["L", "F"],
    "DetectorType": "", "AcquisitionContextSequence": [], "PixelIntensityRelationship": "LOG",
    "PixelIntensityRelationshipSign": -1, "PresentationLUTShape": "IDENTITY",
}  # fmt: skip
_MR = {  # "RM": research mode
    "ScanningSequence": "RM", "SequenceVariant": "NONE", "ScanOptions": "", "MRAcquisitionType": "2D",
    "RepetitionTime": "", "EchoTime": "", "EchoTrainLength": "",
}  # fmt: skip
_CT = {"KVP": "", "AcquisitionNumber": "1"}
_SC = {"ConversionType": "SYN", "PatientOrientation": ""}  # synthetic image
IODS: Mapping[str, Iod] = {
    "DX": Iod(f"{_STORAGE}.1.1", "DX", "X-ray", ("PRIMARY",), _add_dx, _DX),
    "CR": Iod(f"{_STORAGE}.1", "CR", "X-ray", ("PRIMARY",), _add_cr),
    "CT": Iod(f"{_STORAGE}.2", "CT", "CT", ("PRIMARY", "AXIAL"), _add_ct, _CT, series=True),
    "MR": Iod(f"{_STORAGE}.4", "MR", "MR", ("PRIMARY", "OTHER"), _add_mr, _MR, series=True),
    "SC": Iod(f"{_STORAGE}.7", "OT", "image", ("SECONDARY",), _add_sc, _SC, colour=True),
}


def _colour(image: AnyArray) -> bool:
    return image.dtype == np.uint8 and image.ndim == 3 and image.shape[-1] == 3


def _those(trait: str) -> str:
    return " or ".join(name for name, iod in IODS.items() if getattr(iod, trait))
