"""notes_of(): the notes of one patient: reports of studies, and a summary of a visit section by section."""

from collections.abc import Callable, Iterator, Mapping
from typing import Literal

from ....core.modality import Facts
from ..data import NOTE_KINDS
from ..formats.fhir import Writer
from ..simulation.chart import INDEX, Visit
from ..studies import facts_of, keyed, tumour_place
from . import history, measured
from .course import course
from .episode import Episode
from .note_writer import NoteWriter
from .radiology import radiology
from .reports import ecg, genomics, pathology
from .text import Note, Parts


def notes_of(writer: Writer, facts: Mapping[str, Facts], seed: int) -> list[Note]:
    """A patient's notes: a report a study, a summary of every stay, a note of an index visit without a stay.

    They depend on the chart, the facts and the seed. Without age, sex or a calendar there are reports alone.
    """
    return sorted(_notes(writer, facts, seed), key=lambda note: NOTE_KINDS.index(note.kind))  # stable


def _notes(writer: Writer, facts: Mapping[str, Facts], seed: int) -> Iterator[Note]:
    profile, chart = writer.profile, writer.chart
    written = {
        resource["id"] for resource in writer.resources if resource["resourceType"] == "DiagnosticReport"
    }
    if None not in (profile.index_date, profile.age, profile.sex):
        for visit in chart.visits:
            if visit.is_stay or visit.key == INDEX:
                yield summary(writer, facts, visit, seed)
    for own in facts_of(facts, "imaging"):
        yield radiology(writer, own, seed)
    for own in facts_of(facts, "signals"):
        if f"{profile.patient_id}-{keyed('report-ecg', own)}" in written:
            yield ecg(writer, own, seed)
    for report in chart.reports:
        if report.kind == "pathology":
            yield pathology(writer, report, seed)
    for own in facts_of(facts, "omics"):
        if f"{profile.patient_id}-{keyed('report-tumour-expression', own)}" in written:
            yield genomics(writer, own, *tumour_place(chart), seed)


# The body of each section of configs/notes/summary.yaml; empty where there is nothing to say
SECTIONS: Mapping[str, Callable[[Episode], Parts]] = {
    "dates": history.dates,
    "presentation": history.presentation,
    "diagnoses": history.diagnoses,
    "history": history.history,
    "admission_drugs": history.admission_drugs,
    "examination": measured.examination,
    "labs": measured.labs,
    "studies": measured.studies,
    "course": lambda e: course(e.s, e.visit, e.reason, e.dead),
    "condition": measured.condition,
    "drugs": history.drugs,
    "followup": history.followup,
}


def summary(writer: Writer, facts: Mapping[str, Facts], visit: Visit, seed: int) -> Note:
    """The discharge summary of a stay, or the note of a visit. The patient has age, sex and a calendar."""
    kind: Literal["discharge-summary", "visit-note"] = "discharge-summary" if visit.is_stay else "visit-note"
    s = NoteWriter(writer, "summary", "medicine", f"{kind}-{visit.key}", seed)
    e = Episode(s, visit, facts if visit.key == INDEX else {})
    orders = s.book["orders/stay" if visit.is_stay else "orders/visit"]
    names = orders[s.author.habit(len(orders), "order")].text.split()
    title = s.usually("titles/visit" if not visit.is_stay else "titles/death" if e.dead else "titles/stay")
    parts = [p.upper() if isinstance(p, str) and s.author.heads == "UPPER" else p for p in title] + ["\n"]
    for name in names:
        if body := SECTIONS[name](e):
            key = f"headings/{name}"
            if not visit.is_stay and f"visit_{key}" in s.book:
                key = f"visit_{key}"
            head: Parts = [""] if name == "dates" else s.usually(key)
            parts += ["\n" if s.author.heads != "inline" else "", *s.author.headed(head, body)]
    key = f"{kind}-{visit.key}"
    return s.note(kind, ("DocumentReference", key), visit, writer.time(visit.end), parts)
