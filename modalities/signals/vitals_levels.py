"""The levels of each third of a day, drawn before its hours: what an hourly model alone would let drift too little."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from .export import CHANNELS
from .vitals_grid import Tokens

COUNT = len(CHANNELS)
THIRDS = 3
PLACES = THIRDS * COUNT
HOURS = 8  # of a third
FAR, FINE = 5.0, 0.2  # of the ladder, in scaled readings
RUNGS = round(2 * FAR / FINE) + 1
SHOWN = 2 * PLACES  # numbers that shown() gives
AIM = 3 * COUNT  # and aim()


def heavy_bell(ladder: Tensor, centre: Tensor, sharp: Tensor, tail: Tensor) -> Tensor:
    """(..., step) log density, up to a constant, of Student's t around centre (..., 1) on a ladder."""
    squares = ((ladder - centre) * functional.softplus(sharp + 1.5)).square()
    return -(functional.softplus(tail + 1.0) + 0.6) * torch.log1p(squares)


def levels_of(tokens: Tokens, length: Tensor) -> Tensor:
    """(row, third * channel) rung of each mean of what was charted in the day's thirds, RUNGS where nothing was."""
    inside = torch.arange(tokens.bins.shape[1], device=length.device) < length[:, None]
    mask = (tokens.present & inside[..., None]).float()
    value = tokens.scaled() * mask
    out = []
    for third in range(THIRDS):
        hours = slice(third * HOURS, (third + 1) * HOURS)
        count = mask[:, hours].sum(1)
        mean = value[:, hours].sum(1) / count.clamp(min=1)
        rung = ((mean.clamp(-FAR, FAR) + FAR) / FINE).round().long()
        out.append(torch.where(count > 0, rung, RUNGS))
    return torch.cat(out, dim=1)


def shown(levels: Tensor) -> Tensor:
    """(row, SHOWN): scaled levels, 0 where nothing was charted, and whether anything was."""
    charted = (levels < RUNGS).float()
    return torch.cat([(levels * FINE - FAR) * charted, charted], dim=1)


def aim(told: Tensor, hour: int, total: Tensor, number: Tensor) -> Tensor:
    """(row, AIM): this third's levels, whether it has any, and what the hours left must be on average to meet them.

    told is shown(); total and number (row, channel) are of this third's readings so far. Past the day the last
    third goes on.
    """
    third = min(hour // HOURS, THIRDS - 1)
    level, charted = (part.chunk(THIRDS, dim=1)[third] for part in told.chunk(2, dim=1))
    left = HOURS - hour % HOURS
    need = (level * (number + left) - total) / left
    if hour >= THIRDS * HOURS:
        need = level
    return torch.cat([level, charted, charted * need.clamp(-FAR, FAR)], dim=1)


class Levels(nn.Module):
    """p(levels | what is known), one third and channel after another."""

    ladder: Tensor

    def __init__(self, known: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.body = nn.Linear(known, PLACES * width)
        self.lines = nn.Linear(known, PLACES)
        self.earlier = nn.ModuleList(nn.Linear(SHOWN, width + 1, bias=False) for _ in range(PLACES))
        self.outs = nn.ModuleList(nn.Linear(width, 3 + RUNGS) for _ in range(PLACES))
        self.register_buffer("ladder", torch.arange(RUNGS) * FINE - FAR, persistent=False)

    def _logits(self, place: int, body: Tensor, line: Tensor, before: Tensor) -> Tensor:
        """(row, RUNGS + 1); `before` is shown(), of which only earlier places count."""
        open_ = (torch.arange(PLACES, device=before.device) < place).repeat(2)
        seen = self.earlier[place](before * open_)
        out = self.outs[place](functional.silu(body + seen[:, :-1])).float()
        none, sharp, tail, steps = out.split([1, 1, 1, RUNGS], dim=1)
        centre = line[:, place : place + 1] + seen[:, -1:]
        steps = steps + heavy_bell(self.ladder, centre.float(), sharp, tail)
        # odds of nothing charted apart from which rung it is
        return torch.cat(
            [functional.log_softmax(steps, 1) + functional.logsigmoid(-none), functional.logsigmoid(none)], 1
        )

    def log_likelihood(self, known: Tensor, levels: Tensor) -> Tensor:
        """(row,) log p."""
        body, line, before = self.body(known).chunk(PLACES, dim=1), self.lines(known), shown(levels)
        total = torch.zeros(len(levels), device=levels.device)
        for place in range(PLACES):
            logits = self._logits(place, body[place], line, before)
            total = total + logits.gather(1, levels[:, place : place + 1])[:, 0]
        return total

    def draw(self, known: Tensor, uniforms: Tensor) -> Tensor:
        """(row, place) levels; uniforms (row, place) decide."""
        body, line = self.body(known).chunk(PLACES, dim=1), self.lines(known)
        levels = torch.full((len(known), PLACES), RUNGS)
        for place in range(PLACES):
            below = self._logits(place, body[place], line, shown(levels)).exp().cumsum(1)
            levels[:, place] = (
                (uniforms[:, place : place + 1] * below[:, -1:] > below).sum(1).clamp(max=RUNGS)
            )
        return levels
