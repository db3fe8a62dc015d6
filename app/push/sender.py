"""Sender: what takes the objects of a cohort to a server; Item, Outcome and the ways in which it may fail."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

SENT, HELD, REFUSED = "sent", "held", "refused"


@dataclass(frozen=True)
class Item:
    """An object to send: a file of the cohort, or `content` made of some. `name` is unique within the cohort.

    One that is `alone` is sent when all before it have been answered, and before any after it.
    """

    name: str
    sha256: str
    size: int  # bytes
    path: Path | None = None
    content: bytes = field(default=b"", repr=False)
    alone: bool = False

    def read(self) -> bytes:
        """Its bytes."""
        return self.content if self.path is None else self.path.read_bytes()


@dataclass(frozen=True)
class Outcome:
    """What became of an item: sent now, held by the server before, or refused by it, and why."""

    item: Item
    state: str
    reason: str = ""


class Stopped(Exception):  # noqa: N818
    """The server could not be reached any more, or answers that it is busy: why, in one line."""


class Sender(Protocol):
    """Takes items to one server; several threads call send() at once. bucket, cstore, fhir and stow have such.

    `most` items and `most_bytes` go in one send(), `parallel` of those run at a time.
    """

    most: int
    most_bytes: int
    parallel: int

    def open(self) -> None:
        """Reach the server once. Raises InputError: unreachable, not what it should be, or it lets nobody in."""
        ...

    def held(self, items: Sequence[Item]) -> set[str]:
        """Names of the items that the server has, as it says; none where it cannot be asked. Raises Stopped."""
        ...

    def send(self, items: Sequence[Item]) -> list[Outcome]:
        """Send items, one outcome each; what a lost connection leaves in doubt is asked for before it is sent again.

        Raises Stopped, and InputError where the server lets nobody in any more.
        """
        ...

    def close(self) -> None:
        """Leave; a send() that waits before it tries again gives up."""
        ...


def split(items: Sequence[Item]) -> list[Sequence[Item]]:
    """Two halves."""
    half = len(items) // 2
    return [items[:half], items[half:]]


def by_name(items: Sequence[Item]) -> Mapping[str, Item]:
    """Items by their names."""
    return {item.name: item for item in items}
