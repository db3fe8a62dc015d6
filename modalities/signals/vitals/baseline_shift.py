"""Baseline shift: a drawn stay moved to the levels of its patient, with pressures that cohere."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ....core.types import BoolArray, Float32Array
from ..layout import CHANNELS, DBP, MAP, SBP, VITAL_FIELDS
from .quantizer import HIGH, LOW, STEP

# a median that is off by no more than this is left as it was drawn
NEAR = {"HR": 1.5, "O2Sat": 1.0, "Temp": 0.15, "SBP": 3.0, "DBP": 2.0, "Resp": 1.0}
ODD = 0.2  # share of odd readings from which a unit does not chart even numbers only


def coherent(readings: Float32Array) -> Float32Array:
    """(hour, channel) with diastolic < mean < systolic wherever charted; what breaks this is moved the least."""
    out = readings.copy()
    s, m, d = out[:, SBP], out[:, MAP], out[:, DBP]
    with np.errstate(invalid="ignore"):
        d[:] = np.where(d > s - 2, s - 2, d)
        m[:] = np.where(m > s - 1, s - 1, m)
        m[:] = np.where(m < d + 1, d + 1, m)
    return out


def shifted(readings: Float32Array, baseline: Mapping[str, float]) -> Float32Array:
    """(hour, channel) moved as a whole where a channel's median is far from the baseline (profile field: value).

    The mean pressure goes along with systolic and diastolic. Moves are whole steps of the lattice, of two
    where the unit charts even numbers; a reading that would leave its range stays at the end of it.
    """
    out = readings.astype(np.float64)
    moves, units = np.zeros(len(CHANNELS)), STEP * np.where(even(out), 2, 1)
    for field, channel in VITAL_FIELDS.items():
        c = CHANNELS.index(channel)
        charted = out[np.isfinite(out[:, c]), c]
        if field in baseline and len(charted):
            gap = baseline[field] - float(np.median(charted))
            if abs(gap) > NEAR[channel]:
                moves[c] = _on_lattice(gap, units[c])
    moves[MAP] = _on_lattice((moves[SBP] + 2 * moves[DBP]) / 3, units[MAP])
    moved = moves != 0
    out[:, moved] = np.clip(out[:, moved] + moves[moved], LOW[moved], HIGH[moved])
    return np.round(out, 2).astype(np.float32)


def even(readings: NDArray[np.floating]) -> BoolArray:
    """(channel,) whether hardly any whole reading is odd: some units chart even numbers only."""
    steps = (readings - LOW) / STEP
    whole = np.abs(steps - np.rint(steps)) < 0.1  # False where nothing was charted
    count = whole.sum(0)
    odd = (whole & (np.rint(np.nan_to_num(steps)) % 2 == 1)).sum(0)
    return np.asarray((count > 3) & (odd < ODD * count) & (STEP == 1))


def _on_lattice(gap: float, unit: float) -> float:
    """The gap in whole units; towards zero when in doubt."""
    return float(unit * np.trunc(gap / unit + 0.49 * np.sign(gap)))
