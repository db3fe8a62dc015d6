"""When beats come: the beat-to-beat interval process of sinus rhythm and of atrial fibrillation."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

SINUS, FIBRILLATION = "sinus", "atrial fibrillation"
SHORTEST = 0.3  # s, refractory
ASKED = 0.01  # how near the rate of a strip comes to the one asked for
STEPS, SHIFTS = 40, 6  # in which it is sought: stretches by one ASKED more or less, strips some beats later
BREATH = (0.15, 0.4)  # Hz, high-frequency band of heart-rate variability (Task Force 1996)


@dataclass(frozen=True)
class Variability:
    """How irregular a heart is: the logarithm of its intervals' coefficient of variation.

    For sinus rhythm a line in age and heart rate with normal scatter, for fibrillation a normal.
    """

    level: float = -3.4
    per_decade: float = -0.12
    per_10_bpm: float = -0.1
    scatter: float = 0.5
    fibrillation: float = -1.6
    fibrillation_scatter: float = 0.25

    @classmethod
    def fit(
        cls,
        peaks: Sequence[NDArray[np.int64]],
        rate: int,
        age: NDArray[np.float64],
        fibrillation: NDArray[np.bool_],
    ) -> "Variability":
        """Least squares over records (peaks in samples, age in years with NaN as 60)."""
        rows, fast = [], []
        for own, years, af in zip(peaks, np.nan_to_num(age, nan=60.0), fibrillation, strict=True):
            gaps = np.diff(own) / rate
            if len(gaps) < 4:
                continue
            # successive differences, so that one missed beat or a slow trend counts little
            cv = 1.4826 * np.median(np.abs(np.diff(gaps))) / np.sqrt(2) / np.median(gaps)
            spot = np.log(max(cv, 0.003))
            if af:
                fast.append(spot)
            else:
                rows.append((1.0, (years - 60) / 10, (60 / np.median(gaps) - 70) / 10, spot))
        table = np.array(rows)
        if len(table) < 10:
            return cls()
        line, *_ = np.linalg.lstsq(table[:, :3], table[:, 3], rcond=None)
        scatter = float(np.std(table[:, 3] - table[:, :3] @ line))
        level, per_decade, per_10_bpm = (float(x) for x in line)
        fitted = cls(level, per_decade, per_10_bpm, scatter)
        if len(fast) < 5:
            return fitted
        return replace(fitted, fibrillation=float(np.mean(fast)), fibrillation_scatter=float(np.std(fast)))


def draw_peaks(
    rng: np.random.Generator,
    heart_rate: float,
    age: float,
    rhythm: str,
    how: Variability,
    seconds: float,
    rate: int,
) -> NDArray[np.int64]:
    """R peaks in samples, covering [0, seconds) and one beat either side; mean rate as asked.

    Sinus: intervals swing with breathing (high frequency) and slowly (Mayer waves, 0.1 Hz), with a little
    jitter. Fibrillation: independent, log-normal intervals, never closer than the refractory time.
    """
    mean = 60 / heart_rate
    if rhythm == FIBRILLATION:
        cv = np.exp(np.clip(rng.normal(how.fibrillation, how.fibrillation_scatter), -2.3, -0.9))
        gaps = mean * np.exp(rng.normal(-(cv**2) / 2, cv, size=int(seconds / mean * 2) + 12))
    else:
        spot = how.level + how.per_decade * (age - 60) / 10 + how.per_10_bpm * (heart_rate - 70) / 10
        cv = np.exp(np.clip(rng.normal(spot, how.scatter), -5.5, -1.9))
        breath, slow = rng.uniform(*BREATH), rng.uniform(0.07, 0.12)
        turn = rng.uniform(0, 2 * np.pi, size=2)
        share = rng.uniform(0.4, 0.9)
        count = int(seconds / mean * 2) + 12
        when = mean * np.arange(count)
        swing = share * np.sin(2 * np.pi * breath * when + turn[0])
        swing += (1 - share) * np.sin(2 * np.pi * slow * when + turn[1])
        gaps = mean * (1 + np.sqrt(2) * cv * (swing + 0.4 * rng.standard_normal(count)))
    gaps = np.maximum(gaps, SHORTEST)
    times = np.cumsum(gaps) - rng.uniform(0, 1) * mean - mean
    peaks = _paced(times, mean, seconds, rate)
    return peaks[peaks < (seconds + 2 * mean) * rate]


def _paced(times: NDArray[np.float64], mean: float, seconds: float, rate: int) -> NDArray[np.int64]:
    """Beat times in s as samples, stretched a little: the median interval in the strip is the mean asked for.

    Stretching moves beats over the ends of the strip, which changes the median where intervals are irregular;
    then the nearest stretch that comes within ASKED is taken, or that of a strip some beats later.
    """
    inside = np.flatnonzero((times >= 0) & (times < seconds))
    if len(inside) < 3:
        return np.rint(times * rate).astype(np.int64)
    first, ratio = times[inside[0]], mean / np.median(np.diff(times[inside]))
    best, least = np.zeros(0, dtype=np.int64), np.inf
    for shift in range(SHIFTS):
        since = times - times[inside[0] + shift]
        for step in range(2 * STEPS):  # by turns a little less and more
            factor = ratio * (1 + ASKED) ** ((step + 1) // 2 * (-1) ** step)
            peaks = np.rint((first + since * factor) * rate).astype(np.int64)
            shown = peaks[(peaks >= 0) & (peaks < seconds * rate)]
            off = float(abs(np.median(np.diff(shown)) / rate / mean - 1)) if len(shown) > 2 else np.inf
            if off < ASKED:
                return peaks
            if off < least or not len(best):
                best, least = peaks, off
    return best
