"""audit(): a lower bound on the epsilon of a private trainer, from canaries that it may or may not have seen.

One training tells, if it holds many canaries, each of them in or out by the toss of a coin (Steinke, Nasr and
Jagielski 2023). Somebody who sees what was released guesses who is in; under (epsilon, delta) no more than so
many guesses are right, but for one audit in twenty. Where more are, the trainer is not as private as that.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from ...core.dp.budget import Budget
from ...core.errors import InputError
from ...core.types import FloatArray

Canary = TypeVar("Canary")
Released = TypeVar("Released")
CONFIDENCE = 0.95
STEPS = 40  # of bisection


@dataclass(frozen=True)
class Audit:
    """What the guesses came to: `right` of `guesses` about `canaries` canaries, against what was claimed.

    The bounds hold with the stated confidence, each by itself.
    """

    claimed: Budget
    canaries: int
    guesses: int
    right: int
    confidence: float = CONFIDENCE

    @property
    def lower_bound(self) -> float:
        """The trainer is not (epsilon, claimed delta)-private for any smaller epsilon."""
        return self._epsilon(self.right)

    @property
    def ceiling(self) -> float:
        """What lower_bound would be if every guess were right: an audit says nothing of claims above it."""
        return self._epsilon(self.guesses)

    @property
    def refuted(self) -> bool:
        """Whether the claim is false, with the stated confidence."""
        return self.lower_bound > self.claimed.epsilon

    def _epsilon(self, right: int) -> float:
        return least_epsilon(self.canaries, self.guesses, right, self.claimed.delta, self.confidence)

    def to_dict(self, weights: str) -> dict[str, Any]:
        """As certificates state it; weights: sha256 of the file whose trainer was audited."""
        return {
            "weights": weights, "claimed": self.claimed.epsilon, "delta": self.claimed.delta,
            "lower_bound": round(self.lower_bound, 4), "ceiling": round(self.ceiling, 4),
            "confidence": self.confidence, "canaries": self.canaries, "guesses": self.guesses, "right": self.right,
        }  # fmt: skip


def audit(
    train: Callable[[Sequence[Canary]], Released],
    canaries: Sequence[Canary],
    score: Callable[[Released, Sequence[Canary]], FloatArray],
    claimed: Budget,
    *,
    guessed: float = 0.3,
    runs: int = 1,
    seed: int = 0,
    confidence: float = CONFIDENCE,
) -> Audit:
    """Train on a random half of the canaries, guess which half, and hold the right guesses against the claim.

    Each canary is one patient. train: the canaries to include -> all that it releases (other patients are its own
    affair). score: (canary,) higher for those who seem included; it may know the canaries, the trainer and
    what it released. guessed: the share of canaries that is guessed about, half of it "in", half "out"; like every
    other argument it must be chosen before any result is seen. runs repeats it with fresh tosses and counts
    all runs together. Raises InputError on scores of another shape.
    """
    rng = np.random.default_rng(seed)
    each = max(1, round(len(canaries) * guessed / 2))
    right = 0
    for _ in range(runs):
        included = rng.random(len(canaries)) < 0.5
        released = train([canary for canary, taken in zip(canaries, included, strict=True) if taken])
        scores = np.asarray(score(released, canaries), dtype=np.float64)
        if scores.shape != included.shape:
            raise InputError(
                f"an audit's score gives a number a canary, ({len(canaries)},), got {scores.shape}"
            )
        order = np.argsort(np.nan_to_num(scores), kind="stable")
        right += int(included[order[-each:]].sum() + (~included[order[:each]]).sum())
    return Audit(claimed, runs * len(canaries), runs * 2 * each, right, confidence)


def p_value(canaries: int, guesses: int, right: int, epsilon: float, delta: float) -> float:
    """How likely so many right guesses are, at most, under (epsilon, delta): theorem 5.2 of Steinke et al. 2023."""
    from scipy.special import expit
    from scipy.stats import binom

    accuracy = expit(epsilon)  # of randomised response
    tail = float(binom.sf(right - 1, guesses, accuracy))
    if delta == 0 or right == 0:
        return min(1.0, tail)
    fewer = np.arange(1, right + 1)
    just_below = (binom.sf(right - fewer - 1, guesses, accuracy) - tail) / fewer
    return min(1.0, tail + 2 * canaries * delta * max(0.0, float(just_below.max())))


def least_epsilon(
    canaries: int, guesses: int, right: int, delta: float, confidence: float = CONFIDENCE
) -> float:
    """The greatest epsilon that so many right guesses refute, 0 if they refute none."""
    return greatest(lambda epsilon: p_value(canaries, guesses, right, epsilon, delta) < 1 - confidence)


def greatest(refuted: Callable[[float], bool]) -> float:
    """The greatest number that is refuted, by bisection; 0 if none is."""
    low, high = 0.0, 1.0
    if not refuted(low):
        return 0.0
    while refuted(high) and high < 1e3:
        low, high = high, 2 * high
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if refuted(middle) else (low, middle)
    return low
