"""Gaussian audits: the bound that an audit's guesses put on a trainer known to be a Gaussian mechanism.

The epsilon of such a trainer at one delta tells it at any other. The bound is nearer to the truth than that of
eval.attacks.privacy_audit, but a statement on such mechanisms only.
"""

import numpy as np
from scipy.optimize import brentq
from scipy.special import log_ndtr, ndtr, ndtri

from polyclinic.eval.attacks.privacy_audit import CONFIDENCE, Audit, greatest


def gaussian_bound(found: Audit) -> float:
    """The trainer is not (epsilon, claimed delta)-private for any smaller epsilon."""
    mu = least_mu(found.canaries, found.guesses, found.right, found.confidence)
    return epsilon_of(mu, found.claimed.delta)


def gaussian_ceiling(found: Audit) -> float:
    """What gaussian_bound would be if every guess were right."""
    mu = least_mu(found.canaries, found.guesses, found.guesses, found.confidence)
    return epsilon_of(mu, found.claimed.delta)


def least_mu(canaries: int, guesses: int, right: int, confidence: float = CONFIDENCE) -> float:
    """The greatest mu such that so many right guesses refute mu-Gaussian privacy, 0 if they refute none.

    mu is sensitivity over noise of the Gaussian mechanism (Dong, Roth and Su 2022).
    """
    return greatest(lambda mu: not _possible(canaries, guesses, right, mu, 1 - confidence))


def _possible(canaries: int, guesses: int, right: int, mu: float, chance: float) -> bool:
    """Whether a mu-Gaussian mechanism may give `right` or more right guesses with at least that chance.

    After Mahloujifar, Melis and Chaudhuri 2024. Let p_j be the chance of j right guesses. Turn one canary over: a
    right guess becomes wrong, and j becomes j - 1. So for each t, by the trade-off function G and Jensen,
    sum_{j >= t} j p_j / m <= 1 - G(sum_{j >= t} (r - j + 1) p_{j - 1} / m). Starting from p_right = chance, the
    least mass that each t demands below it is added; if all of it comes to more than 1, there is no such distribution.
    """
    hits, misses = right * chance / canaries, (guesses - right) * chance / canaries
    whole = guesses / canaries
    for t in range(right, 0, -1):
        needed = float(ndtr(ndtri(hits) - mu))
        if needed > misses:
            mass = (needed - misses) * canaries / (guesses - t + 1)
            misses = needed
            hits += mass * (t - 1) / canaries
        if hits + misses > whole:
            return False
    return True


def epsilon_of(mu: float, delta: float) -> float:
    """Epsilon of the Gaussian mechanism of sensitivity over noise mu at delta (Balle and Wang 2018, theorem 8)."""

    def excess(epsilon: float) -> float:
        far = epsilon + log_ndtr(-epsilon / mu - mu / 2)
        return float(np.exp(log_ndtr(-epsilon / mu + mu / 2)) - np.exp(far) - delta)

    if mu <= 0 or excess(0.0) <= 0:
        return 0.0
    return float(brentq(excess, 0.0, mu * mu / 2 + mu * 40))
