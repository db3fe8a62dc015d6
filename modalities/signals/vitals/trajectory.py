"""Trajectory: how a stay goes on: stable, onset of sepsis at an hour, or recovery."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import Field

from ....core.config import Settings
from ....core.errors import InputError
from ....core.profile import PatientProfile
from ....core.types import Float32Array
from ..channels import CHANNELS, VITALS
from .quantizer import SHIPPED, Lattice

SEPSIS = "A41.9"
FIRST = 7  # hours: the earliest onset of simulated stays
Levels = Literal["profile", "chart"]  # where the medians of a stay come from
Kind = Literal["profile", "stable", "sepsis", "recovery"]
LEARNT, BEYOND, RULE = "learnt", "beyond the data", "rule-based"
# a recovering patient at first: added to HR, O2Sat, Temp, SBP, MAP, DBP, Resp; and the hours after which 1/e is left
DERANGED = np.array([22.0, -4.0, 1.2, -18.0, -14.0, -11.0, 6.0])
SLOWLY = 8.0


class Trajectory(Settings):
    """`profile` is what the profile says; `sepsis` has its onset at `onset` hours; `recovery` is a rule, not learnt."""

    kind: Kind = "profile"
    onset: float = Field(default=12.0, ge=0, le=48)

    def check(self, profiles: Sequence[PatientProfile]) -> None:
        """Raises InputError for a patient who cannot take this trajectory."""
        for profile in profiles:
            if self.kind == "stable" and profile.has(SEPSIS):
                raise InputError(
                    f"trajectory stable: {profile.patient_id} has sepsis ({SEPSIS}); use trajectory sepsis"
                )
            if self.kind == "sepsis" and not profile.has(SEPSIS):
                raise InputError(
                    f"trajectory sepsis: {profile.patient_id} has no sepsis; give the patient or the cohort {SEPSIS}"
                )

    def steer(self, code: Float32Array, columns: Sequence[str]) -> tuple[Float32Array, Float32Array]:
        """The condition (row, column) of this trajectory, and hours of onset (row,), NaN where it has none."""
        out = code.copy()
        if self.kind == "stable" and SEPSIS in columns:
            out[:, columns.index(SEPSIS)], out[:, columns.index(f"{SEPSIS}?")] = -1, 1
        hour = self.onset if self.kind == "sepsis" else np.nan
        return out, np.full(len(code), hour, dtype=np.float32)

    def apply(self, readings: Float32Array, lattice: Lattice = SHIPPED, hours: float = 1.0) -> Float32Array:
        """What a rule does to drawn readings (one row in `hours`); those of learnt trajectories stay as they are.

        The rule knows the seven vital signs; other channels stay too.
        """
        if self.kind != "recovery":
            return readings
        deranged = np.array(
            [DERANGED[CHANNELS.index(c.name)] if c in VITALS else 0.0 for c in lattice.channels]
        )
        left = np.exp(-np.arange(len(readings)) * hours / SLOWLY)[:, None] * deranged
        moved = readings + lattice.grain * np.rint(left / lattice.grain)
        return lattice.rounded(np.clip(moved, lattice.floor, lattice.ceiling))

    def facts(self, first: float | None = FIRST) -> dict[str, str | float]:
        """What a record says of its trajectory; `first` is the earliest onset that the data have, None for none."""
        if self.kind == "profile":
            return {}
        if self.kind == "sepsis":
            basis = LEARNT if first is not None and self.onset >= first else BEYOND
            return {"trajectory": "sepsis", "sepsis_onset": self.onset, "trajectory_basis": basis}
        return {"trajectory": self.kind, "trajectory_basis": RULE if self.kind == "recovery" else LEARNT}


assert len(DERANGED) == len(CHANNELS)
