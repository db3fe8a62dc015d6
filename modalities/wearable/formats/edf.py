"""EDF+: the regular channels of each device and rate in one file, sleep stages as annotations."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Literal, cast

import numpy as np

from ....core.errors import InputError
from ....core.modality import Record
from ....core.profile import PatientProfile
from ..channels import CHANNELS
from ..export import periods
from ..figures import devices
from ..layout import Table, midnight, name_of, tables_of
from .series import origin, sleep_of

RECORD = 300  # s of a data record
YEARS = range(1985, 2085)
LABELS = {
    "wake": "Sleep stage W",
    "light": "Sleep stage N2",
    "deep": "Sleep stage N3",
    "rem": "Sleep stage R",
}
UNITS = {"/min": "1/min", "Cel": "degC", "{steps}": "steps", "[MET]": "MET", "1": ""}
SEX: dict[str, Literal["F", "M", "X"]] = {"F": "F", "M": "M"}
ABSENT = -32768  # digital, which stands for missing


class EdfFormat:
    """edf_wearable/<patient>/<device>-<period>s.edf; the digital minimum stands for missing; no cuff, no beats."""

    name, modality = "edf", "wearable"

    def write(
        self, records: Sequence[Record], profiles: Sequence[PatientProfile], folder: Path
    ) -> list[Path]:
        """See core.contracts.PatientFormat. Raises InputError for a date that EDF cannot hold."""
        for profile in profiles:
            if profile.index_date is not None and profile.index_date.year not in YEARS:
                raise InputError(
                    f"patient {profile.patient_id}: EDF has two digits for years from {YEARS[0]} to {YEARS[-1]}, "
                    f"got {profile.index_date}; leave edf out of wearable.formats"
                )
        paths = []
        for record, profile in zip(records, profiles, strict=True):
            for table, channels in tables_of(record.arrays, periods()).items():
                if 0 < table[1] <= RECORD:
                    path = folder / "edf_wearable" / profile.patient_id / f"{name_of(table)}.edf"
                    _write(record, profile, table, channels, path)
                    paths.append(path)
        return paths


def _write(
    record: Record, profile: PatientProfile, table: Table, channels: Sequence[str], path: Path
) -> None:
    from edfio import Edf, EdfAnnotation, EdfSignal, Patient, Recording

    device, period = table
    signals = []
    for name in channels:
        channel, values = CHANNELS[name], record.arrays[f"{device}/{name}"].astype(np.float64)
        step, unit = 10.0**-channel.decimals, UNITS.get(channel.unit, channel.unit)[:8]
        low = channel.low - step  # the digital minimum, for what is missing
        digital = np.where(np.isfinite(values), np.rint((values - channel.low) / step) + ABSENT + 1, ABSENT)
        top = ABSENT + 1 + round((channel.high - channel.low) / step)
        signals.append(
            EdfSignal.from_digital(
                digital.astype(np.int16), cast(float, Fraction(1, period)), label=name[:16], physical_dimension=unit,
                transducer_type=f"SYNTHETIC {devices()[device].site}", physical_range=(round(low, 4), channel.high),
                digital_range=(ABSENT, top),
            )
        )  # fmt: skip
    begins, annotations = origin(record, profile), []
    if "sleep_stage" in channels:
        annotations = [
            EdfAnnotation((span.begins - begins) / 1000, (span.ends - span.begins) / 1000, LABELS[span.stage])
            for night in sleep_of(record, profile, cut=True)
            for span in night
            if span.begins >= begins
        ]
    start = midnight(record.facts, profile.index_date)
    path.parent.mkdir(parents=True, exist_ok=True)
    edf = Edf(
        signals, patient=Patient(code=profile.patient_id, sex=SEX.get(profile.sex or "", "X")),
        recording=Recording(startdate=start.date(), equipment_code=f"SYNTHETIC_{device}"), starttime=start.time(),
        data_record_duration=RECORD, annotations=annotations,
    )  # fmt: skip
    edf.write(path)
