"""Poisson: whether batches are drawn as the accounting of private training takes them to be.

No lower bound of realistic size tells shuffled batches from Poisson ones, though their epsilon may be several
times larger (Chua et al. 2024). The distribution of batches does: the sampler is public code, and can be run.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from ...core.types import BoolArray

FAR = 5.0  # standard deviations, from which a sampler is called wrong: less than one in a million right ones
DRAWS = 200  # of right samplers, for the distribution of each statistic

Taken = BoolArray  # (step, patient): who was in which batch


def sampling_faults(
    batches: Iterable[Sequence[int]], patients: Sequence[str], rate: float, seed: int = 0
) -> list[str]:
    """What is wrong with batches of rows, a line each; empty if each patient is in each with probability `rate`.

    patients[i] is the patient of row i. Looked at: rows of one patient in one batch; the mean and the
    spread of batch sizes; the spread of how often each patient is taken; whether who was just taken is
    taken again as often as others. Each is held against 200 simulated Poisson samplers of the same size.
    """
    numbers = np.unique(patients, return_inverse=True)[1]
    rows = [np.asarray(batch, dtype=np.int64) for batch in batches]
    taken = np.zeros((len(rows), int(numbers.max()) + 1), dtype=bool)
    twice = 0
    for step, batch in enumerate(rows):
        taken[step, numbers[batch]] = True
        twice += len(batch) - int(taken[step].sum())
    faults = [f"{twice} times another row of a patient who was in the batch already"] if twice else []
    rng = np.random.default_rng(seed)
    right = np.array([_statistics(rng.random(taken.shape) < rate) for _ in range(DRAWS)])
    centre, spread = right.mean(0), np.maximum(right.std(0), 1e-12)
    for name, value, middle, wide in zip(NAMES, _statistics(taken), centre, spread, strict=True):
        if abs(value - middle) > FAR * wide:
            faults.append(f"{name} is {value:.4g}, expected {middle:.4g} +- {wide:.2g}")
    return faults


NAMES = (
    "the mean size of a batch",
    "the variance of the sizes of batches",
    "the variance of how often patients are taken",
    "the number of patients who are in two successive batches, on average",
)


def _statistics(taken: Taken) -> tuple[float, float, float, float]:
    """In the order of NAMES."""
    sizes, times = taken.sum(1), taken.sum(0)
    again = float((taken[1:] & taken[:-1]).sum(1).mean()) if len(taken) > 1 else 0.0
    return float(sizes.mean()), float(sizes.var()), float(times.var()), again
