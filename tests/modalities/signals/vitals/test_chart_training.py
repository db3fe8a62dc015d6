"""Charts of any channels by statistics: what is released, that it is charged once, and charts drawn from it."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from polyclinic import Batch, PatientProfile, ProfileEncoder
from polyclinic.core.dp.budget import Budget, compose
from polyclinic.core.dp.ledger import Ledger
from polyclinic.core.errors import InputError
from polyclinic.core.fields import FIELDS, SHIPPED
from polyclinic.core.modality import DatasetSource, TrainingSet
from polyclinic.core.training.fit import Fit
from polyclinic.core.training.weights import Weights
from polyclinic.modalities.signals.channels import Channel
from polyclinic.modalities.signals.vitals.chart_model import tetrachoric
from polyclinic.modalities.signals.vitals.chart_statistics import FILE, bound_of, release, statistics_plans
from polyclinic.modalities.signals.vitals.model import train_vitals
from polyclinic.modalities.signals.vitals.quantizer import Lattice
from polyclinic.modalities.signals.vitals.sampler import VitalsSampler
from polyclinic.modalities.signals.vitals.stay_features import course, feature_edges, features_of

VOCABULARY = SHIPPED.declare({"septic": {"kind": "flag", "label": "Sepsis"}}, "test")
ENCODER = ProfileEncoder([*FIELDS, *VOCABULARY.declared])
CHANNELS = {
    "Lactate": {"unit": "mmol/L", "range": [0, 30], "decimals": 1},
    "GCS": {"unit": "", "range": [3, 15]},
}
LATTICE = Lattice.of([Channel("Lactate", "mmol/L", 0, 30, 1), Channel("GCS", "", 3, 15)])
HOURS, PATIENTS = 12, 4000


def folder(root: Path, patients: int = PATIENTS) -> TrainingSet:
    """Lactate of 4 with sepsis, in most stays, and of 2 without, in a third; scores together with it, and alone."""
    random = np.random.default_rng(0)
    septic = random.random(patients) < 0.3
    lactate = random.normal(np.where(septic, 4.0, 2.0), 0.5).clip(0.3)
    has = random.random(patients) < np.where(septic, 0.9, 0.3)
    rows = [
        (
            f"p{i}", hour, round(max(0.1, random.normal(lactate[i], 0.3)), 1) if has[i] and hour % 3 == 0 else np.nan,
            int(random.integers(9, 16)) if hour % 3 == 0 or random.random() < 0.2 else np.nan,
        )
        for i in range(patients)
        for hour in range(HOURS if i % 4 else 5)
    ]  # fmt: skip
    pd.DataFrame(rows, columns=["patient_id", "hour", "Lactate", "GCS"]).to_parquet(root / "series.parquet")
    profiles = tuple(PatientProfile(f"p{i}", conditions={"septic": bool(septic[i])}) for i in range(patients))
    options = {"kind": "vitals", "channels": CHANNELS, "hours": HOURS}
    return TrainingSet(
        root, DatasetSource("labs", "none"), tuple(p.patient_id for p in profiles), profiles, ("septic",), "train",
        options, VOCABULARY,
    )  # fmt: skip


def trained(data: TrainingSet, run: Path, resume: bool = False, epsilon: float = 8.0) -> Weights:
    how = Fit(folder=run, budget=Budget(epsilon, 1e-5), ledger=run.with_name("ledger.jsonl"), resume=resume)
    return train_vitals([data], ENCODER, {"hours": HOURS}, {}, how)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainingSet, Path, Weights]:
    root = tmp_path_factory.mktemp("labs")
    data = folder(root)
    return data, root / "run", trained(data, root / "run")


def drawn(weights: Weights, septic: bool | None, rows: int = 400, **how: object) -> list[np.ndarray]:
    known = {} if septic is None else {"septic": septic}
    profiles = tuple(PatientProfile(f"s{i}", conditions=known) for i in range(rows))
    batch = Batch(profiles, ENCODER.encode(profiles), tuple(range(rows)))
    sampler = VitalsSampler(weights, ENCODER.columns, levels="chart", **how)  # type: ignore[arg-type]
    return [record.arrays["vitals"] for record in sampler.sample(batch)]


def test_drawn_charts_have_the_levels_gaps_and_contrasts_of_the_patients(
    made: tuple[TrainingSet, Path, Weights],
) -> None:
    ill, well = (np.stack(drawn(made[2], septic)) for septic in (True, False))
    assert abs(np.nanmean(ill[..., 0]) - 4) < 0.4
    assert abs(np.nanmean(well[..., 0]) - 2) < 0.4
    assert np.isfinite(ill[..., 0]).any(1).mean() > 0.7
    assert np.isfinite(well[..., 0]).any(1).mean() < 0.5
    both = np.concatenate([ill, well])
    lactate, score = (np.isfinite(both[..., c]) for c in (0, 1))
    assert score[lactate].mean() > 0.75  # charted together
    assert np.nanmin(both[..., 1]) >= 3
    assert np.nanmax(both[..., 1]) <= 15
    short = np.isfinite(both[:, 5:]).any((1, 2))
    assert abs((~short).mean() - 0.25) < 0.06


def test_public_charts_that_are_mostly_empty_are_statistics_without_noise(tmp_path: Path) -> None:
    data = folder(tmp_path, 1500)
    table = pd.read_parquet(tmp_path / "series.parquet")
    table.loc[table.hour % 3 != 0, "GCS"] = np.nan  # a quarter of the hours at most
    table.loc[table.hour % 6 != 0, ["Lactate", "GCS"]] = np.nan
    table.to_parquet(tmp_path / "series.parquet")
    weights, again = (
        train_vitals([data], ENCODER, {"hours": HOURS}, {}, Fit(folder=tmp_path / "run")) for _ in range(2)
    )
    assert weights.card.kind == "Gaussian copula of stays"
    assert weights.card.privacy == "public"
    assert weights.card.steps == 0
    for name, tensor in weights.tensors.items():
        np.testing.assert_array_equal(tensor.numpy(), again.tensors[name].numpy())
    ill, well = (np.stack(drawn(weights, septic)) for septic in (True, False))
    assert abs(np.nanmean(ill[..., 0]) - 4) < 0.4
    assert abs(np.nanmean(well[..., 0]) - 2) < 0.4
    assert np.isfinite(ill[..., 0]).any(1).mean() > 0.7
    assert np.isfinite(well[..., 0]).any(1).mean() < 0.5


def test_the_model_of_charts_can_be_asked_for(tmp_path: Path) -> None:
    data, how = folder(tmp_path, 300), Fit(folder=tmp_path / "run")
    asked = train_vitals([data], ENCODER, {"hours": HOURS}, {"by": "statistics"}, how)
    assert asked.card.kind == "Gaussian copula of stays"
    small = {"hours": HOURS, "width": 8, "head": 8, "embed": 4}
    dense = train_vitals([data], ENCODER, small, {"by": "network", "steps": 2, "batch_size": 8}, how)
    assert dense.card.kind == "autoregressive GRU"
    private = Fit(folder=tmp_path / "run", budget=Budget(8.0, 1e-5))
    with pytest.raises(InputError, match=r"model\.training\.by: under a budget a network learns the seven"):
        train_vitals([data], ENCODER, {"hours": HOURS}, {"by": "network"}, private)


def test_draws_depend_on_the_seed_alone(made: tuple[TrainingSet, Path, Weights]) -> None:
    many, few = drawn(made[2], True, 70), drawn(made[2], True, 3)
    for one, other in zip(few, many, strict=False):
        np.testing.assert_array_equal(one, other)
    assert len(drawn(made[2], None, 2, hours=30, ends=False)[0]) == 30


def test_the_budget_is_charged_once_and_a_resumed_run_reads_what_was_released(
    made: tuple[TrainingSet, Path, Weights],
) -> None:
    data, run, weights = made
    before, kept = Ledger(run.with_name("ledger.jsonl")).entries(), (run / FILE).read_bytes()
    assert [entry.purpose for entry in before] == [
        f"vitals, {part}" for part in ("histograms", "charting", "moments")
    ]
    assert compose([entry.plan() for entry in before], 1e-5, "prv") <= 8
    again = trained(data, run, resume=True)
    assert Ledger(run.with_name("ledger.jsonl")).entries() == before
    assert (run / FILE).read_bytes() == kept
    for name, tensor in weights.tensors.items():
        np.testing.assert_array_equal(tensor.numpy(), again.tensors[name].numpy())
    assert weights.card.privacy.startswith("epsilon")


def test_too_few_patients_are_refused_before_anything_is_charged(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"50 patients are too few for charts of 2 channels; \d+ would do"):
        trained(folder(tmp_path, 50), tmp_path / "run")
    assert not (tmp_path / "ledger.jsonl").exists()


def test_one_patient_moves_a_release_by_no_more_than_its_noise_is_set_for() -> None:
    random = np.random.default_rng(0)
    readings = random.uniform(3, 15, (40, HOURS, 2)).astype(np.float32)
    length, code = np.full(40, HOURS), np.sign(random.standard_normal((40, 2)))
    none = {"histograms": 1e-12, "charting": 1e-12, "moments": 1e-12}
    parts = [
        release(readings[:n], length[:n], code[:n], LATTICE, none, np.random.default_rng(1)) for n in (39, 40)
    ]
    moved = np.concatenate(
        [np.array(a) - b for a, b in zip(parts[1].histograms, parts[0].histograms, strict=True)]
    )
    assert np.linalg.norm(moved) <= np.sqrt(len(parts[0].histograms)) + 1e-9
    charted = [
        part.stays
        * np.r_[np.ravel(part.charted) / np.sqrt(np.size(part.charted)), np.ravel(part.together) / 2]
        for part in parts
    ]  # fmt: skip
    assert np.linalg.norm(charted[1] - charted[0]) / np.sqrt(2) <= 1 + 1e-9
    assert np.trace(np.array(parts[0].moments)) <= 39 * bound_of(len(parts[0].moments), 2, 2) ** 2 + 1e-6


def test_plans_spend_the_budget() -> None:
    plans = statistics_plans(Budget(1.0, 1e-5), 5000, 2)
    assert 0.9 < compose(list(plans.values()), 1e-5, "prv") <= 1.0


def test_a_course_has_the_features_it_was_asked_for() -> None:
    random = np.random.default_rng(0)
    count = np.array([2, 3, 6, 12])
    values = course(
        np.full(4, 2.0), np.full(4, 0.2), np.array([0.5, -1, 1.5, 0]), np.full(4, 0.8), count,
        random.standard_normal((4, 12)),
    )  # fmt: skip
    values[np.arange(12) >= count[:, None]] = np.nan
    table = np.stack([values, values], axis=2).astype(np.float32)
    linear = Lattice.of([Channel("a", "", 0, 10, 1), Channel("b", "", 0, 10, 1)])
    found = features_of(table, np.full(4, 12), linear)
    np.testing.assert_allclose(found.values[:, 0], 2.0, atol=1e-5)
    np.testing.assert_allclose(found.values[:, 1], 0.2, atol=1e-5)
    assert found.values[0, 2] > 0 > found.values[1, 2]
    assert found.values[2, 2] > 0.8
    assert [len(e) for e in feature_edges(linear, 12)[:5]] == [65, 26, 25, 25, 26]


def test_correlations_of_charting_give_back_how_often_both_are_charted() -> None:
    normal = np.random.default_rng(0).multivariate_normal([0, 0], [[1, 0.8], [0.8, 1]], 200_000)
    cut = np.array([1.0, 1.5])
    above = (normal > cut).astype(float)
    assert abs(tetrachoric(cut, above.T @ above / len(above))[0, 1] - 0.8) < 0.02
