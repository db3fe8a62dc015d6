"""Cells of a raw table: their values by the table's config, and the codes of the levels that these are."""

import re
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from ...core.config import FieldMap
from ...core.errors import InputError, listed
from ...core.fields import class_of
from ...core.profile import Value
from ...core.remarks import remark
from ...core.types import AnyArray, FloatArray, IntArray
from ..dataset.rows import attempt
from .domain import OTHER, Column, ColumnConfig

_TRUTH = {"true": 1, "1": 1, "1.0": 1, "yes": 1, "false": 0, "0": 0, "0.0": 0, "no": 0}


def encode(
    table: pd.DataFrame,
    columns: Sequence[Column],
    fields: Mapping[str, FieldMap],
    extra: Mapping[str, ColumnConfig],
    where: str,
    tell: bool = False,
) -> IntArray:
    """Codes of a raw table, (row, column); numbers outside the bins are counted in a remark where `tell`.

    Raises one InputError for all columns and cells that will not do.
    """

    def coded(column: Column) -> IntArray:
        mapping, config = fields.get(column.name), extra.get(column.name, ColumnConfig())
        places, values = distinct(table, column.name, mapping, config, where)
        at_column = f"{where}: {source_of(column.name, mapping, config)}"
        codes = np.array(attempt(lambda v: _code_of(v, column, mapping, at_column), values))[places]
        if tell and column.kind == "number":
            numbers = [np.nan if v is None else number_of(v, mapping, at_column) for v in values]
            _tell_outside(np.array(numbers)[places], column, at_column)
        return codes

    return np.array(attempt(coded, columns), dtype=np.int64).reshape(len(columns), len(table)).T.copy()


def values(
    table: pd.DataFrame,
    columns: Sequence[Column],
    codes: IntArray,
    fields: Mapping[str, FieldMap],
    extra: Mapping[str, ColumnConfig],
    where: str,
) -> dict[str, AnyArray]:
    """A raw table's rows by column as a model draws them: words, booleans, numbers within the bins; None if missing."""
    found: dict[str, AnyArray] = {}
    for k, column in enumerate(columns):
        if column.kind != "number":
            found[column.name] = column.decode(codes[:, k], np.zeros(len(codes)))
            continue
        mapping, config = fields.get(column.name), extra.get(column.name, ColumnConfig())
        places, cells = distinct(table, column.name, mapping, config, where)
        numbers = [None if cell is None else number_of(cell, mapping, where) for cell in cells]
        low, high = column.edges[0], column.edges[-1]
        inside = [None if x is None else min(max(x, low), high) for x in numbers]
        found[column.name] = np.array(inside, dtype=object)[places]
    return found


def _tell_outside(numbers: FloatArray, column: Column, where: str) -> None:
    low, high = column.edges[0], column.edges[-1]
    if outside := int(((numbers < low) | (numbers > high)).sum()):
        remark(f"{where}: {outside} values outside {low:g} to {high:g} count as the nearest that is inside")


def source_of(name: str, mapping: FieldMap | None, config: ColumnConfig) -> str:
    """What the raw table calls a column."""
    return mapping.column if mapping else config.column or name


def distinct(
    table: pd.DataFrame, name: str, mapping: FieldMap | None, config: ColumnConfig, where: str
) -> tuple[IntArray, list[Value | None]]:
    """Which of the values each row has, and the values: one a distinct cell, of which there are far fewer than rows.

    None is an empty cell, or one whose meaning is that nothing is known. Raises InputError.
    """
    source = source_of(name, mapping, config)
    if source not in table.columns:
        raise InputError(f"{where}: no column {source!r}; the table has: {listed(list(table.columns))}")
    places, cells = pd.factorize(table[source], use_na_sentinel=True)
    found = [str(cell) for cell in cells]
    texts: list[str | None] = [*found, None] if (places < 0).any() else [*found]
    values = attempt(lambda text: _value_of(text, mapping, config, f"{where}: {source}"), texts)
    return np.where(places < 0, len(found), places), values


def number_of(value: Value, mapping: FieldMap | None, where: str) -> float:
    """A cell's value in the unit of the profile. Raises InputError."""
    return _float(value, where) * (mapping.scale if mapping else 1.0)


def _value_of(cell: str | None, mapping: FieldMap | None, config: ColumnConfig, where: str) -> Value | None:
    if mapping is not None and mapping.pattern is not None:
        return bool(re.search(mapping.pattern, cell or ""))
    if cell is None:
        return None
    if mapping is not None and mapping.values is not None:
        if cell not in mapping.values:
            raise InputError(f"{where} is {cell!r}, expected one of: {', '.join(mapping.values)}")
        return mapping.values[cell]
    if config.patterns is not None:
        return next((name for name, p in config.patterns.items() if re.search(p, cell)), OTHER)
    return cell if mapping is None else class_of(cell)


def _code_of(value: Value | None, column: Column, mapping: FieldMap | None, where: str) -> int:
    if value is None:
        if not column.missing:
            raise InputError(f"{where} has an empty cell, and options.columns.{column.name}.missing is false")
        return len(column.levels)
    if column.kind == "condition":
        return _truth(value, mapping, where)
    if column.kind == "number":
        number = number_of(value, mapping, where)
        return int(np.clip(np.searchsorted(column.edges, number, "right") - 1, 0, len(column.levels) - 1))
    if value not in column.levels:
        if OTHER not in column.levels:
            raise InputError(f"{where} is {value!r}, expected one of: {listed(list(column.levels))}")
        value = OTHER
    return column.levels.index(str(value))


def _truth(value: Value, mapping: FieldMap | None, where: str) -> int:
    if mapping is not None and mapping.above is not None:
        return int(_float(value, where) > mapping.above)
    word = str(value).lower()
    if word not in _TRUTH:
        raise InputError(f"{where} is {value!r}, expected true or false (or say `above` or `pattern`)")
    return _TRUTH[word]


def _float(value: Value, where: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = float("nan")
    if not np.isfinite(number):
        raise InputError(f"{where} must be a number, got {value!r}")
    return number
