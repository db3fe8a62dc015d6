"""Better than a small real test set: AUROC of a real model in 16 subgroups, estimated on synthetic stays.

    python benchmarks/private_subgroups.py [--data DIR] [--quick] [--choose] [--weights FILE]

A hospital has a model of sepsis (gradient boosting on the figures of a stay's first day, age and sex) and asks how well
it does in each subgroup. Truth: its AUROC on all test stays of vitals_icu. Estimates of it:

- plain: stays drawn from the public vitals weights, for profiles of train patients, never of test patients;
- synthetic: the same, weighted by critics: how much likelier a draw is among real train stays of its label (boosting;
  a profile's draws are judged by critics of other patients). This one is judged;
- 100 real: 100 test stays of that very subgroup, drawn with replacement 2,000 times: mean absolute error;
- floor: the real train stays whose profiles the synthetic ones have, which the sepsis model has not learnt from;
- peer: a Gaussian copula over the same figures, age, sex and subgroup of these stays, for each label apart.

The train patients are cut in two by patient. The sepsis model learns from one half; profiles, sepsis labels, critics,
floor and peer come from the other, since a model is flattered by stays that it learnt from and by draws for their
profiles. The weights have learnt from both halves, and from no test row. A septic profile is drawn 8 times as often
as another, which leaves AUROC as it is. The 16 subgroups (CELLS below: age band x sex x unit) and the bars were set
before any test row was looked at; stays of any length count. Every stay lies in one subgroup, so that the truth of
each rests on about 14 septic stays, and is uncertain itself: a second table has 16 larger subgroups, which overlap
(WIDER). The TRTS gap is the difference of the model's AUROC on all synthetic and on all test stays.

--choose looks at train rows alone: a quarter of them takes the place of the test rows. --quick takes one cut in
place of three. Exits 1 if a bar is missed.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import norm, rankdata
from signals_vitals import drawn
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

from polyclinic import PatientProfile, Record
from polyclinic.conditioning.dataset.dataset import read_training_set
from polyclinic.core.config import TrainConfig, load
from polyclinic.core.training.weights import Weights, find
from polyclinic.core.training.weights import load as load_weights
from polyclinic.modalities.signals.data import read_vitals
from polyclinic.modalities.signals.metrics import vitals_features
from polyclinic.modalities.signals.vitals.trajectory import SEPSIS

HOURS, SMALL, TIMES = 24, 100, 2000
NEARER, GAP = 0.75, 0.014
SEPTIC, OTHERS = 8, 1  # draws of a profile
FOLDS, CLIPPED = 4, 20.0
AGES = {"under 50": (0, 50), "50 to 64": (50, 65), "65 to 74": (65, 75), "75 and over": (75, 999)}
SEXES = {"F": 0, "M": 1}
UNITS = {"MICU": 1, "not MICU": 0}  # surgical, or not recorded
Test = Callable[[NDArray[np.float64]], NDArray[np.bool_]]


def band(low: int, high: int) -> Test:
    """Of (stay, age / sex / unit), who is of that age in years."""
    return lambda who: (who[:, 0] >= low) & (who[:, 0] < high)


def among(column: int, value: int) -> Test:
    """Who has that sex (column 1) or unit (column 2)."""
    return lambda who: who[:, column] == value


def both(*tests: Test) -> Test:
    """Who is in all of these."""
    return lambda who: np.all([test(who) for test in tests], axis=0)


CELLS: dict[str, Test] = {
    f"{age}, {sex}, {unit}": both(band(*AGES[age]), among(1, SEXES[sex]), among(2, UNITS[unit]))
    for age, sex, unit in product(AGES, SEXES, UNITS)
}
WIDER: dict[str, Test] = (
    {age: band(*AGES[age]) for age in AGES}
    | {sex: among(1, SEXES[sex]) for sex in SEXES}
    | {unit: among(2, UNITS[unit]) for unit in UNITS}
    | {f"{age}, {sex}": both(band(*AGES[age]), among(1, SEXES[sex])) for age, sex in product(AGES, SEXES)}
)


@dataclass(frozen=True)
class Stays:
    """Stays, real or not: what a model reads, who they are, and whether there is sepsis."""

    figures: NDArray[np.float64]  # (stay, figure) of `polyclinic evaluate`
    who: NDArray[np.float64]  # (stay, 3): age, sex as in SEXES, unit as in UNITS
    septic: NDArray[np.bool_]
    profiles: tuple[PatientProfile, ...] = ()  # with the medians of the stay; real stays alone
    weight: NDArray[np.float64] | None = None  # (stay,) what each counts; None: all alike

    @classmethod
    def read(cls, data: Path, split: str) -> "Stays":
        """All stays of vitals_icu."""
        config, _ = load(TrainConfig, "vitals", "train")
        folder = read_training_set(config.datasets[0], data, split)
        records = read_vitals(folder, HOURS)
        profiles = tuple(
            p.but(measurements=r.facts["baseline"]) for p, r in zip(folder.profiles, records, strict=True)
        )
        table = pd.read_csv(folder.root / "patients.csv.gz").astype({"patient_id": str})
        unit = table.set_index("patient_id")["unit1"].fillna(0).reindex(list(folder.records))
        who = [(p.age, SEXES[str(p.sex)], u) for p, u in zip(profiles, unit, strict=True)]
        septic = np.array([p.has(SEPSIS) for p in profiles], bool)
        return cls(vitals_features(records).to_numpy(), np.array(who, float), septic, profiles)

    def __len__(self) -> int:
        return len(self.who)

    def take(self, rows: NDArray[np.int64]) -> "Stays":
        """Those rows."""
        own = tuple(self.profiles[i] for i in rows)
        return Stays(self.figures[rows], self.who[rows], self.septic[rows], own)

    @property
    def read_by_model(self) -> NDArray[np.float64]:
        """(stay, input): figures, age and sex. The unit is not among them."""
        return np.column_stack([self.figures, self.who[:, :2]])


def sepsis_model(stays: Stays, seed: int) -> HistGradientBoostingClassifier:
    """The one that signals_vitals.py takes for TSTR."""
    model = HistGradientBoostingClassifier(
        max_iter=80, learning_rate=0.05, max_leaf_nodes=8, l2_regularization=10, random_state=seed
    )
    return model.fit(stays.read_by_model, stays.septic)


def synthetic(weights: Weights, stays: Stays, seed: int) -> tuple[Stays, Stays]:
    """Draws for these stays' profiles: as they are, and weighted by critics."""
    rows = np.repeat(np.arange(len(stays)), np.where(stays.septic, SEPTIC, OTHERS))
    own = stays.take(rows)
    charts, _ = drawn(weights, own.profiles, seed)
    figures = vitals_features([Record({"vitals": chart}) for chart in charts]).to_numpy()
    plain = Stays(figures, own.who, own.septic)
    return plain, replace(plain, weight=critic(stays, plain, rows, seed))


def critic(real: Stays, plain: Stays, rows: NDArray[np.int64], seed: int) -> NDArray[np.float64]:
    """(draw,) How much likelier it is among real stays of its label than among draws, by boosting.

    Patients are crossed over: draw i, of the profile rows[i], is judged by critics of other patients.
    """
    fold = np.random.default_rng(seed).integers(FOLDS, size=len(real))
    found = np.ones(len(plain))
    for label, k in product((False, True), range(FOLDS)):
        ours = (real.septic == label) & (fold != k)
        theirs = (plain.septic == label) & (fold[rows] != k)
        x = np.concatenate([real.read_by_model[ours], plain.read_by_model[theirs]])
        y = np.repeat([1, 0], [ours.sum(), theirs.sum()])
        model = HistGradientBoostingClassifier(
            max_iter=120, learning_rate=0.1, max_leaf_nodes=6, l2_regularization=10, random_state=seed
        ).fit(x, y, sample_weight=np.where(y, theirs.sum() / ours.sum(), 1))
        judged = (plain.septic == label) & (fold[rows] == k)
        odds = np.exp(model.decision_function(plain.read_by_model[judged]))
        found[judged] = odds.clip(1 / CLIPPED, CLIPPED)
    return found


def copula(stays: Stays, seed: int) -> Stays:
    """As many stays by a Gaussian copula of figures, age, sex and unit; values are those of real stays."""
    rng = np.random.default_rng(seed)
    parts = []
    for label, times in ((False, OTHERS), (True, SEPTIC)):
        rows = np.flatnonzero(stays.septic == label)
        own = np.column_stack([stays.figures[rows], stays.who[rows]])
        ranks = rankdata(own + 1e-9 * rng.random(own.shape), axis=0)  # ties in any order
        scores = norm.ppf(ranks / (len(own) + 1))
        normal = rng.multivariate_normal(
            np.zeros(own.shape[1]), np.cov(scores.T), times * len(own), method="eigh"
        )
        spread = scores.std(0)
        places = (norm.cdf(normal / spread) * len(own)).astype(int).clip(max=len(own) - 1)
        found = np.take_along_axis(np.sort(own, axis=0), places, axis=0)
        parts.append(Stays(found[:, :-3], found[:, -3:], np.full(len(found), label)))
    return Stays(
        np.concatenate([p.figures for p in parts]),
        np.concatenate([p.who for p in parts]),
        np.concatenate([p.septic for p in parts]),
    )


def auroc(stays: Stays, said: NDArray[np.float64], rows: NDArray[np.bool_] | None = None) -> float:
    """Area under the curve in these rows; NaN where one label is missing."""
    rows = np.ones(len(stays), bool) if rows is None else rows
    septic, weight = stays.septic[rows], None if stays.weight is None else stays.weight[rows]
    if septic.all() or not septic.any():
        return float("nan")
    return float(roc_auc_score(septic, said[rows], sample_weight=weight))


def of_100(
    septic: NDArray[np.bool_], said: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float64]:
    """(draw,) AUROC of 100 of these stays; draws without a septic stay give none and are left out."""
    times = rng.multinomial(SMALL, np.full(len(septic), 1 / len(septic)), size=TIMES).astype(float)
    ill, well = said[septic][:, None], said[~septic][None]
    right = (ill > well) + 0.5 * (ill == well)  # of each pair of a septic and another stay
    pairs = times[:, septic].sum(1) * times[:, ~septic].sum(1)
    won = ((times[:, septic] @ right) * times[:, ~septic]).sum(1)
    return won[pairs > 0] / pairs[pairs > 0]


@dataclass(frozen=True)
class Row:
    """A subgroup: the truth, its number of septic stays, errors of the estimates, and that of 100 real stays."""

    group: str
    septic: int
    truth: float
    errors: dict[str, float]
    small: float  # mean absolute error of 100 real stays
    beaten: float  # share of the draws of 100 that are further from the truth than the synthetic estimate


def compared(
    truth: Stays, said: NDArray[np.float64], others: dict[str, tuple[Stays, NDArray[np.float64]]],
    groups: dict[str, Test], rng: np.random.Generator,
) -> Iterator[Row]:  # fmt: skip
    """Each subgroup."""
    for name, test in groups.items():
        rows = test(truth.who)
        real = auroc(truth, said, rows)
        errors = {kind: auroc(*other, test(other[0].who)) - real for kind, other in others.items()}
        small = np.abs(of_100(truth.septic[rows], said[rows], rng) - real)
        beaten = float((small > abs(errors["synthetic"])).mean())
        yield Row(name, int(truth.septic[rows].sum()), real, errors, float(small.mean()), beaten)


def nearer(rows: Sequence[Row], kind: str) -> float:
    """Share of the subgroups where this estimate is nearer the truth than 100 real stays on average."""
    return float(np.mean([abs(row.errors[kind]) < row.small for row in rows]))


KINDS = ("synthetic", "plain", "floor", "peer")


def cut(weights: Weights, train: Stays, test: Stays | None, seed: int) -> dict[str, float]:
    """One cut of the train patients: print its tables; figures by name."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(train))
    if test is None:  # chosen on train rows alone
        apart, order = np.split(order, [len(order) // 4])
        test = train.take(apart)
    learnt, other = (train.take(half) for half in np.array_split(order, 2))
    model = sepsis_model(learnt, seed)
    plain, ours = synthetic(weights, other, seed)
    stays = {"synthetic": ours, "plain": plain, "floor": other, "peer": copula(other, seed)}
    others = {kind: (one, model.predict_proba(one.read_by_model)[:, 1]) for kind, one in stays.items()}
    said = model.predict_proba(test.read_by_model)[:, 1]
    real, found = auroc(test, said), {}
    print(f"\ncut {seed}: {len(learnt)} stays teach the model, {len(other)} give profiles; AUROC {real:.3f} on "
          f"{len(test)} real stays ({int(test.septic.sum())} septic)")  # fmt: skip
    for title, groups in (("crossed", CELLS), ("wider", WIDER)):
        rows = list(compared(test, said, others, groups, rng))
        print(f"{title:28}{'septic':>7}{'truth':>8}" + "".join(f"{kind:>11}" for kind in KINDS)
              + f"{'100 real':>10}{'beaten':>8}")  # fmt: skip
        for row in rows:
            print(f"{row.group:28}{row.septic:>7}{row.truth:>8.3f}"
                  + "".join(f"{row.errors[kind]:>+11.3f}" for kind in KINDS)
                  + f"{row.small:>10.3f}{row.beaten:>8.2f}", flush=True)  # fmt: skip
        for kind in KINDS:
            found[f"{title} {kind}"] = nearer(rows, kind)
            found[f"{title} {kind} error"] = float(np.mean([abs(row.errors[kind]) for row in rows]))
        found[f"{title} 100 real error"] = float(np.mean([row.small for row in rows]))
        found[f"{title} beaten"] = float(np.mean([row.beaten for row in rows]))
    for kind, (one, scores) in others.items():
        found[f"gap {kind}"] = abs(auroc(one, scores) - real)
    return found


def main() -> int:
    """Print the tables; 0 if all bars are met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument(
        "--quick", action="store_true", help="one cut of the train patients in place of three"
    )
    parser.add_argument("--choose", action="store_true", help="train rows alone; no test row is read")
    parser.add_argument("--weights", type=Path, help="a file in place of the shipped weights")
    options = parser.parse_args()
    began = time.process_time()
    weights = load_weights(options.weights or find("vitals"))
    train = Stays.read(options.data, "train")
    test = None if options.choose else Stays.read(options.data, "test")
    cuts = [cut(weights, train, test, seed) for seed in range(1 if options.quick else 3)]
    mean = {name: float(np.mean([one[name] for one in cuts])) for name in cuts[0]}
    title = f"figure, mean of {len(cuts)} cuts"
    print(f"\n{title:52}" + "".join(f"{kind:>10}" for kind in KINDS) + f"{'bar':>8}  verdict")
    missed = 0
    for title, figure, bar, good in (
        (
            "16 subgroups, share nearer than 100 real stays",
            "crossed {}",
            NEARER,
            mean["crossed synthetic"] >= NEARER,
        ),
        ("the same, mean absolute error", "crossed {} error", None, True),
        ("16 wider subgroups, share nearer", "wider {}", None, True),
        ("the same, mean absolute error", "wider {} error", None, True),
        ("TRTS gap, all stays", "gap {}", GAP, mean["gap synthetic"] <= GAP),
    ):
        missed += not good
        verdict = "reported" if bar is None else "met" if good else "FALLS SHORT"
        print(f"{title:52}" + "".join(f"{mean[figure.format(kind)]:>10.3f}" for kind in KINDS)
              + f"{'' if bar is None else f'{bar:g}':>8}  {verdict}")  # fmt: skip
    for title in ("crossed", "wider"):
        print(f"100 real stays, {title}: mean absolute error {mean[f'{title} 100 real error']:.3f}; "
              f"further than synthetic in {mean[f'{title} beaten']:.2f} of draws")  # fmt: skip
    print(f"{time.process_time() - began:.0f} s of a processor")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
