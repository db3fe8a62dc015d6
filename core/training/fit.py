"""Fit: how a training is run, for how long and under which budget; Outcome: what it came to."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..dp.budget import Budget, PrivacyPlan


@dataclass(frozen=True)
class Fit:
    """How to train: for how long, on what, and under which budget.

    max_minutes caps the time of each fit() call; the learning rate is annealed to the cap. A run that it cut goes
    on with `resume`, for as many minutes again. `budget` is
    None for public data; with one, the run is charged to `ledger` before it starts, and refused when
    the population's total would pass `limit`. `folder` keeps checkpoints; a run with `resume` goes on
    from the newest one there. `people` are the patients' ids, and `population` is the name under which the ledger
    books them where the data state one. `beside` are mechanisms that are charged with the training's own;
    `asked` is the epsilon of all of them together. `precision` is as Lightning names it; auto is bf16-mixed where the
    processor computes in bfloat16, else 32-true: where it is emulated a step takes some ten times as long.
    """

    folder: Path
    max_minutes: float | None = None
    accelerator: str = "auto"
    devices: int = 1
    precision: str = "auto"
    seed: int = 0
    resume: bool = False
    budget: Budget | None = None
    ledger: Path | None = None
    limit: Budget | None = None
    people: tuple[str, ...] = ()
    population: str = ""
    beside: Mapping[str, PrivacyPlan] = field(default_factory=dict)
    asked: float | None = None
    progress: bool = field(default_factory=lambda: sys.stderr.isatty())


@dataclass(frozen=True)
class Outcome:
    """What a fit came to: optimiser steps, seconds, mean of the loss over the last tenth, and the steps planned.

    Fewer steps than planned were taken where max_minutes ended the run. The loss of a private fit is NaN: it is a
    statistic of the patients that nobody has paid for.
    """

    steps: int
    seconds: float
    loss: float
    planned: int = 0
