"""What the notes of the index visit say of a patient, read from their words."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any

from ....core.assertions import (
    AGE,
    CHEST_FINDINGS,
    FINDINGS,
    RHYTHM,
    SEX,
    STUDY_DATE,
    SUBTYPE,
    VIEW,
    Assertion,
    findings,
    subject_of,
)  # fmt: skip
from ..codes import codes
from ..data import GENES, RHYTHMS, SUBTYPES
from ..simulation.chart import INDEX
from .reading import SEXES, read_date
from .text import Span

SOURCES = {
    "discharge-summary": "discharge summary", "visit-note": "visit note", "chest-xray": "text of the X-ray report",
    "imaging": "text of the imaging report",
    "ecg": "text of the ECG report", "tumour-expression": "text of the genomics report",
}  # fmt: skip


def noted(notes: Sequence[Mapping[str, Any]], patient_id: str) -> Iterator[Assertion]:
    """Assertions of these notes of one patient, as Note.to_dict gives them."""
    for note in notes:
        meta = note["meta"]
        source = SOURCES.get(meta["kind"])
        if source is None:
            continue
        if meta["encounter"] == f"Encounter/{patient_id}-{INDEX}" and meta["date"] is not None:
            yield from _who(note["spans"], source)
        if meta["kind"] == "chest-xray":
            yield from _image(note["spans"], source)
        elif meta["kind"] == "imaging":
            yield from _dated(note["spans"], source)
        elif meta["kind"] == "ecg":
            yield from _trace(note["spans"], source)
        elif meta["kind"] == "tumour-expression":
            key = str(meta["reference"]).removeprefix(
                f"DiagnosticReport/{patient_id}-report-tumour-expression"
            )
            yield from _tumour(note["spans"], source, key.removeprefix("-"))


def _labelled(spans: Sequence[Span], label: str) -> Iterator[Span]:
    return (span for span in spans if span["label"] == label)


def _who(spans: Sequence[Span], source: str) -> Iterator[Assertion]:
    for span in _labelled(spans, "AGE"):
        years = int(span["text"])
        yield Assertion(AGE, source, years - 0.1, years + 1.0)  # completed years, at a day of the visit
    for span in _labelled(spans, "SEX"):
        gender = SEXES.get(span["text"], SEXES.get(span["text"].lower()))
        if gender is not None:
            yield Assertion.of(SEX, source, {"female": "F", "male": "M"}[gender])


def _image(spans: Sequence[Span], source: str) -> Iterator[Assertion]:
    found = {span["code"] for span in _labelled(spans, "FINDING") if not span["negated"]}
    yield Assertion.of(FINDINGS, source, findings([code for code in CHEST_FINDINGS if code in found]))
    for span in _labelled(spans, "VIEW"):
        yield Assertion.of(VIEW, source, span["text"])
    yield from _dated(spans, source)


def _dated(spans: Sequence[Span], source: str) -> Iterator[Assertion]:
    for span in _labelled(spans, "DATE"):
        (day,) = read_date(span["text"], date.min)
        yield Assertion.of(STUDY_DATE, source, day)


def _trace(spans: Sequence[Span], source: str) -> Iterator[Assertion]:
    named, answers = codes().observations, codes().answers
    for span in _labelled(spans, "VALUE"):
        if span.get("code") == named["ecg_heart_rate"].code:
            yield Assertion.vital("heart_rate", source, float(span["text"]))
    rhythms = {answers[answer].code: rhythm for rhythm, answer in RHYTHMS.items()}
    for span in _labelled(spans, "FINDING"):
        if span.get("code") in rhythms and not span["negated"]:
            yield Assertion.of(RHYTHM, source, rhythms[span["code"]])


def _tumour(spans: Sequence[Span], source: str, label: str) -> Iterator[Assertion]:
    genes = {code: gene for gene, code in GENES.items()}
    labels = {label: subtype for subtype, label in SUBTYPES.items()}
    for span in _labelled(spans, "VALUE"):
        if span.get("code") in genes:
            gene = subject_of(f"{genes[span['code']]} expression", label)
            yield Assertion.of(gene, source, float(span["text"]), within=0.006)
        elif "code" not in span:
            subtype: str = span["text"]
            yield Assertion.of(subject_of(SUBTYPE, label), source, labels.get(subtype, subtype))
