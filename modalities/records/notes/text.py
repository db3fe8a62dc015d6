"""Mention and Note: words that state something of a patient, and the text they make with their places in it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

LABELS = (
    "AGE", "ANATOMY", "CONDITION", "DATE", "DOSE", "DRUG", "FINDING", "FREQUENCY", "GENE", "LAB", "NORMAL",
    "PROCEDURE", "ROUTE", "SEX", "UNIT", "VALUE", "VIEW",
)  # fmt: skip


class Mention(NamedTuple):
    """Words and what they state: `value` as the record has it (a number in `unit`, an ISO date, a word).

    `reference` is the FHIR resource that says the same. A negated mention says that the thing is not there.
    """

    surface: str
    label: str
    code: str | None = None
    system: str | None = None
    reference: str | None = None
    value: float | str | None = None
    unit: str | None = None
    negated: bool = False


Part = str | Mention
Parts = list[Part]
Span = dict[str, Any]


@dataclass(frozen=True)
class Note:
    """A text of one patient and its spans, in order, apart from each other; offsets count code points.

    `reference` is the DocumentReference or DiagnosticReport that carries the text, `author` an invented hand,
    `date` an ISO moment or None without a calendar.
    """

    kind: str
    patient: str
    reference: str
    encounter: str
    author: str
    date: str | None
    text: str
    spans: tuple[Span, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, in the shape that spaCy's tools read: text, spans, meta."""
        return {
            "text": self.text,
            "spans": list(self.spans),
            "meta": {
                "synthetic": True, "kind": self.kind, "patient": self.patient, "reference": self.reference,
                "encounter": self.encounter, "author": self.author, "date": self.date,
            },
        }  # fmt: skip

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> "Note":
        """Inverse of to_dict."""
        meta = {name: value for name, value in row["meta"].items() if name != "synthetic"}
        return cls(**meta, text=row["text"], spans=tuple(row["spans"]))

    def but(self, text: str, spans: Sequence[Span]) -> "Note":
        """The same note with other words."""
        return replace(self, text=text, spans=tuple(spans))


def written(parts: Iterable[Part]) -> tuple[str, list[Span]]:
    """The text of the parts, and a span for each mention; what does not apply is left out of a span."""
    words: list[str] = []
    spans: list[Span] = []
    at = 0
    for part in parts:
        if isinstance(part, str):
            words.append(part)
            at += len(part)
            continue
        surface, label, code, system, reference, value, unit, negated = part
        words.append(surface)
        start, at = at, at + len(surface)
        span: Span = {"start": start, "end": at, "label": label, "text": surface, "negated": negated}
        if code is not None:
            span["code"], span["system"] = code, system
        if reference is not None:
            span["reference"] = reference
        if value is not None:
            span["value"] = value
        if unit is not None:
            span["unit"] = unit
        spans.append(span)
    return "".join(words), spans


def capital(parts: Parts) -> Parts:
    """The same parts, beginning with a capital."""
    for place, part in enumerate(parts):
        words = part if isinstance(part, str) else part.surface
        if not words:
            continue
        first = words.partition(" ")[0]
        if first != first.lower():  # eGFR, pH
            return parts
        head = words[0].upper() + words[1:]
        changed: Part = head if isinstance(part, str) else part._replace(surface=head)
        return [*parts[:place], changed, *parts[place + 1 :]]
    return parts


def enumerated(items: Sequence[Sequence[Part]], last: str = " and ") -> Parts:
    """a, b and c."""
    out: Parts = []
    for place, item in enumerate(items):
        if place:
            out.append(last if place == len(items) - 1 else ", ")
        out += item
    return out
