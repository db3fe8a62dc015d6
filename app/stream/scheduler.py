"""Scheduler: what is due when. Deadlines are absolute, so that work that takes time delays nothing that comes later."""

import asyncio
import heapq
import time
from collections.abc import AsyncIterator, Iterable
from itertools import count
from typing import Generic, Protocol, TypeVar

import numpy as np

T = TypeVar("T")
TICK = 0.01  # s; devices are spread over the second in steps of it, so that those of one step go together
YIELD = 32  # items without a pause after which the network gets a turn


class Clock(Protocol):
    """Time that passes while one waits. Monotonic is ours; tests bring one that jumps."""

    def now(self) -> float:
        """Seconds since some moment."""
        ...

    async def until(self, moment: float) -> None:
        """Come back at that moment; at once if it has passed."""
        ...


class Monotonic:
    """The computer's clock."""

    now = staticmethod(time.monotonic)

    async def until(self, moment: float) -> None:
        """See Clock."""
        if (rest := moment - time.monotonic()) > 0:
            await asyncio.sleep(rest)


class Scheduler(Generic[T]):
    """Items in the order in which they are due, ties in the order in which they were added."""

    def __init__(self, items: Iterable[tuple[float, T]] = ()) -> None:
        self._order = count()
        self._heap = [(due, next(self._order), item) for due, item in items]
        heapq.heapify(self._heap)

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, due: float, item: T) -> None:
        """Add an item; `due` in seconds of the stream."""
        heapq.heappush(self._heap, (due, next(self._order), item))

    async def run(self, clock: Clock, speed: float | None) -> AsyncIterator[tuple[float, T]]:
        """(due, item) one by one, none before its time; items may be added meanwhile.

        A second of the stream takes 1/speed of the clock's; with speed None nothing is waited for.
        """
        began, unbroken = clock.now(), 0
        while self._heap:
            if speed is not None and began + self._heap[0][0] / speed > clock.now():
                await clock.until(began + self._heap[0][0] / speed)
                unbroken = 0
            elif (unbroken := unbroken + 1) % YIELD == 0:
                await asyncio.sleep(0)
            due, _, item = heapq.heappop(self._heap)
            yield due, item


def offset(place: int, devices: int) -> float:
    """Seconds, below 1, by which a device comes after the first, a whole number of ticks."""
    return place * round(1 / TICK) // max(devices, 1) * TICK


class Lateness:
    """How late messages were, as a histogram: constant memory, quantiles to half a millisecond."""

    BIN, BINS = 0.0005, 20_000  # s; the last bin holds all that is later

    def __init__(self) -> None:
        self._counts = np.zeros(self.BINS, dtype=np.int64)

    def add(self, seconds: float) -> None:
        """Note one message; early counts as on time."""
        self._counts[min(max(int(seconds / self.BIN), 0), self.BINS - 1)] += 1

    def quantile(self, share: float) -> float | None:
        """Seconds that this share of messages was not later than; None if nothing was noted."""
        total = int(self._counts.sum())
        if not total:
            return None
        return (int(np.searchsorted(np.cumsum(self._counts), share * total)) + 1) * self.BIN
