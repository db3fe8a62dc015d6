"""NetworkFaults: what befalls messages between a monitor and the ward: dropouts, duplicates, delays, clock drift."""

import random
from collections import deque
from collections.abc import Sequence
from typing import TypeVar

from pydantic import Field

from ...core.duration import Seconds, Timed

T = TypeVar("T")
LONGEST = 600  # s that a monitor can keep, or a packet be late: what is held back stays bounded


class Fault(Timed):
    """What may befall a monitor's network, from one second of the stream to another."""


class Dropout(Fault):
    """Nothing gets through; the last `keeps` seconds of it are sent at once when it is back."""

    lasts: Seconds | None = 30.0
    keeps: float = Field(default=0, ge=0, le=LONGEST)


class ClockDrift(Fault):
    """The monitor's clock runs fast by `ppm` millionths (slow: negative), after a `jump` of seconds."""

    ppm: float = Field(default=100, ge=-1e5, le=1e5)
    jump: float = Field(default=0, ge=-86400, le=86400)


class Duplicates(Fault):
    """A share of messages is sent twice."""

    share: float = Field(default=0.02, gt=0, le=1)


class Late(Fault):
    """A share of messages comes `by` seconds late, so that later ones overtake them."""

    share: float = Field(default=0.02, gt=0, le=1)
    by: float = Field(default=3.0, gt=0, le=LONGEST)


FAULTS: dict[str, type[Fault]] = {
    "dropout": Dropout, "clock_drift": ClockDrift, "duplicates": Duplicates, "late": Late,
}  # fmt: skip


class NetworkFaults:
    """The network of one monitor's signal; what happens depends on the seed and the messages' times alone."""

    def __init__(self, faults: Sequence[Fault], seed: int) -> None:
        self._faults = faults
        self._chance = random.Random(seed)
        keeps = [fault.keeps for fault in faults if isinstance(fault, Dropout)]
        self._kept: deque[object] = deque(maxlen=int(max(keeps, default=0)))
        self._lost, self.doubled = 0, 0

    @property
    def lost(self) -> int:
        """Messages that did not get through, or have not yet."""
        return self._lost + len(self._kept)

    def shown(self, time: float) -> float:
        """What the monitor's clock shows at a time of the stream; an ended drift is an error set right."""
        drifts = [fault for fault in self._faults if isinstance(fault, ClockDrift) and fault.on(time)]
        return time + sum(fault.jump + (time - fault.at) * fault.ppm * 1e-6 for fault in drifts)

    def carry(self, time: float, message: T) -> list[tuple[float, T]]:
        """(seconds of delay, message) of all that arrives on account of a message sent at that time."""
        if not self._faults:
            return [(0.0, message)]
        if dropouts := [f for f in self._faults if isinstance(f, Dropout) and f.on(time)]:
            if not any(fault.keeps for fault in dropouts):
                self._lost += 1
            else:
                self._lost += len(self._kept) == self._kept.maxlen
                self._kept.append(message)
            return []
        arrived: list[tuple[float, T]] = [(0.0, kept) for kept in self._kept]  # type: ignore[misc]
        self._kept.clear()
        delay, copies = 0.0, 1
        for fault in self._faults:
            if isinstance(fault, Late) and fault.on(time) and self._chance.random() < fault.share:
                delay += fault.by
            elif isinstance(fault, Duplicates) and fault.on(time) and self._chance.random() < fault.share:
                copies += 1
        self.doubled += copies - 1
        return arrived + [(delay, message)] * copies
