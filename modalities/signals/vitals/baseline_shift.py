"""Baseline shift: a drawn stay moved to the levels of its patient, with pressures that cohere."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ....core.types import BoolArray, Float32Array
from ..channels import VITALS
from .quantizer import SHIPPED, Lattice

# a median of a vital sign that is off by no more than this is left as it was drawn; of others, by no more than CLOSE
# of the channel's spread
NEAR = {"HR": 1.5, "O2Sat": 1.0, "Temp": 0.15, "SBP": 3.0, "DBP": 2.0, "Resp": 1.0}
CLOSE = 0.1
ODD = 0.2  # share of odd readings from which a unit does not chart even numbers only


def coherent(readings: Float32Array, lattice: Lattice = SHIPPED) -> Float32Array:
    """(hour, channel) with diastolic < mean < systolic wherever charted; what breaks this is moved the least.

    Channels without all three pressures stay as they are.
    """
    if lattice.pressures is None:
        return readings
    out = readings.copy()
    s, m, d = (out[:, place] for place in lattice.pressures)
    with np.errstate(invalid="ignore"):
        d[:] = np.where(d > s - 2, s - 2, d)
        m[:] = np.where(m > s - 1, s - 1, m)
        m[:] = np.where(m < d + 1, d + 1, m)
    return out


def shifted(
    readings: Float32Array, baseline: Mapping[str, float], lattice: Lattice = SHIPPED
) -> Float32Array:
    """(hour, channel) moved as a whole where a channel's median is far from the baseline (profile field: value).

    The mean pressure goes along with systolic and diastolic. Moves are whole steps of the lattice, of two
    where the unit charts even numbers; a reading that would leave its range stays at the end of it.
    """
    out = lattice.inward(readings)
    moves, units = np.zeros(lattice.count), lattice.step * np.where(even(readings, lattice), 2, 1)
    for c, channel in enumerate(lattice.channels):
        charted = out[np.isfinite(out[:, c]), c]
        if channel.field and channel.field in baseline and len(charted):
            level = baseline[channel.field]
            gap = (float(np.cbrt(level)) if lattice.wide[c] else level) - float(np.median(charted))
            if abs(gap) > (NEAR[channel.name] if channel in VITALS else CLOSE * lattice.spread[c]):
                moves[c] = gap if lattice.wide[c] else _on_lattice(gap, units[c])
    if lattice.pressures is not None:
        systolic, mean, diastolic = lattice.pressures
        moves[mean] = _on_lattice((moves[systolic] + 2 * moves[diastolic]) / 3, units[mean])
    moved = moves != 0
    out[:, moved] = np.clip(out[:, moved] + moves[moved], lattice.low[moved], lattice.high[moved])
    return lattice.rounded(np.where(moved, lattice.outward(out), readings))


def even(readings: NDArray[np.floating], lattice: Lattice = SHIPPED) -> BoolArray:
    """(channel,) whether hardly any whole reading is odd: some units chart even numbers only."""
    steps = (readings - lattice.floor) / lattice.grain
    whole = np.abs(steps - np.rint(steps)) < 0.1  # False where nothing was charted
    count = whole.sum(0)
    odd = (whole & (np.rint(np.nan_to_num(steps)) % 2 == 1)).sum(0)
    return np.asarray((count > 3) & (odd < ODD * count) & (lattice.step == 1) & ~lattice.wide)


def _on_lattice(gap: float, unit: float) -> float:
    """The gap in whole units; towards zero when in doubt."""
    return float(unit * np.trunc(gap / unit + 0.49 * np.sign(gap)))
