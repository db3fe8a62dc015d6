"""Cohorts of tiny DICOM files to push, made without drawing."""

import json
from hashlib import sha256
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, RLELossless, SecondaryCaptureImageStorage


def image(number: int, compressed: bool = False) -> Dataset:
    """A picture of 8 x 8 pixels of a patient of its own."""
    tags = Dataset()
    tags.file_meta = FileMetaDataset()
    tags.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    tags.SOPClassUID = tags.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    root = f"1.2.826.0.1.3680043.8.498.{number + 1}"
    tags.SOPInstanceUID = tags.file_meta.MediaStorageSOPInstanceUID = f"{root}.3"
    tags.StudyInstanceUID, tags.SeriesInstanceUID = f"{root}.1", f"{root}.2"
    tags.PatientID, tags.PatientName, tags.Modality = f"SYN-{number}", f"SYN^{number}", "OT"
    tags.StudyID, tags.SeriesNumber, tags.InstanceNumber = "1", 1, 1
    tags.StudyDate = tags.StudyTime = tags.AccessionNumber = tags.PatientBirthDate = tags.PatientSex = ""
    tags.ReferringPhysicianName, tags.ConversionType = "", "SYN"
    tags.Rows = tags.Columns = 8
    tags.SamplesPerPixel, tags.PhotometricInterpretation = 1, "MONOCHROME2"
    tags.BitsAllocated = tags.BitsStored = 8
    tags.HighBit, tags.PixelRepresentation = 7, 0
    tags.PixelData = np.full((8, 8), number % 256, np.uint8).tobytes()
    if compressed:
        tags.compress(RLELossless, generate_instance_uid=False)
    return tags


def uid(number: int) -> str:
    """The instance of image(number)."""
    return f"1.2.826.0.1.3680043.8.498.{number + 1}.3"


def cohort(folder: Path, images: int, compressed: bool = False) -> Path:
    """A finished cohort of so many pictures."""
    for number in range(images):
        path = folder / "dicom" / f"SYN-{number:04d}" / "a" / "b" / "c.dcm"
        path.parent.mkdir(parents=True)
        pydicom.dcmwrite(path, image(number, compressed), enforce_file_format=True)
    listed = {
        path.relative_to(folder).as_posix(): {
            "sha256": sha256(path.read_bytes()).hexdigest(), "bytes": path.stat().st_size,
        }
        for path in sorted(folder.rglob("*.dcm"))
    }  # fmt: skip
    manifest = {
        "format": "polyclinic-cohort", "format_version": 2, "status": "complete", "patients": images,
        "modalities": {"imaging": {}}, "files": listed,
    }  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder
