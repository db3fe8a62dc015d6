"""Select-measure-generate: the noisy marginals of a table, and the rounds that select which pairs to measure.

Three kinds of Gaussian mechanism, each on all patients: every column's counts; in each round, how far
the model so far is from the counts of every pair of columns; then the counts of the pairs that are furthest.
All else is post-processing. The rounds are those of McKenna et al. 2022 (AIM) with a noisy release of all
scores in place of the exponential mechanism, so that every cost is a Gaussian one and adds up exactly.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod, sqrt
from types import MappingProxyType

import numpy as np

from ...core.types import BoolArray, FloatArray, IntArray
from .association import clear_pairs, features, measure
from .estimation import Measurement, fit, together
from .junction_tree import Columns, JunctionTree, total_cells, triangulated
from .shape import denoised, nearest_shares

ROUNDS = 4  # the first grows a forest over the columns, each later one adds at most as many pairs as columns
SINGLES, SCORES = 0.1, 0.08  # shares of the budget; the rest measures pairs
FEW_SINGLES = 0.45  # of columns, where patients are few for the noise; the rest measures associations
FEW_BINS = 8  # groups of bins of a number there
SCARCE = 0.002  # and so they are where the noise of a column's counts is such a share of the patients
CELLS = 1_000_000  # numbers that the model may hold, of which each round may fill its part
STEPS = 100  # of each fit
COARSE = (
    0.04  # total variation of noise that a pair of numbers may have; their bins are merged until it is so
)
MERGED = 6.0  # levels fewer than so many standard deviations of noise are modelled as one
SHORTLIST = 60  # pairs whose growth of the model is worked out
THRIFT = 0.25  # a pair's gain counts by the cells it adds, to this power
LEAST_GROWTH = 1000  # cells; below, growth is no matter
MEAN_DEVIATION = sqrt(2 / np.pi)  # E|z| of a normal

Scores = Mapping[Columns, float]


def rounds_for(patients: int, columns: int, noise_multiplier: float) -> int:
    """How many rounds suit a table, from what is public: with few patients none, but the associations of all pairs.

    noise_multiplier is that of the whole budget, spent at once.
    """
    return 0 if noise_multiplier * sqrt(columns) > SCARCE * patients else ROUNDS


def mechanisms(rounds: int = ROUNDS) -> list[str]:
    """What each mechanism releases, in order."""
    if rounds == 0:
        return ["columns", "associations of all pairs"]
    pairs = [(f"misfit of all pairs, round {k}", f"chosen pairs, round {k}") for k in range(1, rounds + 1)]
    return ["columns", *(name for pair in pairs for name in pair)]


def shares(rounds: int = ROUNDS) -> list[float]:
    """Each mechanism's share of the budget, fixed beforehand."""
    if rounds == 0:
        return [FEW_SINGLES, 1 - FEW_SINGLES]
    pairs = 1 - SINGLES - SCORES
    return [SINGLES, *(share for _ in range(rounds) for share in (SCORES / rounds, pairs / rounds))]


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

    def denoise(self, edges: Mapping[int, Sequence[float]]) -> None:
        """What is measured of single columns with less noise: post-processing, see shape.py."""
        for column in range(len(self.sizes)):
            before = self.measured[column,]
            shares = before.shares.copy()
            if column in edges:
                bins = len(edges[column]) - 1
                shares[:bins] = denoised(edges[column], shares[:bins], before.variance)
            self.measured[column,] = replace(before, shares=nearest_shares(shares))

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
    edges: Mapping[int, Sequence[float]] = MappingProxyType({}),
    possible: Mapping[Columns, BoolArray] = MappingProxyType({}),
) -> GraphicalModel:
    """The distribution of a table of codes (patient, column), one row a patient, each code below its size.

    noise_multipliers belong to mechanisms(), whose number of rounds they say; 0 learns without privacy. rng draws
    the noise. `edges` are those of the bins of the columns of numbers, whose codes come before that of missing.
    `possible` says of
    some columns or pairs which levels, or which together, there can be: public knowledge.
    """
    first, *rest = noise_multipliers
    rounds = len(rest) // 2
    private = _PrivateTable(codes, list(sizes), rng)
    private.measure([(column,) for column in range(len(sizes))], first)
    bins = {column: len(ends) - 1 for column, ends in edges.items()}
    private.denoise(edges)
    most = most_bins(len(codes), rest[1] * sqrt(len(sizes))) if rounds else FEW_BINS
    merges = tuple(
        _merge(private.measured[column,], bins.get(column, 0), most) for column in range(len(sizes))
    )
    private = _merged(private, merges)
    for key, one in private.measured.items():
        private.measured[key] = replace(one, prior=np.log(np.maximum(one.shares, sqrt(one.variance) / 10)))
    fixed = {columns: _log_possible(allowed, columns, merges) for columns, allowed in possible.items()}
    if rounds == 0:
        return GraphicalModel(merges, _associated(private, merges, bins, fixed, rest[0]))
    factors = {key: np.log(np.maximum(m.shares, sqrt(m.variance))) for key, m in private.measured.items()}
    groups: list[Columns] = []
    for number, (on_scores, on_pairs) in enumerate(zip(rest[::2], rest[1::2], strict=True)):
        tree = JunctionTree(private.sizes, [*groups, *fixed])
        model = tree.two_way(tree.potentials(together(factors, fixed)))
        scores = _excess(private.errors(model, on_scores), model, len(codes))
        chosen = _select_pairs(scores, groups, [*fixed], private, on_pairs, CELLS * (number + 1) / rounds)
        if not chosen:
            break
        groups += chosen
        private.measure(chosen, on_pairs)
        for pair in chosen:  # one step of proportional fitting, for a start near the answer
            measurement = private.measured[pair]
            least = sqrt(measurement.variance)
            ratio = np.maximum(measurement.shares, least) / np.maximum(model[pair], least)
            factors[pair] = np.log(ratio) * (1.0 if number == 0 else 0.5)
        tree = JunctionTree(private.sizes, [*groups, *fixed])
        factors = fit(tree, private.measured, factors, STEPS, fixed)
    return GraphicalModel(merges, together(factors, fixed))


def _log_possible(allowed: BoolArray, columns: Columns, merges: Sequence[LevelMerge]) -> FloatArray:
    """0 for merged levels that can be (together), minus infinity for those of which none can."""
    merged = allowed.astype(float)
    for axis, column in enumerate(columns):
        onto = np.eye(merges[column].size)[merges[column].group]  # (level, group)
        merged = np.moveaxis(np.tensordot(merged, onto, (axis, 0)), -1, axis)
    return np.where(merged > 0, 0.0, -np.inf)


def _associated(
    private: _PrivateTable,
    merges: Sequence[LevelMerge],
    bins: Mapping[int, int],
    fixed: Mapping[Columns, FloatArray],
    noise_multiplier: float,
) -> dict[Columns, FloatArray]:
    """The factors of columns and of the pairs whose association is clear."""
    alone = [private.measured[k,].shares for k in range(len(private.sizes))]
    groups = [int(merge.group[bins[k] - 1]) + 1 if k in bins else 0 for k, merge in enumerate(merges)]
    bases = [features(shares, ordered) for shares, ordered in zip(alone, groups, strict=True)]
    found = measure(private.codes, bases, alone, noise_multiplier, private.rng)
    chosen = clear_pairs(found, private.sizes, [*fixed])
    measured = {**private.measured, **chosen}
    start = {key: np.log(np.maximum(m.shares, sqrt(m.variance))) for key, m in private.measured.items()}
    fitted = fit(JunctionTree(private.sizes, [*chosen, *fixed]), measured, start, STEPS, fixed)
    return together({key: measured[key].factor(numbers) for key, numbers in fitted.items()}, fixed)


def most_bins(patients: int, noise: float) -> int:
    """Groups of bins of a number, so that noise on the counts of two numbers' cells varies them by COARSE at most."""
    return max(3, int(sqrt(2 * COARSE * patients / (MEAN_DEVIATION * noise)))) if noise else 10**6


def _excess(scores: Scores, model: Mapping[Columns, FloatArray], patients: int) -> dict[Columns, float]:
    """The scores less what a sample of so many patients differs from the model by chance."""
    return {
        pair: score - MEAN_DEVIATION / 2 * float(np.sqrt(model[pair] * (1 - model[pair]) / patients).sum())
        for pair, score in scores.items()
    }


def _merge(measurement: Measurement, bins: int, most: int) -> LevelMerge:
    """Levels too rare to tell from noise become one group; within it they keep their noisy shares.

    Of a number, neighbouring bins are merged, the emptiest first, until none is rare and there are `most` at most.
    """
    least = sqrt(measurement.variance)
    rare = measurement.shares < MERGED * least
    if bins:
        group = _neighbours(measurement.shares, bins, MERGED * least, most)
        weight = np.maximum(measurement.shares, least / 10)
    else:
        if rare.sum() < 2 or rare.all():
            rare[:] = False
        group = np.where(rare, (~rare).sum(), np.cumsum(~rare) - 1)
        weight = np.where(rare, np.maximum(measurement.shares, least / 10), 1.0)
    return LevelMerge(group, weight / np.bincount(group, weight)[group])


def _neighbours(shares: FloatArray, bins: int, least: float, most: int) -> IntArray:
    """Groups of neighbouring bins; codes after them, such as that of missing, stay alone."""
    starts = list(range(bins))
    masses = [max(float(share), 0.0) for share in shares[:bins]]
    while len(masses) > 1 and (min(masses) < least or len(masses) > most):
        small = int(np.argmin(masses))
        sides = [side for side in (small - 1, small + 1) if 0 <= side < len(masses)]
        other = min(sides, key=lambda side: masses[side])
        left = min(small, other)
        masses[left] += masses.pop(left + 1)
        starts.pop(left + 1)
    group = np.searchsorted(starts, np.arange(bins), "right") - 1
    return np.concatenate([group, len(starts) + np.arange(len(shares) - bins)])


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


def _select_pairs(
    scores: Scores,
    groups: Sequence[Columns],
    held: Sequence[Columns],
    private: _PrivateTable,
    noise_multiplier: float,
    limit: float,
) -> list[Columns]:
    """Pairs that gain most by being measured, at first a forest, while the junction tree stays small.

    The more pairs share a round, the more noise each has: they are as many as gain most together.
    """
    unit = noise_multiplier * MEAN_DEVIATION / 2 / len(private.codes)
    cells = {pair: prod(private.sizes[column] for column in pair) for pair in scores}
    chosen = (
        _spanning_forest(scores, private.sizes)
        if not groups
        else _promising(scores, groups, held, private, unit * sqrt(len(private.sizes)), limit)
    )
    # noise on pair p of k goes with sqrt(sum of cells^(2/3)) * cells_p^(2/3), see measure()
    roots = np.array([cells[pair] ** (2 / 3) for pair in chosen])
    gains = np.cumsum([scores[pair] for pair in chosen]) - unit * np.cumsum(roots) ** 1.5
    return chosen[: int(np.argmax(gains)) + 1] if len(gains) and gains.max() > 0 else []


def _spanning_forest(scores: Scores, sizes: Sequence[int]) -> list[Columns]:
    """The spanning tree of most dependence (Chow and Liu 1968), leaving out pairs that no model could hold."""
    joined = list(range(len(sizes)))
    chosen: list[Columns] = []
    for i, j in sorted(scores, key=lambda pair: -scores[pair]):
        if joined[i] != joined[j] and sizes[i] * sizes[j] <= CELLS:
            chosen.append((i, j))
            joined = [joined[i] if place == joined[j] else place for place in joined]
    return chosen


def _promising(
    scores: Scores,
    groups: Sequence[Columns],
    others: Sequence[Columns],
    private: _PrivateTable,
    unit: float,
    limit: float,
) -> list[Columns]:
    """Pairs whose score is over their noise, as many as columns; each round the best for the cells that it adds."""
    most = len(private.sizes)

    def gain(pair: Columns) -> float:
        return scores[pair] - unit * prod(private.sizes[column] for column in pair)

    promising = sorted((p for p in scores if p not in groups and gain(p) > 0), key=gain, reverse=True)[
        :SHORTLIST
    ]
    chosen: list[Columns] = []
    held = total_cells(private.sizes, triangulated(private.sizes, [*others, *groups]))
    while promising and len(chosen) < most:
        grown = {
            pair: total_cells(private.sizes, triangulated(private.sizes, [*others, *groups, *chosen, pair]))
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
