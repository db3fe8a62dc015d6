"""Open mHealth: JSON data series in the schemas of Open mHealth and IEEE 1752.1, a line a day and measure."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

from ....core.modality import Record
from ....core.profile import PatientProfile, seed_for
from .series import by_day, iso, series_of, sleep_of

OMH, IEEE = "omh", "ieee"
BODIES = {  # channel -> namespace, schema, version, key of the value, unit
    "heart_rate": (OMH, "heart-rate", "2.0", "heart_rate", "beats/min"),
    "oxygen_saturation": (OMH, "oxygen-saturation", "2.0", "oxygen_saturation", "%"),
    "respiration": (OMH, "respiratory-rate", "2.0", "respiratory_rate", "breaths/min"),
    "glucose": (OMH, "blood-glucose", "4.0", "blood_glucose", "mg/dL"),
    "skin_temperature": (OMH, "body-temperature", "4.0", "body_temperature", "C"),
}
SITES = ("wrist", "finger")  # of a temperature, which the schema knows
Json = dict[str, Any]


class OpenMHealthFormat:
    """open_mhealth/<patient>.jsonl: data series (header and body), heart rates as means of minutes."""

    name, modality = "open_mhealth", "wearable"

    def write(
        self, records: Sequence[Record], profiles: Sequence[PatientProfile], folder: Path
    ) -> list[Path]:
        """See core.contracts.PatientFormat."""
        paths = []
        for record, profile in zip(records, profiles, strict=True):
            path = folder / "open_mhealth" / f"{profile.patient_id}.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("w", encoding="utf-8", newline="\n") as file:
                file.writelines(
                    json.dumps(one, separators=(",", ":")) + "\n" for one in every(record, profile)
                )
            paths.append(path)
        return paths


def every(record: Record, profile: PatientProfile) -> Iterator[Json]:
    """The data series of a record."""
    found = {(one.device, one.name): one for one in series_of(record, profile, coarse=True)}
    for (device, name), own in found.items():
        for midnight, at, values in by_day(own, record, profile):
            rows = list(zip(at.tolist(), values.tolist(), strict=True))
            if not rows:
                continue
            if name in BODIES and (name != "skin_temperature" or own.site in SITES):
                space, schema, version, key, unit = BODIES[name]
                more = {"measurement_location": own.site} if name == "skin_temperature" else {}
                body = [
                    {
                        key: {"value": _number(value), "unit": unit},
                        "effective_time_frame": {"date_time": iso(time)},
                        **more,
                    }
                    for time, value in rows
                ]
                yield _series(space, schema, version, body, device, midnight, profile)
            elif name == "steps":
                ends = midnight + 86_400_000
                quantity = {"value": round(sum(value for _, value in rows)), "unit": "steps"}
                body = [
                    {
                        "activity_name": "walking",
                        "base_movement_quantity": quantity,
                        "effective_time_frame": _span(midnight, ends),
                    }
                ]
                yield _series(IEEE, "physical-activity", "1.0", body, device, midnight, profile)
            elif name == "systolic":
                low = {
                    time: value
                    for time, value in zip(
                        found[device, "diastolic"].at.tolist(),
                        found[device, "diastolic"].values.tolist(),
                        strict=True,
                    )
                }
                body = [
                    {
                        "systolic_blood_pressure": {"value": _number(value), "unit": "mmHg"},
                        "diastolic_blood_pressure": {"value": _number(low[time]), "unit": "mmHg"},
                        "effective_time_frame": {"date_time": iso(time)},
                    }
                    for time, value in rows
                ]  # fmt: skip
                yield _series(OMH, "blood-pressure", "4.0", body, device, midnight, profile)
    for night in sleep_of(record, profile):
        asleep = [span for span in night if span.stage != "wake"]
        if asleep:
            begins, ends = asleep[0].begins, asleep[-1].ends
            minutes = {
                name: sum(s.ends - s.begins for s in asleep if s.stage == name) // 60_000
                for name in ("light", "deep", "rem")
            }
            inside = [s for s in night if s.stage == "wake" and begins < s.begins < ends]
            body = [
                {
                    "latency_to_sleep_onset": _minutes((begins - night[0].begins) // 60_000),
                    "total_sleep_time": _minutes(sum(minutes.values())),
                    "light_sleep_duration": _minutes(minutes["light"]),
                    "deep_sleep_duration": _minutes(minutes["deep"]),
                    "rem_sleep_duration": _minutes(minutes["rem"]),
                    "wake_after_sleep_onset": _minutes(sum(s.ends - s.begins for s in inside) // 60_000),
                    "number_of_awakenings": len(inside),
                    "is_main_sleep": True,
                    "effective_time_frame": _span(begins, ends),
                }
            ]
            yield _series(IEEE, "sleep-episode", "1.0", body, "watch", begins, profile)


def _series(
    space: str, schema: str, version: str, body: list[Json], device: str, begins: int, profile: PatientProfile
) -> Json:
    name = f"{profile.patient_id}/{schema}/{device}/{begins}"
    high, low = seed_for(0, name, "uuid"), seed_for(1, name, "uuid")
    last = body[-1]["effective_time_frame"]
    created = last.get("date_time") or last["time_interval"]["end_date_time"]
    return {
        "header": {
            "uuid": str(UUID(int=(high << 64) | low, version=4)),
            "schema_id": {"namespace": space, "name": schema, "version": version},
            "source_creation_date_time": created,
            "modality": "sensed",
            "user_id": profile.patient_id,
            "external_datasheets": [
                {"datasheet_type": "software", "datasheet_reference": f"urn:polyclinic:synthetic:{device}"}
            ],
        },
        "body": body,
    }


def _span(begins: int, ends: int) -> Json:
    return {"time_interval": {"start_date_time": iso(begins), "end_date_time": iso(ends)}}


def _minutes(value: int) -> Json:
    return {"value": value, "unit": "min"}


def _number(value: float) -> float | int:
    return int(value) if float(value).is_integer() else round(value, 2)
