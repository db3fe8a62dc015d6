"""Class means: what few patients with many features can teach under a budget, without scores of their samples.

Feature means and spreads as in private.py; then second moments of class and covariates, and their products with every
feature. What the noise explains is taken off by empirical Bayes (Stephens 2017, doi:10.1093/biostatistics/kxw041).
"""

import numpy as np

from ...core.condition import field_of
from ...core.dp.budget import Budget, noise_for
from ...core.errors import InputError
from ...core.types import FloatArray
from .private import (
    LEAST_RESIDUE,
    SURVIVAL_SHARE,
    Factors,
    Mechanisms,
    Moments,
    clipped,
    covariates,
    feature_means,
    feature_spreads,
    one_hot,
    possible,
    second_moments,
)
from .scales import Public
from .tumours import Tumours

SHARES = (0.28, 0.02, 0.04, 0.66)  # of the budget, in the order of private.RELEASES
COVARIATE_PART = 0.4  # of a row's length, relative to the class
# noise on a class's mean, in spreads of a feature, from which on classes go before all else. At .10 (504 miRNAs of 448
# patients) projections still keep the genes' correlations: agreement .52 on held-out training rows, .10 without them
NOISY = 0.2
DROWNED = 0.8  # the same, from which on classes teach nothing
EFFECTS = np.array([0.0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2])  # standard deviations of effects that the prior mixes
EPSILONS = (*range(1, 21), 25, 30, 40, 50, 75, 100)  # that a refusal may name
REACH = 4.0  # spreads beyond which a value counts as no more
ROUNDS = 60  # of expectation and maximisation


def multipliers(budget: Budget, survival: bool = False) -> list[float]:
    """The noise multiplier of each release."""
    return noise_for(budget, SHARES + (SURVIVAL_SHARE,) * survival)


def class_noise(data: Tumours, budget: Budget, survival: bool = False) -> float:
    """Noise on each feature's mean in a class of average size, in spreads of the feature: from public numbers alone."""
    noise = multipliers(budget, survival)[3] * np.sqrt(1 + COVARIATE_PART**2)
    return float(noise * np.sqrt(data.layout.features) * len(data.classes) / len(data.patients))


def described(noise: float, classes: int) -> str:
    """The noise in words, for the plan line."""
    return (
        f"signal-to-noise {1 / noise:.1f} for a feature whose mean differs by a standard deviation in one of "
        f"{classes} classes"
    )


def require_signal(data: Tumours, budget: Budget, survival: bool, whole: float = 1.0) -> None:
    """Raises InputError where class_noise() drowns the classes, with what would do.

    `whole` is the run's epsilon over that of the budget, above 1 where releases of other fields take a part of it.
    """
    noise, count = class_noise(data, budget, survival), len(data.patients)
    if noise <= DROWNED:
        return
    several, patients = len(data.classes), int(np.ceil(count * noise / DROWNED))
    enough = next(
        (e for e in EPSILONS if class_noise(data, Budget(e / whole, budget.delta), survival) <= DROWNED), None
    )
    ways = [f"{patients:,} patients", f"{int(data.layout.features * (DROWNED / noise) ** 2):,} features"]
    raise InputError(
        f"epsilon {whole * budget.epsilon:.3g} at delta {budget.delta:g} is too little for {count} patients of "
        f"{data.layout.features:,} features: {described(noise, several)}, {1 / DROWNED:g} is needed; "
        f"{', '.join(ways)}{f' or epsilon {enough}' if enough else ''} would do; nothing is charged. "
        "`model: {drowned: learn}` of a --config learns all the same"
    )


def learn(data: Tumours, noise: Mechanisms) -> Moments:
    """All four mechanisms, in order; nothing else touches a patient's numbers. Features are independent in a class."""
    public = Public.of(data)
    present = ~np.isnan(data.values)
    values = np.nan_to_num(data.values.astype(np.float64))
    location, error, patients = feature_means(values, present, data.layout, public, noise)
    spread, undetected = feature_spreads(
        values, present, data.layout, public, location, error, patients, noise
    )
    error = error * public.unit / spread
    standard = np.where(present, np.clip((values - location) / spread, -REACH, REACH), 0.0)
    # second moments of class and covariates
    several, count = len(data.classes), len(values)
    fields = max(1, len({field_of(data.columns[i]) for i in data.linear}))
    scale = COVARIATE_PART / np.sqrt(fields)
    limit = 1 + COVARIATE_PART**2
    design = np.concatenate([one_hot(data), covariates(data) * scale], axis=1)
    gram, least = second_moments(design, limit, noise)
    gram = possible(gram, several + 1)
    sizes = np.maximum(np.diag(gram)[:several], max(least, 0.005 * count))
    middle = gram[: several + 1, several + 1 :].sum(0) / count
    centres = gram[:several, several + 1 :] / sizes[:, None]  # (class, covariate)
    # products with every feature
    norm = float(np.sqrt(np.square(public.weight).sum() * (1 + float(np.median(error)) ** 2)))
    rows = clipped(standard * public.weight, norm)[:, :, None] * design[:, None, :]
    total, deviation = noise.sum(rows.reshape(count, -1), norm * float(np.sqrt(limit)), 3)
    unit = count / patients / public.weight
    total = total.reshape(len(unit), -1) * unit[:, None]
    loadings, shift = np.zeros((len(unit), several + len(middle))), np.zeros(len(unit))
    within = gram[several + 1 :, several + 1 :] - (centres * sizes[:, None]).T @ centres
    lengths, axes = np.linalg.eigh((within + within.T) / 2)
    lengths = np.maximum(lengths, max(1.0, least))
    beyond = (total[:, several + 1 :] - total[:, :several] @ centres) @ axes / lengths
    worse = np.sqrt(1 + np.square(centres @ axes).sum(0)) / lengths
    for place in data.layout.slices().values():
        fault = deviation * float(unit[place].mean())
        found = effects(total[place, :several] / sizes, fault / sizes, error[place])
        loadings[place, :several], shift[place] = found
        follows = [effects(beyond[place][:, [j]], fault * worse[[j]])[0][:, 0] for j in range(len(middle))]
        if follows:
            loadings[place, several:] = np.stack(follows, axis=1) @ axes.T
    explained = np.square(loadings[:, :several]) @ (sizes / sizes.sum())
    explained += np.square(loadings[:, several:] @ axes) @ (lengths / count)
    factors = Factors(
        shares=sizes / sizes.sum(),
        centres=np.concatenate([np.eye(several), middle - centres], axis=1),
        line=np.concatenate([np.zeros((several, len(middle))), np.eye(len(middle)) * scale]),
        middle=middle / scale,
        root=np.zeros((several + len(middle),) * 2),
    )
    residue = np.sqrt(np.maximum(LEAST_RESIDUE, 1 - explained))
    return Moments(location + spread * shift, spread, undetected, loadings, residue, factors)


def effects(
    noisy: FloatArray, noise: FloatArray, common: FloatArray | None = None
) -> tuple[FloatArray, FloatArray]:
    """Posterior means of effects (feature, effect), and of what the effects of a feature share (feature,).

    noisy: effects + shared + noise. `noise` (effect,) and `common` (feature,) are standard deviations of noise and
    shared part. The effects' prior is a mixture of normal distributions about 0, its shares fitted to all features.
    """
    size = len(noise)
    shared = np.zeros(len(noisy)) if common is None else np.square(common)
    every = shared[:, None, None, None] + np.square(EFFECTS)[:, None, None] * np.eye(size) + np.diag(noise**2)
    solved = np.linalg.solve(every, noisy[:, None, :, None])[..., 0]  # (feature, component, effect)
    log = -0.5 * ((solved * noisy[:, None]).sum(2) + np.linalg.slogdet(every)[1])
    density = np.exp(log - log.max(1, keepdims=True))
    shares = np.full(len(EFFECTS), 1 / len(EFFECTS))
    for _ in range(ROUNDS):
        chance = density * shares
        chance /= chance.sum(1, keepdims=True)
        shares = chance.mean(0)
    kept = np.einsum("fk,k,fke->fe", chance, np.square(EFFECTS), solved)
    return kept, shared * np.einsum("fk,fke->f", chance, solved)
