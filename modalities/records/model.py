"""RecordRules: one patient's health record, from the profile, the courses of its diseases and the others' facts.

Facts of a record, plain JSON: `resources`, the FHIR R4 resources in the order of data.TYPES; `timeline`, the same
as a list of dated events (see timeline.py); `notes`, the texts with their spans (see notes/text.py). With corruption,
`resources` and `notes` are what is delivered, `truth` and `true_notes` what is true, and the timeline tells the truth.
"""

from collections.abc import Mapping, Sequence

from ...core.fields import Field
from ...core.modality import Batch, Facts, Record
from ...core.profile import PatientProfile
from .corruption import corrupted, corrupted_note
from .data import Resource
from .declared import declared
from .formats.documents import attach, documents
from .formats.fhir import Writer
from .notes import notes_of
from .notes.text import Note
from .simulation.course import Course
from .simulation.course_run import play
from .studies import ecg, image, pathology, tumour, tumour_place
from .timeline import timeline_of


class RecordRules:
    """The Generator of health records; a record depends on the profile, the row's seed and the facts alone.

    courses are the diseases' by name; corruption is the dial of errors.
    """

    def __init__(self, courses: Mapping[str, Course], corruption: float = 0.0) -> None:
        self.courses, self.corruption = courses, corruption

    def sample(self, batch: Batch) -> list[Record]:
        """One record a row: no arrays; facts as the module says. Raises InputError."""
        facts = batch.facts or ({},) * len(batch)
        return [
            self._record(profile, known, seed, batch.declared)
            for profile, known, seed in zip(batch.profiles, facts, batch.seeds, strict=True)
        ]

    def _record(
        self, profile: PatientProfile, facts: Mapping[str, Facts], seed: int, fields: Sequence[Field]
    ) -> Record:
        true, notes = self.draw(profile, facts, seed, fields)
        told = {"resources": true, "timeline": timeline_of(true), "notes": [note.to_dict() for note in notes]}
        if self.corruption > 0:
            delivered = [corrupted_note(note, self.corruption, seed) for note in notes]
            told |= {
                "resources": attach(corrupted(true, self.corruption, seed), delivered),
                "notes": [note.to_dict() for note in delivered],
                "truth": true,
                "true_notes": told["notes"],
            }
        return Record({}, told)

    def draw(
        self, profile: PatientProfile, facts: Mapping[str, Facts], seed: int, fields: Sequence[Field] = ()
    ) -> tuple[list[Resource], list[Note]]:
        """A patient's true resources, studies and reports only of the modalities in facts; and the notes."""
        writer = self._written(profile, facts, seed)
        notes = notes_of(writer, facts, seed)
        declared(writer, fields)
        documents(writer, notes)
        return attach(writer.in_order(), notes), notes

    def _written(self, profile: PatientProfile, facts: Mapping[str, Facts], seed: int) -> Writer:
        chart = play(self.courses, profile, facts, seed)
        writer = Writer(profile, chart)
        writer.write()
        if "imaging" in facts:
            image(writer, facts["imaging"])
        if "signals" in facts:
            ecg(writer, facts["signals"])
        for report in chart.reports:
            if report.kind == "pathology":
                pathology(writer, report)
        if "omics" in facts:
            tumour(writer, facts["omics"], *tumour_place(chart))
        return writer
