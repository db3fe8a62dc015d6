"""Train the flow and its Gaussian prior, publicly or under a budget; hand the public networks to their files."""

import json
import math
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.utils.data import Dataset, Subset, TensorDataset

from ...core.cohort.disk import write_atomic
from ...core.condition import columns_of, select
from ...core.config import Settings, parse, read_json
from ...core.dp.budget import PrivacyPlan, noise_for
from ...core.dp.ledger import pay
from ...core.errors import InputError
from ...core.fields import SHIPPED, Vocabulary
from ...core.modality import Batch, Conditioner, TrainingSet
from ...core.profile import seed_for
from ...core.remarks import remark
from ...core.training.fit import Outcome
from ...core.training.planning import plan as plan_run
from ...core.training.trainer import fit as run
from ...core.training.weights import Card, Weights, figures, halves
from ...core.types import BoolArray, Float32Array, FloatArray, IntArray
from . import cosine_training, features, histogram_matching, prior_check, stack, upsampler
from .adapters import merge, restrict
from .data import channels_of, options_of
from .formats.kinds import KINDS, check_kind
from .gaussian_prior import (
    MEAN_SHARE,
    STORED,
    GaussianPrior,
    PriorSettings,
    fit_private,
    fit_public,
    require_classes,
)
from .generator import ImageGenerator
from .images import Images
from .model import (
    FLOW,
    Denoiser,
    ImageDiffusion,
    ImageModel,
    ImageTraining,
    Shows,
    network_tensors,
    require_same_shape,
    scaled,
    shows_of,
)
from .prior_check import Distance
from .subject import Subject

if TYPE_CHECKING:
    from ...core.training.fit import Fit

# Of a run's folder; the name stays, so that an older run resumes with what it released
PRIOR_FILE = "law.json"
NETWORK = "imaging, network"  # purpose of its steps in the ledger


class Config(Settings):
    """The `model` part of a training YAML.

    `prior` is the Gaussian prior, `histogram_matching` the post-processing (both files of these names).
    `prior_mismatch` is what becomes of images of another kind than those of --init.
    """

    kind: Literal["flow", "upsampler", "features", "cosine"] = "flow"
    network: dict[str, Any] = Field(default_factory=dict)
    training: dict[str, Any] = Field(default_factory=dict)
    renamed: ClassVar[Mapping[str, str]] = {"law": "prior", "finish": "histogram_matching"}
    prior: PriorSettings | None = None
    histogram_matching: bool = False
    prior_mismatch: prior_check.Mismatch = "refuse"
    shows: Shows = Shows()


def train(
    data: Sequence[TrainingSet],
    conditioner: Conditioner,
    config: Mapping[str, Any],
    how: "Fit",
    init: Weights | None,
) -> Weights:
    """The network that config's `kind` names. Raises InputError."""
    settings = parse(Config, dict(config), "model")
    if init is None and "prior_mismatch" in config:
        raise InputError("model.prior_mismatch: there is no prior without --init; leave it out")
    if settings.kind in ("flow", "cosine"):
        settings = settings.model_copy(update={"shows": shown(data, settings.shows, init)})
    if settings.kind == "cosine":
        if init is not None or settings.training or settings.prior or settings.histogram_matching:
            raise InputError(
                "model.kind: a cosine model learns at one go, without --init, training, prior or histogram_matching"
            )
        return cosine_training.train(data, conditioner, settings.network, settings.shows, how)
    if settings.kind == "flow":
        return train_flow(data, conditioner, settings, how, init)
    if how.budget is not None:
        raise InputError(f"the {settings.kind} network learns from public data alone: say --public")
    if settings.kind == "upsampler":
        return upsampler.train(data, settings.network, settings.training, how, init)
    if init is not None:
        raise InputError("the feature net learns from scratch: leave out --init")
    return features.train(data, settings.network, settings.training, how)


def shown(data: Sequence[TrainingSet], wanted: Shows, init: Weights | None) -> Shows:
    """What the images are of: as the training YAML says, else the folder, its tags, or the weights it starts from.

    Where nobody names a body part, none is made up.
    """
    found: dict[str, Any] = {} if init is None else {"body_part": shows_of(init.card).body_part}
    found |= Subject.of_data(data).shows()
    if "iod" in found and not KINDS[found["iod"]].colour and channels_of(data) > 1:
        del found["iod"]
    stated = next((said for part in data if (said := options_of(part).shows)), {})
    shows = parse(
        Shows, {**found, **stated, **wanted.model_dump(exclude_unset=True)}, "options.shows of dataset.yaml"
    )
    return shows


def train_flow(
    data: Sequence[TrainingSet], conditioner: Conditioner, settings: Config, how: "Fit", init: Weights | None
) -> Weights:
    """The flow and its Gaussian prior. Under a budget the prior comes first, then the network, if it has steps."""
    channels = {} if init is not None or "channels" in settings.network else {"channels": channels_of(data)}
    shape = parse(ImageModel, {**settings.network, **channels}, "model.network")
    if shape.channels > 1 and channels and settings.histogram_matching:
        remark("imaging: colour images are not matched to histograms (model.histogram_matching)")
        settings = settings.model_copy(update={"histogram_matching": False})
    training = parse(ImageTraining, settings.training, "model.training")
    wanted = columns_of(conditioner.columns, [name for part in data for name in part.fields])
    if init is not None:
        wanted = [c for c in conditioner.columns if c in {*wanted, *init.card.columns}]
        require_same_shape(init.card, shape)
        if settings.prior_mismatch != "ignore":
            prior_check.require_alike(data, init.card, settings.prior_mismatch)
    shows = settings.shows
    if shape.channels > 1 and shows.upsampler:
        raise InputError("model.shows.upsampler: RGB images are not enlarged; leave it out")
    if shows.iod is not None:
        check_kind(shows.iod, shape.channels > 1, shows.slices, shows.body_part)
    if shows.slices > 1 and settings.prior is not None and how.budget is not None:
        raise InputError(
            "model.prior: a private prior does not know a slice's place; leave it out, or shows.slices"
        )
    if settings.prior is not None and settings.prior.mixture > 1 and how.budget is not None:
        raise InputError("model.prior.mixture: a private prior has one normal a class; leave it out")
    if settings.histogram_matching and (how.budget is not None or shape.channels > 1 or shows.slices > 1):
        raise InputError("model.histogram_matching: works on public grey images of one slice; leave it out")
    images = Images.read(data, shape.size, shape.channels)
    settings.shows.remark_nameless()
    code = select(conditioner.encode(images.profiles), conditioner.columns, wanted)
    if shows.slices > 1:
        if not np.isfinite(images.places).any():
            raise InputError(
                f"model.shows.slices: {shows.slices} slices are to be drawn, but no image lies in a stack; "
                "expected NIfTI volumes, multi-frame files, or DICOM slices with their series and position"
            )
        wanted, code = [*wanted, *stack.COLUMNS], np.hstack([code, stack.code_of(images.places)])
    torch.manual_seed(how.seed)
    if init is None and how.budget is None:
        shape, training = within(shape, training, len(images.pixels))
    module = ImageDiffusion(wanted, shape, training)
    if init is not None:
        start(module.net, init, wanted)
    elif how.budget is None:
        module.net.fit_source(scaled(images.pixels))
    elif settings.prior is not None:
        raise InputError(
            "a private prior is one of public components: start from public weights of such images, "
            "with --init (imaging_prior is the shipped one, of chest X-rays)"
        )
    restrict(module.net, training.trainable, training.rank)
    checked = None if settings.prior_mismatch == "ignore" else init
    distance: Distance | None = None
    if how.budget is None:
        if checked is not None:
            distance = prior_check.public_distance(checked, images.pixels)
            distance.judge(checked.card.name, "warn")
        prior, outcome, spent = _public(module, images, code, settings, training, how)
    else:
        prior, outcome, spent, distance = _private(module, images, code, settings, training, how, checked)
    merge(module.net)
    used = images.used(spent["privacy"])
    before = [] if init is None else [d for d in init.card.data if d not in used]
    model = {**shape.model_dump(), "shows": settings.shows.model_dump()}
    if prior is not None:
        model[STORED] = prior.header()
    card = Card(
        name="imaging", modality="imaging", kind=FLOW, data=used + before,
        steps=outcome.steps, planned_steps=outcome.planned, seconds=round(outcome.seconds), columns=wanted, model=model,
        figures=figures(training_loss=outcome.loss, **(distance.figures() if distance else {})), **spent,
    )  # fmt: skip
    tensors = {name: tensor.half() for name, tensor in module.net.state_dict().items()}
    if prior is not None:
        tensors |= halves(STORED, prior.tensors())
    weights = Weights(tensors, card)
    return matched(weights, images, conditioner, how.seed) if settings.histogram_matching else weights


def within(shape: ImageModel, training: ImageTraining, images: int) -> tuple[ImageModel, ImageTraining]:
    """Settings with no more principal components of the source than so many images can give; fewer are remarked.

    Raises InputError for a single image, which has none.
    """
    most = min(images - 1, shape.channels * shape.size**2)
    if shape.components <= most:
        return shape, training
    if most < 1:
        raise InputError(f"imaging: expected 2 training images at least, got {images}")
    remark(
        f"imaging: {images} images give {most} principal components for the source, {shape.components} need "
        f"{shape.components + 1} images; the model has {most} (model.network.components)"
    )
    kept = tuple(dict.fromkeys(min(number, most) for number in training.kept))
    return shape.model_copy(update={"components": most}), training.model_copy(update={"kept": kept})


def matched(weights: Weights, images: Images, conditioner: Conditioner, seed: int) -> Weights:
    """The weights with histogram matching, fitted on the profiles of the prior's sets, or of all if there are none."""
    chosen = np.flatnonzero(fits_prior(images))
    generator = ImageGenerator(weights, conditioner.columns)
    drawn = []
    for begin in range(0, len(chosen), 64):
        rows = chosen[begin : begin + 64]
        people = tuple(images.profiles[i] for i in rows)
        seeds = tuple(seed_for(seed, str(i), "finish") for i in rows)
        drawn.append(generator.draw(Batch(people, conditioner.encode(people), seeds)))
    synthetic = (np.concatenate(drawn)[:, 0].astype(np.float64) + 1) / 2
    real = images.pixels[torch.from_numpy(chosen), 0].numpy() / 255.0
    maps = halves(histogram_matching.STORED, histogram_matching.fit(synthetic, real).tensors())
    return Weights({**weights.tensors, **maps}, weights.card)


Learnt = tuple[GaussianPrior | None, Outcome, dict[str, Any]]


def _public(
    module: ImageDiffusion, images: Images, code: Float32Array, settings: Config,
    training: ImageTraining, how: "Fit",
) -> Learnt:  # fmt: skip
    """A small set may be shown more often (option `repeat`); the prior is that of the sets with `prior: true`."""
    often = np.array([int(part.options.get("repeat", 1)) for part in images.parts])[images.origin]
    examples: Dataset[Any] = TensorDataset(images.pixels, torch.from_numpy(code))
    if often.max() > 1:
        examples = Subset(examples, np.repeat(np.arange(len(often)), often).tolist())
    outcome = run(
        module, examples, how, name="imaging", steps=training.steps, batch_size=training.batch_size,
        ema=training.ema,
    )  # fmt: skip
    prior = None
    if settings.prior is not None:
        chosen = fits_prior(images)
        z = coordinates(module.net, images.pixels[torch.from_numpy(chosen)])
        profiles = [p for p, taken in zip(images.profiles, chosen, strict=True) if taken]
        prior = fit_public(z, code[chosen], profiles, settings.prior, declared_by(images))
    return prior, outcome, {"privacy": "public"}


def declared_by(images: Images) -> Vocabulary:
    """The vocabulary with what the sets declare."""
    return SHIPPED.settle(field for part in images.parts for field in part.vocabulary.declared)


def fits_prior(images: Images) -> BoolArray:
    """(row,) whether its set is one of those with `prior: true`; all where no set says so."""
    chosen = np.array([bool(part.options.get("prior")) for part in images.parts])
    return (chosen if chosen.any() else ~chosen)[images.origin]


def _private(
    module: ImageDiffusion, images: Images, code: Float32Array, settings: Config,
    training: ImageTraining, how: "Fit", checked: Weights | None,
) -> tuple[GaussianPrior | None, Outcome, dict[str, Any], Distance | None]:  # fmt: skip
    """Both are charged before either is learnt; the prior takes `prior_share` of the budget, DP-SGD the rest.

    Before them a small share measures how far the images are from those that the `checked` weights draw.
    """
    budget = how.budget
    assert budget is not None
    if settings.prior is not None:
        require_classes(settings.prior.by, images.profiles, declared_by(images))
    first = one_each(images.patients, np.random.default_rng(secrets.randbits(63)))
    share = training.prior_share if training.steps else 1.0
    plans: dict[str, PrivacyPlan] = {}
    noise: list[float] = []
    apart = noise_for(budget, [prior_check.SHARE, 1 - prior_check.SHARE])[0]
    if checked is not None and not prior_check.is_measurable(len(first), apart):
        checked = None
    left = 1.0
    if checked is not None:
        left -= prior_check.SHARE
        plans[prior_check.PURPOSE] = PrivacyPlan.once(len(first), apart, budget.delta, "mean of features")
    if settings.prior is not None:
        parts = [share * MEAN_SHARE, share * (1 - MEAN_SHARE), 1 - share]
        noise = noise_for(
            budget, [*(left * part for part in parts if part > 0), *([1 - left] if left < 1 else [])]
        )[:2]
        for what, multiplier in zip(("class means", "covariance"), noise, strict=True):
            text = f"{what} of the Gaussian prior"
            plans[f"imaging, {what}"] = PrivacyPlan.once(len(first), multiplier, budget.delta, text)
    plan, seconds = None, None
    if training.steps:
        releases = list(plans.values())

        def of(steps: int) -> PrivacyPlan:
            return PrivacyPlan.for_budget(
                budget, len(first), training.patients_per_step, steps, training.max_grad_norm, releases
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
            checked, images.pixels[torch.from_numpy(first)], apart, how.folder, how.resume,
            np.random.default_rng(secrets.randbits(128)),
        )  # fmt: skip
        distance.judge(checked.card.name, settings.prior_mismatch)
        spent = pay(how, plans, population, seconds=seconds, rest=True)
    prior, outcome = None, Outcome(0, 0.0, math.nan)
    if settings.prior is not None:
        prior = released(how.folder / PRIOR_FILE) if how.resume else None
        if prior is None:
            z = coordinates(module.net, images.pixels[torch.from_numpy(first)])
            prior = fit_private(
                z, [images.profiles[i] for i in first], settings.prior, noise,
                module.net.basis.flatten(1).norm(dim=1).double().numpy(), code.shape[1],
                np.random.default_rng(secrets.randbits(128)), declared_by(images),
            )  # fmt: skip
            keep(prior, how.folder / PRIOR_FILE)
    if plan is not None:
        outcome = run(
            module, TensorDataset(images.pixels, torch.from_numpy(code)), how, name="imaging",
            steps=training.steps, batch_size=training.batch_size, plan=plan, patients=images.patients,
            ema=training.ema,
        )  # fmt: skip
    return prior, outcome, spent, distance


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


def coordinates(net: Denoiser, pixels: Tensor) -> FloatArray:
    """(row, component) of 8-bit images."""
    with torch.no_grad():
        parts = (scaled(pixels[i : i + 512]) for i in range(0, len(pixels), 512))
        return np.concatenate([net.coordinates(part).double().numpy() for part in parts])


def start(net: Denoiser, init: Weights, columns: Sequence[str]) -> None:
    """Load init's tensors; the condition's first layer is matched by column name, new columns start at 0."""
    state = {k: v.float() for k, v in network_tensors(init).items()}
    first = "condition.0.weight"
    have = {column: i for i, column in enumerate(init.card.columns)}
    wide = state[first].new_zeros(state[first].shape[0], len(columns) + 1)
    wide[:, -1] = state[first][:, -1]  # how much of the start is kept
    for j, column in enumerate(columns):
        if column in have:
            wide[:, j] = state[first][:, have[column]]
    net.load_state_dict({**state, first: wide})
