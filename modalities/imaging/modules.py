"""DICOM modules that every image object has: SOP common, patient, study, series, equipment, image, pixels."""

from datetime import timedelta
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian
from pydicom.valuerep import format_number_as_ds

from ...core.modality import Facts
from ...core.names import invented_name
from ...core.profile import PatientProfile, study_begins
from ...core.vocabulary import BY_NAME
from .regions import REGIONS, UNPAIRED

IMPLEMENTATION_UID = "2.25.300427387974410131203049170773440303652"  # ours, in every file's meta header
BITS = 12
SYNTHETIC = "SYNTHETIC image: drawn by a model, not an image of a person"


def started(sop_class: str, instance_uid: str) -> Dataset:
    """File meta information and the SOP Common module."""
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = UID(sop_class)
    meta.MediaStorageSOPInstanceUID = UID(instance_uid)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(IMPLEMENTATION_UID)
    meta.ImplementationVersionName = "POLYCLINIC"
    dataset = Dataset()
    dataset.file_meta = meta
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID = sop_class
    dataset.SOPInstanceUID = instance_uid
    dataset.SyntheticData = "YES"
    return dataset


def add_patient(dataset: Dataset, profile: PatientProfile) -> None:
    """Patient, and Patient Study as far as the profile knows."""
    dataset.PatientName = "^".join(invented_name(profile.patient_id, profile.sex))
    dataset.PatientID = profile.patient_id
    dataset.PatientBirthDate = f"{profile.birth_date:%Y%m%d}" if profile.birth_date else ""
    dataset.PatientSex = profile.sex or ""
    dataset.PatientComments = "SYNTHETIC patient: no real person"
    if profile.age is not None:
        dataset.PatientAge = age_string(profile.age)
    if profile.height is not None:
        dataset.PatientSize = f"{profile.height / 100:.3f}"
    if profile.weight is not None:
        dataset.PatientWeight = f"{profile.weight:.1f}"


def age_string(age: float) -> str:
    """Years as an Age String: in days below one month, in months below two years (PS3.5 table 6.2-1)."""
    if age >= 2:
        return f"{int(age):03d}Y"
    months = int(age * 12)
    return f"{months:03d}M" if months else f"{int(age * 365):03d}D"


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
        meanings = {code: _meaning(code) for code in facts["findings"]}
        dataset.AdmittingDiagnosesDescription = [_text(meaning) for meaning in meanings.values()]
        dataset.AdmittingDiagnosesCodeSequence = [coded(c, "I10C", text) for c, text in meanings.items()]
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


def coded(value: str, scheme: str, meaning: str) -> Dataset:
    """An item of a code sequence."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def decimal(value: float) -> str:
    """A Decimal String of at most 16 characters."""
    return format_number_as_ds(float(value))


def _meaning(code: str) -> str:
    """What an ICD-10-CM code says, in the 64 characters that DICOM allows."""
    return _text(BY_NAME[code].label if code in BY_NAME else f"ICD-10-CM {code}")


def _text(value: str) -> str:
    """A Long String: 64 characters, without the backslash that parts values."""
    return value.replace("\\", "/")[:64].strip()
