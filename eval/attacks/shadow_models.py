"""Shadow models: who was in the training set, from what signals read in the attacked weights and in trainings like it.

The attacker trains the recipe several times, each time on patients of his choice, and reads the same signals (how
well the weights fit a patient's record, say) in his own models and in the attacked one. How high a signal is for a
patient who was not learnt from he knows from the shadows that did not see that patient.
"""

import numpy as np

from ...core.types import BoolArray, FloatArray

SMALLEST = 1e-9  # of a spread
COMMON = 8.0  # shadows' worth of the spread of all patients in that of one
DOUBT = 10.0  # penalty of the logistic regression, so that few shadows do not decide by one signal


def halves(patients: int, shadows: int, rng: np.random.Generator) -> BoolArray:
    """(shadow, patient) whom each shadow learns from: a random half, and the next shadow the other half.

    So each patient is in as many shadows as out of. An odd number of patients leaves one out of every shadow.
    """
    seen = np.zeros((shadows, patients), dtype=bool)
    for first in range(0, shadows, 2):
        order = rng.permutation(patients)
        for own, part in enumerate(np.split(order[: patients // 2 * 2], 2)[: shadows - first]):
            seen[first + own, part] = True
    return seen


def likelihood_ratio(attacked: FloatArray, shadows: FloatArray, seen: BoolArray) -> FloatArray:
    """(patient,) log-likelihood ratio of "was learnt from", of one signal (LiRA, Carlini et al. 2022).

    attacked (patient,); shadows (shadow, patient); seen (shadow, patient). A patient's signal is taken as normal, with
    a mean of its own among shadows that saw him and among those that did not, and one spread for both, drawn towards
    that of all patients: few shadows tell no more. NaN for who was in all shadows, or in none.
    """
    inside, outside = _means(shadows, seen), _means(shadows, ~seen)
    rest = np.where(seen, shadows - inside, shadows - outside)
    squares = np.square(rest)
    spread = (squares.sum(0) + COMMON * squares.mean()) / (len(rest) + COMMON) + SMALLEST
    return np.asarray(((attacked - outside) ** 2 - (attacked - inside) ** 2) / (2 * spread))


def calibrated(attacked: FloatArray, shadows: FloatArray, seen: BoolArray) -> FloatArray:
    """(patient,) how far the signal is above its mean among shadows that did not see the patient (Watson et al. 2022).

    Shapes as in likelihood_ratio. It asks less of the shadows: they may be of fewer patients or steps than the
    attacked training.
    """
    return np.asarray(attacked - _means(shadows, ~seen))


def learnt(
    attacked: FloatArray, shadows: FloatArray, seen: BoolArray, teaching: BoolArray | None = None
) -> FloatArray:
    """(patient,) log-odds of "was learnt from", by a logistic regression of many signals that the shadows teach.

    attacked (patient, signal); shadows (shadow, patient, signal); seen (shadow, patient). Each signal is first
    calibrated, a shadow's by the other shadows. With the errors of a diffusion model at fixed noises and times as
    signals it is the noise-initialisation attack that won the MIDST challenge (Wu et al. 2025, there with a small
    network in place of the regression). teaching (patient,): whom the regression learns from, default all. NaN where a
    signal cannot be calibrated.
    """
    from sklearn.linear_model import LogisticRegression

    rows, truth = [], []
    for own in range(len(shadows)):
        others = np.arange(len(shadows)) != own
        found = _away(shadows[own], shadows[others], seen[others])
        known = np.isfinite(found).all(1) & (True if teaching is None else teaching)
        rows.append(found[known])
        truth.append(seen[own][known])
    told = np.concatenate(rows)
    scale = np.maximum(told.std(0), SMALLEST)
    model = LogisticRegression(C=1 / DOUBT, max_iter=1000).fit(told / scale, np.concatenate(truth))
    asked = _away(attacked, shadows, seen) / scale
    known = np.isfinite(asked).all(1)
    out = np.full(len(asked), np.nan)
    out[known] = model.decision_function(asked[known])
    return out


def _away(attacked: FloatArray, shadows: FloatArray, seen: BoolArray) -> FloatArray:
    """calibrated() of (patient, signal)."""
    signals = range(attacked.shape[1])
    return np.stack([calibrated(attacked[:, k], shadows[:, :, k], seen) for k in signals], axis=1)


def _means(shadows: FloatArray, where: BoolArray) -> FloatArray:
    """(patient,) mean over the shadows of `where`, NaN where there is none."""
    count = where.sum(0)
    total = np.where(where, shadows, 0.0).sum(0)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan))
