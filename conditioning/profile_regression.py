"""How fields depend on age, sex and one another among real patients, as settings of a cohort YAML's `fields`.

Training keeps them in the weights' card (under a budget: private_regression), so that `generate --fields` draws a
patient's age, sex and heart rate as they go with the class asked for. Flags: logistic regression; categories:
multinomial; numbers: least squares.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..core.fields import BY_NAME, Field
from ..core.profile import PatientProfile
from ..core.types import FloatArray
from .distributions import MAX_FACTOR
from .physiology import REFERENCE_AGE

LEAST = 20  # patients who know age, sex and the field, and 5 of a class
LEAST_OF_CLASS = 5
SCORES = 21  # of a shape
SURE = 3.0  # standard errors from which on a number depends on a flag


def field_distributions(
    profiles: Sequence[PatientProfile],
    declared: Sequence[Field],
    measured: Sequence[Mapping[str, float]] = (),
) -> dict[str, dict[str, Any]]:
    """Settings by field name, each allowed to depend on the flags before it.

    `measured` are values of shipped numbers (a trace's heart rate), by patient, where there are any: a number is given
    settings where it depends on a declared flag. Fields that too few patients know are left out.
    """
    ages = np.array([np.nan if p.age is None else p.age for p in profiles], dtype=np.float64)
    men = np.array([{"F": 0.0, "M": 1.0}.get(p.sex or "", np.nan) for p in profiles])
    columns = {"per_decade": (ages - REFERENCE_AGE) / 10, "men": men}
    columns = {name: x for name, x in columns.items() if np.isfinite(x).sum() >= LEAST and np.nanstd(x) > 0}
    found: dict[str, dict[str, Any]] = {}
    flags: dict[str, FloatArray] = {}
    for field in declared:
        if field.kind == "flag":
            y = np.array([_number(p.get(field.name)) for p in profiles])
            if settings := _flag(y, columns, flags):
                found[field.name] = settings
                flags[field.name] = y
        elif field.kind == "category" and field.settled:
            names = [p.get(field.name) for p in profiles]
            if settings := _category(names, field.classes, columns):
                found[field.name] = settings
    for field in declared:
        if field.kind == "number" and field.settled:
            y = np.array([_number(p.get(field.name)) for p in profiles])
            if settings := _level(y, field, columns, flags):
                found[field.name] = settings
    for name in dict.fromkeys(name for values in measured for name in values):
        y = np.array([values.get(name, np.nan) for values in measured])
        settings = _level(y, BY_NAME[name], columns, flags)
        if settings and any(flag in settings.get("given", {}) for flag in flags):
            found[name] = settings
    return found


def _number(value: Any) -> float:
    return float("nan") if value is None or isinstance(value, str) else float(value)


def _design(known: Mapping[str, FloatArray], y: FloatArray) -> tuple[FloatArray, list[str], FloatArray]:
    """Rows that know y: their columns (those that vary; unknown cells become the mean), the names, and y."""
    rows = np.isfinite(y)
    names, kept = [], []
    for name, values in known.items():
        x = values[rows]
        there = np.isfinite(x)
        if there.sum() >= LEAST and x[there].std() > 0:
            names.append(name)
            kept.append(np.where(there, x, x[there].mean()))
    return np.stack(kept, axis=1) if kept else np.zeros((int(rows.sum()), 0)), names, y[rows]


def _flag(
    y: FloatArray, columns: Mapping[str, FloatArray], flags: Mapping[str, FloatArray]
) -> dict[str, Any] | None:
    x, names, truth = _design({**columns, **flags}, y)
    if len(truth) < LEAST or min(truth.sum(), (1 - truth).sum()) < LEAST_OF_CLASS:
        return None
    settings: dict[str, Any] = {"share": _short(float(truth.mean()))}
    given = {}
    for name, slope in zip(names, _logistic(x, truth)[0], strict=True):
        if name in columns:
            settings[name] = _factor(slope, 10.0 if name == "per_decade" else 100.0)
        else:
            given[name] = _factor(slope, 100.0)
    return settings | ({"given": given} if given else {})


def _category(
    values: Sequence[Any], classes: Sequence[str], columns: Mapping[str, FloatArray]
) -> dict[str, Any] | None:
    counts = {name: sum(value == name for value in values) for name in classes}
    kept = [name for name, count in counts.items() if count >= LEAST_OF_CLASS]
    if sum(counts.values()) < LEAST or len(kept) < 2:
        return None
    place = {name: float(k) for k, name in enumerate(kept)}
    x, names, truth = _design(columns, np.array([place.get(value, np.nan) for value in values]))
    settings: dict[str, Any] = {
        "shares": {name: _short(count / sum(counts.values())) for name, count in counts.items()}
    }
    if names:
        slopes = _logistic(x, truth)
        slopes = np.concatenate([-slopes, slopes]) / 2 if len(kept) == 2 else slopes
        for column, name in enumerate(names):
            most = 10.0 if name == "per_decade" else 100.0
            settings[name] = {c: _factor(slopes[k, column], most) for k, c in enumerate(kept)}
    return settings


def _logistic(x: FloatArray, y: FloatArray) -> FloatArray:
    """(class, column) slopes; one row of two classes. A penalty of one patient's size keeps them finite."""
    from sklearn.linear_model import LogisticRegression

    if not x.shape[1]:
        return np.zeros((1, 0))
    return np.asarray(LogisticRegression(C=1.0, max_iter=2000).fit(x, y).coef_, dtype=np.float64)


def _level(
    y: FloatArray, field: Field, columns: Mapping[str, FloatArray], flags: Mapping[str, FloatArray]
) -> dict[str, Any] | None:
    """Mean, spread about it, and what moves it by more than chance."""
    x, names, values = _design({**columns, **flags}, y)
    inside = (values >= field.low) & (values <= field.high)
    x, values = x[inside], values[inside]
    if len(values) < LEAST + x.shape[1] or values.std() == 0:
        return None
    design = np.concatenate([x, np.ones((len(x), 1))], axis=1)
    slopes, *_ = np.linalg.lstsq(design, values, rcond=None)
    rest = values - design @ slopes
    spread = float(np.sqrt((rest**2).sum() / (len(values) - design.shape[1])))
    errors = spread * np.sqrt(np.maximum(np.diag(np.linalg.pinv(design.T @ design)), 0))
    settings: dict[str, Any] = {"mean": _short(float(values.mean())), "sd": _short(max(spread, 1e-3))}
    given = {}
    for name, slope, error in zip(names, slopes, errors, strict=False):
        if abs(slope) < SURE * error:
            continue
        if name in columns:
            settings[name] = _short(float(slope))
        else:
            given[name] = _short(float(slope))
    parts = {}
    for column, name in enumerate(names):
        if name in given:
            inside, outside = (rest[x[:, column] == k] for k in (1, 0))
            if min(len(inside), len(outside)) >= 2 * LEAST_OF_CLASS and min(inside.std(), outside.std()) > 0:
                parts[name] = inside
    if parts:  # sd and shape are those of who has none of them
        others = rest[x[:, [names.index(n) for n in parts]].sum(axis=1) == 0]
        others = others if others.std() > 0 else rest
        settings["sd"] = _short(float(others.std()))
        settings["shape"] = shape_of(others)
        settings["sd_given"] = {
            name: _short(float(np.clip(part.std() / others.std(), 0.1, 10))) for name, part in parts.items()
        }
        settings["shape_given"] = {name: shape_of(part) for name, part in parts.items()}
    return settings | ({"given": given} if given else {})


def shape_of(values: FloatArray) -> list[float]:
    """Of numbers about their mean: quantiles at even places, in standard deviations; of few numbers few."""
    count = int(np.clip(len(values) // 3, 3, SCORES))
    scores = np.quantile(values, np.linspace(0, 1, count)) - values.mean()
    return [_short(float(score)) for score in scores / values.std()]


def _factor(slope: float, most: float) -> float:
    """On the odds, within what settings allow."""
    return _short(float(np.clip(np.exp(np.clip(slope, -20, 20)), 1 / most, min(most, MAX_FACTOR))))


def _short(value: float) -> float:
    return float(f"{value:.4g}")
