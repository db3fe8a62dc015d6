"""Memorization: synthetic records that are exact or near copies of a real patient's record."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...core.types import BoolArray, FloatArray, IntArray
from .membership import AttackData, components, standard

EXACT, NEAR = 0.01, 0.5  # shares of the way from a patient to the nearest other real patient
RANK_CORRELATION = 0.99  # rank correlation of all standardised features
RANKED = 20  # features at least; the ranks of fewer agree by chance
ROWS = 2000  # of each group
BLOCK = 64  # rows that are ranked at a time


@dataclass(frozen=True)
class Memorization:
    """How many of `records` synthetic rows copy one of `members` training patients, and of `controls` held-out ones.

    near: at most half as far from a patient as the nearest other real patient is, or of a rank correlation
    of 0.99 with him, where there are 20 features or more; exact: at most a hundredth, which rounding in files may
    cost; near counts the exact ones too. control_near is what happens by chance, since the generator has not seen
    the controls.
    """

    modality: str
    view: str
    title: str
    exact: int
    near: int
    records: int
    control_near: int
    members: int
    controls: int

    @property
    def expected(self) -> float:
        """Near copies of members if members were copied as often as controls are."""
        return self.control_near * self.members / self.controls

    def to_dict(self) -> Mapping[str, Any]:
        """Plain JSON types."""
        return dict(vars(self))


def memorization(modality: str, data: AttackData, seed: int) -> Memorization:
    """Among the first 2,000 rows of each group of a view."""
    train, test, synthetic = (
        group.take(np.arange(min(len(group), ROWS))) for group in (data.train, data.test, data.synthetic)
    )
    patient = np.concatenate([train.patients, train.patient_count + test.patients])
    values = standard([train.inputs, test.inputs, synthetic.inputs], len(patient))
    exact, near = copies(values[: len(patient)], values[len(patient) :], patient, seed)
    member = np.arange(len(patient)) < len(train)
    return Memorization(
        modality,
        data.view.name,
        data.view.title,
        exact=int(exact[member].any(0).sum()),
        near=int(near[member].any(0).sum()),
        records=len(synthetic),
        control_near=int(near[~member].any(0).sum()),
        members=train.patient_count,
        controls=test.patient_count,
    )


def copies(
    real: FloatArray, synthetic: FloatArray, patient: IntArray, seed: int
) -> tuple[BoolArray, BoolArray]:
    """(real row, synthetic row): exact copies, near copies; values are standardised features.

    A real row that another patient has too is nobody's own, and cannot be copied from him.
    """
    from scipy.spatial.distance import cdist

    low = components(np.concatenate([real, synthetic]), seed)
    low, drawn = low[: len(real)], low[len(real) :]
    others = cdist(low, low)
    others[patient[:, None] == patient] = np.inf
    gap = others.min(1)
    own = gap > 1e-9
    share = cdist(low, drawn) / np.where(own, gap, 1.0)[:, None]
    exact = (share <= EXACT) & own[:, None]
    near = (share <= NEAR) & own[:, None]
    if real.shape[1] < RANKED:
        return exact, near
    drawn_ranks = _ranks(synthetic)
    for start in range(0, len(real), BLOCK):
        block = slice(start, start + BLOCK)
        near[block] |= (_ranks(real[block]) @ drawn_ranks.T >= RANK_CORRELATION) & own[block, None]
    return exact, near


def _ranks(values: FloatArray) -> FloatArray:
    """Centred ranks of each row, of length 1; ranked in blocks, since rankdata copies its input several times."""
    from scipy.stats import rankdata

    ranks = np.empty(values.shape)
    for start in range(0, len(values), BLOCK):
        part = rankdata(values[start : start + BLOCK], axis=1)
        part -= part.mean(1, keepdims=True)
        ranks[start : start + BLOCK] = part / np.maximum(np.linalg.norm(part, axis=1, keepdims=True), 1e-9)
    return ranks
