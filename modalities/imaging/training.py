"""Train the flow and its Gaussian prior, publicly or under a budget; hand the public networks to their files."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import Subset

from ...core.condition import columns_of, select
from ...core.config import parse
from ...core.errors import InputError, listed
from ...core.fields import SHIPPED
from ...core.modality import Batch, Conditioner, TrainingSet
from ...core.profile import seed_for
from ...core.remarks import remark
from ...core.training.trainer import fit as run
from ...core.training.weights import Card, Weights, figures, halves
from ...core.types import Float32Array
from . import (
    cosine_training,
    features_training,
    few_steps_training,
    histogram_matching,
    prior_check,
    private_training,
    public_prior,
    stack,
    upsampler_training,
)
from .adapters import merge, restrict
from .data import channels_of, options_of
from .diffusion import ImageDiffusion
from .formats.kinds import KINDS, check_kind
from .gaussian_prior import STORED
from .generator import ImageGenerator
from .images import Images, fits_prior
from .mask_labels import MASK_LABELS, facts_of
from .mask_training import drawn_labels, require_masks_fit
from .model import (
    EVALUATIONS,
    FLOW,
    FROM,
    Denoiser,
    ImageModel,
    ImageTraining,
    Shows,
    network_of,
    network_tensors,
    require_same_shape,
    scaled,
    shows_of,
)
from .private_training import Learnt
from .subject import Subject
from .training_config import Config
from .upsampler import require_upsampler

if TYPE_CHECKING:
    from ...core.training.fit import Fit

LOSS = "training_loss"  # in the card: of the network, whatever prior is put on it


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
    if how.budget is not None or settings.kind not in ("flow", "few_steps"):
        _require_as_they_come(data)
    if settings.prior is not None:
        settings.prior.require_sound(
            SHIPPED.settle(field for part in data for field in part.vocabulary.declared)
        )
    if settings.kind in ("flow", "cosine"):
        settings = settings.model_copy(update={"shows": shown(data, settings.shows, init)})
    if settings.kind == "cosine":
        if init is not None or settings.training or settings.prior or settings.histogram_matching:
            raise InputError(
                "model.kind: a cosine model learns at one go, without --init, training, prior or histogram_matching"
            )
        labels = drawn_labels(data, settings.masks)
        return cosine_training.train(data, conditioner, settings.network, settings.shows, how, labels)
    if settings.kind == "flow":
        return train_flow(data, conditioner, settings, how, init)
    if settings.kind == "few_steps":
        weights, images = few_steps_training.train(data, conditioner, settings, how, init)
        return matched(weights, images, conditioner, how.seed) if settings.histogram_matching else weights
    if how.budget is not None:
        raise InputError(f"the {settings.kind} network learns from public data alone: say --public")
    if settings.kind == "upsampler":
        return upsampler_training.train(data, settings.network, settings.training, how, init)
    if init is not None:
        raise InputError("the feature net learns from scratch: leave out --init")
    return features_training.train(data, settings.network, settings.training, how)


def _require_as_they_come(data: Sequence[TrainingSet]) -> None:
    """Raise InputError where a set is to be shown in other shares than its own."""
    if named := [part.source.name for part in data if options_of(part).balance is not None]:
        raise InputError(
            f"{listed(named)}: options.balance works in public training of kind flow and few_steps; leave it out"
        )


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
    """The flow and its Gaussian prior. Under a budget the prior comes first, then the network, if it has steps.

    Without a network in the settings it is that of `init`.
    """
    channels = {} if init is not None or "channels" in settings.network else {"channels": channels_of(data)}
    labels = drawn_labels(data, settings.masks, init)
    network = settings.network
    if not network and init is not None and init.card.kind == FLOW:
        network = network_of(init.card).model_dump()
    shape = parse(ImageModel, {**network, **channels, "masks": len(labels)}, "model.network")
    private_colour = how.budget is not None and shape.channels > 1 and channels
    if (labels or private_colour) and settings.histogram_matching:
        what = "images with masks" if labels else "under a budget, colour images"
        remark(f"imaging: {what} are not matched to histograms (model.histogram_matching)")
        settings = settings.model_copy(update={"histogram_matching": False})
    training = parse(ImageTraining, settings.training, "model.training")
    if not training.kept or not all(0 <= number <= shape.components for number in training.kept):
        raise InputError(
            f"model.training.kept: {list(training.kept)}, expected numbers of components from 0 to {shape.components}"
        )
    wanted = columns_of(conditioner.columns, [name for part in data for name in part.fields])
    if init is not None:
        wanted = [c for c in conditioner.columns if c in {*wanted, *init.card.columns}]
        require_same_shape(init.card, shape)
        if EVALUATIONS in init.card.model and training.steps:
            raise InputError(
                f"--init {init.card.name}: draws in few evaluations and is no flow to train further; start from the "
                "flow that it was made of, or learn the prior alone (model.training: {steps: 0})"
            )
        require_learnt(settings, init)
        if settings.prior_mismatch != "ignore":
            prior_check.require_alike(data, init.card, settings.prior_mismatch)
    shows = settings.shows
    require_upsampler(shows.upsampler, shape.channels)
    if shows.iod is not None:
        check_kind(shows.iod, shape.channels > 1, shows.slices, shows.body_part)
        require_masks_fit(shows, labels)
    if shows.slices > 1 and settings.prior is not None and how.budget is not None:
        raise InputError(
            "model.prior: a private prior does not know a slice's place; leave it out, or shows.slices"
        )
    if settings.prior is not None and settings.prior.mixture != 1 and how.budget is not None:
        raise InputError("model.prior.mixture: a private prior has one normal a class; leave it out")
    if settings.prior is not None and settings.prior.critic and how.budget is not None:
        raise InputError(
            "model.prior.critic: it learns from public images alone; leave it out under a budget"
        )
    if settings.histogram_matching and shows.slices > 1:
        raise InputError("model.histogram_matching: works on images of one slice; leave it out")
    if settings.histogram_matching and how.budget is not None and shape.channels > 1:
        raise InputError("model.histogram_matching: under a budget works on grey images; leave it out")
    images = Images.read(data, shape.size, shape.channels, len(labels))
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
        if settings.prior is not None and settings.prior.rank > shape.components:
            most = shape.components
            remark(f"model.prior.rank: {settings.prior.rank} of {most} components; the prior has {most}")
    module = ImageDiffusion(wanted, shape, training)
    if init is not None:
        start(module.net, init, wanted)
    elif how.budget is None:
        module.net.fit_source(scaled(images.laid()))
    elif settings.prior is not None:
        raise InputError(
            "a private prior is one of public components: start from public weights of such images, "
            "with --init (imaging_prior is the shipped one, of chest X-rays); without any, say "
            "--config imaging_cosine, which fits images of anything"
        )
    restrict(module.net, training.trainable, training.rank)
    checked = None if settings.prior_mismatch == "ignore" else init
    if how.budget is None:
        learnt = _public(module, images, code, settings, training, how, checked)
    else:
        learnt = private_training.learn(module, images, code, settings, training, how, checked)
    merge(module.net)
    prior, outcome, distance = learnt.prior, learnt.outcome, learnt.distance
    used = images.used(learnt.spent["privacy"])
    before = [] if init is None else [d for d in init.card.data if d not in used]
    model = {**shape.model_dump(), "shows": settings.shows.model_dump(), MASK_LABELS: facts_of(labels)}
    if init is not None and EVALUATIONS in init.card.model:
        model |= {name: init.card.model[name] for name in (EVALUATIONS, FROM) if name in init.card.model}
    if prior is not None:
        model[STORED] = prior.header()
    card = Card(
        name="imaging", modality="imaging", kind=FLOW, data=used + before,
        steps=outcome.steps, planned_steps=outcome.planned, seconds=round(outcome.seconds), columns=wanted, model=model,
        figures=figures(**{LOSS: outcome.loss}, **(distance.figures() if distance else {}), **learnt.figures),
        **learnt.spent,
    )  # fmt: skip
    if init is not None and how.budget is None and not training.steps:
        card = card.model_copy(
            update={
                "steps": init.card.steps, "planned_steps": init.card.planned_steps, "seconds": init.card.seconds,
                "figures": {name: v for name, v in init.card.figures.items() if name == LOSS} | card.figures,
            }
        )  # fmt: skip
    tensors = {name: tensor.half() for name, tensor in module.net.state_dict().items()}
    if prior is not None:
        tensors |= halves(STORED, prior.tensors())
    weights = Weights(tensors, card)
    if learnt.matching is not None:
        return private_training.matched(weights, images, learnt.matching, how)
    return matched(weights, images, conditioner, how.seed) if settings.histogram_matching else weights


def require_learnt(settings: Config, init: Weights) -> None:
    """Raise InputError where a network of few evaluations has not learnt to start with so many components.

    A flow has learnt many numbers, and the way between them; critics taught some alone.
    """
    card = init.card
    if EVALUATIONS not in card.model or settings.prior is None:
        return
    root = init.tensors.get(f"{STORED}.root")  # cards of earlier weights do not say the rank
    learnt = card.model.get(FROM, [0 if root is None else root.shape[-1]])
    if settings.prior.rank not in learnt:
        raise InputError(
            f"model.prior.rank: {settings.prior.rank}, but --init {card.name} has learnt to draw in few evaluations "
            f"from {' or '.join(map(str, learnt))} coarse components; set the rank to that, or start from other weights"
        )


def within(shape: ImageModel, training: ImageTraining, images: int) -> tuple[ImageModel, ImageTraining]:
    """Settings with no more principal components of the source than so many images can give; fewer are remarked.

    Raises InputError for a single image, which has none.
    """
    most = min(images - 1, shape.planes * (shape.size // shape.basis_factor) ** 2)
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
    synthetic = (np.concatenate(drawn).astype(np.float64) + 1) / 2
    real = images.pixels[torch.from_numpy(chosen), : synthetic.shape[1]].numpy() / 255.0
    maps = halves(histogram_matching.STORED, histogram_matching.fit(synthetic, real).tensors())
    return Weights({**weights.tensors, **maps}, weights.card)


def _public(
    module: ImageDiffusion, images: Images, code: Float32Array, settings: Config,
    training: ImageTraining, how: "Fit", checked: Weights | None,
) -> Learnt:  # fmt: skip
    """A small set may be shown more often (option `repeat`); the prior is that of the sets with `prior: true`."""
    distance = None
    if checked is not None:
        distance = prior_check.public_distance(checked, images.pixels[:, : module.net.channels])
        distance.judge(checked.card.name, "warn")
    often = images.often
    examples = images.examples(torch.from_numpy(code))
    if often.max() > 1:
        examples = Subset(examples, np.repeat(np.arange(len(often)), often).tolist())
    outcome = run(
        module, examples, how, name="imaging", steps=training.steps, batch_size=training.batch_size,
        ema=training.ema,
    )  # fmt: skip
    prior, found = None, dict[str, float]()
    if settings.prior is not None:
        prior, found = public_prior.fitted(module.net, images, code, settings.prior, how)
    return Learnt(prior, outcome, {"privacy": "public"}, distance, figures=found)


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
