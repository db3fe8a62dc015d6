"""Private moments: all that a private omics model takes from patients' samples, in four Gaussian mechanisms.

Each is one sum over patients of a clipped vector, plus noise: feature means; feature spreads and shares not
detected; second moments of class and scores; products of every feature with the scores. The scores of breast cancers
are those of public gene modules; the scores of other samples are random projections, their class and covariates.
All else is post-processing: what the releases say of a feature is pooled with its public group (gene_groups.py). The
second moments are those of Dwork et al. 2014 (Analyze Gauss).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...core.condition import field_of
from ...core.dp.budget import Budget, noise_for
from ...core.types import BoolArray, FloatArray
from .modules import MEMBER, members
from .pooling import by_groups, pooled, shrunk_together
from .scales import Public
from .tumours import Layout, Tumours

# What is released, and each part's share of the budget, fixed beforehand. The products hold most numbers, and a
# large budget goes to them; under a small one groups of features still rise above the noise.
RELEASES = (
    "feature means",
    "feature spreads and shares not detected",
    "second moments of class and scores",
    "products of features and scores",
)
DETAILED = (0.12, 0.03, 0.15, 0.70)
COARSE = (0.18, 0.02, 0.25, 0.55)
PROJECTED = (0.10, 0.03, 0.40, 0.47)  # of data without public modules, whose scores are many
SURVIVAL = "deaths and follow-up by age, stage and subtype"  # a fifth release, of data that have survival
SURVIVAL_SHARE = 0.05  # relative to the others' 1
ENOUGH = 0.004  # noise on a mean over patients of numbers up to 1, below which small modules are distinct
MOST_NOISE = 0.03  # the same, above which even the classes are hidden
COUNT_WEIGHT = 0.15  # of the count of patients with an assay, relative to all its features
COVARIATE_WEIGHT = 0.5  # of age, stage, ... relative to the subtype
MEAN_WEIGHT = 0.25  # of the second release of a feature's mean, relative to its products
USUAL_ZEROS = 0.06  # share of features not detected
# Scores are cut at length 1. Where noise is large a gain pays, and patients far from the rest are cut for it.
SCORE_GAIN = {True: 1.0, False: 1.6}  # by detail
EMPHASIS = 0.75  # power of a factor's variance: 0.5 leaves the scores as they are, 1 sharpens them
FACTOR_GAIN = {True: 1.5, False: 2.0}  # of the factors in the products, which are cut there, too; by detail
PROJECTED_GAIN = 1.3  # the same, of data without public modules
FACTORS = {True: 9, False: 2}  # that the products show, by detail: two axes hold most of the correlations
REACH = {True: 2.0, False: 3.0}  # spreads beyond which a value counts as no more, by detail
LEAST_EMPHASIS = 0.05  # factors with less are left to what the literature expects
LEAST_SPREAD = 0.4  # of a feature, in usual spreads
LEAST_RESIDUE = 0.15  # variance that no module explains
# Of data without public modules: random projections of the features; weights of class and covariates in the second
# moments, relative to the projections; lengths that they have among the scores, which say what is emphasised.
PROJECTIONS = 64
HOT_PART, LINE_PART = 0.4, 0.4
CLASS_LENGTH, LINE_LENGTH = 0.6, 0.6
MEAN_DEVIATION = float(np.sqrt(2 / np.pi))  # E|z| of a normal


@dataclass(frozen=True)
class Factors:
    """The distribution of the factors, which are uncorrelated and of unit variance over all patients.

    shares (subtype,); centres (subtype, factor); line (factor, covariate); middle (covariate,);
    root (factor, factor), of their covariance within a subtype.
    """

    shares: FloatArray
    centres: FloatArray
    line: FloatArray
    middle: FloatArray
    root: FloatArray


@dataclass(frozen=True)
class Moments:
    """A feature is location + spread * (loadings @ factor + residue * noise), or not detected.

    location, spread, undetected (share of patients), residue: (feature,); loadings (feature, factor).
    """

    location: FloatArray
    spread: FloatArray
    undetected: FloatArray
    loadings: FloatArray
    residue: FloatArray
    factors: Factors


class Mechanisms:
    """Column sums with Gaussian noise; multipliers are noise over sensitivity, in the order of RELEASES."""

    def __init__(self, multipliers: Sequence[float], detail: bool, rng: np.random.Generator) -> None:
        self.multipliers, self.detail, self.rng = list(multipliers), detail, rng

    def sum(self, rows: FloatArray, norm: float, which: int) -> tuple[FloatArray, float]:
        """Noisy sums of the rows, each cut to that L2 norm, and the noise's standard deviation."""
        deviation = norm * self.multipliers[which]
        total = clipped(rows, norm).sum(0)
        return total + deviation * self.rng.standard_normal(total.shape), deviation


def noise_of(
    budget: Budget, patients: int, survival: bool = False, modules: bool = True
) -> tuple[bool, list[float]]:
    """Whether small modules are distinct under the budget, and the noise multiplier of each release."""
    extra = (SURVIVAL_SHARE,) * survival
    if not modules:
        return False, noise_for(budget, PROJECTED + extra)
    noise = noise_for(budget, DETAILED + extra)
    detail = noise[2] < ENOUGH * patients
    return detail, noise if detail else noise_for(budget, COARSE + extra)


def noise_limit(budget: Budget, survival: bool = False, modules: bool = True) -> float:
    """The noise multiplier that hides the classes of too few patients: see MOST_NOISE."""
    return noise_for(budget, (COARSE if modules else PROJECTED) + (SURVIVAL_SHARE,) * survival)[2]


def clipped(rows: FloatArray, norm: float) -> FloatArray:
    """(row, column) with each row shortened to at most that L2 norm."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows * np.minimum(1.0, norm / np.maximum(lengths, 1e-12)))


def learn(data: Tumours, noise: Mechanisms) -> Moments:
    """All four mechanisms, in order; nothing else touches a patient's numbers.

    A patient who lacks an assay adds nothing to its sums.
    """
    public = Public.of(data)
    present = ~np.isnan(data.values)
    values = np.nan_to_num(data.values.astype(np.float64))
    location, error, patients = feature_means(values, present, data.layout, public, noise)
    spread, undetected = feature_spreads(
        values, present, data.layout, public, location, error, patients, noise
    )
    reach = REACH[noise.detail]
    standard = np.where(present, np.clip((values - location) / spread, -reach, reach), 0.0)
    modules = modules_of(data, noise.detail)
    if modules:
        scores = module_scores(standard, data, noise.detail)
        gram, deviation = _moments_of_modules(data, scores, noise)
    else:
        scores, gram, deviation = _moments_of_projections(data, projections(standard, present), noise)
    centre, basis, emphasis, factors = _factors(data, gram, deviation, scores.shape[1])
    drawn = (scores - centre) @ basis
    prior = expected(data.layout, modules, basis)
    loadings, shift = _loadings(standard, drawn, emphasis, prior, data.layout, public, error, patients, noise)
    residue = np.sqrt(np.maximum(LEAST_RESIDUE, 1 - np.square(loadings).sum(1)))
    return Moments(location + spread * shift, spread, undetected, loadings, residue, factors)


def modules_of(data: Tumours, detail: bool) -> dict[str, dict[str, list[int]]]:
    """Places of the features of each public gene module in each assay; empty unless breast cancers have some."""
    if not data.breast:
        return {}
    found = {name: members(name, features, detail) for name, features in data.layout.symbols.items()}
    return found if any(found.values()) else {}


def module_scores(standard: FloatArray, data: Tumours, detail: bool) -> FloatArray:
    """(patient, score): means of each module's standardised features in the first assay that has modules.

    A patient's scores together are no longer than 1.
    """
    name, found = next((name, own) for name, own in modules_of(data, detail).items() if own)
    features = standard[:, data.layout.slices()[name]]
    scores = np.stack([features[:, genes].mean(1) for genes in found.values()], axis=1)
    return clipped(scores * (SCORE_GAIN[detail] / np.sqrt(len(found))), 1.0)


def projections(standard: FloatArray, present: BoolArray) -> FloatArray:
    """(patient, projection): random projections of all standardised features, together no longer than 1.

    They keep most of what the strongest components of the features say (Johnson and Lindenstrauss 1984; Halko et
    al. 2011), and no patient bears on their choice.
    """
    count = min(PROJECTIONS, standard.shape[1])
    axes = np.random.default_rng(0).standard_normal((standard.shape[1], count)) / np.sqrt(count)
    return clipped(standard @ axes / np.sqrt(np.maximum(present.sum(1, keepdims=True), 1)), 1.0)


def covariates(data: Tumours) -> FloatArray:
    """(patient, covariate) of the linear model, no longer than the square root of how many fields they are of."""
    fields = len({field_of(data.columns[i]) for i in data.linear})
    return clipped(data.code[:, data.linear].astype(np.float64), float(np.sqrt(fields)))


def expected(layout: Layout, modules: dict[str, dict[str, list[int]]], basis: FloatArray) -> FloatArray:
    """(feature, factor) loadings that the literature makes one expect: a module's features follow its score."""
    loadings = np.zeros((layout.features, basis.shape[1]))
    scores = list(next((own for own in modules.values() if own), {}))
    if scores:
        directions = np.linalg.inv(basis)  # (factor, score)
        directions /= np.linalg.norm(directions, axis=0)
        for name, place in layout.slices().items():
            for module, genes in modules[name].items():
                if module in scores:
                    rows = place.start + np.array(genes)
                    loadings[rows] = MEMBER[name] * directions[:, scores.index(module)]
    return loadings


def one_hot(data: Tumours) -> FloatArray:
    """(patient, class) with a last column for "unknown"."""
    return np.asarray(np.eye(len(data.classes) + 1)[data.subtype])


def feature_means(
    values: FloatArray, present: BoolArray, layout: Layout, public: Public, noise: Mechanisms
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Of each feature: location, its error in spreads, and how many patients have it."""
    usual = float(np.sqrt((public.weight**2 * (1 + public.between**2)).sum()))
    places = list(layout.slices().values())
    have = np.stack([present[:, place.start] for place in places], axis=1) * (COUNT_WEIGHT * usual)
    rows = np.where(present, (values - public.middle) / public.unit * public.weight, 0.0)
    norm = usual * float(np.sqrt(1 + len(places) * COUNT_WEIGHT**2))
    total, deviation = noise.sum(np.concatenate([rows, have], axis=1), norm, 0)
    patients = np.full(values.shape[1], float(len(values)))
    for place, count in zip(places, total[len(rows[0]) :] / (COUNT_WEIGHT * usual), strict=True):
        if count < len(values) - 3 * deviation / (COUNT_WEIGHT * usual):
            patients[place] = max(count, 0.1 * len(values))
    found, error = (x / patients / public.weight for x in (total[: len(rows[0])], deviation))
    for name, place in layout.slices().items():
        found[place] = pooled(found[place], error[place], public.groups.get(name))
    left = error * public.between / np.hypot(error, public.between)
    return public.middle + public.unit * found, left, patients


def feature_spreads(
    values: FloatArray, present: BoolArray, layout: Layout, public: Public,
    location: FloatArray, error: FloatArray, patients: FloatArray, noise: Mechanisms,
) -> tuple[FloatArray, FloatArray]:  # fmt: skip
    """Spread of each feature, from its mean absolute deviation, and its share of patients not detected."""
    away = np.minimum(np.abs(values - location) / public.unit, 3.0) - MEAN_DEVIATION
    rows = np.concatenate(
        [np.where(present, away * public.weight, 0.0), (values == 0) & present], axis=1, dtype=np.float64
    )
    norm = float(np.sqrt((public.weight**2 * (0.4 + 0.5 * error**2) + USUAL_ZEROS).sum()))
    total, deviation = noise.sum(rows, norm, 1)
    wide, share = np.split(total, 2) / patients
    wide, fault = wide / public.weight + MEAN_DEVIATION, deviation / patients
    for name, place in layout.slices().items():
        wide[place] = pooled(wide[place], fault[place] / public.weight[place], public.groups.get(name))
    spread = np.sqrt(np.maximum((wide / MEAN_DEVIATION) ** 2 - error**2, LEAST_SPREAD**2))
    return public.unit * spread, np.where(share > 3 * fault, np.clip(share, 0, 0.95), 0.0)


def _moments_of_modules(data: Tumours, scores: FloatArray, noise: Mechanisms) -> tuple[FloatArray, float]:
    """Second moments of class, covariates and module scores, and the deviation of their noise."""
    lines = covariates(data) * COVARIATE_WEIGHT
    rows = np.concatenate([one_hot(data), lines, scores], axis=1)
    fields = len({field_of(data.columns[i]) for i in data.linear})
    return second_moments(rows, 2 + COVARIATE_WEIGHT**2 * fields, noise)


def _moments_of_projections(
    data: Tumours, projected: FloatArray, noise: Mechanisms
) -> tuple[FloatArray, FloatArray, float]:
    """Scores, and the second moments of class, covariates and scores, with the deviation of the scores' noise.

    The scores are the projections, the classes and the covariates, in proportions that cost nothing, since each is
    released once.
    """
    hot, lines = one_hot(data), covariates(data)
    fields = max(1, len({field_of(data.columns[i]) for i in data.linear}))
    weights = np.repeat(
        [HOT_PART, LINE_PART / np.sqrt(fields), 1.0], [hot.shape[1], lines.shape[1], projected.shape[1]]
    )
    rows = np.concatenate([hot, lines, projected], axis=1) * weights
    noisy, deviation = second_moments(rows, 1 + HOT_PART**2 + LINE_PART**2, noise)
    several, width = len(data.classes), lines.shape[1]
    noisy = possible(noisy, several + 1)
    design, known = np.eye(len(weights)), several + 1 + width
    design[several + 1 : known] *= COVARIATE_WEIGHT
    # columns of the scores: projections, classes about their middle, covariates
    middle = np.eye(several + 1)[:, : several if several > 1 else 0]
    middle[:several] -= 1 / several
    scored = np.zeros((projected.shape[1] + middle.shape[1] + width, len(weights)))
    scored[: projected.shape[1], known:] = np.eye(projected.shape[1])
    scored[projected.shape[1] :][: middle.shape[1], : several + 1] = middle.T * CLASS_LENGTH
    scored[projected.shape[1] + middle.shape[1] :, several + 1 : known] = (
        np.eye(width) * LINE_LENGTH / np.sqrt(fields)
    )
    scores = np.concatenate([hot, lines, projected], axis=1) @ scored.T
    both = np.concatenate([design[:known], scored]) / weights
    return scores, both @ noisy @ both.T, deviation


def _factors(
    data: Tumours, noisy: FloatArray, deviation: float, width: int
) -> tuple[FloatArray, FloatArray, FloatArray, Factors]:
    """Centre of the scores, the basis (score, factor) that makes factors of them, their emphasis and distribution.

    noisy: second moments of class, covariates and the `width` scores. The emphasis (factor,) says how much of a
    patient's length each factor may take up in the products: the more, the more of the scores' variance it has.
    """
    gram = possible(noisy, len(data.classes) + 1)
    n, known = len(data.patients), len(gram) - width
    several = len(data.classes)
    design, classes = slice(0, known), slice(0, several + 1)
    centre = gram[classes, known:].sum(0) / n
    covariance = gram[known:, known:] / n - np.outer(centre, centre)
    values, vectors = np.linalg.eigh(covariance)
    values = np.maximum(values, deviation / n)
    basis = vectors / np.sqrt(values)
    emphasis = values**EMPHASIS
    sums = np.diag(gram)[classes] @ np.eye(several + 1, known)
    sums[several + 1 :] = gram[classes, several + 1 : known].sum(0)
    cross = (gram[design, known:] - np.outer(sums, centre)) @ basis
    ridge = max(1.0, deviation)
    line = np.linalg.solve(gram[design, design] + ridge * np.eye(known), cross)
    explained = line.T @ (2 * cross - gram[design, design] @ line) / n
    within, axes = np.linalg.eigh(np.eye(len(basis)) - (explained + explained.T) / 2)
    counts = np.maximum(np.diag(gram)[:several], 0.005 * n)
    middle = sums[several + 1 :] / n
    factors = Factors(
        shares=counts / counts.sum(),
        centres=line[:several] + middle @ line[several + 1 :],  # at the middle, not at code 0
        line=line[several + 1 :].T * COVARIATE_WEIGHT,
        middle=middle / COVARIATE_WEIGHT,
        root=axes * np.sqrt(np.clip(within, 0.05, 1.0)),
    )
    return centre, basis, emphasis / np.linalg.norm(emphasis), factors


def second_moments(rows: FloatArray, square: float, noise: Mechanisms) -> tuple[FloatArray, float]:
    """Noisy rows.T @ rows; `square` bounds the squared norm of a row."""
    upper = np.triu_indices(rows.shape[1])
    twice = np.where(upper[0] == upper[1], 1.0, np.sqrt(2))  # the vector is then as long as the matrix
    total, deviation = noise.sum(rows[:, upper[0]] * rows[:, upper[1]] * twice, square, 2)
    gram = np.zeros((rows.shape[1], rows.shape[1]))
    gram[upper] = total / twice
    return gram + np.triu(gram, 1).T, deviation


def possible(gram: FloatArray, classes: int) -> FloatArray:
    """The nearest matrix of second moments: nobody has two classes, and no direction a negative variance."""
    both = gram.copy()
    both[:classes, :classes] *= np.eye(classes)
    values, vectors = np.linalg.eigh(both)
    return np.asarray((vectors * np.maximum(values, 0)) @ vectors.T)


def _loadings(
    standard: FloatArray, factors: FloatArray, emphasis: FloatArray, prior: FloatArray, layout: Layout, public: Public,
    error: FloatArray, patients: FloatArray, noise: Mechanisms,
) -> tuple[FloatArray, FloatArray]:  # fmt: skip
    """Loadings (feature, factor), and a second look at each feature's mean, in spreads from the first."""
    norm = float(np.sqrt((public.paired**2 * (1 + 0.5 * error**2)).sum()))
    features = clipped(standard * public.paired, norm)
    shown = np.flatnonzero(emphasis > LEAST_EMPHASIS)
    gains = PROJECTED_GAIN * emphasis[shown]
    if public.groups:
        shown = np.argsort(-emphasis)[: FACTORS[noise.detail]]
        gains = FACTOR_GAIN[noise.detail] * emphasis[shown] / np.linalg.norm(emphasis[shown])
    weighted = np.concatenate(
        [np.full((len(factors), 1), MEAN_WEIGHT), clipped(factors[:, shown] * gains, 1.0)], axis=1
    )
    products = (features[:, :, None] * weighted[:, None, :]).reshape(len(features), -1)
    total, deviation = noise.sum(products, norm * float(np.sqrt(1 + MEAN_WEIGHT**2)), 3)
    found = total.reshape(len(patients), -1) / (patients * public.paired)[:, None]
    fault = deviation / patients / public.paired
    shift = found[:, 0] / MEAN_WEIGHT * error**2 / (error**2 + (fault / MEAN_WEIGHT) ** 2)
    scale = gains * _kept(gains)
    loadings = prior.copy()
    for name, place in layout.slices().items():
        rest, doubt = found[place, 1:] / scale - prior[place][:, shown], fault[place, None] / scale
        common = np.zeros_like(rest)
        if name in public.groups:
            both = zip(rest.T, doubt.T, strict=True)
            common = np.stack([by_groups(own, wrong, public.groups[name]) for own, wrong in both], axis=1)
        loadings[place.start : place.stop, shown] += common + shrunk_together(rest - common, doubt)
    return loadings, shift


def _kept(gains: FloatArray) -> FloatArray:
    """(factor,) of the covariance with a normal factor, what is left when gains * factors are cut at length 1."""
    normal = np.random.default_rng(0).standard_normal((20_000, len(gains)))
    return np.asarray((clipped(normal * gains, 1.0) * normal).mean(0) / gains)
