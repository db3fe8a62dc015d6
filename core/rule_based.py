"""RuleBased: the half of the contract that modalities without weights share."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .errors import InputError
from .modality import Conditioner, Record, TrainingSet
from .profile import PatientProfile

if TYPE_CHECKING:
    from .training.fit import Fit
    from .training.weights import Weights


class RuleBased:
    """Every patient has a record, drawn by rules: nothing is learnt, and no real one is read."""

    name: str

    def indicated(self, profile: PatientProfile) -> bool:
        """True: whoever is in the cohort."""
        return True

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
        """Raises InputError."""
        raise InputError(f"{self.name}: drawn by rules, so there is nothing to train")

    def load(self, data: TrainingSet) -> list[Record]:
        """Raises InputError."""
        raise InputError(
            f"{self.name}: real {self.name} are not read, got {data.root}; drawn by rules, they have no real "
            "counterpart to learn from or to compare with"
        )
