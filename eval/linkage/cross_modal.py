"""Cross-modal correlation: one label read off two views of the same patients, each by its own model."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from ...core.types import FloatArray
from ..score import AS_REAL, DIFFERENT, UNDECIDED, percentiles
from .label_recovery import BOOTSTRAP, LEAST, SHUFFLES, LabelRecovery, short


@dataclass(frozen=True)
class CrossModalCorrelation:
    """One label read off two views of the same patients: do the two readings go together?

    correlation: rank correlation of the readings within patients, with its 95 % range; shuffled: the same
    with one view's ids shuffled. expected: what the two views would show if each revealed the label as real
    records do and shared nothing else (the product of the two correlations with the label). No real patient has both.
    """

    label: str
    views: tuple[str, str]
    titles: tuple[str, str]
    patients: int
    correlation: float
    interval: tuple[float, float]
    shuffled: tuple[float, tuple[float, float]]
    expected: float

    @property
    def verdict(self) -> str:
        """As real if the readings surely go together; different if surely less than expected."""
        if self.interval[0] > 0:
            return AS_REAL
        return DIFFERENT if self.interval[1] < self.expected else UNDECIDED

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            "label": self.label, "views": list(self.views), "patients": self.patients,
            "correlation": short(self.correlation), "interval": short(self.interval),
            "expected": short(self.expected), "shuffled": short(self.shuffled[0]),
            "shuffled_interval": short(self.shuffled[1]), "verdict": self.verdict,
        }  # fmt: skip


def cross_modal_correlations(found: Sequence[LabelRecovery], seed: int) -> list[CrossModalCorrelation]:
    """Every label that two views reveal, where 20 patients have both."""
    out = []
    for a, b in combinations([r for r in found if r.judged and r.scores], 2):
        both = [pid for pid in a.scores if pid in b.scores]
        if a.label != b.label or a.view == b.view or len(both) < LEAST:
            continue
        x, y = (np.array([r.scores[pid][0] for pid in both]) for r in (a, b))
        rng = np.random.default_rng(seed)
        rows = [rng.integers(len(both), size=len(both)) for _ in range(BOOTSTRAP)]
        mixed = [_rank_correlation(x, y[rng.permutation(len(both))]) for _ in range(SHUFFLES)]
        out.append(
            CrossModalCorrelation(
                a.label,
                (a.view, b.view),
                (a.title, b.title),
                len(both),
                _rank_correlation(x, y),
                percentiles([_rank_correlation(x[r], y[r]) for r in rows]),
                (float(np.mean(mixed)), percentiles(mixed)),
                _expected(a, b, both),
            )
        )
    return out


def _expected(a: LabelRecovery, b: LabelRecovery, both: Sequence[str]) -> float:
    """Rank correlation of two readings that are independent once the label is known, each as good as on real rows.

    For two classes with shares p and q a reading of AUROC c correlates with the class by (2 c - 1) sqrt(3 p q); for a
    normal number one of concordance c does by sin(pi (c - 1/2)). Given the label, the correlations multiply.
    """
    if not a.kept:
        return float(np.prod([np.sin(np.pi * (r.order[0] - 0.5)) for r in (a, b)]))
    share = float(np.mean([a.scores[patient][1] for patient in both]))
    return float(np.prod([2 * r.order[0] - 1 for r in (a, b)])) * 3 * share * (1 - share)


def _rank_correlation(x: FloatArray, y: FloatArray) -> float:
    from scipy.stats import rankdata

    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return 0.0
    return float(np.corrcoef(rankdata(x), rankdata(y))[0, 1])
