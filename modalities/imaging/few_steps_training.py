"""The second training of a flow, in which critics teach its network to draw in a few evaluations."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.utils.data import Subset

from ...core.condition import FieldDropout, select
from ...core.config import Settings, parse
from ...core.errors import InputError
from ...core.modality import Conditioner, TrainingSet
from ...core.profile import seed_for
from ...core.remarks import remark
from ...core.training.adversarial import Adversarial
from ...core.training.fit import Fit, Outcome
from ...core.training.trainer import fit
from ...core.training.weights import Card, Weights, available, figures, halves, load, restore
from ...core.types import BoolArray, Float32Array, IntArray
from . import histogram_matching, public_prior
from .few_steps import FewStepsTraining, ImageGame
from .gaussian_prior import STORED, GaussianPrior, PriorSettings
from .generator import STEPS, ImageGenerator
from .growing import AVERAGE, LESSONS, Following, grown, lessons
from .images import Images, fits_prior
from .judging import described, scored
from .model import EVALUATIONS, FROM, Denoiser, ImageTraining, network_tensors, require_flow, shows_of
from .sampler import draw
from .training_config import Config
from .upsampler import require_upsampler

DRAWS = 4  # coarse images of the prior a row
FEWEST, MOST = 40, 400  # held-out images that judge
TREES = 300


class Grown(Settings):
    """The network of the second training: its flow's, or one that grows to this size."""

    size: int | None = Field(default=None, ge=1)


class ImageAdversarial(Adversarial):
    """An adversarial training in which fields of profiles are hidden at random, so that any of them may steer."""

    def __init__(
        self,
        game: ImageGame,
        settings: FewStepsTraining,
        judge: Callable[[nn.Module], float],
        columns: Sequence[str],
    ) -> None:
        super().__init__(game, settings, judge)
        self.hide = FieldDropout(columns, settings.hide)

    def training_step(self, batch: list[Tensor], batch_idx: int) -> None:
        images, condition, drawn = batch
        super().training_step([images, self.hide(condition), drawn], batch_idx)


def train(
    data: Sequence[TrainingSet],
    conditioner: Conditioner,
    config: Config,
    how: Fit,
    init: Weights | None,
) -> tuple[Weights, Images]:
    """The flow `init` with a network that draws in few evaluations, without histogram matching; the images learnt from.

    Sets with `prior: true` get coarse images of the Gaussian prior, as generation does; all do where none says so.
    config's `network` may ask for a larger size, to which the flow grows; a `prior` there is fitted anew and replaces
    the flow's, and what `shows` says what its card does. Raises InputError.
    """
    settings = parse(FewStepsTraining, config.training, "model.training")
    if how.budget is not None:
        raise InputError(
            "model.kind: few_steps learns from public images alone; say --public, or train kind flow under the budget"
        )
    if init is None:
        raise InputError("model.kind: few_steps starts at a flow; name its weights: --init FILE")
    require_flow(init.card)
    generator = ImageGenerator(init, conditioner.columns)
    if generator.shows.slices > 1:
        raise InputError(
            f"--init {init.card.name}: a model of series is not taught to draw in few steps; use its flow"
        )
    require_upsampler(config.shows.upsampler, generator.shape.channels)
    size = parse(Grown, config.network, "model.network").size or generator.shape.size
    if not settings.steps and size == generator.shape.size:
        raise InputError(
            "model.training.steps: 0, but only a network that grows (model.network.size) learns without critics; "
            "expected 1 or more"
        )
    images = Images.read(data, size, generator.shape.channels, generator.shape.masks)
    small = None
    if size != generator.shape.size:
        small = ImageGenerator(init, conditioner.columns, _upsampler(init.card))
        init = grown(init, size)
        generator = ImageGenerator(init, conditioner.columns)
    shape = generator.shape
    code = select(conditioner.encode(images.profiles), conditioner.columns, init.card.columns)
    if config.prior is not None:
        init = _with_prior(init, generator, images, code, config.prior, how)
        generator = ImageGenerator(init, conditioner.columns)
    held_out = _held_out(images, settings.held_out, how.seed)
    coarse = _coarse(generator.prior, images, code, how.seed)
    torch.manual_seed(how.seed)
    judge = Judge(images, code, coarse, held_out, generator, how.seed)
    rank = coarse.shape[2]
    _require_kept(settings, rank, shape.components)
    net = Denoiser(len(init.card.columns), shape)  # the generator's is made ready to draw, not to learn
    restore(net, Weights(network_tensors(init), init.card))
    rows = np.repeat(np.arange(len(images.profiles)), np.where(held_out, 0, images.often))
    few, first = init.card.model.get(EVALUATIONS), generator.net
    outcome = None
    if small is not None:
        outcome = _follow(net, small, images, code, coarse, rows, settings, how)
        few, first = settings.evaluations, net.eval()
    before, _ = judge(first, few or STEPS, jumps=few is not None)
    best, after = net, before
    if settings.steps:
        outcome, best = _play(net, images, code, coarse, rows, judge, init.card, settings, how)
        after, _ = judge(best, settings.evaluations, jumps=True)
    assert outcome is not None
    if after > before:
        remark(
            f"few_steps: held-out images are separated with AUC {before:.3f} from those of --init in {few or STEPS} "
            f"evaluations, and with {after:.3f} from those of {settings.evaluations}; keep the former to draw as before"
        )
    shown = {**init.card.model.get("shows", {}), **config.shows.model_dump(exclude_unset=True)}
    learnt_from = sorted({rank} if settings.kept is None else set(settings.kept))
    model = {**init.card.model, EVALUATIONS: settings.evaluations, FROM: learnt_from, "shows": shown}
    card = Card(**{
        **init.card.model_dump(), "model": model, "steps": outcome.steps, "planned_steps": outcome.planned,
        "seconds": round(outcome.seconds), "data": _together(images.used("public"), init.card),
        "figures": {**init.card.figures, **figures(c2st_auc_before=before, c2st_auc_few_steps=after)},
    })  # fmt: skip
    learnt = {name: tensor.half() for name, tensor in best.state_dict().items()}
    kept = {
        name: t for name, t in init.tensors.items() if not name.startswith(f"{histogram_matching.STORED}.")
    }
    return Weights({**kept, **learnt}, card), images


def _play(
    net: Denoiser, images: Images, code: Float32Array, coarse: Tensor, rows: IntArray, judge: "Judge", card: Card,
    settings: FewStepsTraining, how: Fit,
) -> tuple[Outcome, Denoiser]:  # fmt: skip
    """Critics teach the network; what came of it, and the network that was judged best."""
    game = ImageGame(net.train(), settings, coarse.shape[2], images.pixels)

    def judged(net: nn.Module) -> float:
        assert isinstance(net, Denoiser)
        return judge(net, settings.evaluations, jumps=True)[1]

    module = ImageAdversarial(game, settings, judged, card.columns)
    tensors = images.examples(torch.from_numpy(code), coarse)
    outcome = fit(
        module, Subset(tensors, rows.tolist()), how, name="few_steps", steps=settings.steps,
        batch_size=settings.batch_size, ema=None,
    )  # fmt: skip
    assert isinstance(module.best, Denoiser)
    return outcome, module.best


def _upsampler(card: Card) -> Weights | None:
    """Of the images that these weights draw, where there is one."""
    there = available().get(shows_of(card).upsampler or "")
    return None if there is None else load(there)


def _follow(
    net: Denoiser, small: ImageGenerator, images: Images, code: Float32Array, coarse: Tensor, rows: IntArray,
    settings: FewStepsTraining, how: Fit,
) -> Outcome:  # fmt: skip
    """Teach a grown network to draw what the small one does."""
    own = np.random.default_rng(how.seed).choice(rows, LESSONS).tolist()
    wanted = coarse[:, 0] if coarse.shape[1] else coarse.new_zeros(len(code), 0)
    lesson = lessons(small, images.pixels, torch.from_numpy(code), wanted, own)
    following = Following(net.train(), settings.evaluations, wanted.shape[1], ImageTraining().fine)
    return fit(
        following, lesson, how, name="growing", steps=settings.following, batch_size=settings.batch_size,
        ema=AVERAGE,
    )  # fmt: skip


def _with_prior(
    init: Weights,
    generator: ImageGenerator,
    images: Images,
    code: Float32Array,
    settings: PriorSettings,
    how: Fit,
) -> Weights:
    """The flow with a Gaussian prior of the sets that it is fitted to. Raises InputError."""
    if settings.rank > generator.shape.components:
        raise InputError(
            f"model.prior.rank: {settings.rank}, expected {generator.shape.components} or fewer, which --init "
            f"{init.card.name} has"
        )
    prior, found = public_prior.fitted(generator.net, images, code, settings, how)
    others = {name: t for name, t in init.tensors.items() if not name.startswith(f"{STORED}.")}
    card = init.card.model_copy(
        update={
            "model": {**init.card.model, STORED: prior.header()},
            "figures": {**init.card.figures, **figures(**found)},
        }
    )
    return Weights({**others, **halves(STORED, prior.tensors())}, card)


def _require_kept(settings: FewStepsTraining, rank: int, components: int) -> None:
    """Raise InputError unless numbers of shared components are there, and the prior's is one of them."""
    kept = (rank,) if settings.kept is None else settings.kept
    if not all(0 <= number <= components for number in kept):
        raise InputError(
            f"model.training.kept: {list(kept)}, expected numbers of components from 0 to {components}, "
            "which --init has"
        )
    if rank not in kept:
        raise InputError(
            f"model.training.kept: {list(kept)}, expected {rank} among them: images are drawn from so many components "
            "of a coarse image"
        )


def _together(used: Sequence[Any], card: Card) -> list[Any]:
    """What this training used, and what that before it did."""
    return [*used, *(one for one in card.data if one not in used)]


def _held_out(images: Images, share: float, seed: int) -> BoolArray:
    """(row,) whether its patient judges and does not teach; at least FEWEST images do."""
    names = sorted(set(images.patients))
    order = np.random.default_rng(seed).permutation(len(names))
    chosen = np.isin(images.patients, [names[i] for i in order[: round(share * len(names))]])
    if chosen.sum() < FEWEST:
        raise InputError(
            f"{chosen.sum()} images are held out to judge, expected {FEWEST} or more; raise model.training.held_out, "
            "or bring more patients"
        )
    return np.asarray(chosen)


def _coarse(prior: GaussianPrior | None, images: Images, code: Float32Array, seed: int) -> Tensor:
    """(row, draw, component) coarse images of the prior, NaN for rows that keep their own; none without a prior."""
    if prior is None:
        return torch.zeros(len(images.profiles), 0, 0)
    rank = prior.rank
    out = np.full((len(images.profiles), DRAWS, rank), np.nan, dtype=np.float16)
    for row in np.flatnonzero(fits_prior(images)):
        for draws in range(DRAWS):
            random = np.random.default_rng(seed_for(seed, f"{row}/{draws}", "few steps"))
            out[row, draws] = prior.draw(images.profiles[row], code[row], random)
    return torch.from_numpy(out)


class Judge:
    """C2ST AUC of a random forest on the features of evaluate: held-out images against those drawn for their profiles.

    Rows that the prior draws for judge, where there are enough of them.
    """

    def __init__(
        self, images: Images, code: Float32Array, coarse: Tensor, held_out: BoolArray, generator: ImageGenerator,
        seed: int,
    ) -> None:  # fmt: skip
        by_prior = held_out & coarse.isfinite().all(dim=(1, 2)).numpy()
        rows = np.flatnonzero(by_prior if by_prior.sum() >= FEWEST else held_out)
        often = images.often[rows] / images.often[rows].sum()
        rows = np.random.default_rng(seed).choice(rows, min(MOST, len(rows)), replace=False, p=often)
        self.shape, self.seed, self.code = generator.shape, seed, code[rows]
        self.coarse = coarse[rows, 0].float().nan_to_num().numpy() if coarse.shape[2] else None
        self.seeds = [seed_for(seed, str(row), "judge") for row in rows]
        pixels = images.pixels[rows, : self.shape.channels].numpy()
        self.real = described(pixels.astype(np.float32) / 127.5 - 1)

    def __call__(self, net: Denoiser, evaluations: int, jumps: bool) -> tuple[float, float]:
        """The AUC of what a network draws, and the gap between mean scores of real and drawn images.

        The gap still moves where the AUC has come to 1.
        """
        from sklearn.metrics import roc_auc_score

        drawn = draw(net, self.code, self.seeds, self.shape, self.coarse, evaluations, jumps=jumps)
        y, scores = scored(self.real, described(drawn[:, : self.shape.channels]), self.seed, TREES)
        return float(roc_auc_score(y, scores)), float(scores[y == 1].mean() - scores[y == 0].mean())
