"""Follow-up of a training folder's patients: how long each was known alive, and whether the end was death."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ...core.config import Settings
from ...core.errors import InputError
from ...core.modality import TrainingSet
from ...core.paths import below
from ...core.tables import read_table
from ...core.types import BoolArray, FloatArray

MONTHS = {"days": 12 / 365.25, "months": 1.0, "years": 12.0}
EVENTS = {"1": 1.0, "1.0": 1.0, "true": 1.0, "0": 0.0, "0.0": 0.0, "false": 0.0}


class Columns(Settings):
    """Where follow-up is: a table, the column of its records (default: the first), of time and of death (1 or 0)."""

    file: str
    time: str
    event: str
    key: str | None = None
    unit: Literal["days", "months", "years"] = "days"


@dataclass(frozen=True)
class FollowUp:
    """(patient,) in the order of data.records: months to death or to the last contact; whether it was death.

    NaN in both where either is unknown or the time is negative.
    """

    months: FloatArray
    event: FloatArray

    @property
    def known(self) -> BoolArray:
        """(patient,)"""
        return ~np.isnan(self.months)


def read_followup(data: TrainingSet, columns: Columns) -> FollowUp:
    """Of all records of the set; one that the table lacks is unknown.

    Raises InputError: no such file or column; a record that is there twice; a time that is no number; an event
    that is neither 1 nor 0.
    """
    path = below(data.root, columns.file, f"{data.root / 'dataset.yaml'}: options.survival.file")
    table = read_table(path).astype(object)
    key = columns.key or str(table.columns[0])
    for name in (key, columns.time, columns.event):
        if name not in table.columns:
            raise InputError(f"{path}: no column {name!r} for survival; it has: {', '.join(map(str, table))}")
    months, event = np.full((2, len(data)), np.nan)
    place = {record: row for row, record in enumerate(data.records)}
    seen: set[str] = set()
    for record, time, died in table[[key, columns.time, columns.event]].itertuples(index=False):
        name = str(record)
        if name in seen:
            raise InputError(f"{path}: record {name!r} is there twice; expected one follow-up a patient")
        seen.add(name)
        if name not in place or time != time or died != died:  # an empty cell is NaN
            continue
        span = _number(time, f"{path}: {columns.time} of {name}") * MONTHS[columns.unit]
        ended = EVENTS.get(str(died).lower())
        if ended is None:
            raise InputError(f"{path}: {columns.event} of {name} is {died!r}; expected 1 (died) or 0")
        if span >= 0:
            months[place[name]], event[place[name]] = span, ended
    return FollowUp(months, event)


def _number(value: object, where: str) -> float:
    try:
        number = float(str(value))
    except ValueError:
        number = np.nan
    if not np.isfinite(number):
        raise InputError(f"{where} is {value!r}; expected a number")
    return number
