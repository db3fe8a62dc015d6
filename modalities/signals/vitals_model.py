"""Train the vitals model, and draw hourly vitals from its weights."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch.utils.data import TensorDataset

from ...core.condition import columns_of, select
from ...core.config import parse
from ...core.errors import InputError
from ...core.modality import Batch, Conditioner, Record, TrainingSet
from ...core.train import Fit, fit
from ...core.weights import Weights, figures, restore
from .cards import card, phases
from .data import VITAL_FIELDS, read_vitals
from .export import CHANNELS
from .vitals import VitalsGan, VitalsGenerator, VitalsModel, VitalsTraining, to_bins, to_readings


def train_vitals(
    data: Sequence[TrainingSet], conditioner: Conditioner, network: Mapping[str, Any],
    training: Mapping[str, Any], how: Fit, init: Weights | None = None,
) -> Weights:  # fmt: skip
    """Likelihood, then adversarial training on the first hours of stays; baselines are each stay's medians."""
    if how.budget is not None:
        raise InputError(
            "vitals cannot be trained under a privacy budget yet; use --public for data that are public"
        )
    if init is not None:
        raise InputError("vitals are trained from scratch; leave out --init")
    shape = parse(VitalsModel, dict(network), "model.network")
    settings = parse(VitalsTraining, dict(training), "model.training")
    grids, lengths, profiles = [], [], []
    for part in data:
        for record, profile in zip(read_vitals(part, shape.hours), part.profiles, strict=True):
            grid = record.arrays["vitals"]
            grids.append(grid)
            lengths.append(min(record.facts["hours"], shape.hours))
            profiles.append(profile.but(measurements=record.facts["baseline"]))
    columns = columns_of(conditioner.columns, [*VITAL_FIELDS, *(f for part in data for f in part.fields)])
    code = select(conditioner.encode(profiles), conditioner.columns, columns)
    bins, present = to_bins(torch.from_numpy(np.stack(grids)))
    torch.manual_seed(how.seed)
    module = VitalsGan(columns, shape, settings)
    rows = TensorDataset(bins.to(torch.int16), present, torch.tensor(lengths), torch.from_numpy(code))
    # small recurrent steps: reduced precision costs more in casts than it saves
    outcomes = [
        fit(
            module, rows, replace(how, max_minutes=how.max_minutes and how.max_minutes * share, precision="32-true"),
            name=f"vitals_{name}", steps=steps, batch_size=settings.batch_size, ema=0.995,
        )
        for name, steps, share in phases(module, settings)
    ]  # fmt: skip
    own = card(
        "autoregressive GRU-GAN", "vitals", data, sum(o.steps for o in outcomes), sum(o.seconds for o in outcomes),
        columns, shape.model_dump(), figures(nats_an_hour=outcomes[-1].loss),
    )  # fmt: skip
    return Weights({k: v.half() for k, v in module.generator.state_dict().items()}, own)


class VitalsSampler:
    """Hourly vitals from trained weights, in blocks of fixed size, so that rows cannot touch each other."""

    ROWS = 16

    def __init__(self, weights: Weights, columns: Sequence[str]) -> None:
        self.card, self.columns = weights.card, columns
        self.shape = VitalsModel(**weights.card.model)
        self.net = VitalsGenerator(len(weights.card.columns), self.shape)
        restore(self.net, weights)

    def sample(self, batch: Batch) -> list[Record]:
        """One record a row; see SignalsGenerator."""
        code = select(batch.condition, self.columns, self.card.columns)
        hours, n = self.shape.hours, len(CHANNELS)
        out = []
        for start in range(0, len(batch), self.ROWS):
            seeds = batch.seeds[start : start + self.ROWS]
            rngs = [np.random.Generator(np.random.PCG64([seed, 1])) for seed in seeds]
            context = torch.zeros(self.ROWS, code.shape[1] + self.shape.latent)
            uniforms = torch.full((self.ROWS, hours, n, 2), 0.5)
            for row, rng in enumerate(rngs):
                latent = rng.standard_normal(self.shape.latent, dtype=np.float32)
                context[row] = torch.from_numpy(np.concatenate([code[start + row], latent]))
                uniforms[row] = torch.from_numpy(rng.random((hours, n, 2), dtype=np.float32))
            bins = self.net.draw(context, hours, uniforms).numpy()
            out += [
                Record({"vitals": to_readings(bins[row], rng)}, {"hours": hours})
                for row, rng in enumerate(rngs)
            ]
        return out
