"""fit(): run a training with Lightning. The only file that owns a Trainer."""

import logging
import math
import sys
import time
import warnings
from collections.abc import Sequence, Sized
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback, EMAWeightAveraging, Timer
from torch.utils.data import DataLoader, Dataset

from ..dp.budget import PrivacyPlan
from ..dp.dpsgd import Private
from ..dp.ledger import current_run, end_run
from .fit import Fit, Outcome

CHECKPOINT_EVERY = timedelta(minutes=3)


class Annealing(Callback):
    """Warm-up, then cosine decay of every optimiser's rate over steps or time, whichever runs out first."""

    def __init__(self, steps: int, minutes: float | None, warmup: int = 200) -> None:
        self.steps, self.minutes, self.warmup = steps, minutes, min(warmup, max(1, steps // 10))
        self.taken = 0
        self.began = time.monotonic()
        self.rates: list[list[float]] = []

    def state_dict(self) -> dict[str, Any]:
        return {"taken": self.taken, "elapsed": time.monotonic() - self.began, "rates": self.rates}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.taken, self.rates = state_dict["taken"], state_dict["rates"]
        self.began = time.monotonic() - state_dict["elapsed"]

    def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        if not self.rates:
            self.rates = [[group["lr"] for group in o.param_groups] for o in trainer.optimizers]
        done = self.taken / self.steps
        if self.minutes:
            done = max(done, (time.monotonic() - self.began) / (60 * self.minutes))
        scale = min(1.0, (self.taken + 1) / self.warmup) * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
        for optimizer, rates in zip(trainer.optimizers, self.rates, strict=True):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * scale
        self.taken += 1


class Checkpoints(Callback):
    """Keeps the newest state in one file, now and then and at the end, replaced in one step.

    Not Lightning's ModelCheckpoint, which saves nothing by time where the module steps its own optimisers.
    """

    def __init__(self, path: Path, every: timedelta) -> None:
        self.path, self.every = path, every.total_seconds()
        self.saved = time.monotonic()

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if time.monotonic() - self.saved > self.every:
            self.save(trainer)

    def on_train_end(self, trainer: pl.Trainer, *_: Any) -> None:
        self.save(trainer)  # a private run that went on from an older state would pay too little

    def save(self, trainer: pl.Trainer) -> None:
        """Write the state beside the file, then put it in its place."""
        part = self.path.with_name(f".{self.path.name}.part")
        trainer.save_checkpoint(part)
        part.replace(self.path)
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
            left = spent * (self.steps - self.batches) / self.batches
            if self.minutes:
                left = min(left, 60 * self.minutes - spent)
            recent = self.losses[-200:] or [math.nan]
            others = {k: float(v) for k, v in trainer.callback_metrics.items() if k != "loss"}
            extra = "".join(f"  {k} {v:.4f}" for k, v in others.items())
            if not trainer.progress_bar_callback:
                print(
                    f"{self.name}: step {self.batches}/{self.steps}  loss {sum(recent) / len(recent):.4f}{extra}"
                    f"  {self.rows / spent:.0f} rows/s  {left / 60:.1f} min left",
                    file=sys.stderr,
                    flush=True,
                )


def fit(
    module: pl.LightningModule,
    data: Dataset[Any],
    how: Fit,
    *,
    name: str,
    steps: int,
    batch_size: int,
    plan: PrivacyPlan | None = None,
    patients: Sequence[str] = (),
    ema: float | None = 0.999,
) -> Outcome:
    """Train the module on rows of data for at most `steps` optimiser steps.

    With a plan, `patients[i]` is the patient of row i, the module must offer `losses(batch) -> (row,)`,
    and batches are drawn and gradients clipped and noised by dpsgd.Private; batch_size is then the
    physical micro-batch. The module's own weights are the exponential moving average when fit returns.
    """
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    torch.manual_seed(how.seed)  # initialisation order and dropout only; private noise has its own source
    trained: pl.LightningModule = module
    if plan is not None:
        private = Private(module, plan, patients, batch_size, current_run(how.folder))
        trained, loader, steps = private, private.loader(data), plan.steps
    else:
        shuffled = torch.Generator().manual_seed(how.seed)
        batch_size = min(batch_size, len(cast(Sized, data)))
        loader = DataLoader(data, batch_size=batch_size, shuffle=True, drop_last=True, generator=shuffled)
    ticker = Ticker(name, steps, how.max_minutes)
    last = how.folder / name / "last.ckpt"
    if plan is not None and not how.resume:
        last.unlink(missing_ok=True)  # of another run, which this one must not go on from
    callbacks: list[Callback] = [
        Annealing(steps, how.max_minutes),
        Checkpoints(last, CHECKPOINT_EVERY),  # before the averages take the place of the weights at the end
        ticker,
    ]
    if ema:
        callbacks.append(EMAWeightAveraging(decay=ema))
    if how.max_minutes:
        callbacks.append(Timer(duration=timedelta(minutes=how.max_minutes), verbose=False))
    trainer = pl.Trainer(
        max_steps=steps,
        accelerator=how.accelerator,
        devices=how.devices,
        precision=cast(Any, how.precision),
        callbacks=callbacks,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=how.progress,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
    )
    began = time.monotonic()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning")
        warnings.filterwarnings("ignore", module="torch._dynamo")
        warnings.filterwarnings("ignore", message=".*num_workers.*")
        warnings.filterwarnings("ignore", message="grad and param do not obey")
        trainer.fit(trained, loader, ckpt_path=str(last) if how.resume and last.exists() else None)
    module.eval()
    if plan is not None:  # the losses of real patients were seen by nobody but the operator
        end_run(how.folder)
        return Outcome(trainer.global_step, time.monotonic() - began, math.nan)
    tail = ticker.losses[-max(1, len(ticker.losses) // 10) :] or [math.nan]
    return Outcome(trainer.global_step, time.monotonic() - began, sum(tail) / len(tail))
