"""Select-measure-generate: the noisy marginals of a table, and the rounds that select which pairs to measure.

Three kinds of Gaussian mechanism, each on all patients: every column's counts; in each round, how far
the model so far is from the counts of every pair of columns; then the counts of the pairs that are furthest.
All else is post-processing. The rounds are those of McKenna et al. 2022 (AIM) with a noisy release of all
scores in place of the exponential mechanism, so that every cost is a Gaussian one and adds up exactly.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod, sqrt

import numpy as np

from ...core.types import FloatArray, IntArray
from .estimation import Measurement, fit
from .junction_tree import Columns, JunctionTree, total_cells, triangulated

ROUNDS = 4  # the first grows a tree over all columns, each later one adds at most as many pairs as columns
SINGLES, SCORES = 0.1, 0.08  # shares of the budget; the rest measures pairs
CELLS = 1_000_000  # numbers that the model may hold, of which each round may fill its part
STEPS = 100  # of each fit
MERGED = 6.0  # levels fewer than so many standard deviations of noise are modelled as one
SHORTLIST = 60  # pairs whose growth of the model is worked out
THRIFT = 0.25  # a pair's gain counts by the cells it adds, to this power
LEAST_GROWTH = 1000  # cells; below, growth is no matter
MEAN_DEVIATION = sqrt(2 / np.pi)  # E|z| of a normal

Scores = Mapping[Columns, float]


def mechanisms() -> list[str]:
    """What each mechanism releases, in order."""
    rounds = [(f"misfit of all pairs, round {k}", f"chosen pairs, round {k}") for k in range(1, ROUNDS + 1)]
    return ["columns", *(name for pair in rounds for name in pair)]


def shares() -> list[float]:
    """Each mechanism's share of the budget, fixed beforehand."""
    pairs = 1 - SINGLES - SCORES
    return [SINGLES, *(share for _ in range(ROUNDS) for share in (SCORES / ROUNDS, pairs / ROUNDS))]


@dataclass(frozen=True)
class LevelMerge:
    """Levels of a column that are modelled as one: `group[level]`, and the level's share of its group."""

    group: IntArray
    share: FloatArray

    @property
    def size(self) -> int:
        """How many groups there are."""
        return int(self.group.max()) + 1


@dataclass(frozen=True)
class GraphicalModel:
    """A table's distribution: merged levels a column, and factors whose product over a junction tree it is."""

    merges: tuple[LevelMerge, ...]
    factors: Mapping[Columns, FloatArray]

    def tree(self) -> JunctionTree:
        """The junction tree that holds every factor."""
        return JunctionTree([merge.size for merge in self.merges], self.factors)


@dataclass
class _PrivateTable:
    """The patients' codes, the noise, and what has been measured so far."""

    codes: IntArray
    sizes: list[int]
    rng: np.random.Generator
    measured: dict[Columns, Measurement] = field(default_factory=dict)
    counted: dict[Columns, FloatArray] = field(default_factory=dict)

    def counts(self, group: Columns) -> FloatArray:
        """Patients in each cell of these columns."""
        if group in self.counted:
            return self.counted[group]
        shape = tuple(self.sizes[column] for column in group)
        flat = np.ravel_multi_index(tuple(self.codes[:, column] for column in group), shape)
        self.counted[group] = np.bincount(flat, minlength=prod(shape)).reshape(shape).astype(float)
        return self.counted[group]

    def measure(self, groups: Sequence[Columns], noise_multiplier: float) -> None:
        """One Gaussian mechanism on the counts of all groups, in each of which a patient is in one cell.

        Group g has noise s_g with sum of 1 / s_g^2 = 1 / noise_multiplier^2, which is what it costs. Errors
        add up over cells, and their sum is least where s_g goes with cells_g^(-1/3).
        """
        patients = len(self.codes)
        precision = {g: prod(self.sizes[column] for column in g) ** (2 / 3) for g in groups}
        whole = sum(precision.values())
        for group in groups:
            counts, noise = self.counts(group), noise_multiplier * sqrt(whole / precision[group])
            shares = (counts + self.rng.normal(0, noise, counts.shape)) / patients
            # without noise (public data) a share is still a sample's
            self.measured[group] = Measurement(shares, (max(noise, 1.0) / patients) ** 2)

    def errors(self, model: Mapping[Columns, FloatArray], noise_multiplier: float) -> dict[Columns, float]:
        """One Gaussian mechanism: total variation between counts and model of every pair of columns.

        One patient moves each by at most half a count: sensitivity sqrt(pairs) / 2.
        """
        patients = len(self.codes)
        noise = self.rng.normal(0, noise_multiplier * sqrt(len(model)) / 2, len(model))
        exact = [abs(self.counts(pair) - patients * shares).sum() / 2 for pair, shares in model.items()]
        return {pair: float(x + z) / patients for pair, x, z in zip(model, exact, noise, strict=True)}


def learn(
    codes: IntArray,
    sizes: Sequence[int],
    noise_multipliers: Sequence[float],
    rng: np.random.Generator,
) -> GraphicalModel:
    """The distribution of a table of codes (patient, column), one row a patient, each code below its size.

    noise_multipliers belong to mechanisms(); 0 learns without privacy. rng draws the noise.
    """
    first, *rest = noise_multipliers
    private = _PrivateTable(codes, list(sizes), rng)
    private.measure([(column,) for column in range(len(sizes))], first)
    merges = tuple(_merge(private.measured[column,]) for column in range(len(sizes)))
    private = _merged(private, merges)
    factors = {key: np.log(np.maximum(m.shares, sqrt(m.variance))) for key, m in private.measured.items()}
    groups: list[Columns] = []
    for number, (on_scores, on_pairs) in enumerate(zip(rest[::2], rest[1::2], strict=True)):
        tree = JunctionTree(private.sizes, groups)
        model = tree.two_way(tree.potentials(factors))
        scores = private.errors(model, on_scores)
        if number == 0:
            chosen = _spanning_forest(scores, private.sizes)
        else:
            chosen = _select_pairs(scores, groups, private, on_pairs, CELLS * (number + 1) / ROUNDS)
        if not chosen:
            break
        groups += chosen
        private.measure(chosen, on_pairs)
        for pair in chosen:  # one step of proportional fitting, for a start near the answer
            measurement = private.measured[pair]
            least = sqrt(measurement.variance)
            ratio = np.maximum(measurement.shares, least) / np.maximum(model[pair], least)
            factors[pair] = np.log(ratio) * (1.0 if number == 0 else 0.5)
        factors = fit(JunctionTree(private.sizes, groups), private.measured, factors, STEPS)
    return GraphicalModel(merges, factors)


def _merge(measurement: Measurement) -> LevelMerge:
    """Levels too rare to tell from noise become one group; within it they keep their noisy shares."""
    least = sqrt(measurement.variance)
    rare = measurement.shares < MERGED * least
    if rare.sum() < 2 or rare.all():
        rare[:] = False
    group = np.where(rare, (~rare).sum(), np.cumsum(~rare) - 1)
    weight = np.where(rare, np.maximum(measurement.shares, least / 10), 1.0)
    return LevelMerge(group, weight / np.bincount(group, weight)[group])


def _merged(private: _PrivateTable, merges: Sequence[LevelMerge]) -> _PrivateTable:
    """The same patients and measurements in merged levels."""
    codes = np.column_stack([merge.group[private.codes[:, k]] for k, merge in enumerate(merges)])
    measured: dict[Columns, Measurement] = {
        (k,): Measurement(
            np.bincount(merge.group, private.measured[k,].shares).astype(float), private.measured[k,].variance
        )
        for k, merge in enumerate(merges)
    }
    return _PrivateTable(codes, [merge.size for merge in merges], private.rng, measured)


def _spanning_forest(scores: Scores, sizes: Sequence[int]) -> list[Columns]:
    """The spanning tree of most dependence (Chow and Liu 1968), leaving out pairs that no model could hold."""
    joined = list(range(len(sizes)))
    chosen: list[Columns] = []
    for i, j in sorted(scores, key=lambda pair: -scores[pair]):
        if joined[i] != joined[j] and sizes[i] * sizes[j] <= CELLS:
            chosen.append((i, j))
            joined = [joined[i] if place == joined[j] else place for place in joined]
    return chosen


def _select_pairs(
    scores: Scores, groups: Sequence[Columns], private: _PrivateTable, noise_multiplier: float, limit: float
) -> list[Columns]:
    """Pairs that gain most by being measured, as many as columns, while the junction tree stays small."""
    most = len(private.sizes)
    noise = noise_multiplier * sqrt(most) * MEAN_DEVIATION / 2 / len(private.codes)

    def gain(pair: Columns) -> float:
        return scores[pair] - noise * prod(private.sizes[column] for column in pair)

    promising = sorted((p for p in scores if p not in groups and gain(p) > 0), key=gain, reverse=True)[
        :SHORTLIST
    ]
    chosen: list[Columns] = []
    held = total_cells(private.sizes, triangulated(private.sizes, groups))
    while promising and len(chosen) < most:
        grown = {
            pair: total_cells(private.sizes, triangulated(private.sizes, [*groups, *chosen, pair]))
            for pair in promising
        }
        promising = [pair for pair in promising if grown[pair] <= limit]
        if promising:
            best = max(
                promising, key=lambda pair: gain(pair) / max(grown[pair] - held, LEAST_GROWTH) ** THRIFT
            )
            promising.remove(best)
            chosen.append(best)
            held = grown[best]
    return chosen
