"""The training images of all data sets in memory: pixels, whose they are, where they lie, for the card."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...core.modality import TrainingSet
from ...core.profile import PatientProfile
from ...core.training.weights import DataUsed
from ...core.types import FloatArray, IntArray
from .data import read_slices, to_unit


@dataclass(frozen=True)
class Images:
    """Training images as 8-bit (row, channel, y, x), whose they are, and which data set each is of."""

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
            tuple(profile for _, own, _ in read for profile in own),
            np.concatenate([places for _, _, places in read]),
            np.repeat(np.arange(len(read)), [len(own) for _, own, _ in read]),
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
