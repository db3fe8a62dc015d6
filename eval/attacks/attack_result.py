"""AttackResult: how well one attack separates members from controls, and the strongest of several."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ...core.types import BoolArray, FloatArray
from ..linkage.label_recovery import short
from ..metrics.classifier import auc
from ..score import percentiles

LEAST = 20  # patients of each group
FOR_TPR = 100  # controls, of whom the strongest alone is one false alarm in a hundred
FALSE_ALARMS = 0.01
DRAWS = 300
CONFIDENCE = 0.95


@dataclass(frozen=True)
class AttackResult:
    """One attack on the patients behind one kind of record; auc None: not measured.

    auc: how often a member, whose data the generator may have seen, outscores a control, who is a real
    patient it has not; interval: 95 %, by bootstrap over patients. tpr_at_1_fpr: share of members above the
    score that one control in a hundred exceeds, with its exact interval (Clopper and Pearson 1934) given
    that score; None below 100 controls. chance_interval: 95 % range of the AUC if nothing set members apart. reason:
    why it was not measured.
    """

    modality: str
    attack: str
    title: str
    auc: float | None = None
    interval: tuple[float, float] | None = None
    tpr_at_1_fpr: float | None = None
    tpr_interval: tuple[float, float] | None = None
    chance_interval: tuple[float, float] | None = None
    members: int = 0
    controls: int = 0
    in_words: str = ""
    reason: str | None = None
    view: str = ""
    draws: FloatArray = field(default_factory=lambda: np.zeros(0), repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, numbers to four digits."""
        row = {name: value for name, value in vars(self).items() if name != "draws"}
        return {k: short(v) if isinstance(v, float | tuple) else v for k, v in row.items()}


@dataclass(frozen=True)
class Target:
    """Whom an attack is on, and how it is called."""

    modality: str
    view: str
    attack: str
    title: str

    def not_measured(self, why: str, members: int = 0, controls: int = 0) -> AttackResult:
        """An AttackResult without figures."""
        return AttackResult(
            self.modality, self.attack, self.title, members=members, controls=controls,
            in_words=f"Not measured: {why}.", reason=why, view=self.view,
        )  # fmt: skip

    def measured(self, scores: FloatArray, member: BoolArray, words: str, seed: int) -> AttackResult:
        """An AttackResult of scores (patient,), higher for "was in the training data", NaN for who is left out.

        words: what was tried.
        """
        known = np.isfinite(scores)
        inside, outside = scores[known & member], scores[known & ~member]
        if min(len(inside), len(outside)) < LEAST:
            return self.not_measured(
                f"needs {LEAST} members and {LEAST} controls, there are {len(inside)} and {len(outside)}",
                len(inside),
                len(outside),
            )
        rng = np.random.default_rng(seed)
        draws = np.array([auc(_drawn(inside, rng), _drawn(outside, rng)) for _ in range(DRAWS)])
        value, chance_interval = auc(inside, outside), by_chance(len(inside), len(outside))
        tpr, tpr_interval = tpr_at_false_alarms(inside, outside)
        return AttackResult(
            self.modality, self.attack, self.title, value, percentiles(draws), tpr, tpr_interval,
            chance_interval, len(inside), len(outside), f"{words} {_said(value, tpr, tpr_interval)}", None, self.view,
            draws,
        )  # fmt: skip


def by_chance(inside: int, outside: int) -> tuple[float, float]:
    """95 % range of the AUC of groups of these sizes who do not differ (Mann and Whitney 1947)."""
    wide = 1.96 * float(np.sqrt((inside + outside + 1) / (12 * inside * outside)))
    return 0.5 - wide, 0.5 + wide


def tpr_at_false_alarms(
    inside: FloatArray, outside: FloatArray
) -> tuple[float | None, tuple[float, float] | None]:
    """Share of members above the score that at most 1 % of controls exceed, and its exact 95 % interval."""
    from scipy.stats import binomtest

    if len(outside) < FOR_TPR:
        return None, None
    limit = np.sort(outside)[-int(FALSE_ALARMS * len(outside)) - 1]
    hits = int((inside > limit).sum())
    exact = binomtest(hits, len(inside)).proportion_ci(CONFIDENCE, method="exact")
    return hits / len(inside), (float(exact.low), float(exact.high))


def strongest(found: Sequence[AttackResult]) -> AttackResult | None:
    """The measured attack with the highest AUC, its interval widened for having been chosen among all of them.

    Simultaneous 95 % range: the bootstrap's greatest deviation over all attacks, each in its own standard
    deviations, is exceeded in one draw of twenty (the single-step maximum of Westfall and Young 1993). Attacks
    on one view share no draws, which makes the range wider rather than narrower.
    """
    measured = [row for row in found if row.auc is not None]
    if not measured:
        return None
    centres = np.array([[row.auc] for row in measured], dtype=np.float64)
    draws = np.stack([row.draws for row in measured])
    spread = np.maximum(draws.std(1, keepdims=True), 1e-9)
    far = float(np.quantile((np.abs(draws - centres) / spread).max(0), CONFIDENCE))
    top = int(centres[:, 0].argmax())
    value, wide = float(centres[top, 0]), far * float(spread[top, 0])
    said = f" It is the highest of {len(measured)}; its range is widened for that."
    chosen = measured[top]
    return replace(
        chosen,
        interval=(max(0.0, value - wide), min(1.0, value + wide)),
        in_words=chosen.in_words + (said if len(measured) > 1 else ""),
    )


def _drawn(values: FloatArray, rng: np.random.Generator) -> FloatArray:
    return values[rng.integers(len(values), size=len(values))]


def _said(value: float, tpr: float | None, interval: tuple[float, float] | None) -> str:
    said = f"Shown a patient of the training data and one who is not, it picks the right one {value:.0%} of the time"
    said += " (chance: 50%)"
    if tpr is None or interval is None:
        return f"{said}. What it finds at 1% false alarms needs {FOR_TPR} controls."
    return f"{said}. At 1% false alarms it finds {tpr:.1%} of them (at most {interval[1]:.1%})."
