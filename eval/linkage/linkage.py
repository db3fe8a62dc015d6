"""Linkage: do the records of one patient tell of one patient, and does that rest on whose they are."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...core.assertions import Asserting
from ...core.modality import Modality
from ..cohort import CHUNK, CohortFiles
from ..sample import Comparison
from .consistency import LEAST, ROSTER, Agreement, Fault, Statements, agreements, of_profile
from .cross_modal import Crossing, crossings
from .label_recovery import Recovery, recoveries

DEFINITION = (
    "The linkage score is the lower of two shares, each 0 as when ids are shuffled and 1 as it should be. "
    "Agreement: how many patients' files agree on what they must agree on, mean over subjects. Recovery: how "
    "much of what a model reads off real records it reads off these, mean over facts that real records reveal."
)


@dataclass(frozen=True)
class Linkage:
    """All that was found about the link; faults has a row a patient and subject, in the order of the patients."""

    agreements: Sequence[Agreement]
    faults: Sequence[Fault]
    recoveries: Sequence[Recovery]
    crossings: Sequence[Crossing]

    @property
    def agreement(self) -> float | None:
        """Mean over required subjects of agreement above chance; None where nothing says so."""
        return _mean([a.strength() for a in self._counted])

    @property
    def _counted(self) -> list[Agreement]:
        """Required subjects of which enough patients are spoken; in a small cohort, all that are required."""
        required = [a for a in self.agreements if a.required]
        return [a for a in required if a.patients >= LEAST] or required

    @property
    def recovery(self) -> float | None:
        """Mean over facts that can be judged of the share recovered; None without real records."""
        return _mean([r.strength for r in self.recoveries if r.judged])

    @property
    def score(self) -> float | None:
        """See DEFINITION; None unless both shares are known."""
        return _lower(self.agreement, self.recovery)

    @property
    def shuffled(self) -> float | None:
        """The score with shuffled ids; without recovery, the agreement with shuffled ids."""
        agree = _mean([a.strength(a.shuffled) for a in self._counted])
        read = _mean([r.shuffled_strength for r in self.recoveries if r.judged])
        return agree if read is None else _lower(agree, read)

    @property
    def failing(self) -> list[str]:
        """Ids of patients with a fault, each once."""
        return list(dict.fromkeys(fault.patient_id for fault in self.faults))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        shares = {
            "score": self.score, "agreement": self.agreement, "recovery": self.recovery, "shuffled": self.shuffled,
        }  # fmt: skip
        return {
            **{name: None if value is None else round(value, 4) for name, value in shares.items()},
            "definition": DEFINITION,
            "agreements": [a.to_dict() for a in self.agreements],
            "recoveries": [r.to_dict() for r in self.recoveries],
            "crossings": [c.to_dict() for c in self.crossings],
            "failing_patients": self.failing,
            "faults": [fault.to_dict() for fault in self.faults],
        }


def linkage(
    cohort: CohortFiles, modalities: Sequence[Modality], sides: Sequence[Comparison], seed: int = 0
) -> Linkage:
    """Judge the link of a finished cohort.

    Assertions are read from its files, by the modalities that state any; recoveries use the views' sides that
    have real rows. Raises InputError: a file cannot be read, a subject is a number here and a word there.
    """
    agreed, faults = agreements(statements(cohort, modalities), seed)
    read = [found for side in sides for found in _recoveries(side, seed)]
    return Linkage(agreed, faults, read, crossings(read, seed))


def statements(cohort: CohortFiles, modalities: Sequence[Modality]) -> Statements:
    """What the table of patients and every modality's files assertion, by patient."""
    asserting = [m for m in modalities if isinstance(m, Asserting)]
    said: dict[str, dict[str, Any]] = {name: {} for name in (ROSTER, *(m.name for m in asserting))}
    waiting = list(cohort.profiles()) if asserting else []
    said[ROSTER] = {profile.patient_id: list(of_profile(profile)) for profile in waiting}
    for start in range(0, len(waiting), CHUNK):
        ids = [profile.patient_id for profile in waiting[start : start + CHUNK]]
        for modality in asserting:
            said[modality.name] |= modality.assertions(cohort.folder, ids)
    return said


def _recoveries(side: Comparison, seed: int) -> list[Recovery]:
    if side.synthetic is None or side.train is None or side.test is None:
        return []
    classes = {task.name: task.classes for task in side.view.tasks}
    return recoveries(side.view.name, side.view.title, classes, side.synthetic, side.train, side.test, seed)


def _mean(shares: Sequence[float | None]) -> float | None:
    known = [share for share in shares if share is not None]
    return float(np.mean(known)) if known else None


def _lower(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else min(a, b)
