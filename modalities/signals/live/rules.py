"""Rules that a live monitor may follow: sepsis, atrial fibrillation, an electrode off. Written by hand, not learnt."""

from typing import Literal

import numpy as np
from pydantic import Field

from ....core.duration import Seconds, Timed
from ....core.types import FloatArray
from ..channels import CHANNELS, DBP, HR, MAP, O2SAT, RESP, SBP, TEMP

# What severity 1 adds to the vitals. An adult at rest then has respiration over 22 and systolic pressure
# under 100 (two signs of qSOFA: Singer et al., JAMA 2016;315:801), fever and tachycardia (SIRS).
SEPTIC = {HR: 42.0, O2SAT: -6.0, TEMP: 2.0, SBP: -42.0, DBP: -24.0, RESP: 13.0}


class Rule(Timed):
    """What may befall a patient, from one second of the stream to another."""


class Sepsis(Rule):
    """Vitals drift towards shock over `over` seconds; where it `lasts`, they come back over as long.

    `severity` scales the drift; see SEPTIC.
    """

    over: Seconds = 3 * 3600.0
    severity: float = Field(default=0.8, gt=0, le=1)

    def change(self, vitals: FloatArray, second: FloatArray) -> FloatArray:
        """(second, channel) vitals with the drift added."""
        share = _smooth((second - self.at) / max(self.over, 1.0))
        if self.lasts is not None:
            share = share * (1 - _smooth((second - self.at - self.lasts) / max(self.over, 1.0)))
        drift = np.zeros(len(CHANNELS))
        drift[list(SEPTIC)] = list(SEPTIC.values())
        drift[MAP] = (drift[SBP] + 2 * drift[DBP]) / 3
        return vitals + self.severity * share[:, None] * drift


class AtrialFibrillation(Rule):
    """No P waves, fibrillatory waves, independent intervals; the heart rate is `rate` a minute."""

    rate: float = Field(default=125.0, ge=40, le=200)

    def change(self, vitals: FloatArray, second: FloatArray) -> FloatArray:
        """(second, channel) vitals with the heart rate of the arrhythmia, its own variation kept."""
        held = (second >= self.at) & (second < self.at + (np.inf if self.lasts is None else self.lasts))
        out = vitals.copy()
        own = vitals[:, HR]
        out[held, HR] = self.rate + 2 * (own[held] - np.mean(own))
        return out


class LeadOff(Rule):
    """An electrode falls off: the leads that need it have no value."""

    electrode: Literal["RA", "LA", "LL", "V1", "V2", "V3", "V4", "V5", "V6"] = "LA"


RULES: dict[str, type[Rule]] = {
    "sepsis": Sepsis, "atrial_fibrillation": AtrialFibrillation, "lead_off": LeadOff,
}  # fmt: skip


def _smooth(share: FloatArray) -> FloatArray:
    """From 0 to 1 without a corner (smoothstep)."""
    s = np.clip(share, 0, 1)
    return s * s * (3 - 2 * s)
