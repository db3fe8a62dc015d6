"""RecordRules: one patient's health record, from the profile, the courses of its diseases and the others' facts.

Facts of a record, plain JSON: `resources`, the FHIR R4 resources in the order of data.TYPES; `timeline`, the same
as a list of dated events (see timeline.py); `notes`, the texts with their spans (see notes/text.py). With corruption,
`resources` and `notes` are what is delivered, `truth` and `true_notes` what is true, and the timeline tells the truth.
"""

import base64
import gc
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from ...core.fields import LOINC, Field
from ...core.modality import Batch, Facts, Record
from ...core.profile import PatientProfile
from .corruption import corrupted, corrupted_note
from .data import DOCUMENTS, Resource, concept
from .declared import declared
from .formats.fhir import Writer
from .formats.fhir_chart import chart as chart_resources
from .genomics import genotypes
from .notes.patient_notes import notes_of
from .notes.text import Note
from .simulation.course import Course
from .simulation.course_run import play
from .studies import ecg, facts_of, image, pathology, tumour, tumour_place
from .timeline import timeline_of
from .us_core.complete import complete, provenance
from .us_core.hospital import HOSPITAL, reference

_CATEGORIES = "http://hl7.org/fhir/us/core/CodeSystem/us-core-documentreference-category"


class RecordRules:
    """The Generator of health records; a record depends on the profile, the row's seed and the facts alone.

    courses are the diseases' by name; corruption is the dial of errors.
    """

    def __init__(self, courses: Mapping[str, Course], corruption: float = 0.0) -> None:
        self.courses, self.corruption = courses, corruption

    def sample(self, batch: Batch) -> list[Record]:
        """One record a row: no arrays; facts as the module says. Raises InputError."""
        facts = batch.facts or ({},) * len(batch)
        with uncollected():
            return [
                self._record(profile, known, seed, batch.declared)
                for profile, known, seed in zip(batch.profiles, facts, batch.seeds, strict=True)
            ]

    def _record(
        self, profile: PatientProfile, facts: Mapping[str, Facts], seed: int, fields: Sequence[Field]
    ) -> Record:
        true, notes = self.draw(profile, facts, seed, fields)
        stated = {
            "resources": true,
            "timeline": timeline_of(true),
            "notes": [note.to_dict() for note in notes],
        }
        if self.corruption > 0:
            delivered = [corrupted_note(note, self.corruption, seed) for note in notes]
            stated |= {
                "resources": attach(corrupted(true, self.corruption, seed), delivered),
                "notes": [note.to_dict() for note in delivered],
                "truth": true,
                "true_notes": stated["notes"],
            }
        return Record({}, stated)

    def draw(
        self, profile: PatientProfile, facts: Mapping[str, Facts], seed: int, fields: Sequence[Field] = ()
    ) -> tuple[list[Resource], list[Note]]:
        """A patient's true resources, studies and reports only of the modalities in facts; and the notes."""
        writer = self._written(profile, facts, seed)
        declared(writer, fields)
        notes = notes_of(writer, facts, seed)
        documents(writer, notes)
        complete(writer, facts)
        provenance(writer)
        return attach(writer.in_order(), notes), notes

    def _written(self, profile: PatientProfile, facts: Mapping[str, Facts], seed: int) -> Writer:
        if levels := facts.get("signals", {}).get("baseline"):  # the chart has levels of its own
            profile = profile.but(measurements={k: v for k, v in levels.items() if v == v})
        chart = play(self.courses, profile, facts, seed)
        writer = Writer(profile, chart)
        chart_resources(writer)
        for own in facts_of(facts, "imaging"):
            image(writer, own)
        for own in facts_of(facts, "signals"):
            ecg(writer, own)
        for report in chart.reports:
            if report.kind == "pathology":
                pathology(writer, report)
        for own in facts_of(facts, "omics"):
            tumour(writer, own, *tumour_place(chart))
        if "genotypes" in facts:
            genotypes(writer, facts["genotypes"])
        return writer


@contextmanager
def uncollected() -> Iterator[None]:
    """The garbage collector waits: a record is thousands of dictionaries that live on, which it would walk again and
    again, a quarter of the time."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


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
                "category": [concept(_CATEGORIES, "clinical-note", "Clinical Note")],
                "subject": writer.subject,
                "date": note.date,
                "author": [{**writer.team.attending(visit), "display": f"Invented author {note.author}"}],
                "custodian": reference("Organization", HOSPITAL),
                "description": title,
                "content": [{"attachment": {"title": f"{title} of a synthetic patient"}}],
                "context": {"encounter": [{"reference": note.encounter}], "period": period},
            },
            ["documentreference"],
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
