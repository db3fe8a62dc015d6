"""Modules of radiographs: DX, CR, mammograms and angiograms (PS3.3 A.2, A.14, A.26, A.27)."""

from typing import Any

import numpy as np
from pydicom import Dataset

from ....core.dicom_patient import coded
from ....core.modality import Facts
from ..subject import CHEST
from . import modules
from .kinds import VIEWS_OF_A_BREAST
from .modules import Slice

VIEWS = {"PA": ("272479007", "SCT", "postero-anterior"), "AP": ("399348003", "SCT", "antero-posterior")}
BREAST_VIEWS = {
    "MLO": ("399368009", "SCT", "medio-lateral oblique"), "CC": ("399162004", "SCT", "cranio-caudal"),
    "ML": ("399260004", "SCT", "medio-lateral"), "LM": ("399352003", "SCT", "latero-medial"),
}  # fmt: skip
KILOVOLTS = {"DX": "125", "CR": "125", "MG": "28", "XA": "80", "CT": "120"}  # usual ones: nothing was exposed
GROWN, OF_A_CHILD = 6, "70"  # years; a small chest lets lower voltages through
# PatientOrientation: rows run to the patient's left, columns to the feet. Fewer photons are a brighter pixel.
DIGITAL: dict[str, Any] = {
    "PresentationIntentType": "FOR PRESENTATION", "DetectorType": "", "AcquisitionContextSequence": [],
    "PixelIntensityRelationship": "LOG", "PixelIntensityRelationshipSign": -1, "PresentationLUTShape": "IDENTITY",
}  # fmt: skip
DX = {**DIGITAL, "ImageLaterality": "U", "PatientOrientation": ["L", "F"], "KVP": KILOVOLTS["DX"]}
CR = {"KVP": KILOVOLTS["CR"]}
MG = {**DIGITAL, "PositionerType": "MAMMOGRAPHIC", "OrganExposed": "BREAST", "KVP": KILOVOLTS["MG"]}
XA = {
    "KVP": KILOVOLTS["XA"], "RadiationSetting": "GR", "PixelIntensityRelationship": "DISP", "Exposure": "",
    "XRayTubeCurrent": "", "ExposureTime": "", "PatientOrientation": "", "PositionerMotion": "STATIC",
    "PositionerPrimaryAngle": "", "PositionerSecondaryAngle": "",
}  # fmt: skip


def add_dx(dataset: Dataset, facts: Facts, part: Slice) -> None:
    """DX Series, Anatomy Imaged, Positioning, Detector, Image; Acquisition Context."""
    dataset.AnatomicRegionSequence = dataset.get("AnatomicRegionSequence", [])
    if facts["view"] in VIEWS:
        dataset.ViewPosition = facts["view"]
        dataset.ViewCodeSequence = [_view(VIEWS[facts["view"]])]
        dataset.PositionerType = ""
    _add_voltage(dataset)
    _add_detector(dataset, facts)


def add_mg(dataset: Dataset, facts: Facts, part: Slice) -> None:
    """Mammography Series and Image beside the modules of DX; see side_of for the side."""
    view = facts["view"] if facts["view"] in VIEWS_OF_A_BREAST else VIEWS_OF_A_BREAST[0]
    dataset.ViewCodeSequence = [_view(BREAST_VIEWS[view])]
    dataset.ImageLaterality = facts.get("laterality") or side_of_breast(part)
    front = "A" if dataset.ImageLaterality == "L" else "P"
    dataset.PatientOrientation = [front, "F" if view != "CC" else dataset.ImageLaterality]
    _add_detector(dataset, facts)


def add_cr(dataset: Dataset, facts: Facts, part: Slice) -> None:
    """CR Series and Image."""
    dataset.BodyPartExamined = dataset.get("BodyPartExamined", "")
    dataset.ViewPosition = facts["view"] if facts["view"] in VIEWS else ""
    dataset.PatientOrientation = ["L", "F"] if facts["view"] in VIEWS else ""
    _add_voltage(dataset)
    modules.add_spacing(dataset, facts)
    dataset.ImagerPixelSpacing = dataset.PixelSpacing
    modules.add_window_of_all(dataset)


def add_xa(dataset: Dataset, facts: Facts, part: Slice) -> None:
    """X-Ray Image, Acquisition and XA Positioner of one frame, the angles unknown."""
    modules.add_spacing(dataset, facts)
    dataset.ImagerPixelSpacing = dataset.PixelSpacing
    modules.add_window_of_all(dataset)


def side_of_breast(part: Slice) -> str:
    """L or R, as mammograms are shown: the chest wall, where most tissue is, lies left of a left breast."""
    columns = part.pixels.astype(np.float64).mean(0)
    half = len(columns) // 2
    return "L" if columns[:half].sum() >= columns[-half:].sum() else "R"


def _add_voltage(dataset: Dataset) -> None:
    """That of small children's chests, where it is theirs."""
    age = str(dataset.get("PatientAge") or "")
    if dataset.get("BodyPartExamined") == CHEST and age and (age[-1] != "Y" or int(age[:-1]) < GROWN):
        dataset.KVP = OF_A_CHILD


def _add_detector(dataset: Dataset, facts: Facts) -> None:
    modules.add_spacing(dataset, facts)
    dataset.ImagerPixelSpacing = dataset.PixelSpacing
    modules.add_rescale(dataset, 0, 1, "US")
    modules.add_window_of_all(dataset)


def _view(code: tuple[str, str, str]) -> Dataset:
    item = coded(*code)
    item.ViewModifierCodeSequence = []
    return item
