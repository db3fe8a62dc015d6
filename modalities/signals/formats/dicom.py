"""DICOM ECG waveforms (PS3.3 A.34.3 and A.34.4): written with their marks, and the signals of any of them."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ....core.config import LARGEST
from ....core.dicom_encoding import save
from ....core.dicom_patient import add_equipment, add_patient, broken, check_id, coded, read_object, started
from ....core.errors import InputError, first_line
from ....core.modality import Record
from ....core.profile import PatientProfile
from ....core.study import Study
from ..layout import (
    BEATS,
    LEADS,
    RATE,
    STUDY,
    SYNTHETIC,
    Tracing,
    beats_of,
    ecg_steps,
    rhythms,
)
from ..leads import Leads, lead_name, lead_off, leads_of

if TYPE_CHECKING:
    from pydicom import Dataset

TWELVE_LEAD = "1.2.840.10008.5.1.4.1.1.9.1.1"
GENERAL = "1.2.840.10008.5.1.4.1.1.9.1.2"  # of 1 to 24 channels
LONGEST = 16384  # samples that a 12-lead ECG object may hold; a longer trace is a general ECG
# Lead codes of context group 3001: the part after `2:` in MDC, after `5.6.3-9-` in SCPECG
CODES = dict(zip(LEADS, ("1", "2", "61", "62", "63", "64", "3", "4", "5", "6", "7", "8"), strict=True))
UNSPECIFIED = "0"  # a lead of another name
SCHEMES = {"MDC": "2:", "SCPECG": "5.6.3-9-"}
MOST_POSITIONS = 16000  # of an annotation: more 32-bit numbers than 64 kB do not fit an element
BITS = {"SS": "i", "SB": "i", "US": "u", "UB": "u"}  # of Waveform Sample Interpretation


class DicomWaveforms:
    """DICOM ECG waveforms in waveforms/<patient>/<study>/<series>/<instance>.dcm."""

    name, modality = "dicom", "signals"

    def check(self, profile: PatientProfile) -> None:
        """Raises InputError for a patient that a DICOM waveform cannot be of."""
        check_id(profile.patient_id)
        if profile.index_date is None:
            raise InputError(
                f"patient {profile.patient_id}: a DICOM waveform needs a date, expected index_date; "
                "leave dicom out of signals.formats"
            )

    def write(
        self, records: Sequence[Record], profiles: Sequence[PatientProfile], folder: Path
    ) -> list[Path]:
        """See core.contracts.Format; a record without an ECG has no file."""
        for profile in profiles:
            self.check(profile)
        paths = []
        for record, profile in zip(records, profiles, strict=True):
            if "ecg" not in record.arrays:
                continue
            study, series, instance = (record.facts[name] for name in STUDY)
            paths.append(folder / "waveforms" / profile.patient_id / study / series / f"{instance}.dcm")
            paths[-1].parent.mkdir(parents=True, exist_ok=True)
            save(dataset_of(record, profile), paths[-1])
        return paths

    def holds(self, path: Path) -> bool:
        """By name, or by the mark of a DICOM file: many have no suffix."""
        if path.suffix.lower() in (".dcm", ".dicom"):
            return True
        if path.suffix or not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"

    def tracing(self, path: Path) -> Tracing:
        """Signals of the longest multiplex group of a DICOM waveform, of those that have all 12 leads if any has.

        A median beat, which many recorders put first, is shorter than the rhythm it was made of.

        Leads are found by their MDC or SCPECG codes, else by their labels. Raises InputError.
        """
        if not path.is_file():
            raise InputError(f"{path}: no such file; expected a DICOM waveform")
        try:
            dataset = read_object(path)
            if not dataset.get("WaveformSequence"):
                raise InputError(f"{path}: expected a DICOM ECG, this object has no waveform")
            groups = [_signals(item) for item in dataset.WaveformSequence]
        except InputError:
            raise
        except broken() as error:
            raise InputError(
                f"{path}: expected a whole DICOM waveform, cannot read it ({first_line(error)})"
            ) from None
        whole = [group for group in groups if set(LEADS) <= set(map(lead_name, group.names))] or groups
        seconds = [len(own.values[0]) / own.rates[0] if own.rates[0] > 0 else 0.0 for own in whole]
        return whole[int(np.argmax(seconds))]


def dataset_of(record: Record, profile: PatientProfile) -> "Dataset":
    """The whole object: a channel a lead, of 16 bits in steps of 1 uV; the same for the same arguments."""
    leads = leads_of(record)
    steps = ecg_steps(record.arrays["ecg"])
    kind = TWELVE_LEAD if leads.standard and steps.shape[1] <= LONGEST else GENERAL
    dataset = started(kind, record.facts["instance_uid"])
    add_patient(dataset, profile)
    _add_study(dataset, record, profile)
    dataset.AcquisitionContextSequence = []
    dataset.WaveformSequence = [_group(steps, leads)]
    if marks := _marks(record):
        dataset.WaveformAnnotationSequence = marks
    return dataset


def _signals(item: "Dataset") -> Tracing:
    count, samples = int(item.NumberOfWaveformChannels), int(item.NumberOfWaveformSamples)
    kind = f"<{BITS[item.WaveformSampleInterpretation]}{int(item.WaveformBitsAllocated) // 8}"
    stored = np.frombuffer(item.WaveformData, kind, count * samples).reshape(samples, count)
    padding = item.get("WaveformPaddingValue")
    if isinstance(padding, bytes):
        padding = np.frombuffer(padding, kind, 1)[0]
    values, names, units = [], [], []
    for channel, row in zip(item.ChannelDefinitionSequence, stored.T, strict=True):
        numbers = (
            channel.ChannelSensitivity,
            channel.get("ChannelSensitivityCorrectionFactor") or 1,
            channel.get("ChannelBaseline") or 0,
        )
        sensitivity, factor, baseline = map(float, numbers)
        if not 0 < abs(sensitivity * factor) < LARGEST or not abs(baseline) < LARGEST:
            raise ValueError(
                f"its sensitivity, correction factor and baseline are {', '.join(map(str, numbers))}"
            )
        value = row * (sensitivity * factor) + baseline
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


def _add_study(dataset: "Dataset", record: Record, profile: PatientProfile) -> None:
    """General Study, Series and Equipment, Waveform Identification: one calendar for all, as for images."""
    study = Study.of(record.facts, profile.index_date)
    assert study is not None, "an ECG of a cohort is identified"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = (record.facts[name] for name in STUDY[:2])
    dataset.StudyID = dataset.SeriesNumber = dataset.InstanceNumber = "1"
    dataset.AccessionNumber, dataset.ReferringPhysicianName = study.accession, ""
    dataset.Modality = "ECG"
    dataset.StudyDescription = dataset.SeriesDescription = f"Synthetic {len(leads_of(record))}-lead ECG"
    add_equipment(dataset, "Synthetic ECG generator", "ECG")
    for name, when in (("Study", study.begins), ("Series", study.series_begins), ("Content", study.taken)):
        setattr(dataset, f"{name}Date", f"{when:%Y%m%d}")
        setattr(dataset, f"{name}Time", f"{when:%H%M%S}")
    dataset.AcquisitionDateTime = f"{study.taken:%Y%m%d%H%M%S}"


def _group(steps: NDArray[np.int16], leads: Leads) -> "Dataset":
    """Waveform: one multiplex group, sample after sample of all channels."""
    from pydicom import Dataset

    group = Dataset()
    group.WaveformOriginality = "DERIVED"
    group.MultiplexGroupLabel = "SYNTHETIC"
    group.NumberOfWaveformChannels, group.NumberOfWaveformSamples = steps.shape
    group.SamplingFrequency = str(RATE)
    group.ChannelDefinitionSequence = [_channel(number, lead) for number, lead in enumerate(leads.names, 1)]
    group.WaveformBitsAllocated = 16
    group.WaveformSampleInterpretation = "SS"
    group.WaveformData = steps.T.astype("<i2").tobytes()
    group["WaveformData"].VR = "OW"
    return group


def _channel(number: int, lead: str) -> "Dataset":
    from pydicom import Dataset

    channel = Dataset()
    channel.WaveformChannelNumber = str(number)
    channel.ChannelLabel = lead[:16]
    meaning = f"Lead {lead}" if lead in CODES else "Unspecified lead"
    channel.ChannelSourceSequence = [coded(SCHEMES["MDC"] + CODES.get(lead, UNSPECIFIED), "MDC", meaning)]
    channel.ChannelSensitivity = channel.ChannelSensitivityCorrectionFactor = "1"
    channel.ChannelSensitivityUnitsSequence = [coded("uV", "UCUM", "microvolt")]
    channel.ChannelBaseline = channel.ChannelSampleSkew = "0"
    channel.WaveformBitsStored = 16
    return channel


def _marks(record: Record) -> list["Dataset"]:
    """Waveform Annotation: what it is, rhythms, beats of each kind, electrodes off. Samples count from 1."""
    facts, samples = record.facts, record.arrays["ecg"].shape[1]
    marks = [_mark(SYNTHETIC, "SEGMENT", [1, samples])]
    for first, end, name in rhythms(facts, samples):
        marks.append(_mark(f"rhythm: {name}", "SEGMENT", [first + 1, end]))
    beats = beats_of(record)
    for kind, meaning in BEATS.items():
        places = [n + 1 for n, k in beats if k == kind]
        for first in range(0, len(places), MOST_POSITIONS):
            some = places[first : first + MOST_POSITIONS]
            marks.append(_mark(meaning, "MULTIPOINT" if len(some) > 1 else "POINT", some))
    for first, end, text, lost in lead_off(facts):
        marks.append(_mark(f"lead off {text}", "SEGMENT", [first + 1, end], [place + 1 for place in lost]))
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
