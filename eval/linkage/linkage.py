"""Linkage: whether the records of one patient fit together, and whether that depends on their ids."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...core.capabilities import Asserting
from ...core.modality import Modality
from ..cohort import CHUNK, CohortFiles
from ..sample import Comparison
from .consistency import (
    LEAST,
    PATIENTS_TABLE,
    Consistency,
    Contradiction,
    Statements,
    check_consistency,
    of_profile,
)
from .cross_modal import CrossModalCorrelation, cross_modal_correlations
from .label_recovery import LabelRecovery, recover_labels

DEFINITION = (
    "The linkage score is the lower of two shares, each 0 as when ids are shuffled and 1 as it should be. "
    "Consistency: how many patients' files agree on what they must agree on, mean over subjects. Label recovery: how "
    "much of what a model reads off real records it reads off these, mean over labels that real records reveal."
)


@dataclass(frozen=True)
class Linkage:
    """All that was found about the link; faults has a row a patient and subject, in the order of the patients."""

    consistency_by_subject: Sequence[Consistency]
    contradictions: Sequence[Contradiction]
    label_recoveries: Sequence[LabelRecovery]
    cross_modal_correlations: Sequence[CrossModalCorrelation]

    @property
    def consistency(self) -> float | None:
        """Mean over required subjects of agreement above chance; None where nothing says so."""
        return _mean([a.strength() for a in self._counted])

    @property
    def _counted(self) -> list[Consistency]:
        """Required subjects of which enough patients are spoken; in a small cohort, all that are required."""
        required = [a for a in self.consistency_by_subject if a.required]
        return [a for a in required if a.patients >= LEAST] or required

    @property
    def label_recovery(self) -> float | None:
        """Mean over labels that can be judged of the share recovered; None without real records."""
        return _mean([r.strength for r in self.label_recoveries if r.judged])

    @property
    def score(self) -> float | None:
        """See DEFINITION; None unless both shares are known."""
        return _lower(self.consistency, self.label_recovery)

    @property
    def shuffled(self) -> float | None:
        """The score with shuffled ids; without recovery, the agreement with shuffled ids."""
        consistent = _mean([a.strength(a.shuffled) for a in self._counted])
        read = _mean([r.shuffled_strength for r in self.label_recoveries if r.judged])
        return consistent if read is None else _lower(consistent, read)

    @property
    def inconsistent_patients(self) -> list[str]:
        """Ids of patients with a fault, each once."""
        return list(dict.fromkeys(contradiction.patient_id for contradiction in self.contradictions))

    @property
    def in_words(self) -> str:
        """What was found of the link, in a few sentences."""
        if self.consistency is None and self.label_recovery is None:
            return "Not measured: no two records of a patient say something about the same subject."
        said = []
        if self.score is not None:
            said.append(f"Linkage score {self.score:.2f} of 1; with shuffled ids {self.shuffled or 0:.2f}.")
        if self.consistency is not None:
            failing = (
                f"{len(self.inconsistent_patients)} patients have"
                if self.inconsistent_patients
                else "no patient has"
            )
            subjects = sum(a.required for a in self.consistency_by_subject)
            said.append(
                f"Consistency {self.consistency:.2f} on {subjects} subjects: {failing} contradictory files."
            )
        if self.label_recovery is None:
            few = "too few patients have the rarest class of a label"
            none = "no label is known of enough real patients to learn it and of enough synthetic ones to judge it"
            said.append(f"Label recovery was not measured: {few if self.label_recoveries else none}.")
        else:
            near = [r for r in self.label_recoveries if r.judged]
            met = sum(r.met for r in near)
            said.append(
                f"Label recovery {self.label_recovery:.2f}: {met} of {len(near)} labels as well as from real records."
            )
        return " ".join(said)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        shares = {
            "score": self.score, "consistency": self.consistency, "label_recovery": self.label_recovery,
            "shuffled": self.shuffled,
        }  # fmt: skip
        return {
            "in_words": self.in_words,
            **{name: None if value is None else round(value, 4) for name, value in shares.items()},
            "definition": DEFINITION,
            "consistency_by_subject": [a.to_dict() for a in self.consistency_by_subject],
            "label_recovery_by_label": [r.to_dict() for r in self.label_recoveries],
            "cross_modal_correlations": [c.to_dict() for c in self.cross_modal_correlations],
            "inconsistent_patients": self.inconsistent_patients,
            "contradictions": [contradiction.to_dict() for contradiction in self.contradictions],
        }


def linkage(
    cohort: CohortFiles, modalities: Sequence[Modality], comparisons: Sequence[Comparison], seed: int = 0
) -> Linkage:
    """Judge the link of a finished cohort.

    Assertions are read from its files, by the modalities that state any; recoveries use the views' sides that
    have real rows. Raises InputError: a file cannot be read, a subject is a number here and a word there.
    """
    agreed, contradictions = check_consistency(statements(cohort, modalities), seed)
    read = [found for comparison in comparisons for found in _recovered(comparison, seed)]
    return Linkage(agreed, contradictions, read, cross_modal_correlations(read, seed))


def statements(cohort: CohortFiles, modalities: Sequence[Modality]) -> Statements:
    """What the table of patients and the files of each modality state, by patient."""
    asserting = [m for m in modalities if isinstance(m, Asserting)]
    said: dict[str, dict[str, Any]] = {name: {} for name in (PATIENTS_TABLE, *(m.name for m in asserting))}
    waiting = list(cohort.profiles()) if asserting else []
    said[PATIENTS_TABLE] = {profile.patient_id: list(of_profile(profile)) for profile in waiting}
    for start in range(0, len(waiting), CHUNK):
        ids = [profile.patient_id for profile in waiting[start : start + CHUNK]]
        for modality in asserting:
            said[modality.name] |= modality.assertions(cohort.folder, ids)
    return said


def _recovered(comparison: Comparison, seed: int) -> list[LabelRecovery]:
    if comparison.synthetic is None or comparison.train is None or comparison.test is None:
        return []
    classes = {task.name: task.classes for task in comparison.view.tasks}
    return recover_labels(
        comparison.view.name,
        comparison.view.title,
        classes,
        comparison.synthetic,
        comparison.train,
        comparison.test,
        seed,
        comparison.view.states,
    )


def _mean(shares: Sequence[float | None]) -> float | None:
    known = [share for share in shares if share is not None]
    return float(np.mean(known)) if known else None


def _lower(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else min(a, b)
