"""Train the vitals model, publicly or under a budget."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import TensorDataset

from ....core.condition import columns_of
from ....core.config import parse
from ....core.errors import InputError
from ....core.modality import Conditioner, TrainingSet
from ....core.training.fit import Fit, Outcome
from ....core.training.trainer import fit
from ....core.training.weights import Weights, figures
from ....core.types import BoolArray
from ..channels import VITALS
from ..data import card
from .chart_training import learn_charts, sparse
from .cohort_charts import CohortCharts, read_charts
from .moment_matching import match_moments
from .network import NetworkShape, VitalsModel
from .private import learn_privately, public_stays
from .quantizer import SHIPPED, Lattice
from .sampler import COPULA
from .trainer import VitalsTrainer, held_out_loss
from .training import Stays, VitalsTraining


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
