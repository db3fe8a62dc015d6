"""Metrics on whole records: time to an event, series, image features, similarity of images, genes."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ...core.types import Float32Array, FloatArray, IntArray
from ..score import IMAGES, OMICS, TIME_SERIES
from .distances import gaussian_frechet, scatter
from .metric import EMBEDDING, EVENT, GENES, PIXELS, SERIES, Group, Metric
from .tsgm_adapter import Stays, ask, missing

Judge = Callable[[Group], float]
LEAST_EVENTS = 5
LEAST_CLASS = 5  # rows, to call genes differential
TOP, FALSE_DISCOVERY = 200, 0.05  # differential genes looked for, and the share of false ones allowed
MODULES, LEAST_MODULE = 12, 20  # of genes
MOST_GENES = 2000  # that vary most in real patients: correlations of all pairs of 12,625 take 640 MB a table
PAIRS = 400  # of pictures held against each other
SCALES = (0.2, 0.4, 0.4)  # weights of the scales of a picture, the finest first
STAYS = 200  # a side, held against each other
TINY = 1e-6
NEIGHBOURS = 5  # of an image, that its support reaches to


# -- time to an event


def survival(real: Group) -> Judge:
    """Largest gap between two Kaplan-Meier curves, up to the time at which a tenth of the real ones are still watched.

    Columns: time, and 1 where it ended in the event, 0 where nobody watched any longer (Kaplan and Meier 1958).
    """
    theirs = _known(real.values)
    end = float(np.quantile(theirs[:, 0], 0.9)) if len(theirs) else 0.0
    times = np.unique(theirs[theirs[:, 0] <= end, 0])

    def judge(judged: Group) -> float:
        ours = _known(judged.values)
        if min(own[:, 1].sum() for own in (ours, theirs)) < LEAST_EVENTS:
            return float("nan")
        at = np.union1d(times, ours[ours[:, 0] <= end, 0])
        return float(np.abs(kaplan_meier(ours, at) - kaplan_meier(theirs, at)).max())

    return judge


def _known(values: FloatArray) -> FloatArray:
    return values[np.isfinite(values).all(1)]


def kaplan_meier(rows: FloatArray, at: FloatArray) -> FloatArray:
    """Share without the event after each of the times `at`; rows are (time, event).

    The bits of scipy.stats.ecdf, which takes seven times as long for the rows of a bootstrap.
    """
    times, place, counts = np.unique(rows[:, 0], return_inverse=True, return_counts=True)
    ended = np.bincount(place, rows[:, 1] == 1, minlength=len(times))
    gone = np.cumsum(counts)
    watched = len(rows) - gone + counts
    whole = ended.sum() == len(rows)  # nobody was lost: the share of those whose time is longer
    share = 1 - gone / len(rows) if whole else np.cumprod((watched - ended) / watched)
    return np.concatenate([[1.0], share])[np.searchsorted(times, at, side="right")]


# -- series


def series(metric: str) -> Callable[[Group], Judge]:
    """One of tsgm's metrics, see tsgm_adapter, on at most 200 rows a side; columns are `channel@step`, step by step."""

    def against(real: Group) -> Judge:
        theirs = _series(real)
        return lambda judged: ask(metric, theirs, _series(judged))

    return against


def _series(group: Group) -> Stays:
    steps = {name.rpartition("@")[2] for name in group.names}
    rows = group.values[:STAYS].astype(np.float32)
    return rows.reshape(len(rows), len(steps), -1)


# -- images


@dataclass(frozen=True)
class Prdc:
    """Shares in [0, 1], density may pass 1; each is best where real against real is.

    precision: synthetic rows within the support of real ones; recall: real rows within that of synthetic
    ones (Kynkaanniemi et al. 2019). density, coverage: the same, robust to outliers (Naeem et al. 2020).
    """

    precision: float
    recall: float
    density: float
    coverage: float


def frechet(real: FloatArray, synthetic: FloatArray) -> float:
    """The FID of Heusel et al. 2017 in these features."""
    return gaussian_frechet(real.mean(0) - synthetic.mean(0), scatter(real), scatter(synthetic).T)


def kernel_distance(real: FloatArray, synthetic: FloatArray) -> float:
    """Squared maximum mean discrepancy, unbiased, cubic kernel: the KID of Binkowski et al. 2018."""
    from sklearn.metrics.pairwise import polynomial_kernel as kernel

    def within(a: FloatArray) -> float:
        k = kernel(a, a)
        return float((k.sum() - np.trace(k)) / (len(a) * (len(a) - 1)))

    return within(real) + within(synthetic) - 2 * float(kernel(real, synthetic).mean())


def prdc(real: FloatArray, synthetic: FloatArray, neighbours: int = NEIGHBOURS) -> Prdc:
    """Shares of each group that lie in the other's balls to the k-th neighbour."""
    from scipy.spatial.distance import cdist

    between = cdist(synthetic, real)
    of_real = np.partition(cdist(real, real), neighbours, axis=1)[:, neighbours]
    of_synthetic = np.partition(cdist(synthetic, synthetic), neighbours, axis=1)[:, neighbours]
    inside = between <= of_real[None]
    return Prdc(
        float(inside.any(axis=1).mean()),
        float((between <= of_synthetic[:, None]).any(axis=0).mean()),
        float(inside.sum(axis=1).mean() / neighbours),
        float((between.min(axis=0) <= of_real).mean()),
    )


def fid(real: Group) -> Judge:
    """Frechet distance in the features of the panel's net (Heusel et al. 2017)."""
    return lambda judged: frechet(real.values, judged.values)


def kid(real: Group) -> Judge:
    """Kernel distance in the same features, at least 0 (Binkowski et al. 2018)."""
    return lambda judged: max(0.0, kernel_distance(real.values, judged.values))


def prdc_figure(name: str) -> Callable[[Group], Judge]:
    """One of precision, recall, density, coverage: see Prdc."""

    def against(real: Group) -> Judge:
        def judge(judged: Group) -> float:
            if min(len(real.values), len(judged.values)) <= NEIGHBOURS:
                return float("nan")
            return float(getattr(prdc(real.values, judged.values), name))

        return judge

    return against


def ms_ssim_difference(real: Group) -> Judge:
    """How far the mean MS-SSIM of two judged pictures is from that of two real ones; columns are square pixels."""
    theirs = ms_ssim(_square(real.values), PAIRS, 0)
    return lambda judged: abs(ms_ssim(_square(judged.values), PAIRS, 0) - theirs)


def _square(values: FloatArray) -> Float32Array:
    side = round(values.shape[1] ** 0.5)
    return values.reshape(-1, side, side).astype(np.float32)


def ms_ssim(images: Float32Array, pairs: int, seed: int) -> float:
    """Mean multi-scale structural similarity between random pairs of (image, 64, 64) pictures in [0, 1].

    Three scales, since five need 176 pixels (Wang et al. 2003). The computation of each scale is MONAI's; the pairs
    are its channels, which the convolution keeps apart, and which take it an eighth of the time of a batch.
    """
    import torch
    from monai.metrics.regression import compute_ssim_and_cs

    random = np.random.default_rng(seed)
    a = random.integers(len(images), size=pairs)
    b = (a + random.integers(1, len(images), size=pairs)) % len(images)
    one, two = (torch.from_numpy(images[rows])[None] for rows in (a, b))
    values = torch.ones(pairs)
    for place, weight in enumerate(SCALES):
        both, contrast = compute_ssim_and_cs(one, two, 2, kernel_size=(7, 7), kernel_sigma=(1.0, 1.0))
        seen = both if place == len(SCALES) - 1 else contrast
        values = values * torch.relu(seen[0].flatten(1).mean(1)) ** weight
        one, two = (torch.nn.functional.avg_pool2d(side, 2) for side in (one, two))
    return float(values.mean())


# -- genes


def gene_correlations(real: Group) -> Judge:
    """Pearson R, at least 0, between the gene-gene correlations of the real and of the judged patients.

    Of the 2,000 genes that vary most in the real patients.
    """
    most = _most_varying(real.values)
    upper = np.triu_indices(len(most), 1)
    theirs = pearson(real.values[:, most])[upper]

    def judge(judged: Group) -> float:
        return max(0.0, float(np.corrcoef(theirs, pearson(judged.values[:, most])[upper])[0, 1]))

    return judge


def _most_varying(values: FloatArray) -> IntArray:
    """Places of at most 2,000 genes, those of the largest standard deviation, in the order of the table."""
    return np.sort(np.argsort(-values.std(0), kind="stable")[:MOST_GENES])


def pearson(values: FloatArray) -> Float32Array:
    """(gene, gene) correlations; 0 for a gene that does not vary."""
    z = ((values - values.mean(0)) / np.maximum(values.std(0), TINY)).astype(np.float32)
    return np.asarray(z.T @ z / len(z))


def differential(real: Group) -> Judge:
    """Share of the 200 most differential real genes called, with the right sign, in the judged patients.

    Welch's test between the two classes, 5 % false discoveries (Benjamini and Hochberg 1995).
    """
    from scipy.stats import false_discovery_control

    sign, p = _welch(real)
    top = np.argsort(p)[:TOP]

    def judge(judged: Group) -> float:
        if min(_in_class(group, k) for group in (judged, real) for k in (0, 1)) < LEAST_CLASS:
            return float("nan")
        own_sign, own_p = _welch(judged)
        return float(((false_discovery_control(own_p) <= FALSE_DISCOVERY) & (sign == own_sign))[top].mean())

    return judge


def _in_class(group: Group, k: int) -> int:
    return 0 if group.classes is None else int((group.classes == k).sum())


def _welch(group: Group) -> tuple[FloatArray, FloatArray]:
    """Sign and p a gene."""
    from scipy.stats import ttest_ind_from_stats

    if min(_in_class(group, 0), _in_class(group, 1)) < LEAST_CLASS:
        return np.zeros(group.values.shape[1]), np.ones(group.values.shape[1])
    rows = [group.values[group.classes == k] for k in (0, 1)]
    # of moments, since ttest_ind() warns of genes that are constant in a class
    moments = [m for of in rows for m in (of.mean(0), of.std(0, ddof=1), len(of))]
    with np.errstate(all="ignore"):
        result = ttest_ind_from_stats(*moments, equal_var=False)
    return np.sign(np.nan_to_num(result.statistic)), np.nan_to_num(result.pvalue, nan=1.0)


def modules(real: Group) -> Judge:
    """Share of the real modules' density, beyond that of all genes, that the judged patients keep.

    Modules: average-linkage clusters of 1 - correlation, as WGCNA cuts them, of 20 genes or more; density is the
    mean correlation within (Langfelder et al. 2011). Of the 2,000 genes that vary most in the real patients.
    """
    from sklearn.cluster import AgglomerativeClustering

    most = _most_varying(real.values)
    theirs = pearson(real.values[:, most])
    count = min(MODULES, len(theirs))
    cut = AgglomerativeClustering(count, metric="precomputed", linkage="average")
    label = cut.fit_predict(1 - np.clip(theirs, -1, 1))
    places = [own for k in range(count) if len(own := np.flatnonzero(label == k)) >= LEAST_MODULE]
    wanted = [theirs[np.ix_(own, own)].mean() - theirs.mean() for own in places]

    def judge(judged: Group) -> float:
        ours = pearson(judged.values[:, most])
        kept = [
            (ours[np.ix_(own, own)].mean() - ours.mean()) / real_density
            for own, real_density in zip(places, wanted, strict=True)
            if real_density > TINY
        ]
        return float(np.mean(np.clip(kept, 0, 1))) if kept else float("nan")

    return judge


KAPLAN_MEIER_GAP = Metric(
    "kaplan_meier_gap", "Time to event (largest gap of Kaplan-Meier curves)", TIME_SERIES, survival,
    "The shares of patients still without the event differ by at most {}", table=EVENT,
    lacks="fewer than 5 events are known on a side",
)  # fmt: skip
MMD = Metric(
    "mmd", "Distance of whole series (MMD, by tsgm)", TIME_SERIES, series("mmd"),
    "The maximum mean discrepancy of whole series is {} (0 is equal)", table=SERIES, top=None, close=0.5, heavy=True,
    lacks="the real series are all the same", missing=missing,
)  # fmt: skip
SERIES_RANGE = Metric(
    "series_range", "Distance of mean, least and most (by tsgm, in standard deviations)", TIME_SERIES,
    series("distance"), "Mean, least and most of all series are off by {} standard deviations", table=SERIES,
    top=None, close=0.5, heavy=True, missing=missing,
)  # fmt: skip
FID = Metric(
    "fid", "Frechet distance of the image features (FID)", IMAGES, fid, "The FID is {} (0 is equal)", table=EMBEDDING,
    top=None, close=0.5,
)  # fmt: skip
KID = Metric(
    "kid", "Kernel distance of the image features (KID)", IMAGES, kid, "The KID is {} (0 is equal)", table=EMBEDDING,
    top=None, close=0.5,
)  # fmt: skip
PRECISION, RECALL, DENSITY, COVERAGE = (
    Metric(
        name, f"{name.capitalize()} of the image features", IMAGES, prdc_figure(name), says, EMBEDDING, True
    )
    for name, says in (
        ("precision", "{} of the synthetic images lie where real ones do"),
        ("recall", "{} of the real images lie where synthetic ones do"),
        ("density", "Synthetic images lie where real ones are dense, by {} (1 is as real)"),
        ("coverage", "{} of the real images have a synthetic one near"),
    )
)
MS_SSIM = Metric(
    "ms_ssim", "Variety of the images (MS-SSIM of pairs, difference from real)", IMAGES, ms_ssim_difference,
    "How alike two images are is {} from what it is for two real ones", table=PIXELS, top=0.5, heavy=True,
)  # fmt: skip
GENE_CORRELATION = Metric(
    "gene_correlation", "Gene-gene correlations (agreement, Pearson R)", OMICS, gene_correlations,
    "The correlations of all pairs of genes agree by {} (1 is equal)", table=GENES, higher=True, heavy=True,
)  # fmt: skip
DIFFERENTIAL_GENES = Metric(
    "differential_genes", "Differential genes found again (share of 200)", OMICS, differential,
    "{} of the 200 most differential real genes are found in the cohort", table=GENES, higher=True,
    lacks="there are fewer than 5 patients of a class on a side",
)  # fmt: skip
GENE_MODULES = Metric(
    "gene_modules", "Gene modules kept (density beyond that of all genes)", OMICS, modules,
    "The real gene modules keep {} of their density", table=GENES, higher=True, heavy=True,
    lacks="no module of 20 genes holds together in the real patients",
)  # fmt: skip
