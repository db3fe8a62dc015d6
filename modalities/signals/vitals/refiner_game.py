"""What plays in the training of a refiner: real stays, draws of the prior, and what critics see of both."""

from collections.abc import Sequence

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from ....core.modality import Batch, Conditioner
from ....core.profile import PatientProfile, seed_for
from ....core.training.adversarial import AdversarialTraining, Views
from ....core.types import Float32Array, IntArray
from .critics import BOUND, HourCritic, StayCritic, hour_view, stay_figures
from .quantizer import Lattice
from .refiner import Charted, Refiner, RefinerShape, moved
from .sampler import VitalsSampler


class RefinerTraining(AdversarialTraining):
    """Settings: `draws` of the prior a training stay, `held_out` share of patients that judge, widths of critics."""

    draws: int = Field(default=2, ge=1, le=16)
    held_out: float = Field(default=0.1, gt=0, lt=1)
    stay_width: int = Field(default=256, ge=8)
    hour_width: int = Field(default=64, ge=8)


Sample = tuple[Charted, Tensor]  # and its figures


class VitalsGame(nn.Module):
    """Batches are rows of pairs(): a real stay and its figures, a drawn stay, what is known of the patient."""

    centre: Tensor
    spread: Tensor

    def __init__(
        self, known: int, shape: RefinerShape, training: RefinerTraining, lattice: Lattice, day: int,
        drawn: Tensor,
    ) -> None:  # fmt: skip
        """`drawn` are figures of draws of the prior, which scale those that critics see."""
        super().__init__()
        self.lattice = lattice
        self.generator: Refiner = Refiner(known, shape, lattice, day)
        nothing = torch.zeros(1, day, lattice.count)
        inputs = hour_view(nothing, nothing, torch.zeros(1, known), lattice).shape[2]
        self.critics = nn.ModuleList(
            [StayCritic(drawn.shape[1] + known, training.stay_width), HourCritic(inputs, training.hour_width)]
        )
        self.register_buffer("centre", drawn.mean(0))
        self.register_buffer("spread", drawn.std(0) + 1e-3)

    def real(self, batch: Sequence[Tensor]) -> Sample:
        values, mask, found = batch[:3]
        return Charted(values, mask, torch.ones(())), found

    def drawn(self, generator: nn.Module, batch: Sequence[Tensor]) -> Sample:
        values, mask, unit, known = batch[3:]
        stay = Charted(values, mask, unit)
        latent = torch.randn(len(values), self.generator.shape.latent)
        by = generator(stay, known, latent, torch.randn_like(values))
        made = moved(stay, by, torch.rand_like(values[:, :1]) - 0.5, self.lattice)
        return made, stay_figures(made.values, made.mask, self.lattice)

    def views(self, sample: Sample, batch: Sequence[Tensor]) -> Views:
        (stay, found), known = sample, batch[-1]
        scaled = BOUND * torch.tanh((found - self.centre) / self.spread / BOUND)
        return [
            torch.cat([scaled, known], dim=1), hour_view(stay.values, stay.mask, known, self.lattice)
        ]  # fmt: skip

    def cost(self, sample: Sample, batch: Sequence[Tensor]) -> float:
        return 0.0


@torch.no_grad()
def figures_of(values: Tensor, mask: Tensor, lattice: Lattice) -> Tensor:
    """stay_figures() a few rows at a time."""
    parts = [slice(start, start + 500) for start in range(0, len(values), 500)]
    return torch.cat([stay_figures(values[part], mask[part], lattice) for part in parts])


def draws_of(
    sampler: VitalsSampler, profiles: Sequence[PatientProfile], conditioner: Conditioner, seed: int
) -> tuple[Float32Array, IntArray]:
    """The same, and the hours (row,) that each stay lasts."""
    out, lasting = [], []
    for start in range(0, len(profiles), sampler.ROWS):
        own = tuple(profiles[start : start + sampler.ROWS])
        seeds = tuple(seed_for(seed, f"{p.patient_id}/{start + i}", "refiner") for i, p in enumerate(own))
        drawn = sampler.sample(Batch(own, conditioner.encode(own), seeds))
        out += [record.arrays["vitals"] for record in drawn]
        lasting += [record.facts["hours"] for record in drawn]
    return np.stack(out), np.array(lasting)
