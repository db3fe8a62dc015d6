"""What the omics benchmark measures on a synthetic cohort: subtype, genes, assays, survival, attacks."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import false_discovery_control, gaussian_kde, ks_2samp, ttest_ind
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from polyclinic.eval.metrics.metric import Group
from polyclinic.eval.metrics.structured import FALSE_DISCOVERY, kaplan_meier, modules

Array = NDArray[np.float32]
TOP = 200
LUMA, BASAL = 0, 2


@dataclass(frozen=True)
class Cohort:
    """assays: (patient, feature) values; subtype (patient,) places in SUBTYPES; group (patient,) race.

    clinical: (patient, 4) age, whether stage III or IV, months followed, whether they ended in death; NaN is unknown.
    """

    assays: dict[str, Array]
    subtype: NDArray[np.int64]
    group: NDArray[np.str_]
    clinical: NDArray[np.float64]


def logistic() -> Pipeline:
    """Ridge logistic regression on standardised genes."""
    return make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500))


def subtype(train: Cohort, test: Cohort, trees: int, seed: int) -> dict[str, float]:
    """PAM50 from RNA: learnt on `train`, judged on `test`; error by subtype and by race of the regression."""
    forest = RandomForestClassifier(trees, random_state=seed, n_jobs=1)
    found = {}
    for name, model in (("LR", logistic()), ("RF", forest)):
        predicted = model.fit(train.assays["rna"], train.subtype).predict(test.assays["rna"])
        found[f"PAM50 accuracy, {name}"] = accuracy_score(test.subtype, predicted)
        found[f"PAM50 macro F1, {name}"] = f1_score(test.subtype, predicted, average="macro")
        if name == "LR":
            wrong = predicted != test.subtype
    for k, label in ((0, "LumA"), (1, "LumB"), (2, "Basal")):
        found[f"  error among {label}"] = float(wrong[test.subtype == k].mean())
    for race in ("white", "black or african american"):
        found[f"  error among {race.split()[0]}"] = float(wrong[test.group == race].mean())
    return found


def agreement(a: Array, b: Array, c: Array, d: Array) -> float:
    """Pearson R between the feature-by-feature correlations of (a with b) and of (c with d)."""
    first, second = _correlations(a, b), _correlations(c, d)
    keep = np.triu_indices(len(first), 1) if a is b else np.indices(first.shape).reshape(2, -1)
    return float(np.corrcoef(first[keep[0], keep[1]], second[keep[0], keep[1]])[0, 1])


def _correlations(a: Array, b: Array) -> Array:
    x, y = ((v - v.mean(0)) / np.maximum(v.std(0), 1e-6) for v in (a, b))
    return np.asarray(x.T @ y / len(x))


def genes(synthetic: Cohort, test: Cohort) -> dict[str, float]:
    """Correlations, differential genes, per-gene KS, and how well real modules hold together."""
    x, y = synthetic.assays, test.assays
    found = {"gene-gene correlation R": agreement(y["rna"], y["rna"], x["rna"], x["rna"])}
    for assay in ("meth", "mirna"):
        if assay in x:
            found[f"RNA-{assay} correlation R"] = agreement(y["rna"], y[assay], x["rna"], x[assay])
    sign, p = _differential(test)
    own_sign, own_p = _differential(synthetic)
    top = np.argsort(p)[:TOP]
    called = (false_discovery_control(own_p) <= FALSE_DISCOVERY) & (sign == own_sign)
    found["DE recall of the top 200"] = float(called[top].mean())
    found["  top 200 shared"] = len(set(top) & set(np.argsort(own_p)[:TOP])) / TOP
    tests = [ks_2samp(x["rna"][:, g], y["rna"][:, g]).statistic for g in range(0, y["rna"].shape[1], 5)]
    found["per-gene KS"] = float(np.mean(tests))
    found["module preservation"] = preservation(x["rna"], y["rna"])
    return found


def _differential(cohort: Cohort) -> tuple[Array, Array]:
    """Sign and p of Welch's test, LumA against Basal, a gene."""
    rna = cohort.assays["rna"]
    result = ttest_ind(rna[cohort.subtype == LUMA], rna[cohort.subtype == BASAL], equal_var=False)
    return np.sign(result.statistic), np.nan_to_num(result.pvalue, nan=1.0)


def preservation(synthetic: Array, real: Array) -> float:
    """Share of the real modules' density that is kept: evaluate's own figure."""
    sides = (Group(x.astype(np.float64), (), np.arange(len(x))) for x in (real, synthetic))
    return modules(next(sides))(next(sides))


def survival(synthetic: Cohort, test: Cohort) -> dict[str, float]:
    """Cox coefficients, whether their signs are those of real patients, and shares alive after 2 and 5 years."""
    own, real = cox(synthetic.clinical), cox(test.clinical)
    found = {
        "Cox log hazard, a decade": own[0],
        "Cox log hazard, late stage": own[1],
        "Cox signs as in real ones": float((np.sign(own) == np.sign(real)).mean()),
    }
    for months in (24, 60):
        found[f"  alive at {months} months"] = alive(synthetic.clinical, months)
    return found


def cox(clinical: NDArray[np.float64], rounds: int = 20) -> NDArray[np.float64]:
    """Log hazard ratios of ten years of age and of stage III or IV (Cox 1972; ties as Breslow 1974)."""
    rows = clinical[~np.isnan(clinical).any(1) & (clinical[:, 2] > 0)]
    rows = rows[np.argsort(-rows[:, 2])]
    x = np.stack([(rows[:, 0] - 60) / 10, rows[:, 1]], axis=1)
    # at risk at a death: all who were followed as long or longer
    last = np.searchsorted(-rows[:, 2], -rows[:, 2], side="right") - 1
    died = np.flatnonzero(rows[:, 3])
    hazard = np.zeros(2)
    for _ in range(rounds):
        weight = np.exp(x @ hazard)
        products = x[:, :, None] * x[:, None, :]
        zero, one, two = (
            np.cumsum(weight.reshape(-1, *[1] * (own.ndim - 1)) * own, 0)[last[died]]
            for own in (np.ones(len(x)), x, products)
        )
        mean = one / zero[:, None]
        information = (two / zero[:, None, None] - mean[:, :, None] * mean[:, None, :]).sum(0)
        hazard = hazard + np.linalg.solve(information, (x[died] - mean).sum(0))
    return hazard


def alive(clinical: NDArray[np.float64], months: float) -> float:
    """Share alive after so many months: Kaplan and Meier 1958."""
    rows = clinical[~np.isnan(clinical[:, 2:]).any(1)]
    return float(kaplan_meier(rows[:, 2:], np.array([months]))[0])


def c2st(
    first: Cohort, second: Cohort, train: Cohort, test: Cohort, trees: int, seed: int
) -> dict[str, float]:
    """AUC of telling real from synthetic RNA: learnt on train against one draw, judged on test against another."""
    size = min(len(test.subtype), len(second.subtype))
    x = np.concatenate([train.assays["rna"], first.assays["rna"]])
    y = np.repeat([0, 1], [len(train.subtype), len(first.subtype)])
    asked = np.concatenate([test.assays["rna"], second.assays["rna"][:size]])
    truth = np.repeat([0, 1], [len(test.subtype), size])
    forest = RandomForestClassifier(trees, min_samples_leaf=2, random_state=seed, n_jobs=1)
    both = [
        roc_auc_score(truth, model.fit(x, y).predict_proba(asked)[:, 1]) for model in (logistic(), forest)
    ]
    return {"  C2ST, LR": both[0], "  C2ST, RF": both[1], "C2ST, worst AUC": max(both)}


def membership(synthetic: Cohort, train: Cohort, test: Cohort, seed: int) -> dict[str, float]:
    """AUC of two attacks that tell training from test patients by the synthetic cohort alone (and other people).

    Nearest neighbour: distance to the closest synthetic tumour in 50 components. Density ratio (DOMIAS, van
    Breugel et al. 2023): kernel densities in 8 components, synthetic over half of the test patients.
    """
    rng = np.random.default_rng(seed)
    scale = StandardScaler().fit(synthetic.assays["rna"])
    axes = PCA(50, random_state=seed).fit(scale.transform(synthetic.assays["rna"]))
    own, members, others = (
        axes.transform(scale.transform(c.assays["rna"])) for c in (synthetic, train, test)
    )
    order = rng.permutation(len(others))
    known, others = others[order[: len(order) // 2]], others[order[len(order) // 2 :]]
    truth = np.repeat([1, 0], [len(members), len(others)])
    asked = np.concatenate([members, others])
    nearest = np.array([-np.square(own - row).sum(1).min() for row in asked])
    ratio = np.log(gaussian_kde(own[:, :8].T)(asked[:, :8].T) + 1e-300)
    ratio -= np.log(gaussian_kde(known[:, :8].T)(asked[:, :8].T) + 1e-300)
    both = [roc_auc_score(truth, nearest), roc_auc_score(truth, ratio)]
    return {
        "  membership, nearest": both[0],
        "  membership, ratio": both[1],
        "membership, worst AUC": max(both),
    }


def mean(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """Over seeds, by name."""
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
