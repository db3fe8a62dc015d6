"""Junction trees: exact marginals, evidence and draws of a distribution over a few discrete columns."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import prod

import numpy as np

from ...core.types import FloatArray

Columns = tuple[int, ...]


@dataclass(frozen=True)
class Clique:
    """Columns that are modelled together: the separator (shared with the parent clique), then the residual.

    `parent` is the place of an earlier clique (-1 for a root).
    """

    separator: Columns
    residual: Columns
    parent: int

    @property
    def columns(self) -> Columns:
        """All of them; the axes of the clique's table, in this order."""
        return self.separator + self.residual


def triangulated(sizes: Sequence[int], edges: Iterable[Columns]) -> list[frozenset[int]]:
    """Maximal cliques of a chordal graph that holds the edges (groups of columns), by greedy elimination.

    The column whose clique has the fewest cells goes first, the usual heuristic for small tables.
    """
    near: dict[int, set[int]] = {column: {column} for column in range(len(sizes))}
    for group in edges:
        for column in group:
            near[column] |= set(group)
    found: list[frozenset[int]] = []
    while near:
        column = min(near, key=lambda c: (prod(sizes[other] for other in near[c]), c))
        clique = near.pop(column)
        for other in clique - {column}:
            near[other] = (near[other] | clique) - {column}
        if not any(clique <= larger for larger in found):
            found.append(frozenset(clique))
    return found


def total_cells(sizes: Sequence[int], cliques: Iterable[frozenset[int]]) -> int:
    """Numbers that the cliques' tables hold together."""
    return sum(prod(sizes[column] for column in clique) for clique in cliques)


class JunctionTree:
    """Cliques of columns joined so that each column's cliques are connected (Lauritzen and Spiegelhalter 1988).

    `sizes[c]` is the number of levels of column c; `groups` are the sets of columns that must share a clique.
    """

    def __init__(self, sizes: Sequence[int], groups: Iterable[Columns] = ()) -> None:
        self.sizes = tuple(sizes)
        sets = triangulated(self.sizes, groups)
        self.cliques = self._rooted(sets)
        self._shapes = [tuple(self.sizes[c] for c in clique.columns) for clique in self.cliques]

    @staticmethod
    def _rooted(sets: Sequence[frozenset[int]]) -> tuple[Clique, ...]:
        """A maximum-weight spanning tree by shared columns, which for a chordal graph is a junction tree."""
        first = max(range(len(sets)), key=lambda k: (len(sets[k]), -k))
        order, place = [Clique((), tuple(sorted(sets[first])), -1)], {0: sets[first]}
        waiting = [s for k, s in enumerate(sets) if k != first]
        while waiting:
            _, at, chosen = max(
                ((len(place[p] & s), -p, s) for p in place for s in waiting),
                key=lambda best: (best[0], best[1], sorted(best[2])),
            )
            shared = place[-at] & chosen
            parent = -at if shared else -1
            place[len(order)] = chosen
            order.append(Clique(tuple(sorted(shared)), tuple(sorted(chosen - shared)), parent))
            waiting.remove(chosen)
        return tuple(order)

    def clique_of(self, group: Sequence[int]) -> int:
        """The smallest clique that holds all these columns. Raises ValueError if none does."""
        holding = [k for k, clique in enumerate(self.cliques) if set(group) <= set(clique.columns)]
        if not holding:
            raise ValueError(f"no clique holds the columns {tuple(group)}")
        return min(holding, key=lambda k: prod(self._shapes[k]))

    def potentials(self, factors: Mapping[Columns, FloatArray]) -> list[FloatArray]:
        """One table of logarithms a clique: the sum of factors, each on a clique that holds its columns."""
        tables = [np.zeros(shape) for shape in self._shapes]
        for group, factor in factors.items():
            place = self.clique_of(group)
            tables[place] += expand(factor, group, self.cliques[place].columns)
        return tables

    def solve(self, potentials: Sequence[FloatArray]) -> tuple[float, list[FloatArray]]:
        """log of the normaliser, and of each clique the distribution of its residual given its separator."""
        tables = [table.copy() for table in potentials]
        log_z = 0.0
        for place in range(len(self.cliques) - 1, -1, -1):
            clique, table = self.cliques[place], tables[place]
            flat = table.reshape(prod(table.shape[: len(clique.separator)]), -1)
            top = flat.max(axis=1, keepdims=True)
            top[~np.isfinite(top)] = 0.0  # nothing is possible there; its weight below is 0
            np.exp(flat - top, out=flat)
            total = flat.sum(axis=1, keepdims=True)
            flat /= np.where(total > 0, total, 1.0)
            with np.errstate(divide="ignore"):
                message = (np.log(total) + top).reshape(table.shape[: len(clique.separator)])
            if clique.parent < 0:
                log_z += float(message)
            else:
                parent = self.cliques[clique.parent].columns
                tables[clique.parent] += expand(message, clique.separator, parent)
            tables[place] = flat.reshape(table.shape)
        return log_z, tables

    def marginals(self, conditionals: Sequence[FloatArray]) -> list[FloatArray]:
        """Of each clique, the joint distribution of its columns, from what solve() returns."""
        joint: list[FloatArray] = []
        for clique, table in zip(self.cliques, conditionals, strict=True):
            if clique.parent >= 0:
                above = marginal(joint[clique.parent], self.cliques[clique.parent].columns, clique.separator)
                table = table * above.reshape(above.shape + (1,) * len(clique.residual))
            joint.append(table)
        return joint

    def one_way(self, joint: Sequence[FloatArray]) -> list[FloatArray]:
        """The distribution of each column, from what marginals() returns."""
        found: dict[int, FloatArray] = {}
        for clique, table in zip(self.cliques, joint, strict=True):
            for column in clique.residual:
                found[column] = marginal(table, clique.columns, (column,))
        return [found[column] for column in range(len(self.sizes))]

    def two_way(self, potentials: Sequence[FloatArray]) -> dict[Columns, FloatArray]:
        """The joint distribution of every two columns (i < j), whether or not a clique holds both."""
        _, conditionals = self.solve(potentials)
        alone = self.one_way(self.marginals(conditionals))
        found: dict[Columns, FloatArray] = {
            (i, j): np.zeros((a, b)) for (i, a), (j, b) in combinations(enumerate(self.sizes), 2)
        }
        for i in range(len(self.sizes) - 1):
            for level in range(self.sizes[i]):
                _, given = self.solve(self.with_evidence(potentials, {i: np.eye(self.sizes[i])[level]}))
                rest = self.one_way(self.marginals(given))
                for j in range(i + 1, len(self.sizes)):
                    found[i, j][level] = alone[i][level] * rest[j]
        return found

    def with_evidence(
        self, potentials: Sequence[FloatArray], evidence: Mapping[int, FloatArray]
    ) -> list[FloatArray]:
        """The potentials with each column's levels weighted by evidence (0 rules a level out)."""
        tables = list(potentials)
        for column, weight in evidence.items():
            place = self.clique_of((column,))
            with np.errstate(divide="ignore"):
                tables[place] = tables[place] + expand(np.log(weight), (column,), self.cliques[place].columns)
        return tables


def expand(table: FloatArray, columns: Columns, onto: Columns) -> FloatArray:
    """A view of the table with its axes in the order of `onto`, length 1 for columns it lacks."""
    order = sorted(range(len(columns)), key=lambda k: onto.index(columns[k]))
    moved = table.transpose(order)
    shape, sizes = [], iter(moved.shape)
    for column in onto:
        shape.append(next(sizes) if column in columns else 1)
    return moved.reshape(shape)


def marginal(table: FloatArray, columns: Columns, onto: Columns) -> FloatArray:
    """The table summed over all columns but `onto`, its axes in that order."""
    kept = [c for c in columns if c in onto]
    summed = table.sum(axis=tuple(k for k, c in enumerate(columns) if c not in onto))
    return summed.transpose([kept.index(c) for c in onto])
