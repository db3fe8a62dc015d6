"""Criteria of a cohort design: which patients are meant, whether that can be, and what to reckon with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...core.errors import InputError
from ...core.fields import BY_NAME, ONLY_SEX
from ..physiology import QUANTITIES, SEVERITY
from ..table.domain import span

Criteria = Mapping[
    str, Any
]  # field: true or false, a word or a list of words, a range [low, high] of numbers
Range = tuple[float, float]
WORDS = ("sex", "chest_view", "pam50")
FROM_HEART_RATE = ("R00.0", "R00.1")  # over 100 and under 60 /min, in sinus rhythm
ATRIAL = ("I48.91", "I48.92")  # rhythms that are not sinus rhythm


@dataclass(frozen=True)
class Wanted:
    """Criteria taken apart: conditions present or absent, words allowed, ranges of numbers."""

    conditions: Mapping[str, bool]
    words: Mapping[str, frozenset[str]]
    ranges: Mapping[str, Range]

    @classmethod
    def of(cls, criteria: Criteria, known: Sequence[str], where: str) -> "Wanted":
        """Raises InputError for a field that cannot steer, a value out of range, or a sex that cannot have the code."""
        conditions: dict[str, bool] = {}
        words: dict[str, frozenset[str]] = {}
        ranges: dict[str, Range] = {}
        for name, value in criteria.items():
            key = f"{where}.{name}"
            if name in FROM_HEART_RATE:
                raise InputError(f"{key}: follows from the heart rate; give a range of heart_rate instead")
            if name in BY_NAME and BY_NAME[name].kind == "condition":
                if name not in known:
                    raise InputError(
                        f"{key}: is not among the cohort's conditions; add it there with its share"
                    )
                conditions[name] = bool(BY_NAME[name].check(value, where))
            elif name in WORDS:
                allowed = value if isinstance(value, list) else [value]
                words[name] = frozenset(str(BY_NAME[name].check(one, where)) for one in allowed)
            elif name == "age" or name == SEVERITY or name in QUANTITIES:
                ranges[name] = _range(name, value, key)
            else:
                can = ", ".join(["age", *WORDS, SEVERITY, *QUANTITIES])
                raise InputError(f"{key}: cannot be chosen by; expected a condition or one of {can}")
        wanted = cls(conditions, words, ranges)
        wanted._check_sex(where)
        return wanted

    def _check_sex(self, where: str) -> None:
        for code, present in self.conditions.items():
            only = ONLY_SEX.get(code)
            if present and only and only not in self.words.get("sex", {only}):
                who = "women" if only == "F" else "men"
                raise InputError(f"{where}: {code} ({BY_NAME[code].label}) is a code for {who} alone")

    def and_(self, other: "Wanted", where: str) -> "Wanted":
        """Both at once. Raises InputError where they contradict each other."""
        for code, present in other.conditions.items():
            if self.conditions.get(code, present) != present:
                raise InputError(f"{where}.{code}: is asked for as both present and absent")
        words = dict(self.words)
        for name, allowed in other.words.items():
            words[name] = allowed & words.get(name, allowed)
            if not words[name]:
                raise InputError(f"{where}.{name}: no value fits all criteria")
        ranges = dict(self.ranges)
        for name, (low, high) in other.ranges.items():
            before = ranges.get(name, (low, high))
            ranges[name] = max(low, before[0]), min(high, before[1])
            if ranges[name][0] > ranges[name][1]:
                raise InputError(f"{where}.{name}: no value lies in both {list(before)} and {[low, high]}")
        both = Wanted({**self.conditions, **other.conditions}, words, ranges)
        both._check_sex(where)
        return both

    def apart(self, other: "Wanted") -> bool:
        """Whether no patient can meet both."""
        if any(other.conditions.get(code, present) != present for code, present in self.conditions.items()):
            return True
        if any(not allowed & other.words.get(name, allowed) for name, allowed in self.words.items()):
            return True
        return any(
            low >= other.ranges[name][1] or high <= other.ranges[name][0]
            for name, (low, high) in self.ranges.items()
            if name in other.ranges
        )

    @property
    def fields(self) -> tuple[str, ...]:
        """All that is asked for."""
        return (*self.conditions, *self.words, *self.ranges)


ANYBODY = Wanted({}, {}, {})


def _range(name: str, value: Any, key: str) -> Range:
    low, high = span(value, key)
    least, most = (0.1, 10.0) if name == SEVERITY else (BY_NAME[name].low, BY_NAME[name].high)
    if not least <= low <= high <= most:
        raise InputError(f"{key}: must lie in {least:g} to {most:g}, got {value!r}")
    return low, high
