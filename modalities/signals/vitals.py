"""The vitals model: an autoregressive recurrent generator, learnt by likelihood, then against a critic."""

from collections.abc import Sequence
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from ...core.condition import FieldDropout
from ...core.config import Settings
from .data import GRID
from .export import CHANNELS

ORDER = tuple(CHANNELS.index(name) for name in ("HR", "SBP", "DBP", "MAP", "Resp", "O2Sat", "Temp"))
BINS = {name: round((high - low) / step) + 1 for name, (low, high, step, _) in GRID.items()}
MOST = max(BINS.values())


class VitalsModel(Settings):
    """Shape of the generator. The record's length is free; `hours` is what it is trained on."""

    hours: int = 24
    width: int = 160
    latent: int = 8


class VitalsTraining(Settings):
    """Likelihood first, then adversarial with the likelihood as an anchor."""

    likelihood_steps: int = 4000
    adversarial_steps: int = 500
    share: float = 0.7  # of the time, for the likelihood phase
    batch_size: int = 256
    learning_rate: float = 2e-3
    adversarial_rate: float = 5e-5
    critic_rate: float = 5e-4
    temperature: float = 0.7
    anchor: float = 20.0
    hide: float = 0.3


def to_bins(values: Tensor) -> tuple[Tensor, Tensor]:
    """(row, hour, channel) readings with NaN to bin numbers (0 where missing) and a presence mask."""
    present = values.isfinite()
    low, step = _grid(values)
    top = torch.tensor([BINS[c] - 1 for c in CHANNELS], device=values.device)
    bins = ((values.nan_to_num() - low) / step).round().long()
    return torch.minimum(bins.clamp(min=0), top) * present, present


def _grid(like: Tensor) -> tuple[Tensor, Tensor]:
    low = torch.tensor([GRID[c][0] for c in CHANNELS], dtype=like.dtype, device=like.device)
    step = torch.tensor([GRID[c][2] for c in CHANNELS], dtype=like.dtype, device=like.device)
    return low, step


def centred(bins: Tensor) -> Tensor:
    """(..., channel) bin numbers as numbers of about unit spread."""
    half = torch.tensor([BINS[c] / 2 for c in CHANNELS], device=bins.device)
    return (bins - half) / (half / 2)


class VitalsGenerator(nn.Module):
    """p(hour | hours before, condition), one channel after another: is it charted, and in which bin.

    What a channel's head sees: the recurrent state, the last charted values, and this hour's channels
    that come earlier in ORDER.
    """

    def __init__(self, columns: int, shape: VitalsModel) -> None:
        super().__init__()
        n, w = len(CHANNELS), shape.width
        self.start = nn.Linear(columns + shape.latent, w)
        self.step = nn.GRUCell(4 * n + columns + shape.latent + 2, w)
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Linear(w + 5 * n, w), nn.SiLU(), nn.Linear(w, 3 + BINS[CHANNELS[c]]))
            for c in ORDER
        )
        lines = [nn.Linear(w + 5 * n, 1) for _ in ORDER]
        for line, c in zip(lines, ORDER, strict=True):  # at first, expect the last reading again
            nn.init.zeros_(line.weight)
            nn.init.zeros_(line.bias)
            line.weight.data[0, w + c] = 0.8
        self.lines = nn.ModuleList(lines)
        self.shape = shape

    def begin(self, context: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """State, last charted values, hours since charted, whether ever charted: before the first hour."""
        rows, n = len(context), len(CHANNELS)
        zeros = context.new_zeros(rows, n)
        return torch.tanh(self.start(context)), zeros, zeros, zeros

    def advance(
        self,
        h: Tensor,
        last: Tensor,
        gap: Tensor,
        ever: Tensor,
        value: Tensor,
        mask: Tensor,
        context: Tensor,
        hour: int,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """State after an hour with these (row, channel) centred values and mask."""
        last = mask * value + (1 - mask) * last
        gap = (1 - mask) * (gap + 0.1)
        ever = torch.maximum(ever, mask)
        clock = torch.full((len(h), 2), float(hour), device=h.device) * torch.tensor(
            [1 / 24, 1 / 6], device=h.device
        )
        clock[:, 1] = clock[:, 1].clamp(max=1)
        h = self.step(torch.cat([mask, last, gap.clamp(max=1), ever, context, clock], dim=1), h)
        return h, last, gap, ever

    def logits(
        self, place: int, h: Tensor, last: Tensor, gap: Tensor, ever: Tensor, value: Tensor, mask: Tensor
    ) -> Tensor:
        """(row, 1 + bins) of the place-th channel in ORDER: log odds of being charted, then of each bin."""
        earlier = torch.zeros(len(CHANNELS), device=h.device)
        earlier[list(ORDER[:place])] = 1
        seen = torch.cat([h, last, gap.clamp(max=1), ever, value * mask * earlier, mask * earlier], dim=1)
        out = self.heads[place](seen)
        # bins are ordered: a bell around a line in what is seen, and the network's correction to each bin
        steps = out.shape[1] - 3
        ladder = (torch.arange(steps, device=h.device, dtype=out.dtype) - steps / 2) / (steps / 4)
        centre = self.lines[place](seen) + out[:, 1:2]
        width = functional.softplus(out[:, 2:3] - 1) + 0.02
        bell = -0.5 * ((ladder - centre) / width).square()
        return torch.cat([out[:, :1], bell + out[:, 3:]], dim=1)

    def log_likelihood(self, bins: Tensor, present: Tensor, context: Tensor, length: Tensor) -> Tensor:
        """(row,) mean over the charted hours of log p; hours past a stay's length do not count."""
        mask, value = present.to(context.dtype), centred(bins).to(context.dtype)
        state = self.begin(context)
        total = context.new_zeros(len(bins))
        for hour in range(bins.shape[1]):
            h, last, gap, ever = state
            inside = (hour < length).to(context.dtype)
            for place, c in enumerate(ORDER):
                out = self.logits(place, h, last, gap, ever, value[:, hour], mask[:, hour]).float()
                chart = -functional.binary_cross_entropy_with_logits(
                    out[:, 0], mask[:, hour, c].float(), reduction="none"
                )
                pick = -functional.cross_entropy(out[:, 1:], bins[:, hour, c], reduction="none")
                total = total + inside * (chart + mask[:, hour, c] * pick)
            state = self.advance(h, last, gap, ever, value[:, hour], mask[:, hour], context, hour)
        return total / length.clamp(min=1)

    def relaxed(self, context: Tensor, hours: int, temperature: float) -> tuple[Tensor, Tensor]:
        """Differentiable values and mask, (row, hour, channel): straight-through Gumbel softmax (Jang et al. 2017)."""
        state = self.begin(context)
        values, masks = [], []
        for hour in range(hours):
            h, last, gap, ever = state
            value, mask = (
                [context.new_zeros(len(context))] * len(CHANNELS),
                [context.new_zeros(len(context))] * len(CHANNELS),
            )
            for place, c in enumerate(ORDER):
                out = self.logits(
                    place, h, last, gap, ever, torch.stack(value, 1), torch.stack(mask, 1)
                ).float()
                odds = torch.stack([out[:, 0], torch.zeros_like(out[:, 0])], dim=1)
                mask[c] = functional.gumbel_softmax(odds, temperature, hard=True)[:, 0]
                pick = functional.gumbel_softmax(out[:, 1:], temperature, hard=True)
                ladder = torch.arange(pick.shape[1], device=pick.device, dtype=pick.dtype)
                half = BINS[CHANNELS[c]] / 2
                value[c] = ((pick * ladder).sum(1) - half) / (half / 2)
            values.append(torch.stack(value, 1))
            masks.append(torch.stack(mask, 1))
            state = self.advance(h, last, gap, ever, values[-1], masks[-1], context, hour)
        return torch.stack(values, 1), torch.stack(masks, 1)

    @torch.inference_mode()
    def draw(self, context: Tensor, hours: int, uniforms: Tensor) -> Tensor:
        """(row, hour, channel) bin numbers, -1 where not charted; uniforms (row, hour, channel, 2) decide."""
        state = self.begin(context)
        out = torch.empty(len(context), hours, len(CHANNELS))
        for hour in range(hours):
            h, last, gap, ever = state
            value, mask = torch.zeros(len(context), len(CHANNELS)), torch.zeros(len(context), len(CHANNELS))
            for place, c in enumerate(ORDER):
                logits = self.logits(place, h, last, gap, ever, value, mask).float()
                mask[:, c] = (uniforms[:, hour, c, 0] < logits[:, 0].sigmoid()).float()
                steps = logits[:, 1:].softmax(1).cumsum(1)
                bins = (uniforms[:, hour, c, 1:] > steps).sum(1).clamp(max=steps.shape[1] - 1)
                half = BINS[CHANNELS[c]] / 2
                value[:, c] = (bins - half) / (half / 2)
                out[:, hour, c] = torch.where(mask[:, c] > 0, bins.float(), -1.0)
            state = self.advance(h, last, gap, ever, value, mask, context, hour)
        return out


class VitalsCritic(nn.Module):
    """The discriminator: convolutions over the hours, and each stay's moments beside a batch's."""

    def __init__(self, columns: int, width: int = 96) -> None:
        super().__init__()
        n = len(CHANNELS)
        norm = nn.utils.parametrizations.spectral_norm
        self.body = nn.Sequential(
            norm(nn.Conv1d(4 * n + 2, width, 3, padding=1)), nn.LeakyReLU(0.2),
            norm(nn.Conv1d(width, width, 3, padding=1)), nn.LeakyReLU(0.2),
            norm(nn.Conv1d(width, width, 3, padding=2, dilation=2)), nn.LeakyReLU(0.2),
        )  # fmt: skip
        self.head = nn.Sequential(
            norm(nn.Linear(2 * width + 5 * n + columns, width)), nn.LeakyReLU(0.2), norm(nn.Linear(width, 1))
        )

    def forward(self, value: Tensor, mask: Tensor, condition: Tensor) -> Tensor:
        shown = value * mask
        step = functional.pad(shown.diff(dim=1) * mask[:, 1:] * mask[:, :-1], (0, 0, 1, 0))
        pressure = [CHANNELS.index(c) for c in ("SBP", "DBP", "MAP")]
        s, d, m = (shown[..., c] for c in pressure)
        both = mask[..., pressure].prod(-1)
        low = [GRID[CHANNELS[c]] for c in pressure]
        half = [BINS[CHANNELS[c]] / 2 for c in pressure]
        s, d, m = ((x * k / 2 + k) * g[2] + g[0] for x, k, g in zip((s, d, m), half, low, strict=True))
        pulse = torch.stack([both * (m - (s + 2 * d) / 3) / 5, both * (s - d) / 30], dim=-1)
        h = self.body(torch.cat([shown, mask, step, step.abs(), pulse], dim=-1).transpose(1, 2))
        charted = mask.sum(1).clamp(min=1)
        mean = shown.sum(1) / charted
        spread = ((shown - mean[:, None]).square() * mask).sum(1).div(charted).add(1e-4).sqrt()
        rough = step.square().sum(1).div(charted).add(1e-4).sqrt()
        high = (shown - 9 * (1 - mask)).amax(1).clamp(min=-3)
        moments = torch.cat([mean, spread, rough, high, mask.mean(1)], dim=1)
        return self.head(torch.cat([h.mean(-1), h.amax(-1), moments, condition], dim=1))[:, 0]


class VitalsGan(pl.LightningModule):
    """Batches are (bins, present, length, condition); see VitalsTraining for the two phases."""

    def __init__(self, columns: Sequence[str], shape: VitalsModel, training: VitalsTraining) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.shape, self.settings = shape, training
        self.generator = VitalsGenerator(len(columns), shape)
        self.critic = VitalsCritic(len(columns))
        self.hide = FieldDropout(columns, training.hide)
        self.adversarial = False

    def context(self, condition: Tensor) -> Tensor:
        """Condition and latent draws, (row, column + latent)."""
        return torch.cat(
            [condition, torch.randn(len(condition), self.shape.latent, device=condition.device)], dim=1
        )

    def training_step(self, batch: list[Tensor], batch_idx: int) -> None:
        bins, present, length, known = batch
        condition = self.hide(known.cpu()).to(known)
        generator, critic = self.optimizers()  # type: ignore[attr-defined]
        likelihood = self.generator.log_likelihood(
            bins.long(), present, self.context(condition), length
        ).mean()
        loss = -likelihood
        self.log("loss", loss.detach())
        if self.adversarial:
            full = length >= self.shape.hours
            value, mask = self.generator.relaxed(
                self.context(condition[full]), self.shape.hours, self.settings.temperature
            )
            shown, there = centred(bins[full]).float(), present[full].float()
            real = self.critic(shown, there, condition[full])
            fake = self.critic(value.detach(), mask.detach(), condition[full])
            verdict = functional.relu(1 - real).mean() + functional.relu(1 + fake).mean()
            critic.zero_grad()
            self.manual_backward(verdict)
            critic.step()
            self.log("critic", verdict.detach())
            loss = self.settings.anchor * loss - self.critic(value, mask, condition[full]).mean()
        generator.zero_grad()
        self.manual_backward(loss)
        nn.utils.clip_grad_norm_(self.generator.parameters(), 1.0)
        generator.step()

    def configure_optimizers(self) -> Any:
        s = self.settings
        rate = s.adversarial_rate if self.adversarial else s.learning_rate
        betas = (0.5, 0.99) if self.adversarial else (0.9, 0.99)
        return [
            torch.optim.AdamW(self.generator.parameters(), lr=rate, betas=betas),
            torch.optim.AdamW(self.critic.parameters(), lr=s.critic_rate, betas=(0.5, 0.99)),
        ]


def to_readings(bins: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """(hour, channel) bin numbers, -1 missing, to readings with NaN: lattice points of the bins, as charted."""
    out = np.full(bins.shape, np.nan, dtype=np.float32)
    for c, channel in enumerate(CHANNELS):
        low, high, step, finest = GRID[channel]
        spot = low + step * (bins[:, c] + rng.uniform(-0.5, 0.5, size=len(bins)))
        # one reading in fifteen is the mean of two, half a unit between
        lattice = np.where(rng.uniform(size=len(bins)) < 0.065, finest / 2, finest)
        reading = np.clip(np.rint(spot / lattice) * lattice, low, high)
        out[:, c] = np.where(bins[:, c] >= 0, reading, np.nan)
    return out
