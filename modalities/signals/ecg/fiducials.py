"""Where P, QRS and T lie in a beat, and the beat redrawn so that they lie where they do in all others."""

import numpy as np
from scipy.ndimage import gaussian_filter1d

from ....core.types import FloatArray
from .beats import KNOTS

TIMES = np.arange(-0.36, 0.72, 0.002)  # s from the R peak, even
COMMON = np.array([-0.125, -0.045, 0.045, 0.24])  # s, where registered beats have their landmarks
NAMES = ("P peak", "QRS onset", "QRS end", "T peak")
STEEP = 0.12  # of the greatest slope: where the QRS begins and ends


def even(beat: FloatArray) -> FloatArray:
    """(lead, knot) at KNOTS to (lead, time) at TIMES."""
    return np.stack([np.interp(TIMES, KNOTS, lead) for lead in beat])


def at_knots(even_beat: FloatArray) -> FloatArray:
    """(lead, time) at TIMES to (lead, knot) at KNOTS."""
    return np.stack([np.interp(KNOTS, TIMES, lead) for lead in even_beat])


def locate(beat: FloatArray) -> FloatArray:
    """P peak, QRS onset, QRS end, T peak in s from the R peak, of a (lead, knot) beat, over all leads together.

    The QRS is where the beat is steep; P and T are where it is farthest from the straight line through its window.
    """
    x = even(beat)
    speed = np.sqrt(np.square(gaussian_filter1d(np.gradient(x, axis=1), 2)).sum(0))
    steep = speed > STEEP * speed[(TIMES > -0.05) & (TIMES < 0.06)].max()
    before, after = (
        np.flatnonzero(steep & (TIMES > -0.09) & (TIMES < 0)),
        np.flatnonzero(steep & (TIMES > 0) & (TIMES < 0.11)),
    )
    onset = TIMES[before[0]] if len(before) else COMMON[1]
    end = TIMES[after[-1]] if len(after) else COMMON[2]

    def peak(first: float, last: float, blur: float) -> float:
        window = (first < TIMES) & (last > TIMES)
        y = gaussian_filter1d(x, blur, axis=1)[:, window]
        line = y[:, :1] + (y[:, -1:] - y[:, :1]) * np.linspace(0, 1, y.shape[1])
        return float(TIMES[window][np.square(y - line).sum(0).argmax()])

    p = peak(max(-0.30, onset - 0.24), onset - 0.012, 4)
    t = peak(max(0.12, end + 0.03), 0.55, 8)
    return np.array([p, onset, end, t])


def register(even_beat: FloatArray, marks: FloatArray) -> FloatArray:
    """(lead, time) with its landmarks moved from `marks` to COMMON, straight in between."""
    return _moved(even_beat, marks, COMMON)


def unregister(even_beat: FloatArray, marks: FloatArray) -> FloatArray:
    """(lead, time) with its landmarks moved from COMMON to `marks`: undoes register."""
    return _moved(even_beat, COMMON, marks)


def _moved(x: FloatArray, old: FloatArray, new: FloatArray) -> FloatArray:
    ends = TIMES[0], TIMES[-1]
    source = np.interp(
        TIMES, np.concatenate([ends[:1], new, ends[1:]]), np.concatenate([ends[:1], old, ends[1:]])
    )
    return np.stack([np.interp(source, TIMES, lead) for lead in x])


def ordered(marks: FloatArray) -> FloatArray:
    """Landmarks as a beat can have them: in order, and apart."""
    onset, end = min(marks[1], -0.012), max(marks[2], 0.012)
    return np.array([np.clip(marks[0], -0.30, onset - 0.02), onset, end, np.clip(marks[3], end + 0.03, 0.55)])
