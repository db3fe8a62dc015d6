"""Linkability: whether two records of a real patient lead to one synthetic patient."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...core.types import BoolArray, FloatArray
from ..sample import Comparison, Sample
from .membership import components, standard, vary

MOST = 600  # patients of each real group
LEAST = 20


@dataclass(frozen=True)
class Pair:
    """Two views of the same people, real and synthetic.

    near (view, real patient, synthetic patient): distances. member (real patient,).
    """

    near: tuple[FloatArray, FloatArray]
    member: BoolArray


def pair(first: Comparison, second: Comparison, seed: int) -> Pair | None:
    """The patients whom both views know; None unless 20 of each kind are, whose real records vary."""
    groups = []
    for name in ("train", "test", "synthetic"):
        one, two = getattr(first, name), getattr(second, name)
        if one is None or two is None or len(both := common(one, two)) < LEAST:
            return None
        order = np.random.default_rng(seed).permutation(len(both))[:MOST]
        groups.append([both[i] for i in order])
    if not all(vary(own.train, own.test) for own in (first, second) if own.train and own.test):
        return None
    member = np.repeat([True, False], [len(own) for own in groups[:2]])
    return Pair((_distances(first, groups, seed), _distances(second, groups, seed)), member)


def common(first: Sample, second: Sample) -> list[str]:
    """Ids of the patients who are in both."""
    theirs = {p.patient_id for p in second.profiles}
    return sorted({p.patient_id for p in first.profiles} & theirs)


def scores(found: Pair) -> FloatArray:
    """(real patient,) minus the log of how many nearest synthetic patients must be asked until both halves meet.

    The attacker holds two records and asks whether they are of one person: the two lists of nearest synthetic
    patients meet soonest where the generator has memorized that patient (after Giomi et al. 2023).
    """
    ranks = [own.argsort(1).argsort(1) for own in found.near]
    return -np.log1p(np.maximum(*ranks).min(1).astype(np.float64))


def _distances(comparison: Comparison, groups: Sequence[Sequence[str]], seed: int) -> FloatArray:
    """(real patient, synthetic patient) distances in one view, of the first record of each."""
    from scipy.spatial.distance import cdist

    rows = []
    for name, ids in zip(("train", "test", "synthetic"), groups, strict=True):
        sample: Sample = getattr(comparison, name)
        place = {p.patient_id: i for i, p in reversed(list(enumerate(sample.profiles)))}
        rows.append(sample.inputs.iloc[[place[pid] for pid in ids]])
    real = len(groups[0]) + len(groups[1])
    low = components(standard(rows, real), seed)
    return np.asarray(cdist(low[:real], low[real:]))
