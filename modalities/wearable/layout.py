"""Layout of the files: where a patient's tables lie, what they are called, when their time begins."""

from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from typing import Any

import numpy as np

from ...core.modality import Facts
from ...core.types import AnyArray
from .body import DAY

FOLDER = "wearable"
VERSION = "1"
NO_CALENDAR = date(2000, 1, 3)  # the day of the visit of patients who have none
MEALS, PPG, BEATS = "meals", "ppg", "beats"
TWICE, MORNING = (
    DAY // 2,
    27_000,
)  # s: a reading by hand twice a day, at half past seven in the morning and in the evening
Table = tuple[str, int]  # device and period in s; 0 for beats


def midnight(facts: Facts, day: date | None) -> datetime:
    """When the first day of a record begins, UTC; the last one is the index day."""
    first = (day or NO_CALENDAR) - timedelta(days=int(facts["days"]) - 1)
    return datetime.combine(first, time())


def first_second(period: int) -> int:
    """The second of the day of a channel's first value, by its period in s; all files and the live stream have it."""
    return MORNING if period >= TWICE else 0


def seconds_of(period: int, count: int) -> AnyArray:
    """(count,) s since the first midnight, int64, of a channel's values, by its period in s."""
    return first_second(period) + period * np.arange(count, dtype=np.int64)


def name_of(table: Table) -> str:
    """`watch-60s` or `patch-beats`."""
    device, period = table
    return f"{device}-{period}s" if period else f"{device}-{BEATS}"


def tables_of(arrays: Mapping[str, Any], periods: Mapping[str, Mapping[str, int]]) -> dict[Table, list[str]]:
    """Device and period -> its channels, of the arrays of a record; `periods` are those of each device."""
    found: dict[Table, list[str]] = {}
    for key in arrays:
        device, _, channel = key.partition("/")
        if device in periods:
            found.setdefault((device, periods[device][channel]), []).append(channel)
    return found
