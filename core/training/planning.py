"""plan(): a private run before it is charged: the time of its steps, and no more of them than the minutes allow."""

from collections.abc import Callable, Sequence

import lightning.pytorch as pl
from torch import Tensor

from ..dp.budget import PrivacyPlan
from ..dp.ledger import booked_steps
from ..remarks import remark
from . import trainer
from .fit import Fit

SPARE = 0.9  # of max_minutes: steps on the data are a little slower than those that were timed


def plan(
    module: pl.LightningModule,
    made_up: Sequence[Tensor],
    how: Fit,
    name: str,
    steps: int,
    batch_size: int,
    of: Callable[[int], PrivacyPlan],
) -> tuple[PrivacyPlan, float]:
    """The plan `of` so many steps as fit into how.max_minutes, at most `steps`; and the seconds of a step.

    `made_up` are tensors of one made-up example (1, ...); `name` is the purpose in the ledger. A run that goes
    on keeps the steps it was charged for. Raises InputError where `of` does: nothing is charged yet.
    """
    booked = booked_steps(how, name)
    planned = of(booked or steps)
    seconds = trainer.seconds_a_step(module, made_up, how, planned, batch_size)
    if booked or how.max_minutes is None or how.ledger is None:  # without a ledger nothing could be resumed
        return planned, seconds
    fitting = max(1, int(SPARE * 60 * how.max_minutes / max(seconds, 1e-9)))
    if fitting >= steps:
        return planned, seconds
    remark(
        f"{name}: {fitting:,} steps in place of {steps:,} are planned and charged: at {seconds:.2g} s a step no more "
        f"fit into {how.max_minutes:g} minutes"
    )
    return of(fitting), seconds
