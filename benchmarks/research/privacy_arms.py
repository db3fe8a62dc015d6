"""What the privacy benchmark attacks: our weights, and generators of known faults, on each view of real data."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from scipy.special import ndtr, ndtri
from scipy.stats import rankdata

from polyclinic import Batch, PatientProfile, ProfileEncoder, seed_for
from polyclinic.conditioning.population import Population
from polyclinic.core.modality import Generator, Modality, TrainingSet, View
from polyclinic.core.training.weights import find, load
from polyclinic.eval.reference import samples
from polyclinic.eval.sample import Comparison, Sample, collect
from polyclinic.modalities.imaging.generator import ImageGenerator
from polyclinic.modalities.omics.generator import OmicsGenerator

Values = NDArray[np.float64]
FACTORS = 30  # components whose dependence the copula keeps
BLEND = 0.3  # of the way to the nearest neighbour, at most
COPIED = 0.1  # share of a cohort that is copied in


@dataclass(frozen=True)
class Real:
    """One view's real rows."""

    modality: str
    view: View
    train: Sample
    test: Sample

    def against(self, synthetic: Sample) -> Comparison:
        """The sides of an attack."""
        return Comparison(self.view, synthetic, self.train, self.test)


def real_views(modality: Modality, pair: tuple[TrainingSet, TrainingSet]) -> Iterator[Real]:
    """The views that a pair of real sets serves."""
    for view, (train, test) in zip(modality.views(), samples(modality, [pair], 0), strict=True):
        if train is not None and test is not None:
            yield Real(modality.name, view, train, test)


# -- ours


def profiles(kind: str, size: int) -> list[PatientProfile]:
    """Patients of a shipped cohort; for children's X-rays as many ill as healthy. None of them is a real one."""
    if kind == "children":
        return [PatientProfile(f"c{i}", age=3.0, conditions={"J18.9": i % 2 == 0}) for i in range(size)]
    return list(Population.load("icu" if kind == "vitals" else "cardio_oncology").draw(size, seed=11))


def shipped(modality: Modality, view: View, kind: str, weights: str, size: int, seed: int) -> Sample:
    """A cohort of one kind of record, from weights of that name; "" for those in force."""
    encoder = ProfileEncoder()
    generator: Generator
    if weights.startswith("omics"):
        generator = OmicsGenerator(load(find(weights)), encoder.columns)
    elif weights.startswith("imaging"):
        generator = ImageGenerator(load(find(weights)), encoder.columns, None, None)
    else:
        generator = modality.generator(encoder.columns)
        generator = getattr(generator, kind, generator)
    people = profiles(kind, size)
    pairs = []
    for start in range(0, size, 64):
        own = tuple(people[start : start + 64])
        seeds = tuple(seed_for(seed, p.patient_id, modality.name) for p in own)
        records = generator.sample(Batch(own, encoder.encode(own), seeds))
        pairs += list(zip(own, records, strict=True))
    (found,) = collect([view], pairs)
    assert found is not None
    return found


# -- generators of known faults, in the space of the view's inputs


def of_inputs(
    real: Real, values: Values, rows: NDArray[np.int64], people: Sequence[PatientProfile] = ()
) -> Sample:
    """A cohort of these inputs, with the labels of those training rows, and their profiles unless others are given."""
    like = real.train.take(rows)
    table = pd.DataFrame(values, columns=list(like.inputs.columns))
    own = tuple(p.but(patient_id=f"s{i}") for i, p in enumerate(people or like.profiles))
    return replace(like, inputs=table, features=table, profiles=own, shown=[], panels={})


def copula(train: Values, size: int, rng: np.random.Generator) -> Values:
    """(row, feature) of a Gaussian copula: normal scores, 30 components and independent rests, training quantiles."""
    order = np.sort(train, axis=0)
    scores = ndtri((rankdata(train, axis=0) - 0.5) / len(train))
    _, s, axes = np.linalg.svd(scores, full_matrices=False)
    kept = min(FACTORS, len(s))
    load = s[:kept, None] * axes[:kept] / np.sqrt(len(train))
    rest = np.sqrt(np.maximum(scores.var(0) - np.square(load).sum(0), 0))
    drawn = rng.standard_normal((size, kept)) @ load + rng.standard_normal((size, train.shape[1])) * rest
    place = np.clip((ndtr(drawn) * len(train)).astype(int), 0, len(train) - 1)
    return np.take_along_axis(order, place, axis=0)


def copier(train: Values, rows: NDArray[np.int64], rng: np.random.Generator) -> Values:
    """Each row up to 0.3 of the way to its nearest neighbour (SMOTE, Chawla et al. 2002)."""
    scaled = train / np.maximum(train.std(0), 1e-9)
    away = cdist(scaled[rows], scaled)
    away[np.arange(len(rows)), rows] = np.inf
    other = train[away.argmin(1)]
    return train[rows] + BLEND * rng.random((len(rows), 1)) * (other - train[rows])


def noise(real: Real, ours: Sample, seed: int) -> Sample:
    """Independent normal numbers of the mean and spread of all real rows, members' and controls': it knows nobody."""
    columns = list(real.train.inputs.columns)
    everybody = pd.concat([real.train.inputs, real.test.inputs[columns]]).to_numpy(np.float64)
    rng = np.random.default_rng(seed)
    values = rng.normal(everybody.mean(0), everybody.std(0), (len(ours), len(columns)))
    return of_inputs(real, values, rng.integers(len(real.train), size=len(ours)), ours.profiles)


def faulty(real: Real, ours: Sample, seed: int) -> dict[str, Callable[[], Sample]]:
    """Cohorts by name, each of the size of ours."""
    rng = np.random.default_rng(seed)
    train = real.train.inputs.to_numpy(np.float64)
    rows = rng.integers(len(train), size=len(ours))
    whole = rng.permutation(len(train))[: max(len(ours), len(train))]
    columns = [c for c in real.train.inputs.columns if c in ours.inputs.columns]

    def some_copied() -> Sample:
        taken = rows[: round(COPIED * len(ours))]
        own = ours.take(np.arange(len(ours) - len(taken)))
        values = np.concatenate(
            [own.inputs[columns].to_numpy(np.float64), real.train.inputs[columns].to_numpy()[taken]]
        )
        table = pd.DataFrame(values, columns=columns)
        people = [p.but(patient_id=f"x{i}") for i, p in enumerate(real.train.take(taken).profiles)]
        labels = {
            task: np.concatenate([own.labels[task], real.train.labels[task][taken]]) for task in own.labels
        }
        return replace(
            own, inputs=table, features=table, profiles=(*own.profiles, *people), labels=labels,
            shown=[], panels={},
        )  # fmt: skip

    return {
        "plain copula": lambda: of_inputs(real, copula(train, len(rows), rng), rows, ours.profiles),
        "neighbour copier": lambda: of_inputs(real, copier(train, rows, rng), rows),
        "10% copied in": some_copied,
        "training rows": lambda: of_inputs(real, train[whole], whole),
    }


# -- rows for shadow models


def first_rows(real: Real, most: int) -> Values:
    """One row each of training and of test patients, at most so many."""
    tables: Sequence[Sample] = (real.train, real.test)
    firsts = [np.unique(own.patients, return_index=True)[1] for own in tables]
    columns = [c for c in real.train.inputs.columns if c in real.test.inputs.columns]
    values = [
        own.inputs[columns].to_numpy(np.float64)[rows] for own, rows in zip(tables, firsts, strict=True)
    ]
    return np.concatenate(values)[:most]
