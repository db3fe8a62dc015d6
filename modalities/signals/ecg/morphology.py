"""The ECG morphology model: a patient's beat and noise given the profile, as a Gaussian copula of few scores."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.special import ndtr, ndtri

from ....core.critic import PROPOSALS, Critic
from ....core.types import Float32Array, FloatArray
from .fiducials import TIMES, align, at_knots, even, locate, ordered, unalign
from .noise import BANDS, TEXTURE, NoiseModel

if TYPE_CHECKING:
    from torch import Tensor

QUANTILES = np.linspace(0.004, 0.996, 63)
STEP = 0.002  # s, of TIMES
SMALLEST = 1e-3  # mV, the least size of a wave
SIGNS = np.array([-1.0, -1.0, 1.0, 1.0])  # of the fiducial points
STORED = {  # field of the model: its name in weight files, below "heart."
    "regression": "line", "quantiles": "quantiles", "cholesky": "root", "limits": "limits", "bias": "bias",
    "reliability": "own",
}  # fmt: skip
LEAST = 0.2  # reliability of a score, however uncertain its measurement


def _shares() -> tuple[FloatArray, FloatArray, FloatArray]:
    """How far each of TIMES belongs to P, QRS and T; they add up to 1."""
    p = 1 - np.clip((TIMES + 0.075) / 0.02, 0, 1)
    t = np.clip((TIMES - 0.06) / 0.03, 0, 1)
    return p, 1 - p - t, t


SMOOTH = {
    "p": 0.008,
    "qrs": 0.0,
    "t": 0.012,
}  # s, standard deviation of a Gaussian: P and T have nothing faster
WAVES = dict(zip(("p", "qrs", "t"), _shares(), strict=True))


@dataclass(frozen=True)
class Morphology:
    """What a patient's traces are drawn from: beat (lead, knot) mV, its fiducial points in s, and the noise.

    `scores` (score,) are those that it was made of, where they are known.
    """

    beat: FloatArray
    fiducials: FloatArray
    noise: NoiseModel
    scores: FloatArray | None = None


@dataclass(frozen=True)
class Basis:
    """Leading principal components: values ~ mean + scores @ axes; axes (component, value)."""

    mean: FloatArray
    axes: FloatArray

    @classmethod
    def of(cls, values: FloatArray, components: int, kept: float = 1.0) -> "Basis":
        """Of (row, value): as many components, or fewer that hold the share `kept` of the variance."""
        mean = values.mean(0)
        _, size, axes = np.linalg.svd(values - mean, full_matrices=False)
        if kept < 1:
            held = np.cumsum(np.square(size)) / max(float(np.square(size).sum()), 1e-12)
            components = min(components, int(np.searchsorted(held, kept)) + 1)
        return cls(mean, axes[:components])

    def scores(self, values: FloatArray) -> FloatArray:
        """(row, component)."""
        return (values - self.mean) @ self.axes.T

    def values(self, scores: FloatArray) -> FloatArray:
        """(..., value)."""
        return self.mean + scores @ self.axes


@dataclass(frozen=True)
class MorphologySpace:
    """A morphology as a row of scores, and back.

    The scores are the log size and the shape components of P, QRS and T, each wave aligned in time; the logs of the
    fiducial points; components of the noise's log covariances; and its texture.
    """

    bases: dict[str, Basis]

    @property
    def leads(self) -> int:
        """How many leads a morphology has."""
        return len(self.bases["qrs"].mean) // int((WAVES["qrs"] > 0).sum())

    @classmethod
    def of(
        cls, beats: Sequence[FloatArray], noises: Sequence[NoiseModel], components: dict[str, int], kept: float = 1.0
    ) -> "MorphologySpace":  # fmt: skip
        """Principal components of beats (lead, knot) mV and of noises, as many as `components` says by name.

        Fewer are taken where they hold the share `kept` of the variance.
        """
        aligned, _ = _aligned(beats)
        bases = {name: Basis.of(_sized(aligned, name)[1], components[name], kept) for name in WAVES}
        return cls(bases | {"noise": Basis.of(_log_covariances(noises), components["noise"], kept)})

    def scores(self, beats: Sequence[FloatArray], noises: Sequence[NoiseModel]) -> FloatArray:
        """(record, score)."""
        aligned, fiducials = _aligned(beats)
        parts = []
        for name in WAVES:
            size, shape = _sized(aligned, name)
            parts += [np.log(size)[:, None], self.bases[name].scores(shape)]
        parts += [np.log(np.abs(fiducials)), self.bases["noise"].scores(_log_covariances(noises))]
        return np.concatenate([*parts, np.stack([noise.texture for noise in noises])], axis=1)

    def morphology(self, scores: FloatArray) -> Morphology:
        """The morphology that (score,) numbers describe."""
        beat = np.zeros((self.leads, len(TIMES)))
        at = 0
        for name, share in WAVES.items():
            count = len(self.bases[name].axes)
            shape = self.bases[name].values(scores[at + 1 : at + 1 + count]).reshape(self.leads, -1)
            beat[:, share > 0] += np.exp(scores[at]) * shape / (np.sqrt(np.square(shape).mean()) + SMALLEST)
            at += 1 + count
        fiducials = ordered(SIGNS * np.exp(scores[at : at + 4]))
        at += 4
        count = len(self.bases["noise"].axes)
        logs = self.bases["noise"].values(scores[at : at + count]).reshape(BANDS, -1)
        texture = scores[at + count : at + count + len(TEXTURE)]
        return Morphology(at_knots(unalign(beat, fiducials)), fiducials, NoiseModel(logs, texture), scores)


def _aligned(beats: Sequence[FloatArray]) -> tuple[FloatArray, FloatArray]:
    """(record, lead, time) beats with their fiducial points at the common times, and where these were."""
    fiducials = np.stack([ordered(locate(beat)) for beat in beats])
    return np.stack([align(even(beat), at) for beat, at in zip(beats, fiducials, strict=True)]), fiducials


def _log_covariances(noises: Sequence[NoiseModel]) -> FloatArray:
    return np.stack([noise.log_covariance.ravel() for noise in noises])


def _sized(aligned: FloatArray, name: str) -> tuple[FloatArray, FloatArray]:
    """Root mean square (record,) mV of a wave, and its shape (record, value) in that unit."""
    share = WAVES[name]
    if SMOOTH[name]:
        aligned = gaussian_filter1d(aligned, SMOOTH[name] / STEP, axis=2)
    wave = (aligned * share)[:, :, share > 0]
    size = np.sqrt(np.square(wave).mean((1, 2))) + SMALLEST
    return size, (wave / size[:, None, None]).reshape(len(wave), -1)


@dataclass(frozen=True)
class MorphologyModel:
    """Scores given the code: a ridge regression, and a Gaussian copula (Sklar) of its residuals.

    `regression` (column + 1, score); `quantiles` (QUANTILES, score) of the residuals; `cholesky` (score, score), the
    factor of the correlation of their normal scores; `limits` (2, score), beyond which no score goes, so that the
    regression does not carry rare profiles to morphologies that nobody has. `bias` (score,) is the systematic error
    of a measured score; `reliability` (score,) is the share of the residuals' variance that is not measurement error.
    `critic`, if there is one, chooses among proposals.
    """

    space: MorphologySpace
    regression: FloatArray
    quantiles: FloatArray
    cholesky: FloatArray
    limits: FloatArray
    bias: FloatArray
    reliability: FloatArray
    critic: Critic | None = None

    @classmethod
    def fit(
        cls, space: MorphologySpace, scores: FloatArray, remeasured: FloatArray, code: Float32Array, ridge: float,
        shrink: float,
    ) -> "MorphologyModel":  # fmt: skip
        """scores (record, score) of records with code (record, column).

        `remeasured` are the scores of records drawn from those morphologies. The median of remeasured - scores is the
        bias of measuring, and its spread the variance that measuring adds. Both are taken away (errors in variables;
        the shift is a parametric bootstrap's, Efron and Tibshirani 1993, chapter 10).
        """
        error = remeasured - scores
        trimmed = np.clip(error, *np.quantile(error, [0.05, 0.95], axis=0))
        bias, extra = np.median(error, axis=0), np.cov(trimmed.T)
        design = np.concatenate([code, np.ones((len(code), 1))], axis=1).astype(np.float64)
        penalty = ridge * np.eye(design.shape[1])
        penalty[-1, -1] = 1e-6
        regression: FloatArray = np.linalg.solve(design.T @ design + penalty, design.T @ scores).astype(
            np.float64
        )
        residuals = np.asarray(scores - design @ regression, dtype=np.float64)
        spread = np.maximum(residuals.std(0), 1e-9)  # a score may be the same in all
        reliability = np.clip(1 - np.diag(extra) / np.square(spread), LEAST, 1)
        rank = residuals.argsort(0).argsort(0)
        seen = np.corrcoef(ndtri((rank + 0.5) / len(residuals)).T)
        noise = extra / np.outer(spread, spread)
        true: FloatArray = (seen - noise) / np.sqrt(np.outer(reliability, reliability))
        np.fill_diagonal(true, 1.0)
        true = as_correlation((1 - shrink) * true + shrink * np.eye(len(true)))
        regression[-1] -= bias
        quantiles = np.asarray(np.quantile(residuals, QUANTILES, axis=0), dtype=np.float64)
        middle = quantiles[len(QUANTILES) // 2]
        limits = np.quantile(scores, [QUANTILES[0], QUANTILES[-1]], axis=0) - bias
        quantiles = middle + (quantiles - middle) * np.sqrt(reliability)
        cholesky = np.asarray(np.linalg.cholesky(true))
        return cls(space, regression, quantiles, cholesky, limits, bias, reliability)

    def draw(
        self, rng: np.random.Generator, code: Float32Array, others: np.random.Generator | None = None
    ) -> Morphology:
        """A morphology for a (column,) code; where there is a critic, one of PROPOSALS, of which `others` has the rest.

        Without `others` it is the first proposal: what the copula draws.
        """
        count = len(self.cholesky)
        normal = rng.standard_normal((1, count))
        if self.critic is None or others is None:
            return self.space.morphology(self._scores(normal, code)[0])
        scores = self._scores(np.concatenate([normal, others.standard_normal((PROPOSALS - 1, count))]), code)
        return self.space.morphology(scores[self.critic.choose(others, scores)])

    def _scores(self, normal: FloatArray, code: Float32Array) -> FloatArray:
        """(row, score) for independent normal numbers (row, score)."""
        place = ndtr(normal @ self.cholesky.T)
        spot = np.clip((place - QUANTILES[0]) / (QUANTILES[1] - QUANTILES[0]), 0, len(QUANTILES) - 1)
        low = np.minimum(spot.astype(np.int64), len(QUANTILES) - 2)
        columns = np.arange(low.shape[1])
        part = spot - low
        residual = (1 - part) * self.quantiles[low, columns] + part * self.quantiles[low + 1, columns]
        mean = np.append(code, 1.0) @ self.regression
        return np.asarray(np.clip(mean + residual, *self.limits))

    def tensors(self) -> dict[str, "Tensor"]:
        """For a weight file; `of` reads them."""
        out = {f"heart.{stored}": getattr(self, name) for name, stored in STORED.items()}
        for name, basis in self.space.bases.items():
            out |= {f"heart.{name}.mean": basis.mean, f"heart.{name}.axes": basis.axes}
        return stored_floats(out) | ({} if self.critic is None else self.critic.tensors())

    @classmethod
    def of(cls, tensors: Mapping[str, "Tensor"]) -> "MorphologyModel":
        """From the tensors of a weight file."""
        arrays = {name: t.double().numpy() for name, t in tensors.items() if name.startswith("heart.")}
        bases = {
            name: Basis(arrays[f"heart.{name}.mean"], arrays[f"heart.{name}.axes"])
            for name in (*WAVES, "noise")
        }
        fields = {name: arrays[f"heart.{stored}"] for name, stored in STORED.items()}
        return cls(MorphologySpace(bases), **fields, critic=Critic.of(tensors))


def as_correlation(matrix: FloatArray) -> FloatArray:
    """The matrix made positive definite, by its eigenvalues, with a diagonal of 1."""
    values, vectors = np.linalg.eigh(matrix)
    out = (vectors * np.maximum(values, 0.01)) @ vectors.T
    return np.asarray(out / np.sqrt(np.outer(np.diag(out), np.diag(out))))


def stored_floats(arrays: Mapping[str, FloatArray]) -> dict[str, "Tensor"]:
    """Arrays as a weight file keeps them."""
    from torch import from_numpy  # a live monitor needs no torch

    return {name: from_numpy(value.astype(np.float32)).contiguous() for name, value in arrays.items()}
