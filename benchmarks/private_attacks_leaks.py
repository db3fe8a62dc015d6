"""Ten planted leaks: faults that a generator or its private training could have, and the figure that finds each.

Patients are simulated. Audits are of the project's own trainers, held to epsilon 1, with canaries in place of
patients; what an audit prints is the lower bound of epsilon.
"""

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from private_attacks_releases import LOSS, flow
from private_attacks_signals import of_prior

from polyclinic import PatientProfile
from polyclinic.conditioning.table.private_domain import select_partitions
from polyclinic.core.dp.budget import Budget, PrivacyPlan, noise_for
from polyclinic.core.dp.dpsgd import Private
from polyclinic.core.modality import Task, View
from polyclinic.eval.attacks.attack_result import Target
from polyclinic.eval.attacks.attribute_inference import by_condition
from polyclinic.eval.attacks.membership import AttackData, by_distance, embed
from polyclinic.eval.attacks.memorization import memorization
from polyclinic.eval.attacks.privacy_audit import audit
from polyclinic.eval.sample import Sample
from polyclinic.modalities.imaging import gaussian_prior
from polyclinic.modalities.imaging.gaussian_prior import GaussianPrior, PriorSettings, fit_public
from polyclinic.modalities.imaging.model import ImageModel

sys.path.insert(0, str(Path(__file__).parent / "research"))
import privacy_trainers as trainers

Values = NDArray[np.float64]
ONE = Budget(1.0, 1e-5)
PEOPLE, WIDTH = 300, 12  # of each group; numbers a record
COPIED = 0.1
CHANCE = 0.5
TASK = "illness"


@dataclass(frozen=True)
class Leak:
    """measure(planted) gives the figure with or without the leak; above `limit` it is found."""

    name: str
    figure: str
    limit: float
    measure: Callable[[bool], float]


# -- cohorts


def rows(records: Values, ill: NDArray[np.bool_], name: str) -> Sample:
    """Patients with a record each."""
    table = pd.DataFrame(records, columns=[f"x{k}" for k in range(records.shape[1])])
    people = tuple(PatientProfile(f"{name}{i}", conditions={"A41.9": bool(own)}) for i, own in enumerate(ill))
    return Sample(table, table, people, {TASK: ill.astype(np.float64)}, [])


Cohort = tuple[Values, NDArray[np.bool_]]  # records, and who is ill
Made = Callable[[Values, NDArray[np.bool_], np.random.Generator], Cohort]


def attacked(make: Made | None) -> AttackData:
    """What `make` draws from the training patients, or fresh patients. Illness is the toss of a coin."""
    rng = np.random.default_rng(3)
    mixed = rng.standard_normal((WIDTH, WIDTH))
    train, test, fresh = (
        (rng.standard_normal((PEOPLE, WIDTH)) @ mixed, rng.random(PEOPLE) < 0.5) for _ in range(3)
    )
    drawn = fresh if make is None else make(*train, rng)
    task = Task(TASK, ("healthy", "ill"), lambda profile, record: 0.0)
    view = View("toy", "Toy", "toy", lambda records: pd.DataFrame(), (task,), lambda *_: "", "")
    return AttackData(view, rows(*drawn, "s"), rows(*train, "m"), rows(*test, "c"))


def exact_copies(planted: bool) -> float:
    """A tenth of the cohort are training patients."""

    def some(records: Values, ill: NDArray[np.bool_], rng: np.random.Generator) -> Cohort:
        cohort = rng.permuted(records, axis=0)
        cohort[: round(COPIED * len(cohort))] = records[: round(COPIED * len(cohort))]
        return cohort, ill

    found = memorization("toy", attacked(some if planted else None), 0)
    return found.exact / found.records


def near_copies(planted: bool) -> float:
    """Every record is a training patient's, moved up to 0.3 of the way to another's."""

    def moved(records: Values, ill: NDArray[np.bool_], rng: np.random.Generator) -> Cohort:
        other = records[rng.permutation(len(records))]
        return records + 0.3 * rng.random((len(records), 1)) * (other - records), ill

    embedding = embed(attacked(moved if planted else None), 0)
    return lower_end(by_distance(embedding), embedding.member)


def memorised_labels(planted: bool) -> float:
    """Records are new, but each has the illness of the training patient who is nearest."""

    def labelled(records: Values, ill: NDArray[np.bool_], rng: np.random.Generator) -> Cohort:
        spread = records.std(0)
        near = records + 0.5 * spread * rng.standard_normal(records.shape)
        away = np.square((near[:, None] - records[None]) / spread).sum(2)
        return near, ill[away.argmin(1)]

    data = attacked(labelled if planted else None)
    embedding = embed(data, 0)
    found = by_condition(data, embedding, TASK)
    assert found is not None
    return lower_end(found[0], embedding.member)


def lower_end(scores: Values, member: NDArray[np.bool_]) -> float:
    """Of the 95 % range of the attack's AUC."""
    found = Target("", "", "", "").measured(scores, member, "", 0)
    assert found.interval is not None
    return found.interval[0]


# -- weights


def overfitted_flow(planted: bool) -> float:
    """A flow that has seen 48 images 120 times over, against one that has seen 48 others as often."""
    pixels = torch.from_numpy(np.random.default_rng(1).integers(256, size=(144, 1, 8, 8)).astype(np.uint8))
    shape = ImageModel(size=8, patch_size=2, widths=(16, 16), attention=(False, False), components=4)
    release = flow(pixels, 120, shape, 48)
    third = np.arange(len(pixels)) // 48
    errors = release.read(release.learn(third == (0 if planted else 2), 0))[LOSS][:, 0]
    return lower_end(errors[third < 2], third[third < 2] == 0)


def kept_codes(planted: bool) -> float:
    """A prior of coarse images with a normal about each training patient's own, against one normal."""
    rng = np.random.default_rng(2)
    z = rng.standard_normal((2 * PEOPLE, 8))
    people = [PatientProfile(str(i)) for i in range(len(z))]
    member = np.arange(len(z)) < PEOPLE
    prior = fit_public(z[member], np.zeros((PEOPLE, 0), np.float32), people[:PEOPLE], PriorSettings(rank=8))
    if planted:
        prior = GaussianPrior(
            None, (None,) * PEOPLE, np.full(PEOPLE, 1 / PEOPLE), z[member][:, :, None],
            np.repeat(0.3 * prior.root, PEOPLE, axis=0),
        )  # fmt: skip
    return lower_end(of_prior(prior, z, people)[:, 0], member)


# -- private trainings


def bound(trainer: Any, runs: int = 1) -> float:
    """The audit's lower bound of epsilon."""
    return audit(trainer.train, trainer.canaries(), trainer.score, ONE, runs=runs).lower_bound


@dataclass(frozen=True)
class Words:
    """Words of a table's column, learnt under a budget or, planted, as they stand. Canary: a patient of a rare word."""

    planted: bool
    patients: int = 400

    def canaries(self) -> list[int]:
        """Words that nobody else has."""
        return list(range(self.patients))

    def train(self, included: Sequence[int]) -> set[str]:
        """The column's words."""
        counts = Counter({"common": 1000, **{f"w{own}": 1 for own in included}})
        noise = 0.0 if self.planted else noise_for(ONE, [1.0])[0]
        return set(select_partitions(counts, len(counts), noise, 1e-6, np.random.default_rng()))

    def score(self, released: set[str], canaries: Sequence[int]) -> Values:
        """Whether the word stands there."""
        return np.array([float(f"w{own}" in released) for own in canaries])


@dataclass(frozen=True)
class RecordsApart(trainers.PrivateSteps):  # type: ignore[misc]
    """Takes each of eight records of a patient for a patient."""

    @property
    def size(self) -> int:
        """How many patients there are."""
        return int(self.plan.patients) // 8

    def patients(self) -> list[str]:
        """Whose each row is said to be."""
        return [str(i) for i in range(self.plan.patients)]


@dataclass(frozen=True)
class Scaled(trainers.PrivateSteps):  # type: ignore[misc]
    """Keeps the means of the patients, by which it standardises them, beside the weights."""

    def train(self, included: Sequence[int]) -> Any:
        """The steps and the means."""
        means = np.zeros(self.size)
        means[list(included)] = 1 / self.size
        return super().train(included), means

    def score(self, released: Any, canaries: Sequence[int]) -> Values:
        """By both."""
        steps, means = released
        return np.asarray(super().score(steps, canaries) + 1e6 * means[list(canaries)])


def rare_words(planted: bool) -> float:
    """Words of a column are kept though one patient alone has them."""
    return bound(Words(planted))


def noise_off(planted: bool) -> float:
    """DP-SGD adds no noise."""
    noise = Private.noise

    def silent(self: Private, sums: Any) -> None:
        self.plan = replace(self.plan, noise_multiplier=0.0)
        noise(self, sums)

    with patch.object(Private, "noise", silent if planted else noise):
        return bound(trainers.PrivateSteps.under(ONE, 1000))


def moments_unclipped(planted: bool) -> float:
    """The coarse prior's moments are of images as they are."""
    off: AbstractContextManager[Any] = patch.object(gaussian_prior, "clip", lambda rows: rows)
    with off if planted else nullcontext():
        return bound(trainers.CoarseMoments(ONE), 20)


def records_apart(planted: bool) -> float:
    """Eight records of a patient are counted as eight patients."""
    if planted:
        return bound(RecordsApart(PrivacyPlan.for_budget(ONE, 8000, 2400, 20, 1.0), records=8))
    return bound(replace(trainers.PrivateSteps.under(ONE, 1000), records=8))


def fitted_scaler(planted: bool) -> float:
    """A scaler fitted on patients is kept with the weights."""
    plain = trainers.PrivateSteps.under(ONE, 1000)
    return bound(Scaled(plain.plan) if planted else plain)


AUDIT = "audit of epsilon 1, lower bound"
LEAKS = (
    Leak("exact copies, a tenth of a cohort", "exact copies, share of records", 0.05, exact_copies),
    Leak("near copies", "nearest record, AUC, lower end", CHANCE, near_copies),
    Leak("memorised labels", "attribute inference, AUC, lower end", CHANCE, memorised_labels),
    Leak("a rare category in a column's list", AUDIT, ONE.epsilon, rare_words),
    Leak("an overfitted flow", "error at noise levels, AUC, lower end", CHANCE, overfitted_flow),
    Leak("patients' own codes in the weights", "likelihood, AUC, lower end", CHANCE, kept_codes),
    Leak("noise off, DP-SGD", AUDIT, ONE.epsilon, noise_off),
    Leak("clipping off, moments of images", AUDIT, ONE.epsilon, moments_unclipped),
    Leak("records counted as patients, DP-SGD", AUDIT, ONE.epsilon, records_apart),
    Leak("a fitted scaler kept, DP-SGD", AUDIT, ONE.epsilon, fitted_scaler),
)
