"""Utility: can synthetic records be told from real ones, and do they teach a model of real ones."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..core.modality import Task
from .sample import Sample, one_each, resample
from .score import AS_REAL, CLOSE, DIFFERENT, MEASURED, UNDECIDED, Score, not_measured, percentiles

Values = NDArray[np.float64]  # (row, feature)
REPEATS, FOLDS, TREES, BOOTSTRAP = 3, 5, 60, 200
LEAST = 10  # patients of a group, to tell groups apart
LEAST_OF_CLASS = 5  # rows of a class, to teach or test it
MOST = 250  # patients of a group
CLOSE_AUC = 0.70  # told apart no better than this: close
AS_REAL_SHARE, CLOSE_SHARE = 0.90, 0.80  # of what real training rows teach (above chance)
APART = "Told apart from real (AUC of a random forest)"


def auc(positive: NDArray[np.float64], negative: NDArray[np.float64]) -> float:
    """Area under the ROC curve: how often a positive outscores a negative, ties counting half."""
    from scipy.stats import rankdata

    n, m = len(positive), len(negative)
    ranks = rankdata(np.concatenate([positive, negative]))[:n]
    return float((ranks.sum() - n * (n + 1) / 2) / (n * m))


def _wins(positive: NDArray[np.float64], negative: NDArray[np.float64]) -> Values:
    wins = (positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)
    return np.asarray(wins, dtype=np.float64)


def cross_fitted(
    real: Values, synthetic: Values, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scores "is synthetic" of real and of synthetic rows, each from a forest that has not seen the row."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.model_selection import StratifiedKFold

    x = np.concatenate([real, synthetic])
    y = np.repeat([0, 1], [len(real), len(synthetic)])
    scores = np.empty(len(x))
    for learn, judge in StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(x, y):
        forest = RandomForestClassifier(TREES, min_samples_leaf=2, random_state=seed, n_jobs=1)
        scores[judge] = forest.fit(x[learn], y[learn]).predict_proba(x[judge])[:, 1]
    return scores[y == 0], scores[y == 1]


def separation(a: Sample, b: Sample, size: int, seed: int) -> tuple[float, tuple[float, float]]:
    """AUC of telling `size` patients of a from `size` of b (one row each), and its 95 % bootstrap range.

    Mean over repeats that draw other rows and other forests; the range pools bootstraps of all repeats.
    """
    rng = np.random.default_rng(seed)
    columns = list(a.inputs.columns)
    x, y = a.inputs.to_numpy(np.float64), b.inputs[columns].to_numpy(np.float64)
    means, draws = [], []
    for repeat in range(REPEATS):
        rows = one_each(a.patients, size, rng), one_each(b.patients, size, rng)
        wins = _wins(*reversed(cross_fitted(x[rows[0]], y[rows[1]], seed + repeat)))
        means.append(wins.mean())
        weights = rng.multinomial(size, np.full(size, 1 / size), size=(2, BOOTSTRAP)) / size
        draws.append(np.einsum("bi,ij,bj->b", weights[0], wins, weights[1], optimize=True))
    return float(np.mean(means)), percentiles(np.concatenate(draws))


def told_apart(synthetic: Sample, train: Sample, test: Sample, seed: int) -> Score:
    """Real test against synthetic; the floor is real test against real train. Equal numbers of patients."""
    size = min(synthetic.patient_count, train.patient_count, test.patient_count, MOST)
    if size < LEAST:
        return not_measured(
            "auc", APART, "told apart", f"needs {LEAST} patients of each group, the smallest has {size}"
        )
    value, interval = separation(test, synthetic, size, seed)
    floor, floor_interval = separation(test, train, size, seed)
    verdict = AS_REAL if value <= floor_interval[1] else CLOSE if value <= CLOSE_AUC else DIFFERENT
    return Score(
        metric="auc",
        title=APART,
        question="told apart",
        status=MEASURED,
        direction="lower is better, 0.5 is guessing",
        value=value,
        interval=interval,
        floor=floor,
        floor_interval=floor_interval,
        verdict=verdict,
        scale=(0.3, 1.0),
        sentence="Shown one real and one synthetic record, a computer points at the synthetic one "
        f"{value:.0%} of the time; guessing gives 50%, two groups of real patients {floor:.0%} "
        f"({size} records of each).",
        details={"rows": size},
    )


def taught(x: Values, y: NDArray[np.int64], judge: Values) -> Values:
    """(row, class) probabilities of a logistic regression on standardised features, clipped at 8.

    With fewer rows than features it is fitted in the space that the rows span: the ridge penalty makes
    this the same model.
    """
    from sklearn.linear_model import LogisticRegression

    mean, sd = x.mean(0), x.std(0)
    keep = sd > 1e-9
    scaled, asked = (np.clip((v[:, keep] - mean[keep]) / sd[keep], -8, 8) for v in (x, judge))
    if len(scaled) < scaled.shape[1]:
        axes = np.linalg.svd(scaled, full_matrices=False)[2]
        scaled, asked = scaled @ axes.T, asked @ axes.T
    model = LogisticRegression(C=1 / max(1, keep.sum()), max_iter=2000)
    return np.asarray(model.fit(scaled, y).predict_proba(asked), dtype=np.float64)


def macro_auc(probability: Values, y: NDArray[np.int64], classes: NDArray[np.int64]) -> float:
    """One-against-rest AUC, mean over the classes that y has (two classes give the same one twice)."""
    present = [k for k, c in enumerate(classes) if 0 < (y == c).sum() < len(y)]
    return float(
        np.mean([auc(probability[y == classes[k], k], probability[y != classes[k], k]) for k in present])
    )


def train_on_synthetic(task: Task, synthetic: Sample, train: Sample, test: Sample, seed: int) -> Score:
    """AUROC on real test rows of a model taught on synthetic rows; the floor was taught on as many real ones.

    The interval resamples test patients; the floor's also other draws of training patients. Classes
    with fewer than 5 rows in any group are left out; fewer than two classes: not measured.
    """
    title = f"Teaches a model: {task.name} (AUROC on real patients)"
    groups = {"synthetic": synthetic, "real test": test, "real training": train}
    counts = {
        name: [int((group.labels[task.name] == k).sum()) for k in range(len(task.classes))]
        for name, group in groups.items()
    }
    kept = np.array(
        [k for k in range(len(task.classes)) if min(c[k] for c in counts.values()) >= LEAST_OF_CLASS]
    )
    if len(kept) < 2:
        return not_measured("tstr", title, "useful", _why(task, counts), task.name)
    rng = np.random.default_rng(seed)
    columns = list(test.inputs.columns)
    (x, y, _), (x_test, y_test, patients), (x_train, y_train, owners) = (
        _labelled(group, task.name, kept, columns) for group in groups.values()
    )
    found = taught(x, y, x_test)
    floors = [taught(*_as_many(x_train, y_train, owners, len(y), rng), x_test) for _ in range(REPEATS)]
    everything = macro_auc(taught(x_train, y_train, x_test), y_test, kept)
    value = macro_auc(found, y_test, kept)
    floor = float(np.mean([macro_auc(p, y_test, kept) for p in floors]))
    rows = [resample(patients, rng) for _ in range(BOOTSTRAP)]
    rows = [r for r in rows if len(np.unique(y_test[r])) > 1]
    draws = [macro_auc(found[r], y_test[r], kept) for r in rows]
    floor_draws = [macro_auc(floors[i % REPEATS][r], y_test[r], kept) for i, r in enumerate(rows)]
    interval, floor_interval = percentiles(draws), percentiles(floor_draws)
    details: dict[str, object] = {
        "rows": len(y), "test_rows": len(y_test), "all_real": everything,
        "accuracy": float((kept[found.argmax(1)] == y_test).mean()),
        "floor_accuracy": float(np.mean([(kept[p.argmax(1)] == y_test).mean() for p in floors])),
        "classes": [task.classes[k] for k in kept],
    }  # fmt: skip
    base = (
        f"A model taught on {len(y)} synthetic records to recognise {task.name} reaches an AUROC of "
        f"{value:.2f} on held-out real patients; taught on as many real records it reaches {floor:.2f}"
    )
    gap = percentiles(np.subtract(draws, floor_draws))
    verdict = _verdict(value, floor, floor_interval[0], gap[1])
    if floor_interval[0] <= 0.5:
        end = ", which may be chance, so this task says nothing about the synthetic records"
    elif verdict == UNDECIDED:
        end = "; the numbers are too small to say whether that differs"
    else:
        end = f", on all {len(y_train)} real ones {everything:.2f} (0.5 is guessing)"
    return Score(
        metric="tstr",
        title=title,
        question="useful",
        status=MEASURED,
        direction="higher is better, 0.5 is guessing",
        task=task.name,
        value=value,
        interval=interval,
        floor=floor,
        floor_interval=floor_interval,
        verdict=verdict,
        scale=(0.3, 1.0),
        sentence=f"{base}{end}.",
        details=details,
    )


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


def _labelled(
    group: Sample, task: str, kept: NDArray[np.int64], columns: Sequence[str]
) -> tuple[Values, NDArray[np.int64], NDArray[np.int64]]:
    """Inputs, class and patient of the rows whose class is known and kept."""
    rows = np.flatnonzero(np.isin(group.labels[task], kept))
    inputs = group.inputs[list(columns)].to_numpy(np.float64)[rows]
    patients = np.unique(group.patients[rows], return_inverse=True)[1]
    return inputs, group.labels[task][rows].astype(np.int64), patients.astype(np.int64)


def _as_many(
    x: Values, y: NDArray[np.int64], owners: NDArray[np.int64], size: int, rng: np.random.Generator
) -> tuple[Values, NDArray[np.int64]]:
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
