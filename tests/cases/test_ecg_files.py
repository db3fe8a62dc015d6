"""ECG files as recorders and converters leave them: twelve leads in mV, or one line that says why not."""

import re
import warnings
from copy import deepcopy
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import wfdb
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from polyclinic.core.errors import InputError
from polyclinic.core.modality import Record
from polyclinic.core.profile import PatientProfile
from polyclinic.core.remarks import DataWarning, remarks
from polyclinic.modalities.signals.export import read_ecg
from polyclinic.modalities.signals.formats.dicom import dataset_of
from polyclinic.modalities.signals.layout import LEADS, RATE, study_of, twelve_leads

ECG = twelve_leads(
    np.cumsum(np.random.default_rng(0).normal(0, 0.01, (8, 10 * RATE)), axis=1)
)  # (lead, sample) mV


def write_wfdb(folder: Path, name: str, ecg: np.ndarray, leads: tuple[str, ...] = LEADS) -> Path:
    wfdb.wrsamp(
        name, fs=RATE, units=["mV"] * len(ecg), sig_name=list(leads), fmt=["16"] * len(ecg), write_dir=str(folder),
        d_signal=np.rint(ecg.T * 1000).astype(np.int16), adc_gain=[1000.0] * len(ecg), baseline=[0] * len(ecg),
    )  # fmt: skip
    return folder / name


def write_edf(
    path: Path,
    ecg: np.ndarray,
    labels: list[str],
    unit: bytes = b"uV",
    idle: bool = False,
    seconds: str = "1",
) -> Path:
    """A plain EDF file, byte by byte: what writers that check their input would not write."""
    signals = [np.rint(row * 1000).astype("<i2") for row in ecg]
    ends = [(-32768, 32767)] * len(signals)
    if idle:
        signals, labels, ends = [*signals, signals[0]], [*labels, "-"], [*ends, (0, 0)]

    def fixed(value: Any, width: int) -> bytes:
        text = value if isinstance(value, bytes) else str(value).encode()
        return text.ljust(width)

    count, records = len(signals), len(signals[0]) // RATE
    head = [("0", 8), ("X X X X", 80), ("Startdate X X X X", 80), ("01.01.24", 8), ("10.00.00", 8)]
    head += [(256 * (count + 1), 8), ("", 44), (records, 8), (seconds, 8), (count, 4)]
    columns: list[tuple[list[Any], int]] = [
        (labels, 16), ([""] * count, 80), ([unit] * count, 8), ([low for low, _ in ends], 8),
        ([high for _, high in ends], 8), ([-32768] * count, 8), ([32767] * count, 8), ([""] * count, 80),
        ([RATE] * count, 8), ([""] * count, 32),
    ]  # fmt: skip
    header = b"".join(fixed(value, width) for value, width in head)
    header += b"".join(fixed(value, width) for values, width in columns for value in values)
    body = b"".join(s[k * RATE : (k + 1) * RATE].tobytes() for k in range(records) for s in signals)
    path.write_bytes(header + body)
    return path


def waveform() -> Dataset:
    record = Record({"ecg": ECG, "r_peaks": np.zeros(0, np.int64)}, {"heart_rate": 70.0, **study_of(1)})
    return dataset_of(record, PatientProfile("PC-1", index_date=date(2024, 5, 1)))


LABELS = [f"ECG {lead}" for lead in LEADS]


def same(got: np.ndarray) -> None:
    np.testing.assert_allclose(got, ECG, atol=1.1e-3)


def test_segments_of_a_record_are_joined(tmp_path: Path) -> None:
    write_wfdb(tmp_path, "a", ECG[:, :2000])
    write_wfdb(tmp_path, "b", ECG[:, 2000:])
    (tmp_path / "m.hea").write_text(f"m/2 12 {RATE} 5000\na 2000\nb 3000\n")
    same(read_ecg(tmp_path / "m"))
    (tmp_path / "b.hea").unlink()
    with pytest.raises(InputError, match=r"b\.hea: no such file; m\.hea names it"):
        read_ecg(tmp_path / "m")


def test_a_segment_in_another_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.hea").write_text(f"m/1 12 {RATE} 5000\n../../a 5000\n")
    with pytest.raises(InputError, match="names of segments beside it"):
        read_ecg(tmp_path / "m")


def test_a_gap_between_segments_is_no_ecg(tmp_path: Path) -> None:
    write_wfdb(tmp_path, "a", ECG[:, :2000])
    write_wfdb(tmp_path, "b", ECG[:, 2500:])
    (tmp_path / "m.hea").write_text(f"m/3 12 {RATE} 5000\na 2000\n~ 500\nb 2500\n")
    with pytest.raises(InputError, match="6000 samples are marked invalid"):
        read_ecg(tmp_path / "m")


@pytest.mark.parametrize("rate", ["0", "-5"])
def test_a_rate_of_nothing_is_refused(tmp_path: Path, rate: str) -> None:
    path = write_wfdb(tmp_path, "r", ECG)
    header = path.with_suffix(".hea")
    header.write_text(header.read_text().replace(f"r 12 {RATE} ", f"r 12 {rate} "))
    with pytest.raises(InputError, match=r"^[^\n]*(sampling rate above 0 Hz|whole WFDB record)[^\n]*$"):
        read_ecg(path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ((f"r 12 {RATE} 5000", f"r 12 {RATE} -1"), "r.hea: expected a whole number of samples, got '-1'"),
        ((f"r 12 {RATE} 5000", "r 12"), "r.hea: expected a sampling rate above 0 Hz, got ''"),
        ((f"r 12 {RATE}", f"r {'9' * 19} {RATE}"), "r: expected a whole WFDB record, cannot read it"),
        (
            ("1000.0(0)", "0(0)"),
            "r.hea: expected the gain of each signal, steps per unit, from 1e-12 to 1e+12, got '0(0)/mV'",
        ),
        (("1000.0(0)", "1e300(0)"), "got '1e300(0)/mV'"),
        (("1000.0(0)", "x(0)"), "got 'x(0)/mV'"),
        ((" 16 ", " 16x0 "), "r: expected a whole WFDB record, cannot read it"),
        (("(0)", "(99999999999)"), "r.hea: expected baselines of 32 bits, got 99999999999"),
    ],
)
def test_a_header_whose_numbers_cannot_be_is_refused(
    tmp_path: Path, change: tuple[str, str], said: str
) -> None:
    header = write_wfdb(tmp_path, "r", ECG).with_suffix(".hea")
    text = header.read_text()
    assert change[0] in text
    header.write_text(text.replace(*change, 1))
    with pytest.raises(InputError, match=re.escape(said)):
        read_ecg(header)


@pytest.mark.parametrize("twice", ["II", "ii", " V3 "])
def test_a_lead_that_is_there_twice_is_refused_by_name(tmp_path: Path, twice: str) -> None:
    more = np.vstack([ECG, 0 * ECG[:1]])
    name = next(lead for lead in LEADS if lead.lower() == twice.strip().lower())
    path = write_wfdb(tmp_path, "r", more, (*LEADS, "other"))
    header = path.with_suffix(".hea")
    header.write_text(header.read_text().replace("other", twice.strip()))
    with pytest.raises(InputError, match=f"{name} is there 2 times"):
        read_ecg(path)
    with pytest.raises(InputError, match=f"{name} is there 2 times"):
        read_ecg(write_edf(tmp_path / "r.edf", more, [*LABELS, f"ECG {twice.strip()}"]))


@pytest.mark.parametrize("unit", [b"uV", b"\xb5V", "µV".encode(), "μV".encode(), b"UV"])
def test_the_micro_sign_is_read_in_any_encoding(tmp_path: Path, unit: bytes) -> None:
    same(read_ecg(write_edf(tmp_path / "r.edf", ECG, LABELS, unit)))


def test_an_idle_channel_is_left_out_and_remarked(tmp_path: Path) -> None:
    with remarks(lambda text: None) as found, warnings.catch_warnings():
        warnings.simplefilter("error")
        same(read_ecg(write_edf(tmp_path / "r.edf", ECG, LABELS, idle=True)))
    assert ["the channel '-' has no physical range" in text for text in found] == [True]


def test_data_records_of_no_length_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^[^\n]*r\.edf: expected[^\n]*a duration of 0 s[^\n]*$"):
        read_ecg(write_edf(tmp_path / "r.edf", ECG, LABELS, seconds="0"))


@pytest.mark.parametrize("end", ["1e300", "nan", "-1e15", "inf"])
def test_a_physical_range_beyond_all_measure_is_refused(tmp_path: Path, end: str) -> None:
    path = write_edf(tmp_path / "a.edf", ECG, LABELS)
    head, place = path.read_bytes(), 256 + 12 * (16 + 80 + 8)  # of the first physical minimum
    path.write_bytes(head[:place] + end.encode().ljust(8) + head[place + 8 :])
    with pytest.raises(InputError, match=r"a\.edf: "):
        read_ecg(path)


@pytest.mark.parametrize(
    "tag", ["ChannelSensitivity", "ChannelSensitivityCorrectionFactor", "ChannelBaseline"]
)
@pytest.mark.parametrize("value", ["nan", "inf", "1e300"])
@pytest.mark.filterwarnings("ignore:Invalid value for VR DS")
def test_a_sensitivity_that_is_no_number_is_refused(tmp_path: Path, tag: str, value: str) -> None:
    dataset = waveform()
    setattr(dataset.WaveformSequence[0].ChannelDefinitionSequence[1], tag, value)
    dataset.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    with pytest.raises(InputError, match=r"a\.dcm: expected a whole DICOM waveform, .*sensitivity"):
        read_ecg(tmp_path / "a.dcm")


def test_the_rhythm_is_read_and_not_the_median_beat_before_it(tmp_path: Path) -> None:
    dataset = waveform()
    (rhythm,) = dataset.WaveformSequence
    beat = deepcopy(rhythm)
    beat.NumberOfWaveformSamples = 600
    beat.WaveformData = b"\0" * (600 * 12 * 2)
    dataset.WaveformSequence = Sequence([beat, rhythm])
    dataset.save_as(tmp_path / "r.dcm", enforce_file_format=True)
    same(read_ecg(tmp_path / "r.dcm"))


def test_an_idle_channel_of_an_edf_is_a_remark_in_python_too(tmp_path: Path) -> None:
    path = write_edf(tmp_path / "idle.edf", ECG, [f"ECG {lead}" for lead in LEADS], idle=True)
    with pytest.warns(DataWarning, match="has no physical range and is left out"):
        assert read_ecg(path).shape == ECG.shape
