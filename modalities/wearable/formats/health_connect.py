"""Health Connect: records of a phone's store as JSON, and the same in the JSON of a Fitbit takeout."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ....core.modality import Record
from ....core.profile import PatientProfile
from .series import by_day, first_of, iso, meals_of, moment, series_of, sleep_of

STAGES = {"wake": 1, "light": 4, "deep": 5, "rem": 6}  # SleepSessionRecord.STAGE_TYPE_*
FITBIT = {"wake": "wake", "light": "light", "deep": "deep", "rem": "rem"}
TAKEOUT = "Takeout/Fitbit/Global Export Data"
MANY = 30  # nights in a file
INTERSTITIAL = 1  # BloodGlucoseRecord.SPECIMEN_SOURCE_INTERSTITIAL_FLUID
Json = dict[str, Any]


class HealthConnectFormat:
    """health_connect/<patient>/records.json, and Takeout/ beside it as Fitbit exports a person's files."""

    name, modality = "health_connect", "wearable"

    def write(
        self, records: Sequence[Record], profiles: Sequence[PatientProfile], folder: Path
    ) -> list[Path]:
        """See core.contracts.PatientFormat."""
        paths = []
        for record, profile in zip(records, profiles, strict=True):
            place = folder / "health_connect" / profile.patient_id
            content = {"synthetic": True, "records": list(connected(record, profile))}
            paths.append(_json(place / "records.json", content))
            paths += [_json(place / TAKEOUT / name, rows) for name, rows in takeout(record, profile)]
        return paths


def _json(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, separators=(",", ":")) + "\n", encoding="utf-8")
    return path


def connected(record: Record, profile: PatientProfile) -> Iterator[Json]:
    """Records named and built as the classes of androidx.health.connect.client.records."""
    for found in series_of(record, profile, coarse=True):
        about = {"metadata": {"dataOrigin": "org.polyclinic.synthetic", "device": found.device}}
        rows = list(zip(found.at.tolist(), found.values.tolist(), strict=True))
        if found.name == "heart_rate":
            for midnight, at, values in by_day(found, record, profile):
                samples = [
                    {"time": iso(time), "beatsPerMinute": round(value)}
                    for time, value in zip(at.tolist(), values.tolist(), strict=True)
                ]
                if samples:
                    span = {"startTime": iso(midnight), "endTime": iso(int(at[-1]) + 1000 * found.period)}
                    yield {"type": "HeartRateRecord", **span, "samples": samples, **about}
        elif found.name == "steps":
            for time, value in rows:
                if value:
                    span = {"startTime": iso(time), "endTime": iso(time + 1000 * found.period)}
                    yield {"type": "StepsRecord", **span, "count": round(value), **about}
        elif found.name in _AT:
            kind, build = _AT[found.name]
            for time, value in rows:
                yield {"type": kind, "time": iso(time), **build(value), **about}
        elif found.name == "systolic":
            low = first_of(record, profile, "diastolic")
            assert low is not None
            for (time, value), other in zip(rows, low.values.tolist(), strict=True):
                pressure = {
                    "systolic": {"inMillimetersOfMercury": value},
                    "diastolic": {"inMillimetersOfMercury": other},
                }
                yield {"type": "BloodPressureRecord", "time": iso(time), **pressure, **about}
    yield from _nights(record, profile)
    for time, grams, _ in meals_of(record, profile):
        span = {"startTime": iso(time), "endTime": iso(time + 900_000)}
        yield {"type": "NutritionRecord", **span, "totalCarbohydrate": {"inGrams": grams}}


_AT: dict[str, Any] = {
    "oxygen_saturation": ("OxygenSaturationRecord", lambda value: {"percentage": value}),
    "respiration": ("RespiratoryRateRecord", lambda value: {"rate": round(value, 1)}),
    "rmssd": (
        "HeartRateVariabilityRmssdRecord",
        lambda value: {"heartRateVariabilityMillis": round(min(max(value, 1.0), 200.0), 1)},
    ),
    "glucose": (
        "BloodGlucoseRecord",
        lambda value: {"level": {"inMilligramsPerDeciliter": value}, "specimenSource": INTERSTITIAL},
    ),
}


def _nights(record: Record, profile: PatientProfile) -> Iterator[Json]:
    for night in sleep_of(record, profile):
        stages = [
            {"startTime": iso(span.begins), "endTime": iso(span.ends), "stage": STAGES[span.stage]}
            for span in night
        ]
        span = {"startTime": iso(night[0].begins), "endTime": iso(night[-1].ends)}
        yield {"type": "SleepSessionRecord", **span, "stages": stages}


def takeout(record: Record, profile: PatientProfile) -> Iterator[tuple[str, list[Json]]]:
    """(name of the file, its rows), a file a day and kind; times are local, which is UTC here."""
    for name in ("heart_rate", "steps"):
        found = first_of(record, profile, name)
        for midnight, at, values in [] if found is None else by_day(found, record, profile):
            rows = zip(at.tolist(), values.tolist(), strict=True)
            if name == "steps":
                content: list[Json] = [
                    {"dateTime": _clock(time), "value": str(round(value))} for time, value in rows
                ]
            else:
                content = [
                    {"dateTime": _clock(t), "value": {"bpm": round(v), "confidence": 3}} for t, v in rows
                ]
            yield f"{name}-{moment(midnight):%Y-%m-%d}.json", content
    logs = [
        _log(number, f"{moment(night[-1].ends):%Y-%m-%d}", night)
        for number, night in enumerate(sleep_of(record, profile), 1)
    ]
    for begin in range(
        0, len(logs), MANY
    ):  # a month in a file that is named by its first day, the newest first
        part = logs[begin : begin + MANY]
        yield f"sleep-{part[0]['dateOfSleep']}.json", part[::-1]


def _log(number: int, day: str, night: Sequence[Any]) -> Json:
    seconds = {name: sum(s.ends - s.begins for s in night if s.stage == name) // 1000 for name in FITBIT}
    minutes = {name: int(value) // 60 for name, value in seconds.items()}
    asleep = sum(value for name, value in minutes.items() if name != "wake")
    total = sum(minutes.values())  # when the watch was worn
    levels = [
        {"dateTime": _iso(s.begins), "level": FITBIT[s.stage], "seconds": (s.ends - s.begins) // 1000}
        for s in night
    ]
    summary = {
        FITBIT[name]: {
            "count": sum(s.stage == name for s in night),
            "minutes": value,
            "thirtyDayAvgMinutes": 0,
        }
        for name, value in minutes.items()
    }
    return {
        "logId": number, "dateOfSleep": day, "startTime": _iso(night[0].begins), "endTime": _iso(night[-1].ends),
        "duration": night[-1].ends - night[0].begins, "minutesToFallAsleep": 0, "minutesAsleep": asleep,
        "minutesAwake": minutes["wake"], "minutesAfterWakeup": 0, "timeInBed": total,
        "efficiency": int(np.rint(100 * asleep / max(total, 1))), "type": "stages", "infoCode": 0,
        "levels": {"summary": summary, "data": levels, "shortData": []}, "mainSleep": True,
    }  # fmt: skip


def _clock(milliseconds: int) -> str:
    return f"{moment(milliseconds):%m/%d/%y %H:%M:%S}"


def _iso(milliseconds: int) -> str:
    return f"{moment(milliseconds):%Y-%m-%dT%H:%M:%S}.000"
