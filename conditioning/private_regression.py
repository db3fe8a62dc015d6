"""profile_regression under a budget: one noised release of how age, sex and measured numbers go with declared classes.

Each patient adds, for every declared flag and category, his class times (1, age, sex, the bins of measured numbers),
scaled to lie within 1. One Gaussian mechanism releases the sum. Slopes on age and sex follow from differences of the
classes' means as in linear discriminant analysis, with public spreads; a difference that noise alone could make is
shrunk (James and Stein 1961). How a measured number lies in who has a flag follows from the histograms in public bins.
"""

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..core.cohort.disk import write_atomic
from ..core.config import read_json
from ..core.dp.budget import Budget, PrivacyPlan, noise_for
from ..core.dp.dp_statistics import clip
from ..core.fields import BY_NAME, Field
from ..core.profile import PatientProfile
from ..core.types import FloatArray
from .physiology import QUANTITIES

SHARE, SLACK = 0.13, 0.02  # of the budget, as squared signal; slack for trainings that compose less tightly
AGE_MIDDLE, AGE_SPAN, AGE_SPREAD = 55.0, 35.0, 15.0  # years; the spread is that within a class
SPREADS = 2.5  # of a measured number about its middle; what lies beyond counts as the end, as ages do
BINS = 10  # of a measured number
SURE = 3.0  # standard errors from which on a measured number depends on a flag
EMPTY = 2.0  # deviations of noise under which a bin is taken for empty
PLACES = np.linspace(0, 1, 21)  # of the shape of a measured number
PURPOSE, FILE = "profile fields", "profile_fields.json"


@dataclass(frozen=True)
class PrivateRegression:
    """What is going to be released of the patients: declared fields with classes, and measured numbers by name."""

    fields: tuple[tuple[str, tuple[Any, ...]], ...]  # name and classes
    measured: tuple[str, ...]

    @classmethod
    def of(cls, declared: Sequence[Field], measured: Sequence[Mapping[str, float]]) -> "PrivateRegression":
        """Of the declared fields that have classes; which numbers a modality measures is public."""
        classes = {f.name: (False, True) if f.kind == "flag" else f.classes for f in declared if f.settled}
        fields = tuple((f.name, classes[f.name]) for f in declared if f.kind != "number" and f.settled)
        names = tuple(dict.fromkeys(name for values in measured for name in values if name in QUANTITIES))
        return cls(fields, names)

    @staticmethod
    def split(budget: Budget, patients: int) -> tuple[Budget, PrivacyPlan]:
        """What is left for the model, and the mechanism; together they are the budget. Raises InputError."""
        budget.check(patients)
        noise, _, rest = noise_for(budget, [SHARE, SLACK, 1 - SHARE - SLACK])
        what = "classes of declared fields by age and sex"
        left = PrivacyPlan.once(patients, rest, budget.delta, "").epsilon("prv")
        return Budget(left, budget.delta), PrivacyPlan.once(patients, noise, budget.delta, what)

    def release(
        self, profiles: Sequence[PatientProfile], measured: Sequence[Mapping[str, float]],
        noise: float, file: Path, resume: bool,
    ) -> dict[str, dict[str, Any]]:  # fmt: skip
        """Settings of a cohort YAML's `fields`. What a run has released once is read from `file`, not drawn again."""
        if resume and file.exists():
            sums = np.array(read_json(file.read_text(encoding="utf-8")))
        else:
            random = np.random.default_rng(secrets.randbits(128))
            rows = self._rows(profiles, measured)
            sums = rows.sum(axis=0) + noise * random.standard_normal(rows.shape[1])
            file.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(file, json.dumps(sums.tolist()).encode())
        return self._settings(sums, noise)

    @property
    def _width(self) -> int:
        return 3 + BINS * len(self.measured)

    @property
    def _reach(self) -> float:
        """The longest vector of a patient: every field known, every value at its end."""
        return float(np.sqrt(max(1, len(self.fields)) * (3 + len(self.measured))))

    def _rows(
        self, profiles: Sequence[PatientProfile], measured: Sequence[Mapping[str, float]]
    ) -> FloatArray:
        """(patient, value), each row within 1. What is unknown counts as the middle, or in no bin."""
        values = np.zeros((len(profiles), self._width))
        values[:, 0] = 1.0
        for row, (profile, shown) in enumerate(zip(profiles, measured, strict=True)):
            if profile.age is not None:
                values[row, 1] = np.clip((profile.age - AGE_MIDDLE) / AGE_SPAN, -1, 1)
            values[row, 2] = {"F": -1.0, "M": 1.0}.get(profile.sex or "", 0.0)
            for place, name in enumerate(self.measured):
                if np.isfinite(number := shown.get(name, np.nan)):
                    inner = int(np.searchsorted(_edges(name), number, side="right")) - 1
                    values[row, 3 + place * BINS + min(max(inner, 0), BINS - 1)] = 1.0
        parts = []
        for name, classes in self.fields:
            own = np.array(
                [[profile.get(name) == c for c in classes] for profile in profiles], dtype=np.float64
            )
            parts.append((own[:, :, None] * values[:, None, :]).reshape(len(profiles), -1))
        return clip(np.concatenate(parts, axis=1) / self._reach)

    def _settings(self, sums: FloatArray, noise: float) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        by_flag: dict[
            str, tuple[FloatArray, FloatArray]
        ] = {}  # bins of measured numbers without it, and with
        start, scale = 0, noise * self._reach
        for name, classes in self.fields:
            size = len(classes) * self._width
            table = (sums[start : start + size] * self._reach).reshape(len(classes), self._width)
            start += size
            counts = np.maximum(table[:, 0], 1.0)
            known = counts > 2 * scale  # the others are told from nobody by nothing
            shares = counts / counts.sum()
            if known.sum() < 2:
                found[name] = _shares(classes, shares)
                continue
            means = np.clip(table[:, 1:3] / counts[:, None], -1, 1)
            usual = (means[known] * shares[known, None]).sum(axis=0) / shares[known].sum()
            apart = np.where(known[:, None], means - usual, 0.0)
            error = (1 + means**2) * (scale / counts[:, None]) ** 2
            apart *= np.maximum(0.0, 1 - error / np.maximum(apart**2, 1e-12))
            older = 10 * apart[:, 0] * AGE_SPAN / AGE_SPREAD**2
            men = _odds(usual[1] + apart[:, 1]) - _odds(usual[1])
            found[name] = _shares(classes, shares, older, men)
            if classes == (False, True):
                by_flag[name] = (table[0, 3:], table[1, 3:])
        for place, number in enumerate(self.measured):
            bins = slice(place * BINS, (place + 1) * BINS)
            flags = {name: (without[bins], having[bins]) for name, (without, having) in by_flag.items()}
            if settings := _number(number, flags, scale):
                found[number] = settings
        return found


@dataclass(frozen=True)
class _Spread:
    """What a noised histogram says of a number: mean, deviation, the mean's error, and the shape in deviations."""

    mean: float
    deviation: float
    error: float
    shape: list[float]

    @classmethod
    def of(cls, counts: FloatArray, edges: FloatArray, scale: float) -> "_Spread | None":
        """Of a number's (bin,) counts with noise of that scale; None where no bin stands out of it."""
        kept = np.where(counts > EMPTY * scale, counts, 0.0)
        if not kept.any():
            return None
        middles, shares = (edges[1:] + edges[:-1]) / 2, kept / kept.sum()
        mean = float(shares @ middles)
        within = float(edges[1] - edges[0]) ** 2 / 12
        deviation = float(np.sqrt(shares @ (middles - mean) ** 2 + within))
        apart = middles[kept > 0] - mean
        drawn = deviation**2 / float(kept.sum())  # chance in who the patients are
        error = float(np.sqrt((scale / kept.sum()) ** 2 * (apart @ apart + within) + drawn))
        below = np.concatenate([[0.0], np.cumsum(shares)])
        inner = (np.searchsorted(below, PLACES, side="right") - 1).clip(0, BINS - 1)
        inner[-1] = np.flatnonzero(kept)[-1]
        part = ((PLACES - below[inner]) / np.maximum(shares[inner], 1e-12)).clip(0, 1)
        values = edges[inner] + part * (edges[inner + 1] - edges[inner])
        return cls(mean, deviation, error, [_short(float(x)) for x in (values - mean) / deviation])


def _number(
    name: str, flags: Mapping[str, tuple[FloatArray, FloatArray]], scale: float
) -> dict[str, Any] | None:
    """Settings of a measured number by the flags that move it for sure; None where none does."""
    edges, known = _edges(name), BY_NAME[name]
    given, wider, shapes, middles = {}, {}, {}, []
    usual: tuple[float, _Spread] | None = None  # who has not the flag that moves it the most
    for flag, (without, having) in flags.items():
        no, yes = (_Spread.of(counts, edges, scale) for counts in (without, having))
        everybody = _Spread.of(without + having, edges, scale * np.sqrt(2))
        if no is None or yes is None or everybody is None:
            continue
        middles.append(everybody.mean)
        effect = yes.mean - no.mean
        if abs(effect) < SURE * np.hypot(no.error, yes.error):
            continue
        given[flag], shapes[flag] = round(effect, 3), yes.shape
        wider[flag] = yes.deviation
        if usual is None or abs(effect) > usual[0]:
            usual = abs(effect), no
    if usual is None:
        return None
    spread = usual[1].deviation
    return {
        "mean": float(np.clip(round(float(np.mean(middles)), 3), known.low, known.high)),
        "sd": _short(spread), "shape": usual[1].shape, "given": given,
        "sd_given": {flag: _short(float(np.clip(sd / spread, 0.1, 10))) for flag, sd in wider.items()},
        "shape_given": shapes,
    }  # fmt: skip


def _shares(
    classes: tuple[Any, ...],
    shares: FloatArray,
    older: FloatArray | None = None,
    men: FloatArray | None = None,
) -> dict[str, Any]:
    """Settings of a flag, or of a category."""
    older, men = (np.zeros(len(classes)) if x is None else x for x in (older, men))
    if classes == (False, True):
        return {
            "share": _short(shares[1]), "per_decade": _factor(older[1] - older[0], 10),
            "men": _factor(men[1] - men[0], 100),
        }  # fmt: skip
    return {
        "shares": {c: _short(s) for c, s in zip(classes, shares, strict=True)},
        "per_decade": {c: _factor(x, 10) for c, x in zip(classes, older, strict=True)},
        "men": {c: _factor(x, 100) for c, x in zip(classes, men, strict=True)},
    }


def _scale(name: str) -> tuple[float, float]:
    """Middle and half width of where a number is taken to lie, by its rule for adults."""
    quantity = QUANTITIES[name]
    spread = quantity.spread * quantity.middle if quantity.log else quantity.spread
    return quantity.middle, SPREADS * spread


def _edges(name: str) -> FloatArray:
    """(bin + 1,) of a number; what lies beyond them counts at the ends."""
    middle, span = _scale(name)
    return middle + span * np.linspace(-1, 1, BINS + 1)


def _odds(balance: Any) -> Any:
    """Logarithm of the odds of men, from the mean of -1 and 1."""
    men = np.clip((1 + np.asarray(balance)) / 2, 0.02, 0.98)
    return np.log(men / (1 - men))


def _factor(slope: float, most: float) -> float:
    return _short(float(np.clip(np.exp(np.clip(slope, -20, 20)), 1 / most, most)))


def _short(value: float) -> float:
    return float(f"{value:.4g}")
