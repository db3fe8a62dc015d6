"""Body: the level of each observation on any day, so that the index day shows the profile's own values.

Before the index visit and long after it a value swings about the patient's usual level (or the level that a
course sets); a deviation on the index day fades over days. Within-person variation: configs/codes.
"""

import math
from collections.abc import Callable
from random import Random

from ....core.profile import PatientProfile, seed_for
from ..codes import codes
from .chart import INDEX_STARTS

_HOLDS = 45.0  # days about the index visit in which a value that another modality measured is the level
_FADING = 2.5  # days in which an acute deviation falls to a third

# How far acute illness moves a value, rounded textbook figures: what is taken off the index day's value to
# find the patient's usual one. Differences, or ratios where the list says so.
_RATIOS = {"leukocytes", "platelets", "creatinine", "glucose", "lactate", "nt_probnp"}
_ACUTE: dict[str, dict[str, float]] = {
    "A41.9": {
        "heart_rate": 26, "systolic": -32, "diastolic": -18, "respiration": 7, "oxygen_saturation": -2,
        "temperature": 1.3, "hemoglobin": -1.3, "leukocytes": 2.0, "platelets": 0.65, "creatinine": 1.5,
        "glucose": 1.3, "lactate": 2.6, "nt_probnp": 2.5,
    },
    "J18.9": {
        "heart_rate": 9, "respiration": 4, "oxygen_saturation": -3, "temperature": 0.9, "leukocytes": 1.6
    },
    "J81.0": {"heart_rate": 14, "respiration": 8, "oxygen_saturation": -6, "lactate": 1.4},
    "J93.9": {"heart_rate": 12, "respiration": 6, "oxygen_saturation": -4},
    "J90": {"respiration": 3, "oxygen_saturation": -1.5},
}  # fmt: skip
_CALM = {  # where a usual value lies outside the acute illness: nobody lives at home with less or more
    "heart_rate": (48, 110), "systolic": (95, 190), "diastolic": (50, 115), "respiration": (11, 24),
    "oxygen_saturation": (88, 100), "temperature": (36.0, 37.4), "lactate": (0.4, 2.0), "leukocytes": (3, 12),
}  # fmt: skip


class Body:
    """Levels and readings of one patient; `levels` are those that courses set, as functions of the day."""

    def __init__(self, profile: PatientProfile, seed: int) -> None:
        self.profile, self.seed = profile, seed
        self.levels: dict[str, Callable[[], float | None]] = {}
        self.measured: dict[str, float] = {}  # what another modality found, which holds for weeks
        self._usual: dict[str, float | None] = {}
        self._noise: dict[str, Random] = {}

    def _rng(self, name: str) -> Random:
        if name not in self._noise:
            self._noise[name] = Random(seed_for(self.seed, name, "body"))
        return self._noise[name]

    def at_index(self, name: str) -> float | None:
        """The profile's own value."""
        value = self.profile.get(name)
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None

    def usual(self, name: str) -> float | None:
        """The patient's level when not acutely ill; drawn where the profile does not know it."""
        if name not in self._usual:
            self._usual[name] = self._usual_level(name)
        return self._usual[name]

    def _usual_level(self, name: str) -> float | None:
        value = self.at_index(name)
        if value is None:
            usual = codes().observations[name].usual
            return max(0.01, self._rng(name).gauss(*usual)) if usual else None
        for code, effects in _ACUTE.items():
            if name in effects and self.profile.has(code):
                value = value / effects[name] if name in _RATIOS else value - effects[name]
        low, high = _CALM.get(name, (-math.inf, math.inf))
        return min(max(value, low), high)

    def level(self, name: str, at: float) -> float | None:
        """The level on a day: the course's or the usual one, and after the index visit what is left of its
        deviation."""
        course = self.levels.get(name)
        calm = course() if course else None
        if calm is None:
            calm = self.usual(name)
        value = self.at_index(name)
        if calm is None or value is None or at <= INDEX_STARTS:
            return calm
        return calm + (value - calm) * math.exp(-(at - INDEX_STARTS) / _FADING)

    def reading(self, name: str, at: float, treated: float = 1.0) -> float | None:
        """What an instrument shows on that day, rounded; None where no level is known.

        treated is what the drugs taken multiply the level by.
        """
        if name in self.measured and abs(at - INDEX_STARTS) <= _HOLDS:
            return self.shown(name, self.measured[name])
        level = self.level(name, at)
        return None if level is None else self.shown(name, level * treated)

    def shown(self, name: str, level: float) -> float:
        """A level with the day's swing, inside what is possible, rounded."""
        entry = codes().observations[name]
        swing = min(max(self._rng(name).gauss(0, 1), -2.5), 2.5)
        return entry.rounded(level * (1 + entry.within * swing))


def egfr_of(creatinine: float, age: float, female: bool) -> float:
    """eGFR in mL/min/1.73 m2 of serum creatinine in mg/dL: CKD-EPI 2021, N Engl J Med 2021;385:1737."""
    kappa, alpha = (0.7, -0.241) if female else (0.9, -0.302)
    ratio = creatinine / kappa
    sex = 1.012 if female else 1.0
    return 142 * min(ratio, 1) ** alpha * max(ratio, 1) ** -1.2 * 0.9938**age * sex


def creatinine_of(egfr: float, age: float, female: bool) -> float:
    """The creatinine in mg/dL that gives this eGFR; the inverse of egfr_of."""
    kappa, alpha = (0.7, -0.241) if female else (0.9, -0.302)
    relative = egfr / (142 * 0.9938**age * (1.012 if female else 1.0))
    exponent = -1.2 if relative < 1 else alpha
    return kappa * relative ** (1 / exponent)


def kidney_stage(egfr: float) -> str:
    """The answer that names the G category of an eGFR. Source: KDIGO 2024 CKD guideline, table of GFR categories."""
    limits = ((90, "stage_1"), (60, "stage_2"), (45, "stage_3a"), (30, "stage_3b"), (15, "stage_4"))
    return next((stage for limit, stage in limits if egfr >= limit), "stage_5")
