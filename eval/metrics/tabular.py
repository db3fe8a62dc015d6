"""Figures on tables of numbers: single columns, pairs of columns, tails and rare categories."""

from collections.abc import Callable, Sequence

import numpy as np

from ...core.profile import PatientProfile
from ...core.types import BoolArray, FloatArray
from ..score import DEPENDENCE, MARGINALS, RARE, TIME_SERIES
from .metric import CATEGORIES, NUMBERS, Group, Metric

GRID = (np.arange(100) + 0.5) / 100
BINS = 4  # a column, for mutual information
TENTHS = 10
TAIL = 0.05  # share of real values in a tail
RARE_BELOW = 0.10  # a category that fewer real patients have is rare
LEAST_RARE = 2  # real patients, or it may be chance
KNOWN = 10  # values of a column, or it is left out
LEAST_COLUMNS = 2

Judge = Callable[[Group], float]


def wasserstein(real: Group) -> Judge:
    """Wasserstein-1 distance of each column over the real one's standard deviation, mean over columns.

    The area between the quantile functions, read at 100 places; NaN values are left out.
    """
    theirs, spread = _quantiles(real.values), _spread(real.values)
    useful = np.isfinite(theirs).all(0) & (spread > 1e-9)

    def judge(judged: Group) -> float:
        ours = _quantiles(judged.values)
        kept = useful & np.isfinite(ours).all(0)
        gaps = np.abs(ours[:, kept] - theirs[:, kept]).mean(0) / spread[kept]
        return float(gaps.mean()) if len(gaps) else float("nan")

    return judge


def _quantiles(values: FloatArray) -> FloatArray:
    """(GRID, column) of the known values of each column; NaN where there are fewer than 10.

    The bits of numpy.quantile of each column, which takes seven times as long where values are unknown.
    """
    known = np.isfinite(values)
    if known.all():
        return np.asarray(np.quantile(values, GRID, axis=0))
    counts = known.sum(0)
    enough = counts >= KNOWN
    out = np.full((len(GRID), values.shape[1]), np.nan)
    if enough.any():
        ranked = np.sort(np.where(known, values, np.nan)[:, enough], axis=0)  # unknown ones come last
        place = GRID[:, None] * (counts[enough] - 1)
        before = np.floor(place).astype(np.intp)
        low, high = (np.take_along_axis(ranked, at, axis=0) for at in (before, before + 1))
        part, gap = place - before, high - low
        out[:, enough] = np.where(part >= 0.5, high - gap * (1 - part), low + gap * part)
    return out


def _spread(values: FloatArray) -> FloatArray:
    """(column,) standard deviation of the known values, 0 where there are fewer than 10."""
    return np.array([own.std() if len(own := _seen(c)) >= KNOWN else 0.0 for c in values.T])


def chi_squared(real: Group) -> Judge:
    """Cramer's V of the two-sample chi-squared test on the tenths of the real values, mean over columns.

    V = sqrt(chi2 / n) of the table (side, tenth) with n values in all (Cramer 1946); ties share a tenth.
    """
    edges = _tenths(real.values)
    counts = [None if e is None else _counts(c, e) for c, e in zip(real.values.T, edges, strict=True)]

    def judge(judged: Group) -> float:
        found = []
        for column, edge, theirs in zip(judged.values.T, edges, counts, strict=True):
            if edge is not None and theirs is not None and (ours := _counts(column, edge)).sum() >= KNOWN:
                found.append(cramers_v(np.stack([ours, theirs])))
        return float(np.mean(found)) if found else float("nan")

    return judge


def _tenths(values: FloatArray) -> list[FloatArray | None]:
    """The different tenths of the known values of each column; None where there are fewer than 10."""
    cuts = np.arange(1, TENTHS) / TENTHS
    if len(values) >= KNOWN and np.isfinite(values).all():  # thousands of genes at once
        return [np.unique(own) for own in np.quantile(values, cuts, axis=0).T]
    return [np.unique(np.quantile(own, cuts)) if len(own := _seen(c)) >= KNOWN else None for c in values.T]


def cramers_v(table: FloatArray) -> float:
    """sqrt(chi2 / n) of a (2, category) table of counts; categories that nobody has are left out."""
    table = table[:, table.sum(0) > 0]
    expected = table.sum(1, keepdims=True) * table.sum(0) / table.sum()
    return float(np.sqrt((np.square(table - expected) / expected).sum() / table.sum()))


def _counts(column: FloatArray, edges: FloatArray) -> FloatArray:
    """How many values lie between the edges; a value on an edge lies above it."""
    return np.bincount(np.searchsorted(edges, _seen(column), side="right"), minlength=len(edges) + 1).astype(
        float
    )


def _seen(column: FloatArray) -> FloatArray:
    return column[np.isfinite(column)]


def correlations(real: Group) -> Judge:
    """Mean absolute difference of the Spearman correlations of all pairs of columns that vary on both sides."""
    theirs, moves = _spearman(real.values)

    def judge(judged: Group) -> float:
        ours, own = _spearman(judged.values)
        return _pairs(np.abs(ours - theirs), moves & own)

    return judge


def _spearman(values: FloatArray) -> tuple[FloatArray, BoolArray]:
    from scipy.stats import rankdata

    ranks = rankdata(values, axis=0)
    ranks = ranks - ranks.mean(0)
    norm = np.sqrt(np.square(ranks).sum(0))
    ranks /= np.maximum(norm, 1e-12)
    return ranks.T @ ranks, norm > 1e-9


def _pairs(matrix: FloatArray, keep: BoolArray) -> float:
    """Mean over the pairs of kept columns."""
    if keep.sum() < LEAST_COLUMNS:
        return float("nan")
    some = matrix[np.ix_(keep, keep)]
    return float(some[np.triu_indices(len(some), 1)].mean())


def mutual_information(real: Group) -> Judge:
    """Mean absolute difference, over pairs of columns, of their mutual information in bits.

    Columns are cut at the real quartiles. Sees dependence of any shape, as correlation does not.
    """
    edges = np.quantile(real.values, np.arange(1, BINS) / BINS, axis=0)
    theirs = information(real.values, edges)
    moves = np.ptp(real.values, axis=0) > 1e-9

    def judge(judged: Group) -> float:
        return _pairs(np.abs(information(judged.values, edges) - theirs), moves)

    return judge


def information(values: FloatArray, edges: FloatArray) -> FloatArray:
    """(column, column) plug-in mutual information in bits of columns cut at edges (BINS - 1, column)."""
    n, width = values.shape
    places = (values[:, None, :] >= edges[None]).sum(1)  # (row, column)
    ones = (places[:, :, None] == np.arange(BINS)).reshape(n, width * BINS).astype(np.float32)
    joint = (ones.T @ ones / n).astype(np.float64)
    single = np.diag(joint)
    product = single[:, None] * single
    terms = np.where(joint > 0, joint * np.log2(np.maximum(joint, 1e-12) / np.maximum(product, 1e-12)), 0.0)
    return np.asarray(terms.reshape(width, BINS, width, BINS).sum((1, 3)), dtype=np.float64)


def tails(real: Group) -> Judge:
    """How much of the real 5 % tails the judged values reach, mean over columns and both ends, at most 1.

    1: as many values lie beyond the real 5 % and 95 % quantiles as of real ones; 0: none.
    """
    low, high = np.quantile(real.values, [TAIL, 1 - TAIL], axis=0)
    shares = [(real.values < low).mean(0), (real.values > high).mean(0)]
    # with ties (whole numbers) next to nothing may lie beyond a quantile
    kept = [share >= TAIL / 2 for share in shares]

    def judge(judged: Group) -> float:
        ours = [(judged.values < low).mean(0), (judged.values > high).mean(0)]
        found = [np.minimum(1, o[k] / s[k]) for o, s, k in zip(ours, shares, kept, strict=True)]
        every = np.concatenate(found)
        return float(every.mean()) if len(every) else float("nan")

    return judge


def rare(real: Group) -> Judge:
    """Share of the rare categories of real patients that the judged patients have at least once.

    Columns are categories, 1 has it, 0 not, NaN unknown. Rare: less than a tenth of the real patients of whom it
    is known, and at least two of them. Categories unknown on the judged side are left out.
    """
    known = np.isfinite(real.values)
    counts = np.nansum(real.values, axis=0)
    share = counts / np.maximum(known.sum(0), 1)
    wanted = (counts >= LEAST_RARE) & (share < RARE_BELOW)

    def judge(judged: Group) -> float:
        asked = wanted & np.isfinite(judged.values).any(0)
        if not asked.any():
            return float("nan")
        return float((np.nansum(judged.values[:, asked], axis=0) > 0).mean())

    return judge


def categories(profiles: Sequence[PatientProfile], names: Sequence[str]) -> FloatArray:
    """(patient, name) 1, 0 or NaN (unknown) of the categories that `category_names` gives."""

    def stated(profile: PatientProfile, name: str) -> float:
        field, _, choice = name.partition("=")
        if not choice:
            return float(profile.conditions.get(field, np.nan))
        value = profile.sex if field == "sex" else profile.traits.get(field)
        return np.nan if value is None else float(value == choice)

    return np.array([[stated(p, name) for name in names] for p in profiles]).reshape(
        len(profiles), len(names)
    )


def category_names(profiles: Sequence[PatientProfile]) -> list[str]:
    """Conditions by code, and `field=choice` of sex and traits, of these patients."""
    names = {code for p in profiles for code in p.conditions}
    names |= {f"{field}={choice}" for p in profiles for field, choice in p.traits.items()}
    names |= {f"sex={p.sex}" for p in profiles if p.sex is not None}
    return sorted(names)


_SHIFT = "{} standard deviations lie between the synthetic and the real distribution, mean over measurements"
WASSERSTEIN = Metric(
    "wasserstein", "Distance of single measurements (Wasserstein, in standard deviations)", MARGINALS, wasserstein,
    _SHIFT, top=0.5,
)  # fmt: skip
WASSERSTEIN_OVER_TIME = Metric(
    "wasserstein_over_time", "Over time (Wasserstein, in standard deviations)", TIME_SERIES, wasserstein, _SHIFT,
    table=NUMBERS, top=0.5,
)  # fmt: skip
CRAMERS_V = Metric(
    "cramers_v", "Difference of counts in tenths (chi-squared, as Cramer's V)", MARGINALS, chi_squared,
    "Counted in tenths of the real values, the two sides differ by {} (0 is equal, 1 is apart)", top=0.5,
)  # fmt: skip
CORRELATION = Metric(
    "correlation", "Correlation of pairs of measurements (mean difference, Spearman)", DEPENDENCE, correlations,
    "Correlations of two measurements are off by {} on average", top=0.5,
)  # fmt: skip
MUTUAL_INFORMATION = Metric(
    "mutual_information", "Mutual information of pairs of measurements (mean difference, bits)", DEPENDENCE,
    mutual_information, "What one measurement tells of another is off by {} bits on average", top=0.25,
)  # fmt: skip
TAIL_COVERAGE = Metric(
    "tail_coverage", "Extreme values that real patients show (share covered)", RARE, tails,
    "The cohort reaches {} of the real extremes (beyond 5 % on either side)", higher=True,
)  # fmt: skip
RARE_CATEGORY_COVERAGE = Metric(
    "rare_category_coverage", "Rare categories that real patients show (share covered)", RARE, rare,
    "The cohort has {} of the categories that less than a tenth of the real patients have", table=CATEGORIES,
    higher=True, lacks="no rare category of the real patients is known of the synthetic ones",
)  # fmt: skip
