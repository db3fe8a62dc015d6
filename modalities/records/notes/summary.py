"""Discharge summaries and visit notes: one visit told section by section, in the order of its author."""

from collections.abc import Callable, Mapping
from typing import Literal

from ....core.modality import Facts
from ..formats.fhir import Writer
from ..simulation.chart import INDEX, Visit
from . import history, measured
from .course import course
from .episode import Episode
from .note_writer import NoteWriter
from .text import Note, Parts

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
    names = orders[s.author.own(len(orders), "order")].text.split()
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
