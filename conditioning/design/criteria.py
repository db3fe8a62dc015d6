"""Criteria of a cohort design: which patients are wanted, parsed, checked and intersected."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from ...core.errors import InputError
from ...core.fields import Field, Vocabulary
from ..physiology import QUANTITIES, SEVERITY
from ..table.domain import span

Range = tuple[float, float]
CATEGORIES = ("sex", "chest_view", "pam50")
FROM_HEART_RATE = ("R00.0", "R00.1")  # over 100 and under 60 /min, in sinus rhythm
ATRIAL = ("I48.91", "I48.92")  # rhythms that are not sinus rhythm


@dataclass(frozen=True)
class Known:
    """The vocabulary, and which of its fields a cohort draws beyond those that every cohort has."""

    vocabulary: Vocabulary
    drawn: Collection[str]

    def field(self, name: str, where: str) -> Field:
        """A field that criteria may name. Raises InputError that says what they may."""
        if name in FROM_HEART_RATE:
            raise InputError(f"{where}: follows from the heart rate; give a range of heart_rate instead")
        known = self.vocabulary.field(name, where)
        if name == "chest_view" and name not in self.drawn:
            raise InputError(
                f"{where}: no view of a chest X-ray is drawn; it is where the cohort has `chest_ap`"
            )
        if name in self.drawn or name in ("age", *CATEGORIES, *QUANTITIES):
            return known
        if known.kind == "flag" or known.declared:
            place = "conditions or fields" if known.kind == "flag" else "fields"
            raise InputError(f"{where}: is not among the cohort's {place}; add it there with its share")
        can = ", ".join(["age", *CATEGORIES, SEVERITY, *QUANTITIES])
        raise InputError(f"{where}: cannot be chosen by; expected a condition or one of {can}")


@dataclass(frozen=True)
class Criteria:
    """Parsed criteria: conditions present or absent, categories allowed, ranges of numbers."""

    conditions: Mapping[str, bool]
    categories: Mapping[str, frozenset[str]]
    ranges: Mapping[str, Range]
    one_sex: Mapping[str, Field] = field(default_factory=dict, compare=False)  # flags of one sex among them

    @classmethod
    def of(cls, given: Mapping[str, Any], known: Known, where: str) -> "Criteria":
        """Raises InputError for a field that cannot steer, a value out of range, or a sex that cannot have the code."""
        conditions: dict[str, bool] = {}
        categories: dict[str, frozenset[str]] = {}
        ranges: dict[str, Range] = {}
        one_sex: dict[str, Field] = {}
        for name, value in given.items():
            key = f"{where}.{name}"
            if name == SEVERITY:
                ranges[name] = _range((0.1, 10.0), value, key)
                continue
            asked = known.field(name, key)
            if asked.kind == "flag":
                conditions[name] = bool(asked.check(value, where))
                if asked.sex:
                    one_sex[name] = asked
            elif asked.kind == "category":
                allowed = value if isinstance(value, list) else [value]
                categories[name] = frozenset(str(asked.check(one, where)) for one in allowed)
            else:
                ranges[name] = _range((asked.low, asked.high), value, key)
        criteria = cls(conditions, categories, ranges, one_sex)
        criteria._check_sex(where)
        return criteria

    def _check_sex(self, where: str) -> None:
        for code, limited in self.one_sex.items():
            if self.conditions[code] and limited.sex not in self.categories.get("sex", {limited.sex}):
                who = "women" if limited.sex == "F" else "men"
                raise InputError(f"{where}: {code} ({limited.label}) is a code for {who} alone")

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
        both = Criteria(
            {**self.conditions, **other.conditions}, categories, ranges, {**self.one_sex, **other.one_sex}
        )
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


def _range(ends: Range, value: Any, key: str) -> Range:
    low, high = span(value, key)
    least, most = ends
    if not least <= low <= high <= most:
        raise InputError(f"{key}: must lie in {least:g} to {most:g}, got {value!r}")
    return low, high
