"""What a monitor says, as FHIR R4 Observations: a panel of vital signs, or a second of ECG as sampled data."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from ...core.fields import LOINC
from ...core.types import AnyArray
from .message import Leads, encode

UCUM = "http://unitsofmeasure.org"
MDC = "urn:oid:2.16.840.1.113883.6.24"  # ISO/IEEE 11073-10101
CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"
HTEST = {
    "system": "http://terminology.hl7.org/CodeSystem/v3-ActReason",
    "code": "HTEST",
    "display": "test health data",
}
MESSAGE = "urn:polyclinic:message"  # identifier: ward/bed/signal/seq
PULSE = 150452
# MDC_ECG_ELEC_POTL is 131328; a lead adds its number
ECG, NUMBER = 131328, {
    "I": 1, "II": 2, "V1": 3, "V2": 4, "V3": 5, "V4": 6, "V5": 7, "V6": 8,
    "III": 61, "aVR": 62, "aVL": 63, "aVF": 64,
}  # fmt: skip
UNITS = {"mmHg": "mm[Hg]"}  # a monitor's spelling, UCUM's
OFF = "not-performed"


def vitals(
    head: Mapping[str, Any], values: Mapping[str, float], channels: Mapping[str, Mapping[str, str]]
) -> bytes:
    """A panel of vital signs; `channels` gives unit, LOINC code and label by name."""
    parts = [
        {
            "code": _named(channels[name]),
            "valueQuantity": _quantity(value, channels[name]["unit"]),
        }
        for name, value in values.items()
    ]
    code = _concept(
        LOINC, "85353-1", "Vital signs, weight, height, head circumference, oxygen saturation and BMI panel"
    )
    return _observation(head, "vital-signs", code, parts)


def ecg(head: Mapping[str, Any], leads: Leads, rate: int) -> bytes:
    """A second of ECG, each lead a component of sampled data in microvolts; a lead that is off says so."""
    parts = []
    for name, row in leads.items():
        code = _concept(MDC, str(ECG), "MDC_ECG_ELEC_POTL") | {"text": name}
        if name in NUMBER:
            code = _concept(MDC, str(ECG + NUMBER[name]), f"MDC_ECG_ELEC_POTL_{name.upper()}")
        if row is None:
            reason = _concept(
                "http://terminology.hl7.org/CodeSystem/data-absent-reason", OFF, "Not Performed"
            )
            parts.append({"code": code, "dataAbsentReason": reason})
        else:
            data = " ".join(map(str, row.tolist()))
            origin = _quantity(0, "uV")
            sampled = {"origin": origin, "period": 1000 / rate, "dimensions": 1, "data": data}
            parts.append({"code": code, "valueSampledData": sampled})
    return _observation(head, "procedure", _concept(MDC, str(ECG), "MDC_ECG_ELEC_POTL"), parts)


def pulse(head: Mapping[str, Any], waves: Mapping[str, AnyArray], peaks: list[int]) -> bytes:
    """A second of the pulse, each site a component of sampled data in arbitrary units."""
    parts = [
        {
            "code": _concept(MDC, str(PULSE), "MDC_PULS_OXIM_PLETH") | {"text": name},
            "valueSampledData": {
                "origin": _quantity(0, "1"), "period": 1000 / head["rate"], "dimensions": 1,
                "data": " ".join(map(str, row.tolist())),
            },
        }
        for name, row in waves.items()
    ]  # fmt: skip
    return _observation(head, "procedure", _concept(MDC, str(PULSE), "MDC_PULS_OXIM_PLETH"), parts)


def _observation(head: Mapping[str, Any], category: str, code: Any, parts: list[dict[str, Any]]) -> bytes:
    name = f"{head['ward']}/{head['bed']}/{head['signal']}/{head['seq']}"
    issued = None
    if "due" in head:
        issued = datetime.fromtimestamp(head["due"], UTC).isoformat(timespec="milliseconds")
    resource = {
        "resourceType": "Observation",
        "meta": {"security": [HTEST], "tag": [HTEST]},
        "identifier": [{"system": MESSAGE, "value": name}],
        "status": "final",
        "category": [_concept(CATEGORY, category)],
        "code": code,
        "subject": {"reference": f"Patient/{head['patient']}"},
        "effectiveDateTime": head.get("time"),
        "issued": issued,
        "component": parts,
    }
    return encode({key: value for key, value in resource.items() if value is not None})


def _named(channel: Mapping[str, str]) -> dict[str, Any]:
    """A channel's code; its label alone where LOINC has none."""
    if channel["loinc"]:
        return _concept(LOINC, channel["loinc"], channel["label"])
    return {"text": channel["label"]}


def _concept(system: str, code: str, display: str = "") -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code} | ({"display": display} if display else {})]}


def _quantity(value: float, unit: str) -> dict[str, Any]:
    code = UNITS.get(unit, unit)
    return {"value": value, "unit": code, "system": UCUM, "code": code}
