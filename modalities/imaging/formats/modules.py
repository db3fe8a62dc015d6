"""DICOM modules of every image object: study, series, equipment, body part, image, pixels."""

from datetime import timedelta
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.valuerep import format_number_as_ds

from ....core.dicom_patient import coded
from ....core.fields import BY_NAME
from ....core.modality import Facts
from ....core.profile import PatientProfile, study_begins

BITS = 12
SYNTHETIC = "SYNTHETIC image: drawn by a model, not an image of a person"
# Body Part Examined (PS3.16 annex L) -> its code
REGIONS = {
    "ABDOMEN": ("818981001", "SCT", "Abdomen"),
    "ABDOMENPELVIS": ("818982008", "SCT", "Abdomen and Pelvis"),
    "BRAIN": ("12738006", "SCT", "Brain"),
    "CHEST": ("816094009", "SCT", "Chest"),
    "CHESTABDPELVIS": ("416775004", "SCT", "Chest, Abdomen and Pelvis"),
    "CSPINE": ("122494005", "SCT", "Cervical spine"),
    "HEAD": ("69536005", "SCT", "Head"),
    "HEART": ("80891009", "SCT", "Heart"),
    "LSPINE": ("122496007", "SCT", "Lumbar spine"),
    "NECK": ("45048000", "SCT", "Neck"),
    "PANCREAS": ("15776009", "SCT", "Pancreas"),
    "PELVIS": ("816092008", "SCT", "Pelvis"),
    "PROSTATE": ("41216001", "SCT", "Prostate"),
    "SKULL": ("89546000", "SCT", "Skull"),
    "SPINE": ("421060004", "SCT", "Spine"),
    "TSPINE": ("122495006", "SCT", "Thoracic spine"),
    "WHOLEBODY": ("38266002", "SCT", "Entire body"),
}
# Without a side, so that Laterality must be absent; of all others the side may be unknown.
_MORE_UNPAIRED = (
    "AORTA BACK BLADDER CEREBELLUM CERVIX CHESTABDOMEN CIRCLEOFWILLIS COCCYX COLON CORONARYARTERY "
    "CTSPINE DUODENUM ESOPHAGUS FACE GALLBLADDER HEADNECK ILEUM ILIUM JAW JEJUNUM LARYNX LIVER "
    "LSSPINE MAXILLA MEDIASTINUM MOUTH NECKCHEST NECKCHESTABDOMEN NECKCHESTABDPELV NOSE PENIS "
    "PHARYNX RECTUM SCALP SPLEEN SSPINE STERNUM STOMACH THYMUS THYROID TLSPINE TONGUE TRACHEA UTERUS "
    "VAGINA VULVA"
)
UNPAIRED = frozenset((*REGIONS, *_MORE_UNPAIRED.split()))


def add_study(dataset: Dataset, facts: Facts, profile: PatientProfile) -> None:
    """General Study, General Series without modality and descriptions, and one calendar for both."""
    token = blake2b(facts["study_uid"].encode(), digest_size=6)
    dataset.StudyInstanceUID = facts["study_uid"]
    dataset.SeriesInstanceUID = facts["series_uid"]
    dataset.StudyID = "1"
    dataset.SeriesNumber = "1"
    dataset.AccessionNumber = f"SYN{token.hexdigest()}"
    dataset.ReferringPhysicianName = ""
    if facts["findings"]:
        meanings = {
            code: _text(BY_NAME[code].label if code in BY_NAME else f"ICD-10-CM {code}")
            for code in facts["findings"]
        }
        dataset.AdmittingDiagnosesDescription = [_text(meaning) for meaning in meanings.values()]
        dataset.AdmittingDiagnosesCodeSequence = [coded(c, "I10C", text) for c, text in meanings.items()]
    if facts.get("diagnoses"):
        labels = dict.fromkeys(_text(label) for _, _, label in facts["diagnoses"])
        dataset.ReasonForVisit = _text(", ".join(labels))
        dataset.ReasonForVisitCodeSequence = [
            coded(code, scheme, _text(label)) for scheme, code, label in facts["diagnoses"]
        ]
    if profile.index_date is None:
        dataset.StudyDate = dataset.StudyTime = ""
        return
    start = study_begins(facts["study_uid"], profile.index_date)
    for name, minutes in (("Study", 0), ("Series", 1), ("Acquisition", 2), ("Content", 2)):
        moment = start + timedelta(minutes=minutes)
        setattr(dataset, f"{name}Date", f"{moment:%Y%m%d}")
        setattr(dataset, f"{name}Time", f"{moment:%H%M%S}")


def add_equipment(dataset: Dataset) -> None:
    """General Equipment."""
    dataset.Manufacturer = "Polyclinic"
    dataset.ManufacturerModelName = "Synthetic image generator"


def add_region(dataset: Dataset, region: str) -> None:
    """Body Part Examined, its code where we know one, and an empty side where it may be one of a pair."""
    dataset.BodyPartExamined = region
    if region in REGIONS:
        dataset.AnatomicRegionSequence = [coded(*REGIONS[region])]
    if region not in UNPAIRED:
        dataset.Laterality = ""


def add_image(dataset: Dataset, facts: Facts, kinds: tuple[str, ...]) -> None:
    """General Image: what it is, how it was made, how wide its pixels are."""
    assert len(facts["derivation"]) <= 1024, "Derivation Description has room for 1024 characters"
    dataset.ImageType = ["DERIVED", *kinds]
    dataset.DerivationDescription = facts["derivation"]
    dataset.ImageComments = SYNTHETIC
    dataset.LossyImageCompression = "00"
    dataset.BurnedInAnnotation = "NO"
    dataset.PixelSpacing = [decimal(facts["pixel_spacing_mm"])] * 2


def add_pixels(dataset: Dataset, pixels: NDArray[np.uint8] | NDArray[np.uint16]) -> None:
    """Image Pixel: (row, column) uint16 of 12 bits, or (row, column, 3) uint8."""
    colour = pixels.ndim == 3
    stored = 8 if colour else BITS
    dataset.SamplesPerPixel = 3 if colour else 1
    dataset.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    if colour:
        dataset.PlanarConfiguration = 0
    dataset.Rows, dataset.Columns = pixels.shape[:2]
    dataset.BitsAllocated = pixels.itemsize * 8
    dataset.BitsStored = stored
    dataset.HighBit = stored - 1
    dataset.PixelRepresentation = 0
    data = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
    dataset.PixelData = data + b"\0" * (len(data) % 2)
    dataset["PixelData"].VR = "OB" if colour else "OW"


def decimal(value: float) -> str:
    """A Decimal String of at most 16 characters."""
    return format_number_as_ds(float(value))


def _text(value: str) -> str:
    """A Long String: 64 characters, without the backslash that parts values."""
    return value.replace("\\", "/")[:64].strip()
