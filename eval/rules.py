"""Rules: which clinical rules the records of a cohort break, for modalities that state any."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from ..core.capabilities import ClinicalRules
from ..core.modality import Modality
from .cohort import CohortRecords

NAMED = 20  # breaches listed in full


def rules(cohort: CohortRecords, modalities: Sequence[Modality]) -> dict[str, Any]:
    """How many patients were checked and which rules their records break, in plain JSON types."""
    patients, counts, named = 0, Counter[str](), list[dict[str, str]]()
    checked: dict[str, str] = {}
    for modality in modalities:
        if not isinstance(modality, ClinicalRules):
            continue
        checked |= modality.rule_names()
        for patient in cohort.records(modality):
            patients += 1
            for rule, says in modality.breaches(patient.records[modality.name]):
                counts[rule] += 1
                if len(named) < NAMED:
                    named.append({"patient_id": patient.profile.patient_id, "rule": rule, "says": says})
    total = counts.total()
    said = f"{total or 'No'} breaches of clinical rules in the records of {patients} patients."
    return {
        "patients": patients,
        "violations": total,
        "by_rule": dict(sorted(counts.items())),
        "checked": checked if patients else {},
        "first": named,
        "in_words": said if patients else "Not measured: no record states rules.",
    }
