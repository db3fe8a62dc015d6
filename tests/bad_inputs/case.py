"""Case: one valid input, one change of it, and what the command line should make of it."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

REFUSED = "refused"  # exit 2 and one line that names file or field
TOLD = "told"  # refused, or done with a line on what was dropped or changed
HARMLESS = "harmless"  # the input means what it meant: done with the same result, or refused, or told
OTHER = "other"  # another valid or invalid input: done, refused or told, but no row lost without a word

EXPECTATIONS = (REFUSED, TOLD, HARMLESS, OTHER)
VERBS = ("unknown key in", "without", "a key twice in")
Edit = Callable[[Path], None]  # of the files below a case's folder


@dataclass(frozen=True)
class Base:
    """A valid input: files made by `build` in an empty folder, the command's arguments, and its format's name.

    `outputs` are paths that the command makes, absent before; `aside` are further ones that it may make or change.
    `seconds` is the processor time that a case may take. `prepare` are commands that make the rest of the valid input.
    """

    name: str
    format: str
    build: Edit
    argv: tuple[str, ...]
    outputs: tuple[str, ...] = ()
    aside: tuple[str, ...] = ()
    seconds: float = 60.0
    environment: tuple[tuple[str, str], ...] = ()
    prepare: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True)
class Change:
    """What spoils a base: an edit of its files, or other arguments.

    `says`: words of which the answer has one, or groups of texts, of one of which it has all.
    """

    name: str
    expect: str
    edit: Edit
    says: tuple[str | tuple[str, ...], ...] = ()
    argv: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        assert self.expect in EXPECTATIONS, self.expect


@dataclass(frozen=True)
class Case:
    """A change of a base."""

    base: Base
    change: Change

    @property
    def name(self) -> str:
        """The two names, unique in the table."""
        return f"{self.base.name}: {self.change.name}"

    @property
    def argv(self) -> tuple[str, ...]:
        """The command's arguments."""
        return self.base.argv if self.change.argv is None else self.change.argv

    @property
    def kinds(self) -> set[tuple[str, str]]:
        """What it changes, and into what, with the base: `policy.yaml: gate_one.x is NaN` is of gate_one and NaN."""
        what, _, into = re.sub(r" \(\d+\)$", "", self.change.name.split(": ")[-1]).partition(" is ")
        first = next((verb for verb in VERBS if what.startswith(verb)), what.split(".")[0])
        return {(self.base.name, part) for part in (first, into) if part}


def nothing(folder: Path) -> None:
    """Changes nothing."""
