"""XDF: the format of Lab Streaming Layer, a stream a device and rate; written by hand, as no kept library writes it."""

import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np

from ....core.modality import Record
from ....core.profile import PatientProfile
from ....core.types import AnyArray
from ..channels import BEATS, CHANNELS
from ..export import periods
from ..figures import devices
from ..layout import name_of, seconds_of, tables_of
from .series import iso, origin

FILE, HEADER, SAMPLES, OFFSET, FOOTER = 1, 2, 3, 4, 6
MANY = 20_000  # samples in a chunk


class XdfFormat:
    """xdf/<patient>.xdf; times are s since the first midnight, missing values NaN."""

    name, modality = "xdf", "wearable"

    def write(
        self, records: Sequence[Record], profiles: Sequence[PatientProfile], folder: Path
    ) -> list[Path]:
        """See core.contracts.PatientFormat."""
        paths = []
        for record, profile in zip(records, profiles, strict=True):
            path = folder / "xdf" / f"{profile.patient_id}.xdf"
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                file.writelines(chunks(record, profile))
            paths.append(path)
        return paths


def chunks(record: Record, profile: PatientProfile) -> Iterator[bytes]:
    """The file, chunk by chunk."""
    yield b"XDF:"
    begins = iso(origin(record, profile))
    yield _chunk(
        FILE,
        f'<?xml version="1.0"?><info><version>1.0</version><datetime>{begins}</datetime></info>'.encode(),
    )
    for number, (table, channels) in enumerate(tables_of(record.arrays, periods()).items(), 1):
        device, period = table
        stream = struct.pack("<I", number)
        about = [(name, CHANNELS[name].unit) for name in channels] if period else [("rr", "ms")]
        yield _chunk(HEADER, stream + _info(name_of(table), device, period, about, profile).encode())
        if period:
            values = np.stack([record.arrays[f"{device}/{name}"] for name in channels], axis=1).astype(
                np.float32
            )
            times = seconds_of(period, len(values)).astype(np.float64)
        else:
            times = record.arrays[f"{device}/{BEATS}"] / 1000
            values = (1000 * np.diff(times, prepend=np.nan)).astype(np.float32)[:, None]
        for begin in range(0, len(times), MANY):
            part = slice(begin, begin + MANY)
            yield _chunk(SAMPLES, stream + _samples(times[part], values[part]))
        last = float(times[-1]) if len(times) else 0.0
        for hour in range(
            24 * int(record.facts["days"]) + 1
        ):  # times are true ones: each hour's offset is none
            yield _chunk(OFFSET, stream + struct.pack("<dd", 3600.0 * hour, 0.0))
        foot = (
            f'<?xml version="1.0"?><info><first_timestamp>{float(times[0]) if len(times) else 0.0}</first_timestamp>'
            f"<last_timestamp>{last}</last_timestamp><sample_count>{len(times)}</sample_count>"
            "<clock_offsets></clock_offsets></info>"
        )
        yield _chunk(FOOTER, stream + foot.encode())


def _chunk(tag: int, content: bytes) -> bytes:
    return struct.pack("<BIH", 4, len(content) + 2, tag) + content


def _samples(times: AnyArray, values: AnyArray) -> bytes:
    rows = np.empty(
        len(times), dtype=np.dtype([("has", "u1"), ("at", "<f8"), ("value", "<f4", (values.shape[1],))])
    )
    rows["has"], rows["at"], rows["value"] = 8, times, values
    return struct.pack("<BI", 4, len(times)) + rows.tobytes()


def _info(
    name: str, device: str, period: int, about: Sequence[tuple[str, str]], profile: PatientProfile
) -> str:
    channels = "".join(
        f"<channel><label>{escape(label)}</label><unit>{escape(unit)}</unit></channel>"
        for label, unit in about
    )
    return (
        f'<?xml version="1.0"?><info><name>{name}</name><type>wearable</type>'
        f"<channel_count>{len(about)}</channel_count>"
        f"<nominal_srate>{1 / period if period else 0.0!r}</nominal_srate><channel_format>float32</channel_format>"
        f"<source_id>{escape(profile.patient_id)}-{name}</source_id><desc><synthetic>true</synthetic>"
        f"<site>{devices()[device].site}</site><channels>{channels}</channels></desc></info>"
    )
