"""Post-processing: the spectrum and the histogram of a drawn image are matched to those of public images.

A network trained by squared error draws images whose sharpness and grey levels vary too little from image to image.
Two maps correct that. Both are optimal transport between normal distributions of features of an image: the log
power of its bands, which are then amplified or damped, and the normal scores of its grey quantiles, which give its
tone curve. Both are functions of the image alone, so they keep its content and add no noise.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.linalg import sqrtm
from scipy.special import ndtr, ndtri

from ...core.types import FloatArray

BANDS = 8
COARSEST = 1 / 64  # cycles a pixel
# Quantiles of an image
TONES = np.array([0, 0.02, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.96, 0.995, 1])
KNOTS = 129  # of the distribution of a quantile over images
MOST = 1.5  # log of the largest factor of a band
TINY = 1e-6
RIDGE = 1e-3
STORED = "finish"  # the prefix of its tensors: weights that ship have it


@dataclass(frozen=True)
class HistogramMatching:
    """Fitted maps. Of log band powers: `bands` (2, band) means, drawn and real, and `stretch` (band, band); of the
    quantiles: `tones` (2, tone, knot) distributions, and `turn` (tone, tone) between their normal scores.
    """

    bands: FloatArray
    stretch: FloatArray
    tones: FloatArray
    turn: FloatArray

    def __call__(self, image: FloatArray) -> FloatArray:
        """(y, x) in [0, 1] -> the same image, matched."""
        return self._toned(self.sharpened(image)).clip(0, 1)

    def tensors(self) -> dict[str, FloatArray]:
        """For a weights file."""
        return dict(vars(self))

    @classmethod
    def restore(cls, arrays: Mapping[str, FloatArray]) -> "HistogramMatching":
        """Inverse of tensors."""
        return cls(**{name: np.asarray(array, dtype=np.float64) for name, array in arrays.items()})

    def sharpened(self, image: FloatArray) -> FloatArray:
        """(y, x) -> the same image with the first map alone."""
        parts = split(image)
        power = powers(parts)
        drawn, real = self.bands
        wanted = real + self.stretch @ (power - drawn)
        gain = np.exp((wanted - power).clip(-MOST, MOST))
        return np.asarray(image + np.tensordot(gain - 1, parts, 1))

    def _toned(self, image: FloatArray) -> FloatArray:
        quantiles = np.quantile(image, TONES)
        share = np.linspace(0.5 / KNOTS, 1 - 0.5 / KNOTS, KNOTS)
        scores = [
            ndtri(np.interp(value, knots, share))
            for value, knots in zip(quantiles, self.tones[0], strict=True)
        ]
        places = ndtr(self.turn @ np.array(scores))
        wanted = [np.interp(p, share, knots) for p, knots in zip(places, self.tones[1], strict=True)]
        rising = np.maximum.accumulate(quantiles + TINY * np.arange(len(quantiles)))
        return np.asarray(np.interp(image, rising, np.maximum.accumulate(wanted)))


@dataclass(frozen=True)
class Target:
    """What real images' features are like: mean and covariance of log band powers, the distribution (tone, knot) of
    each grey quantile, and the covariance of their normal scores.
    """

    power: FloatArray
    power_covariance: FloatArray
    tones: FloatArray
    score_covariance: FloatArray

    @classmethod
    def of(cls, features: FloatArray) -> "Target":
        """Of real images' features (image, feature)."""
        power, greys = features[:, :BANDS], features[:, BANDS:]
        knots = np.quantile(greys, np.linspace(0, 1, KNOTS), axis=0).T
        return cls(power.mean(0), np.cov(power.T), knots, np.cov(scores(greys).T))


def fit(drawn: FloatArray, real: FloatArray) -> HistogramMatching:
    """From images (image, y, x) in [0, 1] that a model drew, and real ones of the same profiles."""
    return fit_to(drawn, Target.of(features(real)))


def fit_to(drawn: FloatArray, target: Target) -> HistogramMatching:
    """From drawn images and what is known of the real ones."""
    power = features(drawn)[:, :BANDS]
    bands = np.stack([power.mean(0), target.power])
    stretch = transport(np.cov(power.T), target.power_covariance)
    untoned = HistogramMatching(bands, stretch, np.empty(0), np.empty(0))
    greys = quantiles(np.stack([untoned.sharpened(image) for image in drawn]))
    own = np.quantile(greys, np.linspace(0, 1, KNOTS), axis=0).T
    own += TINY * np.arange(KNOTS) / KNOTS  # strictly rising, for interpolation
    turn = transport(np.cov(scores(greys).T), target.score_covariance)
    return HistogramMatching(bands, stretch, np.stack([own, target.tones]), turn)


def features(images: FloatArray) -> FloatArray:
    """(image, feature): log powers of the bands, then grey quantiles."""
    power = np.stack([powers(split(image)) for image in images])
    return np.hstack([power, quantiles(images)])


def quantiles(images: FloatArray) -> FloatArray:
    """(image, tone) of images (image, y, x)."""
    return np.asarray(np.quantile(images.reshape(len(images), -1), TONES, axis=1).T)


def scores(greys: FloatArray) -> FloatArray:
    """(image, tone) normal scores: the normal quantile of each value's rank among the images."""
    from scipy.stats import rankdata

    return np.asarray(ndtri((rankdata(greys, axis=0) - 0.5) / len(greys)))


def transport(drawn: FloatArray, real: FloatArray) -> FloatArray:
    """The matrix that takes N(0, drawn) to N(0, real) over the least distance (Dowson and Landau 1982)."""
    ridge = RIDGE * np.eye(len(drawn))
    root = sqrtm(drawn + ridge)
    inverse = np.linalg.inv(root)
    return np.asarray(inverse @ sqrtm(root @ (real + ridge) @ root) @ inverse)


def split(image: FloatArray) -> FloatArray:
    """(band, y, x) that add up to the image less its mean; the image is mirrored at its edges."""
    rows, columns = image.shape
    around = ((rows // 2, rows // 2), (columns // 2, columns // 2))
    wide = np.pad(image, around, mode="symmetric")
    spectrum = np.fft.rfft2(wide)
    parts = np.fft.irfft2(spectrum * masks(*wide.shape), s=wide.shape)
    return np.asarray(parts[:, rows // 2 : rows // 2 + rows, columns // 2 : columns // 2 + columns])


@lru_cache
def masks(rows: int, columns: int) -> FloatArray:
    """(band, frequency, frequency) weights: triangles in log frequency from COARSEST to Nyquist, in all 1 but at 0."""
    frequency = np.hypot(np.fft.fftfreq(rows)[:, None], np.fft.rfftfreq(columns))
    step = np.log(0.5 / COARSEST) / (BANDS - 1)
    place = np.clip(np.log(np.maximum(frequency, TINY) / COARSEST) / step, 0, BANDS - 1)
    weights = np.clip(1 - np.abs(place - np.arange(BANDS)[:, None, None]), 0, 1)
    weights[:, 0, 0] = 0
    return np.asarray(weights)


def powers(parts: FloatArray) -> FloatArray:
    """(band,) log of the standard deviation of each band."""
    return np.asarray(np.log(parts.std((1, 2)) + TINY))
