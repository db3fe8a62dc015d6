"""Releases that are attacked: a recipe that can be trained on any half of its patients, and what its weights tell."""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import private_attacks_signals as signals
import torch
from numpy.typing import NDArray
from torch.nn import functional
from torch.utils.data import TensorDataset

from polyclinic import ProfileEncoder, load_modality
from polyclinic.app.training import references
from polyclinic.conditioning.dataset.dataset import read_training_set
from polyclinic.core.condition import columns_of, select
from polyclinic.core.config import TrainConfig, load
from polyclinic.core.dp.budget import Budget, noise_for
from polyclinic.core.modality import TrainingSet
from polyclinic.core.training.fit import Fit
from polyclinic.core.training.trainer import fit
from polyclinic.core.training.weights import Weights, find, restore
from polyclinic.core.training.weights import load as load_weights
from polyclinic.modalities.imaging.diffusion import ImageDiffusion
from polyclinic.modalities.imaging.gaussian_prior import MEAN_SHARE, PriorSettings, fit_private, fit_public
from polyclinic.modalities.imaging.images import Images
from polyclinic.modalities.imaging.model import (
    Denoiser,
    ImageModel,
    ImageTraining,
    network_of,
    network_tensors,
    scaled,
)
from polyclinic.modalities.imaging.private_training import coordinates
from polyclinic.modalities.omics.model import Config, learn_from
from polyclinic.modalities.omics.tumours import Tumours, read_tumours
from polyclinic.modalities.omics.vae import Training
from polyclinic.modalities.signals.ecg.model import Records
from polyclinic.modalities.signals.ecg.morphology import MorphologyModel, MorphologySpace
from polyclinic.modalities.signals.ecg.noise import measure
from polyclinic.modalities.signals.ecg.private import adapt

Values = NDArray[np.float64]
Half = NDArray[np.bool_]  # (patient,)
Signals = Mapping[str, Values]  # name: (patient, signal); of one signal, or of many that are weighed together

LIKELIHOOD, SEVERAL = "likelihood", "several signals"
LOSS, NOISE, INVERSION = "loss", "noise initialisation", "inversion of the flow"


@dataclass(frozen=True)
class Profile:
    """How much is done: shadows, patients of each kind, and steps of what is trained by steps."""

    shadows: int
    tumours: int  # steps
    hearts: int  # patients
    images: int  # patients of the flow, twice as many of the prior
    flow: int  # steps


QUICK = Profile(4, 40, 210, 210, 100)
FULL = Profile(16, 400, 371, 400, 250)


@dataclass(frozen=True)
class Release:
    """A recipe, and the people whom an attacker asks about.

    pool (person,): who may be learnt from; others are in no training. learn takes (person,) whom to learn from,
    and a seed; read takes what was learnt. shipped: what ships under this recipe and was learnt from the whole pool.
    """

    name: str
    pool: Half
    learn: Callable[[Half, int], Any]
    read: Callable[[Any], Signals]
    budget: Budget | None = None
    shipped: Callable[[], Any] | None = None


# -- tumours


def tumours(data: Path, how: Profile) -> Iterator[Release]:
    """tcga_brca: the public VAE with its factors, and private moments; train rows are the pool, test rows beside."""
    load_modality("omics")
    pair = references(data)["omics"][0]
    parts = [read_tumours([part], ProfileEncoder(), (), ["age", "pam50"]) for part in pair]
    both = replace(
        parts[0],
        values=np.concatenate([part.values for part in parts]),
        code=np.concatenate([part.code for part in parts]),
        patients=(*parts[0].patients, *parts[1].patients),
        profiles=(*parts[0].profiles, *parts[1].profiles),
        followed=None,
    )
    pool = np.arange(len(both.patients)) < len(parts[0].patients)

    def learn(half: Half, seed: int, budget: Budget | None) -> Weights:
        own = replace(
            both,
            values=both.values[half],
            code=both.code[half],
            patients=tuple(p for p, taken in zip(both.patients, half, strict=True) if taken),
            profiles=tuple(p for p, taken in zip(both.profiles, half, strict=True) if taken),
        )
        with tempfile.TemporaryDirectory() as folder:
            config = Config(training=Training(steps=how.tumours))
            return learn_from(own, [pair[0]], config, quiet(folder, seed, budget))

    def read(weights: Weights) -> Signals:
        found = signals.of_tumours(weights, fitting(both, weights, parts, pair))
        return {LIKELIHOOD: found[:, :1], SEVERAL: found}

    for budget, name in (
        (Budget(10.0, 1e-4), "omics_private"),
        (Budget(1.0, 1e-4), "omics_private1"),
        (None, "omics"),
    ):
        yield Release(
            f"tumours, {words(budget)}", pool, partial(learn, budget=budget), read, budget,
            partial(load_weights, find(name)),
        )  # fmt: skip


def fitting(
    both: Tumours, weights: Weights, parts: Sequence[Tumours], pair: Sequence[TrainingSet]
) -> Tumours:
    """The same people with the code that the weights know."""
    if list(both.columns) == weights.card.columns:
        return both
    encoder = ProfileEncoder()
    profiles = [profile for part in parts for profile in part.profiles]
    code = select(encoder.encode(profiles), encoder.columns, weights.card.columns)
    return replace(both, code=code, columns=tuple(weights.card.columns))


# -- ECGs


def hearts(data: Path, how: Profile) -> Iterator[Release]:
    """ptbxl500: the morphology model, learnt from nobody else, and private moments on one of LUDB alone.

    One record a patient. Scores are not corrected for what measuring adds, which would take each record twice.
    """
    load_modality("signals")
    config, _ = load(TrainConfig, "ecg", "train")
    sets = {part.name: read_training_set(part, data, "train") for part in config.datasets}
    asked = Records.of([first_of_each(sets["ptbxl500"], how.hearts)])
    others = Records.of([first_of_each(sets["ludb"], how.hearts)])
    encoder = ProfileEncoder()
    fields = [name for part in sets.values() for name in part.fields]
    columns = columns_of(encoder.columns, ["heart_rate", *fields])
    code, around = (select(encoder.encode(own.profiles), encoder.columns, columns) for own in (asked, others))
    noises, ids = [measure(part) for part in asked.parts], [profile.patient_id for profile in asked.profiles]
    beats = [part.beat for part in asked.parts]
    counts = {"p": 16, "qrs": 32, "t": 20, "noise": 30}
    law, public = law_of(
        [part.beat for part in others.parts], [measure(part) for part in others.parts], around, counts
    )
    fixed = public.scores(beats, noises)

    def learn(half: Half, seed: int, budget: Budget | None) -> tuple[MorphologyModel, Values]:
        rows = np.flatnonzero(half)
        if budget is None:
            fitted, space = law_of([beats[i] for i in rows], [noises[i] for i in rows], code[rows], counts)
            return fitted, space.scores(beats, noises)
        with tempfile.TemporaryDirectory() as folder:
            own = [ids[i] for i in rows]
            return adapt(law, fixed[rows], code[rows], own, quiet(folder, seed, budget), "shadows")[0], fixed

    def read(learnt: tuple[MorphologyModel, Values]) -> Signals:
        found = signals.of_hearts(*learnt, code.astype(np.float64))
        return {LIKELIHOOD: found[:, :1], SEVERAL: found}

    pool = np.ones(len(ids), dtype=bool)
    for budget in (None, Budget(10.0, 5e-4), Budget(1.0, 5e-4)):
        yield Release(f"ECGs, {words(budget)}", pool, partial(learn, budget=budget), read, budget)


def law_of(
    beats: Sequence[Any], noises: Sequence[Any], code: Any, counts: dict[str, int]
) -> tuple[MorphologyModel, MorphologySpace]:
    """The copula of these records, in their own components."""
    space = MorphologySpace.of(beats, noises, counts)
    scores = space.scores(beats, noises)
    return MorphologyModel.fit(space, scores, scores, code, 8.0, 0.05), space


# -- images


@dataclass(frozen=True)
class Pictures:
    """One X-ray a patient: pixels (image, 1, 64, 64), and z (image, component) in components of other people's."""

    images: Images
    z: Values
    scale: Values

    @classmethod
    def read(cls, data: Path, most: int) -> "Pictures":
        """Patients of cxr_kermany's train rows; the components are those of `imaging_prior` (MedNIST)."""
        load_modality("imaging")
        config, _ = load(TrainConfig, "imaging_private", "train")
        images = Images.read(
            [first_of_each(read_training_set(config.datasets[0], data, "train"), most)], 64, 1
        )
        prior = load_weights(find("imaging_prior"))
        net = Denoiser(len(prior.card.columns), network_of(prior.card))
        restore(net, Weights(network_tensors(prior), prior.card))
        scale = net.basis.flatten(1).norm(dim=1).double().numpy()
        return cls(images, coordinates(net, images.pixels), scale)


def pictures(data: Path, how: Profile) -> Iterator[Release]:
    """cxr_kermany: the coarse prior, publicly and privately, and a flow."""
    both = Pictures.read(data, 2 * how.images)
    profiles = both.images.profiles
    settings = PriorSettings(rank=64, by="J18.9")
    nothing = np.zeros((len(profiles), 0), dtype=np.float32)

    def learn(half: Half, seed: int, budget: Budget | None) -> Any:
        own = [p for p, taken in zip(profiles, half, strict=True) if taken]
        if budget is None:
            return fit_public(both.z[half], nothing[half], own, settings)
        noise = noise_for(budget, [MEAN_SHARE, 1 - MEAN_SHARE])
        return fit_private(both.z[half], own, settings, noise, both.scale, 0, np.random.default_rng())

    def read(prior: Any) -> Signals:
        found = signals.of_prior(prior, both.z, profiles)
        return {LIKELIHOOD: found[:, :1], SEVERAL: found}

    pool = np.ones(len(profiles), dtype=bool)
    for budget in (None, Budget(10.0, 1e-4), Budget(1.0, 1e-4)):
        yield Release(
            f"X-rays, coarse prior, {words(budget)}", pool, partial(learn, budget=budget), read, budget
        )
    yield flow(both.images.pixels[: how.images], how.flow)


SMALL = ImageModel(size=32, patch_size=4, widths=(32, 32), attention=(False, False), components=64)


def flow(pixels: torch.Tensor, steps: int, shape: ImageModel = SMALL, batch: int = 32) -> Release:
    """A small flow of these images, made smaller, learnt without profiles from a start that is blind to who is in."""
    small = functional.avg_pool2d(pixels.float(), pixels.shape[-1] // shape.size).round().to(torch.uint8)
    whole = scaled(small)

    def learn(half: Half, seed: int) -> Denoiser:
        torch.manual_seed(seed)
        module = ImageDiffusion([], shape, ImageTraining(learning_rate=2e-3))
        own = torch.from_numpy(np.flatnonzero(half))
        module.net.fit_source(
            whole
        )  # blind to who is in: a flow that starts from another has a public source
        with tempfile.TemporaryDirectory() as folder:
            rows = TensorDataset(small[own], torch.zeros(len(own), 0))
            fit(module, rows, quiet(folder, seed), name="shadow", steps=steps, batch_size=batch, ema=None)
        return module.net.eval()

    def read(net: Denoiser) -> Signals:
        nobody = torch.zeros(len(whole), 0)
        errors = signals.noise_levels(net, whole, nobody)
        return {
            LOSS: errors.mean(1, keepdims=True),
            NOISE: errors,
            INVERSION: signals.inverted(net, whole, nobody),
        }

    return Release("X-rays, flow, public", np.ones(len(small), dtype=bool), learn, read)


# -- common


def first_of_each(part: TrainingSet, most: int) -> TrainingSet:
    """The first row of each of so many patients, chosen by chance."""
    ids = [profile.patient_id for profile in part.profiles]
    rows = np.random.default_rng(0).permutation(np.unique(ids, return_index=True)[1])[:most]
    return replace(
        part, records=tuple(part.records[i] for i in rows), profiles=tuple(part.profiles[i] for i in rows)
    )


def quiet(folder: str, seed: int, budget: Budget | None = None) -> Fit:
    """One thread's training without a ledger or a progress bar."""
    return Fit(
        folder=Path(folder), accelerator="cpu", precision="32-true", seed=seed, budget=budget, progress=False
    )


def words(budget: Budget | None) -> str:
    """public, or its epsilon."""
    return "public" if budget is None else f"epsilon {budget.epsilon:g}"


RELEASES: dict[str, Callable[[Path, Profile], Iterator[Release]]] = {
    "tumours": tumours,
    "ecg": hearts,
    "images": pictures,
}
