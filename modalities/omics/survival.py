"""Survival: overall survival given age, stage and class, a Weibull model with proportional hazards.

It is learnt from two tables, deaths and follow-up by age, stage and class, to which noise may have been added, and
from what is publicly known, which is all that remains where the noise is large.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares

from ...core.profile import PatientProfile
from ...core.types import FloatArray, IntArray
from .followup import FollowUp

# Groups of the tables: ages up to 45, 60, 75 and above, with the age that stands for each; stage I or II, III or IV.
AGES, MIDDLES = (45.0, 60.0, 75.0), (38.0, 53.0, 67.0, 81.0)
LATE = ("III", "IV")
# Usual shares of the groups, for patients of whom age or stage is not known
AGE_SHARES, LATE_SHARE = (0.2, 0.35, 0.3, 0.15), 0.25
TABLES = 3  # age, stage, class
HORIZON = 120.0  # months; later follow-up is not looked at
SHAPE = 1.2  # of the Weibull distributions of death and of the end of follow-up
DECADES = 2.5  # from the age of 60, beyond which risk no longer changes
# What the literature makes one expect (logarithms of hazards, the second number its doubt): some 15 % dead after ten
# years; more by age and stage.
COMMON, COMMON_DOUBT, CLASS_DOUBT = (-2.2, 0.3, 1.0), (1.0, 0.15, 0.5), 0.5
FOLLOW_WEIGHT = 1.5  # of follow-up, at most 1 a patient, relative to death
NORM = float(np.sqrt(TABLES * (1 + FOLLOW_WEIGHT**2)))  # of a patient's row


@dataclass(frozen=True)
class Expected:
    """What is publicly known of the classes: usual shares (class,), logarithms of their hazards over the first's."""

    shares: tuple[float, ...]
    hazards: tuple[float, ...]

    @classmethod
    def nothing(cls, classes: int) -> "Expected":
        """Classes of which nothing is known."""
        return cls((1 / classes,) * classes, (0.0,) * (classes - 1))

    def __len__(self) -> int:
        return len(self.shares)

    @property
    def middle(self) -> FloatArray:
        """(term,) of the model's hazards."""
        return np.array([*COMMON, *self.hazards])

    @property
    def doubt(self) -> FloatArray:
        """(term,) standard deviations of the same."""
        return np.array([*COMMON_DOUBT, *[CLASS_DOUBT] * len(self.hazards)])


# Luminal A does best (Sorlie et al., PNAS 98:10869, 2001).
PAM50 = Expected((0.5, 0.2, 0.17, 0.08, 0.05), (0.3, 0.5, 0.4, 0.2))


@dataclass(frozen=True)
class Survival:
    """hazard (term,): log rate of death and what each of _terms adds; ending (1,): log rate of the end of follow-up.

    Rates are in (months / HORIZON) ** SHAPE.
    """

    hazard: FloatArray
    ending: FloatArray

    def draw(
        self, age: float | None, stage: str | None, subtype: int, rng: np.random.Generator
    ) -> tuple[float, bool]:
        """Months that a patient was followed, to a tenth, and whether death ended them."""
        late = LATE_SHARE if stage is None else float(stage in LATE)
        classes = len(self.hazard) - len(COMMON) + 1
        terms = _terms(60.0 if age is None else age, late, np.eye(classes)[subtype])
        rates = np.exp([terms @ self.hazard, self.ending[0]])
        death, end = HORIZON * (rng.exponential(size=2) / rates) ** (1 / SHAPE)
        return max(0.1, round(float(min(death, end)), 1)), bool(death <= end)


def rows_of(
    profiles: Sequence[PatientProfile], subtype: IntArray, followed: FollowUp, known: Expected = PAM50
) -> FloatArray:
    """(patient, 2 * group): death, then follow-up times its weight, by groups of age, stage and class.

    A row is no longer than NORM; it is 0 for those of whom nothing is known.
    """
    groups = np.concatenate(_groups(profiles, subtype, known), axis=1)
    time, died = _within(followed)
    return np.concatenate([groups * died[:, None], groups * time[:, None] * FOLLOW_WEIGHT], axis=1)


def fit(
    profiles: Sequence[PatientProfile], subtype: IntArray, followed: FollowUp, known: Expected = PAM50
) -> Survival:
    """From patients themselves: follow-up in all combinations of groups, no noise."""
    age, stage, kind = _groups(profiles, subtype, known)
    time, died = _within(followed)
    cells = np.einsum("p,pa,ps,pk->ask", time, age, stage, kind)
    deaths = np.concatenate([died @ group for group in (age, stage, kind)])
    return _solved(deaths, cells, float(followed.known.sum()), 0.0, known)


def fit_sums(sums: FloatArray, deviation: float, patients: int, known: Expected = PAM50) -> Survival:
    """From the sum of rows_of with noise of that standard deviation; post-processing.

    Follow-up in combinations of groups is what it would be if they were independent.
    """
    deaths, times = np.split(sums, 2)
    cuts = np.cumsum((len(MIDDLES), 2))
    margins = [np.maximum(part, 1e-3) for part in np.split(times / FOLLOW_WEIGHT, cuts)]
    whole = max(float(np.mean([margin.sum() for margin in margins])), 0.02 * patients)
    age, stage, kind = (margin / margin.sum() for margin in margins)
    return _solved(deaths, whole * np.einsum("a,s,k->ask", age, stage, kind), patients, deviation, known)


def _solved(
    deaths: FloatArray, cells: FloatArray, patients: float, deviation: float, known: Expected
) -> Survival:
    """The most likely model given deaths by groups, follow-up by cells, and what is expected."""
    late, kinds = np.arange(2.0), np.eye(len(known))
    terms = np.stack([[[_terms(a, s, k) for k in kinds] for s in late] for a in MIDDLES])
    scale = np.sqrt(np.maximum(deaths, 1.0) + deviation**2)

    def residuals(hazard: FloatArray) -> FloatArray:
        dying = cells * np.exp(terms @ hazard)
        found = np.concatenate([dying.sum((1, 2)), dying.sum((0, 2)), dying.sum((0, 1))])
        return np.concatenate([(found - deaths) / scale, (hazard - known.middle) / known.doubt])

    hazard = least_squares(residuals, known.middle).x
    dead = float((cells * np.exp(terms @ hazard)).sum())
    return Survival(hazard, np.log([max(patients - dead, 0.1 * patients) / cells.sum()]))


def _terms(age: float, late: float, subtype: FloatArray) -> FloatArray:
    """(term,): 1, decades from 60, late stage, and the classes but the first."""
    decades = float(np.clip((age - 60) / 10, -DECADES, DECADES))
    return np.array([1.0, decades, late, *subtype[1:]])


def _groups(
    profiles: Sequence[PatientProfile], subtype: IntArray, known: Expected
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """(patient, group) of age, stage and class: 1 in a patient's group, the usual shares if it is not known."""
    stages = [p.traits.get("tumor_stage") for p in profiles]
    late = np.array([LATE_SHARE if s is None else float(s in LATE) for s in stages])
    age = [
        AGE_SHARES if p.age is None else np.eye(len(MIDDLES))[np.searchsorted(AGES, p.age)] for p in profiles
    ]
    kind = np.concatenate([np.eye(len(known)), [known.shares]])[subtype]
    return np.array(age), np.stack([1 - late, late], axis=1), kind


def _within(followed: FollowUp) -> tuple[FloatArray, FloatArray]:
    """(patient,) follow-up within the horizon, from 0 to 1, and death within it; 0 where nothing is known."""
    months = np.nan_to_num(followed.months)
    died = np.where(months <= HORIZON, np.nan_to_num(followed.event), 0.0)
    return (np.minimum(months, HORIZON) / HORIZON) ** SHAPE, died
