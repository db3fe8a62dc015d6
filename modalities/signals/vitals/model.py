"""Train the vitals model, publicly or under a budget, and draw charts from its weights."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import TensorDataset

from ....core.condition import columns_of, field_of, select
from ....core.config import parse
from ....core.errors import InputError
from ....core.modality import Batch, Conditioner, Record, TrainingSet
from ....core.profile import PatientProfile
from ....core.training.fit import Fit, Outcome
from ....core.training.trainer import fit
from ....core.training.weights import Weights, figures, restore
from ....core.types import BoolArray, Float32Array, IntArray
from ..channels import VITALS, chart_facts
from ..data import baselines, card
from .baseline_shift import coherent, shifted
from .chart_model import ChartModel, Noise
from .chart_training import learn_charts, sparse
from .cohort_charts import CohortCharts, read_charts
from .moment_matching import match_moments, with_drift
from .network import DRAWS, TRENDS, NetworkShape, VitalsModel, VitalsNet
from .private import learn_privately, public_stays
from .quantizer import SHIPPED, Lattice, to_readings
from .training import Stays, VitalsTrainer, VitalsTraining, held_out_loss
from .trajectory import Levels, Trajectory

COPULA = "chart"  # prefix of the tensors of weights without a network


def train_vitals(
    data: Sequence[TrainingSet], conditioner: Conditioner, network: Mapping[str, Any],
    training: Mapping[str, Any], how: Fit, init: Weights | None = None,
) -> Weights:  # fmt: skip
    """By likelihood, on the first hours of stays; baselines are each stay's medians. The folder names the channels.

    Under a budget (see private.py) all that touches patients is DP-SGD and two charged releases: lattices, scales
    and simulated stays are public, nobody is held out. Charts of other channels than the seven vital signs are a copula
    of charged statistics then, without a network, and so are public ones that are mostly empty (see chart_training.py).
    """
    if init is not None:
        raise InputError(f"--init {init.card.name}: vitals are learnt from scratch; leave --init out")
    plain = parse(NetworkShape, dict(network), "model.network")
    settings = parse(VitalsTraining, dict(training), "model.training")
    private = how.budget is not None
    chart = read_charts(data, plain.hours)
    channels = chart.channels
    fields = [channel.field for channel in channels if channel.field]
    columns = columns_of(conditioner.columns, [*fields, *(f for part in data for f in part.fields)])
    if private and channels != VITALS and settings.by == "network":
        raise InputError(
            "model.training.by: under a budget a network learns the seven vital signs alone; leave it out"
        )
    if settings.by == "statistics" or (
        settings.by is None and channels != VITALS and (private or sparse(chart))
    ):
        return _by_statistics(data, chart, conditioner, plain, how)
    scales = None if private or channels == VITALS else chart.scales()
    lattice = SHIPPED if channels == VITALS else Lattice.of(channels, scales)
    shape = VitalsModel(
        **plain.model_dump(),
        channels=[] if channels == VITALS else [vars(channel) for channel in channels],
        scales=[] if channels == VITALS else lattice.scales,
        **(chart.stated() if private else chart.learnt()),
    )
    stays = chart.stays(conditioner, columns, lattice)
    torch.manual_seed(how.seed)
    module = VitalsTrainer(columns, shape, settings)
    if private:
        made = public_stays(settings.prior_stays, shape.hours, conditioner, columns, how.seed)
        population = "+".join(part.source.name for part in data)
        outcome, spent = learn_privately(module, stays, chart.patients, made, how, population)
        measured: dict[str, float] = {}
    else:
        held_out = choose_held_out(chart.patients, settings.held_out, how.seed)
        outcome, measured = learn(module, stays, held_out, how)
        spent = {"privacy": "public"}
    about = card(
        "autoregressive GRU", "vitals", data, outcome.steps, outcome.seconds, columns, shape.model_dump(),
        measured, spent,
    )  # fmt: skip
    about = about.model_copy(update={"planned_steps": outcome.planned})
    return Weights({k: v.half() for k, v in module.net.state_dict().items()}, about)


def _by_statistics(
    data: Sequence[TrainingSet], chart: CohortCharts, conditioner: Conditioner, plain: NetworkShape, how: Fit
) -> Weights:
    """Weights of statistics alone."""
    began = time.monotonic()
    model, columns, spent = learn_charts(data, chart, conditioner, how)
    said = chart.learnt() if how.budget is None else chart.stated()
    shown = [vars(channel) for channel in chart.channels]
    stated = {**said, "channels": shown, "hours": plain.hours, "first_onset": None}
    seconds = time.monotonic() - began
    about = card("Gaussian copula of stays", "vitals", data, 0, seconds, columns, stated, {}, spent)
    arrays = {f"{COPULA}.{name}": torch.from_numpy(array).float() for name, array in vars(model).items()}
    return Weights(arrays, about)


def learn(
    module: VitalsTrainer, stays: Stays, held_out: BoolArray, how: Fit
) -> tuple[Outcome, dict[str, float]]:
    """From the stays that are not held out; figures of the card."""
    settings, rows, kept = module.settings, stays.tensors(), torch.from_numpy(~held_out)
    module.everywhere = False
    outcome = fit(
        module, TensorDataset(*(part[kept] for part in rows)), how, name="vitals", steps=settings.steps,
        batch_size=settings.batch_size, ema=settings.ema,
    )  # fmt: skip
    tested = held_out_loss(module, [part[~kept] for part in rows])
    match_moments(module.net.eval(), stays.take(kept), how.seed)
    return outcome, figures(nats_an_hour=outcome.loss, held_out_nats_an_hour=tested)


def choose_held_out(patients: Sequence[str], share: float, seed: int) -> BoolArray:
    """(row,) whether the row's patient is one of the share that only measures."""
    names = sorted(set(patients))
    chosen = np.random.default_rng(seed).permutation(len(names))[: round(share * len(names))]
    return np.isin(patients, [names[i] for i in chosen])


class VitalsSampler:
    """Charts from trained weights, in blocks of fixed size, so that rows cannot touch each other.

    `hours` is how many rows of time are drawn, as many as in training if not said. A stay may end before (its later
    rows stay empty) unless `ends` is false, which asks for hours the data do not have of stays that end early.
    `levels` says where a stay's medians come from: `profile` moves them to the profile's baselines, `chart` leaves
    them as the network draws them, for whom it does not know any baseline.
    """

    ROWS = 64

    def __init__(
        self, weights: Weights, columns: Sequence[str], trajectory: Trajectory | None = None,
        hours: int | None = None, ends: bool = True, levels: Levels = "profile",
    ) -> None:  # fmt: skip
        self.card, self.columns = weights.card, columns
        self.shape = parse(VitalsModel, weights.card.model, f"weights {weights.card.name}: model")
        self.trajectory, self.hours, self.ends = trajectory or Trajectory(), hours or self.shape.hours, ends
        self.levels = levels
        self.lattice = self.shape.lattice
        self.copula = ChartModel.read(found) if (found := weights.arrays(COPULA)) else None
        if self.copula is None:
            self.net = VitalsNet(len(weights.card.columns), self.shape)
            restore(self.net, weights)
        self._fields = [channel.field for channel in self.lattice.channels if channel.field]
        self._said = chart_facts(self.lattice.channels, self.shape.step_hours)

    def sample(self, batch: Batch) -> list[Record]:
        """One record a row: "vitals" (step, channel), coherent; facts: hours, trajectory, channels.

        With levels of the chart also baseline, the medians by profile field.
        """
        self.trajectory.check(batch.profiles)
        code = select(batch.condition, self.columns, self.card.columns)
        code, onset = self.trajectory.steer(code, self.card.columns)
        known = [
            self._known(seed, profile) for seed, profile in zip(batch.seeds, batch.profiles, strict=True)
        ]
        for row, fields in enumerate(known):
            hidden = [
                i
                for i, c in enumerate(self.card.columns)
                if (f := field_of(c)) in self._fields and f not in fields
            ]
            code[row, hidden] = 0
        return [
            record
            for start in range(0, len(batch), self.ROWS)
            for record in self._block(
                batch,
                slice(start, min(start + self.ROWS, len(batch))),
                code,
                onset / self.shape.step_hours,
                known,
            )
        ]

    def _known(self, seed: int, profile: PatientProfile) -> set[str]:
        """The baselines that this stay is drawn by: all, as many as real charts know, or none.

        A profile that does not know all of them is left as it is.
        """
        if self.levels == "chart":
            return set()
        if not self.shape.known or any(name not in profile.measurements for name in self._fields):
            return set(self._fields)
        random = np.random.Generator(np.random.PCG64([seed, 7]))
        sets, shares = zip(*self.shape.known.items(), strict=True)
        place = np.searchsorted(np.cumsum(shares), random.random() * sum(shares))
        return set(sets[min(int(place), len(sets) - 1)].split("+"))

    def _block(
        self, batch: Batch, rows: slice, code: Float32Array, onset: Float32Array, known: Sequence[set[str]]
    ) -> list[Record]:
        """Up to ROWS records. A block has always as many rows: the sums of a product depend on its shape."""
        seeds, profiles, lattice = batch.seeds[rows], batch.profiles[rows], self.lattice
        context = np.zeros((self.ROWS, code.shape[1]), dtype=np.float32)
        context[: len(seeds)] = code[rows]
        charts: Float32Array | list[Float32Array]
        if self.copula is not None:
            noise = Noise.of(seeds, self.ROWS, max(self.hours, self.shape.hours), lattice.count)
            charts, length = self.copula.draw(
                context, self.card.columns, noise, lattice, self.shape.hours, self.shape.shortest
            )
        else:
            charts, length = self._drawn(context, seeds, onset[rows])
        step, out = self.shape.step_hours, []
        for row, (profile, fields) in enumerate(zip(profiles, known[rows], strict=True)):
            hours = min(int(length[row]), self.hours) if self.ends else self.hours
            levels = {name: value for name, value in profile.measurements.items() if name in fields}
            stay = shifted(charts[row][:hours], levels, lattice)
            table = np.full((self.hours, lattice.count), np.nan, dtype=np.float32)
            table[:hours] = coherent(self.trajectory.apply(stay, lattice, step), lattice)
            facts = {"hours": hours, **self.trajectory.facts(self.shape.first_onset), **self._said}
            if self.levels == "chart":
                facts["baseline"] = baselines(table, lattice.channels)
            out.append(Record({"vitals": table}, facts))
        return out

    def _drawn(
        self, context: Float32Array, seeds: Sequence[int], onset: Float32Array
    ) -> tuple[list[Float32Array], IntArray]:
        """The network's (hour, channel) readings of each stay, drift included, and how long it lasts."""
        lattice = self.lattice
        starts = np.full(self.ROWS, np.nan, dtype=np.float32)
        starts[: len(seeds)] = onset
        uniforms = np.full((self.ROWS, self.hours, lattice.count, DRAWS), 0.5, dtype=np.float32)
        normals = np.zeros((len(seeds), TRENDS * lattice.count))
        for row, seed in enumerate(seeds):
            random = np.random.Generator(np.random.PCG64([seed, 1]))
            uniforms[row] = random.random(uniforms.shape[1:], dtype=np.float32)
            normals[row] = random.standard_normal(normals.shape[1])
        drawn = self.net.draw(*map(torch.from_numpy, (context, starts, uniforms)))
        bins, half, present, length = (part.numpy() for part in drawn)
        readings = to_readings(bins, half, present, lattice, uniforms[..., 1])
        root, until = self.net.drift.numpy(), length if self.ends else np.full(len(length), self.hours)
        stays = [
            with_drift(readings[row, : until[row]], root, normals[row], self.shape.hours, lattice)
            for row in range(len(seeds))
        ]
        return stays, length
