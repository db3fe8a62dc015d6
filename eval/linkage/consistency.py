"""Consistency: whether the files of one patient state the same, and how often they do if ids are shuffled."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import isfinite
from typing import Any

import numpy as np

from ...core.assertions import (
    AGE,
    CHEST_FINDINGS,
    FINDINGS,
    PATIENT,
    RHYTHM,
    SEX,
    STUDY_DATE,
    SUBTYPE,
    VIEW,
    VITALS,
    Assertion,
    findings,
    rhythm,
)  # fmt: skip
from ...core.errors import InputError
from ...core.profile import PatientProfile

SHUFFLES = 10  # the first half says what chance is, the second what is left when ids are shuffled
PATIENTS_TABLE = "table of patients"
UNINFORMATIVE = 0.99  # agreement by chance from which a subject says nothing of who belongs to whom

LEAST = 30  # patients; of fewer, what agrees by chance is not known well enough to count with other subjects

Patient = str
Source = str  # of assertions that stay together when ids are shuffled: a modality, or ROSTER
Statements = Mapping[Source, Mapping[Patient, Sequence[Assertion]]]


def of_profile(profile: PatientProfile) -> Iterator[Assertion]:
    """What the cohort's own table of patients says."""
    yield Assertion.of(PATIENT, PATIENTS_TABLE, profile.patient_id)
    if profile.sex is not None:
        yield Assertion.of(SEX, PATIENTS_TABLE, profile.sex)
    if profile.age is not None:
        yield Assertion.of(AGE, PATIENTS_TABLE, profile.age, within=0.05)
    if profile.index_date is not None:
        yield Assertion.of(STUDY_DATE, PATIENTS_TABLE, profile.index_date.isoformat())
    if "I48.91" in profile.conditions:
        yield Assertion.of(
            RHYTHM, PATIENTS_TABLE, rhythm([code for code in profile.conditions if profile.has(code)])
        )
    if all(code in profile.conditions for code in CHEST_FINDINGS):
        yield Assertion.of(
            FINDINGS, PATIENTS_TABLE, findings([code for code in CHEST_FINDINGS if profile.has(code)])
        )
    for subject, trait in ((SUBTYPE, "pam50"), (VIEW, "chest_view")):
        if trait in profile.traits:
            yield Assertion.of(subject, PATIENTS_TABLE, profile.traits[trait])
    for field in VITALS:
        if field in profile.measurements:
            yield Assertion.vital(field, PATIENTS_TABLE, profile.measurements[field])


@dataclass(frozen=True)
class Consistency:
    """One subject: in how many of the patients about whom two sources speak they all agree.

    source: None where every certain assertion must agree; else the one uncertain source held against them.
    chance, shuffled: the share of agreement with shuffled ids, by two separate sets of shuffles. gap: median
    distance of an uncertain source from the others, for numbers, in the subject's unit.
    """

    subject: str
    source: str | None
    sources: tuple[str, ...]
    patients: int
    consistent: int
    chance: float
    shuffled: float
    gap: float | None = None

    @property
    def share(self) -> float:
        """Of the patients."""
        return self.consistent / self.patients

    @property
    def required(self) -> bool:
        """Whether every patient must agree."""
        return self.source is None

    def strength(self, share: float | None = None) -> float | None:
        """Agreement above chance: 0 as with shuffled ids, 1 if all agree; None where shuffling changes nothing."""
        if self.chance >= UNINFORMATIVE:
            return None
        share = self.share if share is None else share
        return max(0.0, (share - self.chance) / (1 - self.chance))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        strength = self.strength()
        return {
            "subject": self.subject, "required": self.required, "sources": list(self.sources),
            "compared_source": self.source, "patients": self.patients, "consistent": self.consistent,
            "share": round(self.share, 4), "chance": round(self.chance, 4), "shuffled": round(self.shuffled, 4),
            "above_chance": None if strength is None else round(strength, 4),
            "median_distance": None if self.gap is None else round(self.gap, 3),
        }  # fmt: skip


@dataclass(frozen=True)
class Contradiction:
    """A patient whose files contradict each other on a subject; said is what each source says."""

    patient_id: str
    subject: str
    said: tuple[tuple[str, str], ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {"patient_id": self.patient_id, "subject": self.subject, "said": dict(self.said)}

    def __str__(self) -> str:
        said = "; ".join(f"{source}: {value}" for source, value in self.said)
        return f"{self.patient_id}: {self.subject}: {said}"


def check_consistency(statements: Statements, seed: int) -> tuple[list[Consistency], list[Contradiction]]:
    """Every subject on which two sources speak, and the patients in whom required agreement fails.

    Raises InputError where one subject is a number here and a word there.
    """
    held = _tally(statements)
    _check_kinds(held)
    rng = np.random.default_rng(seed)
    shares: dict[tuple[str, str | None], list[float]] = defaultdict(list)
    for _ in range(SHUFFLES):
        for key, (patients, consistent) in _counts(_tally(_shuffled(statements, rng))).items():
            shares[key].append(consistent / patients)
    found = []
    for (subject, source), (patients, consistent) in _counts(held).items():
        drawn = shares[subject, source] or [0.0, 0.0]  # no patient is left about whom two sources speak
        chance, shuffled = (float(np.mean(half)) for half in np.array_split(drawn, 2))
        sources, gap = _about(held, subject, source)
        found.append(Consistency(subject, source, sources, patients, consistent, chance, shuffled, gap))
    return sorted(found, key=lambda a: (not a.required, a.subject, a.source or "")), list(
        _contradictions(held)
    )


_Held = dict[tuple[Patient, str], list[Assertion]]  # assertions of one patient on one subject


def _tally(statements: Statements) -> _Held:
    held: _Held = defaultdict(list)
    for by_patient in statements.values():
        for patient_id, assertions in by_patient.items():
            for assertion in assertions:
                held[patient_id, assertion.subject].append(assertion)
    return held


def _shuffled(statements: Statements, rng: np.random.Generator) -> Statements:
    """Each modality's assertions given to other patients of that modality; the table of patients stays."""
    return {
        source: own if source == PATIENTS_TABLE else _dealt(own, rng) for source, own in statements.items()
    }


def _dealt(
    own: Mapping[Patient, Sequence[Assertion]], rng: np.random.Generator
) -> dict[Patient, Sequence[Assertion]]:
    """A random cycle: everybody gets somebody else's."""
    order = [list(own)[i] for i in rng.permutation(len(own))]
    return {to: own[of] for to, of in zip(order, order[1:] + order[:1], strict=True)}


def meet(assertions: Sequence[Assertion]) -> bool:
    """Whether all ranges meet: on a line they do if each two do. Never where an end is NaN."""
    return all(a.agrees(b) for a, b in combinations(assertions, 2))


def _counts(held: _Held) -> dict[tuple[str, str | None], tuple[int, int]]:
    """(patients, agree) by subject (all certain assertions), and by subject and uncertain source (with those)."""
    found: dict[tuple[str, str | None], tuple[int, int]] = {}
    for (_, subject), assertions in held.items():
        certain = [c for c in assertions if c.certain]
        groups: list[tuple[str | None, Sequence[Assertion]]] = [(None, certain)]
        groups += [(c.source, [*certain, c]) for c in assertions if not c.certain]
        for source, group in groups:
            if len(group) > 1 and certain:
                patients, consistent = found.get((subject, source), (0, 0))
                found[subject, source] = patients + 1, consistent + meet(group)
    return found


def _about(held: _Held, subject: str, source: str | None) -> tuple[tuple[str, ...], float | None]:
    """Who speaks on a subject; and the median distance of an uncertain source's numbers from the others'."""
    sources: set[str] = set()
    gaps = []
    for (_, name), assertions in held.items():
        if name != subject:
            continue
        certain = [c for c in assertions if c.certain]
        sources.update(c.source for c in certain)
        gaps += [gap for c in assertions if c.source == source if (gap := _gap(c, certain)) is not None]
    return tuple(sorted(sources)), float(np.median(gaps)) if gaps else None


def _gap(assertion: Assertion, certain: Sequence[Assertion]) -> float | None:
    """Distance of a number's middle from the mean of the others', where all are bounded numbers."""
    ends = [end for c in (assertion, *certain) for end in (c.low, c.high)]
    numbers = [end for end in ends if not isinstance(end, str) and isfinite(end)]
    if not certain or len(numbers) < len(ends):
        return None
    return abs(sum(numbers[:2]) / 2 - sum(numbers[2:]) / len(numbers[2:]))


def _contradictions(held: _Held) -> Iterator[Contradiction]:
    for (patient_id, subject), assertions in held.items():
        certain = [c for c in assertions if c.certain]
        if len(certain) > 1 and not meet(certain):
            yield Contradiction(patient_id, subject, tuple((c.source, str(c)) for c in certain))


def _check_kinds(held: _Held) -> None:
    kinds: dict[str, Assertion] = {}
    for (_, subject), assertions in held.items():
        for assertion in assertions:
            first = kinds.setdefault(subject, assertion)
            if isinstance(first.low, str) != isinstance(assertion.low, str):
                raise InputError(
                    f"{subject}: {first.source} states {first.low!r}, {assertion.source} states {assertion.low!r}; "
                    "expected numbers from both, or words"
                )
