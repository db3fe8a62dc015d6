"""Unknown domains learnt within the budget: the words of a column and the bins of a number.

One Gaussian mechanism on all patients for all such columns. Of words, the counts: those are released that
stand out so far that a word of one patient does so with a chance of `failure` alone (partition selection, Korolova
et al. 2009; with Gaussian noise Desfontaines et al. 2022). Of a number, the counts in all dyadic intervals of its
widest range (a tree, Hay et al. 2010), of which only those that are looked at are drawn; what stands out of the
noise gives the range, and bins of about equal counts.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from heapq import heappop, heappush
from math import ceil, log2, sqrt

import numpy as np
import pandas as pd

from ...core.config import FieldMap
from ...core.fields import SHIPPED, Vocabulary
from ...core.types import FloatArray, IntArray
from .cells import distinct, number_of
from .domain import OTHER, Charged, ColumnConfig

SHARE = 0.1  # of the budget, for all charged columns together
FAILURE = 0.1  # of delta, for the words that only one patient has
# standard deviations of noise from which an interval is not empty; a range of 50,000 steps shows 16 empty ones
CLEAR = 4.0


def charged_columns(
    fields: Mapping[str, FieldMap], extra: Mapping[str, ColumnConfig], vocabulary: Vocabulary = SHIPPED
) -> dict[str, ColumnConfig]:
    """The columns whose domain is charged; a number of the profile with its range and decimals in the vocabulary."""
    found = {}
    for name, config in extra.items():
        if (wish := config.charged) is None:
            continue
        known = vocabulary.by_name.get(name)
        if name in fields and known is not None and known.kind == "number":
            wish = Charged(most=wish.most, within=wish.within or (known.low, known.high))
            config = config.model_copy(update={"decimals": known.decimals})
        found[name] = config.model_copy(update={"charged": wish})
    return found


def unlearnt(config: ColumnConfig) -> ColumnConfig:
    """The domain before anything is learnt: all words are `other`, all numbers in one bin."""
    charged = config.charged
    assert charged is not None
    public = {"levels": [OTHER]} if charged.within is None else {"bins": list(charged.within)}
    return config.model_copy(update={**public, "charged": None})


def failures(columns: Mapping[str, ColumnConfig], delta: float) -> dict[str, float]:
    """The part of delta that each column of words takes."""
    words = [name for name, c in columns.items() if c.charged is not None and c.charged.within is None]
    return dict.fromkeys(words, FAILURE * delta / max(len(words), 1))


def learn_domains(
    table: pd.DataFrame,
    columns: Mapping[str, ColumnConfig],
    fields: Mapping[str, FieldMap],
    noise_multiplier: float,
    failure: Mapping[str, float],
    rng: np.random.Generator,
    where: str,
) -> dict[str, ColumnConfig]:
    """The charged columns (see charged_columns) with words or bins in place of the wish, one row a patient.

    One Gaussian mechanism with this noise multiplier, columns alike; 0 learns without privacy.
    """
    noise = noise_multiplier * sqrt(len(columns))
    settled = {}
    for name, config in columns.items():
        charged, mapping = config.charged, fields.get(name)
        assert charged is not None
        places, values = distinct(table, name, mapping, config, where)
        counts = np.bincount(places, minlength=len(values))
        held = [(value, int(n)) for value, n in zip(values, counts, strict=True) if value is not None]
        public: dict[str, object]
        if charged.within is None:
            words = {str(value): n for value, n in held}
            public = {"levels": [*select_partitions(words, charged.most, noise, failure[name], rng), OTHER]}
        else:
            numbers = np.array([number_of(value, mapping, where) for value, _ in held])
            many = np.array([n for _, n in held], dtype=np.int64)
            tree = DyadicTree(numbers, many, charged.within, 10.0**-config.decimals, noise, rng)
            public = {"bins": tree.bins(charged.most)}
        settled[name] = config.model_copy(update={**public, "charged": None})
    return settled


def select_partitions(
    counts: Mapping[str, int], most: int, noise: float, failure: float, rng: np.random.Generator
) -> list[str]:
    """Words whose noisy count is over the threshold, the most common first; `other` is none of them.

    A patient has one word: the counts have sensitivity 1, and a word that only one patient has passes with the chance
    `failure`.
    """
    from scipy.special import ndtri

    least = 1 + noise * float(-ndtri(failure)) if noise > 0 else 1.0
    drawn = {word: count + rng.normal(0, noise) for word, count in sorted(counts.items())}
    passed = [word for word, count in drawn.items() if count >= least and word != OTHER]
    return sorted(passed, key=lambda word: -drawn[word])[:most]


@dataclass
class DyadicTree:
    """Noisy counts of patients in the dyadic intervals of a public range, whose smallest are `step` wide.

    A patient is in one interval of each depth, so the counts of all depths have sensitivity sqrt(depths). Noise
    is drawn when an interval is first looked at, which is as if it had been drawn for all.
    """

    values: FloatArray  # distinct
    counts: IntArray  # of patients who have them
    within: tuple[float, float]
    step: float
    noise: float  # the noise multiplier of this tree
    rng: np.random.Generator
    _seen: dict[tuple[int, int], float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        low, high = self.within
        self.top = max(1, ceil(round((high - low) / self.step, 6)))  # cells that lie in the range
        self.depth = max(1, ceil(log2(self.top)))
        self.deviation = self.noise * sqrt(self.depth)
        cells = np.clip(np.floor((self.values - low) / self.step + 1e-9), 0, self.top - 1)
        order = np.argsort(cells)
        self._cells = cells[order]
        self._below = np.concatenate([[0], np.cumsum(self.counts[order])])

    def exact(self, depth: int, place: int) -> int:
        """Patients in interval `place` of 2^depth."""
        width = 2 ** (self.depth - depth)
        ends = np.searchsorted(self._cells, [place * width, (place + 1) * width])
        return int(self._below[ends[1]] - self._below[ends[0]])

    def measurement(self, depth: int, place: int) -> float:
        """The same with its noise; 0 where that does not stand out, or beyond the range."""
        if place * 2 ** (self.depth - depth) >= self.top:
            return 0.0
        if (depth, place) not in self._seen:
            drawn = self.exact(depth, place) + self.rng.normal(0, self.deviation)
            self._seen[depth, place] = drawn if drawn > CLEAR * self.deviation else 0.0
        return self._seen[depth, place]

    def masses(self) -> tuple[IntArray, FloatArray]:
        """Cells at which the cumulative share changes its slope, and that share there, from 0 to 1.

        An interval's share falls to its halves in the ratio of their counts; where neither stands out it is
        spread evenly.
        """
        ends, shares = [0], [0.0]
        waiting = [(0, 0, 1.0)]
        while waiting:
            depth, place, share = waiting.pop()
            below = (0.0, 0.0)
            if depth < self.depth:
                below = (self.measurement(depth + 1, 2 * place), self.measurement(depth + 1, 2 * place + 1))
            if (total := sum(below)) > 0:
                for side in (1, 0):  # the left one is taken off first
                    if below[side] > 0:
                        waiting.append((depth + 1, 2 * place + side, share * below[side] / total))
                continue
            width = 2 ** (self.depth - depth)
            if place * width > ends[-1]:  # an empty interval
                ends, shares = [*ends, place * width], [*shares, shares[-1]]
            ends, shares = [*ends, (place + 1) * width], [*shares, shares[-1] + share]
        return np.array(ends), np.array(shares)

    def bins(self, most: int) -> list[float]:
        """Edges of bins over all that stands out: the fullest is halved until so many of them hold somebody."""
        ends, shares = self.masses()
        held = np.flatnonzero(np.diff(shares) > 0)
        first, last = int(ends[held[0]]), min(int(ends[held[-1] + 1]), self.top)

        least = CLEAR * self.deviation / max(self.measurement(1, 0) + self.measurement(1, 1), 1.0)

        def part(low: int, high: int) -> tuple[float, int, int]:
            """A bin, to be ordered by its share; one cell, or what noise could have made, is not halved."""
            below = np.interp([low, high], ends, shares)
            share = float(below[1] - below[0])
            return (-share if high - low > 1 and share > least else 0.0, low, high)

        parts, filled = [part(first, last)], 1
        while filled < most and parts[0][0] < 0:
            _, low, high = heappop(parts)
            below, above = np.interp([low, high], ends, shares)
            middle = min(max(int(np.interp((below + above) / 2, shares, ends)), low + 1), high - 1)
            heappush(parts, part(low, middle))
            heappush(parts, part(middle, high))
            filled += bool(below < np.interp(middle, ends, shares) < above)  # else one half is empty
        start, end = self.within
        edges = sorted([*(low for _, low, _ in parts), last])
        return [min(float(round(start + edge * self.step, 9)), end) for edge in edges]
