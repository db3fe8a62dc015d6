"""The bedside monitor: one reading a second whose hourly means are the charted values. Rule-based."""

from collections.abc import Iterable, Iterator
from itertools import count

import numpy as np
from numpy.typing import NDArray

from ....core.errors import InputError
from ....core.types import Float32Array, FloatArray
from ..channels import CHANNELS, DBP, HR, MAP, O2SAT, RESP, SBP
from ..layout import FIBRILLATION, FLUTTER
from .quantizer import USUAL

SECONDS = 3600
BASIS = "rule-based: seconds are made up between charted hours, not learnt"
FULL = 100.0  # %, the most that blood can be saturated
# Parts that add up to the readings: every one stays above 0, so that diastolic < mean < systolic each second.
PARTS = ("HR", "O2Sat", "Temp", "DBP", "MAP - DBP", "SBP - MAP", "Resp")
# how far a part wanders from its hourly mean, as a share of it, and how many seconds it remembers
WANDER = np.array([0.03, 0.0, 0.0015, 0.03, 0.06, 0.06, 0.06])
MEMORY = np.array([40.0, 60.0, 600.0, 30.0, 30.0, 30.0, 15.0])
# rise and fall with each breath, as a share: sinus arrhythmia, and the pressures a quarter of a breath later
BREATH = np.array([0.012, 0.0, 0.0, 0.01, 0.02, 0.02, 0.0])
MOST = 0.2  # share by which a part may leave its line
HEADROOM = 0.25  # share of what is left to 100 % that saturation may move


def bedside(
    vitals: NDArray[np.floating], seed: int, hours: int | None = None, rhythm: str = "sinus"
) -> Iterator[Float32Array]:
    """Yield (3600, 7) readings an hour, one a second, of (hour, 7) charted vitals with NaN; constant memory.

    The mean of each hour is the charted value, up to float32; an hour that was not charted lies between those
    that were. Readings go on across hours without a jump, pressures cohere at every second, and heart rate and
    pressures swing with the breath; in atrial fibrillation the heart rate does not, and is less steady. Raises
    InputError: more hours than vitals, or pressures that do not cohere.
    """
    table = np.asarray(vitals, dtype=np.float64)
    hours = len(table) if hours is None else hours
    if not 0 < hours <= len(table):
        raise InputError(
            f"bedside: expected 1 to {len(table)} hours, as many as there are vitals, got {hours}"
        )
    return _seconds(_parts(_filled(table)), seed, range(hours), rhythm)


def around_the_clock(
    vitals: NDArray[np.floating], seed: int, rhythm: str = "sinus"
) -> Iterator[Float32Array]:
    """What `bedside` yields, without end: after the last hour the first one follows."""
    return _seconds(_parts(_filled(np.asarray(vitals, dtype=np.float64))), seed, count(), rhythm)


def _filled(table: FloatArray) -> FloatArray:
    """Hours that were not charted: between the neighbours, or pressures from the other two; usual if never."""
    out = table.copy()
    s, m, d = out[:, SBP], out[:, MAP], out[:, DBP]
    with np.errstate(invalid="ignore"):
        if (bad := np.flatnonzero((d >= m) | (m >= s) | (d >= s))).size:
            raise InputError(
                f"bedside: hour {bad[0]}: expected diastolic < mean < systolic, got {d[bad[0]]:g}, "
                f"{m[bad[0]]:g}, {s[bad[0]]:g} mmHg"
            )
    # (systolic + 2 diastolic) / 3 for whichever of the three is missing
    m[:] = np.where(np.isnan(m), (s + 2 * d) / 3, m)
    d[:] = np.where(np.isnan(d), (3 * m - s) / 2, d)
    s[:] = np.where(np.isnan(s), 3 * m - 2 * d, s)
    hour = np.arange(len(out))
    for c in range(len(CHANNELS)):
        known = np.isfinite(out[:, c])
        out[:, c] = np.interp(hour, hour[known], out[known, c]) if known.any() else USUAL[c]
    # between charted hours the three are interpolated apart: keep them in order there too
    free = np.isnan(table)
    s[:] = np.where(free[:, SBP], np.maximum(s, d + 6), s)
    d[:] = np.where(free[:, DBP], np.minimum(d, s - 6), d)
    m[:] = np.where(free[:, MAP], np.clip(m, d + 2, s - 2), m)
    s[:] = np.where(free[:, SBP], np.maximum(s, m + 2), s)
    d[:] = np.where(free[:, DBP], np.minimum(d, m - 2), d)
    return out


def _parts(table: FloatArray) -> FloatArray:
    """(hour, part) of (hour, channel)."""
    out = table.copy()
    out[:, [DBP, MAP, SBP]] = 0
    out[:, 3:6] = np.stack(
        [table[:, DBP], table[:, MAP] - table[:, DBP], table[:, SBP] - table[:, MAP]], axis=1
    )
    return out


def _readings(parts: FloatArray) -> Float32Array:
    """Inverse of _parts, of (second, part)."""
    out = parts.copy()
    low, lower, upper = parts[:, 3:6].T
    out[:, DBP], out[:, MAP], out[:, SBP] = low, low + lower, low + lower + upper
    return out.astype(np.float32)


def _knot(before: FloatArray, after: FloatArray) -> FloatArray:
    """(part,) where two hours meet: half-way, yet low enough for both to keep their means without reaching 0."""
    knot = np.minimum((before + after) / 2, 1.5 * np.minimum(before, after))
    knot[O2SAT] = max(before[O2SAT], after[O2SAT])  # else a fully saturated hour would have to pass 100 %
    return knot


def _line(start: FloatArray, mean: FloatArray, end: FloatArray) -> FloatArray:
    """(second, part) two straight lines from knot to knot over the middle that gives the hour its mean."""
    half = SECONDS // 2
    rise = (np.arange(half) + 0.5)[:, None] / half
    middle = 2 * mean - (start + end) / 2
    return np.concatenate([start + (middle - start) * rise, middle + (end - middle) * rise])


def _seconds(parts: FloatArray, seed: int, hours: Iterable[int], rhythm: str) -> Iterator[Float32Array]:
    rng = np.random.Generator(np.random.PCG64([seed, 2]))
    wander, breath = WANDER.copy(), BREATH.copy()
    if rhythm in (FIBRILLATION, FLUTTER):  # no sinus rhythm that breathes
        breath[HR] = 0.0
    if rhythm == FIBRILLATION:
        wander[HR] *= 2.5
    state, phase = rng.standard_normal(len(PARTS)), rng.uniform(0, 2 * np.pi)
    knot = _knot(parts[0], parts[0])
    for hour in hours:
        mean = parts[hour % len(parts)]
        following = _knot(mean, parts[(hour + 1) % len(parts)])
        # drawn in a function of its own, so that no hour's work is held while it waits for the next
        readings, state, phase = _hour(rng, _line(knot, mean, following), state, phase, wander, breath)
        knot = following
        yield readings


def _hour(
    rng: np.random.Generator, line: FloatArray, state: FloatArray, phase: float,
    wander: FloatArray, breath: FloatArray,
) -> tuple[Float32Array, FloatArray, float]:  # fmt: skip
    """(second, channel) readings around a (second, part) line, and the state of wander and breath at its end."""
    from scipy.signal import lfilter

    keep = np.exp(-1 / MEMORY)
    steps = rng.standard_normal((SECONDS, len(PARTS))) * np.sqrt(1 - keep**2)
    drift = np.stack(
        [lfilter([1], [1, -k], steps[:, i], zi=[k * state[i]])[0] for i, k in enumerate(keep)], axis=1
    )
    turns = phase + np.cumsum(2 * np.pi * line[:, RESP] / 60)
    swing = np.sin(turns[:, None] - np.where(np.arange(len(PARTS)) == HR, 0, np.pi / 2))
    share = MOST * np.tanh((wander * drift + breath * swing) / MOST)
    away = share * line
    # saturation wanders below 100 %: as far as there is room, which is most where the hump is highest
    away[:, O2SAT] = HEADROOM * np.tanh(drift[:, O2SAT]) * (FULL - line[:, O2SAT])
    # a smooth hump of mean 1 that is 0 at both ends: takes an hour's mean away without a jump
    hump = 1 - np.cos(2 * np.pi * (np.arange(SECONDS) + 0.5) / SECONDS)
    away -= hump[:, None] * away.mean(0)
    return _readings(line + away), drift[-1].copy(), float(turns[-1] % (2 * np.pi))
