"""Episode: one visit as its note wants to see it: what was known before, read first, put on record, still running."""

from collections.abc import Mapping
from functools import cached_property

from ....core.modality import Facts
from ..data import DECLARED, Resource
from ..simulation.chart import Order, Problem, Reading, Visit
from .course import SIGNS
from .note_writer import NoteWriter

# Not carried on from one visit to the next: signs, and what is over within weeks
_PASSING = {
    "abnormal_ecg", "tachycardia", "bradycardia", "lung_opacity", "pleural_effusion", "atelectasis", "pulmonary_edema",
    "pneumothorax",
}  # fmt: skip


class Episode:
    """A visit, the writer of its note `s`, and the facts of the studies made at it."""

    def __init__(self, writer: NoteWriter, visit: Visit, facts: Mapping[str, Facts]) -> None:
        self.s, self.visit, self.facts, self.chart = writer, visit, facts, writer.chart
        self.reference = writer.reference("Encounter", visit.key)
        self.dead = self.chart.death is not None and visit.end >= self.chart.death
        self.reason = visit.reason if visit.reason in self.chart.present(visit.end) else None

    @cached_property
    def readings(self) -> list[Reading]:
        """Of this visit, in order of time."""
        return sorted((r for r in self.chart.readings if r.visit is self.visit), key=lambda r: r.at)

    @cached_property
    def early(self) -> dict[str, Reading]:
        """First readings of the first day, by name."""
        found: dict[str, Reading] = {}
        for reading in self.readings:
            if reading.at < self.visit.start + 0.5:
                found.setdefault(reading.name, reading)
        return found

    @cached_property
    def old(self) -> list[Problem]:
        """On record before, and not over; first the longest known."""
        start = self.visit.start
        known = [
            p
            for p in self.chart.problems.values()
            if p.recorded < start and (p.end is None or p.end > start) and p.name not in _PASSING
        ]
        return sorted(known, key=lambda p: p.onset)

    @cached_property
    def declared(self) -> list[Resource]:
        """Conditions of declared fields, which are on record from the index visit on."""
        if self.visit.start < self.chart.index_visit.start:
            return []
        start = f"{self.s.profile.patient_id}-{DECLARED}"
        return [
            resource
            for resource in self.s.writer.resources
            if resource["resourceType"] == "Condition" and resource["id"].startswith(start)
        ]

    @cached_property
    def new(self) -> list[Problem]:
        """Put on record at this visit."""
        return [p for p in self.chart.problems.values() if p.visit is self.visit and p.name not in SIGNS]

    def running(self, at: float) -> list[Order]:
        """Orders that go on after a moment."""
        return [o for o in self.chart.orders if o.start <= at and (o.end is None or o.end > at)]
