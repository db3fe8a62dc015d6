"""Classes of few patients with many features survive a budget; where they cannot, nothing is charged."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from polyclinic.app.training import Privacy, train
from polyclinic.core.dp.budget import Budget
from polyclinic.core.errors import InputError
from polyclinic.core.fields import Declaration, Field
from polyclinic.modalities.omics import class_means, private
from polyclinic.modalities.omics.classes import Classes
from polyclinic.modalities.omics.tumours import Layout, Tumours

NAMES = ("B", "T", "M")
LINEAGE = Classes.of(Field.of("lineage", Declaration(kind="category", classes=list(NAMES))))


def array(patients: int, features: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Values (patient, feature) and classes: one feature in twenty differs in each class."""
    rng = np.random.default_rng(seed)
    kind = rng.choice(3, patients, p=(0.5, 0.2, 0.3))
    shift = rng.normal(size=(3, features)) * (rng.random((3, features)) < 0.05)
    middle, spread = rng.normal(7, 1.6, features), rng.uniform(0.5, 1.6, features)
    return (middle + spread * (shift[kind] + rng.normal(size=(patients, features)))).astype(np.float32), kind


def samples(values: np.ndarray, kind: np.ndarray) -> Tumours:
    code = np.concatenate([np.eye(3)[kind], np.ones((len(kind), 1))], axis=1).astype(np.float32)
    columns = (*(f"lineage={name}" for name in NAMES), "lineage?")
    layout = Layout({"array": tuple(f"{i}_at" for i in range(values.shape[1]))})
    ids = tuple(map(str, range(len(values))))
    return Tumours(values, layout, code, columns, ids, None, classes=LINEAGE)  # type: ignore[arg-type]


def accuracy(found: private.Moments, values: np.ndarray, kind: np.ndarray) -> float:
    """Share of new samples that lie nearest to their class, by what was released."""
    away = (values - found.location) / found.spread
    means = found.factors.centres @ found.loadings.T
    nearest = np.square(away[:, None] - means).sum(2).argmin(1)
    return float((nearest == kind).mean())


def test_classes_of_few_patients_with_many_features_are_learnt() -> None:
    values, kind = array(700, 3000)
    data, budget = samples(values[:300], kind[:300]), Budget(8, 1e-3)
    assert class_means.NOISY < class_means.class_noise(data, budget) < class_means.DROWNED
    random = np.random.default_rng(0)
    by_means = class_means.learn(data, private.Mechanisms(class_means.multipliers(budget), False, random))
    _, noise = private.noise_of(budget, 300, modules=False)
    projected = private.learn(data, private.Mechanisms(noise, False, random))
    rest = values[300:], kind[300:]
    assert accuracy(by_means, *rest) > 0.85
    assert accuracy(by_means, *rest) > accuracy(projected, *rest) + 0.1


def test_without_noise_class_means_are_those_of_the_samples() -> None:
    values, kind = array(300, 60)
    found = class_means.learn(
        samples(values, kind), private.Mechanisms([1e-6] * 4, False, np.random.default_rng(0))
    )
    means = found.location + found.spread * (found.factors.centres @ found.loadings.T)
    real = np.stack([values[kind == k].mean(0) for k in range(3)])
    assert np.abs(means - real).max() < 0.25
    assert found.factors.shares == pytest.approx(np.bincount(kind) / 300, abs=1e-3)


def test_effects_under_noise_are_pulled_to_nothing_and_clear_ones_stay() -> None:
    rng = np.random.default_rng(0)
    true = np.where(rng.random((4000, 2)) < 0.05, 3.0, 0.0)
    noise = np.array([0.3, 0.5])
    found, _ = class_means.effects(true + noise * rng.normal(size=true.shape), noise)
    assert np.abs(found[(true == 0).all(1)]).mean() < 0.05
    assert found[true[:, 0] == 3, 0].mean() > 2.7


def folder(root: Path, patients: int, features: int) -> Path:
    values, kind = array(patients, features)
    ids = [f"L{i:04d}" for i in range(patients)]
    ages = 20 + np.arange(patients) % 50
    table = {"sample": ids, "age": ages, "lineage": [NAMES[k] for k in kind], "split": ["train"] * patients}
    pd.DataFrame(table).to_csv(root / "patients.csv", index=False)
    names = [f"{i}_at" for i in range(features)]
    pd.DataFrame(values, pd.Index(ids, name="sample"), names).to_parquet(root / "array.parquet")
    (root / "dataset.yaml").write_text(
        "{name: leukaemias, table: patients.csv, record: sample, patient_id: sample, split: split, "
        "declare: {lineage: {kind: category, classes: [B, T, M]}}, "
        "fields: {age: {column: age}, lineage: {column: lineage}}, "
        "options: {modality: omics, classes: lineage, assays: {array: array.parquet}}}"
    )
    return root


def test_what_noise_would_drown_is_refused_before_the_charge(tmp_path: Path) -> None:
    data, ledger = folder(tmp_path, 80, 2000), tmp_path / "ledger.jsonl"
    budget = Privacy(epsilon=0.5, delta=1e-3, ledger=ledger)
    with pytest.raises(
        InputError, match=r"epsilon 0\.5 at .* signal-to-noise 0\.\d .* would do; nothing is charged"
    ):
        train("omics", data, tmp_path / "x.safetensors", budget)
    assert not ledger.exists()


def test_the_plan_states_the_signal_to_noise(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = folder(tmp_path, 120, 300)
    card = train(
        "omics", data, tmp_path / "x.safetensors", Privacy(epsilon=8, delta=1e-3, ledger=tmp_path / "l")
    )
    assert card.kind == "private moments of classes"
    (plan,) = [line for line in capsys.readouterr().err.splitlines() if "plan:" in line]
    assert "signal-to-noise" in plan


def test_what_follows_age_within_a_class_is_learnt_too() -> None:
    rng = np.random.default_rng(0)
    kind, age = rng.integers(2, size=4000), rng.uniform(-1, 1, 4000)
    values = (5 + np.outer(age, np.r_[np.ones(5), np.zeros(35)]) + rng.normal(size=(4000, 40))).astype(
        np.float32
    )
    code = np.c_[age, np.ones(4000), np.eye(2)[kind], np.ones(4000)].astype(np.float32)
    columns = ("age", "age?", "lineage=B", "lineage=T", "lineage?")
    classes = Classes("lineage", ("B", "T"), "Lineage")
    layout = Layout({"array": tuple(map(str, range(40)))})
    data = Tumours(values, layout, code, columns, tuple(map(str, range(4000))), None, classes=classes)  # type: ignore[arg-type]
    found = class_means.learn(data, private.Mechanisms([1e-6] * 4, False, rng))
    slope = found.spread * (found.loadings @ found.factors.line)[:, 0]
    assert slope[:5] == pytest.approx(1, abs=0.15)
    assert np.abs(slope[5:]).max() < 0.15
