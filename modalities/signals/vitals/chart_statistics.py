"""Chart statistics: three releases of the patients' stays, charged or public, from which stays are simulated.

Each is one Gaussian mechanism on one random stay of each patient: histograms of stay features (stay_features.py) in
public bins; when in the stay each channel is charted, and which are charted together; and second moments of the
features' normal scores with the code of the profile, where the scores come from the histograms that were released.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.special import ndtr, ndtri

from ....core.cohort.disk import write_atomic
from ....core.condition import field_of
from ....core.config import read_json
from ....core.dp.budget import Budget, PrivacyPlan, noise_for
from ....core.dp.dp_statistics import clip, symmetric_noise
from ....core.errors import InputError
from ....core.fields import FIELDS
from ....core.types import BoolArray, Float32Array, FloatArray, IntArray
from .quantizer import Lattice
from .stay_features import KINDS, Features, feature_edges, features_of

SHARES = {"histograms": 0.35, "charting": 0.15, "moments": 0.5}  # of the budget, as squared signal
FILE = "chart_statistics.json"
SLOTS = 8  # of time, in which charting is counted
FARTHEST = 2.5  # normal score
ALONE = 2.0  # deviations of noise under which a bin is taken for empty
LEAST = 40.0  # deviations that a bin with all patients stands out of its noise
CONSTANT = 0.1  # standard deviation of a column of the code under which nothing is regressed on it
RIDGE = 0.05  # on slopes of scores in deviations
SPARSE = 30.0  # stays that two features need together
NUMBERS = tuple(field.name for field in FIELDS if field.kind == "number")


@dataclass(frozen=True)
class ChartStatistics:
    """What was released, noise in it.

    `histograms` (a list a feature) are counts by bin; `charted` (slot, channel) and `together` (channel, channel) are
    means over stays; `moments` are sums of products of (1, code, scores, whether known), divided by their bound.
    """

    stays: int
    noise: Mapping[str, float]
    histograms: list[list[float]]
    charted: list[list[float]]
    together: list[list[float]]
    moments: list[list[float]]

    def save(self, path: Path) -> None:
        """A resumed run reads it again; to draw it anew would cost twice."""
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, json.dumps(vars(self)).encode())

    @classmethod
    def load(cls, path: Path) -> "ChartStatistics":
        """Inverse of save()."""
        return cls(**read_json(path.read_text(encoding="utf-8")))

    def distribution(self, feature: int) -> FloatArray:
        """(bin + 1,) cumulative shares of a feature; what noise alone could be counts as nobody."""
        counts = np.array(self.histograms[feature])
        kept = np.where(
            counts > ALONE * self.noise["histograms"] * np.sqrt(len(self.histograms)), counts, 0.0
        )
        if not kept.any():  # next to nobody has it: a hump in the middle of the range
            x = np.linspace(-1, 1, len(kept) + 2)[1:-1]
            kept = 1 - x**2
        return np.concatenate([[0.0], np.cumsum(kept / kept.sum())])


def statistics_plans(budget: Budget, patients: int, channels: int) -> dict[str, PrivacyPlan]:
    """The mechanisms by name, each with its share of the budget. Raises InputError for too few patients."""
    budget.check(patients)
    noise = dict(zip(SHARES, noise_for(budget, list(SHARES.values())), strict=True))
    wanted = int(np.ceil(LEAST * noise["histograms"] * np.sqrt(len(KINDS) * channels + 1)))
    if patients < wanted:
        raise InputError(
            f"epsilon {budget.epsilon:.3g} at delta {budget.delta:g}: {patients} patients are too few for charts of "
            f"{channels} channels; {wanted} would do, or fewer channels, or a larger epsilon"
        )
    return {
        what: PrivacyPlan.once(patients, size, budget.delta, f"{what} of charts")
        for what, size in noise.items()
    }


def release(
    readings: Float32Array, length: IntArray, code: FloatArray, lattice: Lattice,
    noise: Mapping[str, float], random: np.random.Generator,
) -> ChartStatistics:  # fmt: skip
    """All three, of (stay, hour, channel) readings of one stay a patient and the (stay, column) code.

    Without noise nothing is clipped, and every stay may stand there.
    """
    stays, hours, channels = readings.shape
    features, edges = features_of(readings, length, lattice), feature_edges(lattice, hours)
    count = len(edges)
    place = placed(features, edges)
    histograms = []
    for k, limits in enumerate(edges):
        found = np.bincount(place[features.known[:, k], k], minlength=len(limits) - 1).astype(float)
        # a stay adds one to a bin of each feature: no more than sqrt(count) in all
        histograms.append(found + noise["histograms"] * np.sqrt(count) * random.standard_normal(len(found)))
    seen = np.isfinite(readings)
    slots = np.stack(
        [seen[:, a:b].mean(1) for a, b in zip(bounds(hours), bounds(hours)[1:], strict=False)], axis=1
    )
    pairs = np.einsum("shi,shj->sij", seen.astype(float), seen.astype(float))
    rows = np.concatenate(
        [
            slots.reshape(stays, -1) / np.sqrt(slots.shape[1] * channels),
            pairs.reshape(stays, -1) / np.maximum(length, 1)[:, None, None].reshape(-1, 1) / channels,
        ],
        axis=1,
    ) / np.sqrt(2)
    sums = clip(rows).sum(0) + noise["charting"] * random.standard_normal(rows.shape[1])
    size = slots.shape[1] * channels
    charted = sums[:size] * np.sqrt(2 * size) / stays
    together = (sums[size:] * np.sqrt(2) * channels / stays).reshape(channels, channels)
    bare = ChartStatistics(stays, dict(noise), [list(h) for h in histograms], [], [], [])
    vectors = vectors_of(features, place, bare, edges, code, random)
    bound = bound_of(vectors.shape[1], channels, code.shape[1])
    clipped = clip(vectors / bound) if noise["moments"] else vectors / bound
    moments = clipped.T @ clipped + noise["moments"] * symmetric_noise(vectors.shape[1], random)
    return ChartStatistics(
        stays, bare.noise, bare.histograms, charted.reshape(-1, channels).tolist(),
        ((together + together.T) / 2).tolist(), (moments * bound**2).tolist(),
    )  # fmt: skip


def bound_of(size: int, channels: int, columns: int) -> float:
    """Where a stay's vector is clipped: about its usual length where every channel is charted twice."""
    return float(np.sqrt(1 + columns + len(KINDS) * channels + 1 + 2 * channels))


def bounds(hours: int) -> IntArray:
    """Edges of the slots of time, shorter in the beginning."""
    return np.unique(np.r_[0, np.geomspace(1, hours, SLOTS).round().astype(np.int64)])


def placed(features: Features, edges: Sequence[FloatArray]) -> IntArray:
    """(stay, feature) bins."""
    out = np.zeros(features.values.shape, dtype=np.int64)
    for k, limits in enumerate(edges):
        values = features.values[:, k]
        inner = (np.searchsorted(limits, values, side="right") - 1).clip(0, len(limits) - 2)
        out[:, k] = np.where((values <= limits[0]) & (limits[0] == limits[1]), 0, inner)
    return out


def vectors_of(
    features: Features, place: IntArray, released: ChartStatistics, edges: Sequence[FloatArray],
    code: FloatArray, random: np.random.Generator,
) -> FloatArray:  # fmt: skip
    """(stay, number): 1, code, normal scores of the features, and which channels are charted once, and twice."""
    scores = np.zeros(features.values.shape)
    for k, limits in enumerate(edges):
        below = released.distribution(k)
        width = limits[place[:, k] + 1] - limits[place[:, k]]
        with np.errstate(divide="ignore", invalid="ignore"):
            within = np.where(width > 0, (features.values[:, k] - limits[place[:, k]]) / width, np.nan)
        within = np.where(width > 0, within, random.random(len(scores))).clip(0, 1)
        share = below[place[:, k]] + within * (below[place[:, k] + 1] - below[place[:, k]])
        scores[:, k] = ndtri(share.clip(ndtr(-FARTHEST), ndtr(FARTHEST)))
    once, twice = features.known[:, :-1][:, 0 :: len(KINDS)], features.known[:, :-1][:, 1 :: len(KINDS)]
    ones = np.ones((len(scores), 1))
    return np.concatenate([ones, code, scores * features.known, once, twice], axis=1)


def regressed(released: ChartStatistics, columns: Sequence[str]) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Slopes of the features' normal scores on the code, its centres (feature, column), and the residuals' root.

    What noise alone could make is shrunk (James and Stein 1961). Scores are known of the stays that have the feature.
    """
    moments, p, count = np.array(released.moments), len(columns), len(released.histograms)
    channels = (count - 1) // len(KINDS)
    noise = released.noise["moments"] * bound_of(len(moments), channels, p) ** 2
    x, s = slice(1, 1 + p), slice(1 + p, 1 + p + count)
    mask = _mask_of(channels, p, count)  # place of each feature's mask in the vector
    many = moments[0, mask].clip(min=SPARSE)  # stays that have the feature
    square = squares_of(columns)
    usual = moments[0, x] / released.stays
    overall = moments[x, x] / released.stays - np.outer(usual, usual)
    deviation = np.sqrt(np.diag(overall).clip(min=1e-3))
    alike = overall / np.outer(deviation, deviation)
    slopes, centres = np.zeros((count, p)), np.zeros((count, p))
    for k in range(count):
        mean = moments[x, mask[k]] / many[k]
        centres[k] = mean
        spread = deviation.copy()
        for i, j in square.items():
            spread[i] = np.sqrt(max(moments[1 + j, mask[k]] / many[k] - mean[i] ** 2, 1e-3))
        error = noise / many[k] / np.sqrt(2)
        cross = moments[x, s][:, k] / many[k] - mean * moments[0, s][k] / many[k]
        cross *= np.maximum(0, 1 - (ALONE * error) ** 2 / np.maximum(cross**2, 1e-12))
        varied = (deviation > CONSTANT) & (spread > CONSTANT)
        cross, spread = np.where(varied, cross, 0.0), np.maximum(spread, CONSTANT)
        ridge = np.where(np.outer(varied, varied), alike, 0) + np.diag(
            RIDGE + (error / spread) ** 2 + ~varied
        )
        slopes[k] = np.where(varied, np.linalg.solve(ridge, cross / spread) / spread, 0.0)
    resolution = resolved(released)
    slopes /= resolution[:, None]
    slopes *= np.minimum(1, np.sqrt(0.8 / np.maximum(1e-9, np.diag(slopes @ overall @ slopes.T))))[:, None]
    pairs = moments[np.ix_(mask, mask)]
    known = pairs > np.maximum(SPARSE, ALONE * noise)
    correlation = np.where(known, moments[s, s] / np.maximum(pairs, SPARSE), 0)
    error = noise / np.maximum(pairs, SPARSE) / np.sqrt(2)
    correlation *= np.maximum(0, 1 - (ALONE * error) ** 2 / np.maximum(correlation**2, 1e-12))
    correlation = (correlation / np.outer(resolution, resolution)).clip(-0.97, 0.97)
    np.fill_diagonal(correlation, 1.0)
    explained = slopes @ overall @ slopes.T
    left = np.clip(1 - np.diag(explained), 0.2, 1)
    # of those who have a channel, how often it is charted hardly depends on the code any more: it is why they have it
    explained = np.where(_of_one_channel_and_charted(channels, count), 0.0, explained)
    residual = correlation - explained
    np.fill_diagonal(residual, left)
    values, axes = np.linalg.eigh((residual + residual.T) / 2)
    root = axes * np.sqrt(values.clip(min=1e-3))
    return slopes, centres, root * np.sqrt(left / (root**2).sum(1))[:, None]


def resolved(released: ChartStatistics) -> FloatArray:
    """(feature,) variance of normal scores that the feature shows: within a bin of one value a score is chance."""
    out = np.ones(len(released.histograms))
    for k in range(len(out)):
        kind = KINDS[k % len(KINDS)] if k < len(out) - 1 else "length"
        below = released.distribution(k)
        ends = {"spread": [0], "charted": [0, len(below) - 2], "length": [len(below) - 2]}.get(kind, [])
        for low, high in ((below[b], below[b + 1]) for b in ends):
            if high > low:
                a, b = ndtri(np.clip([low, high], 1e-9, 1 - 1e-9))
                heights = np.exp(-(np.array([a, b]) ** 2) / 2) / np.sqrt(2 * np.pi)
                share, mean = high - low, (heights[0] - heights[1]) / (high - low)
                out[k] -= share * (1 + (a * heights[0] - b * heights[1]) / share - mean**2)
    return out.clip(0.3, 1)


def squares_of(columns: Sequence[str]) -> dict[int, int]:
    """Places of columns, each with the column that is its square: a flag's mask, else a class or mask itself."""
    numbers = {field_of(column) for column in columns if "[" in column} | set(NUMBERS)
    places = {column: i for i, column in enumerate(columns)}
    return {
        place: places.get(f"{column}?", place)
        for column, place in places.items()
        if field_of(column) not in numbers or "?" in column
    }


def _of_one_channel_and_charted(channels: int, count: int) -> BoolArray:
    """(feature, feature) pairs of how often a channel is charted with the channel's other features."""
    out = np.zeros((count, count), dtype=bool)
    for c in range(channels):
        first, last = c * len(KINDS), (c + 1) * len(KINDS) - 1
        out[first:last, last] = out[last, first:last] = True
    return out


def _mask_of(channels: int, columns: int, count: int) -> IntArray:
    start = 1 + columns + count
    places: list[int] = []
    for c in range(channels):
        once, twice = start + c, start + channels + c
        places += [once, twice, twice, twice, 0]
    return np.array([*places, 0])
