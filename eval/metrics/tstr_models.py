"""Task models: the classifiers of one task, trained on synthetic and on real records, and their predictions."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ...core.modality import Task
from ...core.types import BoolArray, FloatArray, IntArray
from ..sample import Sample, one_each, resample
from ..score import CALIBRATION, MEASURED, Score, not_measured, percentiles
from .classifier import BOOTSTRAP, LEAST_OF_CLASS, REPEATS, predict_classes

LEAST_OF_GROUP = 20  # test rows of a subgroup
BANDS = ((0, 40, "under 40"), (40, 65, "40 to 64"), (65, 200, "65 and over"))
ORIGIN = ("race", "ethnicity")  # traits that say so, where a reference does
TITLES = {
    "tstr_auroc": "Train on synthetic, test on real (TSTR): {} (AUROC)",
    "trts_auroc": "Train on real, test on synthetic (TRTS): {} (AUROC)",
    "brier_score": "Calibration of the TSTR model: {} (Brier score on real patients)",
    "worst_subgroup": "Worst subgroup of the TSTR model: {} (rise of the Brier score)",
}
QUESTION = {name: "tstr" if name == "tstr_auroc" else CALIBRATION for name in TITLES}


@dataclass(frozen=True)
class TaskModels:
    """Predictions. found (test row, class): trained on synthetic rows; real_baselines: on as many real ones, repeated.

    everything: trained on all real training rows; own (synthetic row, class): the same model on synthetic rows.
    y, own_y: place of the class among `kept`; patients: of test rows; groups: names of subgroups -> test rows.
    """

    task: Task
    kept: IntArray
    found: FloatArray
    real_baselines: list[FloatArray]
    everything: FloatArray
    own: FloatArray
    y: IntArray
    own_y: IntArray
    patients: IntArray
    own_patients: IntArray
    rows: tuple[int, int]  # synthetic and real training rows trained on
    groups: dict[str, BoolArray] = field(default_factory=dict)


def train_models(task: Task, synthetic: Sample, train: Sample, test: Sample, seed: int) -> TaskModels | str:
    """All models of a task, or why there are none."""
    groups = {"synthetic": synthetic, "real test": test, "real training": train}
    counts = {
        name: [int((group.labels[task.name] == k).sum()) for k in range(len(task.classes))]
        for name, group in groups.items()
    }
    kept = np.array(
        [k for k in range(len(task.classes)) if min(c[k] for c in counts.values()) >= LEAST_OF_CLASS]
    )
    if len(kept) < 2:
        return _why(task, counts)
    rng = np.random.default_rng(seed)
    columns = list(test.inputs.columns)
    (x, y, own_patients), (x_test, y_test, patients), (x_train, y_train, owners) = (
        _labelled(group, task.name, kept, columns) for group in groups.values()
    )
    said = predict_classes(x_train, y_train, np.concatenate([x_test, x]))
    asked = np.isin(test.labels[task.name], kept)
    place = np.searchsorted(kept, y_test), np.searchsorted(kept, y)
    return TaskModels(
        task=task,
        kept=kept,
        found=predict_classes(x, y, x_test),
        real_baselines=[
            predict_classes(*_as_many(x_train, y_train, owners, len(y), rng), x_test) for _ in range(REPEATS)
        ],
        everything=said[: len(x_test)],
        own=said[len(x_test) :],
        y=place[0],
        own_y=place[1],
        patients=patients,
        own_patients=own_patients,
        rows=(len(y), len(y_train)),
        groups={name: rows[asked] for name, rows in subgroups(test, task.name).items()},
    )


def subgroups(sample: Sample, task: str = "") -> dict[str, BoolArray]:
    """Name -> (row,) of age bands, sexes, origins and classes of declared fields but `task`; of 20 rows or more."""
    found = {}
    ages = np.array([np.nan if p.age is None else p.age for p in sample.profiles], dtype=np.float64)
    for low, high, name in BANDS:
        found[f"age {name}"] = (ages >= low) & (ages < high)
    for name, sex in (("women", "F"), ("men", "M")):
        found[name] = np.array([p.sex == sex for p in sample.profiles])
    for trait in ORIGIN:
        stated = [p.traits.get(trait) for p in sample.profiles]
        for origin in sorted({t for t in stated if t is not None}):
            found[f"{trait} {origin}"] = np.array([t == origin for t in stated])
    for name, classes in sample.declared.items():
        if name != task:
            found |= {f"{name}: {one}": sample.labels[name] == k for k, one in enumerate(classes)}
    return {name: rows for name, rows in found.items() if rows.sum() >= LEAST_OF_GROUP}


def unmeasured_task(task: Task, reason: str) -> list[Score]:
    """The scores of a task that was not trained."""
    return [
        not_measured(metric, title.format(task.name), QUESTION[metric], reason, task.name)
        for metric, title in TITLES.items()
    ]


def scored(
    models: TaskModels,
    metric: str,
    direction: str,
    value: float,
    draws: Sequence[float],
    real_baseline: float,
    reach: tuple[float, float],
    verdict: str,
    sentence: str,
    scale: tuple[float, float],
    details: dict[str, object],
) -> Score:
    return Score(
        metric=metric,
        title=TITLES[metric].format(models.task.name),
        question=QUESTION[metric],
        status=MEASURED,
        direction=direction,
        task=models.task.name,
        value=value,
        interval=percentiles(draws),
        real_baseline=real_baseline,
        real_baseline_interval=reach,
        verdict=verdict,
        scale=(scale[0], max(scale[1], value)),
        sentence=sentence,
        details=details,
    )


def resamples(patients: IntArray, y: IntArray, rng: np.random.Generator) -> list[IntArray]:
    """Bootstrap draws of patients in which there are two classes."""
    rows = [resample(patients, rng) for _ in range(BOOTSTRAP)]
    return [r for r in rows if len(np.unique(y[r])) > 1]


def _labelled(
    group: Sample, task: str, kept: IntArray, columns: Sequence[str]
) -> tuple[FloatArray, IntArray, IntArray]:
    """Inputs, class and patient of the rows whose class is known and kept."""
    rows = np.flatnonzero(np.isin(group.labels[task], kept))
    inputs = group.inputs[list(columns)].to_numpy(np.float64)[rows]
    patients = np.unique(group.patients[rows], return_inverse=True)[1]
    return inputs, group.labels[task][rows].astype(np.int64), patients.astype(np.int64)


def _as_many(
    x: FloatArray, y: IntArray, owners: IntArray, size: int, rng: np.random.Generator
) -> tuple[FloatArray, IntArray]:
    """At most `size` rows of different patients, at least 5 of each class (as the synthetic rows have)."""
    first = one_each(owners, len(owners), rng)
    must = [np.flatnonzero(y == c)[rng.permutation((y == c).sum())[:LEAST_OF_CLASS]] for c in np.unique(y)]
    rows = np.concatenate(must)
    rest = first[~np.isin(owners[first], owners[rows])]
    rows = np.concatenate([rows, rest[: max(0, size - len(rows))]])
    return x[rows], y[rows]


def _why(task: Task, counts: dict[str, list[int]]) -> str:
    """Which class is short in which group."""
    short = [
        f"{counts[name][k]} {name} records with {label!r}"
        for k, label in enumerate(task.classes)
        for name in counts
        if counts[name][k] < LEAST_OF_CLASS
    ]
    return f"{task.name} needs {LEAST_OF_CLASS} records of each class in each group, there are " + ", ".join(
        short
    )
