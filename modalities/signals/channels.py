"""Channel: a vital sign, lab or score of a chart, with its unit, public range and code; and the seven that ship."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.modality import Facts, Record
from .layout import ABSENT


@dataclass(frozen=True)
class Channel:
    """A channel of a chart: a vital sign, a lab or a score.

    `unit` is UCUM's, empty for a score. Readings outside of `low` to `high` are taken for errors. `field` is the
    profile field that the channel's median is the value of.
    """

    name: str
    unit: str
    low: float
    high: float
    decimals: int = 0
    loinc: str = ""
    label: str = ""
    field: str = ""

    @property
    def gain(self) -> float:
        """Steps a unit in files: the finest power of ten at which the range fits 16 bits."""
        return float(10.0 ** min(5, np.floor(np.log10((-ABSENT - 1) / max(abs(self.low), abs(self.high))))))


VITALS = (
    Channel("HR", "/min", 20, 250, 0, "8867-4", "Heart rate", "heart_rate"),
    Channel(
        "O2Sat", "%", 40, 100, 0, "59408-5", "Oxygen saturation in Arterial blood by Pulse oximetry",
        "oxygen_saturation",
    ),
    Channel("Temp", "Cel", 30, 43, 1, "8310-5", "Body temperature", "temperature"),
    Channel("SBP", "mmHg", 40, 260, 0, "8480-6", "Systolic blood pressure", "systolic"),
    Channel("MAP", "mmHg", 25, 200, 0, "8478-0", "Mean blood pressure"),
    Channel("DBP", "mmHg", 15, 180, 0, "8462-4", "Diastolic blood pressure", "diastolic"),
    Channel("Resp", "/min", 3, 70, 0, "9279-1", "Respiratory rate", "respiration"),
)  # fmt: skip
CHANNELS = tuple(channel.name for channel in VITALS)
HR, O2SAT, TEMP, SBP, MAP, DBP, RESP = range(len(CHANNELS))
PRESSURES = ("SBP", "MAP", "DBP")
VITAL_FIELDS = {  # channel of a profile field
    "heart_rate": "HR", "systolic": "SBP", "diastolic": "DBP", "respiration": "Resp",
    "oxygen_saturation": "O2Sat", "temperature": "Temp",
}  # fmt: skip


def channels_of(facts: Facts) -> tuple[Channel, ...]:
    """The channels of a record's chart: those that its facts name, else the seven vital signs."""
    return tuple(Channel(**channel) for channel in facts["channels"]) if "channels" in facts else VITALS


def step_of(facts: Facts) -> float:
    """Hours from one row of a record's chart to the next."""
    return float(facts.get("step_hours", 1.0))


def chart_facts(channels: Sequence[Channel], step_hours: float = 1.0) -> dict[str, Any]:
    """Facts that name the channels and the step of a chart; none of the seven vital signs every hour."""
    out: dict[str, Any] = {} if tuple(channels) == VITALS else {"channels": [vars(c) for c in channels]}
    return out if step_hours == 1 else {**out, "step_hours": step_hours}


def stated(record: Record) -> Record:
    """The record with the fact `chart`, which the health record states: columns, hours between rows, rows.

    A column has label, LOINC code ("" where none is known), UCUM unit and profile field. What was not charted is None.
    """
    values = record.arrays.get("vitals")
    if values is None or not len(values):
        return record
    channels = channels_of(record.facts)
    columns = [
        {"label": c.label or c.name, "loinc": c.loinc, "unit": c.unit, "field": c.field} for c in channels
    ]
    rounded = np.stack(  # one decimal more than is usual: charts hold means of two readings, which files keep
        [np.round(values[:, n].astype(np.float64), c.decimals + 1) for n, c in enumerate(channels)], axis=1
    )
    rows = [[None if value != value else value for value in row] for row in rounded.tolist()]
    chart = {"columns": columns, "step_hours": step_of(record.facts), "rows": rows}
    return replace(record, facts={**record.facts, "chart": chart})


def places_of(channels: Sequence[Channel], names: Sequence[str]) -> list[int] | None:
    """Where the vital signs of these names stand among the channels; None unless all are there."""
    known = [c.name for c in channels]
    found = [known.index(name) for name in names if name in known]
    return found if len(found) == len(names) else None


def vitals_steps(
    vitals: NDArray[np.floating[Any]], channels: Sequence[Channel] = VITALS
) -> NDArray[np.int16]:
    """(row, channel) as steps of each channel's gain; ABSENT where nothing was charted."""
    assert vitals.shape[1] == len(channels), "a chart has a column for each of its channels"
    gains = np.broadcast_to([channel.gain for channel in channels], vitals.shape)
    charted = ~np.isnan(vitals)
    steps = np.full(vitals.shape, ABSENT, dtype=np.float64)
    steps[charted] = np.rint(vitals[charted].astype(np.float64) * gains[charted])
    assert np.abs(steps[charted]).max(initial=0) < -ABSENT, (
        "a reading beyond its channel's range does not fit"
    )
    return steps.astype(np.int16)
