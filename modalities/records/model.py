"""RecordRules: one patient's health record, from the profile, the courses of its diseases and the others' facts.

Facts of a record, plain JSON: `resources`, the FHIR R4 resources in the order of data.TYPES; `story`, the same
as a list of dated events (see story.py), from which notes are rendered; with mess, `resources` are what is
delivered and `truth` what is true, and the story tells the truth.
"""

from collections.abc import Mapping

from ...core.modality import Batch, Facts, Record
from ...core.profile import PatientProfile
from .chart import INDEX_STARTS
from .course import shipped
from .data import Resource
from .fhir import Writer
from .journey import play
from .mess import messy
from .story import story_of
from .studies import ecg, image, pathology, tumour


class RecordRules:
    """The Generator of health records; a record depends on the profile, the row's seed and the facts alone."""

    def __init__(self, mess: float = 0.0) -> None:
        self.mess = mess
        self.courses = shipped()

    def sample(self, batch: Batch) -> list[Record]:
        """One record a row: no arrays; facts as the module says. Raises InputError."""
        facts = batch.facts or ({},) * len(batch)
        return [
            self._record(profile, known, seed)
            for profile, known, seed in zip(batch.profiles, facts, batch.seeds, strict=True)
        ]

    def _record(self, profile: PatientProfile, facts: Mapping[str, Facts], seed: int) -> Record:
        resources = self.resources(profile, facts, seed)
        told = {"resources": resources, "story": story_of(resources)}
        if self.mess > 0:
            told |= {"resources": messy(resources, self.mess, seed), "truth": resources}
        return Record({}, told)

    def resources(self, profile: PatientProfile, facts: Mapping[str, Facts], seed: int) -> list[Resource]:
        """A patient's true resources; studies and reports only of the modalities that are in facts."""
        chart = play(self.courses, profile, facts, seed)
        writer = Writer(profile, chart)
        writer.write()
        if "imaging" in facts:
            image(writer, facts["imaging"])
        if "signals" in facts:
            ecg(writer, facts["signals"])
        expression = None
        for report in chart.reports:
            if report.kind == "pathology":
                pathology(writer, report)
            else:
                expression = report
        if "omics" in facts:
            at, visit = (
                (INDEX_STARTS + 0.1, chart.index_visit)
                if expression is None
                else (expression.at, expression.visit)
            )
            tumour(writer, facts["omics"], at, visit)
        return writer.in_order()
