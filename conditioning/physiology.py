"""Body size, vitals and labs that follow from a patient's age, sex and conditions, by rule.

The numbers stand in configs/physiology.yaml: rounded textbook values of adults (reference intervals, and how
far a disease typically moves a value). They are public knowledge, read off no data set.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist
from types import MappingProxyType
from typing import Any

import numpy as np

from ..core.config import read_yaml, shipped
from ..core.fields import BY_NAME

ADULT = 18.0  # years
REFERENCE_AGE = 60.0  # years; per-decade effects count from here
_STANDARD = NormalDist()


Shape = Sequence[
    float
]  # standard scores at even places from 0 to 1; of a normal distribution where there are none


def share_under(score: float, shape: Shape = ()) -> float:
    """Of a distribution of that shape, in standard scores."""
    return float(np.interp(score, shape, np.linspace(0, 1, len(shape)))) if shape else _STANDARD.cdf(score)


def truncated(u: float, mean: float, sd: float, low: float, high: float, shape: Shape = ()) -> float:
    """The u-quantile (0 <= u < 1) of a distribution cut off at low and high; low <= mean <= high."""
    at_low, at_high = share_under((low - mean) / sd, shape), share_under((high - mean) / sd, shape)
    p = min(max(at_low + u * (at_high - at_low), 1e-12), 1 - 1e-12)
    score = float(np.interp(p, np.linspace(0, 1, len(shape)), shape)) if shape else _STANDARD.inv_cdf(p)
    return min(max(mean + sd * score, low), high)


def places_between(
    low: float, high: float, mean: float, sd: float, least: float, most: float, shape: Shape = ()
) -> tuple[float, float]:
    """The shares of a distribution cut off at least and most that lie under low, and under high."""
    at_least, at_most = share_under((least - mean) / sd, shape), share_under((most - mean) / sd, shape)
    first, last = (
        (share_under((min(max(x, least), most) - mean) / sd, shape) - at_least) / (at_most - at_least)
        for x in (low, high)
    )
    return first, last


@dataclass(frozen=True)
class Quantity:
    """How one value is distributed, in adults; `children` are factors on it by year of age (CHILD_YEARS), by sex.

    middle is the mean of a 60-year-old woman without listed conditions, spread the standard deviation,
    and men, per_decade and effects (by condition) add to the mean. With log=True middle is a median,
    spread a standard deviation of the natural logarithm, and the effects multiply. `widened` has factors on the spread,
    by condition. `shape` is that of the distribution about the mean, by condition in `shapes`. Values stay in
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
    widened: Mapping[str, float] = field(default_factory=dict)
    shape: Shape = ()
    shapes: Mapping[str, Shape] = field(default_factory=dict)
    children: Mapping[str, Sequence[float]] = field(default_factory=dict)

    def child_factor(self, age: float, sex: str) -> float:
        """Of a child's value to the adult's; 1 from 18 years on."""
        return (
            float(np.interp(age, CHILD_YEARS, self.children[sex])) if self.children and age < ADULT else 1.0
        )

    def draw(
        self, u: float, age: float, sex: str, conditions: Mapping[str, bool], severity: float = 1.0
    ) -> float:
        """The u-quantile for this patient; severity scales what the conditions do."""
        value = truncated(u, *self._distribution(age, sex, conditions, severity))
        return (math.exp(value) if self.log else value) * self.child_factor(age, sex)

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
        scale, factor = math.log if self.log else float, self.child_factor(age, sex)
        low, high = low / factor, high / factor
        return places_between(scale(low), scale(high), *self._distribution(age, sex, conditions, severity))

    def _distribution(
        self, age: float, sex: str, conditions: Mapping[str, bool], severity: float
    ) -> tuple[float, float, float, float, Shape]:
        """Mean, spread, least, most and shape of the (logarithm of the) value."""
        scale = math.log if self.log else float
        mean = scale(self.middle)
        if self.men is not None and sex == "M":
            mean += scale(self.men)
        if self.per_decade is not None:
            mean += (
                scale(self.per_decade) * ((max(age, ADULT) if self.children else age) - REFERENCE_AGE) / 10
            )
        mean += severity * sum(scale(x) for code, x in self.effects.items() if conditions.get(code))
        low, high = scale(self.low), scale(self.high)
        spread = self.spread * math.prod(x for code, x in self.widened.items() if conditions.get(code))
        shape = next((x for code, x in self.shapes.items() if conditions.get(code)), self.shape)
        return min(max(mean, low), high), spread, low, high, shape


def _by_sex(factors: Any) -> dict[str, Sequence[float]]:
    return factors if isinstance(factors, dict) else dict.fromkeys("FM", factors)


_LISTED = read_yaml(shipped() / "physiology.yaml")
_CHILDREN = _LISTED.pop("children")
CHILD_YEARS = _CHILDREN.pop("years")
_TABLE = {
    name: Quantity(**values, children=_by_sex(_CHILDREN[name]) if name in _CHILDREN else {})
    for name, values in _LISTED.items()
}
HEIGHT, BODY_MASS_INDEX, DIASTOLIC_SHARE = (_TABLE.pop(name) for name in ("height", "bmi", "diastolic_share"))
QUANTITIES = _TABLE  # vitals and labs by vocabulary name

SEVERITY = "severity"
USED = (*QUANTITIES, "height", "bmi", "diastolic", SEVERITY)  # what draw_values() wants a quantile for
_SEVERITY = (0.0, 0.3, -0.6, 0.6)  # of its logarithm: mean, spread, least, most


def severity(u: float) -> float:
    """How much a patient's conditions do, 1 for the typical patient: the u-quantile."""
    return math.exp(truncated(u, *_SEVERITY))


def severity_places(low: float, high: float) -> tuple[float, float]:
    """The quantiles of two severities."""
    return places_between(math.log(low), math.log(high), *_SEVERITY)


def draw_values(
    age: float,
    sex: str,
    conditions: Mapping[str, bool],
    u: Mapping[str, float],
    fixed: Mapping[str, float] = MappingProxyType({}),
) -> dict[str, float]:
    """Height (cm), weight (kg), vitals and labs by vocabulary name, rounded as the vocabulary says.

    u holds one uniform number in [0, 1) for each name in USED; `fixed` holds values that are set, whatever
    their distribution; what follows from them follows. One severity a patient scales all that
    the conditions do, so that the very septic are at once fast, hot, hypotensive and high in lactate.
    """
    severe = fixed.get(SEVERITY, severity(u[SEVERITY]))
    height = float(fixed.get("height", HEIGHT.draw(u["height"], age, sex, conditions)))
    index = BODY_MASS_INDEX.draw(u["bmi"], age, sex, conditions)
    values = {"height": height, "weight": float(fixed.get("weight", index * (height / 100) ** 2))}
    for name, quantity in QUANTITIES.items():
        drawn = quantity.draw(u[name], age, sex, conditions, severe)
        values[name] = float(fixed.get(name, drawn))
    share = DIASTOLIC_SHARE.draw(u["diastolic"], age, sex, conditions)
    if "diastolic" in fixed and "systolic" not in fixed:
        values["systolic"] = fixed["diastolic"] / share
    values["diastolic"] = float(fixed.get("diastolic", values["systolic"] * share))
    known = {name: BY_NAME[name] for name in values}
    return {
        name: round(min(max(value, known[name].low), known[name].high), known[name].decimals)
        for name, value in values.items()
    }
