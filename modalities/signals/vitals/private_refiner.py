"""vitals_gan under a budget: critics of the refiner learn by DP-SGD, the choosing critic from released histograms.

Critics alone touch patients. The generator learns from critics and from draws for profiles that are nobody's, and so
does all that is left: it is post-processing. Critics see a stay's course, not its levels, which are the profile's.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import TensorDataset

from ....core.config import parse
from ....core.dp.budget import Budget, PrivacyPlan, noise_for
from ....core.dp.ledger import current_run, pay, stated
from ....core.errors import InputError
from ....core.modality import Conditioner, TrainingSet
from ....core.profile import PatientProfile
from ....core.training.adversarial import Views
from ....core.training.fit import Fit
from ....core.training.trainer import fit
from ....core.training.weights import Weights
from ....core.types import BoolArray, Float32Array, IntArray
from ..channels import VITALS
from ..data import card
from .choice import BLOCK, PROPOSALS, RELATIVE, shape_figures
from .choice_training import Histograms, edges_of, histograms, learn_choice
from .cohort_charts import CohortCharts
from .critics import BOUND, hour_view, mean_of
from .prior import simulated_stays
from .private import mechanisms, notes
from .quantizer import Lattice
from .refiner import Charted, Refiner, RefinerShape, refined
from .refiner_game import RefinerTraining, Sample, VitalsGame, draws_of, figures_of
from .sampler import CHOSEN, REFINED, REFINER, VitalsSampler
from .trajectory import SEPSIS
from .variation import VARIANTS, Chance, variants

FILE = "histograms.json"
RELEASE, CRITICS = "vitals_gan, figures", "vitals_gan"  # purposes in the ledger
AT_A_TIME = 512  # draws of a pool; a block of a sampler that many rows share costs half as much a row
MICRO = 256  # patients whose gradients are worked out at a time


class PrivateRefinerTraining(RefinerTraining):
    """Settings under a budget. `steps` of the critics, 0 for a choosing critic alone; `share` of the budget, as squared
    signal, is that of the histograms. The critic chooses among draws and `variants` of each for `profiles` simulated
    ones, and more until `septic` have sepsis.
    """

    steps: int = Field(default=300, ge=0)
    share: float = Field(default=0.6, gt=0, le=1)
    profiles: int = Field(default=4000, ge=100)
    septic: int = Field(default=400, ge=0)
    variants: int = Field(default=VARIANTS, ge=0, le=64)
    patients_per_step: int = Field(default=512, ge=1)
    max_grad_norm: float = Field(default=1.0, gt=0)


def course(found: Tensor, lattice: Lattice) -> Tensor:
    """stay_figures() without levels: readings from the stay's mean, which is 0."""
    out, count = found.clone(), lattice.count
    for block in (*RELATIVE, 0):
        out[:, block * count : (block + 1) * count] -= found[:, :count]
    return out


class CourseGame(VitalsGame):
    """Critics that see how a stay goes, around its own mean, whoever the patient is."""

    def views(self, sample: Sample, batch: Sequence[Tensor]) -> Views:
        stay, found = sample
        scaled = (course(found, self.lattice) - self.centre) / self.spread
        nobody = torch.zeros(len(found), 0)
        away = (stay.values - mean_of(stay.values, stay.mask)[:, None]) * stay.mask
        return [BOUND * torch.tanh(scaled / BOUND), hour_view(away, stay.mask, nobody, self.lattice)]


class PrivateCritics(pl.LightningModule):
    """Critics for private training; a batch are values, mask and figures of patients' stays, one a patient.

    After each noised step the generator takes its own, against draws that `drawn` (values, mask, unit, known) keeps.
    """

    def __init__(self, game: VitalsGame, settings: RefinerTraining, drawn: Sequence[Tensor]) -> None:
        super().__init__()
        self.game, self.settings = game, settings
        game.generator.requires_grad_(False)
        self.pool = list(drawn)
        self.moving = torch.optim.Adam(
            game.generator.parameters(), lr=settings.learning_rate, betas=(0.0, 0.99)
        )

    def _drawn(self, rows: int) -> Views:
        few = torch.randint(len(self.pool[0]), (rows,))
        batch = [*[torch.empty(0)] * 3, *(part[few] for part in self.pool)]
        return self.game.views(self.game.drawn(self.game.generator, batch), batch)

    def losses(self, batch: Sequence[Tensor]) -> Tensor:
        """(row,) of a patient's stay, paired with a draw."""
        values, mask, found = batch
        with torch.no_grad():
            ours = self._drawn(len(values))
            theirs = self.game.views((Charted(values, mask, torch.ones(())), found), batch)
        noise = self.settings.noise
        total = torch.zeros(len(values))
        for critic, low, high in zip(self.game.critics, ours, theirs, strict=True):
            low, high = (view + noise * torch.randn_like(view) for view in (low, high))
            total = total + functional.softplus(critic(low).float() - critic(high).float())
        return total

    def public_loss(self) -> Tensor:
        """Squared gradients of the critics at draws (R2): no patient is in them."""
        total = torch.zeros(())
        for critic, view in zip(self.game.critics, self._drawn(self.settings.batch_size), strict=True):
            view = view.detach().requires_grad_()
            (slope,) = torch.autograd.grad(critic(view).float().sum(), view, create_graph=True)
            total = total + self.settings.penalty / 2 * slope.flatten(1).square().sum(1).mean()
        return total

    def after_private_step(self) -> None:
        """A step of the generator towards what the critics take for patients'."""
        generator = self.game.generator.requires_grad_(True)
        views = self._drawn(self.settings.batch_size)
        total = torch.zeros(())
        for critic, view in zip(self.game.critics, views, strict=True):
            noisy = view + self.settings.noise * torch.randn_like(view)
            total = total + functional.softplus(-critic(noisy).float()).mean()
        parameters = list(generator.parameters())
        slopes = torch.autograd.grad(total, parameters)
        for parameter, slope in zip(parameters, slopes, strict=True):
            parameter.grad = slope
        nn.utils.clip_grad_norm_(parameters, 5.0)
        self.moving.step()
        self.moving.zero_grad()
        generator.requires_grad_(False)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Of the critics."""
        rate = self.settings.critic_rate
        return torch.optim.Adam(self.game.critics.parameters(), lr=rate, betas=(0.0, 0.99))


def refine_privately(
    data: Sequence[TrainingSet], chart: CohortCharts, prior: Weights, sampler: VitalsSampler,
    conditioner: Conditioner, shape: RefinerShape, training: Mapping[str, Any], how: Fit,
) -> Weights:  # fmt: skip
    """The prior's weights with a choosing critic, and a refiner where critics take steps.

    The card states what all mechanisms that touched these patients cost, those of the prior included.
    """
    settings, budget = parse(PrivateRefinerTraining, dict(training), "model.training"), how.budget
    assert budget is not None
    if chart.channels != VITALS:
        raise InputError(
            "model.kind: vitals_gan under a budget starts from simulated stays, of the seven vital signs alone; train "
            "kind vitals under the budget"
        )
    before, lattice, day = _paid_before(prior, data), sampler.lattice, sampler.shape.hours
    plans = _plans(settings, budget, len(set(chart.patients)))
    spent = pay(how, plans, "+".join(part.source.name for part in data))
    file = how.folder / FILE
    resumed = how.resume and (how.ledger is None or current_run(how.folder)) and file.exists()
    pool = _Pool.of(sampler, settings, conditioner, how.seed)
    edges = edges_of(pool.figures(lattice)[pool.whole])
    if not resumed:
        whole = chart.length >= day
        histograms(chart.readings, whole, chart.profiles, edges, lattice, plans[RELEASE]).save(file)
    spent |= stated([*before, *plans.values()])
    spent["mechanisms"] = mechanisms([*before, *plans.values()])
    spent["notes"] = "; ".join(part for part in (prior.card.notes, notes(list(plans.values()))) if part)
    tensors, kind, said = dict(prior.tensors), prior.card.kind, dict(prior.card.model)
    steps = prior.card.steps if before else 0
    began = time.monotonic()
    if CRITICS in plans:
        torch.manual_seed(how.seed)
        game = CourseGame(0, shape, settings, lattice, day, pool.scale(lattice))
        module = PrivateCritics(game, settings, pool.tensors(lattice))
        outcome = fit(
            module, TensorDataset(*real_rows(chart.readings, lattice)), how, name=CRITICS,
            steps=settings.steps, batch_size=MICRO, plan=plans[CRITICS], patients=chart.patients,
            ema=settings.ema, resumable=False,
        )  # fmt: skip
        steps, refiner = steps + outcome.steps, game.generator.eval()
        pool = pool.moved(refiner, lattice, how.seed)
        tensors |= {f"{REFINER}.{name}": tensor.half() for name, tensor in refiner.state_dict().items()}
        kind, said = f"{kind}{REFINED}", {**said, "refiner": shape.model_dump(), "refiner_known": False}
    wanted, said = Histograms.load(file), {**said, "variants": settings.variants}
    pool = pool.varied(settings.variants, lattice, how.seed)
    choice = learn_choice(pool.figures(lattice), pool.whole, pool.profiles, edges, wanted, lattice)
    seconds = time.monotonic() - began
    about = card(
        f"{kind}{CHOSEN}", prior.card.name, data, steps, seconds, prior.card.columns, said,
        prior.card.figures, spent,
    )  # fmt: skip
    return Weights({**tensors, **choice.tensors()}, about)


def _plans(settings: PrivateRefinerTraining, budget: Budget, patients: int) -> dict[str, PrivacyPlan]:
    """The release of histograms, and DP-SGD of the critics, within the budget together."""
    budget.check(patients)
    share = settings.share if settings.steps else 1.0
    noise = noise_for(budget, [share, 1 - share] if share < 1 else [1.0])[0]
    plans = {RELEASE: PrivacyPlan.once(patients, noise, budget.delta, "the figures of stays")}
    if settings.steps and share < 1:
        plans[CRITICS] = PrivacyPlan.for_budget(
            budget, patients, settings.patients_per_step, settings.steps, settings.max_grad_norm,
            list(plans.values()),
        )  # fmt: skip
    return plans


def _paid_before(prior: Weights, data: Sequence[TrainingSet]) -> list[PrivacyPlan]:
    """The mechanisms by which the prior learnt from these patients. Raises InputError where it saw them as they are."""
    own = {part.source.name for part in data}
    shared = [used for used in prior.card.data if used.name in own]
    if not shared:
        return []
    patients = shared[0].patients
    if patients is None or not prior.card.mechanisms or any(used.privacy == "public" for used in shared):
        raise InputError(
            f"--init {prior.card.name}: it learnt from {', '.join(sorted(own))} without a budget, or its card does not "
            "say by which mechanisms, so that a budget would promise nothing; start from weights that kind vitals "
            "learnt under a budget, or from other data"
        )
    delta = prior.card.delta or 0.0
    return [
        PrivacyPlan(patients, rate, noise, steps, delta, 1.0) for rate, noise, steps in prior.card.mechanisms
    ]


@dataclass(frozen=True)
class _Pool:
    """Draws for simulated profiles: (proposal, profile, hour, channel) readings, and how long each lasts."""

    profiles: Sequence[PatientProfile]
    stays: Float32Array
    lengths: IntArray
    day: int

    @property
    def whole(self) -> BoolArray:
        """(proposal, profile) whether the stay lasts the window."""
        return np.asarray(self.lengths >= self.day)

    @classmethod
    def of(
        cls, sampler: VitalsSampler, settings: PrivateRefinerTraining, conditioner: Conditioner, seed: int
    ) -> "_Pool":
        day = sampler.shape.hours
        random = np.random.default_rng(seed)
        made = list(simulated_stays(settings.profiles, day, random).profiles)
        while settings.septic and sum(profile.has(SEPSIS) for profile in made) < settings.septic:
            more = simulated_stays(settings.profiles, day, random).profiles
            made += [profile for profile in more if profile.has(SEPSIS)]
        sampler.ROWS = AT_A_TIME
        drawn = [draws_of(sampler, made, conditioner, seed + k) for k in range(PROPOSALS)]
        return cls(made, np.stack([own for own, _ in drawn]), np.stack([own for _, own in drawn]), day)

    def figures(self, lattice: Lattice) -> Float32Array:
        """(proposal, profile, figure)."""
        return np.stack([shape_figures(own, lattice) for own in self.stays])

    def varied(self, count: int, lattice: Lattice, seed: int) -> "_Pool":
        """With so many variants of each stay beside it."""
        random, out = np.random.default_rng([seed, 5]), []
        for own in self.stays:
            out.append(own)
            for _ in range(count):
                parts = [own[start : start + BLOCK] for start in range(0, len(own), BLOCK)]
                made = [
                    variants(
                        part, Chance.of([random] * len(part), self.day, lattice.count), self.day, lattice
                    )
                    for part in parts
                ]
                out.append(np.concatenate(made))
        return replace(self, stays=np.stack(out), lengths=self.lengths.repeat(1 + count, axis=0))

    def tensors(self, lattice: Lattice) -> list[Tensor]:
        """Values, mask, unit and nothing known, of the first proposals."""
        stay = Charted.of(self.stays[0], lattice)
        return [stay.values, stay.mask, stay.unit, torch.zeros(len(stay.values), 0)]

    def scale(self, lattice: Lattice) -> Tensor:
        """Figures that scale those of the game."""
        return course(real_rows(self.stays[0], lattice)[2], lattice)

    def moved(self, refiner: Refiner, lattice: Lattice, seed: int) -> "_Pool":
        """The same, refined."""
        random = np.random.default_rng([seed, 3])
        out = []
        for own in self.stays:
            parts = []
            for start in range(0, len(own), BLOCK):
                part = own[start : start + BLOCK]
                latent = random.standard_normal((len(part), refiner.shape.latent), dtype=np.float32)
                noise = random.standard_normal(part.shape, dtype=np.float32)
                dither = random.random((len(part), 1, lattice.count), dtype=np.float32) - 0.5
                nobody = np.zeros((len(part), 0), dtype=np.float32)
                parts.append(refined(refiner, part, nobody, latent, noise, dither))
            out.append(np.concatenate(parts))
        return replace(self, stays=np.stack(out))


def real_rows(readings: Float32Array, lattice: Lattice) -> list[Tensor]:
    """Values, mask and figures of (row, hour, channel) readings."""
    stay = Charted.of(readings, lattice)
    return [stay.values, stay.mask, figures_of(stay.values, stay.mask, lattice)]
