"""fit(): run a training with Lightning, on one device or several. The only file that owns a Trainer."""

import json
import logging
import math
import os
import statistics
import time
import warnings
from collections.abc import Callable, Sequence, Sized
from copy import deepcopy
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, cast

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback, WeightAveraging
from torch import Tensor
from torch.multiprocessing.spawn import ProcessRaisedException
from torch.utils.data import DataLoader, Dataset, DistributedSampler, TensorDataset

from ..children import end_with
from ..cohort.disk import write_atomic
from ..device import half_is_fast
from ..dp.budget import PrivacyPlan
from ..dp.dpsgd import Private, poisson_loader
from ..dp.ledger import current_run, end_run
from ..errors import InputError, first_line
from ..paths import require_file
from ..remarks import remark
from .callbacks import Annealing, Cap, Checkpoints, Pace, Ticker
from .fit import Fit, Outcome

CHECKPOINT_EVERY = timedelta(minutes=3)
MEASURED = 3  # steps on made-up rows that tell how long one takes


def _moved(decay: float, average: Tensor, weight: Tensor, updates: Tensor) -> Tensor:
    """A step of the exponential moving average; not Lightning's, which cannot be sent to another process."""
    return decay * average + (1 - decay) * weight


class Rank(Callback):
    """One process of several: it ends with the one that started it, and has random numbers of its own.

    Lightning hands the weights back to the process that started it; `said` has the rest, in JSON.
    """

    def __init__(self, seed: int, ticker: Ticker, said: Path) -> None:
        self.seed, self.ticker, self.said, self.parent = seed, ticker, said, os.getpid()

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        _quiet()  # in the process that is started, before Lightning has begun there
        warnings.filterwarnings("ignore", module="lightning")

    def on_fit_start(self, trainer: pl.Trainer, *_: Any) -> None:
        end_with(self.parent, by_kernel=True)
        torch.manual_seed(self.seed + 1_000_003 * trainer.global_rank)  # weights are the first one's already

    def on_train_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if trainer.is_global_zero:
            done = {"steps": trainer.global_step, "losses": self.ticker.losses}
            write_atomic(self.said, json.dumps(done).encode())


class Rows(pl.LightningDataModule):
    """The batches of each process, made there: `make(rank, world)`."""

    def __init__(self, make: Callable[[int, int], DataLoader[Any]]) -> None:
        super().__init__()
        self.make = make

    def train_dataloader(self) -> DataLoader[Any]:
        """Those of this process, of all `world` together."""
        assert self.trainer is not None
        return self.make(self.trainer.global_rank, self.trainer.world_size)


def shuffled(data: Dataset[Any], batch_size: int, seed: int, rank: int, world: int) -> DataLoader[Any]:
    """Shuffled batches of `batch_size` rows; of several processes each has its share of the rows and of a batch."""
    batch_size = min(batch_size, len(cast(Sized, data)))
    if world == 1:
        order = torch.Generator().manual_seed(seed)
        return DataLoader(data, batch_size=batch_size, shuffle=True, drop_last=True, generator=order)
    sampler: DistributedSampler[Any] = DistributedSampler(data, world, rank, seed=seed, drop_last=True)
    return DataLoader(data, batch_size=max(1, batch_size // world), sampler=sampler, drop_last=True)


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
    resumable: bool = True,
) -> Outcome:
    """Train the module on rows of data for at most `steps` optimiser steps.

    With a plan, `patients[i]` is the patient of row i, the module must offer `losses(batch) -> (row,)`,
    and batches are drawn and gradients clipped and noised by dpsgd.Private; batch_size is then the
    physical micro-batch. The module's own weights are the exponential moving average when fit returns.
    A run that how.max_minutes ended is remarked; how.resume finishes it if it is `resumable`. A module that ends its
    training itself says so by `finished`; its steps are then those that were planned.
    """
    torch.manual_seed(how.seed)  # initialisation order and dropout only; private noise has its own source
    trained: pl.LightningModule = module
    make: Callable[[int, int], DataLoader[Any]] = partial(shuffled, data, batch_size, how.seed)
    if plan is not None:
        trained, steps = Private(module, plan, patients, batch_size, current_run(how.folder)), plan.steps
        make = partial(poisson_loader, data, plan, tuple(patients))
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
        callbacks.append(WeightAveraging(avg_fn=partial(_moved, ema)))
    if how.max_minutes:
        callbacks.append(Cap(how.max_minutes))
    began = time.monotonic()
    goes_on = how.resume and sound(last, trained)
    taken = _run(trained, make, how, steps, callbacks, last if goes_on else None)
    module.eval()
    if getattr(module, "finished", False):
        steps = taken
    if taken < steps:
        charged = "; the budget is charged for all that were planned" if plan is not None else ""
        finish = "; the same command with --resume --overwrite finishes them" if resumable else ""
        remark(f"{name}: ended by --max-minutes after {taken:,} of {steps:,} planned steps{charged}{finish}")
    if plan is not None:  # the losses of real patients were seen by nobody but the operator
        end_run(how.folder)
        return Outcome(taken, time.monotonic() - began, math.nan, steps)
    tail = ticker.losses[-max(1, len(ticker.losses) // 10) :] or [math.nan]
    return Outcome(taken, time.monotonic() - began, sum(tail) / len(tail), steps)


# beside tensors and plain types: NumPy's numbers, which plans may hold
PLAIN: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    np.dtype, np.dtypes.Float64DType, np.dtypes.Float32DType, np.dtypes.Int64DType, np.dtypes.BoolDType,
    np._core.multiarray.scalar,
]  # fmt: skip
STATE = {"state_dict", "optimizer_states", "lr_schedulers", "loops", "callbacks", "global_step", "epoch"}


def sound(path: Path, module: pl.LightningModule) -> bool:
    """Whether a checkpoint is there that this module can go on from. A damaged one is set aside, which is remarked.

    It is read as data alone: no code in it is run. Raises InputError for a damaged one of a private run, which is paid
    for, and for one of another private run: the file stays.
    """
    if not os.path.lexists(path):
        return False
    require_file(path, "a checkpoint")
    reason = ""
    try:
        with torch.serialization.safe_globals(PLAIN), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickles of another protocol
            state = torch.load(path, map_location="cpu", weights_only=True)
    except (
        RuntimeError,
        ValueError,
        OSError,
        EOFError,
        KeyError,
        TypeError,
        AttributeError,
        IndexError,
        UnpicklingError,
    ) as error:
        reason = first_line(error).split(".")[0][:120] or type(error).__name__
    else:
        reason = _fault(state, module)
    if not reason:
        return True
    if isinstance(module, Private):
        raise InputError(
            f"{path}: not a checkpoint to go on from ({reason}); put it back from a copy, or begin a new run, "
            "which is charged, without --resume"
        )
    aside = path.with_name(f"{path.name}.damaged")
    path.replace(aside)
    remark(
        f"{path}: not a checkpoint to go on from ({reason}); it is kept as {aside.name}, and training begins anew"
    )
    return False


def _fault(state: Any, module: pl.LightningModule) -> str:
    """What is wrong with a checkpoint's content, in words."""
    if not isinstance(state, dict) or (lacking := sorted(STATE - set(state))):
        return f"it lacks {', '.join(lacking[:3])}" if isinstance(state, dict) else "it is no mapping"
    if isinstance(module, Private):
        module.on_load_checkpoint(state)  # of another run or plan: that is said before shapes are
    there, own = state["state_dict"], module.state_dict()
    if not isinstance(there, dict) or set(there) != set(own):
        return "its weights are those of another model"
    for name, tensor in own.items():
        if not isinstance(there[name], Tensor) or there[name].shape != tensor.shape:
            return f"{name} has another shape than in this model"
        if there[name].is_floating_point() and not there[name].isfinite().all():
            return f"{name} is not finite"
    return ""


def seconds_a_step(
    module: pl.LightningModule, row: Sequence[Tensor], how: Fit, plan: PrivacyPlan, batch_size: int
) -> float:
    """The time of one private step, measured on a copy of the module and on made-up rows alike.

    `row` are tensors of one made-up example (1, ...), of the shape that the data have; no patient is touched.
    """
    tried = replace(plan, steps=MEASURED)
    everybody = TensorDataset(*(part[:1].expand(plan.patients, *part.shape[1:]) for part in row))
    private = Private(deepcopy(module), tried, [str(i) for i in range(plan.patients)], batch_size)
    pace, make = Pace(), partial(poisson_loader, everybody, tried, private.patients)
    with torch.random.fork_rng():
        _run(private, make, replace(how, progress=False, devices=1), MEASURED, [pace])
    return statistics.median(pace.seconds)


def _run(
    module: pl.LightningModule,
    make: Callable[[int, int], DataLoader[Any]],
    how: Fit,
    steps: int,
    callbacks: list[Callback],
    checkpoint: Path | None = None,
) -> int:
    """Steps taken in all, those before the checkpoint included.

    On several devices there is a process each, that share every batch; the module has their weights in the end.
    """
    said = how.folder / ".processes.json"
    ticker = next((callback for callback in callbacks if isinstance(callback, Ticker)), None)
    if several := how.devices > 1:
        assert ticker is not None
        how.folder.mkdir(parents=True, exist_ok=True)
        said.unlink(missing_ok=True)
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
        callbacks = [Rank(how.seed, ticker, said), *callbacks]
    trainer = _trainer(how, steps, callbacks)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning")
        warnings.filterwarnings("ignore", module="torch._dynamo")
        warnings.filterwarnings("ignore", message=".*num_workers.*")
        warnings.filterwarnings("ignore", message="grad and param do not obey")
        try:
            trainer.fit(
                module, datamodule=Rows(make), ckpt_path=None if checkpoint is None else str(checkpoint)
            )
        except ProcessRaisedException as error:  # its text is the traceback there
            kind = f"{InputError.__module__}.{InputError.__qualname__}: "
            last = str(error).strip().splitlines()[-1]
            if not last.startswith(kind):
                raise
            raise InputError(last.removeprefix(kind)) from None
    if not several:
        return trainer.global_step
    assert ticker is not None
    done = json.loads(said.read_text())
    said.unlink()
    ticker.losses = done["losses"]
    return int(done["steps"])


def _quiet() -> None:
    for part in ("pytorch", "fabric"):
        logging.getLogger(f"lightning.{part}").setLevel(logging.WARNING)


def require_devices(how: Fit) -> None:
    """Raises InputError unless the machine has the accelerator and the devices, and a process is alone.

    Before any training, and any charge. Several devices get their processes here, none from a scheduler.
    """
    if int(os.environ.get("WORLD_SIZE", "1") or 1) > 1:
        raise InputError(
            f"train was started in {os.environ['WORLD_SIZE']} processes (WORLD_SIZE); start it once, and --devices N "
            "starts a process a device"
        )
    try:
        _trainer(how, 1, [])
    except (MisconfigurationException, RuntimeError, ValueError) as error:
        asked = f"--accelerator {how.accelerator} --devices {how.devices} --precision {how.precision}"
        raise InputError(f"{asked}: {first_line(error)}") from None


def _precision(how: Fit) -> str:
    """As Lightning names it."""
    if how.precision != "auto":
        return how.precision
    on_cpu = how.accelerator == "cpu" or (how.accelerator == "auto" and not torch.cuda.is_available())
    return "bf16-mixed" if half_is_fast(torch.device("cpu" if on_cpu else "cuda")) else "32-true"


def _trainer(how: Fit, steps: int, callbacks: list[Callback]) -> pl.Trainer:
    _quiet()
    several = how.devices > 1
    return pl.Trainer(
        max_steps=steps,
        accelerator=how.accelerator,
        devices=how.devices,
        plugins=[LightningEnvironment()]
        if several
        else None,  # not a scheduler's, which starts processes itself
        strategy="ddp_spawn_find_unused_parameters_true" if several else "auto",
        precision=cast(Any, _precision(how)),
        callbacks=callbacks,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=how.progress,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
    )
