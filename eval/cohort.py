"""The cohort that is evaluated: what eval asks of one, and evenly spread patients of it for a quick look."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from ..core.cohort.damage import require_records
from ..core.modality import Modality
from ..core.pipeline import Patient
from ..core.profile import PatientProfile

CHUNK = 64  # patients whose files are read at a time


class CohortFiles(Protocol):
    """A cohort on disk whose files can be compared with each other. core.cohort.cohort.Cohort satisfies it."""

    @property
    def folder(self) -> Path:
        """Where its files are."""
        ...

    def profiles(self) -> Iterator[PatientProfile]:
        """Its table of patients."""
        ...


class CohortRecords(Protocol):
    """Patients and their records of one modality. core.cohort.cohort.Cohort satisfies it."""

    @property
    def patients(self) -> int:
        """How many there are."""
        ...

    def records(self, modality: Modality) -> Iterable[Patient]:
        """The patients who have a record of this modality, with that record."""
        ...


class EvaluatedCohort(CohortRecords, CohortFiles, Protocol):
    """A cohort on disk with files and records. core.cohort.cohort.Cohort satisfies it."""


class Subset:
    """Evenly spread patients of a cohort on disk, as a cohort."""

    def __init__(self, cohort: EvaluatedCohort, most: int) -> None:
        self.cohort, self.folder = cohort, Path(cohort.folder)
        everyone = [profile.patient_id for profile in cohort.profiles()]
        step = max(1, -(-len(everyone) // most))
        self._ids = everyone[::step]

    @property
    def patients(self) -> int:
        """How many are evaluated."""
        return len(self._ids)

    @property
    def manifest(self) -> Mapping[str, Any]:
        """The manifest of the whole cohort."""
        found: Mapping[str, Any] = getattr(self.cohort, "manifest", {})
        return found

    def profiles(self) -> Iterator[PatientProfile]:
        """Profiles of the subset, in the order of the cohort."""
        chosen = set(self._ids)
        return (profile for profile in self.cohort.profiles() if profile.patient_id in chosen)

    def records(self, modality: Modality) -> Iterator[Patient]:
        """Patients of the subset who have a record of this modality, with that record."""
        waiting = iter(self.profiles())
        while own := list(islice(waiting, CHUNK)):
            ids = [profile.patient_id for profile in own]
            found = modality.read(self.folder, ids)
            require_records(self.folder, self.manifest, modality.name, ids, found)
            for profile in own:
                if profile.patient_id in found:
                    yield Patient(profile, {modality.name: found[profile.patient_id]})
