"""Post-processing: the spectrum and the histogram of a drawn image are matched to those of public images.

A network trained by squared error draws images whose sharpness and grey levels vary too little from image to image.
Two maps correct that. Both are optimal transport between normal distributions of features of an image: the log
power of its bands, which are then amplified or damped, and the normal scores of its grey quantiles, which give its
tone curve. Both are functions of the image alone, so they keep its content and add no noise. Colour images are matched
along three axes (brightness, red against blue, green against both), whose features are mapped together.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.fft import dctn, idctn
from scipy.linalg import sqrtm
from scipy.special import ndtr, ndtri

from ...core.types import FloatArray

BANDS = 8
COARSEST = 1 / 64  # cycles a pixel
# Quantiles of an image
TONES = np.array([0, 0.02, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.96, 0.995, 1])
MEDIAN = 6  # place among them
STEEPEST = 1.7  # slope of a tone curve of colour, and one over the least
KNOTS = 129  # of the distribution of a quantile over images
MOST = 1.5  # log of the largest factor of a band
TINY = 1e-6
RIDGE = 1e-3
STORED = "finish"  # the prefix of its tensors: weights that ship have it
# Red, green and blue to brightness, red - blue, and green - their mean, in [0, 1] with MIDDLE
AXES = np.array([[1, 1, 1], [1.5, 0, -1.5], [-0.75, 1.5, -0.75]]) / 3
BACK = np.linalg.inv(AXES)
MIDDLE = np.array([0, 0.5, 0.5])[:, None, None]


@dataclass(frozen=True)
class HistogramMatching:
    """Fitted maps. Of log band powers, plane by plane: `bands` (2, band) means, drawn and real, and `stretch` (band,
    band); of the quantiles: `tones` (2, tone, knot) distributions, and `turn` (tone, tone) between their normal scores.
    """

    bands: FloatArray
    stretch: FloatArray
    tones: FloatArray
    turn: FloatArray

    def __call__(self, image: FloatArray) -> FloatArray:
        """(plane, y, x) in [0, 1], one plane or three -> the same image, matched."""
        return coloured(self._toned(self.sharpened(along_axes(image))).clip(0, 1)).clip(0, 1)

    def tensors(self) -> dict[str, FloatArray]:
        """For a weights file."""
        return dict(vars(self))

    @classmethod
    def restore(cls, arrays: Mapping[str, FloatArray]) -> "HistogramMatching":
        """Inverse of tensors."""
        return cls(**{name: np.asarray(array, dtype=np.float64) for name, array in arrays.items()})

    def sharpened(self, image: FloatArray) -> FloatArray:
        """(plane, y, x) along the axes -> the same with the first map alone."""
        waves, shares = cosines(image), masks(*image.shape[1:])
        power = powers(waves)
        drawn, real = self.bands
        wanted = real + self.stretch @ (power - drawn)
        gain = np.exp((wanted - power).clip(-MOST, MOST)).reshape(len(image), BANDS)
        return image + np.asarray(
            idctn(waves * np.tensordot(gain - 1, shares, 1), axes=(1, 2), norm="ortho"), dtype=np.float64
        )

    def _toned(self, image: FloatArray) -> FloatArray:
        found = quantiles(image[None])[0]
        share = np.linspace(0.5 / KNOTS, 1 - 0.5 / KNOTS, KNOTS)
        scores = [
            ndtri(np.interp(value, knots, share)) for value, knots in zip(found, self.tones[0], strict=True)
        ]
        places = ndtr(self.turn @ np.array(scores))
        wanted = [np.interp(p, share, knots) for p, knots in zip(places, self.tones[1], strict=True)]
        out = []
        for plane, before, after in zip(
            image, found.reshape(len(image), -1), np.reshape(wanted, (len(image), -1)), strict=True
        ):
            rising, curve = (
                np.maximum.accumulate(before + TINY * np.arange(len(before))),
                np.maximum.accumulate(after),
            )
            out.append(np.interp(plane, rising, curve if len(image) == 1 else gentle(rising, curve)))
        return np.stack(out)


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
        power, greys = parted(features)
        knots = np.quantile(greys, np.linspace(0, 1, KNOTS), axis=0).T
        return cls(power.mean(0), np.cov(power.T), knots, np.cov(scores(greys).T))


def fit(drawn: FloatArray, real: FloatArray) -> HistogramMatching:
    """From images (image, plane, y, x) in [0, 1] that a model drew, and real ones of the same profiles."""
    return fit_to(drawn, Target.of(features(real)))


def fit_to(drawn: FloatArray, target: Target) -> HistogramMatching:
    """From drawn images and what is known of the real ones."""
    power, _ = parted(features(drawn))
    bands = np.stack([power.mean(0), target.power])
    stretch = transport(np.cov(power.T), target.power_covariance)
    untoned = HistogramMatching(bands, stretch, np.empty(0), np.empty(0))
    greys = quantiles(np.stack([untoned.sharpened(along_axes(image)) for image in drawn]))
    own = np.quantile(greys, np.linspace(0, 1, KNOTS), axis=0).T
    own += TINY * np.arange(KNOTS) / KNOTS  # strictly rising, for interpolation
    turn = transport(np.cov(scores(greys).T), target.score_covariance)
    return HistogramMatching(bands, stretch, np.stack([own, target.tones]), turn)


def features(images: FloatArray) -> FloatArray:
    """(image, feature) of images (image, plane, y, x): log powers of the bands of each plane, then grey quantiles."""
    planes = [along_axes(image) for image in images]
    power = np.stack([powers(cosines(image)) for image in planes])
    return np.hstack([power, np.vstack([quantiles(image[None]) for image in planes])])


def parted(features: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Log powers (image, band) and grey quantiles (image, tone) of features (image, feature)."""
    planes = features.shape[-1] // (BANDS + len(TONES))
    return features[..., : planes * BANDS], features[..., planes * BANDS :]


def gentle(before: FloatArray, after: FloatArray) -> FloatArray:
    """A tone curve (tone,) of colour without cliffs and plateaus, on which even skin would break into flat patches.

    No part of it is STEEPEST times steeper or flatter than none; the median stays where the curve has it.
    """
    steps = np.diff(before)
    curve = np.concatenate([[0.0], np.cumsum(np.diff(after).clip(steps / STEEPEST, steps * STEEPEST))])
    return np.asarray(curve - curve[MEDIAN] + after[MEDIAN])


def along_axes(image: FloatArray) -> FloatArray:
    """(plane, y, x) of red, green and blue in [0, 1] -> planes along AXES in [0, 1]; a grey image as it is."""
    return image if len(image) == 1 else np.tensordot(AXES, image, 1) + MIDDLE


def coloured(image: FloatArray) -> FloatArray:
    """Inverse of along_axes."""
    return image if len(image) == 1 else np.tensordot(BACK, image - MIDDLE, 1)


def quantiles(images: FloatArray) -> FloatArray:
    """(image, tone) of images (image, plane, y, x), plane by plane."""
    found = np.quantile(images.reshape(*images.shape[:2], -1), TONES, axis=2)
    return np.asarray(found.transpose(1, 2, 0).reshape(len(images), -1))


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


def cosines(image: FloatArray) -> FloatArray:
    """(plane, frequency, frequency) of (plane, y, x): the spectrum of the image mirrored at its edges."""
    return np.asarray(dctn(image, axes=(1, 2), norm="ortho"))


@lru_cache
def masks(rows: int, columns: int) -> FloatArray:
    """(band, frequency, frequency) weights: triangles in log frequency from COARSEST to Nyquist, in all 1 but at 0."""
    frequency = np.hypot((np.arange(rows) / (2 * rows))[:, None], np.arange(columns) / (2 * columns))
    step = np.log(0.5 / COARSEST) / (BANDS - 1)
    place = np.clip(np.log(np.maximum(frequency, TINY) / COARSEST) / step, 0, BANDS - 1)
    weights = np.clip(1 - np.abs(place - np.arange(BANDS)[:, None, None]), 0, 1)
    weights[:, 0, 0] = 0
    return np.asarray(weights)


def powers(waves: FloatArray) -> FloatArray:
    """(band,) log of the standard deviation of each band of each plane, of cosines()."""
    rows, columns = waves.shape[1:]
    energy = np.einsum("pyx,byx->pb", waves**2, masks(rows, columns) ** 2)
    return np.asarray(np.log(np.sqrt(energy / (rows * columns)) + TINY).ravel())
