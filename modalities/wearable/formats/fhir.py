"""FHIR R4 Observations of wearables: sampled data a day, daily sums, pressures, mean glucose; NDJSON a patient."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ....core.fields import LOINC
from ....core.modality import Record
from ....core.profile import PatientProfile
from ....core.types import AnyArray
from ..body import DAY
from ..channels import CHANNELS
from ..export import periods
from .series import MINUTE, Series, by_day, iso, origin, series_of, sleep_of

UCUM = "http://unitsofmeasure.org"
CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"
HTEST = {
    "system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "HTEST", "display": "test health data",
}  # fmt: skip
SAMPLED = ("heart_rate", "respiration", "oxygen_saturation", "glucose", "skin_temperature")
PRESSURE = ("85354-9", "Blood pressure panel with all children optional")
STEPS_OF_A_DAY = ("41950-7", "Number of steps in 24 hour Measured", "{steps}")
SLEPT = ("93832-4", "Sleep duration", "h")
RESTING = ("40443-4", "Heart rate --resting", "/min")
MEAN_GLUCOSE = (
    "97507-8",
    "Average glucose [Mass/volume] in Interstitial fluid during Reporting Period",
    "mg/dL",
)
Json = dict[str, Any]


class FhirFormat:
    """wearable_fhir/<patient>.ndjson; the subject is the patient of the record."""

    name, modality = "fhir", "wearable"

    def write(
        self, records: Sequence[Record], profiles: Sequence[PatientProfile], folder: Path
    ) -> list[Path]:
        """See core.contracts.PatientFormat."""
        paths = []
        for record, profile in zip(records, profiles, strict=True):
            path = folder / "wearable_fhir" / f"{profile.patient_id}.ndjson"
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("w", encoding="utf-8", newline="\n") as file:
                file.writelines(
                    json.dumps(one, separators=(",", ":")) + "\n" for one in observations(record, profile)
                )
            paths.append(path)
        return paths


def observations(record: Record, profile: PatientProfile) -> Iterator[Json]:
    """The resources of a record."""
    begins, subject = origin(record, profile), profile.patient_id
    ends = begins + 1000 * DAY * int(record.facts["days"])
    found = {(one.device, one.name): one for one in series_of(record, profile, coarse=True)}
    for (device, name), own in found.items():
        days = by_day(own, record, profile)
        if name in SAMPLED:
            for number, (midnight, at, values) in enumerate(days):
                if len(values):
                    sampled = _sampled(own, midnight, at, values)
                    span = {"start": iso(midnight), "end": iso(midnight + 1000 * DAY)}
                    code = (CHANNELS[name].loinc, CHANNELS[name].label)
                    key = f"{device}-{name.replace('_', '-')}-{number}"
                    yield _observation(subject, key, code, span, {"valueSampledData": sampled}, device)
        elif name == "steps":
            for number, (midnight, _, values) in enumerate(days):
                span = {"start": iso(midnight), "end": iso(midnight + 1000 * DAY)}
                yield _number(
                    subject,
                    f"{device}-steps-{number}",
                    STEPS_OF_A_DAY,
                    round(float(values.sum())),
                    span,
                    device,
                )
        elif name == "systolic":
            for number, (time, high, low) in enumerate(
                zip(
                    own.at.tolist(),
                    own.values.tolist(),
                    found[device, "diastolic"].values.tolist(),
                    strict=True,
                )
            ):
                parts = [
                    {
                        "code": _concept("8480-6", "Systolic blood pressure"),
                        "valueQuantity": _quantity(high, "mm[Hg]"),
                    },
                    {
                        "code": _concept("8462-4", "Diastolic blood pressure"),
                        "valueQuantity": _quantity(low, "mm[Hg]"),
                    },
                ]
                yield _observation(
                    subject, f"{device}-pressure-{number}", PRESSURE, iso(time), {"component": parts}, device
                )
    for number, night in enumerate(sleep_of(record, profile)):
        slept = sum(span.ends - span.begins for span in night if span.stage != "wake") / 3_600_000
        span = {"start": iso(night[0].begins), "end": iso(night[-1].ends)}
        yield _number(subject, f"sleep-{number}", SLEPT, round(slept, 2), span, "")
    span = {"start": iso(begins), "end": iso(ends)}
    if "resting_heart_rate" in record.facts:
        yield _number(subject, "resting-month", RESTING, record.facts["resting_heart_rate"], span, "")
    for (device, name), own in found.items():
        if name == "glucose" and len(own.values):
            yield _number(
                subject, "mean-glucose-month", MEAN_GLUCOSE, round(float(own.values.mean()), 1), span, device
            )


def _sampled(own: Series, midnight: int, at: AnyArray, values: AnyArray) -> Json:
    """SampledData of a day, E where a value is missing; heart rates are means of minutes."""
    period = own.period if own.period >= MINUTE else periods()[own.device][own.name]
    data = ["E"] * (DAY // period)
    decimals = own.channel.decimals
    places = ((at - midnight) // (1000 * period)).astype(int).clip(0, len(data) - 1)
    for place, value in zip(places.tolist(), np.round(values, decimals).tolist(), strict=True):
        data[place] = f"{value:.{decimals}f}"
    unit = own.channel.unit
    origin_ = {"value": 0, "unit": unit, "system": UCUM, "code": unit}
    return {"origin": origin_, "period": 1000 * period, "dimensions": 1, "data": " ".join(data)}


def _observation(
    subject: str, key: str, code: tuple[str, str], when: Json | str, value: Json, device: str
) -> Json:
    return {
        "resourceType": "Observation",
        "id": f"{subject}-w-{key}"[-64:],
        "meta": {"security": [HTEST], "tag": [HTEST]},
        "status": "final",
        "category": [{"coding": [{"system": CATEGORY, "code": "vital-signs"}]}],
        "code": _concept(*code),
        "subject": {"reference": f"Patient/{subject}"},
        **({"effectivePeriod": when} if isinstance(when, dict) else {"effectiveDateTime": when}),
        **value,
        **({"device": {"display": f"{device} (synthetic)"}} if device else {}),
    }


def _number(
    subject: str, key: str, code: tuple[str, str, str], value: float, span: Json, device: str
) -> Json:
    return _observation(subject, key, code[:2], span, {"valueQuantity": _quantity(value, code[2])}, device)


def _quantity(value: float, unit: str) -> Json:
    return {"value": value, "unit": unit, "system": UCUM, "code": unit}


def _concept(code: str, display: str) -> Json:
    return {"coding": [{"system": LOINC, "code": code, "display": display}], "text": display}
