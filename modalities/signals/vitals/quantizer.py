"""Quantizer: the lattice of readings of each channel, and readings as tokens on it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ....core.types import BoolArray, Float32Array, FloatArray, IntArray
from ..channels import CHANNELS, PRESSURES, VITALS, Channel, places_of

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
FIRST = ("HR", "SBP", "DBP", "MAP", "Resp", "O2Sat", "Temp")  # in this order, before other channels
MOST_BINS = 256  # steps of the last decimal that a lattice has at most
ROOT_BINS = 160  # of a wider range, in even steps of the cube root
DEVIATIONS = 6.0  # that a public range is taken to be wide, where nothing else is known


@dataclass(frozen=True, eq=False)
class Lattice:
    """The lattices of some channels: (channel,) numbers each, in the channel's unit or, where `wide`, in its cube root.

    The cube root makes room for labs, which have most readings near the low end of their range. A step there holds
    several readings, of which one is drawn evenly.
    """

    channels: tuple[Channel, ...]
    low: FloatArray
    high: FloatArray
    step: FloatArray
    usual: FloatArray
    spread: FloatArray
    wide: BoolArray
    bins: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        bins = tuple(int(n) for n in np.rint((self.high - self.low) / self.step) + 1)
        object.__setattr__(self, "bins", bins)

    @classmethod
    def of(
        cls, channels: Sequence[Channel], scales: Sequence[tuple[float, float]] | None = None
    ) -> "Lattice":
        """Of channels with their public ranges; `scales` are usual value and spread of each, in lattice units."""
        rows, wide = [], []
        for place, channel in enumerate(channels):
            root = False
            if channel in VITALS:
                k = CHANNELS.index(channel.name)
                row = [float(part[k]) for part in (LOW, HIGH, STEP, USUAL, SPREAD)]
            else:
                grain = 10.0**-channel.decimals
                low, high, root = channel.low, channel.high, (channel.high - channel.low) / grain > MOST_BINS
                if root:
                    low, high = float(np.cbrt(low)), float(np.cbrt(high))
                    grain = (high - low) / ROOT_BINS
                row = [low, high, grain, (low + high) / 2, (high - low) / DEVIATIONS]
            if scales is not None:
                row[3:] = scales[place]
            rows.append(row)
            wide.append(root)
        low, high, step, usual, spread = np.array(rows).T
        return cls(tuple(channels), low, high, step, usual, spread, np.array(wide))

    @property
    def scales(self) -> list[tuple[float, float]]:
        """Usual value and spread of each channel, for the card."""
        return [(float(u), float(s)) for u, s in zip(self.usual, self.spread, strict=True)]

    @cached_property
    def count(self) -> int:
        """How many channels."""
        return len(self.channels)

    @cached_property
    def order(self) -> tuple[int, ...]:
        """The channels in the order in which an hour is drawn."""
        names = [channel.name for channel in self.channels]
        first = [names.index(name) for name in FIRST if name in names]
        return (*first, *(c for c in range(self.count) if c not in first))

    @cached_property
    def pressures(self) -> list[int] | None:
        """Places of systolic, mean and diastolic pressure; None unless all three are there."""
        return places_of(self.channels, PRESSURES)

    @cached_property
    def floor(self) -> FloatArray:
        """(channel,) lowest reading in the channel's unit."""
        return np.where(self.wide, self.low**3, self.low)

    @cached_property
    def ceiling(self) -> FloatArray:
        """(channel,) highest reading in the channel's unit."""
        return np.where(self.wide, self.high**3, self.high)

    @property
    def middle(self) -> FloatArray:
        """(channel,) usual reading in the channel's unit."""
        return np.where(self.wide, self.usual**3, self.usual)

    @cached_property
    def grain(self) -> FloatArray:
        """(channel,) step of readings in the channel's unit."""
        fine = 10.0 ** -np.array([channel.decimals for channel in self.channels], dtype=float)
        return np.where(self.wide, fine, self.step)

    @cached_property
    def digits(self) -> IntArray:
        """(channel,) decimals to which readings are rounded: one more than charted, for means of two."""
        return np.array([2 if c in VITALS else c.decimals + 1 for c in self.channels], dtype=np.int64)

    def inward(self, readings: NDArray[np.floating]) -> FloatArray:
        """(..., channel) readings in lattice units."""
        values = readings.astype(np.float64)
        return np.where(self.wide, np.cbrt(values), values) if self.wide.any() else values

    def outward(self, values: FloatArray) -> FloatArray:
        """Inverse of inward(), on the channel's own decimals where the lattice is wide."""
        if not self.wide.any():
            return values
        return np.where(self.wide, np.rint(values**3 / self.grain) * self.grain, values)

    def rounded(self, readings: FloatArray) -> Float32Array:
        """(..., channel) readings as they are written."""
        if (self.digits == 2).all():
            return np.round(readings, 2).astype(np.float32)
        scale = 10.0**self.digits
        return np.asarray(np.rint(readings * scale) / scale, dtype=np.float32)


SHIPPED = Lattice.of(VITALS)


@dataclass(frozen=True)
class Tokens:
    """Readings (..., hour, channel): number of the whole step below, half a step more or not, charted or not."""

    bins: "Tensor"  # int64, 0 where not charted
    half: "Tensor"  # bool
    present: "Tensor"  # bool
    lattice: Lattice = SHIPPED

    @classmethod
    def of(cls, readings: Float32Array, lattice: Lattice = SHIPPED) -> "Tokens":
        """Of readings with NaN; what lies outside a lattice takes its end."""
        import torch

        low, high, step = lattice.low, lattice.high, lattice.step
        present = np.isfinite(readings)
        inside = lattice.inward(np.where(present, readings, lattice.floor))
        held = np.clip(inside, low, high)
        halves = np.rint(2 * (held - low) / step).astype(np.int64)
        whole, half = np.divmod(halves, 2)
        if lattice.wide.any():  # a step holds several readings: no half-ways
            floor = np.floor((held - low) / step + 1e-6).astype(np.int64)
            whole = np.where(lattice.wide, np.minimum(floor, np.array(lattice.bins) - 1), whole)
            half = np.where(lattice.wide, 0, half)
        return cls(
            torch.from_numpy(whole), torch.from_numpy(half.astype(bool)), torch.from_numpy(present), lattice
        )

    def scaled(self) -> "Tensor":
        """Float32 readings of about unit spread, 0 where not charted."""
        return scaled(self.bins, self.half, self.lattice) * self.present

    def odd(self) -> "Tensor":
        """Whether a whole reading is odd: some units chart even numbers only."""
        return self.present & ~self.half & (self.bins % 2 == 1)


def scaled(bins: "Tensor", half: "Tensor", lattice: Lattice = SHIPPED) -> "Tensor":
    """(..., channel) steps to readings of about unit spread."""
    import torch

    offset = torch.from_numpy(((lattice.low - lattice.usual) / lattice.spread).astype(np.float32)).to(
        bins.device
    )
    unit = torch.from_numpy((lattice.step / lattice.spread).astype(np.float32)).to(bins.device)
    return (bins + 0.5 * half) * unit + offset


def to_readings(
    bins: NDArray[np.integer], half: BoolArray, present: BoolArray, lattice: Lattice = SHIPPED,
    within: NDArray[np.floating] | float = 0.5,
) -> Float32Array:  # fmt: skip
    """(..., channel) tokens to readings in the channels' units, NaN where not charted.

    `within` (..., channel), from 0 to 1, says which reading of a wide step it is.
    """
    values = lattice.low + lattice.step * (bins + 0.5 * half)
    if lattice.wide.any():
        values = np.where(lattice.wide, lattice.low + lattice.step * (bins + within), values)
    held = lattice.outward(np.minimum(values, lattice.high))
    return np.where(present, lattice.rounded(held), np.nan).astype(np.float32)
