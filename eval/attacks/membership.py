"""Membership: scores that tell whose data a generator has seen, from its records and other real patients alone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...core.modality import View
from ...core.types import BoolArray, FloatArray, IntArray
from ..sample import Comparison, Sample, one_each

if TYPE_CHECKING:
    from pandas import DataFrame
    from scipy.stats import gaussian_kde

PATIENTS, SYNTHETIC = 600, 1000  # patients of each real group, synthetic rows, that are looked at
ROWS = 4  # of a patient: the best of more would flatter those who have more
CLIP = 8.0  # standard deviations
NEAR, DENSE = 50, 8  # components that distances and densities are taken in
OUTLYING = 0.2  # share of patients who are outliers
NO_SPREAD = "the real records do not vary"
NO_REFERENCE = "it needs real training and held-out records, give a reference folder"


@dataclass(frozen=True)
class AttackData:
    """One view's rows, none of them missing: of the cohort, of members (train), of controls (test)."""

    view: View
    synthetic: Sample
    train: Sample
    test: Sample

    def without(self, inputs: Sequence[str]) -> "AttackData":
        """The same rows without some columns of the inputs."""
        synthetic, train, test = (side.without(inputs) for side in (self.synthetic, self.train, self.test))
        return AttackData(self.view, synthetic, train, test)


def attack_data(comparison: Comparison, least: int) -> AttackData | str:
    """The rows of a view, or why it cannot be attacked: `least` patients of each kind are needed."""
    if comparison.unattacked:
        return comparison.unattacked
    if comparison.train is None or comparison.test is None:
        return NO_REFERENCE
    have = [
        0 if group is None else group.patient_count
        for group in (comparison.train, comparison.test, comparison.synthetic)
    ]
    if comparison.synthetic is None or min(have) < least:
        return (
            f"it needs {least} real training, {least} real test and {least} synthetic patients, there are "
            f"{have[0]}, {have[1]} and {have[2]}"
        )
    if not vary(comparison.train, comparison.test):
        return NO_SPREAD
    return AttackData(comparison.view, comparison.synthetic, comparison.train, comparison.test)


def vary(*groups: Sample) -> bool:
    """Whether anything that all the groups have differs between their records."""
    columns = [c for c in groups[0].inputs.columns if all(c in group.inputs.columns for group in groups)]
    values = np.concatenate([group.inputs[columns].to_numpy(np.float64) for group in groups])
    return bool((np.ptp(values, axis=0) > 1e-9).any())


@dataclass(frozen=True)
class Embedding:
    """Real and synthetic rows of one view in common coordinates: standardised, clipped, principal components.

    real, synthetic (row, component); patient (row,) numbers the real patients; member, fold (patient,):
    whether the generator may have seen them, and which half they are in. guide (patient,): as many members as
    controls of each half, who are the reference for whoever is in the other half. So nobody is measured against
    himself, and training patients who differ as a group from test patients are no farther from it. rows, drawn:
    where in the samples real rows (train first, then test) and synthetic ones stand.
    """

    real: FloatArray
    synthetic: FloatArray
    patient: IntArray
    member: BoolArray
    fold: IntArray
    guide: BoolArray
    rows: IntArray
    drawn: IntArray

    def best(self, scores: FloatArray) -> FloatArray:
        """(patient,) the highest score of each patient's rows."""
        out = np.full(len(self.member), -np.inf)
        np.maximum.at(out, self.patient, scores)
        return out

    def reference(self, fold: int) -> BoolArray:
        """(row,) which rows are the reference for patients of that half."""
        return (self.guide & (self.fold != fold))[self.patient]


def embed(data: AttackData, seed: int) -> Embedding:
    """The Embedding of a view's rows: at most 600 + 600 real patients, 1,000 synthetic rows.

    Coordinates are those of all rows together, blind to who is a member.
    """
    rng = np.random.default_rng(seed)
    groups = (data.train, data.test)
    kept = [_some(group, rng) for group in groups]
    rows = np.concatenate([kept[0], len(data.train) + kept[1]])
    drawn = rng.permutation(len(data.synthetic))[:SYNTHETIC]
    numbers = [group.patients[own] for group, own in zip(groups, kept, strict=True)]
    counts = [len(np.unique(own)) for own in numbers]
    patient = np.concatenate([np.unique(own, return_inverse=True)[1] for own in numbers])
    patient[len(kept[0]) :] += counts[0]
    member, fold, guide = _halves(counts, rng)
    tables = [
        data.train.inputs.iloc[kept[0]],
        data.test.inputs.iloc[kept[1]],
        data.synthetic.inputs.iloc[drawn],
    ]
    values = standard(tables, len(rows))
    low = components(values, seed)
    return Embedding(low[: len(rows)], low[len(rows) :], patient, member, fold, guide, rows, drawn)


def _halves(counts: Sequence[int], rng: np.random.Generator) -> tuple[BoolArray, IntArray, BoolArray]:
    """member, fold and guide of an Embedding, of so many members and controls."""
    order = [rng.permutation(count) for count in counts]
    fold = np.concatenate([own % 2 for own in order])
    guide = np.concatenate([own // 2 < min(counts) // 2 for own in order])
    return np.repeat([True, False], counts), fold, guide


@dataclass(frozen=True)
class MembershipAttack:
    """An attack on the embedding of a view. run: (embedding, seed) -> the patients' scores, and what was tried."""

    name: str
    title: str
    run: Callable[[Embedding, int], tuple[FloatArray, str]]

    @classmethod
    def of(cls, plugin: Any) -> "MembershipAttack":
        """An attack of another package, which has no more than core.contracts.Attack asks for; ours as it is."""
        if isinstance(plugin, cls):
            return plugin

        def run(embedding: Embedding, seed: int) -> tuple[FloatArray, str]:
            member = embedding.member[embedding.patient]
            rows = np.empty(len(member))
            rows[member], rows[~member] = plugin.scores(
                embedding.synthetic, embedding.real[member], embedding.real[~member], seed
            )
            return embedding.best(rows), f"{plugin.title}, an attack of another package."

        return cls(plugin.name, plugin.title, run)

    def scores(
        self, synthetic: FloatArray, members: FloatArray, controls: FloatArray, seed: int
    ) -> tuple[FloatArray, FloatArray]:
        """The scores of members and of controls, each row a patient's."""
        counts = len(members), len(controls)
        patient, drawn = np.arange(sum(counts)), np.arange(len(synthetic))
        halves = _halves(counts, np.random.default_rng(seed))
        real = np.concatenate([members, controls])
        found, _ = self.run(Embedding(real, synthetic, patient, *halves, patient, drawn), seed)
        return found[: counts[0]], found[counts[0] :]


def standard(tables: "list[DataFrame]", real: int) -> FloatArray:
    """(row, feature) of the columns that all tables have, in deviations of the first `real` rows, clipped at 8."""
    columns = [c for c in tables[0].columns if all(c in table.columns for table in tables)]
    values = np.concatenate([table[columns].to_numpy(np.float64) for table in tables])
    mean, sd = values[:real].mean(0), values[:real].std(0)
    keep = sd > 1e-9
    if not keep.all():
        values = values[:, keep]
    values -= mean[keep]  # in place: of 12,625 features and 1,200 rows a copy takes 120 MB
    values /= sd[keep]
    return np.clip(values, -CLIP, CLIP, out=values)


def components(values: FloatArray, seed: int) -> FloatArray:
    """(row, component): at most 50 principal components, in order of variance."""
    from sklearn.decomposition import PCA

    if not values.shape[1]:
        return np.zeros((len(values), 1))
    size = min(NEAR, *values.shape)
    solver = "randomized" if min(values.shape) > 4 * NEAR else "full"
    return np.asarray(PCA(size, svd_solver=solver, random_state=seed).fit_transform(values), dtype=np.float64)


def nearest(a: FloatArray, b: FloatArray) -> FloatArray:
    """(row of a,) Euclidean distance to the nearest row of b."""
    from scipy.spatial.distance import cdist

    return np.asarray(cdist(a, b).min(1))


def by_distance(embedding: Embedding) -> FloatArray:
    """(patient,) log of the distance to the nearest reference patient over that to the nearest synthetic one.

    Distance to closest record, calibrated: who is far from everybody is far from the synthetic records too.
    """
    scores = np.empty(len(embedding.real))
    own = nearest(embedding.real, embedding.synthetic)
    for half in (0, 1):
        rows = embedding.fold[embedding.patient] == half
        other = nearest(embedding.real[rows], embedding.real[embedding.reference(half)])
        scores[rows] = np.log(other + 1e-6) - np.log(own[rows] + 1e-6)
    return embedding.best(scores)


def by_density(embedding: Embedding) -> FloatArray:
    """(patient,) log of the synthetic density over the reference density, by kernels in 8 components.

    DOMIAS (van Breugel et al. 2023): a generator is overfitted where it is denser than the population is.
    """
    scores = np.empty(len(embedding.real))
    size = min(DENSE, embedding.real.shape[1])
    real, synthetic = embedding.real[:, :size], embedding.synthetic[:, :size]
    own = _density(_jittered(synthetic)).logpdf(real.T)
    for half in (0, 1):
        rows = embedding.fold[embedding.patient] == half
        reference = real[embedding.reference(half)]
        flat = np.linalg.matrix_rank(np.cov(reference.T)) < size
        other = _density(_jittered(reference) if flat else reference)
        scores[rows] = own[rows] - other.logpdf(real[rows].T)
    return embedding.best(scores)


def _jittered(rows: FloatArray) -> FloatArray:
    """With a little noise, so that records that do not vary along some axis still have a density."""
    return np.asarray(rows + 1e-3 * np.random.default_rng(0).standard_normal(rows.shape))


def _density(rows: FloatArray) -> "gaussian_kde":
    from scipy.stats import gaussian_kde

    return gaussian_kde(rows.T)


def outliers(embedding: Embedding, scores: FloatArray) -> FloatArray:
    """The scores of the fifth of patients who are farthest from the reference, NaN for all others."""
    far = np.empty(len(embedding.real))
    for half in (0, 1):
        rows = embedding.fold[embedding.patient] == half
        far[rows] = nearest(embedding.real[rows], embedding.real[embedding.reference(half)])
    distance = embedding.best(far)
    return np.where(distance >= np.quantile(distance, 1 - OUTLYING), scores, np.nan)


def _some(group: Sample, rng: np.random.Generator) -> IntArray:
    """Places of up to 4 random rows each of up to 600 random patients."""
    chosen = group.patients[one_each(group.patients, PATIENTS, rng)]
    order = rng.permutation(len(group))
    order = order[np.isin(group.patients[order], chosen)]
    order = order[np.argsort(group.patients[order], kind="stable")]
    numbers = group.patients[order]
    first = np.searchsorted(numbers, numbers)
    return order[np.arange(len(order)) - first < ROWS]


NEAREST_RECORD = MembershipAttack(
    "nearest_record", "Membership by the nearest record",
    lambda embedding, seed: (
        by_distance(embedding),
        "Who is nearer to a synthetic record than to other real patients is taken for a member.",
    ),
)  # fmt: skip
DENSITY_RATIO = MembershipAttack(
    "density_ratio", "Membership by density",
    lambda embedding, seed: (
        by_density(embedding),
        "Who stands where synthetic records are denser than real ones is taken for a member.",
    ),
)  # fmt: skip
OUTLIERS = MembershipAttack(
    "outliers", "Membership of outliers",
    lambda embedding, seed: (
        outliers(embedding, by_distance(embedding)),
        "The nearest record, among the fifth of patients who are least like the others.",
    ),
)  # fmt: skip
