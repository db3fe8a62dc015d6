"""Constraint: what two columns of a table must obey, as `systolic > diastolic`, or a column and a number."""

import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...core.errors import InputError
from ...core.types import AnyArray, BoolArray, FloatArray
from .domain import Column
from .junction_tree import Columns

OPERATORS: dict[str, Callable[[FloatArray, FloatArray], BoolArray]] = {
    "<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt,
}  # fmt: skip
_FORM = re.compile(r"\s*(\S+)\s*(<=|>=|<|>)\s*(\S+)\s*")
PASSES = 20  # in which values are moved until all constraints hold
Values = dict[str, AnyArray]


@dataclass(frozen=True)
class Constraint:
    """`left operator right`; right is a column or a number. A row in which either is missing obeys it."""

    left: str
    operator: str
    right: str | float

    @classmethod
    def parse(cls, text: str, columns: Sequence[Column], where: str) -> "Constraint":
        """Raises InputError for another form, or for names that are no columns of numbers."""
        found = _FORM.fullmatch(text)
        numbers = [column.name for column in columns if column.kind == "number"]
        if found is None:
            raise InputError(f"{where}: expected `COLUMN > COLUMN or NUMBER` (or <, >=, <=), got {text!r}")
        left, sign, right = found.groups()
        try:
            number: float | None = float(right)
        except ValueError:
            number = None
        for name in [left] if number is not None else [left, right]:
            if name not in numbers:
                raise InputError(
                    f"{where}: {text!r}: {name} is no column of numbers; there are: {', '.join(numbers)}"
                )
        return cls(left, sign, right if number is None else number)

    def __str__(self) -> str:
        right = self.right if isinstance(self.right, str) else f"{self.right:g}"
        return f"{self.left} {self.operator} {right}"

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of its columns."""
        return (self.left, self.right) if isinstance(self.right, str) else (self.left,)

    def holds(self, values: Mapping[str, AnyArray]) -> BoolArray:
        """Whether each row obeys it."""
        left = np.array(values[self.left], dtype=np.float64)
        right = (
            np.array(values[self.right], dtype=np.float64)
            if isinstance(self.right, str)
            else np.full(len(left), self.right)
        )
        known = np.isfinite(left) & np.isfinite(right)
        return OPERATORS[self.operator](np.where(known, left, 0.0), np.where(known, right, 0.0)) | ~known

    def possible(self, columns: Sequence[Column]) -> tuple[Columns, BoolArray]:
        """The places of its columns, ascending, and which of their levels can be together."""
        by_name = {column.name: place for place, column in enumerate(columns)}
        left = columns[by_name[self.left]]
        upwards = self.operator[0] == ">"
        if not isinstance(self.right, str):
            best = _best(left, upwards)
            return (by_name[self.left],), OPERATORS[self.operator](best, np.array(self.right)) | np.isnan(
                best
            )
        right = columns[by_name[self.right]]
        ends = _best(left, upwards)[:, None], _best(right, not upwards)[None, :]
        allowed = OPERATORS[self.operator](*ends) | np.isnan(ends[0]) | np.isnan(ends[1])
        places = by_name[self.left], by_name[self.right]
        return (places, allowed) if places[0] < places[1] else (places[::-1], allowed.T)

    def moved(self, values: Values, rows: BoolArray, columns: Mapping[str, Column]) -> None:
        """Move the left value, or where its bins end there the right one, of rows just so far that they obey it."""
        strict, up = len(self.operator) == 1, self.operator[0] == ">"
        left = columns[self.left]
        step = max([10.0 ** -columns[name].decimals for name in self.columns]) * strict * (1 if up else -1)
        if not isinstance(self.right, str):
            values[self.left][rows] = _rounded(self.right + step, left, up)
            return
        right = columns[self.right]
        for row in np.flatnonzero(rows):
            moved = _rounded(values[self.right][row] + step, left, up)
            if left.edges[0] <= moved <= left.edges[-1]:
                values[self.left][row] = moved
            else:
                values[self.right][row] = _rounded(values[self.left][row] - step, right, not up)


def _best(column: Column, upwards: bool) -> FloatArray:
    """The greatest (or least) value of each level, NaN for missing."""
    ends = np.array(column.edges[1:] if upwards else column.edges[:-1], dtype=np.float64)
    return np.concatenate([ends, [np.nan]]) if column.missing else ends


def _rounded(value: float, column: Column, up: bool) -> float:
    scale = 10.0**column.decimals
    return float((np.ceil if up else np.floor)(round(value * scale, 6)) / scale)


def possible_levels(
    constraints: Iterable[Constraint], columns: Sequence[Column], where: str
) -> dict[Columns, BoolArray]:
    """By columns, which levels can be (together). Raises InputError for a constraint that no bins can obey."""
    found: dict[Columns, BoolArray] = {}
    for one in constraints:
        places, allowed = one.possible(columns)
        found[places] = allowed & found.get(places, True)
        known = found[places][tuple(slice(len(columns[place].levels)) for place in places)]
        if not known.any():
            raise InputError(f"{where}: {one}: no values of the bins obey it")
    return found


def violated(constraints: Iterable[Constraint], values: Mapping[str, AnyArray], rows: int) -> BoolArray:
    """Rows that break a constraint."""
    broken = np.zeros(rows, dtype=bool)
    for one in constraints:
        broken |= ~one.holds(values)
    return broken


def enforce(constraints: Sequence[Constraint], values: Values, columns: Mapping[str, Column]) -> None:
    """Move values until all constraints hold. Raises InputError where they cannot."""
    for _ in range(PASSES):
        broken = [(one, rows) for one in constraints if (rows := ~one.holds(values)).any()]
        if not broken:
            return
        for one, rows in broken:
            one.moved(values, rows, columns)
    raise InputError(f"no values of the learnt table obey {' and '.join(map(str, constraints))} together")
