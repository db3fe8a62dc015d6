"""Score: one measured number with its real baseline, interval, direction, verdict and a plain sentence."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

MEASURED, QUOTED, NOT_MEASURED = "measured", "quoted", "not measured"
AS_REAL, CLOSE, DIFFERENT, UNDECIDED = "as real", "close", "different", "undecided"
QUESTIONS = ("distance", "c2st", "tstr")  # what a score answers: the verdicts of a view
# questions of the detailed metrics; no verdict of a view rests on them
MARGINALS, DEPENDENCE, TIME_SERIES, IMAGES, OMICS = (
    "marginals",
    "dependence",
    "time_series",
    "images",
    "omics",
)
RARE, CALIBRATION, FURTHER = "rare", "calibration", "further"  # further: of other packages
DETAILED = (MARGINALS, DEPENDENCE, TIME_SERIES, IMAGES, OMICS, RARE, CALIBRATION, FURTHER)


@dataclass(frozen=True)
class Score:
    """One number. `real_baseline` is the same measurement between two groups of real patients.

    question: one of QUESTIONS or DETAILED. task, panel: what it is measured on, where there are
    several. status: measured now, quoted from the training of the weights, or not measured (then `reason` says why
    and there is no value). verdict: within what real data show ("as real"), near it ("close"), "different", or
    "undecided" where the numbers are too small to say; None where not measured.
    """

    metric: str
    title: str
    question: str
    status: str
    direction: str = ""
    task: str | None = None
    panel: str | None = None
    value: float | None = None
    interval: tuple[float, float] | None = None
    real_baseline: float | None = None
    real_baseline_interval: tuple[float, float] | None = None
    verdict: str | None = None
    sentence: str = ""
    reason: str | None = None
    scale: tuple[float, float] = (0.0, 1.0)
    details: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        numbers = (
            self.value,
            self.real_baseline,
            *(self.interval or ()),
            *(self.real_baseline_interval or ()),
        )
        assert all(n is None or math.isfinite(n) for n in numbers), (
            f"{self.metric}: a score is finite or absent"
        )
        assert (self.value is None) == (self.status == NOT_MEASURED)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; numbers to four digits."""
        return {key: _plain(value) for key, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> "Score":
        """Inverse of to_dict."""
        pairs = ("interval", "real_baseline_interval", "scale")
        return cls(**{**row, **{k: tuple(row[k]) for k in pairs if row[k] is not None}})


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return round(value, 4) if isinstance(value, float) else value


def not_measured(
    metric: str, title: str, question: str, reason: str, task: str | None = None, panel: str | None = None
) -> Score:
    """A score without a number, and why."""
    sentence = f"Not measured: {reason}."
    return Score(
        metric, title, question, NOT_MEASURED, task=task, panel=panel, reason=reason, sentence=sentence
    )


def percentiles(draws: ArrayLike) -> tuple[float, float]:
    """95 % range of repeated draws."""
    low, high = np.percentile(np.asarray(draws, dtype=float), [2.5, 97.5])
    return float(low), float(high)


def around(draws: Sequence[float], value: float, widen: float = 1.0) -> tuple[float, float]:
    """95 % range of a distance: the value and 1.96 standard deviations of its draws, at least 0.

    Resampling adds a distance of its own, so the draws' percentiles would lie above the value.
    """
    width = 1.96 * widen * float(np.std(draws))
    return max(0.0, value - width), value + width
