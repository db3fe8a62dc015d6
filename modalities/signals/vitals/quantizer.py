"""Quantizer: the lattice of readings of each channel, and readings as tokens on it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ....core.types import BoolArray, Float32Array

if TYPE_CHECKING:
    from torch import Tensor


# Readings of a channel lie on whole steps from low to high, now and then half-way (the mean of two readings). low, high
# and step are public ranges of bedside monitors; usual and spread, textbook values of intensive care, only scale the
# inputs of the network.
LOW, HIGH, STEP, USUAL, SPREAD = np.array([
    [30, 200, 1.0, 85, 18],
    [60, 100, 1.0, 97, 3],
    [32, 42, 0.1, 37, 0.8],
    [50, 240, 1.0, 125, 25],
    [30, 170, 1.0, 86, 17],
    [20, 150, 1.0, 66, 14],
    [4, 50, 1.0, 18, 5],
]).T  # fmt: skip
BINS = tuple(int(bins) for bins in np.rint((HIGH - LOW) / STEP) + 1)


@dataclass(frozen=True)
class Tokens:
    """Readings (..., hour, channel): number of the whole step below, half a step more or not, charted or not."""

    bins: "Tensor"  # int64, 0 where not charted
    half: "Tensor"  # bool
    present: "Tensor"  # bool

    @classmethod
    def of(cls, readings: Float32Array) -> "Tokens":
        """Of readings with NaN; what lies outside a lattice takes its end."""
        import torch

        present = np.isfinite(readings)
        held = np.clip(np.where(present, readings, LOW), LOW, HIGH)
        halves = np.rint(2 * (held - LOW) / STEP).astype(np.int64)
        whole, half = np.divmod(halves, 2)
        return cls(torch.from_numpy(whole), torch.from_numpy(half.astype(bool)), torch.from_numpy(present))

    def scaled(self) -> "Tensor":
        """Float32 readings of about unit spread, 0 where not charted."""
        return scaled(self.bins, self.half) * self.present

    def odd(self) -> "Tensor":
        """Whether a whole reading is odd: some units chart even numbers only."""
        return self.present & ~self.half & (self.bins % 2 == 1)


def scaled(bins: "Tensor", half: "Tensor") -> "Tensor":
    """(..., channel) steps to readings of about unit spread."""
    import torch

    offset = torch.from_numpy(((LOW - USUAL) / SPREAD).astype(np.float32))
    unit = torch.from_numpy((STEP / SPREAD).astype(np.float32))
    return (bins + 0.5 * half) * unit + offset


def to_readings(bins: NDArray[np.integer], half: BoolArray, present: BoolArray) -> Float32Array:
    """(..., channel) tokens to readings in the channels' units, NaN where not charted."""
    values = LOW + STEP * (bins + 0.5 * half)
    return np.where(present, np.round(np.minimum(values, HIGH), 2), np.nan).astype(np.float32)
