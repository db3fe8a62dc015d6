"""Records: the health record of the same patient as FHIR R4, stating the facts of the other modalities."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field, field_validator

from ...core.assertions import Assertion
from ...core.config import Settings, parse
from ...core.contracts import PatientFormat
from ...core.modality import Record, View
from ...core.profile import PatientProfile
from ...core.registry import formats_of, load
from ...core.rule_based import RuleBased
from . import data, export, metrics, model
from .case import Case
from .notes.consistency import contradictions
from .rules import clinical
from .simulation.course import courses
from .timeline import timeline_of


class Options(Settings):
    """`corruption`: how many errors of entry, 0 (none) to 1. `formats`: what is written besides NDJSON and notes.
    `courses`: a folder of courses of disease that are added to ours, or replace those of the same file name."""

    renamed: ClassVar[Mapping[str, str]] = {"mess": "corruption"}
    corruption: float = Field(0.0, ge=0, le=1)
    courses: Path | None = None
    formats: list[str] = Field(default_factory=list)

    @field_validator("formats")
    @classmethod
    def _installed(cls, value: list[str]) -> list[str]:
        known = formats_of("records")
        if unknown := [name for name in value if name not in known]:
            raise ValueError(f"expected one of the installed formats {', '.join(known)}, got {unknown[0]}")
        return value


class Records(RuleBased):
    """The modality that comes last: the diseases' courses and the measured facts become FHIR resources."""

    name = "records"
    after: tuple[str, ...] = ("imaging", "signals", "omics", "genotypes", "wearable")
    shared = True
    indication = "every patient has a health record"

    def __init__(self, options: Mapping[str, Any] | None = None) -> None:
        """Raises InputError for an unknown option."""
        self.options = parse(Options, dict(options or {}), "records")

    def generator(self, columns: Sequence[str]) -> model.RecordRules:
        """The rules; the code's columns are not used, the profile itself is. Raises InputError for a course."""
        return model.RecordRules(courses(self.options.courses), self.options.corruption)

    def export(
        self, records: Sequence[Record], profiles: Sequence[PatientProfile], folder: Path
    ) -> list[Path]:
        """One piece below folder, of these patients in order: fhir/<Resource>.ndjson, notes/<kind>.jsonl, formats."""
        written = export.write_piece(records, folder)
        for made in self._formats():
            if isinstance(made, PatientFormat):
                written += made.write(records, profiles, folder)
        return written

    def assemble(self, pieces: Sequence[Path], folder: Path) -> list[Path]:
        """The pieces one after the other in the same files below folder, and the further formats.

        Raises InputError.
        """
        return export.join(pieces, folder, self._formats())

    def _formats(self) -> list[Any]:
        return [load("formats", f"{self.name}.{name}") for name in self.options.formats]

    def read(self, folder: Path, patient_ids: Sequence[str]) -> dict[str, Record]:
        """These patients' records back from a cohort. Raises InputError for a file that is not NDJSON."""
        delivered = data.read_patients(folder / data.FOLDER, patient_ids)
        notes = data.read_notes(folder / data.NOTES, patient_ids)
        true, true_notes = {}, {}
        if (folder / data.TRUTH).is_dir():
            true = data.read_patients(folder / data.TRUTH, patient_ids)
            true_notes = data.read_notes(folder / data.TRUE_NOTES, patient_ids)
        found: dict[str, Record] = {}
        for patient_id, resources in delivered.items():
            if resources:
                truth = true.get(patient_id, resources)
                facts = {"resources": resources, "timeline": timeline_of(truth), "notes": notes[patient_id]}
                if true:
                    facts |= {"truth": truth, "true_notes": true_notes[patient_id]}
                found[patient_id] = Record({}, facts)
        return found

    def assertions(self, folder: Path, patient_ids: Sequence[str]) -> dict[str, list[Assertion]]:
        """What the FHIR resources say; see core.capabilities.Asserting."""
        from .assertions import assertions

        return assertions(folder, patient_ids)

    def rule_names(self) -> dict[str, str]:
        """Every rule of breaches(), each with one plain sentence."""
        found = {name: (rule.__doc__ or "").strip().splitlines()[0] for name, rule in clinical.RULES.items()}
        return {**found, metrics.NOTES_RULE: "A note says nothing that the record does not."}

    def breaches(self, record: Record) -> list[tuple[str, str]]:
        """Rules that the record breaks, notes included; entry errors that were asked for are not among them."""
        facts = record.facts
        resources = facts.get("truth", facts["resources"])
        case = Case(resources)
        found = [(v.rule, f"{v.resource}: {v.says}") for v in clinical.check(resources)]
        for note in facts.get("true_notes", facts["notes"]):
            found += [(metrics.NOTES_RULE, says) for says in contradictions(note, case)]
        return found

    def views(self) -> list[View]:
        """None: the record has no real counterpart; clinical.check and metrics.check_references judge it."""
        return []
