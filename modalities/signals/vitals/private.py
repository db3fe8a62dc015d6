"""Vitals under a budget: pretraining on simulated stays, DP-SGD, and moment matching to two charged releases.

The network is pretrained on simulated stays (prior.py). What moment_matching.py measures exactly in public training,
two Gaussian mechanisms release once: how often each channel is charted, and how far stays drift. The network is then
matched to that for simulated profiles, so that nothing else of the patients is used.
"""

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import TensorDataset

from ....core.cohort.disk import write_atomic
from ....core.condition import select
from ....core.dp.budget import Budget, PrivacyPlan, noise_for
from ....core.dp.dp_statistics import clip, sum_of_squares, symmetric_noise
from ....core.dp.ledger import current_run, pay
from ....core.modality import Conditioner
from ....core.training.fit import Fit, Outcome
from ....core.training.planning import plan as plan_run
from ....core.training.trainer import fit
from ....core.types import Float32Array, FloatArray
from ..channels import CHANNELS
from ..ecg.private import one_each
from .charting import charts
from .moment_matching import LEAST, match_charting, trends_of
from .network import TRENDS, VitalsNet
from .prior import simulated_stays
from .quantizer import Tokens
from .trainer import VitalsTrainer
from .training import Stays

COUNT = len(CHANNELS)
DRIFTS = TRENDS * COUNT
SHARES = {"charting": 0.01, "drift": 0.05}  # of the budget, as squared signal; the rest is DP-SGD's
FILE = "moments.json"
LONG = 2.5  # where a stay's trends are clipped, in its own deviations
FARTHEST = 1.0  # that log odds of charting are moved
ROUNDS, DRAWN = 3, 4000
PRIOR_EMA = 0.99


@dataclass(frozen=True)
class Moments:
    """What was released of the patients, noise in it.

    charted (channel,) log odds in an hour of the stay; drift, (DRIFTS, DRIFTS) second moments of trends in
    standard deviations of the stay; edge, the largest eigenvalue that its noise alone would have.
    """

    charted: FloatArray
    drift: FloatArray
    edge: float

    def save(self, path: Path) -> None:
        """A resumed run reads it again; to draw it anew would cost twice."""
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = {"charted": self.charted.tolist(), "drift": self.drift.tolist(), "edge": self.edge}
        write_atomic(path, json.dumps(kept).encode())

    @classmethod
    def load(cls, path: Path) -> "Moments":
        """Inverse of save()."""
        found = json.loads(path.read_text(encoding="utf-8"))
        return cls(np.array(found["charted"]), np.array(found["drift"]), found["edge"])


def release_plans(budget: Budget, patients: int) -> dict[str, PrivacyPlan]:
    """The two mechanisms by name, each with its share of the budget."""
    noise = noise_for(budget, [*SHARES.values(), 1 - sum(SHARES.values())])
    return {
        what: PrivacyPlan.once(patients, size, budget.delta, f"the {what} of stays")
        for what, size in zip(SHARES, noise, strict=False)
    }


def public_stays(
    count: int, hours: int, conditioner: Conditioner, columns: Sequence[str], seed: int
) -> Stays:
    """Simulated stays as the network takes them."""
    made = simulated_stays(count, hours, np.random.default_rng(seed))
    code = select(conditioner.encode(made.profiles), conditioner.columns, columns)
    tokens = Tokens.of(made.readings)
    return Stays(
        tokens, charts(tokens), torch.from_numpy(made.lengths), torch.from_numpy(code),
        torch.from_numpy(made.onsets.astype(np.float32)),
    )  # fmt: skip


def learn_privately(
    module: VitalsTrainer, stays: Stays, patients: Sequence[str], made: Stays, how: Fit, population: str
) -> tuple[Outcome, dict[str, Any]]:
    """Pretrain on simulated stays, train on the patients' under how.budget, then match; and what the card says."""
    settings, budget = module.settings, how.budget
    assert budget is not None
    releases = release_plans(budget, len(set(patients)))

    def of(steps: int) -> PrivacyPlan:
        return PrivacyPlan.for_budget(
            budget, len(set(patients)), settings.patients_per_step, steps, settings.max_grad_norm,
            list(releases.values()),
        )  # fmt: skip

    plan, seconds = plan_run(module, made.tensors(), how, "vitals", settings.steps, settings.batch_size, of)
    file = how.folder / FILE
    if not (how.resume and (how.ledger is None or current_run(how.folder))):
        file.unlink(missing_ok=True)  # of another run, or of one that has ended
    plans = {f"vitals, {what}": release for what, release in releases.items()}
    spent = pay(how, {"vitals": plan, **plans}, population, seconds=seconds)
    spent["notes"] = f"pretrained on simulated stays; {notes([plan, *releases.values()])}"
    spent["mechanisms"] = mechanisms([plan, *releases.values()])
    if not file.exists():
        release(stays, patients, releases).save(file)
    if not (how.resume and (how.folder / "vitals" / "last.ckpt").exists()):
        pretrain(module, made, how)
    outcome = fit(
        module, TensorDataset(*stays.tensors()), how, name="vitals", steps=settings.steps,
        batch_size=settings.batch_size, plan=plan, patients=patients, ema=settings.ema,
    )  # fmt: skip
    match(module.net.eval(), Moments.load(file), made.code, how.seed)
    return outcome, spent


def notes(plans: Sequence[PrivacyPlan]) -> str:
    """All mechanisms, for the card."""
    return "; ".join(
        f"{plan.mode}: {plan.steps} of noise {plan.noise_multiplier:.3g}, rate {plan.sample_rate:.3g}"
        for plan in plans
    )


def mechanisms(plans: Sequence[PrivacyPlan]) -> list[tuple[float, float, int]]:
    """As a card keeps them, so that the cost of later training on the same patients can be composed with theirs."""
    return [(plan.sample_rate, plan.noise_multiplier, plan.steps) for plan in plans]


def pretrain(module: VitalsTrainer, stays: Stays, how: Fit) -> None:
    """Train the network on simulated stays; the average of its weights stays in it."""
    settings = module.settings
    if not settings.prior_steps:
        return
    module.settings = settings.model_copy(update={"learning_rate": settings.prior_rate})
    public = replace(how, budget=None, ledger=None, limit=None, resume=False)
    fit(
        module, TensorDataset(*stays.tensors()), public, name="vitals_prior", steps=settings.prior_steps,
        batch_size=settings.batch_size, ema=PRIOR_EMA, resumable=False,
    )  # fmt: skip
    module.settings = settings
    module.train()


def release(stays: Stays, patients: Sequence[str], plans: Mapping[str, PrivacyPlan]) -> Moments:
    """Both mechanisms, on one random stay of each patient."""
    random = np.random.default_rng(secrets.randbits(128))
    chosen = stays.take(torch.from_numpy(one_each(patients)))
    readings = chosen.readings()
    noise = {what: plan.noise_multiplier for what, plan in plans.items()}
    inside = np.arange(readings.shape[1]) < chosen.length.numpy()[:, None]
    counts = np.concatenate(
        [(np.isfinite(readings) & inside[..., None]).sum(1), inside.sum(1)[:, None]], axis=1
    )
    bound = readings.shape[1] * np.sqrt(COUNT + 1)  # no patient has more: nothing is clipped
    sums = clip(counts / bound).sum(0) + noise["charting"] * random.standard_normal(COUNT + 1)
    share = (sums[:-1] / max(sums[-1], 1e-6)).clip(0.01, 0.99)
    rows = _drift_rows(
        np.where((chosen.length.numpy() >= readings.shape[1])[:, None, None], readings, np.nan)
    )
    squares = sum_of_squares(rows) + noise["drift"] * symmetric_noise(rows.shape[1], random)
    unit = noise["drift"] * 2 * LONG**2 / max(np.trace(_pairs(squares)) / DRIFTS, LEAST)
    return Moments(np.log(share / (1 - share)), _moments(squares), float(np.sqrt(2 * DRIFTS) * unit))


def match(net: VitalsNet, moments: Moments, code: torch.Tensor, seed: int) -> None:
    """Set the network's `charting` and `drift` by its draws for these (simulated) conditions."""
    wanted = torch.from_numpy(moments.charted).float()
    drawn = match_charting(net, wanted, code[:DRAWN], seed, [1] * ROUNDS, FARTHEST)
    lacking = moments.drift - _moments(sum_of_squares(_drift_rows(drawn)))
    values, vectors = np.linalg.eigh((lacking + lacking.T) / 2)
    kept = np.sqrt((values.clip(min=0) ** 2 - moments.edge**2).clip(min=0))
    net.drift.copy_(torch.from_numpy((vectors * np.sqrt(kept)).astype(np.float32)))


def _drift_rows(readings: Float32Array) -> FloatArray:
    """(stay, DRIFTS + channel) no longer than 1: trends, and which channels have any."""
    trends, known = trends_of(readings)
    return np.concatenate([clip(trends * known / LONG), known[:, ::2] / np.sqrt(COUNT)], axis=1) / np.sqrt(2)


def _pairs(squares: FloatArray) -> FloatArray:
    """(DRIFTS, DRIFTS) how many stays have both trends."""
    return np.asarray(2 * COUNT * squares[DRIFTS:, DRIFTS:].repeat(2, axis=0).repeat(2, axis=1))


def _moments(squares: FloatArray) -> FloatArray:
    """(DRIFTS, DRIFTS) mean products of trends, zero for pairs that too few stays have."""
    pairs = _pairs(squares)
    return np.asarray((pairs >= LEAST) * 2 * LONG**2 * squares[:DRIFTS, :DRIFTS] / pairs.clip(min=1))
