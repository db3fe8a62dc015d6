"""Classifiers: the classifier two-sample test (C2ST), and the models that eval trains."""

import numpy as np

from ...core.types import FloatArray, IntArray
from ..sample import Sample, one_each
from ..score import AS_REAL, CLOSE, DIFFERENT, MEASURED, Score, not_measured, percentiles

REPEATS, FOLDS, TREES, BOOTSTRAP = 3, 5, 60, 200
LEAST = 10  # patients of a group, to tell groups apart
LEAST_OF_CLASS = 5  # rows of a class, to teach or test it
MOST = 250  # patients of a group
CLOSE_AUC = 0.70  # separated no better than this: close
C2ST_TITLE = "Classifier two-sample test (AUC of a random forest)"


def auc(positive: FloatArray, negative: FloatArray) -> float:
    """Area under the ROC curve, ties counting half: scikit-learn's roc_auc_score, many times as fast; NaN for NaN.

    Bootstraps call it ten thousands of times an evaluation.
    """
    others = np.sort(negative)
    if np.isnan(others[-1]) or np.isnan(positive).any():
        return float("nan")
    wins = np.searchsorted(others, positive, "left").sum() + np.searchsorted(others, positive, "right").sum()
    return float(wins / 2 / (len(positive) * len(negative)))


def cross_fitted(real: FloatArray, synthetic: FloatArray, seed: int) -> tuple[FloatArray, FloatArray]:
    """Scores "is synthetic" of real and of synthetic rows, each from a forest that has not seen the row."""
    from sklearn.model_selection import StratifiedKFold

    x = np.concatenate([real, synthetic])
    y = np.repeat([0, 1], [len(real), len(synthetic)])
    scores = np.empty(len(x))
    for learn, judge in StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(x, y):
        scores[judge] = forest(x[learn], y[learn], x[judge], seed)
    return scores[y == 0], scores[y == 1]


def forest(x: FloatArray, y: IntArray, judged: FloatArray, seed: int) -> FloatArray:
    """Probability of class 1 of the judged rows, by a forest that learnt rows x of classes y, 0 and 1.

    The bits of RandomForestClassifier(TREES, min_samples_leaf=2, random_state=seed), which takes up to twice as long
    where rows are few: it copies, checks and schedules each tree.
    """
    from sklearn import config_context
    from sklearn.tree import DecisionTreeClassifier

    rng, most = np.random.RandomState(seed), np.iinfo(np.int32).max
    known, asked = x.astype(np.float32), judged.astype(np.float32)
    total = np.zeros(len(asked))
    with config_context(skip_parameter_validation=True):
        for own in [rng.randint(most) for _ in range(TREES)]:
            drawn = np.random.RandomState(own).randint(0, len(known), len(known))
            tree = DecisionTreeClassifier(min_samples_leaf=2, max_features="sqrt", random_state=own)
            tree.fit(known, y, sample_weight=np.bincount(drawn, minlength=len(known)), check_input=False)
            total += tree.predict_proba(asked, check_input=False)[:, 1]
    return total / TREES


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
        real, synthetic = cross_fitted(x[rows[0]], y[rows[1]], seed + repeat)
        wins = (synthetic[:, None] > real) + 0.5 * (synthetic[:, None] == real)
        means.append(wins.mean())
        weights = rng.multinomial(size, np.full(size, 1 / size), size=(2, BOOTSTRAP)) / size
        draws.append(np.einsum("bi,ij,bj->b", weights[0], wins, weights[1], optimize=True))
    return float(np.mean(means)), percentiles(np.concatenate(draws))


def c2st(synthetic: Sample, train: Sample, test: Sample, seed: int) -> Score:
    """Real test against synthetic; the real baseline is real test against real train. Equal numbers of patients."""
    size = min(synthetic.patient_count, train.patient_count, test.patient_count, MOST)
    if size < LEAST:
        return not_measured(
            "c2st_auc", C2ST_TITLE, "c2st", f"needs {LEAST} patients of each group, the smallest has {size}"
        )
    value, interval = separation(test, synthetic, size, seed)
    real_baseline, real_baseline_interval = separation(test, train, size, seed)
    verdict = AS_REAL if value <= real_baseline_interval[1] else CLOSE if value <= CLOSE_AUC else DIFFERENT
    return Score(
        metric="c2st_auc",
        title=C2ST_TITLE,
        question="c2st",
        status=MEASURED,
        direction="lower is better, 0.5 is chance",
        value=value,
        interval=interval,
        real_baseline=real_baseline,
        real_baseline_interval=real_baseline_interval,
        verdict=verdict,
        scale=(0.3, 1.0),
        sentence=f"A random forest separates synthetic from real records with an AUC of {value:.2f}; it separates two "
        f"groups of real patients with {real_baseline:.2f} ({size} records of each, 0.5 is chance).",
        details={"rows": size},
    )


def standardised(x: FloatArray, other: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Both in standard deviations of x, clipped at 8; features that are constant in x are left out."""
    mean, sd = x.mean(0), x.std(0)
    keep = sd > 1e-9
    scaled, asked = (np.clip((v[:, keep] - mean[keep]) / sd[keep], -8, 8) for v in (x, other))
    return scaled, asked


def predict_classes(x: FloatArray, y: IntArray, judge: FloatArray) -> FloatArray:
    """(row, class) probabilities of a logistic regression on standardised features, clipped at 8.

    With fewer rows than features it is fitted in the space that the rows span: the ridge penalty makes
    this the same model.
    """
    from sklearn.linear_model import LogisticRegression

    scaled, asked = standardised(x, judge)
    features = scaled.shape[1]
    if len(scaled) < features:
        axes = np.linalg.svd(scaled, full_matrices=False)[2]
        scaled, asked = scaled @ axes.T, asked @ axes.T
    model = LogisticRegression(C=1 / max(1, features), max_iter=2000)
    return np.asarray(model.fit(scaled, y).predict_proba(asked), dtype=np.float64)


def macro_auc(probability: FloatArray, y: IntArray, classes: IntArray) -> float:
    """One-against-rest AUC, mean over the classes that y has (two classes give the same one twice)."""
    present = [k for k, c in enumerate(classes) if 0 < (y == c).sum() < len(y)]
    return float(
        np.mean([auc(probability[y == classes[k], k], probability[y != classes[k], k]) for k in present])
    )
