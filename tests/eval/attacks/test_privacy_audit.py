"""The audit: its bounds on mechanisms of known epsilon, the project's trainers under it, and planted faults."""

import importlib.util
import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import TensorDataset

from polyclinic.core.dp.budget import Budget, PrivacyPlan, noise_for
from polyclinic.core.dp.clipping import RowGradients
from polyclinic.core.dp.dpsgd import PatientSampler, Private, poisson_loader
from polyclinic.core.errors import InputError
from polyclinic.eval.attacks.privacy_audit import Audit, audit, least_epsilon, p_value
from polyclinic.modalities.imaging import gaussian_prior
from polyclinic.modalities.omics import private
from polyclinic.modalities.signals.ecg import private as ecg_private

RESEARCH = Path(__file__).parents[3] / "benchmarks" / "research"


def of_research(name: str) -> Any:
    """A module of benchmarks/research."""
    spec = importlib.util.spec_from_file_location(name, RESEARCH / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


trainers, gaussian = of_research("privacy_trainers"), of_research("privacy_gaussian")

ONE = Budget(1.0, 1e-5)
STEPS = trainers.PrivateSteps.under(ONE, 1000)


def audited(trainer: Any, runs: int = 1, budget: Budget = ONE) -> Audit:
    return audit(trainer.train, trainer.canaries(), trainer.score, budget, runs=runs)


# -- the bounds


@pytest.mark.parametrize("epsilon", [0.5, 1.0, 3.0])
def test_the_bound_holds_for_randomised_response_and_says_something(epsilon: float) -> None:
    rng = np.random.default_rng(0)
    bounds = []
    for _ in range(300):
        kept = rng.random(1000) < 1 / (1 + math.exp(-epsilon))
        bounds.append(least_epsilon(1000, 1000, int(kept.sum()), 0.0))
    assert np.mean(np.array(bounds) > epsilon) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 300)
    assert np.mean(bounds) > 0.7 * epsilon


def test_the_bound_holds_where_everything_leaks_with_probability_delta() -> None:
    rng, delta, epsilon = np.random.default_rng(1), 1e-3, 1.0
    wrong = 0
    for _ in range(300):
        right = rng.random(200) < 1 / (1 + math.exp(-epsilon))
        right |= rng.random(200) < delta
        wrong += least_epsilon(200, 200, int(right.sum()), delta) > epsilon
    assert wrong / 300 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 300)


def test_delta_and_fewer_right_guesses_only_lower_the_bound() -> None:
    bounds = [least_epsilon(1000, 600, 590, delta) for delta in (0.0, 1e-5, 1e-4, 1e-3)]
    assert bounds == sorted(bounds, reverse=True)
    assert least_epsilon(1000, 600, 580, 1e-5) < least_epsilon(1000, 600, 590, 1e-5)
    assert least_epsilon(1000, 600, 300, 1e-5) == 0
    assert least_epsilon(1000, 600, 600, 1e-5) == pytest.approx(5.27, abs=0.01)
    assert 0 <= p_value(1000, 600, 590, 3.0, 1e-5) <= 1


@pytest.mark.parametrize("mu", [0.5, 1.5])
def test_the_gaussian_bound_holds_and_is_nearer(mu: float) -> None:
    rng = np.random.default_rng(2)
    found, plain = [], []
    for _ in range(60):
        member = rng.random(1000) < 0.5
        order = np.argsort(mu * member + rng.standard_normal(1000))
        right = int(member[order[-150:]].sum() + (~member[order[:150]]).sum())
        found.append(gaussian.least_mu(1000, 300, right))
        plain.append(least_epsilon(1000, 300, right, 1e-5))
    assert np.mean(np.array(found) > mu) <= 0.05
    assert gaussian.epsilon_of(float(np.mean(found)), 1e-5) > np.mean(plain)


def test_epsilon_of_is_the_inverse_of_the_projects_own_noise() -> None:
    for budget in (Budget(1.0, 1e-5), Budget(10.0, 1e-4)):
        (noise,) = noise_for(budget, [1.0])
        assert gaussian.epsilon_of(1 / noise, budget.delta) == pytest.approx(budget.epsilon, rel=0.03)


def test_an_audit_that_sees_everything_reaches_its_ceiling_and_one_that_sees_nothing_finds_nothing() -> None:
    people = list(range(400))

    def open_book(included: Sequence[int]) -> set[int]:
        return set(included)

    def stated(released: set[int], canaries: Sequence[int]) -> NDArray[np.float64]:
        return np.array([float(canary in released) for canary in canaries])

    seen = audit(open_book, people, stated, ONE)
    assert seen.right == seen.guesses
    assert seen.lower_bound == seen.ceiling > 1
    assert seen.refuted
    blind = audit(lambda included: 0, people, lambda _, own: np.arange(float(len(own))), ONE)
    assert not blind.refuted
    assert blind.lower_bound < 0.3
    with pytest.raises(InputError, match="a number a canary"):
        audit(lambda included: 0, people, lambda _, own: np.zeros(3), ONE)


# -- the project's trainers


@pytest.mark.parametrize(
    ("trainer", "runs"),
    [
        (trainers.CoarseMoments(ONE), 20),
        (trainers.OmicsMoments(ONE, detail=False), 10),
        (trainers.OmicsMoments(ONE, detail=True), 10),
        (trainers.MorphologyMoments(ONE), 10),
        (trainers.TableModelOf(ONE), 5),
        (STEPS, 1),
    ],
    ids=["imaging moments", "omics moments", "omics modules", "hearts", "profiles", "DP-SGD"],
)
def test_each_private_trainer_stays_under_its_claim(trainer: Any, runs: int) -> None:
    found = audited(trainer, runs)
    assert not found.refuted
    assert gaussian.gaussian_bound(found) <= ONE.epsilon
    assert found.ceiling > 3 * ONE.epsilon  # it could have said more


@pytest.mark.parametrize(
    ("trainer", "runs"),
    [
        (trainers.CoarseMoments(Budget(10.0, 1e-5)), 20),
        (trainers.OmicsMoments(Budget(10.0, 1e-5), detail=True), 60),
        (trainers.MorphologyMoments(Budget(10.0, 1e-5)), 10),
    ],
    ids=["imaging", "omics", "hearts"],
)
def test_the_audit_tells_epsilon_10_from_1(trainer: Any, runs: int) -> None:
    assert audited(trainer, runs).refuted  # claimed as epsilon 1


# -- planted faults in DP-SGD


def test_noise_off_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    noise = Private.noise

    def silent(self: Private, sums: dict[torch.nn.Parameter, Tensor]) -> None:
        self.plan = replace(self.plan, noise_multiplier=0.0)
        noise(self, sums)

    monkeypatch.setattr(Private, "noise", silent)
    assert audited(STEPS).refuted


def test_clipping_off_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = RowGradients.clipped_sum
    monkeypatch.setattr(RowGradients, "clipped_sum", lambda self, max_norm: whole(self, math.inf))
    assert audited(STEPS).refuted


class RecordsApart(trainers.PrivateSteps):  # type: ignore[misc]
    """Takes each of eight records of a patient for a patient."""

    @property
    def size(self) -> int:
        return int(self.plan.patients) // 8

    def patients(self) -> list[str]:
        return [str(i) for i in range(self.plan.patients)]


def test_records_of_one_patient_counted_apart_are_found() -> None:
    plan = PrivacyPlan.for_budget(ONE, 8000, 2400, 20, 1.0)
    assert audited(RecordsApart(plan, records=8)).refuted
    together = trainers.PrivateSteps.under(ONE, 1000)
    assert not audited(replace(together, records=8)).refuted


@dataclass(frozen=True)
class Scaled(trainers.PrivateSteps):  # type: ignore[misc]
    """Keeps the means of the patients, by which it standardises them, beside the weights."""

    def train(self, included: Sequence[int]) -> Any:
        means = np.zeros(self.size)
        means[included] = 1 / self.size
        return super().train(included), means

    def score(self, released: Any, canaries: Sequence[int]) -> NDArray[np.float64]:
        steps, means = released
        return np.asarray(super().score(steps, canaries) + 1e6 * means[list(canaries)])


def test_a_scaler_fitted_on_private_data_is_found() -> None:
    assert audited(Scaled(STEPS.plan)).refuted


# -- planted faults in the moments


def test_moments_without_noise_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    right = gaussian_prior.fit_private

    def silent(
        z: Any, people: Any, settings: Any, noise: Sequence[float], *others: Any
    ) -> gaussian_prior.GaussianPrior:
        return right(z, people, settings, [1e-3 * own for own in noise], *others)

    monkeypatch.setattr(trainers, "fit_private", silent)
    assert audited(trainers.CoarseMoments(ONE), runs=20).refuted


def test_moments_without_clipping_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gaussian_prior, "clip", lambda rows: rows)
    assert audited(trainers.CoarseMoments(ONE), runs=20).refuted


def test_moments_of_hearts_without_noise_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ecg_private, "symmetric_noise", lambda size, random: np.zeros((size, size)))
    assert audited(trainers.MorphologyMoments(ONE), 5).refuted


def test_omics_moments_with_a_forgotten_noise_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    right = private.Mechanisms.sum

    def forgetful(self: Any, rows: Any, norm: float, which: int) -> Any:
        total, deviation = right(self, rows, norm, which)
        return (private.clipped(rows, norm).sum(0) if which == 0 else total), deviation

    trainer = trainers.OmicsMoments(ONE, detail=False, only=0)
    assert not audited(trainer, runs=10).refuted
    monkeypatch.setattr(private.Mechanisms, "sum", forgetful)
    assert audited(trainer, runs=10).refuted


# -- planted faults in the sampler

PATIENTS = [f"p{i // 3}" for i in range(900)]


# Whether batches are drawn as the accounting of private training takes them to be. No lower bound of realistic size
# separates shuffled batches from Poisson ones, though their epsilon may be several times larger (Chua et al. 2024).
FAR = 5.0  # standard deviations, from which a sampler is called wrong: less than one in a million right ones
DRAWS = 200  # of right samplers, for the distribution of each statistic
NAMES = (
    "the mean size of a batch",
    "the variance of the sizes of batches",
    "the variance of how often patients are taken",
    "the number of patients who are in two successive batches, on average",
)


def sampling_faults(
    batches: Iterable[Sequence[int]], patients: Sequence[str], rate: float, seed: int = 0
) -> list[str]:
    """What is wrong with batches of rows, a line each; empty if each patient is in each with probability `rate`.

    patients[i] is the patient of row i. Looked at: rows of one patient in one batch; the mean and the
    spread of batch sizes; the spread of how often each patient is taken; whether who was just taken is
    taken again as often as others. Each is held against 200 simulated Poisson samplers of the same size.
    """
    numbers = np.unique(patients, return_inverse=True)[1]
    rows = [np.asarray(batch, dtype=np.int64) for batch in batches]
    taken = np.zeros((len(rows), int(numbers.max()) + 1), dtype=bool)
    twice = 0
    for step, batch in enumerate(rows):
        taken[step, numbers[batch]] = True
        twice += len(batch) - int(taken[step].sum())
    faults = [f"{twice} times another row of a patient who was in the batch already"] if twice else []
    rng = np.random.default_rng(seed)
    right = np.array([_statistics(rng.random(taken.shape) < rate) for _ in range(DRAWS)])
    centre, spread = right.mean(0), np.maximum(right.std(0), 1e-12)
    for name, value, middle, wide in zip(NAMES, _statistics(taken), centre, spread, strict=True):
        if abs(value - middle) > FAR * wide:
            faults.append(f"{name} is {value:.4g}, expected {middle:.4g} +- {wide:.2g}")
    return faults


def _statistics(taken: NDArray[np.bool_]) -> tuple[float, float, float, float]:
    """Of (step, patient), who was in which batch, in the order of NAMES."""
    sizes, times = taken.sum(1), taken.sum(0)
    again = float((taken[1:] & taken[:-1]).sum(1).mean()) if len(taken) > 1 else 0.0
    return float(sizes.mean()), float(sizes.var()), float(times.var()), again


def batches(rate: float = 0.1, steps: int = 100) -> PatientSampler:
    return PatientSampler(PATIENTS, rate, steps, np.random.default_rng(3))


def shuffled(rate: float = 0.1, steps: int = 100) -> list[list[int]]:
    rng, size = np.random.default_rng(4), round(300 * rate)
    out: list[list[int]] = []
    while len(out) < steps:
        order = 3 * rng.permutation(300)
        out += [order[i : i + size].tolist() for i in range(0, 300, size)]
    return out[:steps]


def test_the_projects_sampler_is_poisson() -> None:
    assert sampling_faults(batches(), PATIENTS, 0.1) == []
    plan = PrivacyPlan(300, 0.1, 1.0, 100, 1e-4, 1.0)
    loader = poisson_loader(TensorDataset(torch.zeros(900, 4)), plan, PATIENTS)
    assert sampling_faults(loader.batch_sampler, PATIENTS, 0.1) == []  # type: ignore[arg-type]


def test_shuffled_batches_are_found_by_the_sampler_and_not_by_the_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said = "; ".join(sampling_faults(shuffled(), PATIENTS, 0.1))
    for what in ("sizes of batches", "how often patients are taken", "two successive batches"):
        assert what in said

    def in_turn(self: PatientSampler) -> Iterator[list[int]]:
        size = round(self.rate * len(self.rows))
        waiting: list[int] = []
        for _ in range(self.steps):
            if len(waiting) < size:
                waiting = [own[0] for own in self.rows]
                self.random.shuffle(waiting)
            yield [waiting.pop() for _ in range(size)]

    monkeypatch.setattr(PatientSampler, "__iter__", in_turn)
    assert not audited(STEPS).refuted


def test_other_samplers_that_are_not_poisson_are_found() -> None:
    rng = np.random.default_rng(5)
    fixed = [(3 * rng.permutation(300)[:30]).tolist() for _ in range(100)]
    assert any("sizes" in fault for fault in sampling_faults(fixed, PATIENTS, 0.1))
    weights = np.where(np.arange(300) < 150, 0.02, 0.18)
    weighted = [(3 * np.flatnonzero(rng.random(300) < weights)).tolist() for _ in range(100)]
    assert any("how often" in fault for fault in sampling_faults(weighted, PATIENTS, 0.1))
    assert any("mean size" in fault for fault in sampling_faults(batches(0.12), PATIENTS, 0.1))
    rows = [np.flatnonzero(rng.random(900) < 0.1 / 3).tolist() for _ in range(100)]
    assert any("another row of a patient" in fault for fault in sampling_faults(rows, PATIENTS, 0.1))
