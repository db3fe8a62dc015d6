"""The training images of all data sets in memory, and the card of a public network that learnt from them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...core.config import Settings
from ...core.modality import TrainingSet
from ...core.profile import PatientProfile
from ...core.training.fit import Outcome
from ...core.training.weights import Card, DataUsed, Weights, figures
from ...core.types import FloatArray, IntArray
from .data import read_slices, to_unit


@dataclass(frozen=True)
class Images:
    """Training images as 8-bit (row, channel, y, x), their profiles, and which data set each is of."""

    pixels: Tensor
    profiles: tuple[PatientProfile, ...]
    places: FloatArray  # in its stack, NaN where it lies in none
    origin: IntArray
    parts: tuple[TrainingSet, ...]

    @classmethod
    def read(cls, data: Sequence[TrainingSet], size: int, channels: int) -> "Images":
        """All rows of all sets. Raises InputError."""
        read = [read_slices(part, size, channels) for part in data]
        return cls(
            torch.from_numpy(np.concatenate([to_unit(pixels) for pixels, _, _ in read])),
            tuple(profile for _, profiles, _ in read for profile in profiles),
            np.concatenate([places for _, _, places in read]),
            np.repeat(np.arange(len(read)), [len(profiles) for _, profiles, _ in read]),
            tuple(data),
        )

    @property
    def patients(self) -> list[str]:
        """Of each row."""
        return [profile.patient_id for profile in self.profiles]

    def used(self, spent: str) -> list[DataUsed]:
        """For the card."""
        return [
            DataUsed(
                **vars(part.source),
                rows=int(np.count_nonzero(self.origin == i)),
                patients=len({p for p, o in zip(self.patients, self.origin, strict=True) if o == i})
                if part.records
                else None,
                privacy=spent,
            )
            for i, part in enumerate(self.parts)
        ]

    def public_weights(
        self, name: str, kind: str, net: torch.nn.Module, shape: Settings, outcome: Outcome
    ) -> Weights:
        """Weights of a network that learnt from these images publicly."""
        card = Card(
            name=name, modality="imaging", kind=kind, data=self.used("public"), privacy="public",
            steps=outcome.steps, planned_steps=outcome.planned, seconds=round(outcome.seconds), columns=[],
            model=shape.model_dump(),
            figures=figures(training_loss=outcome.loss),
        )  # fmt: skip
        tensors = {k: v.half() if v.is_floating_point() else v for k, v in net.state_dict().items()}
        return Weights(tensors, card)
