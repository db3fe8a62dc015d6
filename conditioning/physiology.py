"""Body size, vitals and labs that follow from a patient's age, sex and conditions, by rule.

The numbers are rounded textbook values of adults (reference intervals, and how far a disease typically
moves a value). They are public knowledge: nothing here is read off a data set.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import NormalDist
from types import MappingProxyType

from ..core.fields import BY_NAME

REFERENCE_AGE = 60.0  # years; per-decade effects count from here
_STANDARD = NormalDist()


def truncated_normal(u: float, mean: float, sd: float, low: float, high: float) -> float:
    """The u-quantile (0 <= u < 1) of a normal distribution cut off at low and high; low <= mean <= high."""
    at_low, at_high = _STANDARD.cdf((low - mean) / sd), _STANDARD.cdf((high - mean) / sd)
    p = at_low + u * (at_high - at_low)
    value = mean + sd * _STANDARD.inv_cdf(min(max(p, 1e-12), 1 - 1e-12))
    return min(max(value, low), high)


def normal_places(
    low: float, high: float, mean: float, sd: float, least: float, most: float
) -> tuple[float, float]:
    """The shares of a normal distribution cut off at least and most that lie under low, and under high."""
    at_least, at_most = _STANDARD.cdf((least - mean) / sd), _STANDARD.cdf((most - mean) / sd)
    first, last = (
        (_STANDARD.cdf((min(max(x, least), most) - mean) / sd) - at_least) / (at_most - at_least)
        for x in (low, high)
    )
    return first, last


@dataclass(frozen=True)
class Quantity:
    """How one value is distributed in adults.

    middle is the mean of a 60-year-old woman without listed conditions, spread the standard deviation,
    and men, per_decade and effects (by condition) add to the mean. With log=True middle is a median,
    spread a standard deviation of the natural logarithm, and the effects multiply. Values stay in
    [low, high], what a clinic sees, which is narrower than the vocabulary's public range.
    """

    middle: float
    spread: float
    low: float
    high: float
    log: bool = False
    men: float | None = None
    per_decade: float | None = None
    effects: Mapping[str, float] = field(default_factory=dict)

    def draw(
        self, u: float, age: float, sex: str, conditions: Mapping[str, bool], severity: float = 1.0
    ) -> float:
        """The u-quantile for this patient; severity scales what the conditions do."""
        value = truncated_normal(u, *self._law(age, sex, conditions, severity))
        return math.exp(value) if self.log else value

    def places(
        self,
        low: float,
        high: float,
        age: float,
        sex: str,
        conditions: Mapping[str, bool],
        severity: float = 1.0,
    ) -> tuple[float, float]:
        """The quantiles of low and high for this patient: draw() of a u between them lies between these values."""
        scale = math.log if self.log else float
        return normal_places(scale(low), scale(high), *self._law(age, sex, conditions, severity))

    def _law(
        self, age: float, sex: str, conditions: Mapping[str, bool], severity: float
    ) -> tuple[float, float, float, float]:
        """Mean, spread, least and most of the (logarithm of the) value."""
        scale = math.log if self.log else float
        mean = scale(self.middle)
        if self.men is not None and sex == "M":
            mean += scale(self.men)
        if self.per_decade is not None:
            mean += scale(self.per_decade) * (age - REFERENCE_AGE) / 10
        mean += severity * sum(scale(x) for code, x in self.effects.items() if conditions.get(code))
        low, high = scale(self.low), scale(self.high)
        return min(max(mean, low), high), self.spread, low, high


_AF, _SEPSIS, _PNEUMONIA, _FAILURE, _OEDEMA = "I48.91", "A41.9", "J18.9", "I50.9", "J81.0"
_KIDNEY, _DIABETES, _PRESSURE, _EFFUSION, _COLLAPSE = "N18.9", "E11.9", "I10", "J90", "J93.9"
_EMPHYSEMA, _FIBROSIS, _CANCER_F, _CANCER_M = "J43.9", "J84.10", "C50.919", "C50.929"

HEIGHT = Quantity(162, 6.7, 138, 205, men=13.5, per_decade=-0.6)  # cm
BODY_MASS_INDEX = Quantity(
    26.5, 0.18, 15.5, 55, log=True, men=1.02, effects={_DIABETES: 1.14, _PRESSURE: 1.06, _EMPHYSEMA: 0.92}
)  # kg/m2
# Of systolic pressure; women have the wider pulse pressure from middle age on
DIASTOLIC_SHARE = Quantity(0.6, 0.05, 0.42, 0.78, men=0.015, per_decade=-0.015)

QUANTITIES: dict[str, Quantity] = {
    "heart_rate": Quantity(
        74,
        11,
        38,
        190,
        men=-2,
        effects={
            _AF: 16,
            _SEPSIS: 26,
            _PNEUMONIA: 9,
            _FAILURE: 5,
            _OEDEMA: 14,
            _COLLAPSE: 12,
            _CANCER_F: 2,
            _CANCER_M: 2,
        },
    ),
    "systolic": Quantity(
        126, 13, 60, 230, per_decade=3, effects={_PRESSURE: 14, _SEPSIS: -32, _FAILURE: -8, _KIDNEY: 5}
    ),
    "respiration": Quantity(
        15.5,
        2,
        8,
        45,
        effects={
            _SEPSIS: 7,
            _PNEUMONIA: 4,
            _OEDEMA: 8,
            _COLLAPSE: 6,
            _EFFUSION: 3,
            _FIBROSIS: 3,
            _EMPHYSEMA: 2,
            _FAILURE: 2,
        },
    ),
    "oxygen_saturation": Quantity(
        97.5,
        1.1,
        75,
        100,
        men=-0.3,
        per_decade=-0.2,
        effects={
            _OEDEMA: -6,
            _COLLAPSE: -4,
            _PNEUMONIA: -3,
            _EMPHYSEMA: -3,
            _FIBROSIS: -3,
            _SEPSIS: -2,
            _EFFUSION: -1.5,
            _FAILURE: -1,
        },
    ),
    "temperature": Quantity(36.8, 0.3, 34, 41.3, per_decade=-0.03, effects={_SEPSIS: 1.3, _PNEUMONIA: 0.9}),
    "hemoglobin": Quantity(
        13.3,
        1.1,
        5.5,
        19,
        men=1.4,
        per_decade=-0.15,
        effects={_CANCER_F: -1.0, _CANCER_M: -1.0, _KIDNEY: -1.5, _SEPSIS: -1.3, _FAILURE: -0.5},
    ),
    "leukocytes": Quantity(6.8, 0.25, 0.5, 60, log=True, effects={_SEPSIS: 2.0, _PNEUMONIA: 1.6}),
    "platelets": Quantity(250, 0.25, 15, 900, log=True, effects={_SEPSIS: 0.65}),
    "creatinine": Quantity(
        0.78,
        0.18,
        0.3,
        14,
        log=True,
        men=1.25,
        per_decade=1.04,
        effects={_KIDNEY: 2.3, _SEPSIS: 1.5, _FAILURE: 1.15},
    ),
    "glucose": Quantity(98, 0.12, 45, 600, log=True, effects={_DIABETES: 1.6, _SEPSIS: 1.3}),
    "potassium": Quantity(4.2, 0.35, 2.4, 7.5, effects={_KIDNEY: 0.5}),
    "lactate": Quantity(1.1, 0.3, 0.4, 20, log=True, effects={_SEPSIS: 2.6, _OEDEMA: 1.4, _FAILURE: 1.1}),
    "nt_probnp": Quantity(
        90,
        0.7,
        5,
        70000,
        log=True,
        men=0.75,
        per_decade=1.5,
        effects={_FAILURE: 10, _AF: 2.5, _KIDNEY: 2, _SEPSIS: 2.5, "I51.7": 2},
    ),
}

SEVERITY = "severity"
USED = (*QUANTITIES, "height", "bmi", "diastolic", SEVERITY)  # what measured() wants a quantile for
_SEVERITY_LAW = (0.0, 0.3, -0.6, 0.6)  # of its logarithm: mean, spread, least, most


def severity(u: float) -> float:
    """How much a patient's conditions do, 1 for the typical patient: the u-quantile."""
    return math.exp(truncated_normal(u, *_SEVERITY_LAW))


def severity_places(low: float, high: float) -> tuple[float, float]:
    """The quantiles of two severities."""
    return normal_places(math.log(low), math.log(high), *_SEVERITY_LAW)


def measured(
    age: float,
    sex: str,
    conditions: Mapping[str, bool],
    u: Mapping[str, float],
    fixed: Mapping[str, float] = MappingProxyType({}),
) -> dict[str, float]:
    """Height (cm), weight (kg), vitals and labs by vocabulary name, rounded as the vocabulary says.

    u holds one uniform number in [0, 1) for each name in USED; `fixed` holds values that are set, whatever
    their law, and what follows from them follows. One severity a patient scales all that
    the conditions do, so that the very septic are at once fast, hot, hypotensive and high in lactate.
    """
    severe = fixed.get(SEVERITY, severity(u[SEVERITY]))
    height = HEIGHT.draw(u["height"], age, sex, conditions)
    index = BODY_MASS_INDEX.draw(u["bmi"], age, sex, conditions)
    values = {"height": height, "weight": index * (height / 100) ** 2}
    for name, quantity in QUANTITIES.items():
        drawn = quantity.draw(u[name], age, sex, conditions, severe)
        values[name] = float(fixed.get(name, drawn))
    values["diastolic"] = values["systolic"] * DIASTOLIC_SHARE.draw(u["diastolic"], age, sex, conditions)
    return {name: round(value, BY_NAME[name].decimals) for name, value in values.items()}
