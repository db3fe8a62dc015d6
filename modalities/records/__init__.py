"""Records: the health record of the same patient as FHIR R4, stating the facts of the other modalities."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...core.errors import InputError
from ...core.modality import Conditioner, Record, TrainingSet, View
from ...core.profile import PatientProfile
from . import data, export, metrics, model

if TYPE_CHECKING:
    from ...core.train import Fit
    from ...core.weights import Weights


class Records:
    """The modality that comes last: rules turn a profile and the measured facts into FHIR resources."""

    name = "records"
    after: tuple[str, ...] = ("imaging", "signals", "omics")
    shared = True
    indication = "every patient has a health record"

    def indicated(self, profile: PatientProfile) -> bool:
        """True: whoever is in the cohort has a health record."""
        return True

    def generator(self, columns: Sequence[str]) -> model.RecordRules:
        """The rules; the code's columns are not used, the profile itself is."""
        return model.RecordRules()

    def weights(self) -> list[str]:
        """None: nothing is learnt."""
        return []

    def train(
        self,
        data: Sequence[TrainingSet],
        conditioner: Conditioner,
        config: Mapping[str, Any],
        fit: "Fit",
        init: "Weights | None",
    ) -> "Weights":
        """Raises InputError: the record is written by rules."""
        raise InputError(
            "records: the health record follows by rules from the profile and the others' facts, so "
            "there is nothing to train; train imaging, signals or omics"
        )

    def load(self, data: TrainingSet) -> list[Record]:
        """Raises InputError: real health records are not read."""
        raise InputError(
            f"records: real health records are not read, got {data.root}; the record is written by rules and "
            "has no real counterpart to compare with"
        )

    def export(
        self, records: Sequence[Record], profiles: Sequence[PatientProfile], folder: Path
    ) -> list[Path]:
        """One piece, fhir/<Resource>.ndjson below folder, of these patients in order."""
        return export.write_piece(records, folder)

    def assemble(self, pieces: Sequence[Path], folder: Path) -> list[Path]:
        """The pieces one after the other in fhir/<Resource>.ndjson below folder. Raises InputError."""
        return export.join(pieces, folder)

    def read(self, folder: Path, patient_ids: Sequence[str]) -> dict[str, Record]:
        """These patients' resources back from a cohort. Raises InputError for a file that is not NDJSON."""
        return data.read_records(folder, patient_ids)

    def views(self) -> list[View]:
        """None: the record has no real counterpart; metrics.check_references judges it instead."""
        return metrics.views()
