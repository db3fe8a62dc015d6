"""LiveVitals: a patient's vitals at any second of a stream, hour by hour from the chart, in constant memory."""

from collections import deque
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

from ....core.types import Float32Array, FloatArray
from ..channels import CHANNELS, HR, VITALS
from ..vitals.bedside import SECONDS, around_the_clock

DECIMALS = {channel.name: channel.decimals for channel in VITALS}  # that a monitor shows
STEADY = 31  # s over which a monitor averages the heart rate, which leaves out beat-to-beat irregularity
LOW, HIGH = np.array([(channel.low, channel.high) for channel in VITALS], dtype=np.float32).T


class Change(Protocol):
    """What a rule does to the vitals. rules.Sepsis and rules.AtrialFibrillation are ours."""

    def change(self, vitals: FloatArray, second: FloatArray) -> FloatArray:
        """(second, channel) vitals at these seconds of the stream, changed."""
        ...


class LiveVitals:
    """Vitals every second and the heart rate behind them, of hours as charted; time goes forward.

    `charted` is (hour, 7) with NaN where nothing was charted. Hours are those of bedside.around_the_clock for
    this seed and rhythm. `start` is the second of the chart at which the stream begins; rules count from there. Two
    hours are kept, so that one may look up to an hour ahead, and no farther back than that.
    """

    def __init__(
        self, charted: NDArray[np.floating], seed: int, start: int = 0, changes: Sequence[Change] = (),
        rhythm: str = "sinus",
    ) -> None:  # fmt: skip
        self._hours = around_the_clock(charted, seed, rhythm)
        self._start, self._changes = start, changes
        self._next = start // SECONDS  # hour of the chart that is drawn next
        for _ in range(self._next):
            next(self._hours)
        self._held: deque[tuple[Float32Array, Float32Array]] = deque(maxlen=2)
        self._known = bool(np.isfinite(np.asarray(charted)[:, HR]).any())
        # where monitors start together, their hours are drawn at different times
        self._ahead = int(np.random.default_rng([seed, 3]).integers(SECONDS))
        self.at(0)

    def at(self, second: int) -> Float32Array:
        """(7,) the vitals at a second of the stream, unrounded."""
        row: Float32Array = self._hour(second, self._ahead)[0][(self._start + second) % SECONDS]
        return row

    def heart_rate(self, time: float, otherwise: float) -> float:
        """Beats a minute at a time in s, without what varies from beat to beat; `otherwise` where never charted."""
        if not self._known:
            return otherwise
        second = max(0, int(time))
        return float(self._hour(second, 0)[1][(self._start + second) % SECONDS])

    def _hour(self, second: int, ahead: int) -> tuple[Float32Array, Float32Array]:
        """The hour in which a second of the stream lies; what comes `ahead` seconds later is drawn by then."""
        place = self._start + second
        while self._next <= (place + ahead) // SECONDS:
            self._held.append(self._drawn(self._next))
            self._next += 1
        return self._held[place // SECONDS - self._next]

    def _drawn(self, hour: int) -> tuple[Float32Array, Float32Array]:
        """(second, channel) vitals of the next hour, and (second,) the heart rate behind them."""
        vitals = next(self._hours).astype(np.float64)
        steady = uniform_filter1d(vitals, STEADY, axis=0, mode="nearest")
        seconds = hour * SECONDS - self._start + np.arange(SECONDS, dtype=np.float64)
        for rule in self._changes:
            vitals, steady = rule.change(vitals, seconds), rule.change(steady, seconds)
        rate = np.clip(steady[:, HR], LOW[HR], HIGH[HR])
        return np.clip(vitals, LOW, HIGH).astype(np.float32), rate.astype(np.float32)


def displayed(vitals: NDArray[np.floating], shown: Sequence[str]) -> dict[str, float]:
    """Channel to value as a monitor shows it, of the channels that are `shown`."""
    return {
        name: round(value, DECIMALS[name]) if DECIMALS[name] else round(value)
        for name, value in zip(CHANNELS, vitals.tolist(), strict=True)
        if name in shown
    }
