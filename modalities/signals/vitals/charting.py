"""The chart before an hour, as the network sees it: last readings, levels, variability, how this unit charts."""

from typing import NamedTuple

import torch
from torch import Tensor

from .quantizer import SHIPPED, Lattice, Tokens

MEMORIES = (1 / 3, 1 / 8)  # weight of a new reading in the two running means
SEEN = 14  # features a channel
RESIDUAL = 4  # features of the mean pressure
CLOCK = 3
ONSET = 3  # of onset_features(): is an onset known, hours since it, has it come


def width(channels: int) -> int:
    """Features of a chart of so many channels, those of an onset with them."""
    return SEEN * channels + RESIDUAL + CLOCK + ONSET


def implied(systolic: Tensor, diastolic: Tensor, lattice: Lattice = SHIPPED) -> Tensor:
    """Mean pressure, (systolic + 2 diastolic) / 3, all scaled."""
    assert lattice.pressures is not None
    sbp, mean, dbp = lattice.pressures
    usual, spread = lattice.usual, lattice.spread
    s, d = (usual[c] + spread[c] * part for c, part in ((sbp, systolic), (dbp, diastolic)))
    return (s + 2 * d - 3 * usual[mean]) / (3 * spread[mean])


class Chart(NamedTuple):
    """What a nurse sees on the chart so far: all (row, channel), scaled readings."""

    last: Tensor
    gap: Tensor  # hours since charted, in tens
    ever: Tensor
    shown: Tensor  # how many readings
    total: Tensor
    squares: Tensor
    moves: Tensor  # sum of changes from reading to reading, without sign
    odd: Tensor  # was the last reading odd, was it half-way; and how many were
    half: Tensor
    odds: Tensor
    halves: Tensor
    short: Tensor  # running means
    long: Tensor
    residual: Tensor  # of the mean pressure, (row, 4): the last one, how many, their sum, and without sign

    @classmethod
    def empty(cls, like: Tensor, channels: int) -> "Chart":
        """Before the first hour, a row for each of `like`, on its device."""
        widths = {name: RESIDUAL if name == "residual" else channels for name in cls._fields}
        return cls(**{name: like.new_zeros(len(like), width) for name, width in widths.items()})

    def after(
        self, value: Tensor, mask: Tensor, odd: Tensor, half: Tensor, lattice: Lattice = SHIPPED
    ) -> "Chart":
        """With one more hour of (row, channel) readings."""
        hidden = 1 - mask
        known = self.ever
        short, long = (
            mask * torch.where(known > 0, old + k * (value - old), value) + hidden * old
            for k, old in zip(MEMORIES, (self.short, self.long), strict=True)
        )
        residual = self.residual
        if lattice.pressures is not None:
            sbp, mean, dbp = lattice.pressures
            both = mask[:, sbp] * mask[:, dbp] * mask[:, mean]
            off = both * (value[:, mean] - implied(value[:, sbp], value[:, dbp], lattice))
            last = torch.where(both > 0, off, self.residual[:, 0])
            residual = torch.cat(
                [last[:, None], self.residual[:, 1:] + torch.stack([both, off, off.abs()], dim=1)], dim=1
            )
        return Chart(
            short=short,
            long=long,
            residual=residual,
            last=mask * value + hidden * self.last,
            gap=hidden * (self.gap + 0.1),
            ever=torch.maximum(self.ever, mask),
            shown=self.shown + mask,
            total=self.total + mask * value,
            squares=self.squares + mask * value * value,
            moves=self.moves + mask * self.ever * (value - self.last).abs(),
            odd=mask * odd + hidden * self.odd,
            half=mask * half + hidden * self.half,
            odds=self.odds + mask * odd,
            halves=self.halves + mask * half,
        )

    def features(self, hour: int) -> Tensor:
        """(row, feature) before an hour: last readings, how stable they were, how this unit charts."""
        number = self.shown.clamp(min=1)
        mean = self.total / number
        spread = (self.squares / number - mean.square()).clamp(min=0).sqrt()
        last, count, total, size = self.residual.unbind(1)
        residual = torch.stack([last, (count > 0).float(), total, size], dim=1)
        residual[:, 2:] /= count.clamp(min=1)[:, None]
        clock = torch.tensor([min(hour, 24) / 24, min(hour, 6) / 6, float(hour == 0)]).to(self.last)
        return torch.cat(
            [
                self.last, self.ever * (self.gap == 0), self.gap.clamp(max=1), self.ever, self.odd, self.half,
                mean, spread, self.moves / (self.shown - 1).clamp(min=1), self.odds / number, self.halves / number,
                self.shown / max(hour, 1), self.short, self.long, residual, clock.expand(len(self.last), CLOCK),
            ],
            dim=1,
        )  # fmt: skip


@torch.no_grad()
def charts(tokens: Tokens) -> Tensor:
    """(row, hour, feature): what was on the chart before each hour."""
    value, mask = tokens.scaled(), tokens.present.float()
    odd, half = tokens.odd().float(), (tokens.half & tokens.present).float()
    chart, out = Chart.empty(value, value.shape[2]), []
    for hour in range(value.shape[1]):
        out.append(chart.features(hour))
        chart = chart.after(value[:, hour], mask[:, hour], odd[:, hour], half[:, hour], tokens.lattice)
    return torch.stack(out, dim=1)


def onset_features(onset: Tensor, hour: Tensor) -> Tensor:
    """(..., ONSET) of the hours of onset of sepsis (NaN: unknown, or none) at these hours; the two broadcast."""
    known = onset.isfinite().float() + 0 * hour
    since = (hour - onset.nan_to_num()) * known
    return torch.stack([known, (since / 12).clamp(-2, 2), known * (since >= 0)], dim=-1)
