"""Critics of charts: what they see of a chart of readings, by the stay and by the hour, and their networks."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from .quantizer import Lattice

LAGS = (1, 2, 3, 4, 6)  # steps of time
MOST_PAIRS = 66  # of channels, that correlations are taken of: those of the first dozen channels
ENOUGH = 6  # readings a correlation needs
SMALL = 1e-3  # added to a product of sums of squares
STEADY = 0.3  # of a step: two readings that lie closer count as the same one
BOUND = 4.0  # in standard deviations of draws, where a figure of the stay is bent


def mean_of(values: Tensor, mask: Tensor) -> Tensor:
    """(row, channel) mean of (row, hour, channel) where the mask is 1."""
    return (values * mask).sum(1) / mask.sum(1).clamp(min=1)


def correlation_of(a: Tensor, b: Tensor, mask: Tensor) -> Tensor:
    """(row, channel) Pearson correlation over hours where the mask is 1; 0 of too few."""
    x, y = (mask * (part - mean_of(part, mask)[:, None]) for part in (a, b))
    root = torch.sqrt((x * x).sum(1) * (y * y).sum(1) + SMALL)
    return (x * y).sum(1) / root * (mask.sum(1) >= ENOUGH)


def stay_figures(values: Tensor, mask: Tensor, lattice: Lattice) -> Tensor:
    """(row, figure) of scaled readings (row, hour, channel), 0 where the mask is: levels, spreads and so on.

    Readings of a channel count in the order in which they were charted; lags and correlations go by the hour.
    """
    hours = values.shape[1]
    count = mask.sum(1)
    order = torch.argsort(1 - mask, dim=1, stable=True)
    packed, place = torch.gather(values, 1, order), torch.arange(hours)[:, None]
    there = (place < count[:, None]).float()
    number = count.clamp(min=1)
    mean = mean_of(packed, there)
    away = (packed - mean[:, None]) * there
    spread = torch.sqrt(away.square().sum(1) / number + 1e-4)
    far = 1e3 * (1 - there)
    low, high = (packed + far).amin(1).clamp(max=20), (packed - far).amax(1).clamp(min=-20)
    last = torch.gather(packed, 1, (number - 1).long()[:, None])[:, 0]
    moves, steps = (packed[:, 1:] - packed[:, :-1]) * there[:, 1:], (count - 1).clamp(min=1)
    change, rough = torch.sqrt(moves.square() + 1e-6), torch.sqrt(moves.square().sum(1) / steps + 1e-4)
    same = (torch.exp(-(moves / near(lattice)).square()) * there[:, 1:]).sum(1) / steps
    third = (number / 3).floor().clamp(min=1)[:, None]
    late = (place >= count[:, None] - third) * there
    early = (place < third) * there
    between = (there - late - early).clamp(min=0)
    begins, ends = mean_of(packed, early), mean_of(packed, late)
    z = away / spread[:, None]
    quarter = max(1, hours // 4)
    blocks = []
    for part in (slice(start, start + quarter) for start in range(0, min(hours, 4 * quarter), quarter)):
        shown = mask[:, part]
        blocks.append((mean_of(values[:, part], shown) - mean) * (shown.sum(1) > 0))
    out = [
        mean, spread, spread.log(), low, high, last, packed[:, 0], change.sum(1) / steps, rough, same,
        ends - begins, mean_of(packed, between) - (begins + ends) / 2, z.pow(3).sum(1) / number,
        (z.pow(4).sum(1) / number).clamp(max=12), count / hours, *blocks,
        correlation_of(packed[:, 1:], packed[:, :-1], there[:, 1:]),
    ]  # fmt: skip
    out += [
        correlation_of(values[:, lag:], values[:, :-lag], mask[:, lag:] * mask[:, :-lag])
        for lag in LAGS
        if lag < hours - ENOUGH
    ]
    first, second = torch.tril_indices(lattice.count, lattice.count, -1)[:, :MOST_PAIRS]
    if len(first):
        both = mask[..., first] * mask[..., second]
        a, b = values[..., first], values[..., second]
        out.append(correlation_of(a, b, both))
        joint = both[:, 1:] * both[:, :-1]
        out.append(correlation_of(a[:, 1:] - a[:, :-1], b[:, 1:] - b[:, :-1], joint))
    if lattice.pressures is not None:
        residual, known = pressure_residual(values, mask, lattice)
        level = mean_of(residual, known)
        out += [level, torch.sqrt(mean_of((residual - level[:, None]).square(), known) + 1e-4)]
    return torch.cat(out, dim=1)


def near(lattice: Lattice) -> Tensor:
    """(channel,) scaled distance up to which two readings count as the same one."""
    return torch.from_numpy(STEADY * lattice.step / lattice.spread).float()


def pressure_residual(values: Tensor, mask: Tensor, lattice: Lattice) -> tuple[Tensor, Tensor]:
    """(row, hour, 1) mean pressure less (systolic + 2 diastolic) / 3, scaled, and where all three are charted."""
    assert lattice.pressures is not None
    usual, spread = (torch.from_numpy(part).float() for part in (lattice.usual, lattice.spread))
    s, m, d = (values[..., [c]] * spread[c] + usual[c] for c in lattice.pressures)
    known = mask[..., lattice.pressures].prod(-1, keepdim=True)
    return (m - (s + 2 * d) / 3) / (spread[lattice.pressures[1]] / 3) * known, known


def hour_view(values: Tensor, mask: Tensor, known: Tensor, lattice: Lattice) -> Tensor:
    """(row, hour, input): readings, their distance from the stay's mean, charted, changed, the same again, profile."""
    away = (values - mean_of(values, mask)[:, None]) * mask
    both = functional.pad(mask[:, 1:] * mask[:, :-1], (0, 0, 1, 0))
    moves = functional.pad(values[:, 1:] - values[:, :-1], (0, 0, 1, 0)) * both
    same = torch.exp(-(moves / near(lattice)).square()) * both
    out = [values.clamp(-5, 5), (2 * away).clamp(-6, 6), mask, (2 * moves).clamp(-8, 8), same]
    if lattice.pressures is not None:
        out.append(pressure_residual(values, mask, lattice)[0].clamp(-4, 4))
    return torch.cat([*out, known[:, None].expand(-1, values.shape[1], -1)], dim=-1)


class HourConvolution(nn.Module):
    """A convolution over hours, (row, hour, channel), zeros beyond either end; one matrix product."""

    def __init__(self, inputs: int, outputs: int, reach: int, dilation: int = 1) -> None:
        super().__init__()
        self.reach, self.dilation = reach, dilation
        self.weights = nn.Linear(inputs * (2 * reach + 1), outputs)

    def forward(self, x: Tensor) -> Tensor:
        side, hours = self.reach * self.dilation, x.shape[1]
        wide = functional.pad(x, (0, 0, side, side))
        parts = [wide[:, k * self.dilation : k * self.dilation + hours] for k in range(2 * self.reach + 1)]
        out: Tensor = self.weights(torch.cat(parts, dim=2))
        return out


class StayCritic(nn.Module):
    """Scores (row,) of a stay's figures and its profile."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(inputs, width), nn.LeakyReLU(0.2), nn.Linear(width, width), nn.LeakyReLU(0.2),
            nn.Linear(width, 1), nn.Flatten(0),
        )  # fmt: skip

    def forward(self, view: Tensor) -> Tensor:
        out: Tensor = self.layers(view)
        return out


class HourCritic(nn.Module):
    """Scores (row,) of hour_view(), by convolutions that see fifteen hours, pooled."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.first = HourConvolution(inputs, width, 1)
        self.others = nn.ModuleList(HourConvolution(width, width, 1, dilation) for dilation in (2, 4))
        self.last = nn.Sequential(
            nn.Linear(2 * width, width), nn.LeakyReLU(0.2), nn.Linear(width, 1), nn.Flatten(0)
        )

    def forward(self, view: Tensor) -> Tensor:
        h = functional.leaky_relu(self.first(view), 0.2)
        for layer in self.others:
            h = h + functional.leaky_relu(layer(h), 0.2)
        out: Tensor = self.last(torch.cat([h.mean(1), torch.sqrt(h.square().mean(1) + 1e-4)], dim=1))
        return out
