"""What DICOM objects of all kinds share: how they begin, whose they are, which ids they hold, how they break."""

import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .. import __version__
from .errors import InputError
from .names import invented_name
from .profile import PatientProfile
from .study import UTC_OFFSET

if TYPE_CHECKING:
    from pydicom import Dataset

SEGMENTATIONS = (
    "1.2.840.10008.5.1.4.1.1.66.4",
    "1.2.840.10008.5.1.4.1.1.66.7",
)  # SOP classes: segments, label map
IMPLEMENTATION_UID = "2.25.300427387974410131203049170773440303652"  # ours, in every file's meta header


def read_object(path: Path, pixels: bool = True, tags: Sequence[str] | None = None) -> "Dataset":
    """A DICOM file, all of it or some tags; zeros behind its end are not read. Raises what pydicom does, see broken().

    pydicom's dcmread takes a terabyte of zeros for as many empty elements of group 0, which no file holds (PS3.10 7.1).
    """
    from pydicom.filereader import read_partial
    from pydicom.tag import Tag

    pixel_tags = {0x7FE00008, 0x7FE00009, 0x7FE00010}

    def ended(tag: int, *_: object) -> bool:
        return int(tag) >> 16 == 0 or (not pixels and int(tag) in pixel_tags)

    with path.open("rb") as file:
        return read_partial(file, ended, specific_tags=[Tag(name) for name in tags] if tags else None)


def check_id(patient_id: str) -> None:
    """Raises InputError for an id that a DICOM tag and a folder's name cannot hold."""
    fits = patient_id == patient_id.strip() and patient_id.isprintable() and 0 < len(patient_id) <= 64
    if not fits or "\\" in patient_id or "/" in patient_id:
        raise InputError(
            f"patient id {patient_id!r}: DICOM takes 1 to 64 printable characters without slashes"
        )


def started(sop_class: str, instance_uid: str) -> "Dataset":
    """A dataset with file meta information (explicit little endian) and the SOP Common module."""
    from pydicom import Dataset
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import UID, ExplicitVRLittleEndian

    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = UID(sop_class), UID(instance_uid)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(IMPLEMENTATION_UID)
    meta.ImplementationVersionName = "POLYCLINIC"
    dataset = Dataset()
    dataset.file_meta = meta
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, instance_uid
    dataset.SyntheticData = "YES"
    dataset.TimezoneOffsetFromUTC = UTC_OFFSET
    return dataset


def add_equipment(dataset: "Dataset", model: str, modality: str) -> None:
    """General Equipment: every tag says that there was none."""
    dataset.Manufacturer, dataset.ManufacturerModelName = "Polyclinic", model
    dataset.InstitutionName = "Synthetic Polyclinic"
    dataset.StationName = f"SYNTHETIC-{modality}"
    dataset.DeviceSerialNumber = "SYNTHETIC"
    dataset.SoftwareVersions = f"polyclinic {__version__}"


def add_patient(dataset: "Dataset", profile: PatientProfile) -> None:
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


def age_string(years: float) -> str:
    """An Age String: in days below one month, in months below two years (PS3.5 table 6.2-1)."""
    if years >= 2:
        return f"{int(years):03d}Y"
    months = int(years * 12)
    return f"{months:03d}M" if months else f"{int(years * 365):03d}D"


def coded(value: str, scheme: str, meaning: str) -> "Dataset":
    """An item of a code sequence."""
    from pydicom import Dataset

    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def broken() -> tuple[type[Exception], ...]:
    """What pydicom and its codecs raise for absent or broken tags, short data, and what no codec reads.

    Tags are decoded when they are first looked at, so these come at any time.
    """
    from pydicom.errors import BytesLengthException, InvalidDicomError

    return (
        InvalidDicomError, BytesLengthException, AttributeError, ValueError, TypeError, LookupError,
        NotImplementedError, RuntimeError, OSError, EOFError, struct.error, zlib.error,
    )  # fmt: skip
