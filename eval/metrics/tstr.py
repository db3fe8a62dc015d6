"""TSTR and TRTS: train on synthetic records and test on real ones, and the other way round."""

import numpy as np

from ...core.modality import Task
from ..sample import Sample
from ..score import AS_REAL, CLOSE, DIFFERENT, UNDECIDED, Score, percentiles
from .calibration import brier_score, worst_subgroup
from .classifier import REPEATS, macro_auc
from .tstr_models import TaskModels, resamples, scored, train_models, unmeasured_task

AS_REAL_SHARE, CLOSE_SHARE = 0.90, 0.80  # of the AUROC of real training rows (above chance)
CLOSE_AUROC = 0.05  # outside the real baseline's range


def task_scores(task: Task, synthetic: Sample, train: Sample, test: Sample, seed: int) -> list[Score]:
    """TSTR, TRTS, calibration of the TSTR model, and its error by subgroup.

    Classes with fewer than 5 rows in any group are left out; with fewer than two classes nothing is measured.
    """
    found = train_models(task, synthetic, train, test, seed)
    if isinstance(found, str):
        return unmeasured_task(task, found)
    rng = np.random.default_rng(seed)
    return [_tstr(found, rng), _trts(found, rng), brier_score(found, rng), worst_subgroup(found, rng)]


def _tstr(models: TaskModels, rng: np.random.Generator) -> Score:
    """AUROC on real test rows; the real baseline was trained on as many real rows.

    The interval resamples test patients; the real baseline's also other draws of training patients.
    """
    task, kept, y = models.task, models.kept, models.y
    classes = np.arange(len(kept))
    everything = macro_auc(models.everything, y, classes)
    value = macro_auc(models.found, y, classes)
    baseline = float(np.mean([macro_auc(p, y, classes) for p in models.real_baselines]))
    rows = resamples(models.patients, y, rng)
    draws = [macro_auc(models.found[r], y[r], classes) for r in rows]
    baseline_draws = [
        macro_auc(models.real_baselines[i % REPEATS][r], y[r], classes) for i, r in enumerate(rows)
    ]
    reach = percentiles(baseline_draws)
    details: dict[str, object] = {
        "rows": models.rows[0], "test_rows": len(y), "all_real": everything,
        "accuracy": float((models.found.argmax(1) == y).mean()),
        "real_baseline_accuracy": float(np.mean([(p.argmax(1) == y).mean() for p in models.real_baselines])),
        "classes": [task.classes[k] for k in kept],
    }  # fmt: skip
    base = (
        f"A model trained on {models.rows[0]} synthetic records to recognise {task.name} reaches an AUROC of "
        f"{value:.2f} on held-out real patients; trained on as many real records it reaches {baseline:.2f}"
    )
    gap = percentiles(np.subtract(draws, baseline_draws))
    verdict = _verdict(value, baseline, reach[0], gap[1])
    if reach[0] <= 0.5:
        end = ", which may be chance, so this task says nothing about the synthetic records"
    elif verdict == UNDECIDED:
        end = "; the numbers are too small to say whether that differs"
    else:
        end = f", on all {models.rows[1]} real ones {everything:.2f} (0.5 is chance)"
    return scored(models, "tstr_auroc", "higher is better, 0.5 is chance", value, draws, baseline, reach, verdict,
                  f"{base}{end}.", (0.3, 1.0), details)  # fmt: skip


def _verdict(value: float, baseline: float, baseline_low: float, gap_high: float) -> str:
    """What the two AUROCs say; gap_high is the upper end of their paired difference's range."""
    if baseline_low <= 0.5:
        return UNDECIDED
    share = (value - 0.5) / (baseline - 0.5)
    if share >= AS_REAL_SHARE and value >= baseline_low:
        return AS_REAL
    if share >= CLOSE_SHARE:
        return CLOSE
    return DIFFERENT if gap_high < 0 else UNDECIDED


def _trts(models: TaskModels, rng: np.random.Generator) -> Score:
    """AUROC on synthetic rows of the model of all real training rows; the real baseline is the same model on test rows.

    Higher than the real baseline is no better: the classes are then easier to tell apart than real ones.
    """
    classes = np.arange(len(models.kept))
    value, baseline = (
        macro_auc(p, y, classes) for p, y in ((models.own, models.own_y), (models.everything, models.y))
    )
    ours = [
        macro_auc(models.own[r], models.own_y[r], classes)
        for r in resamples(models.own_patients, models.own_y, rng)
    ]
    theirs = [
        macro_auc(models.everything[r], models.y[r], classes)
        for r in resamples(models.patients, models.y, rng)
    ]
    reach = percentiles(theirs)
    outside = max(reach[0] - value, value - reach[1], 0.0)
    verdict = AS_REAL if outside <= 0 else CLOSE if outside <= CLOSE_AUROC else DIFFERENT
    ease = "harder" if value < reach[0] else "easier" if value > reach[1] else "about as hard"
    said = f"A model trained on real records finds {models.task.name} in synthetic ones with an AUROC of {value:.2f}"
    if reach[0] <= 0.5:
        verdict, end = UNDECIDED, f"in real ones with {baseline:.2f}, which may be chance"
    else:
        end = f"in held-out real ones with {baseline:.2f}: it is {ease} to find here"
    return scored(models, "trts_auroc", "as near to the real baseline as can be", value, ours, baseline, reach, verdict,
                  f"{said}, {end}.", (0.3, 1.0), {"rows": len(models.own_y)})  # fmt: skip
