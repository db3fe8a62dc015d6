"""Training of the omics model: the public VAE with its aggregated posterior, or private moments alone."""

import secrets
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.utils.data import TensorDataset

from ...core.config import Settings
from ...core.dp.budget import PrivacyPlan
from ...core.dp.ledger import pay
from ...core.errors import InputError
from ...core.modality import Conditioner, TrainingSet
from ...core.training.fit import Fit
from ...core.training.trainer import fit
from ...core.training.weights import Card, DataUsed, Weights, figures, halves
from ...core.types import FloatArray
from . import class_means
from .generator import Sampler
from .latent_prior import LatentPrior
from .marginals import Marginals
from .private import (
    MOST_NOISE,
    RELEASES,
    SURVIVAL,
    Mechanisms,
    Moments,
    learn,
    modules_of,
    noise_limit,
    noise_of,
)
from .scales import Public
from .survival import NORM, PAM50, Expected, Survival, fit_sums, rows_of
from .survival import fit as fit_survival
from .tumours import Tumours, read_tumours
from .vae import Network, OmicsVae, Training

if TYPE_CHECKING:
    from ...core.dp.budget import Budget

CALIBRATION = 4000  # tumours drawn to see which scores a model gives
LEAST_PATIENTS = 60  # for marginals and classes to mean anything


class Config(Settings):
    """The `model` part of a training YAML; network and training are of the public VAE.

    steer: the fields of the profile that expression follows; others may still bear on survival. drowned: what happens
    under a budget whose noise hides the classes.
    """

    assays: list[str] = Field(default_factory=list)  # empty: all that the data have
    steer: list[str] = Field(default_factory=list)  # empty: all that the data map
    drowned: Literal["refuse", "learn"] = "refuse"
    network: Network = Field(default_factory=Network)
    training: Training = Field(default_factory=Training)


def train(data: Sequence[TrainingSet], conditioner: Conditioner, config: Config, how: Fit) -> Weights:
    """Weights from all rows of the sets. Raises InputError: too few patients, or what read_tumours refuses."""
    return learn_from(read_tumours(data, conditioner, config.assays, config.steer), data, config, how)


def learn_from(tumours: Tumours, data: Sequence[TrainingSet], config: Config, how: Fit) -> Weights:
    """Weights of tumours that were read; the card names the sets. Raises InputError for too few patients."""
    if len(tumours.patients) < LEAST_PATIENTS:
        raise InputError(
            f"omics: {len(tumours.patients)} patients are too few to learn from; {LEAST_PATIENTS} patients would do"
        )
    if how.budget is not None:
        return _privately(tumours, data, how, how.budget, config.drowned == "learn")
    return _publicly(tumours, data, config, how)


def _publicly(tumours: Tumours, data: Sequence[TrainingSet], config: Config, how: Fit) -> Weights:
    """Normal scores, VAE, the prior of its latents, the residue, and the marginals."""
    rng = np.random.default_rng(how.seed)
    marginals = Marginals.fit(tumours.values)
    scores = torch.from_numpy(marginals.to_scores(tumours.values, rng))
    code = torch.from_numpy(tumours.code)
    torch.manual_seed(how.seed)
    sizes = [len(features) for features in tumours.layout.symbols.values()]
    module = OmicsVae(sizes, tumours.columns, config.network, config.training)
    outcome = fit(
        module, TensorDataset(scores, code), how, name="omics", steps=config.training.steps,
        batch_size=config.training.batch_size, ema=0.99,
    )  # fmt: skip
    with torch.no_grad():
        latent = module.encode(scores, code)[0]
        left = (scores - module.decoder(latent, code)).double().numpy()
    factors, values, spread = residue(left, config.network.factors)
    prior = LatentPrior.fit(
        np.concatenate([latent.double().numpy(), values], axis=1),
        tumours.code[:, tumours.linear].astype(np.float64), tumours.subtype, config.network.blur, len(tumours.classes),
    )  # fmt: skip
    tensors = {f"decoder.{k}": v for k, v in module.decoder.state_dict().items()} | prior.tensors()
    tensors |= {"factors": torch.from_numpy(factors), "spread": torch.from_numpy(spread)}
    if tumours.followed is not None:
        tensors |= _survival(
            fit_survival(tumours.profiles, tumours.subtype, tumours.followed, _expected(tumours))
        )
    codes = (
        ""
        if config.network.blur == 1
        else "holds a latent code of each training patient: for public data only"
    )
    counts = np.bincount(tumours.subtype[tumours.subtype >= 0], minlength=len(tumours.classes))
    card = _card(
        tumours, data, config.network.width, config.network.latent, counts / max(1, counts.sum()),
        kind="conditional VAE with its aggregated posterior", privacy="public", steps=outcome.steps,
        planned_steps=outcome.planned, seconds=round(outcome.seconds),
        figures=figures(training_loss=outcome.loss), notes=codes,
    )  # fmt: skip
    return _calibrated(tensors, marginals, card, tumours, how.seed)


def residue(left: FloatArray, count: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Principal components of what the decoder leaves (row, feature); NaN is missing.

    Their loadings (feature, factor), each row's values (row, factor), and the spread that remains (feature,).
    """
    present = ~np.isnan(left)
    filled = np.nan_to_num(left) * np.sqrt(len(left) / present.sum(0))
    u, s, vt = np.linalg.svd(filled, full_matrices=False)
    size = np.sqrt(len(left))
    load, values = (s[:count, None] * vt[:count] / size).T, u[:, :count] * size
    rest = np.square(filled).mean(0) - np.square(load).sum(1)
    return load, values, np.sqrt(np.maximum(rest, 1e-3))


def _calibrated(
    tensors: dict[str, Tensor], marginals: Marginals, card: Card, tumours: Tumours, seed: int
) -> Weights:
    """The weights, their marginals fitted to the scores that the model draws for its own patients."""
    tensors = {name: tensor.half() for name, tensor in tensors.items()}
    sampler = Sampler(Weights(tensors | halves("marginals", vars(marginals)), card))
    rng = np.random.default_rng(seed)
    rows = rng.choice(len(tumours.patients), CALIBRATION)
    subtype = np.where(
        tumours.subtype >= 0, tumours.subtype, rng.integers(len(tumours.classes), size=len(tumours.subtype))
    )
    scores = sampler.scores(
        subtype[rows], tumours.code[rows], rng.integers(1 << 62, size=CALIBRATION).tolist()
    )
    whole = np.concatenate([scores[name] for name in tumours.layout.symbols], axis=1)
    return Weights(tensors | halves("marginals", vars(marginals.calibrated(whole))), card)


def _expected(tumours: Tumours) -> Expected:
    """What is publicly known of the classes' survival."""
    return PAM50 if tumours.classes.field == "pam50" else Expected.nothing(len(tumours.classes))


def _survival(model: Survival) -> dict[str, Tensor]:
    return {f"survival.{name}": torch.from_numpy(value) for name, value in vars(model).items()}


def _privately(
    tumours: Tumours, data: Sequence[TrainingSet], how: Fit, budget: "Budget", drowned: bool
) -> Weights:
    """Four Gaussian mechanisms, and one for survival, booked before the first; the decoder is the line they give."""
    if how.resume:
        raise InputError("private omics learns in one go; leave out --resume")
    count = len(tumours.patients)
    budget.check(count)
    survival = tumours.followed is not None
    modules = bool(modules_of(tumours, detail=False))
    hidden = (
        0.0 if modules or len(tumours.classes) < 2 else class_means.class_noise(tumours, budget, survival)
    )
    limit = noise_limit(budget, survival, modules)
    drowns = limit > MOST_NOISE * count
    by_classes = hidden > class_means.NOISY or (drowns and hidden > 0)
    if by_classes and not drowned:
        class_means.require_signal(tumours, budget, survival, (how.asked or budget.epsilon) / budget.epsilon)
    elif drowns and not drowned:
        raise InputError(
            f"epsilon {budget.epsilon:g} at delta {budget.delta:g}: {count} patients are too few, the noise would "
            f"hide the classes; {int(np.ceil(limit / MOST_NOISE))} patients would do, or a larger epsilon"
        )
    detail, noise = noise_of(budget, count, survival, modules)
    if by_classes:
        noise = class_means.multipliers(budget, survival)
    releases = [*RELEASES, *[SURVIVAL] * survival]
    plans = {
        what: PrivacyPlan.once(count, multiplier, budget.delta, what)
        for what, multiplier in zip(releases, noise, strict=True)
    }
    note = class_means.described(hidden, len(tumours.classes)) if by_classes else ""
    paid = pay(how, plans, tumours.source.name, note=note)
    began = time.monotonic()
    rng = np.random.Generator(np.random.Philox(secrets.randbits(128)))  # the operating system's entropy
    mechanisms = Mechanisms(noise, detail, rng)
    moments = class_means.learn(tumours, mechanisms) if by_classes else learn(tumours, mechanisms)
    tensors = _of_moments(moments, tumours)
    if tumours.followed is not None:
        known = _expected(tumours)
        rows = rows_of(tumours.profiles, tumours.subtype, tumours.followed, known)
        tensors |= _survival(fit_sums(*mechanisms.sum(rows, NORM, releases.index(SURVIVAL)), count, known))
    basis = (
        "public gene modules" if modules else "classes" if by_classes else "random projections and classes"
    )
    card = _card(
        tumours, data, 0, moments.loadings.shape[1], moments.factors.shares,
        kind=f"private moments of {basis}", steps=len(releases),
        seconds=round(time.monotonic() - began, 1), **paid,
    )  # fmt: skip
    return Weights(tensors, card)


def _of_moments(moments: Moments, tumours: Tumours) -> dict[str, Tensor]:
    """Tensors of a generator whose decoder is a line; all post-processing."""
    public, factors = Public.of(tumours), moments.factors
    marginals = Marginals.normal(
        moments.location, moments.spread, moments.undetected, public.low, public.high
    )
    features = len(moments.loadings)
    line = np.concatenate([moments.loadings, np.zeros((features, len(tumours.columns)))], axis=1)
    decoder = {
        "decoder.line.weight": torch.from_numpy(line).half(),
        "decoder.line.bias": torch.zeros(features).half(),
        "factors": torch.zeros(features, 0).half(),
        "spread": torch.from_numpy(moments.residue).half(),
    }
    normal = LatentPrior.normal(factors.shares, factors.centres, factors.root, factors.line, factors.middle)
    return decoder | normal.tensors() | halves("marginals", vars(marginals))


def _card(
    tumours: Tumours, data: Sequence[TrainingSet], width: int, latent: int, shares: FloatArray, **more: Any
) -> Card:
    """What every omics card says, and what its training adds."""
    used = [
        DataUsed(
            **vars(part.source),
            rows=len(part),
            patients=len({p.patient_id for p in part.profiles}),
            privacy=more["privacy"],
        )
        for part in data
    ]
    model = {
        "decoder": {"latent": latent, "width": width},
        "assays": {name: list(features) for name, features in tumours.layout.symbols.items()},
        "values": dict(tumours.kinds),
        "classes": tumours.classes.for_card(),
        "subtype_shares": dict(zip(tumours.classes.names, np.round(shares, 4).tolist(), strict=True)),
        "breast": tumours.breast,
        "tumour": tumours.tumour,
        "indicated": list(tumours.indicated),
        "survival": tumours.followed is not None,
    }
    return Card(name="omics", modality="omics", data=used, columns=list(tumours.columns), model=model, **more)
