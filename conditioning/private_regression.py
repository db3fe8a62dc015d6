"""profile_regression under a budget: one noised release of how age, sex and measured numbers go with declared classes.

Each patient adds, for every declared flag and category, his class times (1, age, sex, measured numbers), scaled to lie
within 1. One Gaussian mechanism releases the sum. Slopes follow from differences of the classes' means as in linear
discriminant analysis, with public spreads; a difference that noise alone could make is shrunk (James and Stein 1961).
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
        return 3 + len(self.measured)

    @property
    def _reach(self) -> float:
        """The longest vector of a patient: every field known, every value at its end."""
        return float(np.sqrt(max(1, len(self.fields)) * self._width))

    def _rows(
        self, profiles: Sequence[PatientProfile], measured: Sequence[Mapping[str, float]]
    ) -> FloatArray:
        """(patient, value), each row within 1. What is unknown counts as the middle."""
        values = np.zeros((len(profiles), self._width))
        values[:, 0] = 1.0
        for row, (profile, shown) in enumerate(zip(profiles, measured, strict=True)):
            if profile.age is not None:
                values[row, 1] = (profile.age - AGE_MIDDLE) / AGE_SPAN
            values[row, 2] = {"F": -1.0, "M": 1.0}.get(profile.sex or "", 0.0)
            for place, name in enumerate(self.measured):
                middle, span = _scale(name)
                if np.isfinite(number := shown.get(name, np.nan)):
                    values[row, 3 + place] = (number - middle) / span
        values = np.clip(values, -1, 1)
        parts = []
        for name, classes in self.fields:
            own = np.array(
                [[profile.get(name) == c for c in classes] for profile in profiles], dtype=np.float64
            )
            parts.append((own[:, :, None] * values[:, None, :]).reshape(len(profiles), -1))
        return clip(np.concatenate(parts, axis=1) / self._reach)

    def _settings(self, sums: FloatArray, noise: float) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        moved: dict[str, dict[str, float]] = {name: {} for name in self.measured}
        middle: dict[str, list[tuple[float, float]]] = {name: [] for name in self.measured}
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
            means = np.clip(table[:, 1:] / counts[:, None], -1, 1)
            usual = (means[known] * shares[known, None]).sum(axis=0) / shares[known].sum()
            apart = np.where(known[:, None], means - usual, 0.0)
            error = (1 + means**2) * (scale / counts[:, None]) ** 2
            apart *= np.maximum(0.0, 1 - error / np.maximum(apart**2, 1e-12))
            older = 10 * apart[:, 0] * AGE_SPAN / AGE_SPREAD**2
            men = _odds(usual[1] + apart[:, 1]) - _odds(usual[1])
            found[name] = _shares(classes, shares, older, men)
            for place, number in enumerate(self.measured):
                _, span = _scale(number)
                middle[number].append((usual[2 + place], shares[known].sum()))
                if classes == (False, True):
                    effect = span * float(apart[1, 2 + place] - apart[0, 2 + place])
                    if abs(effect) > 0.05 * span:
                        moved[number][name] = round(effect, 3)
        for number, given in moved.items():
            if given:
                centre, span = _scale(number)
                mean = centre + span * float(np.mean([m for m, _ in middle[number]]))
                low, high = BY_NAME[number].low, BY_NAME[number].high
                spread = QUANTITIES[number].spread
                spread = spread * mean if QUANTITIES[number].log else spread
                found[number] = {
                    "mean": float(np.clip(round(mean, 3), low, high)),
                    "sd": spread,
                    "given": given,
                }
        return found


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


def _odds(balance: Any) -> Any:
    """Logarithm of the odds of men, from the mean of -1 and 1."""
    men = np.clip((1 + np.asarray(balance)) / 2, 0.02, 0.98)
    return np.log(men / (1 - men))


def _factor(slope: float, most: float) -> float:
    return _short(float(np.clip(np.exp(np.clip(slope, -20, 20)), 1 / most, most)))


def _short(value: float) -> float:
    return float(f"{value:.4g}")
