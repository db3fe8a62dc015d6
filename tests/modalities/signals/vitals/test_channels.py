"""Charts of other channels: every form of file gives one grid, and what is learnt is drawn, written and read."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from polyclinic import Batch, PatientProfile, ProfileEncoder
from polyclinic.core.errors import InputError
from polyclinic.core.modality import DatasetSource, TrainingSet
from polyclinic.core.remarks import remarks
from polyclinic.core.training.fit import Fit
from polyclinic.core.training.weights import Weights
from polyclinic.modalities.signals import Signals
from polyclinic.modalities.signals.channels import VITALS, channels_of
from polyclinic.modalities.signals.data import read_vitals
from polyclinic.modalities.signals.vitals.quantizer import Lattice, Tokens, to_readings
from polyclinic.modalities.signals.vitals.sampler import VitalsSampler

ENCODER = ProfileEncoder()
LABS: dict[str, Any] = {
    "DBP": None,
    "Lactate": {"unit": "mmol/L", "range": [0, 30], "decimals": 1, "code": "LACT", "column": "Lactate"},
}
STAYS = [f"s{i}" for i in range(60)]


def readings() -> pd.DataFrame:
    """Five hours of diastolic pressures near 59, and of lactate in a fifth of the stays."""
    random = np.random.default_rng(0)
    rows = [
        (stay, hour, round(random.normal(59, 3)), round(random.gamma(4, 0.5), 1) if i % 5 == 0 else np.nan)
        for i, stay in enumerate(STAYS)
        for hour in range(5)
    ]
    return pd.DataFrame(rows, columns=["patient_id", "hour", "DBP", "Lactate"])


def folder(root: Path, form: str = "wide", **options: Any) -> TrainingSet:
    wide = readings()
    long = wide.melt(["patient_id", "hour"], ["DBP", "Lactate"], "channel", "value").dropna()
    channels = {name: dict(given or {}) for name, given in LABS.items()}
    if form == "wide":
        wide.to_parquet(root / "series.parquet")
    elif form == "long":
        long.replace({"Lactate": "LACT"}).to_csv(root / "series.parquet.csv", index=False)
        options["series"] = "series.parquet.csv"
    elif form == "meds":
        (root / "data" / "train").mkdir(parents=True)
        long["time"] = pd.Timestamp("2020-01-01") + pd.to_timedelta(long.hour, "h")
        named = long.replace({"Lactate": "LACT"})
        names = {"patient_id": "subject_id", "channel": "code", "value": "numeric_value"}
        named.rename(columns=names).to_parquet(root / "data" / "train" / "0.parquet")
    else:
        long["time"] = pd.Timestamp("2020-01-01") + pd.to_timedelta(long.hour, "h")
        long["measurement_concept_id"] = long.channel.map({"DBP": 3012888, "Lactate": 3047181})
        names = {"patient_id": "person_id", "time": "measurement_datetime", "value": "value_as_number"}
        long.rename(columns=names).to_csv(root / "measurement.csv", index=False)
        channels["DBP"]["concept"], channels["Lactate"]["concept"] = 3012888, 3047181
    said = {"kind": "vitals", "form": form, "channels": channels, "hours": 8, **options}
    profiles = tuple(PatientProfile(stay, age=50.0, sex="F") for stay in STAYS)
    source = DatasetSource("labs", "none")
    return TrainingSet(root, source, tuple(STAYS), profiles, ("age", "sex"), "train", said)


@pytest.mark.parametrize("form", ["long", "meds", "omop"])
def test_every_form_is_the_same_grid(tmp_path: Path, form: str) -> None:
    (tmp_path / "wide").mkdir()
    expected, got = read_vitals(folder(tmp_path / "wide")), read_vitals(folder(tmp_path, form))
    for one, other in zip(expected, got, strict=True):
        np.testing.assert_allclose(other.arrays["vitals"], one.arrays["vitals"], rtol=1e-6)
    assert [c.name for c in channels_of(got[0].facts)] == ["DBP", "Lactate"]


def test_steps_of_time_are_chosen(tmp_path: Path) -> None:
    first, *_ = read_vitals(folder(tmp_path, step_hours=4))
    assert first.arrays["vitals"].shape == (2, 2)
    pressures = readings().DBP[:4].mean()
    assert first.arrays["vitals"][0, 0] == pytest.approx(pressures)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"key": "stay"}, r"no column 'stay'; say options: {key: COLUMN}; the table has: patient_id"),
        ({"channels": {"Lactate": None}}, "expected a unit"),
        ({"channels": {"Lactate": {"unit": "", "range": [3, 1]}}}, "lower end first"),
        ({"channels": {}}, "at least one channel"),
    ],
)
def test_what_is_not_described_is_one_line(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_vitals(folder(tmp_path, **options))


def test_a_wide_range_has_few_steps_and_readings_on_its_decimals() -> None:
    channel = channels_of(
        {"channels": [{"name": "CRP", "unit": "mg/L", "low": 0, "high": 500, "decimals": 1}]}
    )
    lattice = Lattice.of(channel)
    values = np.array([[0.3], [4.2], [310.0]], dtype=np.float32)
    tokens = Tokens.of(values, lattice)
    assert max(lattice.bins) < 200
    back = to_readings(tokens.bins.numpy(), tokens.half.numpy(), tokens.present.numpy(), lattice)
    assert (np.abs(back - values) < 0.03 * values + 0.2).all()


def learnt(data: TrainingSet, place: Path, steps: int) -> Weights:
    config = {
        "kind": "vitals", "network": {"hours": 8, "width": 16, "head": 12, "embed": 4, "dropout": 0.0},
        "training": {"steps": steps, "batch_size": 32, "learning_rate": 1e-2, "ema": 0.9},
    }  # fmt: skip
    return Signals().train([data], ENCODER, config, quick(place), None)


def quick(place: Path) -> Fit:
    return Fit(folder=place, accelerator="cpu", precision="32-true", progress=False)


def test_another_world_is_learnt_drawn_written_and_read(tmp_path: Path) -> None:
    """Stays of five hours, diastolic pressures of 59, lactate charted in a fifth of the stays."""
    (tmp_path / "data").mkdir()
    data = folder(tmp_path / "data")
    weights = learnt(data, tmp_path / "run", 150)
    assert weights.card.model["shortest"] == 5
    profiles = tuple(PatientProfile(f"p{i}", age=50.0, measurements={"diastolic": 75.0}) for i in range(64))
    batch = Batch(profiles, ENCODER.encode(profiles), tuple(range(64)))
    drawn = VitalsSampler(weights, ENCODER.columns, levels="chart").sample(batch)
    stack = np.stack([record.arrays["vitals"] for record in drawn])
    assert abs(np.nanmedian(stack[..., 0]) - 59) < 5
    assert np.median([record.facts["hours"] for record in drawn]) == 5
    ever = np.isfinite(stack[..., 1]).any(1).mean()
    assert 0.02 < ever < 0.6
    paths = Signals().export(drawn, profiles, tmp_path)
    assert paths
    back = Signals().read(tmp_path, [profile.patient_id for profile in profiles])
    for profile, record in zip(profiles, drawn, strict=True):
        read = back[profile.patient_id]
        np.testing.assert_allclose(read.arrays["vitals"], record.arrays["vitals"], atol=0.011)
        assert channels_of(read.facts) == channels_of(record.facts) != VITALS
        assert Signals().column_names("vitals", read) == ("DBP", "Lactate")


def test_critics_refine_channels_of_ones_own(tmp_path: Path) -> None:
    """The refiner is kept where held-out patients say so; else a line says that the prior is."""
    data, told = folder(tmp_path), list[str]()
    prior = learnt(data, tmp_path / "prior", 20)
    config = {
        "kind": "vitals_gan", "network": {"latent": 4, "width": 8},
        "training": {
            "steps": 4, "batch_size": 16, "held_out": 0.7, "draws": 1, "judge_every": 2, "stay_width": 8,
            "hour_width": 8,
        },
    }  # fmt: skip
    with remarks(told.append):
        made = Signals().train([data], ENCODER, config, quick(tmp_path / "gan"), prior)
    refined = made.card.kind == f"{prior.card.kind}, adversarial refiner"
    assert refined != any("the prior's weights are written" in line for line in told)
    assert refined == any(name.startswith("refiner.") for name in made.tensors)
    who = (PatientProfile("p", age=50.0),)
    (record,) = VitalsSampler(made, ENCODER.columns).sample(Batch(who, ENCODER.encode(who), (1,)))
    assert [channel.name for channel in channels_of(record.facts)] == ["DBP", "Lactate"]
