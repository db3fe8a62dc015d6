"""Tumour cohorts, public and private, as a biologist would use them: figures, real-vs-real, bars and baselines.

    python benchmarks/omics.py [--data DIR] [--quick]

Data: tcga_brca, train rows learnt from, test rows judged on. Synthetic patients get the subtype, age and stage of
the training rows. "public" are the weights in force (trained without budget); "epsilon E" are trained here, from
the start, once a seed, at delta 1e-4. Floor: real training rows in place of synthetic ones; for C2ST and for
membership it is chance. The baselines take the marginals of all features as public knowledge, which favours
the private ones among them and have no survival. Bars were set before the weights were trained; exits 1 if one
falls short.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from omics_baselines import NormalScores, class_normal, dp_moments, plain_cvae
from omics_measures import Cohort, c2st, genes, mean, membership, subtype, survival

from polyclinic import Batch, PatientProfile, ProfileEncoder, load_modality, seed_for
from polyclinic.app.training import references
from polyclinic.core.dp.budget import Budget
from polyclinic.core.modality import TrainingSet
from polyclinic.core.training.fit import Fit
from polyclinic.core.training.weights import Weights, find, load
from polyclinic.modalities.omics.classes import SUBTYPES
from polyclinic.modalities.omics.data import read_assays, read_survival
from polyclinic.modalities.omics.generator import OmicsGenerator
from polyclinic.modalities.omics.model import Config, train

DELTA = 1e-4
# name: (bar at public, epsilon 10, epsilon 1), and whether less is better
BARS: dict[str, tuple[tuple[float | None, float | None, float | None], bool]] = {
    "PAM50 accuracy, LR": ((0.88, 0.86, 0.82), False),
    "PAM50 macro F1, LR": ((0.74, 0.70, 0.55), False),
    "gene-gene correlation R": ((0.91, 0.85, 0.60), False),
    "DE recall of the top 200": ((0.90, 0.85, 0.70), False),
    "RNA-meth correlation R": ((0.85, 0.75, 0.50), False),
    "RNA-mirna correlation R": ((0.85, 0.75, 0.50), False),
    "Cox signs as in real ones": ((1.0, 1.0, 1.0), False),
    "C2ST, worst AUC": ((0.65, 0.85, None), True),
    "membership, worst AUC": ((None, 0.54, 0.52), True),
}
ARMS = ("public", "epsilon 10", "epsilon 1")

Draws = Callable[[int], tuple[Cohort, Cohort]]


class Real:
    """The two splits, as cohorts, and the profiles to draw for."""

    def __init__(self, data: Path) -> None:
        self.train_set, test_set = references(data)["omics"][0]
        table = pd.read_csv(self.train_set.root / "patients.csv", dtype=str).set_index("patient_id")
        self.train, self.test = (self._cohort(part, table) for part in (self.train_set, test_set))
        self.profiles = self.train_set.profiles

    @staticmethod
    def _cohort(part: TrainingSet, table: pd.DataFrame) -> Cohort:
        names = [str(profile.traits["pam50"]) for profile in part.profiles]
        race = table.loc[[p.patient_id for p in part.profiles], "race"].fillna("").to_numpy(str)
        return Cohort(
            {name: assay.values for name, assay in read_assays(part).items()},
            np.array([SUBTYPES.index(name) for name in names]),
            race,
            clinical_of(part.profiles, *Real._survival(part)),
        )

    @staticmethod
    def _survival(part: TrainingSet) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        found = read_survival(part)
        assert found is not None
        return found.months, found.event

    def cohort(self, values: NDArray[np.float32], assays: Sequence[str]) -> Cohort:
        """Synthetic values of the training rows' patients, cut into assays."""
        sizes = np.cumsum([self.train.assays[name].shape[1] for name in assays])[:-1]
        parts = np.split(values, sizes, axis=1)
        nobody = np.full((len(values), 4), np.nan)
        return Cohort(dict(zip(assays, parts, strict=True)), self.train.subtype, self.train.group, nobody)


def clinical_of(
    profiles: Sequence[PatientProfile], months: NDArray[np.float64], event: NDArray[np.float64]
) -> NDArray[np.float64]:
    """As Cohort.clinical."""
    age = [np.nan if p.age is None else p.age for p in profiles]
    stage = [p.traits.get("tumor_stage") for p in profiles]
    late = [np.nan if s is None else float(s in ("III", "IV")) for s in stage]
    return np.stack([age, late, months, event], axis=1)


def drawn(weights: Weights, real: Real, seed: int) -> Cohort:
    """Tumours of the training rows' profiles."""
    encoder = ProfileEncoder()
    people = tuple(
        PatientProfile(f"s{i}", age=p.age, sex=p.sex, traits=p.traits) for i, p in enumerate(real.profiles)
    )
    seeds = tuple(seed_for(seed, p.patient_id, "omics") for p in people)
    records = OmicsGenerator(weights, encoder.columns).sample(Batch(people, encoder.encode(people), seeds))
    assays = {name: np.stack([r.arrays[name] for r in records]) for name in real.train.assays}
    outcome = [(r.facts.get("os_months", np.nan), r.facts.get("os_event", np.nan)) for r in records]
    clinical = clinical_of(people, *np.array(outcome, dtype=np.float64).T)
    return Cohort(assays, real.train.subtype, real.train.group, clinical)


def privately(real: Real, epsilon: float, seed: int, folder: Path) -> Weights:
    """Weights of one private training."""
    how = Fit(folder=folder, accelerator="cpu", seed=seed, progress=False, budget=Budget(epsilon, DELTA))
    return train([real.train_set], ProfileEncoder(), Config(steer=["age", "pam50"]), how)


def arms(real: Real, folder: Path, quick: bool) -> dict[str, Draws]:
    """What is compared: a name, and two draws for a seed."""

    def twice(make: Callable[[int], NDArray[np.float32]], assays: Sequence[str]) -> Draws:
        return lambda seed: (real.cohort(make(seed), assays), real.cohort(make(seed + 100), assays))

    def cvae(budget: Budget | None) -> Draws:
        def make(seed: int) -> tuple[Cohort, Cohort]:
            first, second = plain_cvae(rna, kind, folder, steps, seed, budget)
            return real.cohort(first, ["rna"]), real.cohort(second, ["rna"])

        return make

    def private(epsilon: float) -> Draws:
        def make(seed: int) -> tuple[Cohort, Cohort]:
            weights = privately(real, epsilon, seed, folder)
            return drawn(weights, real, seed), drawn(weights, real, seed + 100)

        return make

    shipped = load(find("omics"))
    every = tuple(real.train.assays)
    whole = NormalScores(np.concatenate([real.train.assays[name] for name in every], axis=1), 0)
    rna = NormalScores(real.train.assays["rna"], 0)
    kind, steps = real.train.subtype, 200 if quick else 600
    return {
        "public": lambda seed: (drawn(shipped, real, seed), drawn(shipped, real, seed + 100)),
        "epsilon 10": private(10.0),
        "epsilon 3": private(3.0),
        "epsilon 1": private(1.0),
        "normal in PCs": twice(lambda seed: class_normal(whole, kind, seed), every),
        "plain CVAE": cvae(None),
        "DP-SGD CVAE, 10": cvae(Budget(10.0, DELTA)),
        "DP moments, 10": twice(lambda seed: dp_moments(rna, kind, Budget(10.0, DELTA), seed), ["rna"]),
        "DP moments, 1": twice(lambda seed: dp_moments(rna, kind, Budget(1.0, DELTA), seed), ["rna"]),
    }


def measured(draws: Draws, real: Real, seeds: Sequence[int], trees: int) -> dict[str, float]:
    """All figures of an arm, mean over seeds."""
    rows = []
    for seed in seeds:
        first, second = draws(seed)
        rows.append(
            subtype(first, real.test, trees, seed)
            | genes(first, real.test)
            | (survival(first, real.test) if not np.isnan(first.clinical).all() else {})
            | c2st(first, second, real.train, real.test, trees, seed)
            | membership(first, real.train, real.test, seed)
        )
    return mean(rows)


def show(found: dict[str, dict[str, float]], floor: dict[str, float]) -> int:
    """Print the table; how many bars were missed."""
    missed = 0
    names = list(found)
    print(f"\n{'':27}{'floor':>7}" + "".join(f"{name:>17}" for name in names))
    for figure in next(iter(found.values())):
        line = f"{figure:27}" + (f"{floor[figure]:7.3f}" if figure in floor else f"{0.5:7.1f}")
        for name in names:
            value = found[name].get(figure)
            bars, less = BARS.get(figure, ((None, None, None), False))
            bar = bars[ARMS.index(name)] if name in ARMS else None
            text = "-" if value is None else f"{value:.3f}"
            if bar is not None and value is not None:
                met = value <= bar if less else value >= bar
                missed += not met
                text += f" {'<=' if less else '>='}{bar:.2f} {'met' if met else 'MISSED'}"
            line += f"{text:>17}" if bar is None else f" {text:>19}"
        print(line)
    return missed


def plot(found: dict[str, dict[str, float]], floor: dict[str, float], path: Path) -> None:
    """Utility against epsilon, the floor as a dotted line; public weights stand at the right."""
    from matplotlib.figure import Figure

    shown = (
        "PAM50 accuracy, LR",
        "PAM50 macro F1, LR",
        "gene-gene correlation R",
        "DE recall of the top 200",
    )
    places = {"epsilon 1": 1.0, "epsilon 3": 3.0, "epsilon 10": 10.0, "public": 40.0}
    arms = [name for name in places if name in found]
    figure = Figure(figsize=(7, 4), layout="constrained")
    axis = figure.subplots()
    for k, name in enumerate(shown):
        values = [found[arm][name] for arm in arms]
        axis.plot([places[arm] for arm in arms], values, "o-", color=f"C{k}", label=name)
        axis.axhline(floor[name], color=f"C{k}", linestyle=":", linewidth=0.8)
    axis.set_xscale("log")
    axis.set_xticks([places[arm] for arm in arms], [arm.removeprefix("epsilon ") for arm in arms])
    axis.set(xlabel="epsilon", ylabel="learnt from synthetic tumours; dotted: from real ones", ylim=(0, 1.02))
    axis.legend(loc="lower right", fontsize=8)
    figure.savefig(path, dpi=120)


def main() -> int:
    """0 if all bars are met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--quick", action="store_true", help="one seed, small forests")
    parser.add_argument("--only", default="", help="arms whose name contains this")
    parser.add_argument("--plot", type=Path, help="draw utility against epsilon into this file")
    options = parser.parse_args()
    load_modality("omics")
    seeds, trees = ((0,), 100) if options.quick else ((0, 1, 2), 300)
    began = time.monotonic()
    real = Real(options.data)
    floor = subtype(real.train, real.test, trees, 0) | genes(real.train, real.test)
    floor |= survival(real.train, real.test)
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, draws in arms(real, Path(folder), options.quick).items():
            if options.only in name:
                found[name] = measured(draws, real, seeds, trees)
                print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    missed = show(found, floor)
    if options.plot:
        plot(found, floor, options.plot)
    print(f"\n{len(seeds)} seeds, {len(real.train.subtype)} train and {len(real.test.subtype)} test patients")
    print(f"{missed} bars missed" if missed else "no bar missed")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
