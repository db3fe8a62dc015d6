"""Training of the vitals network by likelihood: its settings and its batches."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ....core.condition import field_of
from ....core.config import Settings
from ....core.fields import SHIPPED as VOCABULARY
from ....core.types import Float32Array
from .quantizer import SHIPPED, Lattice, Tokens, to_readings

LINES = 0.25  # what gradients of lines count in a patient's norm
WAVES = ("sin1", "cos1", "sin2", "cos2")  # in the code of a number


class VitalsTraining(Settings):
    """Settings of training. `held_out` is the share of patients that only measure it; none under a budget.

    `by` says what learns the charts, `network` or `statistics`; by default statistics, where charts of other channels
    than the seven vital signs are mostly empty (see chart_training.py) or under a budget.
    """

    by: Literal["network", "statistics"] | None = None
    steps: int = 8000
    batch_size: int = 128  # of a private run, rows at a time
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    ema: float = 0.998
    hide: float = 0.15
    hide_levels: float = (
        0.5  # of rows, whose baselines are hidden all at once: drawn stays may have levels of their own
    )
    blur: float = 0.15  # of baselines, standard deviation in spreads of a channel
    held_out: float = 0.1
    patients_per_step: int = 1024  # of a private run, on average
    prior_steps: int = 1500  # of a private run, on simulated stays before it sees a patient
    prior_stays: int = 20_000
    prior_rate: float = 3e-3  # learning rate
    max_grad_norm: float = 1.0


@dataclass(frozen=True)
class Stays:
    """Rows of stays: tokens and their charts(), hours in the window, condition, hour of sepsis onset or NaN."""

    tokens: Tokens
    chart: Tensor
    length: Tensor
    code: Tensor
    onset: Tensor

    @property
    def lattice(self) -> Lattice:
        """Of the tokens."""
        return self.tokens.lattice

    def tensors(self) -> tuple[Tensor, ...]:
        """As a data set keeps them."""
        t = self.tokens
        return t.bins.to(torch.int16), t.half, t.present, self.chart, self.length, self.code, self.onset

    def take(self, rows: Tensor) -> "Stays":
        """Those rows."""
        return Stays.of([part[rows] for part in self.tensors()], self.lattice)

    def readings(self) -> Float32Array:
        """(stay, hour, channel), NaN where not charted."""
        tokens = self.tokens
        bins, half, present = (part.numpy() for part in (tokens.bins, tokens.half, tokens.present))
        return to_readings(bins, half, present, tokens.lattice)

    @classmethod
    def of(cls, batch: Sequence[Tensor], lattice: Lattice = SHIPPED) -> "Stays":
        """Inverse of tensors()."""
        bins, half, present, chart, length, code, onset = batch
        return cls(Tokens(bins.long(), half, present, lattice), chart, length, code, onset)


class Blur:
    """Shift known baselines a little, so that exact medians do not identify a patient.

    Drawn stays are moved to the exact level of their profile afterwards; see baseline_shift.
    """

    def __init__(self, columns: Sequence[str], strength: float, lattice: Lattice = SHIPPED) -> None:
        self.fields = []
        for channel, usual, spread, wide in zip(
            lattice.channels, lattice.usual, lattice.spread, lattice.wide, strict=True
        ):
            if not channel.field or f"{channel.field}?" not in columns:
                continue
            name = next(c for c in columns if field_of(c) == channel.field and c[-1] != "?" and "~" not in c)
            low, high = _range(name)
            spread = 3 * usual**2 * spread if wide else spread
            self.fields.append(
                (
                    [columns.index(c) for c in (name, *(f"{name}~{wave}" for wave in WAVES))],
                    columns.index(f"{channel.field}?"),
                    strength * 2 * float(spread) / (high - low),
                )
            )

    def __call__(self, code: Tensor) -> Tensor:
        """(row, column) with other values of the shifted fields, as conditioning.encoder would code them."""
        out = code.clone()
        for columns, known, size in self.fields:
            x = code[:, columns[0]] + size * torch.randn(len(code), device=code.device)
            waves = [f(torch.pi * k * x) for k in (1, 2) for f in (torch.sin, torch.cos)]
            out[:, columns] = torch.stack([x, *waves], dim=1) * code[:, known : known + 1]
        return out


def _range(column: str) -> tuple[float, float]:
    """The range over which a number's column is scaled: its own, as in `lactate[0,30]`, or the shipped field's."""
    if "[" in column:
        low, high = column.split("[")[1].rstrip("]").split(",")
        return float(low), float(high)
    known = VOCABULARY.by_name[column]
    return known.low, known.high
