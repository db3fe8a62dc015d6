"""Criteria of a cohort design: which patients are wanted, parsed, checked and intersected."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...core.errors import InputError
from ...core.fields import BY_NAME, ONLY_SEX
from ..physiology import QUANTITIES, SEVERITY
from ..table.domain import span

Range = tuple[float, float]
CATEGORIES = ("sex", "chest_view", "pam50")
FROM_HEART_RATE = ("R00.0", "R00.1")  # over 100 and under 60 /min, in sinus rhythm
ATRIAL = ("I48.91", "I48.92")  # rhythms that are not sinus rhythm


@dataclass(frozen=True)
class Criteria:
    """Parsed criteria: conditions present or absent, categories allowed, ranges of numbers."""

    conditions: Mapping[str, bool]
    categories: Mapping[str, frozenset[str]]
    ranges: Mapping[str, Range]

    @classmethod
    def of(cls, given: Mapping[str, Any], known: Sequence[str], where: str) -> "Criteria":
        """Raises InputError for a field that cannot steer, a value out of range, or a sex that cannot have the code."""
        conditions: dict[str, bool] = {}
        categories: dict[str, frozenset[str]] = {}
        ranges: dict[str, Range] = {}
        for name, value in given.items():
            key = f"{where}.{name}"
            if name in FROM_HEART_RATE:
                raise InputError(f"{key}: follows from the heart rate; give a range of heart_rate instead")
            if name in BY_NAME and BY_NAME[name].kind == "condition":
                if name not in known:
                    raise InputError(
                        f"{key}: is not among the cohort's conditions; add it there with its share"
                    )
                conditions[name] = bool(BY_NAME[name].check(value, where))
            elif name in CATEGORIES:
                allowed = value if isinstance(value, list) else [value]
                categories[name] = frozenset(str(BY_NAME[name].check(one, where)) for one in allowed)
            elif name == "age" or name == SEVERITY or name in QUANTITIES:
                ranges[name] = _range(name, value, key)
            else:
                can = ", ".join(["age", *CATEGORIES, SEVERITY, *QUANTITIES])
                raise InputError(f"{key}: cannot be chosen by; expected a condition or one of {can}")
        criteria = cls(conditions, categories, ranges)
        criteria._check_sex(where)
        return criteria

    def _check_sex(self, where: str) -> None:
        for code, present in self.conditions.items():
            only = ONLY_SEX.get(code)
            if present and only and only not in self.categories.get("sex", {only}):
                who = "women" if only == "F" else "men"
                raise InputError(f"{where}: {code} ({BY_NAME[code].label}) is a code for {who} alone")

    def intersect(self, other: "Criteria", where: str) -> "Criteria":
        """Both at once. Raises InputError where they contradict each other."""
        for code, present in other.conditions.items():
            if self.conditions.get(code, present) != present:
                raise InputError(f"{where}.{code}: is asked for as both present and absent")
        categories = dict(self.categories)
        for name, allowed in other.categories.items():
            categories[name] = allowed & categories.get(name, allowed)
            if not categories[name]:
                raise InputError(f"{where}.{name}: no value fits all criteria")
        ranges = dict(self.ranges)
        for name, (low, high) in other.ranges.items():
            before = ranges.get(name, (low, high))
            ranges[name] = max(low, before[0]), min(high, before[1])
            if ranges[name][0] > ranges[name][1]:
                raise InputError(f"{where}.{name}: no value lies in both {list(before)} and {[low, high]}")
        both = Criteria({**self.conditions, **other.conditions}, categories, ranges)
        both._check_sex(where)
        return both

    def disjoint(self, other: "Criteria") -> bool:
        """Whether no patient can meet both."""
        if any(other.conditions.get(code, present) != present for code, present in self.conditions.items()):
            return True
        if any(
            not allowed & other.categories.get(name, allowed) for name, allowed in self.categories.items()
        ):
            return True
        return any(
            low >= other.ranges[name][1] or high <= other.ranges[name][0]
            for name, (low, high) in self.ranges.items()
            if name in other.ranges
        )

    @property
    def fields(self) -> tuple[str, ...]:
        """All that is asked for."""
        return (*self.conditions, *self.categories, *self.ranges)


ANYBODY = Criteria({}, {}, {})


def _range(name: str, value: Any, key: str) -> Range:
    low, high = span(value, key)
    least, most = (0.1, 10.0) if name == SEVERITY else (BY_NAME[name].low, BY_NAME[name].high)
    if not least <= low <= high <= most:
        raise InputError(f"{key}: must lie in {least:g} to {most:g}, got {value!r}")
    return low, high
