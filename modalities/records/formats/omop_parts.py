"""What rows of OMOP share: times, spans, numbers and the amount of a prescription."""

from datetime import datetime, timedelta
from math import ceil
from typing import Any

from ..case import moment
from ..data import Resource, value_at

DOSAGE = "dosageInstruction.0"
Row = dict[str, Any]


def time_at(resource: Resource, path: str) -> datetime | None:
    """The moment at a path in UTC, without a zone as OMOP has it; None where there is none."""
    text = value_at(resource, path)
    return moment(text).replace(tzinfo=None) if text else None


def span(name: str, start: datetime, end: datetime | None) -> Row:
    return {
        f"{name}_start_date": start.date(),
        f"{name}_start_datetime": start,
        f"{name}_end_date": end and end.date(),
        f"{name}_end_datetime": end,
    }


def numeric(part: Resource, path: str) -> float | None:
    value = value_at(part, path)
    return None if value is None else float(value)


def amount(order: Resource, lasts: timedelta) -> tuple[float | None, str | None]:
    """The amount of all doses in that time, and its unit; of an infusion, whose dose is a rate, rate times time."""
    dose = value_at(order, f"{DOSAGE}.doseAndRate.0.doseQuantity")
    repeat = value_at(order, f"{DOSAGE}.timing.repeat", {})
    if dose is None:
        return None, None
    unit, amount = str(dose.get("code") or dose.get("unit")), float(dose["value"])
    if unit.endswith("/min"):
        return round(amount * lasts.total_seconds() / 60, 3), unit.removesuffix("/min")
    days = lasts / timedelta(days=1)
    doses = max(1, ceil(days * repeat.get("frequency", 1) / repeat.get("period", 1)))
    return round(amount * doses, 3), unit
