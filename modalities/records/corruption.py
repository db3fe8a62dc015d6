"""corrupted(): errors of entry on a dial, as real records have them; the truth is kept beside.

Each kind of error strikes a resource with its own chance times the dial. The resources stay valid FHIR and
their references hold; what they say is wrong, missing, twice there or late.
"""

import copy
import re
from datetime import datetime, timedelta
from random import Random
from typing import Any

from ...core.profile import seed_for
from .codes import codes
from .data import Resource
from .notes.text import Note, Span

# Chances at full dial. At 0.1 about one laboratory value in fifty is wrong or missing.
MISSING, MIXED_UP, TWICE, LATE, MISTYPED = 0.10, 0.05, 0.05, 0.15, 0.10
SLIPPED = 0.05  # of the words of a note
_WORD = re.compile(r"[^\W\d_]{5,}")  # words long enough to be recognised still
ABSENT = "http://terminology.hl7.org/CodeSystem/data-absent-reason"

# The same quantity in another unit, written down without changing the unit: factor and offset.
_OTHER_UNIT = {
    "weight": (2.2046, 0.0),  # pounds
    "height": (0.3937, 0.0),  # inches
    "temperature": (1.8, 32.0),  # Fahrenheit
    "glucose": (0.0555, 0.0),  # mmol/L
    "creatinine": (88.4, 0.0),  # umol/L
    "hemoglobin": (10.0, 0.0),  # g/L
    "ldl": (0.02586, 0.0),  # mmol/L
    "lactate": (9.01, 0.0),  # mg/dL
    "nt_probnp": (0.118, 0.0),  # pmol/L
}


def corrupted(resources: list[Resource], dial: float, seed: int) -> list[Resource]:
    """The resources as somebody in a hurry would have entered them; dial in [0, 1]. The input is not changed."""
    rng = Random(seed_for(seed, "mess", "entry"))
    done: list[Resource] = []
    for resource in resources:
        entered = copy.deepcopy(resource)
        hit = {name: rng.random() < chance * dial for name, chance in _KINDS.items()}
        if entered["resourceType"] == "Observation":
            if hit["missing"]:
                _lose(entered)
            elif hit["mixed up"]:
                _mix_up(entered)
            if hit["late"]:
                _delay(entered, rng)
        if hit["mistyped"]:
            _mistype(entered, rng)
        done.append(entered)
        if hit["twice"] and entered["resourceType"] in ("Observation", "Condition", "MedicationRequest"):
            done.append({**copy.deepcopy(entered), "id": f"{entered['id']}-again"})
    return done


_KINDS = {"missing": MISSING, "mixed up": MIXED_UP, "twice": TWICE, "late": LATE, "mistyped": MISTYPED}


def _lose(observation: Resource) -> None:
    """No value, as FHIR says it."""
    reason = {"coding": [{"system": ABSENT, "code": "unknown", "display": "Unknown"}]}
    for part in observation.get("component") or [observation]:
        for name in ("valueQuantity", "valueCodeableConcept"):
            part.pop(name, None)
        part["dataAbsentReason"] = reason
    observation["text"]["div"] = _said("value missing")


def _mix_up(observation: Resource) -> None:
    """The number of another unit under the unit of the form."""
    named = codes().observations
    by_code = {entry.code: name for name, entry in named.items()}
    code = (observation["code"].get("coding") or [{}])[0].get("code")
    if (name := by_code.get(code or "")) in _OTHER_UNIT and "valueQuantity" in observation:
        factor, offset = _OTHER_UNIT[str(name)]
        value = observation["valueQuantity"]
        value["value"] = round(value["value"] * factor + offset, 1)
        observation["text"]["div"] = _said(f"{named[str(name)].display} {value['value']} {value['unit']}")


def _delay(observation: Resource, rng: Random) -> None:
    """Entered days after it was measured."""
    if when := observation.get("effectiveDateTime"):
        entered = datetime.fromisoformat(when) + timedelta(minutes=rng.randint(24 * 60, 14 * 24 * 60))
        observation["issued"] = f"{entered:%Y-%m-%dT%H:%M:%SZ}"


def _mistype(resource: Resource, rng: Random) -> None:
    """A slip of the finger in the words beside a code; codes are picked from lists and stay."""
    concept: Any = resource.get("code") or resource.get("medicationCodeableConcept")
    if concept and len(concept.get("text", "")) > 4:
        concept["text"] = slip(concept["text"], rng)


def slip(text: str, rng: Random) -> str:
    """Two letters swapped, one lost or one twice."""
    place = rng.randrange(1, len(text) - 2)
    kind = rng.randrange(3)
    if kind == 0:
        return text[:place] + text[place + 1] + text[place] + text[place + 2 :]
    return text[:place] + text[place + 1 :] if kind == 1 else text[:place] + text[place] + text[place:]


def corrupted_note(note: Note, dial: float, seed: int) -> Note:
    """The note as typed in a hurry; dial in [0, 1]. Spans keep to their words, and their values are the truth.

    Only words of letters are struck: numbers in notes stay.
    """
    rng = Random(seed_for(seed, note.reference, "typing"))
    chance = SLIPPED * dial
    words: list[str] = []
    spans: list[Span] = []
    done = at = 0

    def typed(text: str) -> str:
        return _WORD.sub(lambda m: slip(m[0], rng) if rng.random() < chance else m[0], text)

    for span in note.spans:
        before, inside = typed(note.text[done : span["start"]]), typed(note.text[span["start"] : span["end"]])
        start = at + len(before)
        at, done = start + len(inside), span["end"]
        words += [before, inside]
        spans.append({**span, "start": start, "end": at, "text": inside})
    return note.but("".join([*words, typed(note.text[done:])]), spans)


def _said(words: str) -> str:
    return f'<div xmlns="http://www.w3.org/1999/xhtml">Synthetic patient. {words}</div>'
