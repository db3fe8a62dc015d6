"""Course: vitals every second that keep the charted hours, with a small rule-based variation in between."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .export import CHANNELS
from .live_rules import DBP, HR, MAP, O2, SBP

HOUR, MINUTE = 3600, 60  # s
# Standard deviation within an hour, as bedside monitors show at rest; at least half of what is displayed
# (DECIMALS), so that rounding leaves the mean alone. MAP follows SBP and DBP.
SPREAD = {"HR": 1.6, "O2Sat": 0.5, "Temp": 0.05, "SBP": 2.4, "MAP": 0.0, "DBP": 1.6, "Resp": 0.9}
DECIMALS = {"HR": 0, "O2Sat": 0, "Temp": 1, "SBP": 0, "MAP": 0, "DBP": 0, "Resp": 0}
BOUNDS = {
    "HR": (20, 250), "O2Sat": (40, 100), "Temp": (30, 43), "SBP": (40, 260),
    "MAP": (25, 200), "DBP": (15, 180), "Resp": (3, 70),
}  # fmt: skip
MEMORY = 0.9  # of the quick variation from one second to the next
SLOW = (6, 13, 29)  # cycles an hour of the slow variation: whole ones, so that the hour's mean is 0


class Change(Protocol):
    """What a rule does to the vitals. live_rules.Sepsis and AtrialFibrillation are ours."""

    def change(self, vitals: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
        """(second, channel) vitals at these seconds of the stream, changed."""
        ...


class Course:
    """One patient's vitals at every second, in constant memory; what is asked depends on the second alone.

    `charted` is (hour, 7) with NaN where nothing was charted; such hours lie on the line between their
    neighbours, and a channel that was never charted stays NaN. After the last hour the first one follows. In an
    hour that was charted the mean over its seconds is the charted value. `start` is the second of the chart at
    which the stream begins; rules count from there.
    """

    def __init__(
        self, charted: NDArray[np.floating], seed: int, start: int = 0, changes: Sequence[Change] = ()
    ) -> None:
        self._hours = _filled(np.asarray(charted, dtype=np.float64))
        before = np.roll(self._hours, 1, axis=0)
        self._edges = (before + self._hours) / 2
        # saturation has a ceiling: with the higher of two hours at their border, no hour arches above it
        self._edges[:, O2] = np.maximum(before, self._hours)[:, O2]
        self._seed, self._start, self._changes = seed, start, changes
        self._turn = np.random.default_rng([seed, 0]).uniform(0, 2 * np.pi, (len(SLOW), len(CHANNELS)))
        self._minute, self._block = -1, np.empty(0)

    def at(self, second: int) -> NDArray[np.float64]:
        """(7,) the vitals at a second of the stream, unrounded."""
        minute, rest = divmod(self._start + second, MINUTE)
        if minute != self._minute:
            self._minute, self._block = minute, self._drawn(minute)
        row: NDArray[np.float64] = self._block[rest]
        return row

    def _drawn(self, minute: int) -> NDArray[np.float64]:
        """(second, channel) of one minute."""
        second = minute * MINUTE + np.arange(MINUTE)
        vitals = self._between(second)
        quick = _BLEND @ np.random.default_rng([self._seed, 1 + minute]).standard_normal(
            (MINUTE, len(CHANNELS))
        )
        turns = 2 * np.pi * (second % HOUR)[:, None, None] * np.array(SLOW)[:, None] / HOUR
        slow = np.sin(turns + self._turn).sum(1) * np.sqrt(2 / len(SLOW))
        variation = (0.6 * quick + 0.8 * slow) * np.array([SPREAD[name] for name in CHANNELS])
        variation[:, MAP] = (variation[:, SBP] + 2 * variation[:, DBP]) / 3
        variation[:, O2] *= np.clip((100 - vitals[:, O2]) / 1.5, 0, 1)
        vitals += variation
        for rule in self._changes:
            vitals = rule.change(vitals, (second - self._start).astype(np.float64))
        low, high = np.array([BOUNDS[name] for name in CHANNELS]).T
        return np.clip(vitals, low, high)

    def _between(self, second: NDArray[np.int64]) -> NDArray[np.float64]:
        """The parabola of each hour that meets its neighbours at the borders and has the charted mean.

        The reconstruction of the piecewise parabolic method (Colella and Woodward, J Comput Phys 1984).
        """
        hour = (second // HOUR) % len(self._hours)
        u = ((second % HOUR) + 0.5)[:, None] / HOUR
        mean, left = self._hours[hour], self._edges[hour]
        right = self._edges[(hour + 1) % len(self._hours)]
        bend = 3 * (left + right) - 6 * mean
        return left + (right - left - bend) * u + bend * u * u

    def heart_rate(self, second: int, otherwise: float) -> float:
        """Per minute; `otherwise` where it was never charted."""
        rate = float(self.at(second)[HR])
        return rate if np.isfinite(rate) else otherwise


def displayed(vitals: NDArray[np.float64]) -> dict[str, float]:
    """Channel to value as a monitor shows it; channels without a value are left out."""
    return {
        name: round(value, DECIMALS[name]) if DECIMALS[name] else round(value)
        for name, value in zip(CHANNELS, vitals.tolist(), strict=True)
        if value == value
    }


def _filled(charted: NDArray[np.float64]) -> NDArray[np.float64]:
    """(hour, channel) with hours that were not charted on the line between those that were."""
    out = charted.copy()
    hours = np.arange(len(charted))
    for column in out.T:
        known = np.isfinite(column)
        if known.any():
            column[~known] = np.interp(hours[~known], hours[known], column[known])
    return out


def _blend() -> NDArray[np.float64]:
    """(second, second): white noise to an autoregressive minute of unit variance and mean 0."""
    lag = np.arange(MINUTE)[:, None] - np.arange(MINUTE)
    kernel = np.where(lag >= 0, MEMORY ** np.maximum(lag, 0), 0.0) * np.sqrt(1 - MEMORY**2)
    centred: NDArray[np.float64] = kernel - kernel.mean(0)
    return centred


_BLEND = _blend()
