"""DICOM modules of every image object: study, series, equipment, body part, image, pixels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydicom import Dataset
from pydicom.valuerep import format_number_as_ds

from ....core.body_parts import CODE_ONLY, REGIONS
from ....core.dicom_patient import coded
from ....core.modality import Facts
from ....core.profile import PatientProfile
from ....core.study import Study
from ....core.types import AnyArray
from .kinds import is_colour

BITS = 12
GREYS = 1 << BITS
UNPADDED = (
    63  # characters of a Long String among several: pydicom 3.0.2 counts the space that fills up the last one
)
SYNTHETIC = "SYNTHETIC image: drawn by a model, not an image of a person"


@dataclass(frozen=True)
class Slice:
    """One instance of a record: its pixels, its place (from 0) among `count`, its UID."""

    pixels: AnyArray
    place: int
    count: int
    uid: str


def add_study(dataset: Dataset, facts: Facts, profile: PatientProfile) -> None:
    """General Study, General Series without modality and descriptions, and one calendar for both."""
    study = Study.of(facts, profile.index_date)
    assert study is not None, "an image of a cohort is identified"
    dataset.StudyInstanceUID = study.uid
    dataset.SeriesInstanceUID = facts["series_uid"]
    dataset.StudyID = "1"
    dataset.SeriesNumber = "1"
    dataset.AccessionNumber = study.accession
    dataset.ReferringPhysicianName = ""
    if admitted := _codes(facts.get("admitting_diagnoses", ())):
        dataset.AdmittingDiagnosesDescription = [
            str(item.CodeMeaning)[:UNPADDED].strip() for item in admitted
        ]
        dataset.AdmittingDiagnosesCodeSequence = admitted
    if reasons := _codes(facts.get("diagnoses", ())):
        dataset.ReasonForVisit = _text(", ".join(dict.fromkeys(str(item.CodeMeaning) for item in reasons)))
        dataset.ReasonForVisitCodeSequence = reasons
    if study.begins is None or study.series_begins is None or study.taken is None:
        dataset.StudyDate = dataset.StudyTime = ""
        return
    for name, moment in (
        ("Study", study.begins), ("Series", study.series_begins), ("Acquisition", study.taken), ("Content", study.taken)
    ):  # fmt: skip
        setattr(dataset, f"{name}Date", f"{moment:%Y%m%d}")
        setattr(dataset, f"{name}Time", f"{moment:%H%M%S}")


def _codes(diagnoses: Sequence[Sequence[str]]) -> list[Dataset]:
    """Items of a code sequence from (scheme, code, label) each."""
    return [coded(code, scheme, _text(label)) for scheme, code, label in diagnoses]


def add_region(dataset: Dataset, region: str) -> None:
    """Body Part Examined, and its code where we know one; neither where nobody says."""
    if region in CODE_ONLY:
        dataset.ImageLaterality = "U"  # unpaired
    elif region:
        dataset.BodyPartExamined = region
    if region in REGIONS:
        dataset.AnatomicRegionSequence = [coded(*REGIONS[region])]


def add_image(dataset: Dataset, facts: Facts, kinds: tuple[str, ...]) -> None:
    """General Image: what it is, how it was made."""
    assert len(facts["derivation"]) <= 1024, "Derivation Description has room for 1024 characters"
    dataset.ImageType = ["DERIVED", *kinds]
    dataset.DerivationDescription = facts["derivation"]
    dataset.ImageComments = SYNTHETIC
    dataset.LossyImageCompression = "00"
    dataset.BurnedInAnnotation = "NO"


def add_spacing(dataset: Dataset, facts: Facts) -> None:
    """Pixel Spacing: how wide and high pixels are in the patient."""
    dataset.PixelSpacing = [decimal(facts["pixel_spacing_mm"])] * 2


def add_pixels(dataset: Dataset, pixels: AnyArray, bits: int) -> None:
    """Image Pixel: (row, column) or (frame, row, column) grey of so many bits, or (row, column, 3) uint8."""
    colour = is_colour(pixels)
    stored = 8 if colour else bits
    dataset.SamplesPerPixel = 3 if colour else 1
    dataset.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    if colour:
        dataset.PlanarConfiguration = 0
    dataset.Rows, dataset.Columns = pixels.shape[:2] if colour else pixels.shape[-2:]
    dataset.BitsAllocated = pixels.itemsize * 8
    dataset.BitsStored = stored
    dataset.HighBit = stored - 1
    dataset.PixelRepresentation = 0
    data = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
    dataset.PixelData = data + b"\0" * (len(data) % 2)
    dataset["PixelData"].VR = "OB" if pixels.itemsize == 1 else "OW"


def add_rescale(dataset: Dataset, intercept: float, slope: float, unit: str | None) -> None:
    """Modality LUT: unit = slope * stored + intercept."""
    dataset.RescaleIntercept = decimal(intercept)
    dataset.RescaleSlope = decimal(slope)
    if unit is not None:
        dataset.RescaleType = unit


def add_windows(dataset: Dataset, windows: Mapping[str, tuple[float, float]]) -> None:
    """VOI LUT, linear: center and width by name; the first window is the one shown."""
    dataset.WindowCenter = [decimal(center) for center, _ in windows.values()]
    dataset.WindowWidth = [decimal(width) for _, width in windows.values()]
    dataset.WindowCenterWidthExplanation = list(windows)
    dataset.VOILUTFunction = "LINEAR"


def add_window_of_all(dataset: Dataset) -> None:
    """VOI LUT of a grey image: one window from black to white."""
    if dataset.SamplesPerPixel == 1:
        greys = 256 if dataset.BitsStored == 8 else GREYS
        add_windows(dataset, {"ALL": (greys // 2, greys)})


def decimal(value: float) -> str:
    """A Decimal String of at most 16 characters."""
    return format_number_as_ds(float(value))


def _text(value: str) -> str:
    """A Long String: 64 characters, without the backslash that parts values."""
    return value.replace("\\", "/")[:64].strip()
