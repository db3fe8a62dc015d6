"""Spans of time in settings, as people write them (6 h, 3 min, 30 s) or in seconds; what begins and may end."""

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from .config import Settings

UNITS = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_SPAN = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-z]+)\s*")


def seconds(value: Any) -> Any:
    """A span in seconds; what is not written as number and unit is left for the type to judge."""
    if not isinstance(value, str):
        return value
    found = _SPAN.fullmatch(value)
    if found is None or found[2] not in UNITS:
        raise ValueError(f"expected a number and one of {', '.join(UNITS)}, as in 30 s")
    return float(found[1]) * UNITS[found[2]]


Seconds = Annotated[float, BeforeValidator(seconds), Field(ge=0, allow_inf_nan=False)]


class Timed(Settings):
    """Something that begins `at` seconds and ends after `lasts`, or never."""

    at: Seconds
    lasts: Seconds | None = None

    def on(self, second: float) -> bool:
        """Whether it holds at that second."""
        return self.at <= second and (self.lasts is None or second < self.at + self.lasts)
