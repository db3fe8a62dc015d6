"""Attribute inference and singling out: what the cohort reveals of a real patient who is partly known."""

from collections.abc import Sequence

import numpy as np

from ...core.profile import PatientProfile
from ...core.types import FloatArray
from ..sample import one_each
from .membership import AttackData, Embedding, MembershipAttack, nearest

PREDICATES, TERMS = 2000, 3  # statements tried; features that one joins
LEAST_OF_CLASS = 10
KNOWN = 0.5  # share of rows, real and synthetic, in which a field must be known to be asked for
YEARS = 1.0  # ages are compared as whole years
FIELDS = ("age", "sex", "height", "weight")


def by_condition(
    data: AttackData, embedding: Embedding, task: str
) -> tuple[FloatArray, tuple[float, float]] | None:
    """(patient,) how surely a condition is guessed right; and how often so, for members and for controls.

    The guess is the condition of the nearest synthetic record; the score says how much nearer a record of
    the true class is than one of another. Ranked within the true class, so that a commoner condition among
    members is not taken for knowledge. None if fewer than two classes have 10 synthetic and real rows.
    """
    truth = np.concatenate([data.train.labels[task], data.test.labels[task]])[embedding.rows]
    drawn = data.synthetic.labels[task][embedding.drawn]
    classes = [
        c
        for c in np.unique(truth[np.isfinite(truth)])
        if min((truth == c).sum(), (drawn == c).sum()) >= LEAST_OF_CLASS
    ]
    if len(classes) < 2:
        return None
    away = np.stack([nearest(embedding.real, embedding.synthetic[drawn == c]) for c in classes], axis=1)
    scores = np.full(len(truth), np.nan)
    for place, kind in enumerate(classes):
        rows = truth == kind
        other = np.delete(away[rows], place, axis=1).min(1)
        scores[rows] = _ranked(np.log(other + 1e-6) - np.log(away[rows, place] + 1e-6))
    known = np.isin(truth, classes)
    right = np.asarray(classes)[away.argmin(1)] == truth
    member = embedding.member[embedding.patient]
    shares = float(right[known & member].mean()), float(right[known & ~member].mean())
    return best_known(embedding, scores), shares


def by_predicates(embedding: Embedding, seed: int) -> tuple[FloatArray, tuple[float, float]]:
    """(patient,) how many statements learnt from the cohort are true of this patient alone; and of how many each.

    A statement joins three components of a synthetic record, within half the way to the next synthetic record: few
    people can be expected to meet it. It singles out whoever meets it alone among n real patients, n being the
    number of controls (Cohen and Nissim 2020). Members are asked in groups of n, as controls are. The pair is
    the mean share of statements that single out a member, or a control. Only one random record a patient is asked.
    """
    rng = np.random.default_rng(seed)
    first = np.sort(one_each(embedding.patient, len(embedding.patient), rng))
    real, member = embedding.real[first], embedding.member[embedding.patient[first]]
    size = int((~member).sum())
    groups = [np.flatnonzero(~member)]
    order = rng.permutation(np.flatnonzero(member))
    groups += [order[i : i + size] for i in range(0, len(order) - size + 1, size)] or [order]
    counts = np.zeros(len(first))
    asked = np.zeros(len(first), dtype=bool)
    alone = [0, 0]
    for _ in range(PREDICATES):
        where = rng.integers(embedding.synthetic.shape[1], size=TERMS)
        centre = embedding.synthetic[rng.integers(len(embedding.synthetic)), where]
        far = np.abs(embedding.synthetic[:, where] - centre).max(1)
        margin = np.partition(far, 1)[1] / 2
        meets = np.abs(real[:, where] - centre).max(1) <= margin
        for number, group in enumerate(groups):
            hit = group[meets[group]]
            if len(hit) == 1:
                counts[hit] += 1
                alone[number > 0] += 1
    for group in groups:
        asked[group] = True
    scores = np.full(len(embedding.member), np.nan)
    scores[embedding.patient[first]] = np.where(asked, counts, np.nan)
    return scores, (alone[1] / PREDICATES / (len(groups) - 1), alone[0] / PREDICATES)


def by_profile(
    data: AttackData, embedding: Embedding
) -> tuple[FloatArray, tuple[int, int], Sequence[str]] | None:
    """(patient,) how much commoner a patient's profile is among synthetic than among reference patients.

    With it, how many members and controls have a profile that no other real patient has and one synthetic
    patient does; and the fields that a profile was made of. None if fewer than two are known on both sides.
    """
    known = [*data.train.profiles, *data.test.profiles]
    real = [known[i] for i in embedding.rows]
    drawn = [data.synthetic.profiles[i] for i in embedding.drawn]
    fields = shared_fields(real, drawn)
    if len(fields) < 2:
        return None
    keys, theirs = ([_key(profile, fields) for profile in own] for own in (real, drawn))
    counts: dict[tuple[object, ...], int] = {}
    for key in theirs:
        counts[key] = counts.get(key, 0) + 1
    owners: dict[tuple[object, ...], set[int]] = {}
    for key, patient in zip(keys, embedding.patient, strict=True):
        owners.setdefault(key, set()).add(int(patient))
    scores = np.empty(len(keys))
    for half in (0, 1):
        reference = embedding.reference(half)
        total = int(reference.sum())
        held: dict[tuple[object, ...], int] = {}
        for key, is_reference in zip(keys, reference, strict=True):
            held[key] = held.get(key, 0) + int(is_reference)
        for row in np.flatnonzero(embedding.fold[embedding.patient] == half):
            own = (counts.get(keys[row], 0) + 0.5) / (len(theirs) + 1)
            scores[row] = np.log(own) - np.log((held[keys[row]] + 0.5) / (total + 1))
    matched = {next(iter(who)) for key, who in owners.items() if len(who) == 1 and counts.get(key, 0) == 1}
    inside = sum(bool(embedding.member[patient]) for patient in matched)
    return embedding.best(scores), (inside, len(matched) - inside), fields


def shared_fields(real: Sequence[PatientProfile], drawn: Sequence[PatientProfile]) -> list[str]:
    """Profile fields that at least half of the real and half of the synthetic rows know."""
    names = dict.fromkeys(
        name for profile in real for name in (*FIELDS, *sorted(profile.conditions), *sorted(profile.traits))
    )
    return [
        name
        for name in names
        if all(np.mean([p.get(name) is not None for p in own]) >= KNOWN for own in (real, drawn))
    ]


def _key(profile: PatientProfile, fields: Sequence[str]) -> tuple[object, ...]:
    values = (profile.get(name) for name in fields)
    return tuple(round(v / YEARS) if isinstance(v, float) else v for v in values)


def best_known(embedding: Embedding, scores: FloatArray) -> FloatArray:
    """(patient,) the best of each patient's scores, NaN where none is known."""
    out = embedding.best(np.where(np.isfinite(scores), scores, -np.inf))
    return np.where(np.isfinite(out), out, np.nan)


def _ranked(values: FloatArray) -> FloatArray:
    from scipy.stats import rankdata

    ranks: FloatArray = rankdata(values)
    return ranks / (len(values) + 1)


def _singling_out(embedding: Embedding, seed: int) -> tuple[FloatArray, str]:
    counts, (inside, outside) = by_predicates(embedding, seed)
    return counts, (
        f"Of {PREDICATES} statements learnt from the cohort {inside:.1%} are true of one member alone, "
        f"{outside:.1%} of one control alone."
    )


SINGLING_OUT = MembershipAttack("singling_out", "Singling out", _singling_out)
