"""LiRA: the likelihood-ratio attack with shadow models (Carlini et al. 2022), on generators that learn in seconds.

The attacker can train the generator as often as he likes on patients of his choice, has a patient's whole record,
and sees one cohort. A patient's statistic is the log distance to the nearest synthetic record, taken as normal among
shadows that saw him and among those that did not, with one spread for both. Each generator learns from a random half
of the patients; the attacked one is one more of the same kind.
"""

import _benchmarks  # noqa: F401

# isort: split
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from population import HERE, coded
from population import patients as stays_of
from privacy_arms import copier, copula, profiles
from scipy.spatial.distance import cdist

from polyclinic import Batch, PatientProfile, ProfileEncoder, Record, load_modality, seed_for
from polyclinic.conditioning.dataset.dataset import read_training_set
from polyclinic.conditioning.table import mechanism
from polyclinic.conditioning.table.domain import columns_of
from polyclinic.conditioning.table.learning import TableOptions
from polyclinic.conditioning.table.table_model import TableModel
from polyclinic.core.config import DatasetConfig, TrainConfig, load, parse, read_yaml
from polyclinic.core.dp.budget import Budget, noise_for
from polyclinic.core.modality import Generator, TrainingSet, View
from polyclinic.core.training.fit import Fit
from polyclinic.core.training.weights import Weights, available, read_card
from polyclinic.eval.attacks.attack_result import AttackResult, Target
from polyclinic.eval.sample import collect
from polyclinic.modalities.omics.generator import OmicsGenerator
from polyclinic.modalities.signals.ecg.model import train_ecg
from polyclinic.modalities.signals.ecg.sampler import EcgSampler

Values = NDArray[np.float64]
Half = NDArray[np.bool_]  # (patient,)
Make = Callable[[Half, np.random.Generator], Values]
SHADOWS = (16, 8)  # whole, quick
PATIENTS, COLUMNS = 1000, 8  # of the table
TOO_LONG = ("imaging", "vitals", "omics")  # weights whose training is not repeated here


@dataclass(frozen=True)
class Shadowed:
    """A generator that can be trained on any half: rows (patient, number) are what the attacker has of each patient."""

    name: str
    rows: Values
    make: Make  # learns from a half and draws as many rows


def lira(target: Shadowed, shadows: int, seed: int) -> AttackResult:
    """How well the attack tells whom one more training saw."""
    rng = np.random.default_rng(seed)
    scale = np.maximum(target.rows.std(0), 1e-9)
    seen, found = [], []
    for _ in range(shadows + 1):
        half = np.zeros(len(target.rows), dtype=bool)
        half[rng.permutation(len(half))[: len(half) // 2]] = True
        drawn = target.make(half, rng)
        seen.append(half)
        found.append(np.log(cdist(target.rows / scale, drawn / scale).min(1) + 1e-9))
    was, value = np.array(seen[1:]), np.array(found[1:])
    inside = (value * was).sum(0) / np.maximum(was.sum(0), 1)
    outside = (value * ~was).sum(0) / np.maximum((~was).sum(0), 1)
    spread = np.where(was, value - inside, value - outside).var(0) + 1e-4
    ratio = ((found[0] - outside) ** 2 - (found[0] - inside) ** 2) / (2 * spread)
    both = was.any(0) & (~was).any(0)  # who was always in, or always out, tells nothing
    about = Target("", "", "LiRA", target.name)
    return about.measured(np.where(both, ratio, np.nan), seen[0], f"{shadows} shadow trainings.", seed)


def planted(name: str, rows: Values) -> Iterator[Shadowed]:
    """Two generators of known faults on these rows."""
    yield Shadowed(f"{name}: plain copula", rows, lambda half, rng: copula(rows[half], half.sum(), rng))

    def copied(half: Half, rng: np.random.Generator) -> Values:
        own = rows[half]
        return copier(own, rng.integers(len(own), size=len(own)), rng)

    yield Shadowed(f"{name}: neighbour copier", rows, copied)


def trained(data: Path, only: str = "") -> Iterator[Shadowed]:
    """Our generators whose training takes seconds, of one kind or of all."""
    for kind, targets in (("profiles", tables), ("tumours", tumours), ("ecg", ecgs)):
        if only in ("", kind):
            yield from targets(data)


def too_long() -> Iterator[str]:
    """A line for each of the others."""
    for name in TOO_LONG:
        minutes = read_card(available()[name]).seconds / 60
        yield f"weights {name}: not measured, one training takes {minutes:.0f} minutes"


# -- profiles


def tables(data: Path) -> Iterator[Shadowed]:
    """The graphical model of profiles on 8 columns of diabetes130: without noise, and under two budgets."""
    config = parse(DatasetConfig, read_yaml(HERE / "diabetes130.yaml"), "diabetes130.yaml")
    stays = stays_of(data)
    stays = stays[stays["split"] == "train"].drop_duplicates("patient_nbr").iloc[:PATIENTS]
    codes, _, sizes = coded(stays, config)
    codes, sizes = codes[:, :COLUMNS], sizes[:COLUMNS]
    options = parse(TableOptions, dict(config.options), "options")
    columns = columns_of(config.fields, options.columns, "benchmark")[:COLUMNS]
    hot = [np.eye(size)[codes[:, k]] for k, size in enumerate(sizes)]
    rows = np.concatenate(hot, axis=1)
    for epsilon in (10.0, 1.0, None):
        releases = mechanism.shares()
        noise = [0.0] * len(releases) if epsilon is None else noise_for(Budget(epsilon, 1e-4), releases)

        def make(half: Half, rng: np.random.Generator, noise: Sequence[float] = tuple(noise)) -> Values:
            learnt = mechanism.learn(codes[half], sizes, noise, rng)
            drawn, _ = TableModel(columns, learnt).given().codes(rng.random((int(half.sum()), len(columns))))
            return np.concatenate([np.eye(size)[drawn[:, k]] for k, size in enumerate(sizes)], axis=1)

        name = "public" if epsilon is None else f"epsilon {epsilon:g}"
        yield Shadowed(f"profiles: graphical model, {name}", rows, make)


# -- records


def tumours(data: Path) -> Iterator[Shadowed]:
    """Private moments of gene modules."""
    modality, encoder = load_modality("omics"), ProfileEncoder()
    config, _ = load(TrainConfig, "omics_private", "train")
    part = read_training_set(config.datasets[0], data, "train")
    (view,) = modality.views()
    rows = table(view, list(zip(part.profiles, modality.load(part), strict=True)))
    for epsilon in (10.0, 1.0):

        def make(half: Half, rng: np.random.Generator, epsilon: float = epsilon) -> Values:
            with tempfile.TemporaryDirectory() as folder:
                how = Fit(folder=Path(folder), budget=Budget(epsilon, 1e-4))
                learnt = modality.train([some(part, half)], encoder, config.model, how, None)
            generator = OmicsGenerator(learnt, encoder.columns)
            return table(view, drawn(generator, profiles("tumours", int(half.sum())), rng))

        yield Shadowed(f"tumours: private moments, epsilon {epsilon:g}", rows, make)


def ecgs(data: Path) -> Iterator[Shadowed]:
    """ptbxl500's hearts by two private moments, from a public law learnt from LUDB alone."""
    modality, encoder = load_modality("signals"), ProfileEncoder()
    config, _ = load(TrainConfig, "ecg", "train")
    parts = {d.name: read_training_set(d, data, "train") for d in config.datasets}
    with tempfile.TemporaryDirectory() as folder:
        public = train_ecg([parts["ludb"]], encoder, {}, {}, Fit(folder=Path(folder)))
    part = parts["ptbxl500"]
    ids = [p.patient_id for p in part.profiles]
    first = np.unique(ids, return_index=True)[1]
    part = some(part, np.isin(np.arange(len(ids)), first))
    view = next(v for v in modality.views() if v.needs == "ecg")
    rows = table(view, list(zip(part.profiles, modality.load(part), strict=True)))
    for epsilon in (10.0, 1.0):

        def make(half: Half, rng: np.random.Generator, epsilon: float = epsilon) -> Values:
            with tempfile.TemporaryDirectory() as folder:
                how = Fit(folder=Path(folder), budget=Budget(epsilon, 5e-4))
                learnt: Weights = train_ecg([some(part, half)], encoder, {}, {}, how, public)
            sampler = EcgSampler(learnt, encoder.columns)
            return table(view, drawn(sampler, profiles("ecg", int(half.sum())), rng))

        yield Shadowed(f"ECGs: private moments, epsilon {epsilon:g}", rows, make)


def some(part: TrainingSet, keep: Half) -> TrainingSet:
    """Some rows of a training set."""
    at = np.flatnonzero(keep)
    return replace(
        part, records=tuple(part.records[i] for i in at), profiles=tuple(part.profiles[i] for i in at)
    )


def drawn(
    generator: Generator, people: Sequence[PatientProfile], rng: np.random.Generator
) -> list[tuple[PatientProfile, Record]]:
    """A record a patient, from a fresh seed."""
    encoder, seed, out = ProfileEncoder(), int(rng.integers(1 << 31)), []
    for start in range(0, len(people), 64):
        own = tuple(people[start : start + 64])
        seeds = tuple(seed_for(seed, p.patient_id, "shadow") for p in own)
        out += list(zip(own, generator.sample(Batch(own, encoder.encode(own), seeds)), strict=True))
    return out


def table(view: View, pairs: Sequence[tuple[PatientProfile, Record]]) -> Values:
    """(record, number) of what the view shows to classifiers."""
    (found,) = collect([view], pairs)
    assert found is not None
    return found.inputs.to_numpy(np.float64)
