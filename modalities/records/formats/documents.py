"""Notes as FHIR: a DocumentReference for each summary, and the text of every note in the resource it belongs to."""

import base64
from collections.abc import Iterable, Sequence

from ....core.fields import LOINC
from ..data import DOCUMENTS, Resource
from ..notes.text import Note
from .elements import concept
from .fhir import Writer


def documents(writer: Writer, notes: Iterable[Note]) -> None:
    """A DocumentReference for each note that no DiagnosticReport carries; without its text."""
    visits = {f"{writer.profile.patient_id}-{visit.key}": visit for visit in writer.chart.visits}
    for note in notes:
        if note.kind not in DOCUMENTS:
            continue
        code, name, title = DOCUMENTS[note.kind]
        visit = visits[note.encounter.removeprefix("Encounter/")]
        period = {"start": writer.time(visit.start), "end": writer.time(visit.end)}
        writer.add(
            "DocumentReference",
            f"{note.kind}-{visit.key}",
            title,
            {
                "status": "current",
                "docStatus": "final",
                "type": concept(LOINC, code, name, name),
                "subject": writer.subject,
                "date": note.date,
                "author": [{"display": f"Invented author {note.author}"}],
                "description": title,
                "content": [{"attachment": {"title": f"{title} of a synthetic patient"}}],
                "context": {"encounter": [{"reference": note.encounter}], "period": period},
            },
        )


def attach(resources: list[Resource], notes: Sequence[Note]) -> list[Resource]:
    """The same resources, each note's text in the one that carries it."""
    waiting = {note.reference: note for note in notes}
    for resource in reversed(resources):  # those that carry notes come last
        if not waiting:
            break
        if (note := waiting.pop(f"{resource['resourceType']}/{resource['id']}", None)) is None:
            continue
        data = base64.b64encode(note.text.encode()).decode()
        text = {"contentType": "text/plain; charset=utf-8", "language": "en", "data": data}
        if note.kind in DOCUMENTS:
            (content,) = resource["content"]
            resource["content"] = [{"attachment": text | {"title": content["attachment"]["title"]}}]
        else:
            resource["presentedForm"] = [
                text | {"title": f"{resource['code']['text']} of a synthetic patient"}
            ]
    return resources
