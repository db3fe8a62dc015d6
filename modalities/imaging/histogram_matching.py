"""How a film is finished: how sharp it is and how its greys are spread, as widely as real films differ in that.

A network trained by squared error draws films whose sharpness and greys differ too little from film to film: each
is near the mean. Two maps mend that, both optimal transport between normal laws of numbers a film has: of the log
power of its bands, which are then amplified or damped, and of the normal scores of its grey quantiles, which give
its tone curve. They follow from what the film already was, so that they keep what it shows and add no noise.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.special import ndtr, ndtri

from ...core.types import FloatArray

BANDS = 8
COARSEST = 1 / 64  # cycles a pixel
TONES = np.array(
    [0, 0.02, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.96, 0.995, 1]
)  # quantiles of a film
KNOTS = 129  # of the distribution of a quantile over films
MOST = 1.5  # log of the largest factor of a band
TINY = 1e-6
RIDGE = 1e-3


@dataclass(frozen=True)
class Finish:
    """Fitted maps. Of log band powers: `bands` (2, band) means, drawn and real, and `stretch` (band, band); of the
    quantiles: `tones` (2, tone, knot) distributions, and `turn` (tone, tone) between their normal scores.
    """

    bands: FloatArray
    stretch: FloatArray
    tones: FloatArray
    turn: FloatArray

    def __call__(self, film: FloatArray) -> FloatArray:
        """(y, x) in [0, 1] -> the same film, finished."""
        return self._toned(self.sharpened(film)).clip(0, 1)

    def tensors(self) -> dict[str, FloatArray]:
        """For a weights file."""
        return dict(vars(self))

    @classmethod
    def restore(cls, arrays: Mapping[str, FloatArray]) -> "Finish":
        """Inverse of tensors."""
        return cls(**{name: np.asarray(array, dtype=np.float64) for name, array in arrays.items()})

    def sharpened(self, film: FloatArray) -> FloatArray:
        """(y, x) -> the same film with the first map alone."""
        parts = split(film)
        power = powers(parts)
        drawn, real = self.bands
        wanted = real + self.stretch @ (power - drawn)
        gain = np.exp((wanted - power).clip(-MOST, MOST))
        return np.asarray(film + np.tensordot(gain - 1, parts, 1))

    def _toned(self, film: FloatArray) -> FloatArray:
        own = np.quantile(film, TONES)
        share = np.linspace(0.5 / KNOTS, 1 - 0.5 / KNOTS, KNOTS)
        scores = [
            ndtri(np.interp(value, knots, share)) for value, knots in zip(own, self.tones[0], strict=True)
        ]
        places = ndtr(self.turn @ np.array(scores))
        wanted = [np.interp(p, share, knots) for p, knots in zip(places, self.tones[1], strict=True)]
        rising = np.maximum.accumulate(own + TINY * np.arange(len(own)))
        return np.asarray(np.interp(film, rising, np.maximum.accumulate(wanted)))


def fit(drawn: FloatArray, real: FloatArray) -> Finish:
    """From films (film, y, x) in [0, 1] that a model drew, and real ones of the same profiles."""
    from scipy.stats import rankdata

    own, theirs = (np.stack([powers(split(film)) for film in films]) for films in (drawn, real))
    bands = np.stack([own.mean(0), theirs.mean(0)])
    stretch = transport(np.cov(own.T), np.cov(theirs.T))
    untoned = Finish(bands, stretch, np.empty(0), np.empty(0))
    share = np.linspace(0, 1, KNOTS)
    sharp = np.stack([untoned.sharpened(film) for film in drawn])
    greys = [np.quantile(films.reshape(len(films), -1), TONES, axis=1).T for films in (sharp, real)]
    scores = [ndtri((rankdata(table, axis=0) - 0.5) / len(table)) for table in greys]
    tones = np.stack([np.quantile(table, share, axis=0).T for table in greys])
    tones[0] += TINY * np.arange(KNOTS) / KNOTS  # strictly rising, for interpolation
    return Finish(bands, stretch, tones, transport(*(np.cov(table.T) for table in scores)))


def transport(drawn: FloatArray, real: FloatArray) -> FloatArray:
    """The matrix that takes N(0, drawn) to N(0, real) over the least distance (Dowson and Landau 1982)."""
    ridge = RIDGE * np.eye(len(drawn))
    root = _power(drawn + ridge, 0.5)
    inverse = _power(drawn + ridge, -0.5)
    return np.asarray(inverse @ _power(root @ (real + ridge) @ root, 0.5) @ inverse)


def _power(matrix: FloatArray, exponent: float) -> FloatArray:
    value, vector = np.linalg.eigh(matrix)
    return np.asarray(vector * np.maximum(value, 1e-12) ** exponent @ vector.T)


def split(film: FloatArray) -> FloatArray:
    """(band, y, x) that add up to the film less its mean; the film goes on as its mirror image beyond the edges."""
    rows, columns = film.shape
    around = ((rows // 2, rows // 2), (columns // 2, columns // 2))
    wide = np.pad(film, around, mode="symmetric")
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
