"""FIT: the binary file of sport watches, as daily monitoring: heart rate, steps, sleep, saturation, breath, beats.

Written by hand from the published protocol: the licence of the one well-kept writer is not an open one.
"""

import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ....core.modality import Record
from ....core.profile import PatientProfile
from ..body import DAY
from .series import Series, by_day, series_of, sleep_of

EPOCH = 631_065_600  # s from 1970 to FIT's zero, the last day of 1989
FILE_ID, MONITORING, PRESSURE, SPO2, SLEEP, INTERVALS, BREATH, RMSSD = 0, 55, 51, 269, 275, 290, 297, 371
MONITORING_B, DEVELOPMENT, WALKING = 32, 255, 6
ENUM, UINT8, UINT16, SINT16, UINT32, UINT32Z = 0x00, 0x02, 0x84, 0x83, 0x86, 0x8C
STAMP = 253  # number of the field `timestamp`
FORMATS = {ENUM: "B", UINT8: "B", UINT16: "H", SINT16: "h", UINT32: "I", UINT32Z: "I"}
LEVEL = {-1: 1, 0: 1, 1: 2, 2: 3, 3: 4}  # sleep_level: awake, light, deep, REM
MANY = 32  # intervals in a message
Fields = tuple[tuple[int, int, int], ...]  # number, count, base type
LAYOUTS: dict[str, tuple[int, Fields]] = {
    "file_id": (FILE_ID, ((0, 1, ENUM), (1, 1, UINT16), (2, 1, UINT16), (3, 1, UINT32Z), (4, 1, UINT32))),
    "heart_rate": (MONITORING, ((STAMP, 1, UINT32), (27, 1, UINT8))),
    "steps": (MONITORING, ((STAMP, 1, UINT32), (3, 1, UINT32), (5, 1, ENUM))),
    "oxygen_saturation": (SPO2, ((STAMP, 1, UINT32), (0, 1, UINT8))),
    "sleep_stage": (SLEEP, ((STAMP, 1, UINT32), (0, 1, ENUM))),
    "respiration": (BREATH, ((STAMP, 1, UINT32), (0, 1, SINT16))),
    "rmssd": (RMSSD, ((STAMP, 1, UINT32), (0, 1, UINT16))),
    "beats": (INTERVALS, ((STAMP, 1, UINT32), (0, 1, UINT16), (1, MANY, UINT16))),
    "systolic": (PRESSURE, ((STAMP, 1, UINT32), (0, 1, UINT16), (1, 1, UINT16))),
}
_SIZE = {ENUM: 1, UINT8: 1, UINT16: 2, SINT16: 2, UINT32: 4, UINT32Z: 4}


class FitFormat:
    """fit/<patient>/monitoring.fit; glucose, skin temperature and effort have no place in it."""

    name, modality = "fit", "wearable"

    def write(
        self, records: Sequence[Record], profiles: Sequence[PatientProfile], folder: Path
    ) -> list[Path]:
        """See core.contracts.PatientFormat."""
        paths = []
        for record, profile in zip(records, profiles, strict=True):
            path = folder / "fit" / profile.patient_id / "monitoring.fit"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encoded(record, profile))
            paths.append(path)
        return paths


def encoded(record: Record, profile: PatientProfile) -> bytes:
    """The file: header, a definition a kind of message, the messages in order of time, checksum."""
    found: dict[str, Series] = {}
    for one in series_of(record, profile, coarse=True):
        found.setdefault(one.name, one)
    messages = sorted(
        (message for name in LAYOUTS if name in found for message in _messages(name, found, record, profile)),
        key=lambda message: message[0],
    )
    first = messages[0][0] if messages else 0
    parts = [_packed("file_id", MONITORING_B, DEVELOPMENT, 0, 1, first)]
    parts += [message for _, message in messages]
    body = b"".join([*(_definition(name) for name in LAYOUTS), *parts])
    head = struct.pack("<BBHI4s", 14, 0x20, 21_218, len(body), b".FIT")
    head += struct.pack("<H", checksum(head))
    return head + body + struct.pack("<H", checksum(head + body))


def _definition(name: str) -> bytes:
    number, fields = LAYOUTS[name]
    local = list(LAYOUTS).index(name)
    head = struct.pack("<BBBHB", 0x40 | local, 0, 0, number, len(fields))
    return head + b"".join(
        struct.pack("BBB", field, count * _SIZE[base], base) for field, count, base in fields
    )


def _packed(name: str, *values: int) -> bytes:
    _, fields = LAYOUTS[name]
    layout = "<B" + "".join(FORMATS[base] * count for _, count, base in fields)
    return struct.pack(layout, list(LAYOUTS).index(name), *values)


def _messages(
    name: str, found: dict[str, Series], record: Record, profile: PatientProfile
) -> Iterator[tuple[int, bytes]]:
    """(FIT time, message) of a channel."""
    own = found[name]
    times = (own.at // 1000 - EPOCH).astype(np.int64).tolist()
    values = own.values.tolist()
    if name == "beats":
        yield from _intervals(own)
    elif name == "steps":
        for midnight, at, steps in by_day(own, record, profile):
            total = np.cumsum(steps).astype(int).tolist()
            last = midnight // 1000 - EPOCH + DAY - 1
            for place in range(
                14, len(total), 15
            ):  # each quarter of an hour what has come together since midnight
                time = min(int(at[place]) // 1000 - EPOCH + 60, last)
                yield time, _packed(name, time, total[place], WALKING)
    elif name == "sleep_stage":
        before = None
        nights = [(night[0].begins, night[-1].ends) for night in sleep_of(record, profile)]
        known = np.any(
            [(own.at >= begins) & (own.at < ends) for begins, ends in nights] or [own.at < 0], axis=0
        )
        for time, value in zip(times, np.where(known, own.values, -1).tolist(), strict=True):
            level = LEVEL[int(value)]
            if level != before and not (before is None and value < 0):
                yield time, _packed(name, time, level)
                before = level
    elif name == "systolic":
        for time, high, low in zip(times, values, found["diastolic"].values.tolist(), strict=True):
            yield time, _packed(name, time, round(high), round(low))
    else:
        scale = {"respiration": 100, "rmssd": 128}.get(name, 1)
        for time, value in zip(times, values, strict=True):
            yield time, _packed(name, time, round(value * scale))


def _intervals(own: Series) -> Iterator[tuple[int, bytes]]:
    """Intervals in pieces, each with the time of its first beat; an unused place is FIT's invalid value."""
    for begin in range(0, len(own.values), MANY):
        part = [round(value) for value in own.values[begin : begin + MANY].tolist() if value > 0]
        at = int(own.at[begin])
        time = at // 1000 - EPOCH
        yield time, _packed("beats", time, at % 1000, *part, *[0xFFFF] * (MANY - len(part)))


def _table() -> list[int]:
    found = []
    for byte in range(256):
        for _ in range(8):
            byte = (byte >> 1) ^ (0xA001 if byte & 1 else 0)
        found.append(byte)
    return found


_TABLE = _table()


def checksum(data: bytes) -> int:
    """CRC-16/ARC."""
    value = 0
    for byte in data:
        value = (value >> 8) ^ _TABLE[(value ^ byte) & 0xFF]
    return value
