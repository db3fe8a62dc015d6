"""Progress of long reading and drawing: how many are done and how long the rest takes, on standard error."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from .text import shown

SILENT = 5.0  # s of work that is not spoken of
TERMINAL, LOG = 1.0, 60.0  # s between lines

Item = TypeVar("Item")


class Progress:
    """Lines as `read 1,200 of 5,000 images, 40 s left`: over each other on a terminal, once a minute in a log."""

    def __init__(self, verb: str, noun: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.verb, self.noun, self.clock = verb, noun, clock
        self.began = self.said = clock()
        self.shown = False
        self.first: int | None = None

    def show(self, done: int, total: int) -> None:
        """Say how far it is, if it is time to."""
        now, on_terminal = self.clock(), sys.stderr.isatty()
        self.first = done if self.first is None else self.first
        if now - self.began < SILENT or now - self.said < (TERMINAL if on_terminal else LOG):
            return
        self.said, self.shown = now, on_terminal
        left = remaining(now - self.began, done - self.first, total - done)
        after = "" if left is None else f", {spoken(left)} left"
        line = f"{self.verb} {done:,} of {total:,} {self.noun}{after}"
        print(
            f"\r\033[K{shown(line)}" if on_terminal else shown(line),
            end="" if on_terminal else "\n",
            file=sys.stderr,
            flush=True,
        )

    def end(self) -> None:
        """Leave the terminal's line."""
        if self.shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def counted(items: Iterable[Item], total: int, verb: str, noun: str) -> Iterator[Item]:
    """The items, with progress said while they are worked on."""
    progress = Progress(verb, noun)
    try:
        for done, item in enumerate(items):
            progress.show(done, total)
            yield item
    finally:
        progress.end()


def remaining(seconds: float, done: int, left: int) -> float | None:
    """Seconds that the rest takes at the speed so far, never below 0; None where nothing is done yet."""
    return max(0.0, seconds / done * left) if done > 0 else None


def spoken(seconds: float) -> str:
    """Seconds below two minutes, else minutes, else hours."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
