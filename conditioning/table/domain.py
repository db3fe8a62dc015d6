"""Columns of a table as levels: words, numbers in bins, conditions, and a level for missing."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from pydantic import Field as Setting
from pydantic import model_validator

from ...core.config import FieldMap, Settings
from ...core.errors import InputError
from ...core.fields import SHIPPED, Field, Vocabulary
from ...core.types import AnyArray, FloatArray, IntArray
from ..physiology import QUANTITIES

BINS = 20  # of a profile's number, over its public range, where a dataset.yaml gives none
OTHER = "other"
_FIRST = (0.0, 0.001, 0.004, 0.016)
# of a bin's patients, finer towards its ends; between them numbers are drawn evenly
PARTS = (*_FIRST, *(k / 16 for k in range(1, 16)), *(1 - part for part in reversed(_FIRST)))
ABSENT = ("absent", "present")
DOMAINS = ("levels", "bins", "patterns", "charged")  # the ways to say which values a column has


class Charged(Settings):
    """An unknown domain that is learnt within the budget, as at most so many words or filled bins.

    `within` makes it a column of numbers: a range that surely holds them all, which is public.
    """

    most: int = Setting(default=BINS, ge=2, le=200)
    within: tuple[float, float] | None = None

    @model_validator(mode="after")
    def _possible(self) -> "Charged":
        if self.within is not None and not -1e12 <= self.within[0] < self.within[1] <= 1e12:
            raise ValueError("within must be [low, high], low below high")
        return self


class ColumnConfig(Settings):
    """The levels of one column of a table; all are public knowledge unless charged.

    Give `levels` (words), `bins` (ascending edges; the last bin holds its upper edge too, and what lies
    outside goes into the nearest bin), `patterns` (a regular expression a level, the first that is
    found counts) or `charged`. A word that is not listed is `other` where that is a level, else an error.
    `missing: false` says that no cell is empty. `decimals` are those of numbers drawn from bins.
    """

    column: str | None = None
    levels: list[str] | None = Setting(default=None, min_length=1)
    bins: list[float] | None = Setting(default=None, min_length=2)
    patterns: dict[str, str] | None = None
    charged: Charged | None = None
    missing: bool = True
    decimals: int = Setting(default=0, ge=0, le=6)

    @model_validator(mode="after")
    def _possible(self) -> "ColumnConfig":
        given = [name for name in DOMAINS if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"give one of levels, bins, patterns and charged, not {' and '.join(given)}")
        if self.levels is not None and len(set(self.levels)) < len(self.levels):
            raise ValueError("a level is listed twice")
        if self.bins is not None and not all(a < b for a, b in pairwise(self.bins)):
            raise ValueError("bins must ascend")
        for pattern in (self.patterns or {}).values():
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"{pattern!r} is not a regular expression ({error})") from None
        return self


@dataclass(frozen=True)
class Column:
    """A column and its levels; where cells may be empty the last code stands for that.

    `curves` say how a number lies within each bin (see shape.py) at PARTS of its patients, evenly
    where there are none. A `closed` column
    holds the upper edge of its last bin, which is the end of a public range.
    """

    name: str
    kind: Literal["words", "number", "condition"]
    levels: tuple[str, ...]
    edges: tuple[float, ...] = ()
    decimals: int = 0
    missing: bool = True
    curves: tuple[tuple[float, ...], ...] = ()
    closed: bool = False

    @property
    def ends(self) -> FloatArray:
        """The edges of the bins as numbers are drawn between them, before they are rounded down."""
        ends = np.array(self.edges, dtype=np.float64)
        ends[-1] += 10.0**-self.decimals * self.closed
        return ends

    @property
    def size(self) -> int:
        """How many codes there are, missing included."""
        return len(self.levels) + self.missing

    def decode(
        self, codes: IntArray, places: FloatArray, within: tuple[float, float] = (-np.inf, np.inf)
    ) -> AnyArray:
        """The values of codes: words, booleans or numbers; None where missing.

        A number is drawn from the part of its bin that lies within a range, by its place (0 to 1), and
        rounded down to its decimals.
        """
        if self.kind == "number":
            known = np.minimum(codes, len(self.edges) - 2)
            scale = 10.0**self.decimals
            step = 1 / scale
            last = within[1] + step * (self.closed and within[1] < np.inf)
            low, high = np.clip(self.ends[:-1], within[0], last), np.clip(self.ends[1:], within[0], last)
            if self.curves:
                first, final = self._parts_below(low)[known], self._parts_below(high)[known]
                numbers = self._placed(known, first + places * (final - first))
            else:
                numbers = low[known] + places * (high - low)[known]
            # a hair more, so that an edge such as 0.3 is not rounded below itself
            values = np.floor(numbers * scale + 1e-9) / scale
            drawn = np.round(np.minimum(values, min(self.edges[-1], within[1])), self.decimals).astype(object)
        elif self.kind == "condition":
            drawn = np.array([False, True, None], dtype=object)[codes]
        else:
            return np.array([*self.levels, None], dtype=object)[codes]
        drawn[codes == len(self.levels)] = None
        return drawn

    def _knots(self) -> FloatArray:
        """Where PARTS of each bin's patients end, as parts of its width, (bin, knot)."""
        inner = np.array(self.curves, dtype=np.float64)
        return np.concatenate([np.zeros((len(inner), 1)), inner, np.ones((len(inner), 1))], axis=1)

    def _parts_below(self, numbers: FloatArray) -> FloatArray:
        """One number a bin: the part of the bin's patients that lies under it."""
        widths = (numbers - self.ends[:-1]) / np.diff(self.ends)
        if not self.curves:
            return np.clip(widths, 0.0, 1.0)
        knots = self._knots()
        return np.array([np.interp(width, row, PARTS) for width, row in zip(widths, knots, strict=True)])

    def _placed(self, bins: IntArray, parts: FloatArray) -> FloatArray:
        """Numbers by bin, and by the part of the bin's patients under them."""
        knots = self._knots()
        steps = np.array(PARTS)
        knot = np.clip(np.searchsorted(steps, parts, "right") - 1, 0, len(steps) - 2)
        along = np.clip((parts - steps[knot]) / np.diff(steps)[knot], 0.0, 1.0)
        first, last = knots[bins, knot], knots[bins, knot + 1]
        return np.asarray(self.ends[bins] + (first + along * (last - first)) * np.diff(self.ends)[bins])

    def weights(self, wanted: Any, where: str) -> FloatArray:
        """How much of each level fits: a value (None: missing), a list of them, or a range of numbers.

        A bin that lies partly in the range counts by its part. Raises InputError where nothing fits.
        """
        fits = np.zeros(self.size)
        if self.kind == "number" and wanted is not None:
            low, high = span(wanted, where)
            bins = len(self.levels)
            fits[:bins] = self._parts_below(np.full(bins, high)) - self._parts_below(np.full(bins, low))
            for code, (a, b) in enumerate(pairwise(self.ends)):
                fits[code] = max(fits[code], float(a <= low == high < b))
        else:
            for one in wanted if isinstance(wanted, list) else [wanted]:
                fits[self._code(one, where)] = 1.0
        if not fits.any():
            raise InputError(f"{where}: {self.name} has no level in {wanted!r}")
        return fits

    def _code(self, value: Any, where: str) -> int:
        if value is None and self.missing:
            return len(self.levels)
        if self.kind == "condition" and isinstance(value, bool):
            return int(value)
        if value in self.levels:
            return self.levels.index(value)
        raise InputError(f"{where}: {self.name} must be one of {', '.join(self.levels)}, got {value!r}")


def span(wanted: Any, where: str) -> tuple[float, float]:
    """[low, high] as two numbers; one number is both ends. Raises InputError."""
    ends = wanted if isinstance(wanted, list) else [wanted, wanted]
    numbers = [x for x in ends if type(x) in (int, float)]
    if len(ends) != 2 or len(numbers) != 2 or not numbers[0] <= numbers[1]:
        raise InputError(f"{where}: expected a number or [low, high], got {wanted!r}")
    return float(numbers[0]), float(numbers[1])


def columns_of(
    fields: Mapping[str, FieldMap], extra: Mapping[str, ColumnConfig], where: str, known: Vocabulary = SHIPPED
) -> tuple[Column, ...]:
    """The columns of a table model: profile fields, then the table's other columns. Raises InputError."""
    made = [
        _field_column(known.field(name, where), extra.get(name, ColumnConfig()), where) for name in fields
    ]
    for name, config in extra.items():
        if name in fields:
            continue
        if name in known:
            raise InputError(
                f"{where}: options.columns.{name}: is a profile field; say its column under fields"
            )
        made.append(_other_column(name, config, where))
    if len(made) < 2:
        raise InputError(f"{where}: expected two columns or more in fields and options.columns")
    return tuple(made)


def _field_column(known: Field, config: ColumnConfig, where: str) -> Column:
    name = known.name
    if config.levels is not None and not known.settled:  # learnt, or before that
        return Column(name, "words", tuple(config.levels), missing=config.missing)
    if config.levels is not None or config.patterns is not None or (config.bins and known.kind != "number"):
        raise InputError(f"{where}: options.columns.{name}: a profile field's levels are the vocabulary's")
    if known.kind == "category":
        return Column(name, "words", known.classes, missing=config.missing)
    if known.kind == "flag":
        return Column(name, "condition", ABSENT, missing=config.missing)
    edges = tuple(config.bins or _public_edges(known))
    if not known.low <= edges[0] < edges[-1] <= known.high:
        raise InputError(
            f"{where}: options.columns.{name}.bins: must lie in {known.low:g} to {known.high:g} {known.unit}"
        )
    closed = edges[-1] == known.high
    return replace(_number(name, edges, known.decimals, config.missing), closed=closed)


def _public_edges(known: Field) -> list[float]:
    """Equal bins over the public range; of what clinics see on a logarithmic scale (physiology.yaml), equal ratios."""
    quantity = QUANTITIES.get(known.name)
    if quantity is None or not quantity.log:
        even = np.round(np.linspace(known.low, known.high, BINS + 1), known.decimals)
        return sorted({float(edge) for edge in even})
    inner = np.round(np.geomspace(quantity.low, quantity.high, BINS - 1), known.decimals)
    return sorted({known.low, *(float(edge) for edge in inner if known.low < edge < known.high), known.high})


def _other_column(name: str, config: ColumnConfig, where: str) -> Column:
    if config.bins is not None:
        return _number(name, tuple(config.bins), config.decimals, config.missing)
    levels = config.levels or [*(config.patterns or {})]
    if not levels:
        raise InputError(
            f"{where}: options.columns.{name}: its values are not said; give levels, bins or patterns where they "
            "are public knowledge, or `charged: {}` (numbers: `charged: {within: [low, high]}`) to learn them "
            "within the budget"
        )
    if config.patterns is not None and OTHER not in levels:
        levels = [*levels, OTHER]
    return Column(name, "words", tuple(levels), missing=config.missing)


def _number(name: str, edges: tuple[float, ...], decimals: int, missing: bool) -> Column:
    labels = tuple(f"{a:g} to {b:g}" for a, b in pairwise(edges))
    return Column(name, "number", labels, edges, decimals, missing)
