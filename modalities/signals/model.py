"""A patient's signals: the two models that are trained apart and drawn together."""

from collections.abc import Sequence

from ...core.modality import Batch, Record
from ...core.training.weights import Weights
from .ecg.model import train_ecg
from .ecg.sampler import EcgSampler
from .vitals.model import VitalsSampler, train_vitals
from .vitals.trajectory import Trajectory

TRAINERS = {"ecg": train_ecg, "vitals": train_vitals}


class SignalsGenerator:
    """An ECG and a stay's vitals for each row."""

    def __init__(
        self, ecg: Weights, vitals: Weights, columns: Sequence[str], device: str | None = None,
        trajectory: Trajectory | None = None, seconds: float | None = None, paroxysmal: bool = False,
    ) -> None:  # fmt: skip
        self.ecg = EcgSampler(ecg, columns, device, seconds, paroxysmal)
        self.vitals = VitalsSampler(vitals, columns, trajectory)

    def sample(self, batch: Batch) -> list[Record]:
        """Row i from its own seed; facts: those of the ECG and of the stay."""
        return [
            Record({**ecg.arrays, **vitals.arrays}, {**ecg.facts, **vitals.facts})
            for ecg, vitals in zip(self.ecg.sample(batch), self.vitals.sample(batch), strict=True)
        ]
