"""How an observation is written: its code, profile and specimen, and how a value compares with the reference range."""

from dataclasses import dataclass
from functools import cache
from typing import Any

from ....core.fields import LOINC
from ..codes import codes
from ..data import HL7, listed, quantity
from .lists import LOINC_TERMS

PROFILES = {  # by LOINC code, those of US Core
    "8302-2": "body-height", "29463-7": "body-weight", "8867-4": "heart-rate", "9279-1": "respiratory-rate",
    "8310-5": "body-temperature", "85354-9": "blood-pressure", "2708-6": "pulse-oximetry",
}  # fmt: skip
_BY_GROUP = {
    "laboratory": ("observation-lab",), "imaging": ("observation-clinical-result",),
    "procedure": ("observation-clinical-result",), "vital-signs": ("vital-signs",),
}  # fmt: skip
_URINE, _TISSUE = ("albumin_creatinine",), ("estrogen_receptor", "progesterone_receptor", "her2")
_SAID = {  # v3-ObservationInterpretation
    code: [{"coding": [{"system": f"{HL7}/v3-ObservationInterpretation", "code": code, "display": display}]}]
    for code, display in (
        ("N", "Normal"), ("L", "Low"), ("H", "High"), ("POS", "Positive"), ("NEG", "Negative"),
    )
}  # fmt: skip


@dataclass(frozen=True)
class Form:
    """What all observations of one name share; dictionaries are shared too, so nobody changes them."""

    code: dict[str, Any]
    unit: str
    profiles: tuple[str, ...]
    specimen: str


@cache
def form_of(name: str) -> Form:
    """Of an observation in the bundled list."""
    entry = codes().observations[name]
    code = listed(LOINC, entry)
    if name == "oxygen_saturation":  # US Core wants both, and real programs look for either
        (system, second), display = LOINC_TERMS["pulse_oximetry"]
        code["coding"].append({"system": system, "code": second, "display": display})
    own = PROFILES.get(entry.code)
    profiles = (own,) if own else _BY_GROUP.get(entry.group, ())
    specimen = "urine" if name in _URINE else "tissue" if name in _TISSUE else "blood"
    return Form(code, entry.unit, profiles, specimen)


@cache
def _range(name: str, sex: str | None) -> tuple[tuple[float, float], list[dict[str, Any]]] | None:
    entry = codes().observations[name]
    limits = entry.range_of(sex)
    if limits is None:
        return None
    low, high = limits
    # the end of what is possible is no limit: nobody's eGFR is too high
    ends = {"low": low if low > entry.low else None, "high": high if high < entry.high else None}
    said = {end: quantity(value, entry.unit) for end, value in ends.items() if value is not None}
    return limits, [{**said, "type": {"coding": [_NORMAL], "text": "Normal range"}}]


_NORMAL = {"system": f"{HL7}/referencerange-meaning", "code": "normal", "display": "Normal Range"}


def judged(name: str, value: float | str, sex: str | None) -> dict[str, Any]:
    """Interpretation and reference range of a value; nothing where there is no range."""
    if isinstance(value, str):
        code = {"positive": "POS", "negative": "NEG", "no_growth": "NEG"}.get(value)
        return {} if code is None else {"interpretation": _SAID[code]}
    known = _range(name, sex)
    if known is None:
        return {}
    (low, high), said = known
    code = "L" if value < low else "H" if value > high else "N"
    return {"interpretation": _SAID[code], "referenceRange": said}
