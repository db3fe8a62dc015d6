"""Native files: what is written reads back, says that it is synthetic, and is the same in any slices."""

from datetime import date
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import wfdb
from hypothesis import given
from hypothesis import strategies as st

from polyclinic.core.errors import InputError
from polyclinic.core.modality import Record
from polyclinic.core.profile import PatientProfile
from polyclinic.modalities.signals import export as signals

DAY = date(2024, 2, 29)
PROFILES = {
    "usual": PatientProfile("SYN-0001", 57.4, "F", 163.0, 70.04, index_date=DAY),
    "nothing known": PatientProfile("SYN-0002"),
    "no date": PatientProfile("SYN-0003", 61.0, "M"),
    "newborn": PatientProfile("SYN-0004", 0.0, "F", index_date=date(2023, 1, 1)),
    "oldest": PatientProfile("SYN-0005", 110.0, "M", 230.0, 300.0, index_date=date(2023, 12, 31)),
}


def everything(folder: Path) -> dict[str, str]:
    """Hash of every file below a folder by relative path."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): sha256(path.read_bytes()).hexdigest() for path in files}


@given(st.floats(0, 110), st.dates(date(1990, 1, 1), date(2060, 1, 1)))
def test_birth_date_gives_the_age_on_the_index_date(age: float, day: date) -> None:
    born = PatientProfile("p", age, index_date=day).birth_date
    assert born is not None
    assert day.year - born.year - ((day.month, day.day) < (born.month, born.day)) == int(age)


# -- WFDB


def microvolts(samples: int = 1000, scale: float = 500) -> np.ndarray:
    """(12, sample) integers in which Einthoven's and Goldberger's laws hold exactly."""
    one, two = 2 * np.rint(np.random.default_rng(1).normal(0, scale, (2, samples))).astype(int)
    limb = [one, two, two - one, -(one + two) // 2, one - two // 2, two - one // 2]
    chest = np.rint(np.random.default_rng(2).normal(0, scale, (6, samples))).astype(int)
    return np.concatenate([np.stack(limb), chest])


def trace(rhythm: str = "sinus", **facts: object) -> Record:
    peaks = np.array([0, 240, 700, 999])
    known = {"heart_rate": 71.3, "rhythm": rhythm, "beats": len(peaks), **facts}
    return Record({"ecg": signals.millivolts(microvolts()), "r_peaks": peaks}, known)


VITALS = np.random.default_rng(3).normal(80, 9, (30, 7)).astype(np.float32)
VITALS[::3] = np.nan  # hours without any charting
VITALS[:, 1] = np.nan  # a channel that was never charted
VITALS[1] = [0, np.nan, 43, 300, 0, 0.01, 70]
WAVES = [[200, "("], [210, "p"], [225, ")"], [240, "N"], [330, "t"]]
SIGNALS = {
    "sinus": trace(),
    "atrial fibrillation": trace("atrial fibrillation"),
    "waves": trace(waves=WAVES),
    "no beats": Record({**trace().arrays, "r_peaks": np.zeros(0, int)}, {"beats": 0, "rhythm": "sinus"}),
    "flat": Record({"ecg": np.zeros((12, 10), np.float32)}),
    "largest": Record({"ecg": np.full((12, 10), 32.0, np.float32)}),
    "vitals alone": Record({"vitals": VITALS}, {"hours": 30}),
    "nothing charted": Record({"vitals": np.full((24, 7), np.nan, np.float32)}, {"hours": 24}),
    "both": Record({**trace().arrays, "vitals": VITALS[:1]}, {**trace().facts, "hours": 1}),
}  # fmt: skip


@pytest.mark.parametrize("record", SIGNALS.values(), ids=SIGNALS)
@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_wfdb_round_trip(tmp_path: Path, record: Record, profile: PatientProfile) -> None:
    paths = signals.export([record], [profile], tmp_path / "a")
    signals.export([record], [profile], tmp_path / "b")
    assert everything(tmp_path / "a") == everything(tmp_path / "b")
    assert sorted(everything(tmp_path / "a")) == sorted(str(p.relative_to(tmp_path / "a")) for p in paths)
    for header in (path for path in paths if path.suffix == ".hea"):
        comments = wfdb.rdheader(str(header.with_suffix(""))).comments
        assert comments[0].startswith("SYNTHETIC")
        assert f"patient: {profile.patient_id}" in comments
    back = signals.read(tmp_path / "a", [profile.patient_id, "absent"])
    assert list(back) == [profile.patient_id]
    found = back[profile.patient_id]
    assert found.facts == record.facts
    for name in record.arrays:
        if name != "r_peaks" or len(record.arrays[name]):
            tolerance = 0.00501 if name == "vitals" else 0
            np.testing.assert_allclose(found.arrays[name], record.arrays[name], rtol=0, atol=tolerance)
            assert found.arrays[name].dtype == record.arrays[name].dtype


def test_wfdb_files_are_in_physical_units(tmp_path: Path) -> None:
    both = Record({**trace().arrays, "vitals": VITALS}, trace("atrial fibrillation", waves=WAVES).facts)
    signals.export([both], [PROFILES["usual"]], tmp_path)
    place = tmp_path / "wfdb" / "SYN-0001"
    ecg = wfdb.rdrecord(str(place / "ecg"))
    assert (ecg.fs, ecg.units, tuple(ecg.sig_name)) == (500, ["mV"] * 12, signals.LEADS)
    np.testing.assert_allclose(ecg.p_signal.T, microvolts() / 1000)
    steps = wfdb.rdrecord(str(place / "ecg"), physical=False).d_signal.T.astype(int)
    np.testing.assert_array_equal(steps[0] + steps[2], steps[1])
    np.testing.assert_array_equal(-2 * steps[3], steps[0] + steps[1])
    marks = wfdb.rdann(str(place / "ecg"), "atr")
    assert (marks.fs, marks.symbol, marks.aux_note[0]) == (500, ["+", "N", "N", "N", "N"], "(AFIB")
    assert wfdb.rdann(str(place / "ecg"), "waves").symbol == ["(", "p", ")", "N", "t"]
    vitals = wfdb.rdrecord(str(place / "vitals"))
    assert vitals.fs == pytest.approx(1 / 3600, rel=1e-12)
    assert dict(zip(vitals.sig_name, vitals.units, strict=True)) == {
        "HR": "/min", "O2Sat": "%", "Temp": "Cel", "Resp": "/min",
        "SBP": "mmHg", "MAP": "mmHg", "DBP": "mmHg",
    }  # fmt: skip
    np.testing.assert_array_equal(np.isnan(vitals.p_signal), np.isnan(VITALS))


@pytest.mark.parametrize("name", ["ecg.dat", "ecg.hea", "ecg.atr", "vitals.dat"])
@pytest.mark.parametrize("kept", [0, 0.5, 0.99])
def test_truncated_wfdb_is_named(tmp_path: Path, name: str, kept: float) -> None:
    both = Record({**trace().arrays, "vitals": VITALS}, trace().facts)
    signals.export([both], [PROFILES["usual"]], tmp_path)
    path = tmp_path / "wfdb" / "SYN-0001" / name
    if name == "ecg.hea" and kept == 0.99:
        kept = 0.1  # what is lost of the comments alone does no harm
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    with pytest.raises(InputError, match=r"SYN-0001/(ecg|vitals)"):
        signals.read(tmp_path, ["SYN-0001"])
    path.unlink()
    if path.suffix == ".dat":
        with pytest.raises(InputError, match=f"{name}: no such file"):
            signals.read(tmp_path, ["SYN-0001"])


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


def test_read_ecg_finds_leads_by_name_and_scales_to_millivolts(tmp_path: Path) -> None:
    expected, order = signals.millivolts(microvolts()), np.random.default_rng(0).permutation(12)
    names = [signals.LEADS[i].lower() for i in order]
    steps = microvolts()[order]
    np.testing.assert_array_equal(signals.read_ecg(foreign(tmp_path, names, steps)), expected)
    np.testing.assert_allclose(
        signals.read_ecg(foreign(tmp_path, names, steps, gain=1, unit="uV")), expected, atol=1e-6
    )
    path = foreign(tmp_path, names, steps, gain=417)  # as where each lead has a gain of its own
    np.testing.assert_array_equal(signals.read_ecg(path.with_suffix(".hea"), raw_microvolts=True), expected)
    assert not np.allclose(signals.read_ecg(path), expected)


@pytest.mark.parametrize("fs", [250, 360, 1000])
def test_read_ecg_resamples_to_500_hz(tmp_path: Path, fs: int) -> None:
    def wave(rate: int) -> np.ndarray:
        return 1000 * np.sin(2 * np.pi * 5 * np.arange(4 * rate) / rate)

    path = foreign(tmp_path, list(signals.LEADS), np.rint(np.tile(wave(fs), (12, 1))).astype(int), fs)
    ecg = signals.read_ecg(path)
    assert ecg.shape == (12, 2000)
    np.testing.assert_allclose(ecg[4, 200:-200] * 1000, wave(500)[200:-200], atol=10)


def test_read_ecg_refuses_what_it_cannot_use(tmp_path: Path) -> None:
    leads, steps = list(signals.LEADS), microvolts()
    with pytest.raises(InputError, match="missing V5, V6"):
        signals.read_ecg(foreign(tmp_path, leads[:10], steps[:10]))
    with pytest.raises(InputError, match="got mmHg"):
        signals.read_ecg(foreign(tmp_path, leads, steps, unit="mmHg"))
    steps[3, 7] = signals.ABSENT
    for raw in (False, True):
        with pytest.raises(InputError, match="1 samples are marked invalid"):
            signals.read_ecg(foreign(tmp_path, leads, steps), raw)
    with pytest.raises(InputError, match=r"absent\.hea: no such file"):
        signals.read_ecg(tmp_path / "absent")
