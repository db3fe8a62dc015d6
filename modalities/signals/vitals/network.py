"""The vitals network: p(this hour | hours before, patient), one channel after another, by recurrence."""

from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from ....core.config import Settings
from ....core.dp.recurrence import Recurrence
from ..channels import CHANNELS, VITALS, Channel
from .charting import Chart, implied, onset_features, width
from .quantizer import SHIPPED, Lattice, Tokens, scaled

NEAR = 4  # steps around the last reading that have odds of their own
EASED = 2 + 4 + 2 * NEAR + 1  # what a head says besides the odds of each step
DRAWS = 4  # uniform numbers a reading: charted, half-way, step, and (of the first channel) the stay's end
TRENDS = 2  # of a day, a channel: a line and a parabola
EARLIER = 5
# Of a channel's first reading, which nothing holds yet, this share at either end is not drawn. Real saturations
# do begin as far out.
FAR = tuple(0.0 if name == "O2Sat" else 0.005 for name in CHANNELS)


class NetworkShape(Settings):
    """Shape of the network. The record's length is free; `hours` is how many steps of time it is trained on."""

    hours: int = Field(default=24, ge=1, le=10_000)
    width: int = 160
    head: int = 96
    embed: int = 32
    dropout: float = 0.15


class VitalsModel(NetworkShape):
    """What a card says of the network and of the stays it was trained on; the defaults are the shipped weights'.

    `channels` are those of the chart, with `scales`, usual value and spread of each as the network sees them; empty for
    the seven vital signs. `shortest` is the number of steps below which no stay ends, `first_onset` the earliest hour
    of onset of sepsis that was trained on. `known` is how often each set of baselines (fields joined by +) is known
    where the chart says them; empty where drawn profiles know all of them.
    """

    channels: list[dict[str, Any]] = Field(default_factory=list)
    scales: list[tuple[float, float]] = Field(default_factory=list)
    step_hours: float = 1.0
    shortest: int = 8
    first_onset: float | None = 7.0
    known: dict[str, float] = Field(default_factory=dict)
    refiner: dict[str, int] | None = None  # shape of the refiner, where there is one; see refiner.py
    refiner_known: bool = True  # whether it knows who the patient is; one that learnt under a budget does not
    refines: bool = True  # whether it draws where signals.refine does not say
    variants: int = Field(default=0, ge=0, le=64)  # of each draw, among which a choosing critic chooses too

    @property
    def lattice(self) -> Lattice:
        """Of its channels."""
        if not self.channels:
            return SHIPPED
        return Lattice.of([Channel(**channel) for channel in self.channels], self.scales or None)


def _exact(like: Tensor) -> torch.autocast:
    """No reduced precision: where bells stand must not be rounded."""
    return torch.autocast(like.device.type, enabled=False)


def heavy_bell(ladder: Tensor, centre: Tensor, sharp: Tensor, tail: Tensor) -> Tensor:
    """(..., step) log density, up to a constant, of Student's t around centre (..., 1) on a ladder."""
    squares = ((ladder - centre) * functional.softplus(sharp + 1.5)).square()
    return -(functional.softplus(tail + 1.0) + 0.6) * torch.log1p(squares)


class VitalsNet(nn.Module):
    """Whether the stay goes on, and for each channel: is it charted, half-way or whole, and on which step."""

    parity: Tensor
    around: Tensor
    before: Tensor  # (place, channel) 1 for channels that are drawn earlier in an hour
    charting: Tensor  # (channel,) added to the log odds of being charted; see moment_matching
    drift: Tensor  # (trend, trend) root of the covariance of what is added to drawn stays

    def __init__(self, columns: int, shape: VitalsModel) -> None:
        super().__init__()
        known = columns + shape.embed
        self.shape, self.lattice = shape, shape.lattice
        lattice, count, order = self.lattice, self.lattice.count, self.lattice.order
        table = width(count)
        self.context = nn.Sequential(
            nn.Linear(columns, 2 * shape.embed), nn.SiLU(), nn.Linear(2 * shape.embed, shape.embed), nn.Tanh()
        )
        self.drop = nn.Dropout(shape.dropout)
        self.gates = nn.Linear(table, 3 * shape.width)
        self.memory = Recurrence(shape.width)
        self.base = nn.Linear(shape.width + table, count * shape.head + 1)
        self.lines = nn.Linear(shape.width + table, count + 1)  # the last: of the mean pressure's residual
        self.tilt = nn.Linear(known, 3 * shape.width + count * shape.head + 1, bias=False)
        self.tops = nn.Linear(known, count + 1, bias=False)
        self.earlier = nn.ModuleList(nn.Linear(EARLIER * count, shape.head, bias=False) for _ in order)
        self.bends = nn.ModuleList(nn.Linear(EARLIER * count, 1, bias=False) for _ in order)
        self.outs = nn.ModuleList(nn.Linear(shape.head, EASED + lattice.bins[c]) for c in order)
        for layer in (self.lines, self.tops, *self.bends):
            nn.init.zeros_(layer.weight)
        for out in self.outs:
            nn.init.normal_(out.weight, std=0.02)  # type: ignore[arg-type]
        # at first, expect the last reading again, and a little of the mean so far
        for place, c in enumerate(order):
            self.lines.weight.data[place, shape.width + c] = 0.6  # last readings come first in the table,
            self.lines.weight.data[place, shape.width + 6 * count + c] = 0.3  # means so far in seventh place
        for c in range(count):
            ladder = scaled(torch.arange(lattice.bins[c])[:, None], torch.zeros(1), lattice)[:, c]
            self.register_buffer(f"ladder{c}", ladder, persistent=False)
        self.register_buffer("parity", torch.arange(max(lattice.bins)).remainder(2).float(), persistent=False)
        self.register_buffer("charting", torch.zeros(count))
        self.register_buffer("drift", torch.zeros(TRENDS * count, TRENDS * count))
        before = torch.zeros(count, count)
        for place in range(count):
            before[place, list(order[:place])] = 1
        self.register_buffer("before", before, persistent=False)
        self.register_buffer("around", torch.arange(-NEAR, NEAR + 1), persistent=False)

    def known(self, code: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What the condition (row, column) adds to gates, heads and lines at every hour."""
        known = torch.cat([code, self.context(code)], dim=1)
        gates, base = self.tilt(known).split(
            [3 * self.shape.width, self.lattice.count * self.shape.head + 1], dim=1
        )
        with _exact(code):
            return gates, base, self.tops(known.float())

    def parts(self, inputs: Tensor, base: Tensor, level: Tensor) -> tuple[list[Tensor], Tensor, Tensor]:
        """What state and chart say to each head in turn, to the end of the stay, and where they put each bell."""
        *bases, stay = (self.base(inputs) + base).split([*[self.shape.head] * self.lattice.count, 1], dim=-1)
        with _exact(inputs):
            return bases, stay[..., 0].float(), self.lines(inputs) + level

    def seen(
        self, value: Tensor, last: Tensor, mask: Tensor, odd: Tensor, half: Tensor, place: int
    ) -> Tensor:
        """(..., EARLIER * channel) of this hour's channels that are drawn earlier."""
        shown = mask * self.before[place]
        return torch.cat([value * shown, (value - last) * shown, shown, odd * shown, half * shown], dim=-1)

    def head(
        self, place: int, base: Tensor, line: Tensor, seen: Tensor, last: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Log odds (..., 2) of charted and of half-way, and (..., bins) logits of the step.

        A bell with heavy tails (Student's t) around a line in what is seen, odd steps apart from even ones,
        steps near the last reading apart from others, and the network's correction to each step.
        """
        out = self.outs[place](self.hidden(place, base, seen)).float()
        return out[..., :2], self._steps(place, out[..., 2:], line, seen, last)

    def hidden(self, place: int, base: Tensor, seen: Tensor) -> Tensor:
        """(..., head) what a head's last layer is given."""
        return self.drop(functional.silu(base + self.earlier[place](seen)))

    def log_likelihood_everywhere(
        self, place: int, base: Tensor, line: Tensor, seen: Tensor, last: Tensor, tokens: Tokens
    ) -> Tensor:
        """(row, hour) log p of a channel's hours."""
        c = self.lattice.order[place]
        odds, steps = self.head(place, base, line, seen, last)
        mask, half = tokens.present[..., c].float(), (tokens.half & tokens.present)[..., c].float()
        chart = functional.logsigmoid(odds[..., 0] * (2 * mask - 1))
        halfway = functional.logsigmoid(odds[..., 1] * (2 * half - 1))
        pick = functional.cross_entropy(
            steps.flatten(0, 1), tokens.bins[..., c].flatten(), reduction="none"
        ).view(mask.shape)
        return chart + mask * (halfway - pick)

    def log_likelihood_charted(
        self, place: int, base: Tensor, line: Tensor, seen: Tensor, last: Tensor, tokens: Tokens
    ) -> Tensor:
        """The same, the steps of readings only where there is one.

        Labs have one in twenty hours, and steps are most of the work.
        """
        c, layer = self.lattice.order[place], self.outs[place]
        assert isinstance(layer, nn.Linear)
        hidden, there = self.hidden(place, base, seen), tokens.present[..., c]
        odds = functional.linear(hidden, layer.weight[:2], layer.bias[:2]).float()
        chart = functional.logsigmoid(odds[..., 0] * (2.0 * there - 1))
        rest = functional.linear(hidden[there], layer.weight[2:], layer.bias[2:]).float()
        steps = self._steps(place, rest, line[there], seen[there], last[there])
        halfway = functional.logsigmoid(odds[..., 1][there] * (2.0 * tokens.half[..., c][there] - 1))
        pick = functional.cross_entropy(steps, tokens.bins[..., c][there], reduction="none")
        return chart.masked_scatter(there, chart[there] + halfway - pick)

    def _steps(self, place: int, out: Tensor, line: Tensor, seen: Tensor, last: Tensor) -> Tensor:
        """(..., bins) logits."""
        lattice, c = self.lattice, self.lattice.order[place]
        bins = lattice.bins[c]
        parts = [1, 1, 1, 1, 2 * NEAR + 1, bins]
        sharp, tail, shift, odd, near, steps = torch.split(out, parts, dim=-1)
        ladder = getattr(self, f"ladder{c}")
        with _exact(out):
            centre = line[..., place : place + 1]
            if lattice.pressures is not None and c == lattice.pressures[1]:
                centre = self._mean_pressure(centre, line[..., lattice.count :], seen)
            centre = centre + self.bends[place](seen) + 0.3 * shift
            logits = steps + heavy_bell(ladder, centre, sharp, tail) + odd * self.parity[:bins]
        spot = ((last[..., c : c + 1] - ladder[0]) / (ladder[1] - ladder[0])).round().long()
        spots = (spot + self.around).clamp(0, bins - 1)
        return logits.scatter_add(-1, spots, near)

    def _mean_pressure(self, line: Tensor, residual: Tensor, seen: Tensor) -> Tensor:
        """(systolic + 2 diastolic) / 3 and a residual where both are charted this hour, else the line."""
        assert self.lattice.pressures is not None
        sbp, _, dbp = self.lattice.pressures
        s, d = (seen[..., c : c + 1] for c in (sbp, dbp))
        shown = 2 * self.lattice.count
        both = seen[..., shown + sbp : shown + sbp + 1] * seen[..., shown + dbp : shown + dbp + 1]
        return both * (implied(s, d, self.lattice) + residual) + (1 - both) * line

    def log_likelihood(
        self,
        tokens: Tokens,
        chart: Tensor,
        code: Tensor,
        length: Tensor,
        onset: Tensor,
        everywhere: bool = False,
    ) -> Tensor:
        """(row,) log p of the stays, over the hours the network is trained on; hours past a stay's end do not count.

        chart is charts(tokens), which can be made once for many steps of training. `everywhere` has whole layers do
        all hours, as gradients of each row need it.
        A stay whose length is that of the window goes on as far as we know.
        """
        value, mask = tokens.scaled(), tokens.present.float()
        odd, half = tokens.odd().float(), (tokens.half & tokens.present).float()
        rows, hours = value.shape[:2]
        hour = torch.arange(hours, device=value.device)
        table = torch.cat([chart, onset_features(onset[:, None], hour)], dim=-1)
        gates, base, level = (part[:, None] for part in self.known(code))
        h = self.drop(self.memory(self.gates(table) + gates))
        bases, stay, line = self.parts(torch.cat([h, table], dim=-1), base, level)
        inside = (hour < length[:, None]).float()
        last = table[..., : self.lattice.count]
        total = value.new_zeros(rows, hours)
        for place in range(self.lattice.count):
            seen = self.seen(value, last, mask, odd, half, place)
            of_channel = self.log_likelihood_everywhere if everywhere else self.log_likelihood_charted
            total = total + of_channel(place, bases[place], line, seen, last, tokens)
        ends = (hour + 1 == length[:, None]).float()
        open_ = (hour + 1 >= self.shape.shortest) & (
            hour + 1 < hours
        )  # whether it ends with the window is not known
        total = total + open_ * functional.logsigmoid(stay * (2 * ends - 1))
        return (total * inside).sum(1)

    @torch.inference_mode()
    def draw(self, code: Tensor, onset: Tensor, uniforms: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Bins, half, present of (row, hour, channel), and hours (row,) until the stay ends.

        uniforms (row, hour, channel, DRAWS) decide.
        """
        rows, hours = uniforms.shape[:2]
        lattice, count = self.lattice, self.lattice.count
        far = [FAR[CHANNELS.index(c.name)] if c in VITALS else 0.0 for c in lattice.channels]
        gates, base, level = self.known(code)
        h = code.new_zeros(rows, self.shape.width)
        chart = Chart.empty(code, count)
        bins = code.new_zeros(rows, hours, count, dtype=torch.long)
        halves, present = code.new_zeros(2, rows, hours, count, dtype=torch.bool)
        length = bins.new_full((rows,), hours)
        for hour in range(hours):
            table = torch.cat([chart.features(hour), onset_features(onset, length.new_full((), hour))], dim=1)
            h = self.memory.step(self.gates(table) + gates, h)
            bases, stay, line = self.parts(torch.cat([h, table], dim=1), base, level)
            value, mask, odd, half = code.new_zeros(4, rows, count)
            for place, c in enumerate(lattice.order):
                odds, steps = self.head(
                    place,
                    bases[place],
                    line,
                    self.seen(value, chart.last, mask, odd, half, place),
                    chart.last,
                )
                u = uniforms[:, hour, c]
                mask[:, c] = (u[:, 0] < (odds[:, 0] + self.charting[c]).sigmoid()).float()
                half[:, c] = (u[:, 1] < odds[:, 1].sigmoid()).float() * float(not lattice.wide[c])
                below = steps.softmax(1).cumsum(1)
                first = 1 - chart.ever[:, c : c + 1]
                spot = u[:, 2:3] + first * far[c] * (1 - 2 * u[:, 2:3])
                pick = (spot * below[:, -1:] > below).sum(1).clamp(max=steps.shape[1] - 1)
                bins[:, hour, c] = pick
                odd[:, c] = (pick % 2) * (1 - half[:, c])
                value[:, c] = getattr(self, f"ladder{c}")[pick] + 0.5 * half[:, c] * float(
                    lattice.step[c] / lattice.spread[c]
                )
            halves[:, hour], present[:, hour] = half.bool(), mask.bool()
            chart = chart.after(value, mask, odd, half, lattice)
            if self.shape.shortest <= hour + 1 < self.shape.hours:
                over = (uniforms[:, hour, 0, 3] < stay.sigmoid()) & (length == hours)
                length = torch.where(over, hour + 1, length)
        return bins, halves, present, length
