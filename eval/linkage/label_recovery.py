"""Label recovery: what models trained on real records read off synthetic ones, against each patient's own profile."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from ...core.profile import PatientProfile
from ...core.types import FloatArray, IntArray
from ..metrics.classifier import LEAST_OF_CLASS, macro_auc, predict_classes, standardised
from ..sample import Sample, resample
from ..score import AS_REAL, DIFFERENT, UNDECIDED, percentiles

LEAST = 20  # records of known age a group
BOOTSTRAP, SHUFFLES = 200, 20
AUROC_BAR, AGE_BAR = 0.05, 0.20  # how far under the AUROC, how much over the mean error, of real test records
# A class of n scatters the AUROC by chance by about 1 / sqrt(12 n): from so many on by no more than the bar
ENOUGH = math.ceil(1 / (12 * AUROC_BAR**2))
AGE, SEX = "age", "sex"


@dataclass(frozen=True)
class Reading:
    """What a model said of one group: truth (row,), said (row, column), patients (row,) a number a patient.

    Columns are the classes' probabilities, or the one number of an age.
    """

    truth: FloatArray
    said: FloatArray
    patients: IntArray

    def at(self, rows: IntArray, truth: FloatArray | None = None) -> "Reading":
        """The rows at these places; `truth` in place of theirs."""
        return Reading((self.truth if truth is None else truth)[rows], self.said[rows], self.patients[rows])


@dataclass(frozen=True)
class LabelRecovery:
    """One label read off one view by a model trained on real training records.

    real, synthetic: AUROC, or mean error in years, on real test and on synthetic records, with 95 % ranges.
    gap: 95 % range of synthetic minus real. order: (real, synthetic, shuffled) how well the label's order is
    recovered, 0.5 is chance, 1 is right (AUROC; for ages the concordance, the real one brought to the
    spread of the cohort's ages). shown_by_real: whether real records show the label at all. smallest_class: synthetic
    patients of the rarest class (ages: of all). scores: (row,) by patient of the synthetic records, for pairs
    of views.
    """

    view: str
    title: str
    label: str
    measure: str
    rows: tuple[int, int, int]  # real training, real test, synthetic
    real: float
    real_range: tuple[float, float]
    synthetic: float
    synthetic_range: tuple[float, float]
    gap: tuple[float, float]
    limit: float
    shuffled: tuple[float, tuple[float, float]]
    order: tuple[float, float, float]
    order_range: tuple[float, float]
    shown_by_real: bool
    smallest_class: int
    kept: tuple[str, ...]
    scores: Mapping[str, tuple[float, float]]  # patient -> said, true

    @property
    def judged(self) -> bool:
        """Whether the bar can be held: real records show the label, and the cohort has enough of each class."""
        return self.shown_by_real and self.smallest_class >= ENOUGH

    @property
    def met(self) -> bool:
        """Whether the difference from real stays within the bar, and the label shows at all."""
        near = self.synthetic <= self.limit if self.label == AGE else self.synthetic >= self.limit
        return near and (self.order_range[0] > 0.5 or not self.judged)

    @property
    def verdict(self) -> str:
        """As real within the bar; different where the whole range of the difference is past it."""
        if not self.judged:
            return UNDECIDED
        if self.met:
            return AS_REAL
        slack = self.limit - self.real
        past = self.gap[0] > slack if self.label == AGE else self.gap[1] < slack
        return DIFFERENT if past else UNDECIDED

    @property
    def strength(self) -> float:
        """Share of what real records reveal above chance, in [0, 1]."""
        return share(self.order[1], self.order[0])

    @property
    def shuffled_strength(self) -> float:
        """The same with shuffled ids."""
        return share(self.order[2], self.order[0])

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; no patient."""
        return {
            "view": self.view, "label": self.label, "measure": self.measure, "classes": list(self.kept),
            "rows": dict(zip(("real_training", "real_test", "synthetic"), self.rows, strict=True)),
            "real": short(self.real), "real_interval": short(self.real_range), "synthetic": short(self.synthetic),
            "synthetic_interval": short(self.synthetic_range), "difference_interval": short(self.gap),
            "limit": short(self.limit), "shuffled": short(self.shuffled[0]),
            "shuffled_interval": short(self.shuffled[1]),
            "shown_by_real": self.shown_by_real, "smallest_class": self.smallest_class,
            "share_of_real": short(self.strength),
            "verdict": self.verdict,
        }  # fmt: skip


def short(value: Any) -> Any:
    """Numbers, or a range, to four digits."""
    return [round(v, 4) for v in value] if isinstance(value, tuple) else round(value, 4)


def share(found: float, real: float) -> float:
    """How much of the real figure above one half was found above one half, in [0, 1]."""
    return float(np.clip((found - 0.5) / (real - 0.5), 0, 1)) if real > 0.5 else 0.0


def age_and_sex(profiles: Sequence[PatientProfile]) -> dict[str, FloatArray]:
    """(row,) age in years and sex (F 1, M 0), NaN where unknown."""
    ages = [np.nan if p.age is None else p.age for p in profiles]
    sexes = [{"F": 1.0, "M": 0.0}.get(p.sex or "", np.nan) for p in profiles]
    return {AGE: np.array(ages, dtype=np.float64), SEX: np.array(sexes, dtype=np.float64)}


def recover_labels(
    view: str,
    title: str,
    classes: Mapping[str, Sequence[str]],
    synthetic: Sample,
    train: Sample,
    test: Sample,
    seed: int,
    states: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> list[LabelRecovery]:
    """Age, sex and the view's tasks (`classes` by task), as far as real and synthetic records know them.

    `states` names the inputs that state a label (core.modality.View), which its classifier does not see.

    Nothing is recovered from real records that do not vary.
    """
    groups = (train, test, synthetic)
    known = [age_and_sex(group.profiles) | group.labels for group in groups]
    named = {AGE: (), SEX: ("men", "women"), **classes}
    shared = [c for c in test.inputs.columns if all(c in group.inputs.columns for group in groups)]
    found: list[LabelRecovery] = []
    if not (train.inputs[shared].nunique() > 1).any():
        return found
    for label, words in named.items():
        truths = [own[label] for own in known]
        columns = [c for c in shared if c not in states.get(label, ())]
        kept = _kept(truths, len(words)) if words else np.zeros(1, dtype=np.int64)
        if kept is None or (not words and min(int(np.isfinite(t).sum()) for t in truths) < LEAST):
            continue
        rows = [
            np.flatnonzero(np.isin(t, kept) if words else np.isfinite(t)).astype(np.int64) for t in truths
        ]
        inputs = [
            group.inputs[columns].to_numpy(np.float64)[own] for group, own in zip(groups, rows, strict=True)
        ]
        truth = [t[own] for t, own in zip(truths, rows, strict=True)]
        judged = np.concatenate(inputs[1:])
        said = (
            predict_classes(inputs[0], truth[0].astype(np.int64), judged)
            if words
            else predict_numbers(inputs[0], truth[0], judged)
        )
        readings = [
            Reading(t, part, np.unique(group.patients[own], return_inverse=True)[1])
            for t, part, group, own in zip(
                truth[1:], (said[: len(inputs[1])], said[len(inputs[1]) :]), groups[1:], rows[1:], strict=True
            )
        ]
        ids = [synthetic.profiles[i].patient_id for i in rows[2]]
        names = tuple(words[k] for k in kept) if words else ()
        sizes = (len(inputs[0]), len(inputs[1]), len(inputs[2]))
        found.append(_measured((view, title, label), names, kept, sizes, readings, ids, seed))
    return found


def _kept(truths: Sequence[FloatArray], count: int) -> IntArray | None:
    """Classes with at least 5 records in every group; None if fewer than two have."""
    kept = [k for k in range(count) if min(int((t == k).sum()) for t in truths) >= LEAST_OF_CLASS]
    return np.array(kept, dtype=np.int64) if len(kept) > 1 else None


def predict_numbers(x: FloatArray, y: FloatArray, judge: FloatArray) -> FloatArray:
    """(row, 1) of a ridge regression on standardised features clipped at 8, its penalty by leave-one-out."""
    from sklearn.linear_model import RidgeCV

    scaled, asked = standardised(x, judge)
    if not scaled.shape[1]:
        return np.full((len(judge), 1), y.mean())
    model = RidgeCV(alphas=np.geomspace(0.01, 100, 9) * max(1, scaled.shape[1]))
    return np.asarray(model.fit(scaled, y).predict(asked), dtype=np.float64)[:, None]


def concordance(truth: FloatArray, said: FloatArray) -> float:
    """How often the greater truth has the greater reading; 0.5 is chance."""
    return float(concordances(truth, said, [np.arange(len(truth))])[0])


def concordances(truth: FloatArray, said: FloatArray, draws: Sequence[IntArray]) -> FloatArray:
    """(draw,) concordance of the rows that each draw names: (1 + tau b) / 2, with Kendall's tau as SciPy has it.

    A pair of rows is compared once, and counted in each draw as often as both are in it; whole numbers, so exactly.
    """
    counts = np.array([np.bincount(rows, minlength=len(truth)) for rows in draws], dtype=np.float64)
    ranks = [np.unique(values, return_inverse=True)[1] for values in (truth, said)]
    agreed = np.zeros(len(counts))  # concordant less discordant pairs, each twice
    for begin in range(0, len(truth), 256):
        some = slice(begin, begin + 256)
        signs = [np.sign(own[some, None] - own).astype(np.float64) for own in ranks]
        agreed += ((counts @ (signs[0] * signs[1]).T) * counts[:, some]).sum(axis=1)
    tau = agreed / 2
    for own in ranks:
        groups = np.zeros((own.max() + 1, len(counts)))
        np.add.at(groups, own, counts.T)
        untied = _pairs(counts.sum(axis=1)) - _pairs(groups).sum(axis=0)
        with np.errstate(invalid="ignore"):
            tau = tau / np.sqrt(untied)
    return np.where(np.isnan(tau), 0.5, (1 + np.clip(tau, -1, 1)) / 2)


def _pairs(counts: FloatArray) -> FloatArray:
    return counts * (counts - 1) / 2


def at_spread(real: float, ratio: float) -> float:
    """The concordance that normal ages with `ratio` times the spread would have, errors staying as they are.

    Correction for restricted range: Thorndike 1949, case 2, on the correlation sin(pi (c - 1/2)).
    """
    r = float(np.sin(np.pi * (real - 0.5))) * ratio
    rest = float(np.cos(np.pi * (real - 0.5)))  # sqrt(1 - r^2)
    return 0.5 + float(np.arctan2(r, rest)) / np.pi


def _measured(
    names: tuple[str, str, str],
    words: tuple[str, ...],
    kept: IntArray,
    sizes: tuple[int, int, int],
    readings: Sequence[Reading],
    ids: Sequence[str],
    seed: int,
) -> LabelRecovery:
    ages = not words

    def figure(r: Reading) -> float:
        return (
            float(np.abs(r.said[:, 0] - r.truth).mean())
            if ages
            else macro_auc(r.said, r.truth.astype(int), kept)
        )

    def order(r: Reading) -> float:
        return concordance(r.truth, r.said[:, 0]) if ages else figure(r)

    rng = np.random.default_rng(seed)
    real, ours = readings
    drawn = [[_resampled(r, ages, rng) for _ in range(BOOTSTRAP)] for r in readings]
    figures = [np.array([figure(r.at(rows)) for rows in own]) for r, own in zip(readings, drawn, strict=True)]
    ordered = (
        [concordances(r.truth, r.said[:, 0], own) for r, own in zip(readings, drawn, strict=True)]
        if ages
        else figures
    )
    orders = [percentiles(own) for own in ordered]
    everyone = np.arange(len(ours.truth))
    mixed = [ours.at(everyone, ours.truth[rng.permutation(len(everyone))]) for _ in range(SHUFFLES)]
    shuffled = [figure(r) for r in mixed]
    value, expected = figure(real), order(real)
    if ages and real.truth.std() > 0:
        expected = at_spread(expected, float(ours.truth.std() / real.truth.std()))
    return LabelRecovery(
        *names,
        measure="mean error in years" if ages else "AUROC",
        rows=sizes,
        real=value,
        real_range=percentiles(figures[0]),
        synthetic=figure(ours),
        synthetic_range=percentiles(figures[1]),
        gap=percentiles(figures[1] - figures[0]),
        limit=value * (1 + AGE_BAR) if ages else value - AUROC_BAR,
        shuffled=(float(np.mean(shuffled)), percentiles(shuffled)),
        order=(expected, order(ours), float(np.mean([order(r) for r in mixed]))),
        order_range=orders[1],
        shown_by_real=orders[0][0] > 0.5,
        smallest_class=_smallest_class(ours, kept if words else None),
        kept=words,
        scores={
            pid: (float(said[-1]), float(true))
            for pid, said, true in zip(ids, ours.said, ours.truth, strict=True)
        } if len(words) < 3 else {},
    )  # fmt: skip


def _smallest_class(reading: Reading, kept: IntArray | None) -> int:
    """Patients of the rarest class, or all where there are no classes."""
    groups = [reading.truth == k for k in kept] if kept is not None else [np.isfinite(reading.truth)]
    return min(len(np.unique(reading.patients[own])) for own in groups)


def _resampled(reading: Reading, ages: bool, rng: np.random.Generator) -> IntArray:
    """A bootstrap draw of patients; for classes one in which each still has a record."""
    while True:
        rows = resample(reading.patients, rng)
        if ages or len(np.unique(reading.truth[rows])) == len(np.unique(reading.truth)):
            return rows
