"""A patient's signals: the two models that are trained apart and drawn together."""

from collections.abc import Sequence

from ...core.modality import Batch, Record
from ...core.weights import Weights
from .ecg_model import EcgSampler, train_ecg
from .vitals_model import VitalsSampler, train_vitals

TRAINERS = {"ecg": train_ecg, "vitals": train_vitals}


class SignalsGenerator:
    """An ECG and a stay's vitals for each row."""

    def __init__(
        self, ecg: Weights, vitals: Weights, columns: Sequence[str], recorder: str | None = None
    ) -> None:
        self.ecg, self.vitals = EcgSampler(ecg, columns, recorder), VitalsSampler(vitals, columns)

    def sample(self, batch: Batch) -> list[Record]:
        """Row i from its own seed; facts: heart_rate and rhythm of the trace, beats, kinds, waves, hours of vitals."""
        return [
            Record({**ecg.arrays, **vitals.arrays}, {**ecg.facts, **vitals.facts})
            for ecg, vitals in zip(self.ecg.sample(batch), self.vitals.sample(batch), strict=True)
        ]
