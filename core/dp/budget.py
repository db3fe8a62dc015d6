"""What privacy costs: budgets, plans of mechanisms over patients, and their composition.

The only file that imports opacus, for its two accountants. Two populations are neighbours when one has one
patient more; how many patients there are is taken as known.
"""

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from ..errors import InputError

# Renyi orders that RDP minimises over: wide enough for one step of much noise
ORDERS = [1 + k / 10 for k in range(1, 100)] + [*range(11, 64), *range(64, 512, 8), *range(512, 4097, 256)]

# Below so many standard deviations a signal is lost among the coordinates of a network: the largest of d
# coordinates of pure noise is near sqrt(2 ln d), 4.3 for ten thousand and 5.3 for a million.
DROWNED = 5.0

# Where PRV's grid of privacy losses is sound in bounded memory: beyond, RDP is the bound (Gopi et al. 2021, section 5)
PRV_EPSILON, PRV_DELTA = 50.0, 1e-13

DP_SGD = "DP-SGD, Poisson over patients, not secure mode"


@dataclass(frozen=True)
class Budget:
    """An (epsilon, delta) limit on what one real population may pay."""

    epsilon: float
    delta: float

    def check(self, patients: int) -> None:
        """Raises InputError unless epsilon is above 0 and delta between 0 and 1 over the number of patients."""
        if not 0 < self.epsilon < math.inf:
            raise InputError(f"epsilon must be above 0, got {self.epsilon:g}")
        if patients < 1:
            raise InputError("a privacy budget needs patients, got none")
        if not 0 < self.delta < 1 / patients:
            raise InputError(
                f"delta must be above 0 and below 1/patients = {1 / patients:.1e}, got {self.delta:g}"
            )


@dataclass(frozen=True)
class PrivacyPlan:
    """A run fixed before it starts: the sampled Gaussian mechanism over patients, `steps` times.

    sample_rate is the chance of each patient to be in a step, noise_multiplier the noise's standard
    deviation over the sensitivity; in DP-SGD that is the clipping norm max_grad_norm. `mode` says in words
    what the mechanism is. `failure` is the chance that its release shows a patient in spite of the noise, as
    that of a word which only he has; it comes out of delta.
    """

    patients: int
    sample_rate: float
    noise_multiplier: float
    steps: int
    delta: float
    max_grad_norm: float
    mode: str = DP_SGD
    failure: float = 0.0

    @classmethod
    def once(
        cls, patients: int, noise_multiplier: float, delta: float, what: str, failure: float = 0.0
    ) -> "PrivacyPlan":
        """A Gaussian mechanism that runs once on all patients and releases `what`.

        noise_multiplier is the noise's standard deviation over the L2 sensitivity: how far one patient
        more can move the released vector.
        """
        return cls(patients, 1.0, noise_multiplier, 1, delta, 1.0, f"Gaussian mechanism on {what}", failure)

    @classmethod
    def for_budget(
        cls,
        budget: Budget,
        patients: int,
        batch: int,
        steps: int,
        max_grad_norm: float,
        beside: Sequence["PrivacyPlan"] = (),
    ) -> "PrivacyPlan":
        """The least noise that keeps `steps` steps of about `batch` patients within the budget.

        What the mechanisms `beside` it spend on the same patients comes out of the same budget. Raises
        InputError when delta is not below 1 over the number of patients, when the others leave nothing, or
        when so few patients cannot be learnt from under so much noise: it names the number that would do.
        """
        budget.check(patients)
        if beside and (spent := compose(beside, budget.delta, "prv")) >= budget.epsilon:
            raise InputError(
                f"epsilon {budget.epsilon:g} is used up by {len(beside)} other mechanisms ({spent:.2f}); "
                "raise it or give them less"
            )

        made = cls(patients, min(1.0, batch / patients), 1.0, steps, budget.delta, max_grad_norm)
        made = replace(made, noise_multiplier=_least_noise(made, budget, beside))
        if made.signal < DROWNED:
            raise InputError(_too_few(made, budget, batch, beside))
        return made

    @property
    def signal(self) -> float:
        """The most that training can stand out of the noise, in its standard deviations.

        It is reached when each sampled patient pulls in one and the same direction with the whole
        clipping norm at each step: steps * batch * C, over noise of sqrt(steps) * noise_multiplier * C.
        """
        return self.sample_rate * self.patients * math.sqrt(self.steps) / self.noise_multiplier

    def epsilon(self, accountant: str = "prv", steps: int | None = None) -> float:
        """Epsilon spent after `steps` steps (all by default), by the "rdp" or "prv" accountant."""
        return compose([self if steps is None else replace(self, steps=steps)], self.delta, accountant)


def compose(plans: Sequence[PrivacyPlan], delta: float, accountant: str = "rdp") -> float:
    """Epsilon of several runs on the same people, by one accountant. Source: Mironov 2017; Gopi et al. 2021.

    "prv" is exact where all plans take every patient, since Gaussian mechanisms compose to one; where PRV's
    numbers would not be sound (epsilon above 50, delta below 1e-13) it is the bound by RDP, which is never
    less. Infinite where the plans' failures leave nothing of delta.
    """
    if not plans:
        return 0.0
    if (delta := delta - sum(plan.failure for plan in plans)) <= 0:
        return math.inf
    history = [_mechanism(plan) for plan in plans]
    if accountant == "prv" and all(rate == 1 for _, rate, _ in history):
        return _gaussian_epsilon(math.sqrt(sum(1 / noise**2 for noise, _, _ in history)), delta)
    bound = _counted("rdp", history, delta)
    if accountant == "rdp" or delta < PRV_DELTA or bound > PRV_EPSILON:
        return bound
    return min(bound, _counted("prv", history, delta))


def _counted(accountant: str, history: list[tuple[float, float, int]], delta: float) -> float:
    """Epsilon by one of opacus' accountants."""
    from opacus.accountants import PRVAccountant, RDPAccountant

    counter = {"rdp": RDPAccountant, "prv": PRVAccountant}[accountant]()
    counter.history = history
    with _quiet():
        return float(counter.get_epsilon(delta=delta, **({"alphas": ORDERS} if accountant == "rdp" else {})))


def _mechanism(plan: PrivacyPlan) -> tuple[float, float, int]:
    """Noise multiplier, sample rate and steps; steps on all patients are one step with less noise, counted faster."""
    if plan.sample_rate == 1:
        return plan.noise_multiplier / math.sqrt(plan.steps), 1.0, 1
    return plan.noise_multiplier, plan.sample_rate, plan.steps


def noise_for(budget: Budget, shares: Sequence[float]) -> list[float]:
    """Noise multipliers of Gaussian mechanisms, each run once, that spend the budget together.

    Precisions of Gaussian mechanisms add up: with noise s / sqrt(share), shares adding up to 1, all of
    them cost exactly what one with noise s costs (Dong, Roth and Su 2022, corollary 3.3). Raises InputError
    unless the shares are positive.
    """
    if not shares or min(shares) <= 0:
        raise InputError(f"shares of a budget must be positive, got {list(shares)}")
    budget.check(1)
    single = _least_noise(PrivacyPlan.once(1, 1.0, budget.delta, ""), budget)
    return [single * math.sqrt(sum(shares) / share) for share in shares]


def _least_noise(plan: PrivacyPlan, budget: Budget, beside: Sequence[PrivacyPlan] = ()) -> float:
    """The noise multiplier whose epsilon by PRV is within the budget, by less than a hundredth of it."""
    room = _strength(budget) ** 2 - sum(_mu(other) ** 2 for other in beside)
    rate = plan.sample_rate * math.sqrt(plan.steps)
    noise = 1 / math.sqrt(math.log1p(max(room, 1e-6) / rate**2))  # the inverse of _mu

    @cache
    def spent(noise: float) -> float:
        return compose([*beside, replace(plan, noise_multiplier=noise)], budget.delta, "prv")

    least = most = noise
    while spent(most) > budget.epsilon:
        if (most := 1.5 * most) > 1e4 * noise:
            raise InputError(
                f"epsilon {budget.epsilon:g} at delta {budget.delta:g} is out of reach; raise it, or take fewer steps"
            )
    while spent(least) <= budget.epsilon and least > 1e-3 * noise:
        least /= 1.5
    while most > 1.002 * least and spent(most) < 0.99 * budget.epsilon:
        middle = math.sqrt(least * most)
        least, most = (middle, most) if spent(middle) > budget.epsilon else (least, middle)
    return most


def _mu(plan: PrivacyPlan) -> float:
    """About how strong a plan is as one Gaussian mechanism of sensitivity over noise mu (Bu et al. 2020)."""
    noise, rate, steps = _mechanism(plan)
    return 1 / noise if rate == 1 else rate * math.sqrt(steps * math.expm1(min(1 / noise**2, 700.0)))


def _gaussian_delta(mu: float, epsilon: float) -> float:
    """Delta at epsilon of a Gaussian mechanism of sensitivity over noise mu (Balle and Wang 2018, theorem 8)."""
    from scipy.special import log_ndtr

    near = log_ndtr(-epsilon / mu + mu / 2)
    return float(math.exp(near) - math.exp(epsilon + log_ndtr(-epsilon / mu - mu / 2)))


def _gaussian_epsilon(mu: float, delta: float) -> float:
    """Epsilon at delta of that mechanism."""
    from scipy.optimize import brentq

    if _gaussian_delta(mu, 0.0) <= delta:
        return 0.0
    most = mu**2 / 2 + mu * math.sqrt(2 * math.log(1 / delta))  # zCDP's bound (Bun and Steinke 2016)
    return float(
        brentq(lambda epsilon: _gaussian_delta(mu, epsilon) - delta, 0.0, most * (1 + 1e-9), rtol=1e-12)
    )


def _strength(budget: Budget) -> float:
    """Sensitivity over noise of the Gaussian mechanism that spends the budget."""
    from scipy.optimize import brentq

    def excess(log_mu: float) -> float:
        return _gaussian_delta(math.exp(log_mu), budget.epsilon) - budget.delta

    return math.exp(brentq(excess, -20, 8))


def _too_few(plan: PrivacyPlan, budget: Budget, batch: int, beside: Sequence[PrivacyPlan]) -> str:
    """What a user with too few patients is told, with the number that would do."""

    def enough(patients: int) -> bool:
        taken = min(batch, patients)
        other = replace(plan, patients=patients, sample_rate=taken / patients)
        bearable = replace(other, noise_multiplier=taken * math.sqrt(plan.steps) / DROWNED)
        return compose([*beside, bearable], budget.delta, "prv") <= budget.epsilon

    said = (
        f"epsilon {budget.epsilon:g} at delta {budget.delta:g}: {plan.patients} patients are too few; all of them "
        f"together would stand {plan.signal:.1f} standard deviations out of the noise, {DROWNED:g} are needed"
    )
    most = math.ceil(1 / budget.delta) - 1  # delta must stay below 1 / patients
    if not enough(most):
        return f"{said}, and no number below 1/delta will do; raise epsilon or lower delta"
    low, high = plan.patients, most
    while high - low > max(1, low // 100):
        middle = round(math.sqrt(low * high))
        middle = min(max(middle, low + 1), high - 1)
        low, high = (low, middle) if enough(middle) else (middle, high)
    return f"{said}; {high} patients would do, or a larger epsilon"


@contextmanager
def _quiet() -> Iterator[None]:
    """Opacus warns where RDP would like other orders, and takes log(0) where all are sampled; both only loosen."""
    with warnings.catch_warnings(), np.errstate(divide="ignore"):
        warnings.filterwarnings("ignore", message="Optimal order is")
        yield
