"""Effort: how much of a cohort is looked at and how often a figure is drawn anew; all of it, or a quick look."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.profile import PatientProfile

if TYPE_CHECKING:
    from ..core.modality import Modality
    from ..core.pipeline import Patient
    from .report.report import JudgedWhole

CHUNK = 64  # patients whose files are read at a time


@dataclass(frozen=True)
class Effort:
    """patients: of the cohort that are looked at, all if None; real_patients: of a reference's split that are read.

    floors, bootstraps: draws of a figure.
    heavy: whether figures that take seconds each are measured; slow_draws: how often those are drawn anew.
    """

    name: str
    patients: int | None
    real_patients: int
    floors: int
    bootstraps: int
    slow_draws: int
    heavy: bool


FULL = Effort("full", None, 1000, 40, 60, 12, True)
QUICK = Effort("quick", 40, 200, 12, 12, 0, False)


class Some:
    """Evenly spread patients of a cohort on disk, as a cohort."""

    def __init__(self, cohort: "JudgedWhole", most: int) -> None:
        self.cohort, self.folder = cohort, Path(cohort.folder)
        everyone = [profile.patient_id for profile in cohort.profiles()]
        step = max(1, -(-len(everyone) // most))
        self._ids = everyone[::step]

    @property
    def patients(self) -> int:
        """How many are looked at."""
        return len(self._ids)

    @property
    def manifest(self) -> Mapping[str, Any]:
        """The whole cohort's."""
        found: Mapping[str, Any] = getattr(self.cohort, "manifest", {})
        return found

    def profiles(self) -> Iterator[PatientProfile]:
        """Theirs, in the order of the cohort."""
        chosen = set(self._ids)
        return (profile for profile in self.cohort.profiles() if profile.patient_id in chosen)

    def records(self, modality: "Modality") -> Iterable["Patient"]:
        """Those who have a record of this modality, with that record."""
        from ..core.pipeline import Patient

        waiting = iter(self.profiles())
        while own := list(islice(waiting, CHUNK)):
            found = modality.read(self.folder, [profile.patient_id for profile in own])
            for profile in own:
                if profile.patient_id in found:
                    yield Patient(profile, {modality.name: found[profile.patient_id]})
