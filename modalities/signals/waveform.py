"""DICOM ECG waveforms (PS3.3 A.34.3 and A.34.4): written with their marks, and the signals of any of them."""

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...core.errors import InputError, first_line
from ...core.modality import Record
from ...core.names import invented_name
from ...core.profile import PatientProfile, study_begins
from .artefacts import lost_leads
from .layout import BEATS, LEADS, RATE, STUDY, SYNTHETIC, Tracing, ecg_steps, taken

if TYPE_CHECKING:
    from pydicom import Dataset

TWELVE_LEAD = "1.2.840.10008.5.1.4.1.1.9.1.1"
GENERAL = "1.2.840.10008.5.1.4.1.1.9.1.2"
LONGEST = 16384  # samples that a 12-lead ECG object may hold; a longer trace is a general ECG
IMPLEMENTATION_UID = "2.25.300427387974410131203049170773440303652"  # ours, as in images
# Lead codes of context group 3001: the part after `2:` in MDC, after `5.6.3-9-` in SCPECG
CODES = dict(zip(LEADS, ("1", "2", "61", "62", "63", "64", "3", "4", "5", "6", "7", "8"), strict=True))
SCHEMES = {"MDC": "2:", "SCPECG": "5.6.3-9-"}
MOST_POSITIONS = 16000  # of an annotation: more 32-bit numbers than 64 kB do not fit an element
BITS = {"SS": "i", "SB": "i", "US": "u", "UB": "u"}  # of Waveform Sample Interpretation


def check(profile: PatientProfile) -> None:
    """Raises InputError for a patient that a DICOM waveform cannot be of."""
    name = profile.patient_id
    if not (name == name.strip() and name.isprintable() and 0 < len(name) <= 64) or set(name) & {"\\", "/"}:
        raise InputError(f"patient id {name!r}: DICOM takes 1 to 64 printable characters without slashes")
    if profile.index_date is None:
        raise InputError(
            f"patient {name}: a DICOM waveform needs a date, expected index_date; leave dicom out of signals.formats"
        )


def write(record: Record, profile: PatientProfile, folder: Path) -> list[Path]:
    """Write <study_uid>/<series_uid>/<instance_uid>.dcm below `folder`; the paths written, none without an ECG."""
    if "ecg" not in record.arrays:
        return []
    study, series, instance = (record.facts[name] for name in STUDY)
    path = folder / study / series / f"{instance}.dcm"
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset_of(record, profile).save_as(path, enforce_file_format=True)
    return [path]


def dataset_of(record: Record, profile: PatientProfile) -> "Dataset":
    """The whole object: 12 channels of 16 bits in steps of 1 uV; the same for the same arguments."""
    from pydicom import Dataset

    steps = ecg_steps(record.arrays["ecg"])
    dataset = Dataset()
    _add_common(dataset, TWELVE_LEAD if steps.shape[1] <= LONGEST else GENERAL, record.facts["instance_uid"])
    _add_patient(dataset, profile)
    _add_study(dataset, record, profile)
    dataset.AcquisitionContextSequence = []
    dataset.WaveformSequence = [_group(steps)]
    if marks := _marks(record):
        dataset.WaveformAnnotationSequence = marks
    return dataset


def tracing(path: Path) -> Tracing:
    """Signals of the first multiplex group of a DICOM waveform that has all 12 leads, else of its first group.

    Leads are told by their MDC or SCPECG codes, else by their labels. Raises InputError.
    """
    import struct

    from pydicom import dcmread
    from pydicom.errors import BytesLengthException, InvalidDicomError

    if not path.is_file():
        raise InputError(f"{path}: no such file; expected a DICOM waveform")
    try:
        dataset = dcmread(path)
        if not dataset.get("WaveformSequence"):
            raise InputError(f"{path}: expected a DICOM ECG, this object has no waveform")
        groups = [_signals(item) for item in dataset.WaveformSequence]
    # what pydicom raises for absent or broken tags and short data
    except (
        InvalidDicomError, BytesLengthException, AttributeError, TypeError, LookupError, NotImplementedError,
        OSError, EOFError, struct.error,
    ) as error:  # fmt: skip
        raise _unreadable(path, error) from None
    except ValueError as error:
        raise error if isinstance(error, InputError) else _unreadable(path, error) from None
    return next((group for group in groups if set(LEADS) <= set(group.names)), groups[0])


def _unreadable(path: Path, error: Exception) -> InputError:
    return InputError(f"{path}: expected a whole DICOM waveform, cannot read it ({first_line(error)})")


def _signals(item: "Dataset") -> Tracing:
    count, samples = int(item.NumberOfWaveformChannels), int(item.NumberOfWaveformSamples)
    kind = f"<{BITS[item.WaveformSampleInterpretation]}{int(item.WaveformBitsAllocated) // 8}"
    stored = np.frombuffer(item.WaveformData, kind, count * samples).reshape(samples, count)
    padding = item.get("WaveformPaddingValue")
    if isinstance(padding, bytes):
        padding = np.frombuffer(padding, kind, 1)[0]
    values, names, units = [], [], []
    for channel, row in zip(item.ChannelDefinitionSequence, stored.T, strict=True):
        step = float(channel.ChannelSensitivity) * float(
            channel.get("ChannelSensitivityCorrectionFactor") or 1
        )
        value = row * step + float(channel.get("ChannelBaseline") or 0)
        values.append(value if padding is None else np.where(row == padding, np.nan, value))
        names.append(_lead(channel))
        units.append(str(channel.ChannelSensitivityUnitsSequence[0].CodeValue))
    return Tracing(tuple(names), tuple(units), (float(item.SamplingFrequency),) * count, values)


def _lead(channel: "Dataset") -> str:
    """The lead that a channel's source code names; its label where the code is none of ours."""
    source = channel.ChannelSourceSequence[0]
    prefix = SCHEMES.get(str(source.get("CodingSchemeDesignator", "")), "")
    for lead, code in CODES.items():
        if prefix and str(source.get("CodeValue", "")) == prefix + code:
            return lead
    return str(channel.get("ChannelLabel") or source.get("CodeMeaning", "")).strip()


def _add_common(dataset: "Dataset", sop_class: str, instance_uid: str) -> None:
    """File meta information and SOP Common."""
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import UID, ExplicitVRLittleEndian

    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = UID(sop_class), UID(instance_uid)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(IMPLEMENTATION_UID)
    meta.ImplementationVersionName = "POLYCLINIC"
    dataset.file_meta = meta
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, instance_uid
    dataset.SyntheticData = "YES"


def _add_patient(dataset: "Dataset", profile: PatientProfile) -> None:
    """Patient, and Patient Study as far as the profile knows; the same words as in images."""
    dataset.PatientName = "^".join(invented_name(profile.patient_id, profile.sex))
    dataset.PatientID = profile.patient_id
    dataset.PatientBirthDate = f"{profile.birth_date:%Y%m%d}" if profile.birth_date else ""
    dataset.PatientSex = profile.sex or ""
    dataset.PatientComments = "SYNTHETIC patient: no real person"
    if profile.age is not None:
        dataset.PatientAge = _age(profile.age)
    if profile.height is not None:
        dataset.PatientSize = f"{profile.height / 100:.3f}"
    if profile.weight is not None:
        dataset.PatientWeight = f"{profile.weight:.1f}"


def _age(years: float) -> str:
    """An Age String: in days below one month, in months below two years (PS3.5 table 6.2-1)."""
    if years >= 2:
        return f"{int(years):03d}Y"
    months = int(years * 12)
    return f"{months:03d}M" if months else f"{int(years * 365):03d}D"


def _add_study(dataset: "Dataset", record: Record, profile: PatientProfile) -> None:
    """General Study, Series and Equipment, Waveform Identification: one calendar for all, as for images."""
    assert profile.index_date is not None
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = (record.facts[name] for name in STUDY[:2])
    dataset.StudyID = dataset.SeriesNumber = dataset.InstanceNumber = "1"
    dataset.AccessionNumber = dataset.ReferringPhysicianName = ""
    dataset.Modality = "ECG"
    dataset.StudyDescription = dataset.SeriesDescription = "Synthetic 12-lead ECG"
    dataset.Manufacturer, dataset.ManufacturerModelName = "Polyclinic", "Synthetic ECG generator"
    begun, moment = (
        study_begins(record.facts["study_uid"], profile.index_date),
        taken(record.facts, profile.index_date),
    )
    for name, when in (("Study", begun), ("Series", begun + timedelta(minutes=1)), ("Content", moment)):
        setattr(dataset, f"{name}Date", f"{when:%Y%m%d}")
        setattr(dataset, f"{name}Time", f"{when:%H%M%S}")
    dataset.AcquisitionDateTime = f"{moment:%Y%m%d%H%M%S}"


def _group(steps: NDArray[np.int16]) -> "Dataset":
    """Waveform: one multiplex group, sample after sample of all channels."""
    from pydicom import Dataset

    group = Dataset()
    group.WaveformOriginality = "DERIVED"
    group.MultiplexGroupLabel = "SYNTHETIC"
    group.NumberOfWaveformChannels, group.NumberOfWaveformSamples = steps.shape
    group.SamplingFrequency = str(RATE)
    group.ChannelDefinitionSequence = [_channel(number, lead) for number, lead in enumerate(LEADS, 1)]
    group.WaveformBitsAllocated = 16
    group.WaveformSampleInterpretation = "SS"
    group.WaveformData = steps.T.astype("<i2").tobytes()
    group["WaveformData"].VR = "OW"
    return group


def _channel(number: int, lead: str) -> "Dataset":
    from pydicom import Dataset

    channel = Dataset()
    channel.WaveformChannelNumber = str(number)
    channel.ChannelLabel = lead
    channel.ChannelSourceSequence = [_coded(SCHEMES["MDC"] + CODES[lead], "MDC", f"Lead {lead}")]
    channel.ChannelSensitivity = channel.ChannelSensitivityCorrectionFactor = "1"
    channel.ChannelSensitivityUnitsSequence = [_coded("uV", "UCUM", "microvolt")]
    channel.ChannelBaseline = channel.ChannelSampleSkew = "0"
    channel.WaveformBitsStored = 16
    return channel


def _marks(record: Record) -> list["Dataset"]:
    """Waveform Annotation: what it is, rhythm over all, beats of each kind, electrodes off. Samples count from 1."""
    facts, samples = record.facts, record.arrays["ecg"].shape[1]
    marks = [_mark(SYNTHETIC, "SEGMENT", [1, samples])]
    if "rhythm" in facts:
        marks.append(_mark(f"rhythm: {facts['rhythm']}", "SEGMENT", [1, samples]))
    beats = [int(n) + 1 for n in record.arrays.get("r_peaks", ())]
    kinds = facts.get("kinds", "N" * len(beats))
    for kind, meaning in BEATS.items():
        own = [n for n, k in zip(beats, kinds, strict=True) if k == kind]
        for first in range(0, len(own), MOST_POSITIONS):
            some = own[first : first + MOST_POSITIONS]
            marks.append(_mark(meaning, "MULTIPOINT" if len(some) > 1 else "POINT", some))
    for electrode, first, end in facts.get("lead_off", ()):
        lost = lost_leads(electrode)
        said = f"lead off {electrode}: {' '.join(LEADS[place] for place in lost)}"
        marks.append(_mark(said, "SEGMENT", [first + 1, end], [place + 1 for place in lost]))
    return marks


def _mark(text: str, kind: str, positions: list[int], channels: list[int] | None = None) -> "Dataset":
    """An annotation of these channels of the one group, or of all (channel 0)."""
    from pydicom import Dataset

    mark = Dataset()
    mark.AnnotationGroupNumber = 1
    mark.UnformattedTextValue = text
    mark.ReferencedWaveformChannels = [n for channel in channels or [0] for n in (1, channel)]
    mark.TemporalRangeType = kind
    mark.ReferencedSamplePositions = positions
    return mark


def _coded(value: str, scheme: str, meaning: str) -> "Dataset":
    from pydicom import Dataset

    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item
