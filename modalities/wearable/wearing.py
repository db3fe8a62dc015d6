"""Wearing: what a device records of drawn days: its channels and rates, when it is off, what it loses, its clock."""

from dataclasses import dataclass

import numpy as np

from ...core.types import AnyArray, BoolArray, FloatArray
from .body import MINUTES, Body
from .channels import BEATS, CHANNELS, blocks, taken
from .day import Day
from .figures import Device
from .layout import TWICE

DECIMALS_OF_BEATS = 1  # ms


@dataclass(frozen=True)
class Clock:
    """A device's clock: it runs fast by `ppm` millionths, set at uploads, every `sync` seconds (0: it is right)."""

    ppm: float
    sync: float
    phase: float

    def shown(self, milliseconds: AnyArray) -> AnyArray:
        """What it shows at times in ms."""
        if not self.sync:
            return milliseconds
        since = (milliseconds - 1000 * self.phase) % (1000 * self.sync)
        return milliseconds + np.rint(since * self.ppm * 1e-6).astype(np.int64)

    def received(self, milliseconds: AnyArray) -> AnyArray:
        """When what was recorded at times in ms came over: with the next upload."""
        if not self.sync:
            return milliseconds
        step = 1000 * self.sync
        return (np.ceil((milliseconds - 1000 * self.phase) / step) * step + 1000 * self.phase).astype(
            np.int64
        )


class Wearing:
    """A device on a body."""

    def __init__(self, device: Device, body: Body, stream: int) -> None:
        self.device, self.body, self._stream = device, body, 100 + stream
        rng = body.rng(self._stream)
        sync = 3600 * device.sync
        ppm, phase = rng.uniform(-1, 1) * device.drift, rng.uniform(0, sync or 1)
        self.clock = Clock(round(float(ppm), 2), sync, round(float(phase)))
        self._from = int(rng.integers(0, max(1, int(device.wear)))) if device.wear else 0
        self._charged = float(rng.uniform(7.2, 9.5) if rng.random() < 0.5 else rng.uniform(19.5, 22.5))

    def missing(self, day: Day) -> BoolArray:
        """(1440,) the minutes of a day that the device does not see."""
        device, rng = self.device, self.body.rng(self._stream, day.offset)
        gone = np.zeros(MINUTES, dtype=bool)
        if device.charging:
            begin = round(60 * (self._charged + 0.4 * rng.standard_normal()))
            gone[max(0, begin) : begin + round(60 * device.charging * rng.uniform(0.6, 1.4))] = True
        if device.wear and (day.offset + self._from) % int(device.wear) == 0:
            begin = int(rng.integers(7 * 60, 20 * 60))
            gone[begin : begin + round(60 * device.gap)] = True
        if device.lost:
            moved = day.basis.mets > 1.5
            gone |= moved & (rng.random(MINUTES) < 3 * device.lost)
            for begin in np.flatnonzero(rng.random(MINUTES) < device.lost / 40).tolist():
                gone[begin : begin + 1 + int(rng.exponential(8))] = True
        return gone

    def record(self, day: Day) -> dict[str, AnyArray]:
        """Channel -> (value,) float32 of a day, NaN where it is missing; `beats` are (beat,) whole ms of the day."""
        gone = self.missing(day)
        out: dict[str, AnyArray] = {}
        for place, (name, period) in enumerate(self.device.channels.items()):
            if name == BEATS:
                kept = day.beats[~gone[(day.beats // 60).astype(int)]]
                out[name] = np.rint(1000 * kept).astype(np.int64)
                continue
            values = taken(name, day, period, self.device.site)
            lost = gone if name not in self.device.at_night else gone | ~day.asleep
            values = np.where(
                self._lost(lost, period, len(values)), np.nan, self._noisy(name, values, day, place)
            )
            channel = CHANNELS[name]
            out[name] = np.round(np.clip(values, channel.low, channel.high), channel.decimals).astype(
                np.float32
            )
        return out

    def _lost(self, gone: BoolArray, period: int, count: int) -> AnyArray:
        if period >= TWICE:  # a reading by hand, in the morning and in the evening
            return np.zeros(count, dtype=bool)
        return blocks(gone, period)

    def _noisy(self, name: str, values: FloatArray, day: Day, place: int) -> FloatArray:
        share = self.device.noise.get(name, 0.0)
        if not share:
            return values
        rng = self.body.rng(self._stream, day.offset, place)
        slow = np.interp(np.arange(len(values)), np.linspace(0, len(values), 9), rng.standard_normal(9))
        return values * (1 + share * (0.7 * slow + 0.5 * rng.standard_normal(len(values))))
