"""The low-rank Gaussian prior: normal distributions of an image's leading components, given the profile.

Coordinates are those of model.Denoiser.coordinates: components of public images, in standard deviations.
A private prior costs two one-shot Gaussian mechanisms: first class means, then the covariances about them.
Everything after the release (shrinking, roots) is post-processing.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from pydantic import Field, PositiveInt, field_validator

from ...core.condition import conditional_normal
from ...core.config import Settings
from ...core.critic import PROPOSALS, Critic
from ...core.dp.dp_statistics import clip, denoised, shrunk, sum_of_squares, symmetric_noise
from ...core.errors import InputError
from ...core.fields import SHIPPED, Vocabulary
from ...core.profile import PatientProfile, Value
from ...core.remarks import remark
from ...core.types import Float32Array, FloatArray, IntArray

STORED = "law"  # the prefix of its tensors and its key in the card: weights that ship have it
MEAN_SHARE = 0.5  # of the budget, as squared signal
COUNT_WEIGHT = 0.3  # of a patient's count, relative to a mean vector of length 1
SHRINK = 0.05  # of a public covariance towards its diagonal
LEAST_VARIANCE = 0.02  # of the public images' in that direction
CROWDED = 0.5  # edge of noise on all classes' covariances together, above which they share one


class PriorSettings(Settings):
    """How the prior is fitted. `rank` is the number of components.

    `by` names a field: each of its values has a separate prior; of a number, each part between `bounds` has one, which
    hold what is above. `mixture` is the number of normals in a prior, of all or of each.
    More than one normal needs public images; fewer are fitted if one would have less than 2 `rank` images.
    `temperature` scales the distance from a normal's mean: a lower one is more precise and less varied. With `critic`
    a network that learnt to tell the coarse images from the prior's draws chooses among draws (prior_critic.py); it
    needs public images.
    `mean_norm` and `spread_norm` clip a patient's vector before and after centring, in units of sqrt(rank). That is
    the length of a public image; a new hospital's images lie off the public centre.
    """

    renamed: ClassVar[Mapping[str, str]] = {"kept": "rank"}
    rank: int = 64
    by: str | None = None
    bounds: tuple[float, ...] = ()
    mixture: PositiveInt | tuple[PositiveInt, ...] = 1
    temperature: float = Field(default=1.0, gt=0)
    critic: bool = False
    mean_norm: float = 1.5
    spread_norm: float = 0.65

    @field_validator("bounds")
    @classmethod
    def _rise(cls, bounds: tuple[float, ...]) -> tuple[float, ...]:
        if list(bounds) != sorted(set(bounds)):
            raise ValueError(f"expected numbers that rise, got {list(bounds)}")
        return bounds

    def require_sound(self, vocabulary: Vocabulary = SHIPPED) -> None:
        """Raises InputError where classes or normals do not fit, before anything is learnt."""
        values, _ = classes_of(self.by, [], vocabulary, self.bounds)
        self.normals(len(values))

    def normals(self, classes: int) -> tuple[int, ...]:
        """How many each class has. Raises InputError where another number of classes is said."""
        if isinstance(self.mixture, int):
            return (self.mixture,) * classes
        if len(self.mixture) != classes:
            raise InputError(
                f"model.prior.mixture: {list(self.mixture)}, expected one number for each of {classes} classes (model."
                "prior.by), or one for all"
            )
        return self.mixture


@dataclass(frozen=True)
class GaussianPrior:
    """z = line[i] @ [code, 1] + root[i] @ N(0, I), of the first len(z) components; i is a normal of the class.

    values (normal,) are the classes that the normals belong to, of a number the places of parts between `bounds`; share
    (normal,), line (normal, rank, column + 1), root (normal, rank, rank). `critic`, if there is one, chooses among
    PROPOSALS draws by their components and code.
    """

    by: str | None
    values: tuple[Value | None, ...]
    share: FloatArray
    line: FloatArray
    root: FloatArray
    critic: Critic | None = None
    bounds: tuple[float, ...] = ()

    @property
    def rank(self) -> int:
        """Components that the prior describes."""
        return self.root.shape[-1]

    def draw(self, profile: PatientProfile, code: Float32Array, random: np.random.Generator) -> Float32Array:
        """(rank,) coordinates. An unknown class, and one of the normals of a class, are drawn by their shares."""
        if self.critic is None:
            return self.proposed(profile, code, random)
        rows = np.stack([self.proposed(profile, code, random) for _ in range(PROPOSALS)])
        seen = np.hstack([rows, np.tile(code, (PROPOSALS, 1))])
        return np.asarray(rows[self.critic.choose(random, seen)])

    def proposed(
        self, profile: PatientProfile, code: Float32Array, random: np.random.Generator
    ) -> Float32Array:
        """draw() without the critic."""
        value = class_of(profile, self.by, self.bounds)
        rows = [i for i, known in enumerate(self.values) if known == value] or list(range(len(self.values)))
        row = rows[0]
        if len(rows) > 1:
            row = int(random.choice(rows, p=self.share[rows] / self.share[rows].sum()))
        noise = random.standard_normal(self.rank)
        return (self.line[row] @ np.append(code, 1.0) + self.root[row] @ noise).astype(np.float32)

    def tensors(self) -> dict[str, FloatArray]:
        """Arrays by name, for a weight file."""
        own = {name: getattr(self, name) for name in ("share", "line", "root")}
        return own if self.critic is None else {**own, **self.critic.arrays()}

    def chosen_by(self, critic: Critic | None) -> "GaussianPrior":
        """The same with that critic."""
        return replace(self, critic=critic)

    def header(self) -> dict[str, Any]:
        """What the card must say in addition to the arrays."""
        parts = {"bounds": list(self.bounds)} if self.bounds else {}
        return {"by": self.by, "values": list(self.values), "rank": self.rank, **parts}

    @classmethod
    def restore(cls, header: Mapping[str, Any], arrays: Mapping[str, FloatArray]) -> "GaussianPrior":
        """From header() and tensors(); shares in half precision are made to sum to 1 again."""
        share = arrays["share"] / arrays["share"].sum()
        critic = Critic.of_arrays(arrays)
        bounds = tuple(header.get("bounds", ()))
        return cls(
            header["by"], tuple(header["values"]), share, arrays["line"], arrays["root"], critic, bounds
        )


def class_of(profile: PatientProfile, by: str | None, bounds: Sequence[float]) -> Value | None:
    """The value of the field, or the place of its part between bounds; None if unknown."""
    value = None if by is None else profile.get(by)
    return bisect_right(bounds, value) if bounds and isinstance(value, (int, float)) else value


def classes_of(
    by: str | None, profiles: Sequence[PatientProfile], vocabulary: Vocabulary = SHIPPED,
    bounds: Sequence[float] = (),
) -> tuple[tuple[Value | None, ...], IntArray]:  # fmt: skip
    """Values of the field, from public knowledge (the vocabulary), and each profile's place, -1 if unknown.

    Of a number they are the places of its parts between `bounds`. Raises InputError when the field has no list of
    values, nor bounds.
    """
    if by is None:
        if bounds:
            raise InputError(
                "model.prior.bounds: of which number? Name it in model.prior.by, or leave them out"
            )
        return (None,), np.zeros(len(profiles), dtype=np.int64)
    known = vocabulary.field(by, "model.prior.by")
    if known.kind == "number" and not bounds:
        raise InputError(
            f"model.prior.by: {by} is a number; expected model.prior.bounds with it, or a condition or a category"
        )
    if known.kind != "number" and bounds:
        raise InputError(f"model.prior.bounds: {by} is no number; leave them out")
    values: tuple[Value | None, ...] = (False, True) if known.kind == "flag" else tuple(known.classes)
    if bounds:
        values = tuple(range(len(bounds) + 1))
    place = {value: i for i, value in enumerate(values)}
    return values, np.array([place.get(class_of(profile, by, bounds), -1) for profile in profiles])


def require_classes(
    by: str | None, profiles: Sequence[PatientProfile], vocabulary: Vocabulary = SHIPPED,
    bounds: Sequence[float] = (),
) -> None:  # fmt: skip
    """Raises InputError where nobody is known to be of some class: its mean would be noise alone."""
    values, place = classes_of(by, profiles, vocabulary, bounds)
    if empty := [str(value) for i, value in enumerate(values) if not (place == i).any()]:
        raise InputError(
            f"model.prior.by: no training patient is known to have {by} = {', '.join(empty)}: that class would be "
            "noise alone; map the column in dataset.yaml, choose another field, or leave `by` out"
        )


def fit_public(
    z: FloatArray, code: Float32Array, profiles: Sequence[PatientProfile], settings: PriorSettings,
    vocabulary: Vocabulary = SHIPPED, often: IntArray | None = None,
) -> GaussianPrior:  # fmt: skip
    """From public images: z (row, component), code (row, column). A class without rows has the prior of all.

    `often` (row,) is how many times each row counts in the shares of classes, once unless said.
    """
    values, place = classes_of(settings.by, profiles, vocabulary, settings.bounds)
    often = np.ones(len(z), dtype=np.int64) if often is None else often
    z = z[:, : settings.rank]
    classes: list[Value | None] = []
    share, lines, roots = [], [], []
    for i, (value, most) in enumerate(zip(values, settings.normals(len(values)), strict=True)):
        count = int(np.count_nonzero(place == i))
        if settings.bounds and not count:
            part = f"part {i + 1} of {len(values)}"
            remark(f"model.prior.bounds: nobody's {settings.by} is in {part}; it has the prior of all")
        rows = place == i if count > 2 * settings.rank else np.ones(len(z), dtype=bool)
        line, root = conditional_normal(code[rows], z[rows], ridge=10.0, shrink=SHRINK)
        normals = [(1.0, np.zeros(len(root)), root)]
        if (number := min(most, int(rows.sum()) // (2 * settings.rank))) > 1:
            normals = mixture(z[rows] - code[rows] @ line[:, :-1].T - line[:, -1], number)
        for weight, mean, spread in normals:
            classes.append(value)
            share.append(max(1, int(often[place == i].sum())) * weight)
            lines.append(np.column_stack([line[:, :-1], line[:, -1] + mean]))
            roots.append(settings.temperature * spread)
    return GaussianPrior(
        settings.by, tuple(classes), np.array(share) / sum(share), np.stack(lines), np.stack(roots),
        bounds=settings.bounds,
    )  # fmt: skip


def mixture(rows: FloatArray, number: int) -> list[tuple[float, FloatArray, FloatArray]]:
    """(share, mean, root) of normals that together have the shape of rows (row, component), by EM.

    A normal's covariance is shrunk towards the covariance within all normals. The weight of the latter is a quarter
    of the number of components, in images, so that a normal of few images does not memorize them.
    """
    from sklearn.mixture import GaussianMixture

    found = GaussianMixture(
        number, reg_covar=0.01, tol=0.01, max_iter=500, init_params="k-means++", random_state=0
    ).fit(rows)
    within = np.tensordot(found.weights_, found.covariances_, axes=1)
    images, more = found.weights_[:, None, None] * len(rows), rows.shape[1] / 4
    blurred = (images * found.covariances_ + more * within) / (images + more)
    return list(zip(found.weights_.tolist(), found.means_, np.linalg.cholesky(blurred), strict=True))


def fit_private(
    z: FloatArray,
    profiles: Sequence[PatientProfile],
    settings: PriorSettings,
    noise: Sequence[float],
    scale: FloatArray,
    columns: int,
    random: np.random.Generator,
    vocabulary: Vocabulary = SHIPPED,
) -> GaussianPrior:
    """The same under differential privacy: z has one row a patient; noise are the two noise multipliers.

    scale (component,) are the components' public standard deviations in grey levels: vectors are clipped
    and noised with their square root as weights, half-way between all components alike and all pixels
    alike. A class costs no more than all patients do, since a patient is in one class only. The covariance of
    a class is that of all, and of how it differs as much as stands out of the noise; under much noise it is that of
    all. Rows of unknown class are left out.
    """
    values, place = classes_of(settings.by, profiles, vocabulary, settings.bounds)
    k, known = settings.rank, place >= 0
    weight = np.sqrt(scale[:k])
    weight /= np.sqrt(np.mean(weight**2))
    u, place = (z[:, :k] * weight)[known], place[known]
    bound = settings.mean_norm * np.sqrt(k)
    sums = class_sums(u / bound, place, len(values))
    sums = sums + noise[0] * random.standard_normal(sums.shape)
    counts = np.maximum(sums[:, 0] / COUNT_WEIGHT, np.hypot(1, COUNT_WEIGHT))
    means = bound * sums[:, 1:] / counts[:, None]
    counts = counts * np.hypot(1, COUNT_WEIGHT)

    bound = settings.spread_norm * np.sqrt(k)
    # what classes' covariances add up to has the noise of all of them
    edge = bound**2 * noise[1] * np.sqrt(k * len(values)) / counts.sum()
    parts = [place == i for i in range(len(values))] if edge < CROWDED else [place >= 0]
    held = counts if len(parts) > 1 else counts.sum(keepdims=True)
    squares = [
        sum_of_squares((u - means[place])[part] / bound) + noise[1] * symmetric_noise(k, random)
        for part in parts
    ]
    spreads = class_covariances(bound**2 * np.stack(squares), held, bound**2 * noise[1])
    spreads = spreads if len(parts) > 1 else spreads * len(values)
    roots = [settings.temperature * root_of(spread / np.outer(weight, weight)) for spread in spreads]
    line = np.concatenate([np.zeros((len(values), k, columns)), (means / weight)[:, :, None]], axis=2)
    return GaussianPrior(
        settings.by, values, counts / counts.sum(), line, np.stack(roots), bounds=settings.bounds
    )


def class_covariances(squares: FloatArray, counts: FloatArray, noise: float) -> list[FloatArray]:
    """Of sums of squares (class, number, number), each with symmetric noise of that deviation on its diagonal.

    The covariance of all is freed of noise; so is what a class has beside it.
    """
    total, classes = counts.sum(), len(counts)
    pooled = squares.sum(0) / total
    shared = denoised(pooled, noise * np.sqrt(classes) / total)
    own = []
    for square, count in zip(squares, counts, strict=True):
        deviation = noise * np.sqrt((1 / count - 1 / total) ** 2 + (classes - 1) / total**2)
        own.append(shared + shrunk(square / count - pooled, deviation))
    return own


def class_sums(rows: FloatArray, place: IntArray, classes: int) -> FloatArray:
    """(class, 1 + number): counts and sums of clipped rows; one row moves them by 1 at most."""
    vectors = np.hstack([np.full((len(rows), 1), COUNT_WEIGHT), clip(rows)]) / np.hypot(1, COUNT_WEIGHT)
    return np.stack([vectors[place == i].sum(0) for i in range(classes)])


def root_of(covariance: FloatArray) -> FloatArray:
    """A square root of the nearest covariance whose variances are at least LEAST_VARIANCE."""
    scale, directions = np.linalg.eigh(covariance)
    return np.asarray(directions * np.sqrt(np.maximum(scale, LEAST_VARIANCE)))
