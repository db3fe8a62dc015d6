"""What a monitor says, as JSON: one second of ECG in microvolts, one row of vitals, its metadata, the ward's status."""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.types import AnyArray

Leads = Mapping[str, NDArray[np.int16] | None]


def encode(content: Mapping[str, Any]) -> bytes:
    """Compact JSON in UTF-8."""
    return json.dumps(content, separators=(",", ":"), allow_nan=False).encode()


def moment(midnight: datetime | None, seconds: float) -> str | None:
    """ISO 8601 to the millisecond, `seconds` after midnight of the day; None without a calendar."""
    if midnight is None:
        return None
    return (midnight + timedelta(seconds=seconds)).isoformat(timespec="milliseconds") + "Z"


def vitals(head: Mapping[str, Any], values: Mapping[str, float]) -> bytes:
    """One row of vitals, in the units that the metadata give."""
    return encode({**head, "values": values})


def pulse(head: Mapping[str, Any], waves: Mapping[str, AnyArray], peaks: list[int]) -> bytes:
    """One second of the pulse at each site, in arbitrary units; samples of the R peaks."""
    return encode({**head, "r_peaks": peaks, "waves": {name: row.tolist() for name, row in waves.items()}})


def ecg(head: Mapping[str, Any], leads: Leads, peaks: list[int]) -> bytes:
    """One second of ECG: whole microvolts, null for a lead that is off; samples of the R peaks."""
    rows = {name: None if row is None else row.tolist() for name, row in leads.items()}
    return encode({**head, "r_peaks": peaks, "leads": rows})
