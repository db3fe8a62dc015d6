"""Lessons: what models taught on synthetic records know of real ones, and models of real records of synthetic ones."""

import numpy as np

from ...core.modality import Task
from ..sample import Sample
from ..score import AS_REAL, CLOSE, DIFFERENT, UNDECIDED, Score, percentiles
from .calibration import calibrated, worst_subgroup
from .classifier import REPEATS, macro_auc
from .tstr_models import Lesson, lesson, not_taught, resamples, scored

AS_REAL_SHARE, CLOSE_SHARE = 0.90, 0.80  # of what real training rows teach (above chance)
CLOSE_AUROC = 0.05  # outside the floor's range


def lessons(task: Task, synthetic: Sample, train: Sample, test: Sample, seed: int) -> list[Score]:
    """Taught here and tested on real, taught on real and tested here, calibration, and error by subgroup.

    Classes with fewer than 5 rows in any group are left out; with fewer than two classes nothing is measured.
    """
    found = lesson(task, synthetic, train, test, seed)
    if isinstance(found, str):
        return not_taught(task, found)
    rng = np.random.default_rng(seed)
    return [
        _teaches(found, rng),
        _taught_by_real(found, rng),
        calibrated(found, rng),
        worst_subgroup(found, rng),
    ]


def train_on_synthetic(task: Task, synthetic: Sample, train: Sample, test: Sample, seed: int) -> Score:
    """The first of the lessons' scores."""
    return lessons(task, synthetic, train, test, seed)[0]


def _teaches(lesson: Lesson, rng: np.random.Generator) -> Score:
    """AUROC on real test rows; the floor was taught on as many real rows.

    The interval resamples test patients; the floor's also other draws of training patients.
    """
    task, kept, y = lesson.task, lesson.kept, lesson.y
    classes = np.arange(len(kept))
    everything = macro_auc(lesson.everything, y, classes)
    value = macro_auc(lesson.found, y, classes)
    floor = float(np.mean([macro_auc(p, y, classes) for p in lesson.floors]))
    rows = resamples(lesson.patients, y, rng)
    draws = [macro_auc(lesson.found[r], y[r], classes) for r in rows]
    floor_draws = [macro_auc(lesson.floors[i % REPEATS][r], y[r], classes) for i, r in enumerate(rows)]
    floor_interval = percentiles(floor_draws)
    details: dict[str, object] = {
        "rows": lesson.rows[0], "test_rows": len(y), "all_real": everything,
        "accuracy": float((lesson.found.argmax(1) == y).mean()),
        "floor_accuracy": float(np.mean([(p.argmax(1) == y).mean() for p in lesson.floors])),
        "classes": [task.classes[k] for k in kept],
    }  # fmt: skip
    base = (
        f"A model taught on {lesson.rows[0]} synthetic records to recognise {task.name} reaches an AUROC of "
        f"{value:.2f} on held-out real patients; taught on as many real records it reaches {floor:.2f}"
    )
    gap = percentiles(np.subtract(draws, floor_draws))
    verdict = _verdict(value, floor, floor_interval[0], gap[1])
    if floor_interval[0] <= 0.5:
        end = ", which may be chance, so this task says nothing about the synthetic records"
    elif verdict == UNDECIDED:
        end = "; the numbers are too small to say whether that differs"
    else:
        end = f", on all {lesson.rows[1]} real ones {everything:.2f} (0.5 is guessing)"
    return scored(lesson, "tstr", "higher is better, 0.5 is guessing", value, draws, floor, floor_interval, verdict,
                  f"{base}{end}.", (0.3, 1.0), details)  # fmt: skip


def _verdict(value: float, floor: float, floor_low: float, gap_high: float) -> str:
    """What the two AUROCs say; gap_high is the upper end of their paired difference's range."""
    if floor_low <= 0.5:
        return UNDECIDED
    share = (value - 0.5) / (floor - 0.5)
    if share >= AS_REAL_SHARE and value >= floor_low:
        return AS_REAL
    if share >= CLOSE_SHARE:
        return CLOSE
    return DIFFERENT if gap_high < 0 else UNDECIDED


def _taught_by_real(lesson: Lesson, rng: np.random.Generator) -> Score:
    """AUROC on synthetic rows of the model of all real training rows; the floor is the same model on test rows.

    Higher than the floor is no better: the classes are then easier to tell apart than real ones.
    """
    classes = np.arange(len(lesson.kept))
    value, floor = (
        macro_auc(p, y, classes) for p, y in ((lesson.own, lesson.own_y), (lesson.everything, lesson.y))
    )
    ours = [
        macro_auc(lesson.own[r], lesson.own_y[r], classes)
        for r in resamples(lesson.own_patients, lesson.own_y, rng)
    ]
    theirs = [
        macro_auc(lesson.everything[r], lesson.y[r], classes)
        for r in resamples(lesson.patients, lesson.y, rng)
    ]
    reach = percentiles(theirs)
    outside = max(reach[0] - value, value - reach[1], 0.0)
    verdict = AS_REAL if outside <= 0 else CLOSE if outside <= CLOSE_AUROC else DIFFERENT
    ease = "harder" if value < reach[0] else "easier" if value > reach[1] else "about as hard"
    said = f"A model taught on real records finds {lesson.task.name} in synthetic ones with an AUROC of {value:.2f}"
    if reach[0] <= 0.5:
        verdict, end = UNDECIDED, f"in real ones with {floor:.2f}, which may be chance"
    else:
        end = f"in held-out real ones with {floor:.2f}: it is {ease} to find here"
    return scored(lesson, "trts", "as near to the floor as can be", value, ours, floor, reach, verdict,
                  f"{said}, {end}.", (0.3, 1.0), {"rows": len(lesson.own_y)})  # fmt: skip
