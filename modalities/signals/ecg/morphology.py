"""The law of hearts: what beat and noise a patient has, given the profile, as a Gaussian copula of few scores."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri
from torch import Tensor, from_numpy

from ....core.types import Float32Array, FloatArray
from .fiducials import TIMES, at_knots, even, locate, ordered, register, unregister
from .noise import BANDS, LEADS, TEXTURE, UPPER, Noise

QUANTILES = np.linspace(0.004, 0.996, 63)
SMALLEST = 1e-3  # mV, the least size of a wave
SIGNS = np.array([-1.0, -1.0, 1.0, 1.0])  # of the landmarks
UPPERS = len(UPPER[0])
LEAST = 0.2  # of a score's variance is its own, however uncertain its measurement


def _shares() -> tuple[FloatArray, FloatArray, FloatArray]:
    """How far each of TIMES belongs to P, QRS and T; they add up to 1."""
    p = 1 - np.clip((TIMES + 0.075) / 0.02, 0, 1)
    t = np.clip((TIMES - 0.06) / 0.03, 0, 1)
    return p, 1 - p - t, t


WAVES = dict(zip(("p", "qrs", "t"), _shares(), strict=True))


@dataclass(frozen=True)
class Heart:
    """What a patient's traces are drawn from: beat (lead, knot) mV, its landmarks in s, and the noise."""

    beat: FloatArray
    marks: FloatArray
    noise: Noise


@dataclass(frozen=True)
class Basis:
    """Leading principal components: values ~ mean + scores @ axes; axes (component, value)."""

    mean: FloatArray
    axes: FloatArray

    @classmethod
    def of(cls, values: FloatArray, components: int) -> "Basis":
        """Of (row, value)."""
        mean = values.mean(0)
        axes = np.linalg.svd(values - mean, full_matrices=False)[2]
        return cls(mean, axes[:components])

    def scores(self, values: FloatArray) -> FloatArray:
        """(row, component)."""
        return (values - self.mean) @ self.axes.T

    def values(self, scores: FloatArray) -> FloatArray:
        """(..., value)."""
        return self.mean + scores @ self.axes


@dataclass(frozen=True)
class HeartSpace:
    """A heart as a row of scores, and back.

    The scores are the log size and the shape components of P, QRS and T, each wave registered in time; the logs of
    the landmarks; components of the noise's log covariances; and its texture.
    """

    bases: dict[str, Basis]

    @classmethod
    def of(
        cls, beats: Sequence[FloatArray], noises: Sequence[Noise], components: dict[str, int]
    ) -> "HeartSpace":
        """Principal components of beats (lead, knot) mV and of noises, as many as `components` says by name."""
        registered, _ = _registered(beats)
        bases = {}
        for name, share in WAVES.items():
            _, shape = _sized(registered, share)
            bases[name] = Basis.of(shape, components[name])
        logs = np.stack([noise.log_covariance.ravel() for noise in noises])
        return cls(bases | {"noise": Basis.of(logs, components["noise"])})

    def scores(self, beats: Sequence[FloatArray], noises: Sequence[Noise]) -> FloatArray:
        """(heart, score)."""
        registered, marks = _registered(beats)
        parts = []
        for name, share in WAVES.items():
            size, shape = _sized(registered, share)
            parts += [np.log(size)[:, None], self.bases[name].scores(shape)]
        logs = np.stack([noise.log_covariance.ravel() for noise in noises])
        textures = np.stack([noise.texture for noise in noises])
        return np.concatenate(
            [*parts, np.log(np.abs(marks)), self.bases["noise"].scores(logs), textures], axis=1
        )

    def heart(self, scores: FloatArray) -> Heart:
        """The heart that (score,) numbers describe."""
        beat = np.zeros((LEADS, len(TIMES)))
        at = 0
        for name, share in WAVES.items():
            count = len(self.bases[name].axes)
            shape = self.bases[name].values(scores[at + 1 : at + 1 + count]).reshape(LEADS, -1)
            beat[:, share > 0] += np.exp(scores[at]) * shape / (np.sqrt(np.square(shape).mean()) + SMALLEST)
            at += 1 + count
        marks = ordered(SIGNS * np.exp(scores[at : at + 4]))
        at += 4
        count = len(self.bases["noise"].axes)
        logs = self.bases["noise"].values(scores[at : at + count]).reshape(BANDS, UPPERS)
        texture = scores[at + count : at + count + len(TEXTURE)]
        return Heart(at_knots(unregister(beat, marks)), marks, Noise(logs, texture))


def _registered(beats: Sequence[FloatArray]) -> tuple[FloatArray, FloatArray]:
    marks = np.stack([ordered(locate(beat)) for beat in beats])
    return np.stack([register(even(beat), own) for beat, own in zip(beats, marks, strict=True)]), marks


def _sized(registered: FloatArray, share: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Root mean square (heart,) mV of a wave, and its shape (heart, value) in that unit."""
    wave = (registered * share)[:, :, share > 0]
    size = np.sqrt(np.square(wave).mean((1, 2))) + SMALLEST
    return size, (wave / size[:, None, None]).reshape(len(wave), -1)


@dataclass(frozen=True)
class HeartLaw:
    """Scores given the code: a ridge line, and a Gaussian copula (Sklar) of what is left.

    `line` (column + 1, score); `quantiles` (QUANTILES, score) of the residuals; `root` (score, score), the Cholesky
    factor of the correlation of their normal scores; `limits` (2, score), beyond which no score goes, so that rare
    profiles do not carry the line to hearts that nobody has. Of measuring: `bias` (score,), by how much a measured
    score is off, and `own` (score,), the share of the measured residuals' variance that is not measuring's.
    """

    space: HeartSpace
    line: FloatArray
    quantiles: FloatArray
    root: FloatArray
    limits: FloatArray
    bias: FloatArray
    own: FloatArray

    @classmethod
    def fit(
        cls, space: HeartSpace, scores: FloatArray, again: FloatArray, code: Float32Array, ridge: float, shrink: float
    ) -> "HeartLaw":  # fmt: skip
        """scores (heart, score) of records with code (heart, column).

        `again` are the scores of records drawn from those hearts: the middle of again - scores is how far measuring is
        off, and its spread how much measuring adds to what hearts differ by. Both are taken away (errors in variables;
        the shift is a parametric bootstrap's, Efron and Tibshirani 1993, chapter 10).
        """
        error = again - scores
        bias, extra = np.median(error, axis=0), np.cov(_trimmed(error).T)
        design = np.concatenate([code, np.ones((len(code), 1))], axis=1).astype(np.float64)
        penalty = ridge * np.eye(design.shape[1])
        penalty[-1, -1] = 1e-6
        line: FloatArray = np.linalg.solve(design.T @ design + penalty, design.T @ scores).astype(np.float64)
        rest = np.asarray(scores - design @ line, dtype=np.float64)
        spread = np.maximum(rest.std(0), 1e-9)  # a score may be the same in all
        share = np.clip(1 - np.diag(extra) / np.square(spread), LEAST, 1)
        rank = rest.argsort(0).argsort(0)
        seen = np.corrcoef(ndtri((rank + 0.5) / len(rest)).T)
        noise = extra / np.outer(spread, spread)
        true: FloatArray = (seen - noise) / np.sqrt(np.outer(share, share))
        np.fill_diagonal(true, 1.0)
        values, vectors = np.linalg.eigh((1 - shrink) * true + shrink * np.eye(len(true)))
        true = (vectors * np.maximum(values, 0.01)) @ vectors.T
        true /= np.sqrt(np.outer(np.diag(true), np.diag(true)))
        line[-1] -= bias
        quantiles = np.asarray(np.quantile(rest, QUANTILES, axis=0), dtype=np.float64)
        middle = quantiles[len(QUANTILES) // 2]
        limits = np.quantile(scores, [QUANTILES[0], QUANTILES[-1]], axis=0) - bias
        quantiles = middle + (quantiles - middle) * np.sqrt(share)
        return cls(space, line, quantiles, np.asarray(np.linalg.cholesky(true)), limits, bias, share)

    def draw(self, rng: np.random.Generator, code: Float32Array) -> Heart:
        """A heart for a (column,) code."""
        place = ndtr(self.root @ rng.standard_normal(len(self.root)))
        spot = np.clip((place - QUANTILES[0]) / (QUANTILES[1] - QUANTILES[0]), 0, len(QUANTILES) - 1)
        low = np.minimum(spot.astype(np.int64), len(QUANTILES) - 2)
        columns = np.arange(len(low))
        part = spot - low
        rest = (1 - part) * self.quantiles[low, columns] + part * self.quantiles[low + 1, columns]
        return self.space.heart(np.clip(np.append(code, 1.0) @ self.line + rest, *self.limits))

    def tensors(self) -> dict[str, Tensor]:
        """For a weight file; `of` reads them."""
        own = {"line": self.line, "quantiles": self.quantiles, "root": self.root, "limits": self.limits,
               "bias": self.bias, "own": self.own}  # fmt: skip
        out = {f"heart.{name}": value for name, value in own.items()}
        for name, basis in self.space.bases.items():
            out |= {f"heart.{name}.mean": basis.mean, f"heart.{name}.axes": basis.axes}
        return {name: from_numpy(value.astype(np.float32)).contiguous() for name, value in out.items()}

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> "HeartLaw":
        """From the tensors of a weight file."""
        own = {
            n.removeprefix("heart."): t.double().numpy() for n, t in tensors.items() if n.startswith("heart.")
        }
        bases = {name: Basis(own[f"{name}.mean"], own[f"{name}.axes"]) for name in (*WAVES, "noise")}
        return cls(
            HeartSpace(bases),
            own["line"],
            own["quantiles"],
            own["root"],
            own["limits"],
            own["bias"],
            own["own"],
        )


def _trimmed(error: FloatArray) -> FloatArray:
    """Rows of errors without the outermost twentieth on each side of each column."""
    return np.clip(error, *np.quantile(error, [0.05, 0.95], axis=0))
