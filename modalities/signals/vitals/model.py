"""Train the vitals model, publicly or under a budget, and draw hourly vitals from its weights."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import TensorDataset

from ....core.condition import columns_of, select
from ....core.config import parse
from ....core.errors import InputError
from ....core.modality import Batch, Conditioner, Record, TrainingSet
from ....core.training.fit import Fit, Outcome
from ....core.training.trainer import fit
from ....core.training.weights import Weights, figures, restore
from ....core.types import BoolArray, Float32Array
from ..data import card, read_vitals
from ..layout import CHANNELS, VITAL_FIELDS
from .baseline_shift import coherent, shifted
from .charting import charts
from .moment_matching import match_moments, with_drift
from .network import DRAWS, TRENDS, VitalsModel, VitalsNet
from .private import learn_privately, public_stays
from .quantizer import Tokens, to_readings
from .training import Stays, VitalsTrainer, VitalsTraining, held_out_loss
from .trajectory import Trajectory


def train_vitals(
    data: Sequence[TrainingSet], conditioner: Conditioner, network: Mapping[str, Any],
    training: Mapping[str, Any], how: Fit, init: Weights | None = None,
) -> Weights:  # fmt: skip
    """By likelihood, on the first hours of stays; baselines are each stay's medians.

    Under a budget (see private.py) all that touches patients is DP-SGD and two charged releases: lattices, scales
    and simulated stays are public, nobody is held out.
    """
    if init is not None:
        raise InputError("vitals are learnt from scratch; leave out --init")
    shape = parse(VitalsModel, dict(network), "model.network")
    settings = parse(VitalsTraining, dict(training), "model.training")
    columns = columns_of(conditioner.columns, [*VITAL_FIELDS, *(f for part in data for f in part.fields)])
    stays, patients = read_stays(data, conditioner, columns, shape.hours)
    torch.manual_seed(how.seed)
    module = VitalsTrainer(columns, shape, settings)
    if how.budget is not None:
        made = public_stays(settings.prior_stays, shape.hours, conditioner, columns, how.seed)
        population = "+".join(part.source.name for part in data)
        outcome, spent = learn_privately(module, stays, patients, made, how, population)
        measured: dict[str, float] = {}
    else:
        outcome, measured = learn(module, stays, choose_held_out(patients, settings.held_out, how.seed), how)
        spent = {"privacy": "public"}
    about = card(
        "autoregressive GRU", "vitals", data, outcome.steps, outcome.seconds, columns, shape.model_dump(),
        measured, spent,
    )  # fmt: skip
    about = about.model_copy(update={"planned_steps": outcome.planned})
    return Weights({k: v.half() for k, v in module.net.state_dict().items()}, about)


def learn(
    module: VitalsTrainer, stays: Stays, held_out: BoolArray, how: Fit
) -> tuple[Outcome, dict[str, float]]:
    """From the stays that are not held out; figures of the card."""
    settings, rows, kept = module.settings, stays.tensors(), torch.from_numpy(~held_out)
    outcome = fit(
        module, TensorDataset(*(part[kept] for part in rows)), how, name="vitals", steps=settings.steps,
        batch_size=settings.batch_size, ema=settings.ema,
    )  # fmt: skip
    tested = held_out_loss(module, [part[~kept] for part in rows])
    match_moments(module.net.eval(), stays.take(kept), how.seed)
    return outcome, figures(nats_an_hour=outcome.loss, held_out_nats_an_hour=tested)


def read_stays(
    data: Sequence[TrainingSet], conditioner: Conditioner, columns: Sequence[str], hours: int
) -> tuple[Stays, list[str]]:
    """All rows of all sets, and whose they are."""
    grids, lengths, onsets, profiles = [], [], [], []
    for part in data:
        for record, profile in zip(read_vitals(part, hours), part.profiles, strict=True):
            grids.append(record.arrays["vitals"])
            lengths.append(record.facts["hours"])
            onsets.append(record.facts.get("sepsis_onset", np.nan))
            profiles.append(profile.but(measurements=record.facts["baseline"]))
    code = select(conditioner.encode(profiles), conditioner.columns, columns)
    tokens = Tokens.of(np.stack(grids))
    stays = Stays(
        tokens, charts(tokens), torch.tensor(lengths), torch.from_numpy(code),
        torch.tensor(onsets, dtype=torch.float32),
    )  # fmt: skip
    return stays, [profile.patient_id for profile in profiles]


def choose_held_out(patients: Sequence[str], share: float, seed: int) -> BoolArray:
    """(row,) whether the row's patient is one of the share that only measures."""
    names = sorted(set(patients))
    chosen = np.random.default_rng(seed).permutation(len(names))[: round(share * len(names))]
    return np.isin(patients, [names[i] for i in chosen])


class VitalsSampler:
    """Hourly vitals from trained weights, in blocks of fixed size, so that rows cannot touch each other.

    `hours` is how many are drawn, as many as in training if not said. A stay may end before (its later hours
    stay empty) unless `ends` is false, which asks for hours the data do not have of stays that end early.
    """

    ROWS = 64

    def __init__(
        self, weights: Weights, columns: Sequence[str], trajectory: Trajectory | None = None,
        hours: int | None = None, ends: bool = True,
    ) -> None:  # fmt: skip
        self.card, self.columns = weights.card, columns
        self.shape = VitalsModel(**weights.card.model)
        self.trajectory, self.hours, self.ends = trajectory or Trajectory(), hours or self.shape.hours, ends
        self.net = VitalsNet(len(weights.card.columns), self.shape)
        restore(self.net, weights)

    def sample(self, batch: Batch) -> list[Record]:
        """One record a row: "vitals" (hour, 7), coherent and at the levels of the profile; facts: hours, trajectory."""
        self.trajectory.check(batch.profiles)
        code = select(batch.condition, self.columns, self.card.columns)
        code, onset = self.trajectory.steer(code, self.card.columns)
        return [
            record
            for start in range(0, len(batch), self.ROWS)
            for record in self._block(batch, slice(start, min(start + self.ROWS, len(batch))), code, onset)
        ]

    def _block(self, batch: Batch, rows: slice, code: Float32Array, onset: Float32Array) -> list[Record]:
        """Up to ROWS records. A block has always as many rows: the sums of a product depend on its shape."""
        seeds, profiles = batch.seeds[rows], batch.profiles[rows]
        context = np.zeros((self.ROWS, code.shape[1]), dtype=np.float32)
        starts = np.full(self.ROWS, np.nan, dtype=np.float32)
        context[: len(seeds)], starts[: len(seeds)] = code[rows], onset[rows]
        uniforms = np.full((self.ROWS, self.hours, len(CHANNELS), DRAWS), 0.5, dtype=np.float32)
        normals = np.zeros((len(seeds), TRENDS))
        for row, seed in enumerate(seeds):
            random = np.random.Generator(np.random.PCG64([seed, 1]))
            uniforms[row] = random.random(uniforms.shape[1:], dtype=np.float32)
            normals[row] = random.standard_normal(TRENDS)
        drawn = self.net.draw(*map(torch.from_numpy, (context, starts, uniforms)))
        bins, half, present, length = (part.numpy() for part in drawn)
        readings = to_readings(bins, half, present)
        root, out = self.net.drift.numpy(), []
        for row, profile in enumerate(profiles):
            hours = int(length[row]) if self.ends else self.hours
            stay = with_drift(readings[row, :hours], root, normals[row], self.shape.hours)
            table = np.full((self.hours, len(CHANNELS)), np.nan, dtype=np.float32)
            table[:hours] = coherent(self.trajectory.apply(shifted(stay, profile.measurements)))
            out.append(Record({"vitals": table}, {"hours": hours, **self.trajectory.facts()}))
        return out
