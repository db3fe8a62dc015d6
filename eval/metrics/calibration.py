"""Trust: whether the model taught on synthetic records states probabilities as it should, and for whom it errs."""

import numpy as np

from ...core.types import FloatArray, IntArray
from ..score import AS_REAL, CLOSE, DIFFERENT, TRUST, Score, not_measured, percentiles
from .classifier import REPEATS
from .tstr_models import LEAST_OF_GROUP, ORIGIN, TITLES, Lesson, resamples, scored

CLOSE_ERROR = 0.02  # past the floor's range, of a Brier score
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


def calibrated(lesson: Lesson, rng: np.random.Generator) -> Score:
    """Brier score on real test rows of the model taught on synthetic rows, beside those taught on as many real."""
    y = lesson.y
    value, floor = brier(lesson.found, y), float(np.mean([brier(p, y) for p in lesson.floors]))
    rows = resamples(lesson.patients, y, rng)
    ours = [brier(lesson.found[r], y[r]) for r in rows]
    theirs = [brier(lesson.floors[i % REPEATS][r], y[r]) for i, r in enumerate(rows)]
    # the same patients on both sides: what counts is the difference, not how hard these patients are
    gap = percentiles(np.subtract(ours, theirs))
    verdict = AS_REAL if gap[0] <= 0 else CLOSE if value - floor <= CLOSE_ERROR else DIFFERENT
    errors = (
        calibration_error(lesson.found, y),
        float(np.mean([calibration_error(p, y) for p in lesson.floors])),
    )
    said = (
        f"Asked for probabilities of {lesson.task.name} on real patients, the model taught here has a Brier score of "
        f"{value:.3f}, one taught on as many real records {floor:.3f} (0 is right); it is off by {errors[0]:.0%} on "
        f"average where the other is off by {errors[1]:.0%}."
    )
    details = {"calibration_error": errors[0], "floor_calibration_error": errors[1], "difference": list(gap)}
    return scored(lesson, "brier", "lower is better", value, ours, floor, percentiles(theirs), verdict, said,
                  (0.0, 0.5), details)  # fmt: skip


def worst_subgroup(lesson: Lesson, rng: np.random.Generator) -> Score:
    """How much more the model taught here errs than those taught on real rows, in the subgroup where it is most.

    Brier score of real test rows, synthetic-taught less real-taught; the floor is one real-taught model less the
    others. Details have every subgroup.
    """
    name, title = "subgroup", TITLES["subgroup"].format(lesson.task.name)
    groups = {k: rows for k, rows in lesson.groups.items() if rows.sum() >= LEAST_OF_GROUP}
    if len(groups) < 2:
        reason = f"fewer than two age bands, sexes or origins have {LEAST_OF_GROUP} real test records"
        return not_measured(name, title, TRUST, reason, lesson.task.name)
    y = lesson.y
    ours, floors = _squared(lesson.found, y), np.stack([_squared(p, y) for p in lesson.floors])
    usual = floors.mean(0)
    rises = np.stack([own - np.delete(floors, i, 0).mean(0) for i, own in enumerate(floors)])

    def worst(rise: FloatArray, rows: IntArray) -> float:
        means = [rise[rows][own[rows]].mean() for own in groups.values() if own[rows].any()]
        return float(max(0.0, *means))

    everyone = np.arange(len(y))
    value, floor = worst(ours - usual, everyone), float(np.mean([worst(r, everyone) for r in rises]))
    rows = resamples(lesson.patients, y, rng)
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
        f"Recognising {lesson.task.name}, the model taught here does worst by the standard of real records for the "
        f"group “{least['group']}”: a Brier score of {least['error']:.3f}, taught on real records {least['real']:.3f}."
    )
    known = {k.split()[0] for k in groups}
    if not known & set(ORIGIN):
        said += " Not measured by origin: the reference does not tell it."
    return scored(lesson, name, "lower is better, 0 is none", value, draws, floor, reach, verdict, said, (0.0, 0.2),
                  {"groups": table})  # fmt: skip
