"""Refiner: a generator that moves the readings of a drawn stay, by whole steps of the lattice; learnt against critics.

It starts at nothing: an untrained refiner returns the stay as the prior drew it. What is charted, and when a stay ends,
stays the prior's. A stay as a whole may become steadier or less so, its channels may go more together, its levels
and single hours may move; see refiner_training.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from ....core.condition import field_of
from ....core.config import Settings
from ....core.types import Float32Array
from .baseline_shift import coherent, even
from .critics import HourConvolution, mean_of
from .quantizer import SHIPPED, Lattice

FLOOR = 0.05  # spreads of a channel, added to a stay's own deviation
LEVEL = 0.3  # spreads of a channel that a unit of the level's output moves


class RefinerShape(Settings):
    """`latent` numbers are drawn for a stay, and one an hour and channel; `width` is that of the network."""

    latent: int = Field(default=16, ge=1, le=256)
    width: int = Field(default=64, ge=8, le=1024)


@dataclass(frozen=True)
class Charted:
    """Drawn or real stays as critics and refiner see them: (row, hour, channel) scaled readings, 0 where the mask is.

    `unit` (row, 1, channel) are the steps in which a stay's readings are charted, in spreads.
    """

    values: Tensor
    mask: Tensor
    unit: Tensor

    @classmethod
    def of(cls, readings: Float32Array, lattice: Lattice = SHIPPED) -> "Charted":
        """(row, hour, channel) readings, NaN where not charted."""
        mask = np.isfinite(readings)
        inside = lattice.inward(np.where(mask, readings, lattice.middle))
        values = (inside - lattice.usual) / lattice.spread * mask
        twos = np.stack([even(stay, lattice) for stay in readings])
        unit = lattice.step / lattice.spread * np.where(twos, 2, 1)
        parts = (values, mask, unit[:, None])
        return cls(*(torch.from_numpy(part.astype(np.float32)) for part in parts))


def outside_levels(columns: Sequence[str], lattice: Lattice) -> list[int]:
    """Columns that say nothing of the stay's own levels, which a real stay has exactly and a drawn one nearly."""
    levels = {channel.field for channel in lattice.channels if channel.field}
    return [i for i, column in enumerate(columns) if field_of(column) not in levels]


class Refiner(nn.Module):
    """Moves of readings, in spreads, from the stay, what is known of the patient, and noise."""

    def __init__(self, known: int, shape: RefinerShape, lattice: Lattice = SHIPPED, day: int = 24) -> None:
        super().__init__()
        self.shape, self.lattice, self.day = shape, lattice, day
        count, width = lattice.count, shape.width
        self.first = HourConvolution(5 * count + known + shape.latent, width, 2)
        self.others = nn.ModuleList(HourConvolution(width, width, 2, dilation) for dilation in (1, 2))
        self.hours = nn.Linear(width, count)
        stay = 2 * width + shape.latent + known + 4 * count
        self.stay = nn.Sequential(
            nn.Linear(stay, 2 * width), nn.SiLU(), nn.Linear(2 * width, 2 * width), nn.SiLU()
        )
        self.moves = nn.Linear(2 * width, 2 * count + count * count + width)
        for layer in (self.hours, self.moves):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, stay: Charted, known: Tensor, latent: Tensor, noise: Tensor) -> Tensor:
        """(row, hour, channel) moves; known (row, column), latent (row, latent), noise like the readings."""
        values, mask, count = stay.values, stay.mask, self.lattice.count
        mean = mean_of(values, mask)
        away = (values - mean[:, None]) * mask
        spread = torch.sqrt(mean_of(away.square(), mask) + 1e-4)
        z = (away / (spread + FLOOR)[:, None]).clamp(-4, 4)
        before = functional.pad(mask[:, :-1], (0, 0, 1, 0))
        both = torch.cat([known, latent], dim=1)
        seen = [values.clamp(-5, 5), z, mask, before, noise, both[:, None].expand(-1, values.shape[1], -1)]
        h = functional.silu(self.first(torch.cat(seen, dim=2)))
        for layer in self.others:
            h = h + functional.silu(layer(h))
        pooled = [h[:, : self.day].mean(1), h[:, : self.day].std(1, correction=0)]
        figures = [mean.clamp(-5, 5), spread, spread.log(), mask.mean(1)]
        said = self.moves(self.stay(torch.cat([*pooled, both, *figures], dim=1)))
        scale, level, mixed, gate = said.split([count, count, count * count, self.shape.width], dim=1)
        single = self.hours(h * (1 + gate)[:, None])
        others = z @ mixed.view(-1, count, count)
        moved = (scale[:, None] * z + others + single) * (spread + FLOOR)[:, None] + LEVEL * level[:, None]
        return moved.float() * mask


def moved(stay: Charted, by: Tensor, dither: Tensor, lattice: Lattice = SHIPPED) -> Charted:
    """The stay with its readings moved by whole units, within their range, pressures coherent.

    Gradients pass the rounding as if it were not there (straight-through). That is right on average by `dither`
    (row, 1, channel), evenly between -0.5 and 0.5 units, one for all hours of a stay: readings that are equal stay so.
    """
    steps = by / stay.unit + dither
    steps = steps + (steps.round() - steps).detach()
    low, high, usual, spread = (
        torch.from_numpy(part).float() for part in (lattice.low, lattice.high, lattice.usual, lattice.spread)
    )
    values = stay.values + steps * stay.unit
    values = torch.minimum(torch.maximum(values, (low - usual) / spread), (high - usual) / spread)
    if lattice.pressures is not None:
        s, m, d = lattice.pressures
        systolic, mean, diastolic = (values[..., c] * spread[c] + usual[c] for c in (s, m, d))
        there = stay.mask > 0
        diastolic = torch.where(there[..., s], torch.minimum(diastolic, systolic - 2), diastolic)
        mean = torch.where(there[..., s], torch.minimum(mean, systolic - 1), mean)
        mean = torch.where(there[..., d], torch.maximum(mean, diastolic + 1), mean)
        parts = list(values.unbind(-1))
        for c, part in ((m, mean), (d, diastolic)):
            parts[c] = (part - usual[c]) / spread[c]
        values = torch.stack(parts, dim=-1)
    return Charted(values * stay.mask, stay.mask, stay.unit)


@torch.inference_mode()
def refined(
    refiner: Refiner, readings: Float32Array, known: Float32Array, latent: Float32Array, noise: Float32Array,
    dither: Float32Array,
) -> Float32Array:  # fmt: skip
    """(row, hour, channel) readings as the refiner moves them; see Refiner and moved()."""
    lattice = refiner.lattice
    stay = Charted.of(readings, lattice)
    device = next(refiner.parameters()).device
    seen = Charted(*(part.to(device) for part in (stay.values, stay.mask, stay.unit)))
    by = refiner(seen, *(torch.from_numpy(part).to(device) for part in (known, latent, noise))).cpu()
    steps = (by / stay.unit + torch.from_numpy(dither)).round().numpy() * (
        stay.unit * torch.from_numpy(lattice.spread).float()
    ).numpy()
    inside = np.clip(lattice.inward(readings) + steps, lattice.low, lattice.high)
    out = lattice.rounded(np.where(steps != 0, lattice.outward(inside), readings))
    return np.stack([coherent(stay, lattice) for stay in out])
