"""Modules of photographs, ultrasound and secondary capture (PS3.3 A.6, A.8, A.32, A.41)."""

from typing import Any

import numpy as np
from pydicom import Dataset

from ....core.dicom_patient import coded
from ....core.modality import Facts
from ....core.profile import derived_uid
from . import modules
from .modules import Slice

CM, MM_A_CM = 3, 10.0  # Physical Units of a region of ultrasound
SC = {"ConversionType": "SYN", "PatientOrientation": ""}  # synthetic image
US = {"PatientOrientation": ""}
VISIBLE: dict[str, Any] = {"AcquisitionContextSequence": [], "PatientOrientation": ""}
DMS = {
    **VISIBLE, "ContactMethod": "", "LightSourcePolarization": "", "EmitterColorTemperature": None,
    "OpticalMagnificationFactor": "", "RecognizableVisualFeatures": "NO", "PositionReferenceIndicator": "",
}  # fmt: skip
OP = {
    "NumberOfFrames": "1", "FrameIncrementPointer": 0x00181063, "FrameTime": "0", "PatientOrientation": ["L", "F"],
    "AcquisitionContextSequence": [], "SynchronizationTrigger": "NO TRIGGER",
    "AcquisitionTimeSynchronized": "N", "PatientEyeMovementCommanded": "", "HorizontalFieldOfView": None,
    "RefractiveStateSequence": [], "EmmetropicMagnification": None, "IntraOcularPressure": None, "PupilDilated": "",
    "IlluminationTypeCodeSequence": [], "LightPathFilterTypeStackCodeSequence": [],
    "ImagePathFilterTypeStackCodeSequence": [], "LensesCodeSequence": [], "DetectorType": "",
}  # fmt: skip


def add_sc(dataset: Dataset, facts: Facts, part: Slice) -> None:
    """SC Equipment and SC Image."""
    modules.add_spacing(dataset, facts)
    modules.add_window_of_all(dataset)


def add_us(dataset: Dataset, facts: Facts, part: Slice) -> None:
    """US Image, and a region that gives the size of pixels: the whole picture."""
    region = Dataset()
    region.RegionSpatialFormat, region.RegionDataType, region.RegionFlags = 1, 1, 0  # 2D, tissue
    rows, columns = part.pixels.shape[:2]
    region.RegionLocationMinX0 = region.RegionLocationMinY0 = 0
    region.RegionLocationMaxX1, region.RegionLocationMaxY1 = columns - 1, rows - 1
    region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = CM
    region.PhysicalDeltaX = region.PhysicalDeltaY = float(facts["pixel_spacing_mm"]) / MM_A_CM
    dataset.SequenceOfUltrasoundRegions = [region]
    modules.add_window_of_all(dataset)


def add_visible(dataset: Dataset, facts: Facts, part: Slice) -> None:
    """VL Image of endoscopy, microscopy and photography."""
    modules.add_spacing(dataset, facts)


def add_dms(dataset: Dataset, facts: Facts, part: Slice) -> None:
    """VL Image, Dermoscopic Image and Frame of Reference; what shows who it is, such as a tattoo, is not drawn."""
    modules.add_spacing(dataset, facts)
    dataset.FrameOfReferenceUID = derived_uid(facts["series_uid"], "frame of reference")


def add_op(dataset: Dataset, facts: Facts, part: Slice) -> None:
    """Ophthalmic Photography Series, Image, Parameters and Ocular Region: one frame of a multi-frame object.

    Its image type is ORIGINAL: a derived one has to name its source image, and there is none.
    """
    dataset.ImageType = ["ORIGINAL", "PRIMARY"]
    modules.add_spacing(dataset, facts)
    dataset.ImageLaterality = facts.get("laterality") or side_of_eye(part)
    dataset.AcquisitionDeviceTypeCodeSequence = [coded("409898007", "SCT", "Fundus Camera")]
    dataset.SynchronizationFrameOfReferenceUID = derived_uid(facts["series_uid"], "synchronization")
    if dataset.SamplesPerPixel == 1:
        dataset.PresentationLUTShape = "IDENTITY"
    dataset.AcquisitionDateTime = f"{dataset.AcquisitionDate}{dataset.AcquisitionTime}"


def side_of_eye(part: Slice) -> str:
    """L or R of a fundus photograph: the optic disc, its brightest spot, lies right of the middle in a right eye."""
    grey = part.pixels.astype(np.float64)
    grey = grey if grey.ndim == 2 else grey.mean(2)
    columns = grey.reshape(grey.shape[0], -1)
    brightest = np.flatnonzero(columns >= np.percentile(columns, 99.5)) % grey.shape[1]
    return "R" if np.median(brightest) >= grey.shape[1] / 2 else "L"
