"""Notes: free text of one patient's chart and measured facts, with a span for everything that it states."""

from collections.abc import Iterator, Mapping

from ....core.modality import Facts
from ..data import NOTE_KINDS
from ..formats.fhir import Writer
from ..simulation.chart import INDEX
from ..studies import tumour_place
from .radiology import radiology
from .reports import ecg, genomics, pathology
from .summary import summary
from .text import Note

__all__ = ["Note", "notes_of"]


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
    if "imaging" in facts:
        yield radiology(writer, facts["imaging"], seed)
    if f"{profile.patient_id}-report-ecg" in written:
        yield ecg(writer, facts["signals"], seed)
    for report in chart.reports:
        if report.kind == "pathology":
            yield pathology(writer, report, seed)
    if f"{profile.patient_id}-report-tumour-expression" in written:
        yield genomics(writer, facts["omics"], *tumour_place(chart), seed)
