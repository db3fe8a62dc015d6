"""Distances between the features of two groups: Kolmogorov-Smirnov and Frechet, with real baselines and intervals."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...core.types import BoolArray, FloatArray
from ..sample import Sample, one_each, resample
from ..score import AS_REAL, CLOSE, DIFFERENT, MEASURED, Score, around

if TYPE_CHECKING:
    from pandas import DataFrame

PROBABILITIES = np.linspace(0.05, 0.95, 19)
CLIP = 8.0  # standard deviations; keeps one broken trace from deciding a Frechet distance
BASELINE_DRAWS, BOOTSTRAP = 40, 60
LEAST = 10  # rows of a group
MOST = 400  # synthetic rows that enter at a time
CLOSE_BY = {"ks": 0.10, "frechet": 0.25}  # how far above the real baseline still counts as close


@dataclass(frozen=True)
class Aggregate:
    """What is kept of a group of patients: statistics of its features, no row.

    quantiles (19, feature) at 5, 10, ... 95 %; mean, sd (feature,) of the features; shift (feature,) and
    covariance (feature, feature) are mean and covariance once they are standardised and clipped at 8.
    Features without spread are left out.
    """

    names: tuple[str, ...]
    quantiles: FloatArray
    mean: FloatArray
    sd: FloatArray
    shift: FloatArray
    covariance: FloatArray

    def of(self, features: "DataFrame") -> FloatArray:
        """The columns this aggregate knows, in its order."""
        return features[list(self.names)].to_numpy(dtype=np.float64)

    def only(self, keep: BoolArray) -> "Aggregate":
        """The features at the true places."""
        names = tuple(name for name, kept in zip(self.names, keep, strict=True) if kept)
        square = self.covariance[np.ix_(keep, keep)]
        mean, sd, shift = self.mean[keep], self.sd[keep], self.shift[keep]
        return Aggregate(names, self.quantiles[:, keep], mean, sd, shift, square)


def summarise(features: "DataFrame") -> Aggregate:
    """The Aggregate of a group."""
    return _summarise(tuple(features.columns), features.to_numpy(dtype=np.float64))[0]


def _summarise(names: tuple[str, ...], values: FloatArray) -> tuple[Aggregate, FloatArray]:
    """The Aggregate, and a (feature, any) root of its covariance C: root root' = C."""
    spread = values.std(0) > 1e-9
    values = values[:, spread]
    mean, sd = values.mean(0), values.std(0)
    z = np.clip((values - mean) / sd, -CLIP, CLIP)
    spread_of = scatter(z)
    quantiles = np.quantile(values, PROBABILITIES, axis=0)
    kept = tuple(name for name, has in zip(names, spread, strict=True) if has)
    real = Aggregate(kept, quantiles, mean, sd, z.mean(0), spread_of.T @ spread_of)
    return real, spread_of.T if len(z) < len(kept) else _root(real)


def ks(values: FloatArray, real: Aggregate) -> FloatArray:
    """(feature,) Kolmogorov-Smirnov distance, read at the 19 quantiles of the real group.

    At a quantile q of probability p the real distribution function jumps from at most p to at least p;
    the distance is how far that of `values` misses this, so that ties (whole numbers) cost nothing.
    """
    ordered = np.sort(values, axis=0)
    n = len(values)
    out = np.empty(values.shape[1])
    for j in range(values.shape[1]):
        upto = np.searchsorted(ordered[:, j], real.quantiles[:, j], side="right") / n
        below = np.searchsorted(ordered[:, j], real.quantiles[:, j], side="left") / n
        out[j] = max(0.0, float((PROBABILITIES - upto).max()), float((below - PROBABILITIES).max()))
    return out


def frechet(values: FloatArray, real: Aggregate) -> float:
    """Frechet distance of two Gaussians fitted to the standardised features, divided by their number.

    A shift of every feature by one standard deviation of the real group gives 1.
    """
    return _frechet(values, real, _root(real))


def _root(real: Aggregate) -> FloatArray:
    """Symmetric square root of the covariance."""
    spectrum, axes = np.linalg.eigh(np.atleast_2d(real.covariance))
    return np.asarray(axes * np.sqrt(np.maximum(spectrum, 0)) @ axes.T, dtype=np.float64)


def _frechet(values: FloatArray, real: Aggregate, root: FloatArray) -> float:
    z = np.clip((values - real.mean) / real.sd, -CLIP, CLIP)
    return gaussian_frechet(z.mean(0) - real.shift, scatter(z), root) / len(real.shift)


def scatter(rows: FloatArray) -> FloatArray:
    """(row, feature) S with S' S = the covariance of the rows."""
    return (rows - rows.mean(0)) / np.sqrt(max(1, len(rows) - 1))


def gaussian_frechet(shift: FloatArray, ours: FloatArray, root: FloatArray) -> float:
    """Frechet distance of two Gaussians: |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^1/2) (Dowson and Landau 1982).

    shift (feature,) m1 - m2; ours (any, feature) with ours' ours = C1; root (feature, any) with root root' = C2. The
    trace of (C1 C2)^1/2 is the nuclear norm of ours root.
    """
    from scipy.linalg import svdvals

    total = (
        np.square(shift).sum()
        + np.square(ours).sum()
        + np.square(root).sum()
        - 2 * svdvals(ours @ root).sum()
    )
    return max(0.0, float(total))


@dataclass(frozen=True)
class RealBaseline:
    """Distances of groups of `size` real patients from the real test group: mean, and 95 % range of one."""

    size: int
    ks: tuple[float, float, float]
    frechet: tuple[float, float, float]


def comparable(synthetic: int, train: int) -> int:
    """How many patients a side of a distance has: at most half of the training patients."""
    return min(synthetic, train // 2, MOST)


def real_baseline(train: Sample, real: Aggregate, size: int, seed: int) -> RealBaseline:
    """The RealBaseline at this size, from repeated draws of training patients.

    Draws of n of the same N patients vary less than groups of new patients: by (1 - f) in variance, with
    f = n / N, around a mean that itself varies with the N. So the range is widened to (1 + f) / (1 - f).
    """
    rng = np.random.default_rng(seed)
    root, values, patients = _root(real), real.of(train.features), train.patients
    draws = []
    for _ in range(BASELINE_DRAWS):
        some = values[one_each(patients, size, rng)]
        draws.append((float(ks(some, real).mean()), _frechet(some, real, root)))
    share = size / train.patient_count
    widen = float(np.sqrt((1 + share) / (1 - share)))
    found = [
        (float(np.mean(own)), *around(own, float(np.mean(own)), widen)) for own in zip(*draws, strict=True)
    ]
    return RealBaseline(size, *found)


def distances(
    synthetic: Sample, real: Aggregate, real_baseline: RealBaseline, test: Sample | None, seed: int
) -> tuple[list[Score], dict[str, float]]:
    """The two scores, and the KS distance of each feature.

    At most `real_baseline.size` synthetic rows enter at a time, so that value and real baseline suffer alike from small
    numbers. The interval resamples synthetic rows and, where their rows are given, test patients.
    """
    rng = np.random.default_rng(seed)
    values, patients, root = real.of(synthetic.features), synthetic.patients, _root(real)
    size = min(real_baseline.size, synthetic.patient_count)
    repeats = 1 if size == len(synthetic) else 5
    some = [values[one_each(patients, size, rng)] for _ in range(repeats)]
    by_feature = np.mean([ks(part, real) for part in some], axis=0)
    point = (float(by_feature.mean()), float(np.mean([_frechet(part, real, root) for part in some])))
    held_out = None if test is None else (real.of(test.features), test.patients)
    draws = []
    for _ in range(BOOTSTRAP):
        against, its_root = real, root
        if held_out is not None:
            against, its_root = _summarise(real.names, held_out[0][resample(held_out[1], rng)])
        one = values[rng.choice(one_each(patients, size, rng), size)]
        one = one[:, [name in against.names for name in real.names]]
        draws.append((float(ks(one, against).mean()), _frechet(one, against, its_root)))
    scores = [
        _score("ks", point[0], [d[0] for d in draws], real_baseline.ks, size),
        _score("frechet", point[1], [d[1] for d in draws], real_baseline.frechet, size),
    ]
    return scores, dict(zip(real.names, by_feature.tolist(), strict=True))


TITLES = {
    "ks": "Distance of single measurements (Kolmogorov-Smirnov, mean over features)",
    "frechet": "Distance of all measurements together (Frechet, per standardised feature)",
}


def _score(
    metric: str, value: float, draws: list[float], real_baseline: tuple[float, float, float], size: int
) -> Score:
    middle, low, high = real_baseline
    if value <= high:
        verdict, words = AS_REAL, "as near as another group of real patients would be"
    elif value <= high + CLOSE_BY[metric]:
        verdict, words = CLOSE, "a little farther than another group of real patients would be"
    else:
        verdict, words = DIFFERENT, "farther than another group of real patients would be"
    what = "Taken one by one" if metric == "ks" else "Taken together"
    scale = (
        "0 is equal, 1 is apart"
        if metric == "ks"
        else "0 is equal, 1 is like a shift by one standard deviation"
    )
    return Score(
        metric=metric,
        title=TITLES[metric],
        question="distance",
        status=MEASURED,
        direction="lower is better",
        value=value,
        interval=around(draws, value),
        real_baseline=middle,
        real_baseline_interval=(low, high),
        verdict=verdict,
        scale=(0.0, max(0.5 if metric == "ks" else 1.0, value * 1.15)),
        sentence=f"{what}, the measurements of {size} synthetic records lie {value:.2f} from the held-out "
        f"real ones ({scale}), {words} ({middle:.2f}).",
        details={"rows": size},
    )
