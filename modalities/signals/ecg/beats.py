"""Decompose a record: its average beat, found by least squares where beats overlap, and the remainder."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ....core.types import BoolArray, FloatArray
from ..layout import RATE

# s from the R peak: 2 ms apart around the QRS, 8 ms where waves are slow
KNOTS = np.concatenate(
    [np.arange(-0.36, -0.09, 0.008), np.arange(-0.088, 0.162, 0.002), np.arange(0.168, 0.72, 0.008)]
)
KNEE = 0.10  # s; what comes later stretches with the root of the interval (Bazett, Morphology 1920;7:353)
USUAL_INTERVAL = 0.85  # s, at which a beat has its own length
INTERVALS = (0.35, 1.7)  # s, beyond which nothing stretches further
WANDER = 0.7  # Hz
QRS = np.arange(-int(0.07 * RATE), int(0.09 * RATE))  # samples around the peak
SHIFT = 8  # samples by which a marked peak may be off


@dataclass(frozen=True)
class Decomposed:
    """A record (lead, sample) as beats and remainder.

    beat (lead, knot) mV at KNOTS; peaks (beat,) in samples, to fractions; scale (beat,) of each QRS; odd (beat,)
    is True where a beat is unlike the others; fitted and remainder (lead, sample) mV add up to the record.
    """

    beat: FloatArray
    peaks: FloatArray
    scale: FloatArray
    odd: BoolArray
    fitted: FloatArray
    remainder: FloatArray


def padded(peaks: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Peaks with one more beat before and after, and the interval in s that follows each."""
    usual = float(np.median(np.diff(peaks)))
    full = np.concatenate([[peaks[0] - usual], peaks, [peaks[-1] + usual]])
    return full, np.append(np.diff(full), usual) / RATE


def placing(
    peaks: FloatArray, intervals: FloatArray, samples: int, scale: FloatArray | None = None
) -> sparse.csr_matrix:
    """(sample, knot) matrix that turns a beat at KNOTS into a trace with a beat at each peak; overlaps add up."""
    rows, columns, values = [], [], []
    for k, (peak, interval) in enumerate(zip(peaks, intervals, strict=True)):
        stretch = np.sqrt(np.clip(interval, *INTERVALS) / USUAL_INTERVAL)
        last = KNEE + (KNOTS[-1] - KNEE) * stretch
        at = np.arange(
            max(int(np.ceil(peak + KNOTS[0] * RATE)), 0), min(int(np.ceil(peak + last * RATE)), samples)
        )
        since = (at - peak) / RATE
        where = np.where(since < KNEE, since, KNEE + (since - KNEE) / stretch)
        knot = np.clip(np.searchsorted(KNOTS, where, side="right") - 1, 0, len(KNOTS) - 2)
        part = (where - KNOTS[knot]) / (KNOTS[knot + 1] - KNOTS[knot])
        size = 1.0 if scale is None else scale[k]
        rows += [at, at]
        columns += [knot, knot + 1]
        values += [size * (1 - part), size * part]
    if not rows:
        return sparse.csr_matrix((samples, len(KNOTS)))
    place = (np.concatenate(rows), np.concatenate(columns))
    return sparse.csr_matrix((np.concatenate(values), place), shape=(samples, len(KNOTS)))


def _roughness() -> FloatArray:
    """(knot, knot) penalty: squared second derivative, little around the QRS, and a pull to 0 at both ends."""
    size = len(KNOTS)
    bend = np.zeros((size - 2, size))
    for i in range(1, size - 1):
        a, b = KNOTS[i] - KNOTS[i - 1], KNOTS[i + 1] - KNOTS[i]
        bend[i - 1, i - 1 : i + 2] = 2 / (a * (a + b)), -2 / (a * b), 2 / (b * (a + b))
    inside = (KNOTS[1:-1] > -0.06) & (KNOTS[1:-1] < 0.09)
    bend *= np.where(inside, 3.5e-6, 2.6e-4)[:, None]
    ends = np.full(size, 0.01)
    ends[:6] += np.linspace(30, 0, 6)
    ends[-10:] += np.linspace(0, 30, 10)
    return np.asarray(bend.T @ bend + np.diag(ends))


PENALTY = _roughness()


def _fit(leads: FloatArray, place: sparse.csr_matrix, weight: FloatArray) -> FloatArray:
    normal = (place.T @ sparse.diags(weight) @ place).toarray() + PENALTY
    return np.linalg.solve(normal, place.T @ (weight[:, None] * leads.T)).T


def around(
    peaks: FloatArray, before: float, after: float, samples: int, of: Sequence[bool] | BoolArray
) -> BoolArray:
    """(sample,) True from `before` s ahead of those peaks that are chosen to `after` s behind them."""
    inside = np.zeros(samples, dtype=bool)
    for peak in peaks[np.asarray(of, dtype=bool)]:
        inside[max(0, int(peak - before * RATE)) : max(0, int(peak + after * RATE))] = True
    return inside


def decompose(ecg: NDArray[np.floating], peaks: NDArray[np.integer]) -> Decomposed:
    """Take a (lead, sample) mV record at 500 Hz with at least three R peaks (beat,) apart.

    Least squares for the beat that, placed at each peak, explains the record; then, by turns: peaks are moved to
    where their QRS fits (cross-correlation, parabola), each QRS gets its size, beats unlike the others are left
    out, and what is slow in the remainder is taken for wander and set aside.
    """
    from scipy import signal as dsp

    leads = np.asarray(ecg, dtype=np.float64)
    samples = leads.shape[1]
    slow = dsp.butter(2, WANDER, "low", fs=RATE, output="sos")
    high = leads - dsp.sosfiltfilt(slow, leads, axis=1)
    at: FloatArray = peaks.astype(np.float64)
    scale: FloatArray = np.ones(len(peaks))
    odd: BoolArray = np.zeros(len(peaks), dtype=bool)
    weight: FloatArray = np.ones(samples)
    for turn in range(6):
        full, intervals = padded(at)
        place = placing(full, intervals, samples, np.concatenate([[1], scale, [1]]))
        beat = _fit(high, place, weight)
        fitted = (place @ beat.T).T
        if turn < 4:
            odd = _unlike(high - fitted, at, beat)
            weight = np.where(around(at, 0.3, 0.6, samples, odd), 0.0, 1.0)
        if turn == 5:
            break
        if turn >= 2:
            rest = np.where(weight > 0, leads - fitted, np.median(leads - fitted, axis=1, keepdims=True))
            high = leads - dsp.sosfiltfilt(slow, rest, axis=1, padlen=min(3 * RATE, samples - 1))
        at, scale = _settle(high, beat, at, odd)
        scale /= scale[~odd].mean() if (~odd).any() else 1.0  # the beat itself says how large beats are
    return Decomposed(beat, at, scale, odd, fitted, leads - fitted)


def _unlike(remainder: FloatArray, peaks: FloatArray, beat: FloatArray) -> BoolArray:
    """(beat,) True where the remainder around a beat is far more than at the others."""
    near = [slice(max(0, int(p - 0.08 * RATE)), max(1, int(p + 0.35 * RATE))) for p in peaks]
    energy = np.array([np.square(remainder[:, s]).mean() if remainder[:, s].size else 0.0 for s in near])
    return np.asarray(energy > 5 * np.median(energy) + 4e-4 + 0.18 * np.square(beat[:, KNOTS > -0.1]).mean())


def _settle(
    high: FloatArray, beat: FloatArray, peaks: FloatArray, odd: BoolArray
) -> tuple[FloatArray, FloatArray]:
    """Peaks where their QRS fits best, and the size of each QRS; those of odd beats and at the ends stay."""
    moved, scale = peaks.copy(), np.ones(len(peaks))
    shape = np.stack([np.interp(QRS / RATE, KNOTS, lead) for lead in beat])
    lags = np.arange(-SHIFT, SHIFT + 1)
    for k, peak in enumerate(peaks):
        centre = round(peak)
        if odd[k] or centre + QRS[0] < SHIFT or centre + QRS[-1] + SHIFT >= high.shape[1]:
            continue
        cost = np.array([np.square(high[:, centre + QRS + lag] - shape).sum() for lag in lags])
        best, fraction = int(cost.argmin()), 0.0
        if 0 < best < len(lags) - 1 and (bend := cost[best - 1] - 2 * cost[best] + cost[best + 1]) > 0:
            fraction = float(np.clip(0.5 * (cost[best - 1] - cost[best + 1]) / bend, -0.5, 0.5))
        moved[k] = centre + lags[best] + fraction
        whole = round(moved[k])
        exact = np.stack([np.interp((QRS - (moved[k] - whole)) / RATE, KNOTS, lead) for lead in beat])
        scale[k] = np.clip((high[:, whole + QRS] * exact).sum() / (np.square(exact).sum() + 1e-9), 0.5, 1.6)
    return moved, scale
