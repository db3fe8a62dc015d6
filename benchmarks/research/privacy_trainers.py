"""The project's private trainers as eval.audit sees them: canaries to train on, and scores of who was in.

Each canary is a patient at the bounds: its clipped contribution has the whole norm that one patient may have,
and is as far as can be from those of the others. Scores are white-box: they know the mechanism, its noise and all
that was released, and give the log-odds of having been included, or what goes with them.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from unittest.mock import patch

import lightning.pytorch as pl
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtri
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from polyclinic import PatientProfile
from polyclinic.conditioning.table import mechanism
from polyclinic.conditioning.table.junction_tree import JunctionTree
from polyclinic.core.config import TrainConfig
from polyclinic.core.config import load as load_config
from polyclinic.core.dp.budget import Budget, PrivacyPlan, noise_for
from polyclinic.core.dp.dp_statistics import denoised
from polyclinic.core.modality import DatasetSource
from polyclinic.core.training.fit import Fit
from polyclinic.core.training.trainer import fit
from polyclinic.modalities.imaging.gaussian_prior import (
    COUNT_WEIGHT,
    MEAN_SHARE,
    GaussianPrior,
    PriorSettings,
    fit_private,
)
from polyclinic.modalities.omics import private
from polyclinic.modalities.omics.classes import SUBTYPES
from polyclinic.modalities.omics.modules import PAM50
from polyclinic.modalities.omics.tumours import Layout, Tumours
from polyclinic.modalities.signals.ecg import private as ecg_private
from polyclinic.modalities.signals.ecg.morphology import QUANTILES, MorphologyModel, MorphologySpace

Values = NDArray[np.float64]


def noise_source() -> np.random.Generator:
    """Fresh entropy, as the trainers themselves take."""
    return np.random.default_rng()


# -- images: the law of the coarse picture


def _shipped_prior() -> PriorSettings:
    """As the training YAML of the private X-rays says."""
    return PriorSettings.model_validate(
        load_config(TrainConfig, "imaging_private", "train")[0].model["prior"]
    )


@dataclass(frozen=True)
class CoarseMoments:
    """imaging.coarse.fit_private under a budget. Canary (class, component): an image far out along a component."""

    budget: Budget
    settings: PriorSettings = field(default_factory=_shipped_prior)

    @cached_property
    def noise(self) -> list[float]:
        """The recipe's own: the whole budget to means and covariance."""
        return noise_for(self.budget, [MEAN_SHARE, 1 - MEAN_SHARE])

    def canaries(self) -> list[tuple[int, int]]:
        """One a class and component."""
        return [(kind, place) for kind in (0, 1) for place in range(self.settings.rank)]

    def train(self, included: Sequence[tuple[int, int]]) -> tuple[GaussianPrior, int]:
        """The law, and how many patients there were, which is taken as known."""
        z = np.zeros((len(included), self.settings.rank))
        z[np.arange(len(included)), [place for _, place in included]] = 1e3
        people = [PatientProfile(str(i), conditions={"J18.9": bool(k)}) for i, (k, _) in enumerate(included)]
        scale = np.ones(self.settings.rank)
        return fit_private(z, people, self.settings, self.noise, scale, 0, noise_source()), len(included)

    def score(self, released: tuple[GaussianPrior, int], canaries: Sequence[tuple[int, int]]) -> Values:
        """Log-odds from the class means and the variances, over both states of who shares the component."""
        law, patients = released
        root = np.sqrt(self.settings.rank)
        counts = law.share * patients
        means = law.line[:, :, -1] * counts[:, None] / (self.settings.mean_norm * root)
        squares = np.diag(law.root[0] @ law.root[0].T) * patients / (self.settings.spread_norm * root) ** 2
        whole = 1 / float(np.hypot(1, COUNT_WEIGHT))
        out = []
        for kind, place in canaries:
            odds = {}
            for own in (0, 1):
                likely = [
                    -((means[kind, place] - whole * own) ** 2 + (means[1 - kind, place] - whole * other) ** 2)
                    / (2 * self.noise[0] ** 2)
                    - (squares[place] - own - other) ** 2 / (2 * self.noise[1] ** 2)
                    for other in (0, 1)
                ]
                odds[own] = np.logaddexp(*likely)
            out.append(odds[1] - odds[0])
        return np.array(out)


# -- ECGs: the morphology model


@dataclass(frozen=True)
class MorphologyMoments:
    """signals.ecg.private.adapt under a budget. Canary: a morphology far out along one of its scores."""

    budget: Budget
    scores: int = 100

    @cached_property
    def noise(self) -> float:
        """The recipe's own, of the covariance."""
        return noise_for(self.budget, [ecg_private.MEAN_SHARE, 1 - ecg_private.MEAN_SHARE])[1]

    @property
    def public(self) -> MorphologyModel:
        """A public model of independent normal scores, wide enough for canaries."""
        size, ones = self.scores, np.ones(self.scores)
        return MorphologyModel(
            MorphologySpace({}), np.zeros((2, size)), np.repeat(ndtri(QUANTILES)[:, None], size, axis=1), np.eye(size),
            np.array([-1e6 * ones, 1e6 * ones]), 0 * ones, ones,
        )  # fmt: skip

    def canaries(self) -> list[int]:
        """Scores."""
        return list(range(self.scores))

    def train(self, included: Sequence[int]) -> tuple[MorphologyModel, Values]:
        """The model, and the measurement sum of squares that it was made of, before any shrinking."""
        rows = np.zeros((len(included), self.scores))
        rows[np.arange(len(included)), list(included)] = 1e3
        seen: list[Values] = []

        def tapped(covariance: Values, noise: float) -> Values:
            seen.append(covariance / noise * self.noise)
            return denoised(covariance, noise)

        with tempfile.TemporaryDirectory() as folder, patch.object(ecg_private, "denoised", tapped):
            how = Fit(folder=Path(folder), budget=self.budget)
            code = np.zeros((len(included), 1), dtype=np.float32)
            model, _ = ecg_private.adapt(self.public, rows, code, [str(i) for i in included], how, "canaries")
        return model, seen[0]

    def score(self, released: tuple[MorphologyModel, Values], canaries: Sequence[int]) -> Values:
        """Each canary's own square, and how far the model's mean was moved towards it."""
        model, squares = released
        square = np.diag(squares)[list(canaries)] / self.noise**2
        return np.asarray(square + 0.1 * model.regression[-1, list(canaries)])


# -- tumours: private moments of gene modules


class Recorded(private.Mechanisms):
    """Mechanisms that keep what they release."""

    released: list[tuple[Values, float]]

    def sum(self, rows: Values, norm: float, which: int) -> tuple[Values, float]:
        """As Mechanisms.sum."""
        self.released = [*getattr(self, "released", []), super().sum(rows, norm, which)]
        return self.released[-1]


class Replayed(private.Mechanisms):
    """Says again what was released, and keeps the rows that patients would have put in: the adversary's own run."""

    def __init__(self, released: Sequence[tuple[Values, float]], detail: bool) -> None:
        super().__init__([], detail, noise_source())
        self.waiting = list(released)
        self.rows: list[Values] = []

    def sum(self, rows: Values, norm: float, which: int) -> tuple[Values, float]:
        """The next of the released sums; norm cuts the rows, as it does in training."""
        total, deviation = self.waiting.pop(0)
        self.rows.append(private.clipped(rows, norm) / deviation)
        return total, deviation


@dataclass(frozen=True)
class OmicsMoments:
    """omics.private.learn under a budget. Canary: a tumour of all features at their bounds, by random signs.

    only: the place of the one release that is looked at, in the order of private.RELEASES; None: all of them.
    """

    budget: Budget
    detail: bool
    patients: int = 100
    features: int = 400
    only: int | None = None

    @cached_property
    def noise(self) -> list[float]:
        """The recipe's own."""
        return noise_for(self.budget, private.DETAILED if self.detail else private.COARSE)

    @property
    def layout(self) -> Layout:
        """RNA of the PAM50 genes and of others."""
        genes = [gene for group in PAM50.values() for gene in group.split()]
        return Layout({"rna": tuple([*genes, *(f"G{i}" for i in range(self.features - len(genes)))])})

    def canaries(self) -> list[int]:
        """Seeds of the signs."""
        return list(range(self.patients))

    def _tumours(self, canaries: Sequence[int]) -> Tumours:
        signs = [np.random.default_rng(own).choice([-1.0, 1.0], self.features) for own in canaries]
        hot = np.eye(len(SUBTYPES), dtype=np.float32)[[own % len(SUBTYPES) for own in canaries]]
        return Tumours(
            np.asarray(1e3 * np.array(signs), dtype=np.float32),
            self.layout,
            hot,
            tuple(f"pam50={name}" for name in SUBTYPES),
            tuple(map(str, canaries)),
            DatasetSource("canaries", "none"),
        )

    def train(self, included: Sequence[int]) -> list[tuple[Values, float]]:
        """All four releases, with their noise."""
        tap = Recorded(self.noise, self.detail, noise_source())
        private.learn(self._tumours(included), tap)
        return tap.released

    def score(self, released: list[tuple[Values, float]], canaries: Sequence[int]) -> Values:
        """Best linear guess of who is in, from what each canary would have put into each release."""
        replay = Replayed(released, self.detail)
        private.learn(self._tumours(canaries), replay)
        seen = range(len(released)) if self.only is None else [self.only]
        rows = np.concatenate([replay.rows[i] for i in seen], axis=1)
        total = np.concatenate([released[i][0] / released[i][1] for i in seen])
        return np.linalg.solve(rows @ rows.T + 4 * np.eye(len(rows)), rows @ (total - rows.sum(0) / 2))


# -- profiles: the graphical model


@dataclass(frozen=True)
class TableModelOf:
    """conditioning.mechanism.learn under a budget. Canary: the one patient more of his own level of a column."""

    budget: Budget
    levels: int = 100
    others: int = 200  # known patients of each level, so that no level is merged away

    @cached_property
    def noise(self) -> list[float]:
        """The recipe's own."""
        return noise_for(self.budget, mechanism.shares())

    def canaries(self) -> list[int]:
        """Levels."""
        return list(range(self.levels))

    def train(self, included: Sequence[int]) -> tuple[mechanism.GraphicalModel, int]:
        """The model, and how many patients there were."""
        known = np.stack(
            [np.repeat(np.arange(self.levels), self.others), np.zeros(self.levels * self.others)], 1
        )
        own = np.stack([np.array(included, dtype=np.float64), np.ones(len(included))], axis=1)
        codes = np.concatenate([known, own]).astype(np.int64)
        return mechanism.learn(codes, [self.levels, 2], self.noise, noise_source()), len(codes)

    def score(self, released: tuple[mechanism.GraphicalModel, int], canaries: Sequence[int]) -> Values:
        """How many patients the model holds in each canary's cell, and in its level."""
        learnt, patients = released
        tree: JunctionTree = learnt.tree()
        ((_, shares),) = tree.two_way(tree.potentials(dict(learnt.factors))).items()
        counts = shares * patients
        group = learnt.merges[0].group[list(canaries)]
        single = counts.sum(1)[group] * learnt.merges[0].share[list(canaries)] - self.others
        cell = counts[group, -1] if counts.shape[1] > 1 else np.zeros(len(canaries))
        return np.asarray(cell + 0.1 * single)


# -- DP-SGD


class Dirac(pl.LightningModule):
    """A line through zero whose gradient on a patient is that patient's own coordinate (`strength` long).

    Keeps every gradient that the optimiser is given: all that an adversary inside the training sees.
    """

    def __init__(self, size: int, strength: float) -> None:
        super().__init__()
        self.line = nn.Linear(size, 1, bias=False)
        self.strength = strength
        self.seen: list[NDArray[np.float32]] = []

    def losses(self, batch: tuple[Tensor, ...]) -> Tensor:
        """(row,) losses whose gradient does not depend on the weights."""
        return self.strength * self.line(batch[0])[:, 0]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Plain descent, noting each gradient."""
        optimizer = torch.optim.SGD(self.parameters(), lr=1e-3)
        optimizer.register_step_pre_hook(lambda *_: self._note())
        return optimizer

    def _note(self) -> None:
        gradient = self.line.weight.grad
        assert gradient is not None
        self.seen.append(gradient[0].numpy().copy())


@dataclass(frozen=True)
class PrivateSteps:
    """core.train.fit with a plan, on patients whose gradients share no coordinate."""

    plan: PrivacyPlan
    strength: float = 10.0
    records: int = 1  # of each patient

    @classmethod
    def under(cls, budget: Budget, patients: int, steps: int = 20, rate: float = 0.3) -> "PrivateSteps":
        """A plan for that many patients."""
        return cls(PrivacyPlan.for_budget(budget, patients, round(rate * patients), steps, 1.0))

    @property
    def size(self) -> int:
        """How many patients there are."""
        return self.plan.patients

    def canaries(self) -> list[int]:
        """Coordinates."""
        return list(range(self.size))

    def train(self, included: Sequence[int]) -> list[NDArray[np.float32]]:
        """Every measurement gradient, as sums. Who is out is in the set without a gradient: sizes are known."""
        rows = np.zeros((self.size, self.size), dtype=np.float32)
        rows[included, included] = 1.0
        rows = np.repeat(rows, self.records, axis=0)
        module = Dirac(self.size, self.strength)
        with tempfile.TemporaryDirectory() as folder:
            how = Fit(folder=Path(folder), precision="32-true", accelerator="cpu", progress=False)
            fit(
                module, TensorDataset(torch.from_numpy(rows)), how, name="audit", steps=0, batch_size=256,
                plan=self.plan, patients=self.patients(), ema=None,
            )  # fmt: skip
        return [
            gradient * max(1, round(self.plan.sample_rate * self.plan.patients)) for gradient in module.seen
        ]

    def patients(self) -> list[str]:
        """Whose each row is."""
        return [str(i) for i in range(self.size) for _ in range(self.records)]

    def score(self, released: list[NDArray[np.float32]], canaries: Sequence[int]) -> Values:
        """Log-odds of having been in some of the steps, each with the plan's rate."""
        noise, rate = self.plan.noise_multiplier, self.plan.sample_rate
        found = np.stack(released)[:, list(canaries)].astype(np.float64)
        return np.asarray(np.logaddexp(np.log1p(-rate), np.log(rate) + (found - 0.5) / noise**2).sum(0))
