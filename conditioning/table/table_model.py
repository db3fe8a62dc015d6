"""TableModel: a learnt table of patients; its rows drawn under any evidence, and its file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from ...core.errors import InputError, first_line
from ...core.fields import Declaration
from ...core.types import AnyArray, FloatArray, IntArray
from .constraints import Constraint, enforce, violated
from .coupling import Coupling, Ranks
from .domain import Column, span
from .junction_tree import Columns
from .mechanism import GraphicalModel, LevelMerge
from .moments import Moments

if TYPE_CHECKING:
    import pandas as pd

    from ...core.training.weights import Card, Weights

POPULATION = "population"  # what a card calls the modality of a table model
TRIES = 64  # draws of a row that breaks a constraint


@dataclass(frozen=True)
class _ConditionalTable:
    """One column's conditional distribution given its parents: cumulative shares, (configuration of parents, group)."""

    column: int
    parents: Columns
    sizes: tuple[int, ...]
    cumulative: FloatArray
    within: FloatArray  # (group, level): cumulative shares of the levels of a group
    coupling: Coupling | None = None


@dataclass(frozen=True)
class Draws:
    """Rows of a table model under fixed evidence; a row depends on its random numbers alone."""

    steps: tuple[_ConditionalTable, ...]
    probability: float  # of the evidence
    ranks: Mapping[int, Ranks] = field(default_factory=dict)  # of the coupled columns
    groups: Mapping[int, FloatArray] = field(
        default_factory=dict
    )  # where the ranks of their groups of bins end

    def codes(self, uniforms: FloatArray) -> tuple[IntArray, FloatArray]:
        """Levels of rows, (row, column), and places within levels, from one number in [0, 1) each."""
        rows = len(uniforms)
        groups = np.zeros(uniforms.shape, dtype=np.int64)
        codes, places = groups.copy(), uniforms.copy()
        for step in self.steps:
            at = np.zeros(rows, dtype=np.int64)
            for parent, size in zip(step.parents, step.sizes, strict=True):
                at = at * size + groups[:, parent]
            column = step.column
            groups[:, column], place = _invert(step.cumulative[at], uniforms[:, column])
            if (one := step.coupling) is not None:
                ends = self.groups[column]
                known = np.minimum(groups[:, column], len(ends) - 2)
                scores = self.ranks[one.parent].scores(codes[:, one.parent], places[:, one.parent])
                moved = self.ranks[column].coupled(
                    ends[known], ends[known + 1], place, scores, one.correlation
                )
                place = np.where(known == groups[:, column], moved, place)
            codes[:, column], places[:, column] = _invert(step.within[groups[:, column]], place)
        return codes, places


def _invert(cumulative: FloatArray, u: FloatArray) -> tuple[IntArray, FloatArray]:
    """Each row's place in its cumulative shares: which step u falls on, and how far along (0 to 1)."""
    scaled = u * cumulative[:, -1]
    found = (scaled[:, None] >= cumulative).sum(axis=1)
    # u * total may round up to the total; the last step with any share is meant then
    last = (cumulative < cumulative[:, -1:]).sum(axis=1)
    found = np.minimum(found, last)
    rows = np.arange(len(u))
    above = cumulative[rows, found]
    below = np.where(found > 0, cumulative[rows, np.maximum(found - 1, 0)], 0.0)
    return found, np.clip((scaled - below) / np.maximum(above - below, 1e-300), 0.0, np.nextafter(1.0, 0.0))


class TableModel:
    """Columns, and their joint distribution as a product of factors over a junction tree.

    `couplings` let ranks within bins go together; `constraints` are obeyed by every row; `moments`, where they were
    measured, are what intervals rest on (posterior.py).
    """

    def __init__(
        self,
        columns: Sequence[Column],
        learnt: GraphicalModel,
        declared: Mapping[str, Declaration] = MappingProxyType({}),
        couplings: Sequence[Coupling] = (),
        constraints: Sequence[Constraint] = (),
        moments: Moments | None = None,
    ) -> None:
        self.moments = moments
        self.columns, self.declared = tuple(columns), declared
        self.couplings, self.constraints = tuple(couplings), tuple(constraints)
        self._by_name = {column.name: column for column in self.columns}
        self.graphical = learnt
        self.tree = learnt.tree()
        self._potentials = self.tree.potentials(learnt.factors)
        self._log_z, conditionals = self.tree.solve(self._potentials)
        joint = self.tree.marginals(conditionals)
        self._alone = self.tree.one_way(joint)
        self._ranks, self._groups = self._ranked()

    def with_moments(self, moments: Moments) -> "TableModel":
        """The same model, beside which its noisy moments are kept."""
        return TableModel(
            self.columns, self.graphical, self.declared, self.couplings, self.constraints, moments
        )

    @property
    def order(self) -> list[int]:
        """The columns in the order in which a row's are drawn."""
        return [column for clique in self.tree.cliques for column in clique.residual]

    def level_shares(self, column: int) -> FloatArray:
        """How common each level of a column is."""
        merge = self.graphical.merges[column]
        return np.asarray(self._alone[column][merge.group] * merge.share)

    def pair_shares(self) -> dict[Columns, FloatArray]:
        """How common each two levels of every two columns (i < j) are together."""
        merges = self.graphical.merges
        return {
            (i, j): shares[np.ix_(merges[i].group, merges[j].group)]
            * np.outer(merges[i].share, merges[j].share)
            for (i, j), shares in self.tree.two_way(self._potentials).items()
        }

    def _ranked(self) -> tuple[dict[int, Ranks], dict[int, FloatArray]]:
        """Ranks of the coupled columns' bins, and of their groups of bins."""
        ranks, groups = {}, {}
        for column in {c for one in self.couplings for c in (one.column, one.parent)}:
            bins = len(self.columns[column].levels)
            shares = self.level_shares(column)[:bins]
            ends = np.concatenate([[0.0], np.cumsum(shares) / shares.sum()])
            of_bins = self.graphical.merges[column].group[:bins]
            last = np.searchsorted(of_bins, np.arange(of_bins[-1] + 1), "right")
            ranks[column], groups[column] = Ranks(ends), np.concatenate([[0.0], ends[last]])
        return ranks, groups

    def given(self, evidence: Mapping[str, FloatArray] | None = None) -> Draws:
        """Draws under evidence, exactly and without rejection: a weight (0 to 1) for each level of some columns.

        Raises InputError where the evidence is impossible.
        """
        weights = [
            np.asarray((evidence or {}).get(column.name, np.ones(column.size))) for column in self.columns
        ]
        merges = self.graphical.merges
        share = [merge.share * weight for merge, weight in zip(merges, weights, strict=True)]
        grouped = {
            k: np.bincount(m.group, share[k]).astype(float)
            for k, m in enumerate(merges)
            if (weights[k] != 1).any()
        }
        log_z, conditionals = self.tree.solve(self.tree.with_evidence(self._potentials, grouped))
        if not np.isfinite(log_z):
            raise InputError(f"no patient of the learnt table fits: {', '.join(evidence or {})}")
        within = [
            np.cumsum(np.where(np.arange(merge.size)[:, None] == merge.group, share[k], 0.0), axis=1)
            for k, merge in enumerate(merges)
        ]
        coupled = {one.column: one for one in self.couplings}
        steps: list[_ConditionalTable] = []
        for clique, table in zip(self.tree.cliques, conditionals, strict=True):
            for done, column in enumerate(clique.residual):
                parents = clique.separator + clique.residual[:done]
                later = tuple(range(len(parents) + 1, table.ndim))
                flat = table.sum(axis=later).reshape(prod(table.shape[: len(parents)]), -1)
                sizes = tuple(self.tree.sizes[parent] for parent in parents)
                steps.append(
                    _ConditionalTable(
                        column, parents, sizes, np.cumsum(flat, axis=1), within[column], coupled.get(column)
                    )
                )
        return Draws(tuple(steps), float(np.exp(log_z - self._log_z)), self._ranks, self._groups)

    def values(
        self,
        draws: Draws,
        uniforms: FloatArray,
        within: Mapping[str, tuple[float, float]] = MappingProxyType({}),
    ) -> dict[str, AnyArray]:
        """Rows by column, from one number in [0, 1) for each row and column; numbers lie in the ranges of `within`.

        A row that breaks a constraint is drawn again with its own numbers, each moved by the same amount; a row
        that does not get there is moved by as little as the constraints ask.
        """
        found = self._decoded(draws, uniforms, within)
        for number in range(1, TRIES + 1 if self.constraints else 0):
            broken = violated(self.constraints, found, len(uniforms))
            if not broken.any():
                return found
            shift = np.random.default_rng(number).random(len(self.columns))
            again = self._decoded(draws, (uniforms[broken] + shift) % 1.0, within)
            for name, values in again.items():
                found[name][broken] = values
        if self.constraints:
            enforce(self.constraints, found, self._by_name)
        return found

    def _decoded(
        self, draws: Draws, uniforms: FloatArray, within: Mapping[str, tuple[float, float]]
    ) -> dict[str, AnyArray]:
        codes, places = draws.codes(uniforms)
        return {
            column.name: column.decode(codes[:, k], places[:, k], within.get(column.name, (-np.inf, np.inf)))
            for k, column in enumerate(self.columns)
        }

    def sample(self, rows: int, seed: int, given: Mapping[str, Any] | None = None) -> "pd.DataFrame":
        """A synthetic table. `given` fixes columns: a level, a list of levels, a range [low, high] of numbers, None.

        Row i is the same whatever `rows` is. Raises InputError for a column or level that is not there.
        """
        import pandas as pd

        evidence, within = {}, {}
        for name, wanted in (given or {}).items():
            if name not in self._by_name:
                raise InputError(f"given: no column {name!r}; the table has: {', '.join(self._by_name)}")
            column = self._by_name[name]
            evidence[name] = column.weights(wanted, "given")
            if column.kind == "number" and wanted is not None:
                within[name] = span(wanted, "given")
        uniforms = np.random.default_rng(seed).random((rows, len(self.columns)))
        return pd.DataFrame(self.values(self.given(evidence), uniforms, within))

    def save(self, card: "Card") -> "Weights":
        """The model as a weight file; the card says from what and at which privacy cost."""
        import torch

        from ...core.training.weights import Weights

        tensors = {f"share.{k}": torch.from_numpy(m.share) for k, m in enumerate(self.graphical.merges)}
        tensors |= {f"group.{k}": torch.from_numpy(m.group) for k, m in enumerate(self.graphical.merges)}
        for group, factor in self.graphical.factors.items():
            tensors[f"factor.{'.'.join(map(str, group))}"] = torch.from_numpy(np.ascontiguousarray(factor))
        columns = [{**vars(c), "levels": list(c.levels), "edges": list(c.edges)} for c in self.columns]
        model = {
            "columns": columns,
            "couplings": [[one.column, one.parent, one.correlation] for one in self.couplings],
            "constraints": [str(one) for one in self.constraints],
        }
        if self.moments is not None:
            model["moments"] = self.moments.described()
            tensors["moments.products"] = torch.from_numpy(self.moments.products)
        return Weights(tensors, card.model_copy(update={"model": model}))

    @classmethod
    def load(cls, path: Path) -> "TableModel":
        """The model in a file that `polyclinic train population` wrote. Raises InputError."""
        from safetensors import SafetensorError
        from safetensors.numpy import load

        from ...core.training.weights import read_card

        card = read_card(path)
        if card.modality != POPULATION:
            raise InputError(
                f"{path}: holds weights of {card.modality}; expected a table of `train population`"
            )
        try:
            tensors = load(path.read_bytes())
            columns = [
                Column(
                    **{
                        **column,
                        "levels": tuple(column["levels"]),
                        "edges": tuple(column["edges"]),
                        "curves": tuple(map(tuple, column.get("curves", ()))),
                    }
                )
                for column in card.model["columns"]
            ]
            # files from before the two keys have neither
            couplings = [Coupling(*one) for one in card.model.get("couplings", ())]
            constraints = [
                Constraint.parse(one, columns, str(path)) for one in card.model.get("constraints", ())
            ]
            merges = tuple(
                LevelMerge(tensors[f"group.{k}"], tensors[f"share.{k}"]) for k in range(len(columns))
            )
            factors: dict[Columns, FloatArray] = {
                tuple(int(part) for part in name.split(".")[1:]): tensor
                for name, tensor in tensors.items()
                if name.startswith("factor.")
            }
            _require_shapes(columns, merges, factors)
            said = card.model.get("moments")
            moments = said and Moments.read(said, len(columns), tensors["moments.products"])
        except (SafetensorError, LookupError, TypeError, ValueError) as error:
            raise InputError(f"{path}: damaged table model: {first_line(error)}") from None
        return cls(
            columns, GraphicalModel(merges, factors), card.declared, couplings, constraints, moments or None
        )


def _require_shapes(
    columns: Sequence[Column], merges: Sequence[LevelMerge], factors: Mapping[Columns, FloatArray]
) -> None:
    """Raises ValueError where levels, shares and factors of a file do not fit each other, or are no numbers."""
    for column, merge in zip(columns, merges, strict=True):
        if merge.group.shape != (column.size,) or merge.share.shape != (column.size,):
            raise ValueError(f"{column.name} has {column.size} levels, its tensors have others")
        if merge.group.dtype.kind != "i" or merge.group.min() < 0 or not (merge.share >= 0).all():
            raise ValueError(f"{column.name}: expected groups and shares from 0 on")
    for group, factor in factors.items():
        if factor.shape != tuple(merges[place].size for place in group):
            raise ValueError(f"the factor {group} is of another shape than its columns")
        if np.isnan(factor).any():
            raise ValueError(f"the factor {group} holds NaN")
