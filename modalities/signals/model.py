"""A patient's signals: the two models that are trained apart and drawn together."""

from collections.abc import Sequence
from dataclasses import replace

from ...core.modality import Batch, Record
from ...core.training.weights import Weights
from .ecg.sampler import EcgSampler
from .vitals.sampler import VitalsSampler, levels_of
from .vitals.trajectory import Levels, Trajectory


class SignalsGenerator:
    """An ECG and a stay's vitals for each row; without weights of one, the other alone."""

    def __init__(
        self, ecg: Weights | None, vitals: Weights | None, columns: Sequence[str], device: str | None = None,
        trajectory: Trajectory | None = None, seconds: float | None = None, paroxysmal: bool = False,
        levels: Levels | None = None, refine: bool | None = None, critic: bool = True,
    ) -> None:  # fmt: skip
        self.ecg = None if ecg is None else EcgSampler(ecg, columns, device, seconds, paroxysmal, critic)
        self.vitals: VitalsSampler | None = None
        if vitals is not None:
            self.vitals = VitalsSampler(
                vitals, columns, trajectory, levels=levels or levels_of(vitals), refine=refine, critic=critic
            )

    def sample(self, batch: Batch) -> list[Record]:
        """Row i from its own seed; facts: those of the ECG and of the stay.

        Where the chart has levels of its own, the ECG has the chart's heart rate.
        """
        if self.vitals is None:
            return [] if self.ecg is None else self.ecg.sample(batch)
        charts = self.vitals.sample(batch)
        if self.ecg is None:
            return charts
        profiles = tuple(
            profile.but(
                measurements={**profile.measurements, "heart_rate": chart.facts["baseline"]["heart_rate"]}
            )
            if "heart_rate" in chart.facts.get("baseline", {})
            else profile
            for profile, chart in zip(batch.profiles, charts, strict=True)
        )
        return [
            Record({**ecg.arrays, **vitals.arrays}, {**ecg.facts, **vitals.facts})
            for ecg, vitals in zip(self.ecg.sample(replace(batch, profiles=profiles)), charts, strict=True)
        ]
