"""Histogram matching to a hospital's images under a budget: the moments of their features are released once.

The features are those of histogram_matching.features, in standard deviations of the model's own draws. One Gaussian
mechanism releases their mean and their covariance; the side of the draws costs nothing.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.special import ndtri

from ...core.cohort.disk import write_atomic
from ...core.config import read_json
from ...core.dp.dp_statistics import clip, shrunk, sum_of_squares, symmetric_noise
from ...core.types import FloatArray
from .histogram_matching import KNOTS, HistogramMatching, Target, features, fit_to, parted

SHARE = 0.1  # of the budget that the prior and the maps have, as squared signal
PURPOSE = "imaging, spectrum and greys"
FILE = "matching.json"  # of a run's folder
# Root mean square of an image's features, in standard deviations of the draws, where it is clipped
LONGEST = 2.5
MEAN_WEIGHT = 0.5  # of a patient's count, relative to a feature vector of length 1
LEAST_SPREAD = 0.02  # of the draws in a feature
LEAST_VARIANCE = 0.02  # of the real images in a direction, relative to the draws


@dataclass(frozen=True)
class Moments:
    """Of real images' features (image, feature), released: mean, covariance, and the noise of an entry of the latter.

    Both are in units of `spread` (feature,) from `centre`; noise is the standard deviation on the diagonal.
    """

    centre: FloatArray
    spread: FloatArray
    mean: FloatArray
    covariance: FloatArray
    noise: float

    @classmethod
    def released(
        cls, rows: FloatArray, drawn: FloatArray, noise: float, random: np.random.Generator
    ) -> "Moments":
        """From features of one image a patient and of the draws, (image, feature); noise is the multiplier.

        Products of [MEAN_WEIGHT, features] of length 1 at most are summed: a patient moves them by 1 at most.
        """
        centre, spread = drawn.mean(0), np.maximum(drawn.std(0), LEAST_SPREAD)
        bound, together = LONGEST * np.sqrt(rows.shape[1]), np.hypot(1, MEAN_WEIGHT)
        vectors = clip((rows - centre) / spread / bound)
        ones = np.full((len(rows), 1), MEAN_WEIGHT)
        products = sum_of_squares(np.hstack([ones, vectors]) / together)
        products = (products + noise * symmetric_noise(len(products), random)) * together**2 / len(rows)
        mean = bound * products[0, 1:] / MEAN_WEIGHT
        covariance = bound**2 * products[1:, 1:] - np.outer(mean, mean)
        deviation = float(noise * together**2 / len(rows))
        mean = mean * kept(mean, bound * deviation / MEAN_WEIGHT / np.sqrt(2))
        return cls(centre, spread, mean, covariance, bound**2 * deviation)

    def target(self, drawn: FloatArray) -> Target:
        """What the real images are like: where noise hides how they differ from the draws' features, as the draws.

        Quantiles are normal, within the greys that there are.
        """
        own = np.cov(((drawn - self.centre) / self.spread).T)
        values, directions = np.linalg.eigh(own + shrunk(self.covariance - own, self.noise))
        unit = (directions * np.maximum(values, LEAST_VARIANCE)) @ directions.T
        mean, covariance = self.centre + self.spread * self.mean, unit * np.outer(self.spread, self.spread)
        power, middle = parted(mean)
        bands = len(power)
        greys = covariance[bands:, bands:]
        width = np.sqrt(np.diag(greys))
        places = ndtri((np.arange(KNOTS) + 0.5) / KNOTS)
        tones = (middle[:, None] + width[:, None] * places).clip(0, 1)
        return Target(power, covariance[:bands, :bands], tones, greys / np.outer(width, width))

    def save(self, path: Path) -> None:
        """What was released once is read again when the run is resumed."""
        path.parent.mkdir(parents=True, exist_ok=True)
        said = {name: np.asarray(value).tolist() for name, value in vars(self).items()}
        write_atomic(path, json.dumps(said).encode())

    @classmethod
    def read(cls, path: Path) -> "Moments":
        """Inverse of save."""
        said = read_json(path.read_text(encoding="utf-8"))
        noise = float(said.pop("noise"))
        return cls(**{name: np.asarray(value) for name, value in said.items()}, noise=noise)


def kept(vector: FloatArray, noise: float) -> float:
    """The factor that takes noise of that deviation out of a vector (James and Stein 1961, positive part)."""
    energy = float(vector @ vector)
    return max(0.0, 1 - len(vector) * noise**2 / energy) if energy > 0 else 0.0


def fit_private(
    drawn: FloatArray, real: FloatArray, noise: float, path: Path, resume: bool, random: np.random.Generator
) -> HistogramMatching:
    """From images (image, plane, y, x) in [0, 1] that the model drew and of one a patient.

    A resumed run reads its release.
    """
    own = features(drawn)
    if resume and path.exists():
        moments = Moments.read(path)
    else:
        moments = Moments.released(features(real), own, noise, random)
        moments.save(path)
    return fit_to(drawn, moments.target(own))
