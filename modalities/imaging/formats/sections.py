"""Modules of sections through the body: CT, MR, PET and nuclear medicine (PS3.3 A.3, A.4, A.5, A.21)."""

from collections.abc import Mapping

import numpy as np
from pydicom import Dataset

from ....core.modality import Facts
from ....core.profile import derived_uid
from ....core.types import AnyArray, FloatArray, IntArray
from . import modules
from .modules import GREYS, Slice
from .projections import KILOVOLTS

HOUNSFIELD = (-1024.0, 3071.0)  # of stored 0 and 4095, where the record does not say: one unit a step
CT_WINDOWS = {"SOFT TISSUE": (40, 400), "LUNG": (-600, 1500), "BONE": (480, 2500)}  # center, width
# Directions of a row and of a column in patient coordinates: +x left, +y back, +z head
PLANES: Mapping[str, tuple[tuple[int, int, int], tuple[int, int, int]]] = {
    "axial": ((1, 0, 0), (0, 1, 0)),
    "coronal": ((1, 0, 0), (0, 0, -1)),
    "sagittal": ((0, 1, 0), (0, 0, -1)),
}
MR = {  # "RM": research mode
    "ScanningSequence": "RM", "SequenceVariant": "NONE", "ScanOptions": "", "MRAcquisitionType": "2D",
    "RepetitionTime": "", "EchoTime": "", "EchoTrainLength": "",
}  # fmt: skip
CT = {"KVP": KILOVOLTS["CT"], "AcquisitionNumber": "1"}
PT = {  # no tracer was given and nothing was counted
    "Units": "NONE", "CountsSource": "EMISSION", "SeriesType": ["STATIC", "IMAGE"], "CorrectedImage": [],
    "DecayCorrection": "NONE", "CollimatorType": "", "RadiopharmaceuticalInformationSequence": [],
    "FrameReferenceTime": "0", "ActualFrameDuration": "", "PatientOrientationCodeSequence": [],
    "PatientGantryRelationshipCodeSequence": [],
}  # fmt: skip
NM = {
    "CountsAccumulated": "", "EnergyWindowInformationSequence": [], "RadiopharmaceuticalInformationSequence": [],
    "DetectorInformationSequence": [], "PatientOrientationCodeSequence": [],
    "PatientGantryRelationshipCodeSequence": [],
}  # fmt: skip


def add_ct(dataset: Dataset, facts: Facts, part: Slice) -> None:
    """Frame of Reference, Image Plane and CT Image: Hounsfield units, and the windows they are seen in."""
    _add_plane(dataset, facts, part)
    low, high = facts.get("hounsfield", HOUNSFIELD)
    modules.add_rescale(dataset, low, (high - low) / (GREYS - 1), "HU")
    usual = {k: (c, w) for k, (c, w) in CT_WINDOWS.items() if low <= c <= high and w < high - low}
    modules.add_windows(dataset, {**usual, "ALL": ((low + high + 1) / 2, high - low + 1)})


def add_mr(dataset: Dataset, facts: Facts, part: Slice) -> None:
    """Frame of Reference, Image Plane and MR Image; no physical sequence was run, so none is named."""
    _add_plane(dataset, facts, part)
    modules.add_window_of_all(dataset)


def add_pt(dataset: Dataset, facts: Facts, part: Slice) -> None:
    """PET Series, Isotope and Image, in no unit of uptake; NM/PET Patient Orientation."""
    _add_plane(dataset, facts, part)
    del dataset.PatientPosition  # its place take the patient's orientations by code
    dataset.NumberOfSlices = part.count
    dataset.ImageIndex = part.place + 1
    modules.add_rescale(dataset, 0, 1, None)
    modules.add_window_of_all(dataset)


def add_nm(dataset: Dataset, facts: Facts, part: Slice) -> None:
    """NM Image, Isotope, Detector and Multi-frame: a static image, or reconstructed slices in one object."""
    modules.add_spacing(dataset, facts)
    dataset.NumberOfEnergyWindows = dataset.NumberOfDetectors = 1
    frames = 1 if part.pixels.ndim == 2 else len(part.pixels)
    dataset.NumberOfFrames = str(frames)
    _add_reconstruction(dataset, facts, part) if frames > 1 else _add_static(dataset)
    modules.add_window_of_all(dataset)


def _add_static(dataset: Dataset) -> None:
    dataset.FrameIncrementPointer = [0x00540010, 0x00540020]  # Energy Window Vector, Detector Vector
    dataset.EnergyWindowVector = dataset.DetectorVector = [1]
    dataset.ActualFrameDuration = "0"
    dataset.ImageType = [*dataset.ImageType[:2], "STATIC", "EMISSION"]


def _add_reconstruction(dataset: Dataset, facts: Facts, part: Slice) -> None:
    """Slices from the lowest up; the corner is that of the first."""
    count = len(part.pixels)
    across, down, _ = axes(facts)
    dataset.FrameIncrementPointer = [0x00540080]  # Slice Vector
    dataset.SliceVector = list(range(1, count + 1))
    dataset.NumberOfSlices = count
    dataset.SliceThickness = dataset.SpacingBetweenSlices = modules.decimal(facts["slice_spacing_mm"])
    dataset.RotationInformationSequence = []
    dataset.NumberOfRotations = 1
    dataset.ImageType = [*dataset.ImageType[:2], "RECON TOMO", "EMISSION"]
    dataset.FrameOfReferenceUID = derived_uid(facts["series_uid"], "frame of reference")
    dataset.PositionReferenceIndicator = ""
    detector = Dataset()
    detector.CollimatorType = ""
    detector.ImageOrientationPatient = [str(value) for value in (*across, *down)]
    corner = _corner(facts, part.pixels[0], -(count - 1) / 2)
    detector.ImagePositionPatient = [modules.decimal(value) for value in corner]
    dataset.DetectorInformationSequence = [detector]


def axes(facts: Facts) -> tuple[IntArray, IntArray, IntArray]:
    """Directions of a row, of a column and of the normal of the plane in patient coordinates."""
    across, down = (np.array(axis) for axis in PLANES[facts.get("plane", "axial")])
    return across, down, np.cross(across, down)


def _corner(facts: Facts, pixels: AnyArray, place: float) -> FloatArray:
    """Where the first pixel lies: the volume's centre is the origin, place counts slices from it."""
    across, down, normal = axes(facts)
    rows, columns = pixels.shape
    within = (columns - 1) / 2 * across + (rows - 1) / 2 * down
    along = place * float(facts.get("slice_spacing_mm") or 0)
    corner = along * normal - float(facts["pixel_spacing_mm"]) * within
    return np.asarray(corner + 0.0)  # no -0


def _add_plane(dataset: Dataset, facts: Facts, part: Slice) -> None:
    """Where the slice lies; slices follow the normal of their plane."""
    across, down, _ = axes(facts)
    thickness = facts.get("slice_spacing_mm")
    assert part.count == 1 or thickness, "a series needs slice_spacing_mm"
    modules.add_spacing(dataset, facts)
    dataset.FrameOfReferenceUID = derived_uid(facts["series_uid"], "frame of reference")
    dataset.PositionReferenceIndicator = ""
    dataset.PatientPosition = "HFS"
    dataset.ImageOrientationPatient = [str(value) for value in (*across, *down)]
    corner = _corner(facts, part.pixels, part.place - (part.count - 1) / 2)
    dataset.ImagePositionPatient = [modules.decimal(value) for value in corner]
    dataset.SliceThickness = modules.decimal(thickness) if thickness else ""
    if part.count > 1:
        dataset.SpacingBetweenSlices = modules.decimal(float(thickness or 0))
        dataset.ImagesInAcquisition = str(part.count)
