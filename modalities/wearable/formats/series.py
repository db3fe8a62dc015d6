"""Series: what a device recorded of one channel, as formats want it: times of its clock, and the values there are."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from ....core.modality import Record
from ....core.profile import PatientProfile
from ....core.types import AnyArray
from ..body import DAY
from ..channels import CHANNELS, Channel
from ..export import GAP, clock_of, periods
from ..figures import devices
from ..layout import BEATS, MEALS, midnight, seconds_of
from ..night import STAGES

MINUTE = 60


@dataclass(frozen=True)
class Series:
    """A channel of a device: (value,) times in ms since 1970, UTC, and values; missing ones are left out.

    `period` is in s, 0 for beats, whose values are intervals in ms (0 after a gap).
    """

    device: str
    site: str
    name: str
    period: int
    at: AnyArray
    values: AnyArray

    @property
    def channel(self) -> Channel:
        """What is known of the channel; beats have none."""
        return CHANNELS[self.name]


def series_of(record: Record, profile: PatientProfile, coarse: bool = False) -> Iterator[Series]:
    """Every channel of a record; `coarse` gives heart rates more frequent than each minute as means of minutes."""
    begins = origin(record, profile)
    for key, array in record.arrays.items():
        device, _, name = key.partition("/")
        if device not in periods():
            continue
        clock, period, site = clock_of(record, device), periods()[device][name], devices()[device].site
        if name == BEATS:
            at = array.astype(np.int64)
            gaps = np.diff(at, prepend=at[:1])
            yield Series(device, site, name, 0, begins + clock.shown(at), np.where(gaps < GAP, gaps, 0))
            continue
        values = array.astype(np.float64)
        if coarse and period < MINUTE:
            blocks = values.reshape(-1, MINUTE // period)
            known = np.isfinite(blocks)
            count = known.sum(1)
            values = np.where(count > 0, np.where(known, blocks, 0).sum(1) / np.maximum(count, 1), np.nan)
            values, period = np.round(values), MINUTE
        at = 1000 * seconds_of(period, len(values))
        there = np.isfinite(values)
        yield Series(device, site, name, period, begins + clock.shown(at[there]), values[there])


def first_of(record: Record, profile: PatientProfile, name: str, coarse: bool = True) -> Series | None:
    """The series of a channel by the first device that has it; None without."""
    return next((found for found in series_of(record, profile, coarse) if found.name == name), None)


def origin(record: Record, profile: PatientProfile) -> int:
    """ms since 1970 at which the record begins."""
    return int(np.datetime64(midnight(record.facts, profile.index_date), "ms").astype(np.int64))


def moment(milliseconds: int | float) -> datetime:
    """A time of a series, in UTC."""
    return datetime.fromtimestamp(float(milliseconds) / 1000, UTC)


def iso(milliseconds: int | float) -> str:
    """ISO 8601 to the millisecond with Z."""
    return moment(milliseconds).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True)
class Span:
    """Minutes in one stage of sleep: name of the stage, begin and end in ms since 1970."""

    stage: str
    begins: int
    ends: int


def sleep_of(record: Record, profile: PatientProfile, cut: bool = False) -> list[list[Span]]:
    """The nights, each as its stages in order; a night ends where the patient is out of bed for half an hour.

    A night into which the recording begins or ends is not known whole, and is there only with `cut`.
    """
    found = first_of(record, profile, "sleep_stage")
    if found is None or not len(found.values):
        return []
    length = 1000 * found.period
    inside = found.values >= 0
    up, at, stage = found.at[~inside], found.at[inside], found.values[inside].astype(int)
    if not len(at):
        return []
    cuts = np.flatnonzero((np.diff(stage) != 0) | (np.diff(at) > 1.5 * length)) + 1
    spans = [
        Span(STAGES[stage[part[0]]], int(at[part[0]]), int(at[part[-1]]) + length)
        for part in np.split(np.arange(len(at)), cuts)
    ]
    nights: list[list[Span]] = [[]]
    for span in spans:
        if nights[-1] and span.begins - nights[-1][-1].ends > 1_800_000:
            between = np.searchsorted(up, (nights[-1][-1].ends, span.begins))
            if between[0] < between[1]:  # a watch on its charger does not end a night
                nights.append([])
        nights[-1].append(span)
    if cut:
        return nights
    return [night for night in nights if len(up) and up[0] < night[0].begins and up[-1] >= night[-1].ends]


def meals_of(record: Record, profile: PatientProfile) -> list[tuple[int, float, float]]:
    """(ms since 1970, grams of carbohydrate, units of insulin) of each meal."""
    begins = origin(record, profile)
    columns = [record.arrays[f"{MEALS}/{name}"].tolist() for name in ("minute", "grams", "units")]
    return [
        (begins + round(60_000 * minute), grams, units) for minute, grams, units in zip(*columns, strict=True)
    ]


def by_day(found: Series, record: Record, profile: PatientProfile) -> list[tuple[int, AnyArray, AnyArray]]:
    """(ms of midnight, times, values) of each day of a series."""
    begins = origin(record, profile)
    day = (found.at - begins) // (1000 * DAY)
    return [
        (begins + number * 1000 * DAY, found.at[day == number], found.values[day == number])
        for number in range(int(record.facts["days"]))
    ]
