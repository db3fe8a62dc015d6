"""Train the image networks: the flow (publicly, or under a budget), the upsampler and the feature net."""

import json
import math
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.utils.data import Dataset, Subset, TensorDataset

from ...core.condition import columns_of, select
from ...core.config import Settings, parse
from ...core.dp.budget import PrivacyPlan, noise_for
from ...core.dp.ledger import pay
from ...core.errors import InputError
from ...core.modality import Batch, Conditioner, TrainingSet
from ...core.profile import seed_for
from ...core.training.fit import Outcome
from ...core.training.trainer import fit as run
from ...core.training.weights import Card, Weights, figures, write_atomic
from ...core.types import BoolArray, Float32Array, FloatArray, IntArray
from . import stack
from .adapters import merge, restrict
from .features import FeatureModel, FeatureTrainer, FeatureTraining
from .gaussian_prior import MEAN_SHARE, CoarseLaw, LawSettings, fit_private, fit_public
from .generator import BESIDE, ImageGenerator
from .histogram_matching import fit
from .images import Images
from .model import Denoiser, ImageDiffusion, ImageModel, ImageTraining, Shows, network_of, scaled
from .upsampler import UpsamplerModel, UpsamplerTrainer, UpsamplerTraining, renewed, shrunk

if TYPE_CHECKING:
    from ...core.training.fit import Fit


LAW_FILE = "law.json"


class Config(Settings):
    """The `model` part of a training YAML. `finish`: films get sharpness and greys as real ones have (finish.py)."""

    kind: Literal["flow", "upsampler", "features"] = "flow"
    network: dict[str, Any] = Field(default_factory=dict)
    training: dict[str, Any] = Field(default_factory=dict)
    law: LawSettings | None = None
    finish: bool = False
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
    if settings.kind == "flow":
        return train_flow(data, conditioner, settings, how, init)
    if how.budget is not None:
        raise InputError(f"the {settings.kind} network learns from public data alone: say --public")
    if settings.kind == "upsampler":
        return train_upsampler(data, settings, how, init)
    if init is not None:
        raise InputError("the feature net learns from scratch: leave out --init")
    return train_features(data, settings, how)


def train_flow(
    data: Sequence[TrainingSet], conditioner: Conditioner, settings: Config, how: "Fit", init: Weights | None
) -> Weights:
    """The flow and the law of its start; under a budget, the law first and then the network, if at all."""
    shape = parse(ImageModel, settings.network, "model.network")
    training = parse(ImageTraining, settings.training, "model.training")
    wanted = columns_of(conditioner.columns, [name for part in data for name in part.fields])
    if init is not None:
        wanted = [c for c in conditioner.columns if c in {*wanted, *init.card.columns}]
        if (theirs := network_of(init.card)) != shape:
            raise InputError(f"--init {init.card.name}: its network is {theirs!r}, expected {shape!r}")
    shows = settings.shows
    if shape.channels > 1 and (shows.iod not in (None, "SC") or shows.upsampler):
        raise InputError("model.shows: RGB images are written as SC, and are not enlarged; leave both out")
    if shows.slices > 1 and settings.law is not None and how.budget is not None:
        raise InputError(
            "model.law: a private law does not know a slice's place; leave it out, or shows.slices"
        )
    if settings.law is not None and settings.law.mixture > 1 and how.budget is not None:
        raise InputError("model.law.mixture: a private law has one normal a class; leave it out")
    if settings.finish and (how.budget is not None or shape.channels > 1 or shows.slices > 1):
        raise InputError("model.finish: only public grey images of one slice are finished; leave it out")
    images = Images.read(data, shape.size, shape.channels)
    code = select(conditioner.encode(images.profiles), conditioner.columns, wanted)
    if shows.slices > 1:
        if not np.isfinite(images.places).any():
            raise InputError(
                f"model.shows.slices: {shows.slices} slices are to be drawn, but no image lies in a stack; "
                "expected NIfTI volumes, multi-frame files, or DICOM slices with their series and position"
            )
        wanted, code = [*wanted, *stack.COLUMNS], np.hstack([code, stack.code_of(images.places)])
    torch.manual_seed(how.seed)
    module = ImageDiffusion(wanted, shape, training)
    if init is not None:
        start(module.net, init, wanted)
    elif how.budget is None:
        module.net.fit_source(scaled(images.pixels))
    elif settings.law is not None:
        raise InputError("a private law is one of public components: start from public weights, with --init")
    restrict(module.net, training.trainable, training.rank)
    law, outcome, spent = (_public if how.budget is None else _private)(
        module, images, code, settings, training, how
    )
    merge(module.net)
    used = images.used(spent["privacy"])
    before = [] if init is None else [d for d in init.card.data if d not in used]
    model = {**shape.model_dump(), "shows": settings.shows.model_dump()}
    if law is not None:
        model["law"] = law.header()
    card = Card(
        name="imaging", modality="imaging", kind="flow-matching U-Net", data=used + before,
        steps=outcome.steps, seconds=round(outcome.seconds), columns=wanted, model=model,
        figures=figures(training_loss=outcome.loss), **spent,
    )  # fmt: skip
    tensors = {name: tensor.half() for name, tensor in module.net.state_dict().items()}
    if law is not None:
        tensors |= {f"law.{name}": torch.from_numpy(array).half() for name, array in law.tensors().items()}
    weights = Weights(tensors, card)
    return finished(weights, images, conditioner, how.seed) if settings.finish else weights


def finished(weights: Weights, images: Images, conditioner: Conditioner, seed: int) -> Weights:
    """The weights with a finish: fitted to what they draw for the profiles of the law's sets, or of all if none."""
    own = of_law(images)
    chosen = np.flatnonzero(own) if own.any() else np.arange(len(own))
    generator = ImageGenerator(weights, conditioner.columns)
    drawn = []
    for begin in range(0, len(chosen), 64):
        rows = chosen[begin : begin + 64]
        people = tuple(images.profiles[i] for i in rows)
        seeds = tuple(seed_for(seed, str(i), "finish") for i in rows)
        drawn.append(generator.draw(Batch(people, conditioner.encode(people), seeds)))
    films = (np.concatenate(drawn)[:, 0].astype(np.float64) + 1) / 2
    real = images.pixels[torch.from_numpy(chosen), 0].numpy() / 255.0
    look = {
        f"finish.{name}": torch.from_numpy(array).half() for name, array in fit(films, real).tensors().items()
    }
    return Weights({**weights.tensors, **look}, weights.card)


Learnt = tuple[CoarseLaw | None, Outcome, dict[str, Any]]


def _public(
    module: ImageDiffusion, images: Images, code: Float32Array, settings: Config,
    training: ImageTraining, how: "Fit",
) -> Learnt:  # fmt: skip
    """A small set may be shown more often (option `repeat`); the law is that of the sets with `law: true`."""
    often = np.array([int(part.options.get("repeat", 1)) for part in images.parts])[images.origin]
    examples: Dataset[Any] = TensorDataset(images.pixels, torch.from_numpy(code))
    if often.max() > 1:
        examples = Subset(examples, np.repeat(np.arange(len(often)), often).tolist())
    outcome = run(
        module, examples, how, name="imaging", steps=training.steps, batch_size=training.batch_size,
        ema=training.ema,
    )  # fmt: skip
    law = None
    if settings.law is not None:
        chosen = of_law(images)
        z = coordinates(module.net, images.pixels[torch.from_numpy(chosen)])
        own = [p for p, taken in zip(images.profiles, chosen, strict=True) if taken]
        law = fit_public(z, code[chosen], own, settings.law)
    return law, outcome, {"privacy": "public"}


def of_law(images: Images) -> BoolArray:
    """(row,) whether its set is one of those with `law: true`."""
    return np.array([bool(part.options.get("law")) for part in images.parts])[images.origin]


def _private(
    module: ImageDiffusion, images: Images, code: Float32Array, settings: Config,
    training: ImageTraining, how: "Fit",
) -> Learnt:  # fmt: skip
    """Both are charged before either is learnt; the law takes `law_share` of the budget, DP-SGD the rest."""
    budget = how.budget
    assert budget is not None
    first = one_each(images.patients, np.random.default_rng(secrets.randbits(63)))
    share = training.law_share if training.steps else 1.0
    plans: dict[str, PrivacyPlan] = {}
    noise: list[float] = []
    if settings.law is not None:
        parts = [share * MEAN_SHARE, share * (1 - MEAN_SHARE), 1 - share]
        noise = noise_for(budget, [part for part in parts if part > 0])[:2]
        for what, multiplier in zip(("class means", "covariance"), noise, strict=True):
            text = f"the coarse pictures' {what}"
            plans[f"imaging, {what}"] = PrivacyPlan.once(len(first), multiplier, budget.delta, text)
    plan = None
    if training.steps:
        plan = PrivacyPlan.for_budget(
            budget, len(first), training.patients_per_step, training.steps, training.max_grad_norm,
            list(plans.values()),
        )  # fmt: skip
        plans["imaging, network"] = plan
    if not plans:
        raise InputError("model: nothing to learn: training.steps is 0 and there is no law")
    spent = pay(how, plans, "+".join(part.source.name for part in images.parts))
    law, outcome = None, Outcome(0, 0.0, math.nan)
    if settings.law is not None:
        law = released(how.folder / LAW_FILE) if how.resume else None
        if law is None:
            z = coordinates(module.net, images.pixels[torch.from_numpy(first)])
            law = fit_private(
                z, [images.profiles[i] for i in first], settings.law, noise,
                module.net.basis.flatten(1).norm(dim=1).double().numpy(), code.shape[1],
                np.random.default_rng(secrets.randbits(128)),
            )  # fmt: skip
            keep(law, how.folder / LAW_FILE)
    if plan is not None:
        outcome = run(
            module, TensorDataset(images.pixels, torch.from_numpy(code)), how, name="imaging",
            steps=training.steps, batch_size=training.batch_size, plan=plan, patients=images.patients,
            ema=training.ema,
        )  # fmt: skip
    return law, outcome, spent


def keep(law: CoarseLaw, path: Path) -> None:
    """What was released once is read again when the run is resumed, never drawn again: that would cost twice."""
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {name: array.tolist() for name, array in law.tensors().items()}
    write_atomic(path, json.dumps({"header": law.header(), "arrays": arrays}).encode())


def released(path: Path) -> CoarseLaw | None:
    """The law that an earlier part of this run released, if it came that far."""
    if not path.exists():
        return None
    kept = json.loads(path.read_text(encoding="utf-8"))
    return CoarseLaw.restore(kept["header"], {k: np.asarray(v) for k, v in kept["arrays"].items()})


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
    state = {k: v.float() for k, v in init.tensors.items() if not k.startswith(BESIDE)}
    first = "condition.0.weight"
    have = {column: i for i, column in enumerate(init.card.columns)}
    wide = state[first].new_zeros(state[first].shape[0], len(columns) + 1)
    wide[:, -1] = state[first][:, -1]  # how much of the start is kept
    for j, column in enumerate(columns):
        if column in have:
            wide[:, j] = state[first][:, have[column]]
    net.load_state_dict({**state, first: wide})


def train_upsampler(
    data: Sequence[TrainingSet], settings: Config, how: "Fit", init: Weights | None
) -> Weights:
    """The public upsampler, of films that went through the flow `init`, if given."""
    shape = parse(UpsamplerModel, settings.network, "model.network")
    training = parse(UpsamplerTraining, settings.training, "model.training")
    images = Images.read(data, shape.size, 1)
    torch.manual_seed(how.seed)
    coarse = to_coarse(images.pixels)
    if init is not None:
        flow = Denoiser(len(init.card.columns), network_of(init.card)).eval()
        start(flow, init, init.card.columns)
        for begin in range(0, len(coarse), 64):
            rows = slice(begin, begin + 64)
            worked = renewed(flow, scaled(coarse[rows]), training.depth)
            worked = ((worked + 1) * 127.5).round().to(torch.uint8)
            coarse[rows] = torch.where(torch.rand(len(worked), 1, 1, 1) < 0.75, worked, coarse[rows])
    module = UpsamplerTrainer(shape, training)
    outcome = run(
        module, TensorDataset(images.pixels, coarse), how, name="upsampler", steps=training.steps,
        batch_size=training.batch_size, ema=None,
    )  # fmt: skip
    return _weights("imaging_upsampler", "adversarial upsampler", module.net, shape, images, outcome)


def to_coarse(pixels: Tensor) -> Tensor:
    """8-bit images at a quarter of their size."""
    parts = (pixels[i : i + 256].float() for i in range(0, len(pixels), 256))
    return torch.cat([shrunk(part).round().to(torch.uint8) for part in parts])


def train_features(data: Sequence[TrainingSet], settings: Config, how: "Fit") -> Weights:
    """The feature net; the sets are its classes."""
    shape = parse(FeatureModel, {**settings.network, "classes": len(data)}, "model.network")
    training = parse(FeatureTraining, settings.training, "model.training")
    images = Images.read(data, 64, 1)
    torch.manual_seed(how.seed)
    module = FeatureTrainer(shape, training)
    outcome = run(
        module, TensorDataset(images.pixels, torch.from_numpy(images.origin)), how, name="features",
        steps=training.steps, batch_size=training.batch_size, ema=None,
    )  # fmt: skip
    return _weights("imaging_features", "feature net", module.net, shape, images, outcome)


def _weights(
    name: str, kind: str, net: torch.nn.Module, shape: Settings, images: Images, outcome: Outcome
) -> Weights:
    card = Card(
        name=name, modality="imaging", kind=kind, data=images.used("public"), privacy="public",
        steps=outcome.steps, seconds=round(outcome.seconds), columns=[], model=shape.model_dump(),
        figures=figures(training_loss=outcome.loss),
    )  # fmt: skip
    tensors = {k: v.half() if v.is_floating_point() else v for k, v in net.state_dict().items()}
    return Weights(tensors, card)
