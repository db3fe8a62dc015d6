"""Outcome: what the tumour's follow-up (facts of omics) says of a patient's life; the record tells the same."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from ....core.modality import Facts

DAYS_A_MONTH = 365.25 / 12
ACUTE = ("sepsis", "pneumonia")  # what a patient dies of who has it, before the tumour


@dataclass(frozen=True)
class Outcome:
    """Days from the index date: alive for certain until `alive`, dead at `death`; -inf and inf if unknown."""

    alive: float = -math.inf
    death: float = math.inf

    @classmethod
    def of(cls, facts: Mapping[str, Facts]) -> "Outcome":
        """From the facts of a patient's other records: months of overall survival, counted from the index date."""
        known = facts.get("omics", {})
        months, died = known.get("os_months"), known.get("os_event")
        if months is None or died is None:
            return cls()
        days = float(months) * DAYS_A_MONTH
        return cls(days, days if died else math.inf)

    @property
    def known(self) -> bool:
        """Whether the follow-up is known."""
        return self.alive > -math.inf
