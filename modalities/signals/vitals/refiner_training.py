"""Training of the refiner: real stays against draws for the same profiles, by critics of the stay and of the hour.

The prior is the weights that the training starts from. Patients that are held out, the same ones that measured the
prior where seed and data are its own, decide when to stop and whether anything was gained: the figure is the C2ST AUC
of boosting on the summary features of `polyclinic evaluate`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from ....core.condition import select
from ....core.config import parse
from ....core.errors import InputError
from ....core.modality import Conditioner, Record, TrainingSet
from ....core.profile import PatientProfile
from ....core.remarks import remark
from ....core.training.adversarial import Adversarial
from ....core.training.fit import Fit
from ....core.training.trainer import fit
from ....core.training.weights import Weights, figures
from ....core.types import Float32Array, FloatArray, IntArray
from ..channels import chart_facts
from ..data import card
from .cohort_charts import CohortCharts, read_charts
from .model import choose_held_out
from .quantizer import Lattice
from .refiner import Charted, Refiner, RefinerShape, moved, outside_levels
from .refiner_game import RefinerTraining, VitalsGame, draws_of, figures_of
from .sampler import REFINED, REFINER, VitalsSampler, levels_of, without_refiner

JUDGED = 3  # times that all held-out patients are drawn for
FEWEST = 40  # held-out stays that can judge


def train_refiner(
    data: Sequence[TrainingSet], conditioner: Conditioner, network: Mapping[str, Any],
    training: Mapping[str, Any], how: Fit, init: Weights | None = None,
) -> Weights:  # fmt: skip
    """The prior's weights with a refiner beside them; the prior's alone, where it does not help held-out patients."""
    shape = parse(RefinerShape, dict(network), "model.network")
    if init is None:
        raise InputError(
            "model.kind: vitals_gan refines what other weights draw; name them: --init vitals, or a file that "
            "`polyclinic train signals` made of your data"
        )
    prior = without_refiner(init)
    sampler = VitalsSampler(prior, conditioner.columns, levels=levels_of(prior))
    chart = read_charts(data, sampler.shape.hours)
    if chart.channels != sampler.lattice.channels:
        names = ", ".join(channel.name for channel in sampler.lattice.channels)
        raise InputError(f"--init {prior.card.name}: its channels are {names}, those of the data are others")
    if how.budget is not None:
        from .private_refiner import refine_privately

        return refine_privately(data, chart, prior, sampler, conditioner, shape, training, how)
    settings = parse(RefinerTraining, dict(training), "model.training")
    held_out = choose_held_out(chart.patients, settings.held_out, how.seed)
    if held_out.sum() < FEWEST:
        raise InputError(
            f"{held_out.sum()} stays are held out to judge the refiner, expected {FEWEST} or more; raise "
            "model.training.held_out, or bring more patients"
        )
    torch.manual_seed(how.seed)
    columns = outside_levels(prior.card.columns, sampler.lattice)
    kept = np.flatnonzero(~held_out)
    rows = [
        pairs(chart, kept, sampler, conditioner, columns, how.seed + 1 + draw)
        for draw in range(settings.draws)
    ]
    tensors = [torch.cat(parts) for parts in zip(*rows, strict=True)]
    day, lattice = sampler.shape.hours, sampler.lattice
    game = VitalsGame(
        len(columns), shape, settings, lattice, day, figures_of(tensors[3], tensors[4], lattice)
    )
    judge = Judge(chart, np.flatnonzero(held_out), sampler, conditioner, columns, how.seed)
    module = Adversarial(game, settings, judge)
    outcome = fit(
        module, TensorDataset(*tensors), how, name="vitals_gan", steps=settings.steps,
        batch_size=settings.batch_size, ema=None,
    )  # fmt: skip
    before, after = judge(Refiner(len(columns), shape, lattice, day)), float(module.best_score)
    found = figures(c2st_auc_prior=before, c2st_auc_refined=after)
    if not after < before:
        remark(
            f"vitals_gan: held-out patients are separated with AUC {before:.3f} from the prior's draws, and with "
            f"{after:.3f} from refined ones; the prior's weights are written"
        )
        return prior
    about = card(
        f"{prior.card.kind}{REFINED}", prior.card.name, data, outcome.steps, outcome.seconds,
        prior.card.columns, {**prior.card.model, "refiner": shape.model_dump()},
        {**prior.card.figures, **found},
    )  # fmt: skip
    about = about.model_copy(update={"planned_steps": outcome.planned})
    halves = {f"{REFINER}.{name}": tensor.half() for name, tensor in module.best.state_dict().items()}
    return Weights({**prior.tensors, **halves}, about)


def pairs(
    chart: CohortCharts, rows: IntArray, sampler: VitalsSampler, conditioner: Conditioner,
    columns: Sequence[int], seed: int,
) -> list[Tensor]:  # fmt: skip
    """Tensors of real stays (values, mask, figures), of draws for their profiles (values, mask, unit), and known."""
    profiles = [chart.profiles[i] for i in rows]
    drawn = Charted.of(draws(sampler, profiles, conditioner, seed), sampler.lattice)
    real = Charted.of(chart.readings[rows], sampler.lattice)
    code = select(conditioner.encode(profiles), conditioner.columns, sampler.card.columns)
    found = figures_of(real.values, real.mask, sampler.lattice)
    known = torch.from_numpy(code[:, columns])
    return [real.values, real.mask, found, drawn.values, drawn.mask, drawn.unit, known]


def draws(
    sampler: VitalsSampler, profiles: Sequence[PatientProfile], conditioner: Conditioner, seed: int
) -> Float32Array:
    """(row, hour, channel) the sampler's stay for each profile."""
    return draws_of(sampler, profiles, conditioner, seed)[0]


class Judge:
    """C2ST AUC of held-out stays against what a refiner makes of the prior's draws for their profiles."""

    def __init__(
        self, chart: CohortCharts, rows: IntArray, sampler: VitalsSampler,
        conditioner: Conditioner, columns: Sequence[int], seed: int,
    ) -> None:  # fmt: skip
        self.seed, self.said = seed, chart_facts(sampler.lattice.channels, sampler.shape.step_hours)
        self.real = self._features(chart.readings[rows])
        self.lattice = sampler.lattice
        made = [pairs(chart, rows, sampler, conditioner, columns, seed - 1 - k) for k in range(JUDGED)]
        self.drawn = [(Charted(*parts[3:6]), parts[6]) for parts in made]

    def _features(self, readings: Float32Array) -> FloatArray:
        from ..metrics import vitals_features

        records = [Record({"vitals": stay}, self.said) for stay in readings]
        return np.asarray(vitals_features(records).to_numpy(), dtype=np.float64)

    @torch.no_grad()
    def __call__(self, refiner: nn.Module) -> float:
        """The mean over draws."""
        random = torch.Generator().manual_seed(self.seed)
        return float(np.mean([self._auc(refiner, stay, known, random) for stay, known in self.drawn]))

    def _auc(self, refiner: nn.Module, stay: Charted, known: Tensor, random: torch.Generator) -> float:
        from sklearn.ensemble import HistGradientBoostingClassifier
        from sklearn.metrics import roc_auc_score
        from sklearn.model_selection import StratifiedKFold, cross_val_predict

        assert isinstance(refiner, Refiner)
        latent = torch.randn(len(known), refiner.shape.latent, generator=random)
        noise = torch.randn(stay.values.shape, generator=random)
        dither = torch.rand(stay.unit.shape, generator=random) - 0.5
        made = readings(moved(stay, refiner(stay, known, latent, noise), dither, self.lattice), self.lattice)
        x = np.concatenate([self.real, self._features(made)])
        y = np.repeat([1, 0], len(self.real))
        folds = StratifiedKFold(5, shuffle=True, random_state=self.seed)
        model = HistGradientBoostingClassifier(random_state=self.seed)
        return float(roc_auc_score(y, cross_val_predict(model, x, y, cv=folds, method="predict_proba")[:, 1]))


def readings(stay: Charted, lattice: Lattice) -> Float32Array:
    """(row, hour, channel) in the channels' units, NaN where not charted."""
    values = stay.values.double().numpy() * lattice.spread + lattice.usual
    return np.where(stay.mask.numpy() > 0, lattice.rounded(lattice.outward(values)), np.nan).astype(
        np.float32
    )
