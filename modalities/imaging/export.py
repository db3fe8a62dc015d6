"""DICOM files of synthetic chest X-rays: one Digital X-Ray Image (For Presentation) a patient, and back."""

from collections.abc import Sequence
from datetime import datetime, time, timedelta
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...core.errors import InputError
from ...core.modality import Facts, Record
from ...core.names import invented_name
from ...core.profile import PatientProfile
from ...core.vocabulary import BY_NAME
from .files import read_dataset, read_image, stored_pixels

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["export", "read", "read_image"]

IMPLEMENTATION_UID = "2.25.300427387974410131203049170773440303652"  # ours, in every file's meta header
BITS = 12
GREYS = 1 << BITS
SYNTHETIC = "SYNTHETIC image: drawn by a model, not a radiograph of a person"
REGIONS = {"CHEST": ("816094009", "SCT", "Chest")}  # PS3.16 CID 4009
VIEWS = {"PA": ("272479007", "SCT", "postero-anterior"), "AP": ("399348003", "SCT", "antero-posterior")}


def export(records: Sequence[Record], profiles: Sequence[PatientProfile], folder: Path) -> list[Path]:
    """Write dicom/<patient>/<study_uid>/<series_uid>/<instance_uid>.dcm below folder; the paths written.

    Each record holds "image", (row, column) uint16 of 12 bits, bright = dense. The bytes depend on the
    record and the profile alone. Tags by PS3.3 A.26 (Digital X-Ray Image IOD); what the profile does
    not know is empty where DICOM permits, else absent. Findings stand in Admitting Diagnoses Code Sequence.
    """
    paths = []
    for record, profile in zip(records, profiles, strict=True):
        dataset = _dataset(record, profile)
        place = folder / "dicom" / profile.patient_id / record.facts["study_uid"] / record.facts["series_uid"]
        place.mkdir(parents=True, exist_ok=True)
        path = place / f"{record.facts['instance_uid']}.dcm"
        dataset.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def read(folder: Path, patient_ids: Sequence[str]) -> dict[str, Record]:
    """Records of these patients from a cohort folder, pixels exact; patients without an image are left out.

    Raises InputError naming the path of an unreadable file, or of a patient with more than one image.
    """
    found = {}
    for patient_id in patient_ids:
        home = folder / "dicom" / patient_id
        paths = sorted(home.glob("*/*/*.dcm"))
        if len(paths) > 1:
            raise InputError(f"{home}: expected one image a patient, found {len(paths)}; keep one of them")
        if paths:
            found[patient_id] = _record(paths[0])
    return found


def _dataset(record: Record, profile: PatientProfile) -> "Dataset":
    from pydicom import Dataset
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import UID, DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian

    facts = record.facts
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.FileMetaInformationVersion = b"\x00\x01"
    dataset.file_meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    dataset.file_meta.MediaStorageSOPInstanceUID = UID(facts["instance_uid"])
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.ImplementationClassUID = UID(IMPLEMENTATION_UID)
    dataset.file_meta.ImplementationVersionName = "POLYCLINIC"

    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID = DigitalXRayImageStorageForPresentation
    dataset.SOPInstanceUID = facts["instance_uid"]
    dataset.SyntheticData = "YES"
    _add_patient(dataset, profile)
    _add_study(dataset, facts, profile)
    _add_acquisition(dataset, facts)
    _add_pixels(dataset, record)
    return dataset


def _add_patient(dataset: "Dataset", profile: PatientProfile) -> None:
    dataset.PatientName = "^".join(invented_name(profile.patient_id, profile.sex))
    dataset.PatientID = profile.patient_id
    dataset.PatientBirthDate = f"{profile.birth_date:%Y%m%d}" if profile.birth_date else ""
    dataset.PatientSex = profile.sex or ""
    dataset.PatientComments = "SYNTHETIC patient: no real person"
    if profile.age is not None:
        dataset.PatientAge = f"{int(profile.age):03d}Y"
    if profile.height is not None:
        dataset.PatientSize = f"{profile.height / 100:.3f}"
    if profile.weight is not None:
        dataset.PatientWeight = f"{profile.weight:.1f}"


def _add_study(dataset: "Dataset", facts: Facts, profile: PatientProfile) -> None:
    """General Study, Patient Study, General and DX Series, General Equipment, and their calendar."""
    token = blake2b(facts["study_uid"].encode(), digest_size=6)
    dataset.StudyInstanceUID = facts["study_uid"]
    dataset.SeriesInstanceUID = facts["series_uid"]
    dataset.StudyID = "1"
    dataset.SeriesNumber = "1"
    dataset.InstanceNumber = "1"
    dataset.AccessionNumber = f"SYN{token.hexdigest()}"
    dataset.ReferringPhysicianName = ""
    dataset.StudyDescription = "Synthetic chest X-ray"
    dataset.SeriesDescription = f"Synthetic {facts['view'] or 'frontal'} chest"
    dataset.Manufacturer = "Polyclinic"
    dataset.ManufacturerModelName = "Synthetic image generator"
    dataset.Modality = "DX"
    dataset.PresentationIntentType = "FOR PRESENTATION"
    if facts["findings"]:
        meanings = {code: _meaning(code) for code in facts["findings"]}
        dataset.AdmittingDiagnosesDescription = "; ".join(meanings.values())[:64]
        dataset.AdmittingDiagnosesCodeSequence = [
            _code(c, "I10C", meaning) for c, meaning in meanings.items()
        ]
    if profile.index_date is None:
        dataset.StudyDate = dataset.StudyTime = ""
        return
    opening = datetime.combine(profile.index_date, time(7))
    start = opening + timedelta(seconds=int.from_bytes(token.digest(), "big") % (12 * 3600))
    for name, minutes in (("Study", 0), ("Series", 1), ("Acquisition", 2), ("Content", 2)):
        moment = start + timedelta(minutes=minutes)
        setattr(dataset, f"{name}Date", f"{moment:%Y%m%d}")
        setattr(dataset, f"{name}Time", f"{moment:%H%M%S}")


def _add_acquisition(dataset: "Dataset", facts: Facts) -> None:
    """DX Anatomy Imaged, DX Positioning, DX Detector and Acquisition Context."""
    from pydicom.valuerep import format_number_as_ds

    dataset.BodyPartExamined = facts["body_part"]
    dataset.ImageLaterality = "U"  # unpaired
    dataset.AnatomicRegionSequence = [_code(*REGIONS[facts["body_part"]])]
    dataset.PatientOrientation = ["L", "F"]  # rows run to the patient's left, columns to the feet
    if facts["view"] is not None:
        dataset.ViewPosition = facts["view"]
        dataset.ViewCodeSequence = [_code(*VIEWS[facts["view"]])]
        dataset.ViewCodeSequence[0].ViewModifierCodeSequence = []
        dataset.PositionerType = ""
    dataset.DetectorType = ""
    spacing = format_number_as_ds(float(facts["pixel_spacing_mm"]))
    dataset.ImagerPixelSpacing = [spacing, spacing]
    dataset.PixelSpacing = [spacing, spacing]
    dataset.AcquisitionContextSequence = []


def _add_pixels(dataset: "Dataset", record: Record) -> None:
    """General Image, Image Pixel, DX Image and VOI LUT; the window shows all greys."""
    image = record.arrays["image"]
    assert image.dtype == np.uint16, f"expected uint16 pixels, got {image.dtype}"
    assert image.ndim == 2, f"expected (row, column), got shape {image.shape}"
    assert image.max() < GREYS, f"expected {BITS}-bit pixels, the greatest is {image.max()}"
    dataset.ImageType = ["DERIVED", "PRIMARY"]
    dataset.DerivationDescription = record.facts["derivation"]
    dataset.ImageComments = SYNTHETIC
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = image.shape
    dataset.BitsAllocated = 16
    dataset.BitsStored = BITS
    dataset.HighBit = BITS - 1
    dataset.PixelRepresentation = 0
    dataset.PixelIntensityRelationship = "LOG"
    dataset.PixelIntensityRelationshipSign = -1  # fewer photons, brighter pixel
    dataset.RescaleIntercept = "0"
    dataset.RescaleSlope = "1"
    dataset.RescaleType = "US"
    dataset.PresentationLUTShape = "IDENTITY"
    dataset.WindowCenter = str(GREYS // 2)
    dataset.WindowWidth = str(GREYS)
    dataset.LossyImageCompression = "00"
    dataset.BurnedInAnnotation = "NO"
    dataset.PixelData = image.astype("<u2").tobytes()
    dataset["PixelData"].VR = "OW"


def _meaning(code: str) -> str:
    """What an ICD-10-CM code says, in the 64 characters that DICOM allows."""
    return BY_NAME[code].label[:64] if code in BY_NAME else f"ICD-10-CM {code}"


def _code(value: str, scheme: str, meaning: str) -> "Dataset":
    from pydicom import Dataset

    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def _record(path: Path) -> Record:
    dataset = read_dataset(path)
    image = stored_pixels(dataset, path)
    diagnoses = dataset.get("AdmittingDiagnosesCodeSequence") or []
    try:
        facts = {
            "findings": [str(item.CodeValue) for item in diagnoses],
            "view": str(dataset.ViewPosition) if "ViewPosition" in dataset else None,
            "body_part": str(dataset.BodyPartExamined),
            "study_uid": str(dataset.StudyInstanceUID),
            "series_uid": str(dataset.SeriesInstanceUID),
            "instance_uid": str(dataset.SOPInstanceUID),
            "pixel_spacing_mm": float(dataset.ImagerPixelSpacing[0]),
            "derivation": str(dataset.DerivationDescription),
        }
    except AttributeError as error:
        raise InputError(f"{path}: expected a DICOM file of a cohort, a tag is missing ({error})") from None
    return Record({"image": image}, facts)
