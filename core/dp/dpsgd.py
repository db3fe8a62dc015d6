"""DP-SGD over patients (Abadi et al. 2016): the sampler and the private training step.

The unit is the patient: patients are sampled (Poisson), one random record of each sampled patient is taken,
one gradient a patient is clipped, the sum is noised once. Random numbers come from an ordinary generator with
128 bits of the operating system's entropy: this is not Opacus' secure mode.
"""

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate

from ..errors import InputError
from .budget import PrivacyPlan
from .clipping import Clipper


class PatientSampler(Sampler[list[int]]):
    """Batches of row indices: each patient with probability rate, one uniformly random row of each.

    A batch may be empty; it is a step too. Of `world` processes each draws among its own patients, so that their
    batches together are one Poisson batch.
    """

    def __init__(
        self,
        patients: Sequence[str],
        rate: float,
        steps: int,
        random: np.random.Generator,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        rows: dict[str, list[int]] = {}
        for row, patient in enumerate(patients):
            rows.setdefault(patient, []).append(row)
        self.rows, self.rate, self.steps, self.random = list(rows.values())[rank::world], rate, steps, random

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[list[int]]:
        for _ in range(self.steps):
            drawn = self.random.random(len(self.rows)) < self.rate
            yield [
                own[int(self.random.integers(len(own)))]
                for own, taken in zip(self.rows, drawn.tolist(), strict=True)
                if taken
            ]


def _entropy() -> np.random.Generator:
    # not torch's generator, which keeps 32 bits of its seed
    return np.random.Generator(np.random.PCG64DXSM(secrets.randbits(128)))


def poisson_loader(
    data: Dataset[Any], plan: PrivacyPlan, patients: Sequence[str], rank: int = 0, world: int = 1
) -> DataLoader[Any]:
    """Poisson batches of data; an empty one is an empty list, since Lightning skips None and a skip is no step."""
    sampler = PatientSampler(patients, plan.sample_rate, plan.steps, _entropy(), rank, world)
    return DataLoader(data, batch_sampler=sampler, collate_fn=_collated)


def _collated(rows: list[Any]) -> Any:
    return default_collate(rows) if rows else []


class Private(pl.LightningModule):
    """Trains another module privately: its `losses(batch) -> (row,)`, one row a patient.

    A module may have a `public_loss() -> ()`, of which no patient is part, and `after_private_step()`, which sees what
    was noised alone: adversarial training has its generator's step there.

    `run` is the id under which the plan was booked; a checkpoint of another run or plan is refused. Noise
    and samples are drawn anew after a resume, never replayed. Raises InputError when the module cannot be
    trained privately.
    """

    def __init__(
        self,
        module: pl.LightningModule,
        plan: PrivacyPlan,
        patients: Sequence[str],
        micro_batch: int,
        run: str = "",
    ) -> None:
        super().__init__()
        if plan.patients != len(set(patients)):
            raise InputError(f"the plan is for {plan.patients} patients, the data have {len(set(patients))}")
        self.automatic_optimization = False
        self.module, self.plan, self.patients, self.micro_batch = module, plan, patients, micro_batch
        self.run, self.random = run, _entropy()
        self.philox: torch.Generator | None = None
        self.clipper = Clipper(module)
        self.expected = max(1, round(plan.sample_rate * plan.patients))

    def configure_optimizers(self) -> Any:
        """The module's own optimiser. Raises InputError if it would move what is not clipped."""
        optimizer = self.module.configure_optimizers()
        if not isinstance(optimizer, torch.optim.Optimizer):
            raise InputError("private training takes one optimiser from configure_optimizers")
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                if parameter.requires_grad and parameter not in self.clipper.names:
                    raise InputError(
                        f"the optimiser has a parameter {tuple(parameter.shape)} that is none of the model's"
                    )
        return optimizer

    def training_step(self, batch: Sequence[Tensor], batch_idx: int) -> None:
        optimizer: Any = self.optimizers()
        rows = len(batch[0]) if batch else 0
        sums = {parameter: torch.zeros_like(parameter) for parameter in self.clipper.names}
        total = 0.0
        for start in range(0, rows, self.micro_batch):
            found = self.clipper(tuple(part[start : start + self.micro_batch] for part in batch))
            total += float(found.losses.sum())
            with torch.autocast(self.device.type, enabled=False):  # no reduced precision in norms and sums
                for parameter, clipped in found.clipped_sum(self.plan.max_grad_norm).items():
                    sums[parameter] += clipped
        self.noise(sums)
        self._add_public()
        optimizer.step()
        optimizer.zero_grad()
        if after := getattr(self.module, "after_private_step", None):
            after()
        if rows:
            self.log("loss", total / rows)

    def _add_public(self) -> None:
        """Add the gradient of the module's `public_loss()`, if it has one: no patient is in it."""
        if (public := getattr(self.module, "public_loss", None)) is None:
            return
        parameters = list(self.clipper.names)
        slopes = torch.autograd.grad(public(), parameters, allow_unused=True)
        for parameter, slope in zip(parameters, slopes, strict=True):
            if slope is not None and parameter.grad is not None:
                parameter.grad += slope

    def noise(self, sums: dict[torch.nn.Parameter, Tensor]) -> None:
        """Set each parameter's gradient: its clipped sum, noised, over the expected number of patients.

        What is clipped and noised is the gradient times the parameter's weight in the norm; that is taken off after.
        Of several processes the first adds the noise, once, and all of them sum up.
        """
        whole = self.plan.noise_multiplier * self.plan.max_grad_norm
        for parameter, clipped in sums.items():
            if self.global_rank == 0:
                deviation = whole / self.clipper.weights.get(parameter, 1.0)
                # in the order that lies in memory
                white = self._white(clipped).as_strided(clipped.shape, clipped.stride())
                clipped.add_(white, alpha=deviation)
            if dist.is_initialized():
                dist.all_reduce(clipped)
            parameter.grad = clipped.div_(self.expected)

    def _white(self, like: Tensor) -> Tensor:
        """(number,) standard normal float32 on the device of a tensor, from entropy of its own.

        On a CUDA device they are drawn there, by Philox with a key of 63 random bits.
        """
        if like.device.type != "cuda":
            return torch.from_numpy(self.random.standard_normal(like.numel(), np.float32)).to(like)
        if self.philox is None:
            self.philox = torch.Generator(like.device).manual_seed(secrets.randbits(63))
        return torch.randn(like.numel(), generator=self.philox, device=like.device)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["private"] = {"run": self.run, **asdict(self.plan)}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if checkpoint.get("private") != {"run": self.run, **asdict(self.plan)}:
            raise InputError(
                "the checkpoint is of another run or another plan; resume with the data and settings it had, "
                "or start anew without --resume"
            )
