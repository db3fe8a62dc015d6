"""Callbacks of a fit: the learning rate's course, the cap on minutes, the pace, checkpoints, a line now and then."""

import math
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback, Timer

from ..cohort.disk import part_of
from ..text import say


class Annealing(Callback):
    """Warm-up, then cosine decay of every optimiser's rate over steps or time, whichever runs out first."""

    def __init__(self, steps: int, minutes: float | None, warmup: int = 200) -> None:
        self.steps, self.minutes, self.warmup = steps, minutes, min(warmup, max(1, steps // 10))
        self.taken = 0
        self.began = time.monotonic()
        self.rates: list[list[float]] = []

    def state_dict(self) -> dict[str, Any]:
        return {"taken": self.taken, "rates": self.rates}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.taken, self.rates = state_dict["taken"], state_dict["rates"]

    def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        if not self.rates:
            self.rates = [[group["lr"] for group in o.param_groups] for o in trainer.optimizers]
        done = self.taken / self.steps
        if self.minutes:
            spent = (time.monotonic() - self.began) / (60 * self.minutes)
            done = max(done, trainer.strategy.broadcast(spent))  # one clock: devices take the same steps
        scale = min(1.0, (self.taken + 1) / self.warmup) * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
        for optimizer, rates in zip(trainer.optimizers, self.rates, strict=True):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * scale
        self.taken += 1


class Cap(Timer):
    """Ends a fit after some minutes. A resumed fit has as many again: the time before is not kept."""

    def __init__(self, minutes: float) -> None:
        super().__init__(duration=timedelta(minutes=minutes), verbose=False)

    def state_dict(self) -> dict[str, Any]:
        return {}


class Pace(Callback):
    """The seconds of each step but the first, which also warms up."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_train_batch_end(self, *_: Any) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.ends.append(time.monotonic())

    @property
    def seconds(self) -> list[float]:
        return [after - before for before, after in zip(self.ends, self.ends[1:], strict=False)]


class Checkpoints(Callback):
    """Keeps the newest state in one file, now and then and at the end, replaced in one step.

    Not Lightning's ModelCheckpoint, which saves nothing by time where the module steps its own optimisers.
    """

    def __init__(self, path: Path, every: timedelta) -> None:
        self.path, self.every = path, every.total_seconds()
        self.saved = time.monotonic()

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        due = time.monotonic() - self.saved > self.every
        if trainer.strategy.reduce_boolean_decision(due, all=False):  # all devices save together
            self.save(trainer)

    def on_train_end(self, trainer: pl.Trainer, *_: Any) -> None:
        self.save(trainer)  # a private run that went on from an older state would pay too little

    def save(self, trainer: pl.Trainer) -> None:
        """Write the state beside the file, then put it in its place."""
        part = part_of(self.path)
        try:
            trainer.save_checkpoint(part)  # the first device writes
            if trainer.is_global_zero:
                part.replace(self.path)
        except OSError:
            part.unlink(missing_ok=True)
            raise
        self.saved = time.monotonic()


class Ticker(Callback):
    """A line to stderr now and then: step, loss, rate, time left. For logs; terminals get Lightning's bar."""

    def __init__(self, name: str, steps: int, minutes: float | None, every: float = 20.0) -> None:
        self.name, self.steps, self.minutes, self.every = name, steps, minutes, every
        self.losses: list[float] = []
        self.rows = self.batches = 0
        self.began = self.said = time.monotonic()

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.batches += 1
        self.rows += len(batch[0]) if batch else 0
        loss = trainer.callback_metrics.get("loss")
        if loss is not None:
            self.losses.append(float(loss))
        now = time.monotonic()
        if now - self.said > self.every:
            self.said = now
            spent = now - self.began
            done = trainer.global_step  # those of the run that this one resumes included
            left = spent * (self.steps - done) / self.batches
            if self.minutes:
                left = min(left, 60 * self.minutes - spent)
            recent = self.losses[-200:] or [math.nan]
            others = {k: float(v) for k, v in trainer.callback_metrics.items() if k != "loss"}
            extra = "".join(f"  {k} {v:.4f}" for k, v in others.items())
            if trainer.is_global_zero and not trainer.progress_bar_callback:
                say(
                    f"{self.name}: step {done}/{self.steps}  loss {sum(recent) / len(recent):.4f}{extra}"
                    f"  {self.rows / spent:.0f} rows/s  {max(0.0, left) / 60:.1f} min left",
                    aside=True,
                )
