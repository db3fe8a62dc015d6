"""Calibration of the model trained on synthetic records, and its error by subgroup."""

import numpy as np

from ...core.types import FloatArray, IntArray
from ..score import AS_REAL, CALIBRATION, CLOSE, DIFFERENT, Score, not_measured, percentiles
from .classifier import REPEATS
from .tstr_models import LEAST_OF_GROUP, ORIGIN, TITLES, TaskModels, resamples, scored

CLOSE_ERROR = 0.02  # past the real baseline's range, of a Brier score
BINS = 10  # of probabilities, for the calibration error


def brier(probability: FloatArray, y: IntArray) -> float:
    """Mean over rows of the squared error of all classes' probabilities, halved: 0 is right, 1 wrong (Brier 1950)."""
    return float(_squared(probability, y).mean())


def _squared(probability: FloatArray, y: IntArray) -> FloatArray:
    """(row,)"""
    return np.asarray(np.square(probability - np.eye(probability.shape[1])[y]).sum(1) / 2)


def calibration_error(probability: FloatArray, y: IntArray) -> float:
    """Expected calibration error of the stated class in ten equal bins (Guo et al. 2017)."""
    said, right = probability.max(1), probability.argmax(1) == y
    place = np.minimum((said * BINS).astype(int), BINS - 1)
    gaps = [
        abs(said[place == b].mean() - right[place == b].mean()) * (place == b).mean()
        for b in np.unique(place)
    ]
    return float(np.sum(gaps))


def brier_score(models: TaskModels, rng: np.random.Generator) -> Score:
    """Brier score on real test rows of the model trained on synthetic rows, and of those trained on as many real."""
    y = models.y
    value, baseline = (brier(models.found, y), float(np.mean([brier(p, y) for p in models.real_baselines])))
    rows = resamples(models.patients, y, rng)
    ours = [brier(models.found[r], y[r]) for r in rows]
    theirs = [brier(models.real_baselines[i % REPEATS][r], y[r]) for i, r in enumerate(rows)]
    # the same patients on both sides: what counts is the difference, not how hard these patients are
    gap = percentiles(np.subtract(ours, theirs))
    verdict = AS_REAL if gap[0] <= 0 else CLOSE if value - baseline <= CLOSE_ERROR else DIFFERENT
    errors = (
        calibration_error(models.found, y),
        float(np.mean([calibration_error(p, y) for p in models.real_baselines])),
    )
    said = (
        f"On real patients, probabilities of {models.task.name} by a model trained on synthetic records have a Brier "
        f"score of {value:.3f}, by one trained on as many real records {baseline:.3f} (0 is right). The calibration "
        f"error is {errors[0]:.0%} and {errors[1]:.0%}."
    )
    details = {
        "calibration_error": errors[0],
        "real_baseline_calibration_error": errors[1],
        "difference": list(gap),
    }
    return scored(models, "brier_score", "lower is better", value, ours, baseline, percentiles(theirs), verdict, said,
                  (0.0, 0.5), details)  # fmt: skip


def worst_subgroup(models: TaskModels, rng: np.random.Generator) -> Score:
    """Rise of the Brier score in the subgroup where it is largest: synthetic-trained less real-trained models.

    On real test rows; the real baseline is one real-trained model less the others. Details have every subgroup.
    """
    name, title = "worst_subgroup", TITLES["worst_subgroup"].format(models.task.name)
    groups = {k: rows for k, rows in models.groups.items() if rows.sum() >= LEAST_OF_GROUP}
    if len(groups) < 2:
        reason = f"fewer than two age bands, sexes or origins have {LEAST_OF_GROUP} real test records"
        return not_measured(name, title, CALIBRATION, reason, models.task.name)
    y = models.y
    ours, baselines = (_squared(models.found, y), np.stack([_squared(p, y) for p in models.real_baselines]))
    usual = baselines.mean(0)
    rises = np.stack([own - np.delete(baselines, i, 0).mean(0) for i, own in enumerate(baselines)])

    def worst(rise: FloatArray, rows: IntArray) -> float:
        means = [rise[rows][own[rows]].mean() for own in groups.values() if own[rows].any()]
        return float(max(0.0, *means))

    everyone = np.arange(len(y))
    value, baseline = worst(ours - usual, everyone), float(np.mean([worst(r, everyone) for r in rises]))
    rows = resamples(models.patients, y, rng)
    draws = [worst(ours - usual, r) for r in rows]
    reach = percentiles([worst(rises[i % REPEATS], r) for i, r in enumerate(rows)])
    verdict = AS_REAL if value <= reach[1] else CLOSE if value <= reach[1] + CLOSE_ERROR else DIFFERENT
    table = [
        {
            "group": k,
            "rows": int(own.sum()),
            "error": float(ours[own].mean()),
            "real": float(usual[own].mean()),
        }
        for k, own in groups.items()
    ]
    least = max(table, key=lambda row: float(str(row["error"])) - float(str(row["real"])))
    said = (
        f"Recognising {models.task.name}, the model trained on synthetic records loses most against one trained on "
        f"real records in the group “{least['group']}”: its Brier score is {least['error']:.3f} in "
        f"place of {least['real']:.3f}."
    )
    known = {k.split()[0] for k in groups}
    if not known & set(ORIGIN):
        said += " Not measured by origin: the reference does not tell it."
    return scored(models, name, "lower is better, 0 is none", value, draws, baseline, reach, verdict, said, (0.0, 0.2),
                  {"groups": table})  # fmt: skip
