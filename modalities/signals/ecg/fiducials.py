"""Fiducial points of a beat, and its alignment in time: all beats have these points at the same times."""

import numpy as np
from scipy.ndimage import gaussian_filter1d

from ....core.types import FloatArray
from .beats import KNOTS

TIMES = np.arange(-0.36, 0.72, 0.002)  # s from the R peak, even
COMMON = np.array([-0.125, -0.045, 0.045, 0.24])  # s, where aligned beats have their fiducial points
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


def align(even_beat: FloatArray, fiducials: FloatArray) -> FloatArray:
    """(lead, time) with its fiducial points moved to COMMON by piecewise linear time warping."""
    return _warp(even_beat, fiducials, COMMON)


def unalign(even_beat: FloatArray, fiducials: FloatArray) -> FloatArray:
    """(lead, time) with its fiducial points moved from COMMON to `fiducials`: the inverse of align."""
    return _warp(even_beat, COMMON, fiducials)


def _warp(x: FloatArray, old: FloatArray, new: FloatArray) -> FloatArray:
    ends = TIMES[0], TIMES[-1]
    source = np.interp(
        TIMES, np.concatenate([ends[:1], new, ends[1:]]), np.concatenate([ends[:1], old, ends[1:]])
    )
    return np.stack([np.interp(source, TIMES, lead) for lead in x])


def ordered(fiducials: FloatArray) -> FloatArray:
    """Fiducial points as a beat can have them: in order, and apart."""
    p, onset, end, t = fiducials
    onset, end = min(onset, -0.012), max(end, 0.012)
    return np.array([np.clip(p, -0.30, onset - 0.02), onset, end, np.clip(t, end + 0.03, 0.55)])
