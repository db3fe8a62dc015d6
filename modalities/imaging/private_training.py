"""What a hospital's images teach under a budget: the Gaussian prior, the network by DP-SGD, spectrum and greys."""

import json
import math
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ...core.cohort.disk import write_atomic
from ...core.config import read_json
from ...core.dp.budget import Budget, PrivacyPlan, noise_for
from ...core.dp.ledger import pay
from ...core.errors import InputError
from ...core.fields import SHIPPED, Vocabulary
from ...core.modality import Batch
from ...core.profile import PatientProfile, seed_for
from ...core.training.fit import Outcome
from ...core.training.planning import plan as plan_run
from ...core.training.trainer import fit as run
from ...core.training.weights import Weights, halves
from ...core.types import Float32Array, FloatArray, IntArray
from . import histogram_matching, prior_check, private_matching
from .diffusion import ImageDiffusion
from .gaussian_prior import MEAN_SHARE, GaussianPrior, fit_private, require_classes
from .generator import ImageGenerator
from .images import Images
from .model import Denoiser, ImageTraining, scaled
from .prior_check import Distance
from .training_config import Config

if TYPE_CHECKING:
    from ...core.training.fit import Fit

# Of a run's folder; the name stays, so that an older run resumes with what it released
PRIOR_FILE = "law.json"
NETWORK = "imaging, network"  # purpose of its steps in the ledger
MEANS, COVARIANCES = "imaging, class means", "imaging, covariance"
RELEASES = {
    MEANS: "class means of the Gaussian prior",
    COVARIANCES: "covariance of the Gaussian prior",
    private_matching.PURPOSE: "spectrum and greys",
}
DRAWS = 256  # of the model, for the side of the maps that costs nothing


@dataclass(frozen=True)
class Learnt:
    """Prior, network's outcome, what the card says of the cost, how far the prior's draws are, and the noise
    multiplier of spectrum and greys; figures of the prior's critic.
    """

    prior: GaussianPrior | None
    outcome: Outcome
    spent: dict[str, Any]
    distance: Distance | None = None
    matching: float | None = None
    figures: Mapping[str, float] = field(default_factory=dict)


def declared_by(images: Images) -> Vocabulary:
    """The vocabulary with what the sets declare."""
    return SHIPPED.settle(field for part in images.parts for field in part.vocabulary.declared)


def releases(settings: Config, training: ImageTraining, budget: Budget, checked: float) -> dict[str, float]:
    """Noise multipliers of what is released once, by purpose.

    `checked` is the share of the budget that measures the prior. Prior and maps have `prior_share` of what it leaves,
    DP-SGD the rest; without steps they have all.
    """
    given = (1 - checked) * (training.prior_share if training.steps else 1.0)
    maps = given * private_matching.SHARE if settings.histogram_matching else 0.0
    prior = given - maps if settings.prior is not None else 0.0
    shares = {
        MEANS: prior * MEAN_SHARE,
        COVARIANCES: prior * (1 - MEAN_SHARE),
        private_matching.PURPOSE: maps,
    }
    shares = {purpose: share for purpose, share in shares.items() if share > 0}
    if not shares:
        return {}
    rest = 1 - sum(shares.values())
    noise = noise_for(budget, [*shares.values(), *([rest] if rest > 1e-9 else [])])
    return dict(zip(shares, noise, strict=False))


def learn(
    module: ImageDiffusion, images: Images, code: Float32Array, settings: Config,
    training: ImageTraining, how: "Fit", checked: Weights | None,
) -> Learnt:  # fmt: skip
    """All is charged before any of it is learnt.

    Before the rest a small share measures how far the images are from those that the `checked` weights draw.
    """
    budget = how.budget
    assert budget is not None
    if settings.prior is not None:
        require_classes(settings.prior.by, images.profiles, declared_by(images), settings.prior.bounds)
    first = one_each(images.patients, _entropy())
    plans: dict[str, PrivacyPlan] = {}
    apart = noise_for(budget, [prior_check.SHARE, 1 - prior_check.SHARE])[0]
    if checked is not None and not prior_check.is_measurable(len(first), apart):
        checked = None
    if checked is not None:
        plans[prior_check.PURPOSE] = PrivacyPlan.once(len(first), apart, budget.delta, "mean of features")
    noise = releases(settings, training, budget, prior_check.SHARE if checked is not None else 0.0)
    for purpose, multiplier in noise.items():
        plans[purpose] = PrivacyPlan.once(len(first), multiplier, budget.delta, RELEASES[purpose])
    plan, seconds = None, None
    if training.steps:
        beside = list(plans.values())

        def of(steps: int) -> PrivacyPlan:
            return PrivacyPlan.for_budget(
                budget, len(first), training.patients_per_step, steps, training.max_grad_norm, beside
            )

        made_up = [torch.zeros(1, *images.pixels.shape[1:], dtype=torch.uint8), torch.zeros(1, code.shape[1])]
        plan, seconds = plan_run(module, made_up, how, NETWORK, training.steps, training.batch_size, of)
        plans[NETWORK] = plan
    if settings.prior is None and plan is None:
        raise InputError("model: nothing to learn: training.steps is 0 and there is no prior")
    population = "+".join(part.source.name for part in images.parts)
    distance: Distance | None = None
    if checked is None:
        spent = pay(how, plans, population, seconds=seconds)
    else:
        pay(how, plans, population, seconds=seconds, only=[prior_check.PURPOSE])
        distance = prior_check.private_distance(
            checked, images.pixels[torch.from_numpy(first), : module.net.channels], apart, how.folder, how.resume,
            _entropy(),
        )  # fmt: skip
        distance.judge(checked.card.name, settings.prior_mismatch)
        spent = pay(how, plans, population, seconds=seconds, rest=True)
    prior, outcome = None, Outcome(0, 0.0, math.nan)
    if settings.prior is not None:
        prior = released(how.folder / PRIOR_FILE) if how.resume else None
        if prior is None:
            z = coordinates(module.net, images.laid()[torch.from_numpy(first)])
            prior = fit_private(
                z, [images.profiles[i] for i in first], settings.prior, (noise[MEANS], noise[COVARIANCES]),
                module.net.basis.flatten(1).norm(dim=1).double().numpy(), code.shape[1],
                _entropy(), declared_by(images),
            )  # fmt: skip
            keep(prior, how.folder / PRIOR_FILE)
    if plan is not None:
        outcome = run(
            module, images.examples(torch.from_numpy(code)), how, name="imaging",
            steps=training.steps, batch_size=training.batch_size, plan=plan, patients=images.patients,
            ema=training.ema,
        )  # fmt: skip
    return Learnt(prior, outcome, spent, distance, noise.get(private_matching.PURPOSE))


def matched(weights: Weights, images: Images, noise: float, how: "Fit") -> Weights:
    """The weights with maps to images, one a patient, under the noise multiplier.

    The draws are of people of whom nothing is known: the prior draws their classes by its released shares.
    """
    people = tuple(PatientProfile(str(i)) for i in range(DRAWS))
    seeds = tuple(seed_for(how.seed, str(i), "spectrum and greys") for i in range(DRAWS))
    columns = weights.card.columns
    drawn = ImageGenerator(weights, columns).draw(
        Batch(people, np.zeros((DRAWS, len(columns)), dtype=np.float32), seeds)
    )
    first = torch.from_numpy(one_each(images.patients, _entropy()))
    maps = private_matching.fit_private(
        (drawn.astype(np.float64) + 1) / 2, images.pixels[first, :1].numpy() / 255.0, noise,
        how.folder / private_matching.FILE, how.resume, _entropy(),
    )  # fmt: skip
    return Weights({**weights.tensors, **halves(histogram_matching.STORED, maps.tensors())}, weights.card)


def _entropy() -> np.random.Generator:
    return np.random.default_rng(secrets.randbits(128))


def keep(prior: GaussianPrior, path: Path) -> None:
    """What was released once is read again when the run is resumed, never drawn again: that would cost twice."""
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {name: array.tolist() for name, array in prior.tensors().items()}
    write_atomic(path, json.dumps({"header": prior.header(), "arrays": arrays}).encode())


def released(path: Path) -> GaussianPrior | None:
    """The prior that an earlier part of this run released, if it came that far."""
    if not path.exists():
        return None
    kept = read_json(path.read_text(encoding="utf-8"))
    return GaussianPrior.restore(kept["header"], {k: np.asarray(v) for k, v in kept["arrays"].items()})


def one_each(patients: Sequence[str], random: np.random.Generator) -> IntArray:
    """A random row of each patient: the unit is the patient, however many images one has."""
    order = random.permutation(len(patients))
    _, first = np.unique(np.asarray(patients)[order], return_index=True)
    return np.asarray(order[first])


def coarse_images(net: Denoiser, z: FloatArray | Float32Array) -> Float32Array:
    """(row, channel, y, x) in [-1, 1] of leading components z (row, component), with nothing drawn on them."""
    out = []
    with torch.no_grad():
        for begin in range(0, len(z), 256):
            rows = torch.from_numpy(z[begin : begin + 256]).float()
            weights = torch.zeros(len(rows), len(net.basis))
            weights[:, : rows.shape[1]] = rows
            images = net.source(torch.zeros(len(rows), *net.mean.shape), weights)
            out.append(images[:, : net.channels].clamp(-1, 1).numpy())
    return np.concatenate(out)


def coordinates(net: Denoiser, pixels: Tensor) -> FloatArray:
    """(row, component) of 8-bit images."""
    with torch.no_grad():
        parts = (scaled(pixels[i : i + 512]) for i in range(0, len(pixels), 512))
        return np.concatenate([net.coordinates(part).double().numpy() for part in parts])
