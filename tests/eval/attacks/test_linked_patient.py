"""The benchmark of the linked patient: its split, its ledger, and what it reads in weights, on few patients."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from polyclinic.core.dp.budget import Budget, PrivacyPlan, compose
from polyclinic.core.dp.ledger import Ledger
from polyclinic.modalities.imaging.gaussian_prior import GaussianPrior


@pytest.fixture(scope="module")
def own() -> Any:
    """The benchmark's files."""
    sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))
    try:
        import private_patient_audit as audit  # type: ignore[import-not-found]
        import private_patient_measures as measures  # type: ignore[import-not-found]
        import private_patient_recipe as recipe  # type: ignore[import-not-found]
        import private_patient_split as split  # type: ignore[import-not-found]
        import private_patient_world as world  # type: ignore[import-not-found]
    finally:
        sys.path.pop(0)
    return SimpleNamespace(audit=audit, measures=measures, recipe=recipe, split=split, world=world)


@pytest.fixture(scope="module")
def people(own: Any) -> Any:
    return own.world.World.of(0).patients(600, 1)


def hospital(own: Any, folder: Path, budgets: dict[str, Budget], whole: Budget, **more: Any) -> Any:
    world = own.world.World.of(0)
    return own.recipe.Hospital(world, own.recipe.public_hearts(world, 7), folder, budgets, whole, **more)


def test_illness_shows_in_every_modality(own: Any, people: Any) -> None:
    judge, others = own.measures.Judge.of(people), own.world.World.of(0).patients(600, 2)
    for view in own.recipe.MODALITIES:
        assert judge.recovery(others, view)["ill"] > 0.7
    assert min(judge.together(others).values()) > 0.55


def test_parts_of_a_budget_cost_the_whole(own: Any) -> None:
    whole = Budget(8.0, 1e-5)
    found = own.recipe.parts_of(whole, {"a": 0.1, "b": 0.3, "c": 0.6})
    noise = [own.recipe.noise_for(part, [1.0])[0] for part in found.values()]
    plans = [PrivacyPlan.once(100, size, whole.delta, "x") for size in noise]
    assert 7.8 < compose(plans, whole.delta, "prv") <= 8.0


def test_what_needs_most_gets_most(own: Any) -> None:
    flat, steep = [0.01] * 4, [0.4, 0.2, 0.1, 0.05]
    found = own.split.least({"a": flat, "b": steep, "c": flat})
    assert found == {
        "a": 0.3,
        "b": 0.4,
        "c": 0.3,
    }  # beyond the largest share that was tried nothing is gained
    assert len(list(own.split.parts(6, 3))) == 10


def test_a_rare_stratum_takes_its_mean_from_its_flags(own: Any) -> None:
    rng, size = np.random.default_rng(0), 3
    values = tuple(f"{k:04b}" for k in range(16))
    flags = np.array([[1.0, *map(float, value)] for value in values])
    effects = rng.standard_normal((5, size))
    counts = np.where(np.arange(16) == 5, 1.0, 1000.0)
    line = (flags @ effects)[:, :, None].copy()
    line[5] += 100  # noise
    prior = GaussianPrior(
        "stratum", values, counts / counts.sum(), line, np.repeat(np.eye(size)[None], 16, 0)
    )
    made = own.recipe.additive(prior, int(counts.sum()), 1.0)
    np.testing.assert_allclose(made.line[:, :, 0], flags @ effects, atol=0.2)


def test_one_ledger_refuses_to_pay_twice_and_names_what_is_missing(
    own: Any, people: Any, tmp_path: Path
) -> None:
    whole = Budget(8.0, 1e-5)
    ward = hospital(own, tmp_path, own.recipe.parts_of(whole, {"image": 0.9, "ecg": 0.1}), whole)
    assert own.audit.unbooked(ward.ledger) == list(own.recipe.MODALITIES)
    own.recipe.LEARN["image"](ward, people)
    assert "image" not in own.audit.unbooked(ward.ledger)
    assert "ecg" in own.audit.unbooked(ward.ledger)
    assert Ledger(ward.ledger).spent("hospital", 1e-5, "prv") < 8
    again = SimpleNamespace(
        ledger=ward.ledger, whole=whole, learn=lambda people: own.recipe.LEARN["image"](ward, people)
    )
    epsilon, refused = own.audit.twice(again, people)
    assert refused
    assert epsilon > 8


def test_images_outside_the_ledger_are_named(own: Any, people: Any, tmp_path: Path) -> None:
    whole = Budget(8.0, 1e-5)
    ward = hospital(own, tmp_path, own.recipe.parts_of(whole, {"image": 1.0}), whole, faults=("ledger",))
    own.recipe.LEARN["image"](ward, people)
    assert "image" in own.audit.unbooked(ward.ledger)


def test_a_copied_patient_is_counted_once(own: Any, people: Any) -> None:
    others = own.world.World.of(0).patients(50, 9)
    assert own.audit.copies(others, people) == 0
    assert own.audit.copies(people.at(np.arange(3)).and_also(others), people) == 3


def test_weights_make_likelier_what_is_like_what_they_learnt_from(
    own: Any, people: Any, tmp_path: Path
) -> None:
    """Of the table, the coarse images and the charts, learnt publicly."""
    ward = hospital(own, tmp_path, {}, Budget(8.0, 1e-5))
    odd = own.audit.Canaries.of(ward, 200, 0).people
    table = own.recipe.LEARN["profile"](ward, people)
    image = own.recipe.LEARN["image"](ward, people)
    charts = own.recipe.LEARN["vitals"](ward, people)[0]
    for of, model in (
        (own.measures.of_table, table),
        (own.measures.of_image, image),
        (own.measures.of_charts, charts),
    ):
        assert np.isfinite(of(model, people)).all()
        assert np.median(of(model, people)) > np.median(of(model, odd))


def test_who_agrees_with_nobody_is_not_linked(own: Any) -> None:
    world = own.world.World.of(0)
    inside, outside, synthetic = (world.patients(200, seed) for seed in (1, 2, 3))
    assert max(own.measures.relinking(inside, outside, synthetic).values()) < 0.08
    assert min(own.measures.relinking(inside, outside, inside).values()) > 0.9
