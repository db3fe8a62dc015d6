"""Author: an invented hand of a department: one way to write dates, units, headings, lists and names."""

from collections.abc import Callable, Mapping
from datetime import date
from functools import cache
from random import Random
from typing import Any

from ....core.profile import seed_for
from .phrases import names
from .text import Parts

HANDS = 40  # authors of a department
MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip

# Every form is read back in one way only: slashes are month first, dots day first.
DATES: Mapping[str, Callable[[date], str]] = {
    "2024-03-05": date.isoformat,
    "5 March 2024": lambda day: f"{day.day} {MONTHS[day.month - 1]} {day.year}",
    "05 Mar 2024": lambda day: f"{day.day:02d} {MONTHS[day.month - 1][:3]} {day.year}",
    "March 5, 2024": lambda day: f"{MONTHS[day.month - 1]} {day.day}, {day.year}",
    "03/05/2024": lambda day: f"{day.month:02d}/{day.day:02d}/{day.year}",
    "05.03.2024": lambda day: f"{day.day:02d}.{day.month:02d}.{day.year}",
}


class Author:
    """One hand; all of it follows from department and number."""

    def __init__(self, department: str, number: int) -> None:
        self.name = f"{department}-{number:02d}"
        rng = self._rng = Random(seed_for(number, department, "author"))
        self.brevity = rng.choice((0.1, 0.3, 0.6, 0.9))  # how often a short name is taken
        self.date: Callable[[date], str] = DATES[rng.choice(list(DATES))]
        self.counts_days = rng.random() < 0.5  # "day 3", not the date
        self.heads = rng.choice(("UPPER", "Title", "inline"))
        self.bullet = rng.choice(("- ", "* ", "1. ", "• ", ""))
        self.gap = rng.choice(("", " "))  # between a number and %
        self.padded = rng.random() < 0.5  # 1.20 rather than 1.2
        self.terse = rng.random() < 0.4  # lines rather than sentences
        self.says_units = rng.random() < 0.8
        self.seed = number
        self._habits: dict[str, int] = {}
        self._words: dict[tuple[str, Any], tuple[str, str]] = {}

    def word(self, kind: str, key: Any, short: bool) -> str:
        """This author's word for a thing, long or short."""
        pair = self._words.get((kind, key))
        if pair is None:
            name, rng = names().named(kind)[key], Random(seed_for(self.seed, f"{kind}/{key}", self.name))
            long = rng.choice(name.long)
            pair = self._words[kind, key] = (long, rng.choice(name.short) if name.short else long)
        return pair[short]

    def unit(self, ucum: str) -> str:
        """This author's way to write a unit."""
        pair = self._words.get(("unit", ucum))
        if pair is None:
            words = Random(seed_for(self.seed, ucum, self.name)).choice(names().units[ucum])
            pair = self._words["unit", ucum] = (words, words)
        return pair[0]

    def habit(self, choices: int, what: str) -> int:
        """A choice among so many that this author always makes alike."""
        if (drawn := self._habits.get(what)) is None:
            drawn = self._habits[what] = seed_for(self.seed, what, self.name)
        return drawn % choices

    def headed(self, title: Parts, body: Parts) -> Parts:
        """A section; one without a title is its body."""
        if title == [""]:
            return [*body, "\n"]
        if self.heads == "UPPER":
            return [*(p.upper() if isinstance(p, str) else p for p in title), "\n", *body, "\n"]
        return [*title, ": " if self.heads == "inline" and "\n" not in body else ":\n", *body, "\n"]

    def listed(self, items: list[Parts]) -> Parts:
        """One item a line."""
        out: Parts = []
        if len(items) == 1:
            return items[0]
        for place, item in enumerate(items, start=1):
            bullet = f"{place}. " if self.bullet == "1. " else self.bullet
            out += ["\n"] * (place > 1) + ([bullet] if bullet else []) + item
        return out


@cache
def author(department: str, number: int) -> Author:
    """That author, made once."""
    return Author(department, number)
