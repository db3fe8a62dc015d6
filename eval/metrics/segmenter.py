"""A small segmenter of images: randomised trees on each pixel's surroundings at several scales, and its Dice."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ...core.types import AnyArray, FloatArray, IntArray
from ..score import IMAGES
from .metric import MASKS, Group, Metric

if TYPE_CHECKING:
    pass

SCALES = (1.0, 2.0, 4.0, 8.0)  # standard deviations of the surroundings, pixels of an image of 64
PIXELS = 20_000  # that it learns from
TESTED = 100  # images, at most


def surroundings(images: FloatArray) -> FloatArray:
    """(image, y, x) in [0, 1] -> (image, y, x, feature): brightness at each scale, edges, and where the pixel lies."""
    from scipy.ndimage import gaussian_filter

    side = images.shape[-1]
    unit, (y, x) = side / 64, np.mgrid[:side, :side] / side
    blurred = [gaussian_filter(images, (0, s * unit, s * unit)) for s in SCALES]
    slopes = [gaussian_filter(images, (0, unit, unit), order=order) for order in ((0, 1, 0), (0, 0, 1))]
    edges = np.hypot(*slopes)
    placed = [np.broadcast_to(place, images.shape) for place in (y, x)]
    return np.stack([images, *blurred, edges, *placed], axis=-1).astype(np.float32)


class Segmenter:
    """Learns labels (image, y, x) from images (image, y, x) in [0, 1]; the same for the same seed."""

    def __init__(self, images: FloatArray, labels: IntArray, seed: int = 0) -> None:
        from sklearn.ensemble import ExtraTreesClassifier

        found, target = surroundings(images), labels.ravel()
        chosen = np.random.default_rng(seed).permutation(target.size)[:PIXELS]
        self.only: int | None = int(target[0]) if len(np.unique(target[chosen])) < 2 else None
        self.trees: ExtraTreesClassifier = ExtraTreesClassifier(
            30, min_samples_leaf=4, n_jobs=1, random_state=seed
        )
        if self.only is None:
            self.trees.fit(found.reshape(-1, found.shape[-1])[chosen], target[chosen])

    def __call__(self, images: FloatArray) -> IntArray:
        """(image, y, x) labels."""
        if self.only is not None:
            return np.full(images.shape, self.only)
        found = surroundings(images)
        return np.asarray(self.trees.predict(found.reshape(-1, found.shape[-1])).reshape(images.shape))


def dice(found: AnyArray, truth: AnyArray, labels: Sequence[int]) -> FloatArray:
    """(label,) Dice coefficient over all pixels, NaN of a label that neither side has."""
    both = [2.0 * np.count_nonzero((found == n) & (truth == n)) for n in labels]
    either = [np.count_nonzero(found == n) + np.count_nonzero(truth == n) for n in labels]
    return np.array([b / e if e else np.nan for b, e in zip(both, either, strict=True)])


def _halves(group: Group) -> tuple[FloatArray, IntArray]:
    """Images and labels of rows that hold one after the other."""
    images, labels = np.split(group.values, 2, axis=1)
    side = round(images.shape[1] ** 0.5)
    shape = (-1, side, side)
    return images.reshape(shape), labels.reshape(shape).astype(np.int64)


def segmenter_dice(real: Group) -> Callable[[Group], float]:
    """Mean Dice over the labels, on real pairs, of a segmenter that learnt from the judged ones."""
    images, truth = _halves(real)
    images, truth = images[:TESTED], truth[:TESTED]
    labels = [int(n) for n in np.unique(truth) if n > 0]

    def judge(judged: Group) -> float:
        if not labels:
            return float("nan")
        return float(np.nanmean(dice(Segmenter(*_halves(judged))(images), truth, labels)))

    return judge


SEGMENTER_DICE = Metric(
    "segmenter_dice", "Dice of a segmenter that learnt from these masks, on real images", IMAGES, segmenter_dice,
    "A small segmenter trained on these images and masks has a Dice coefficient of {} on real ones", table=MASKS,
    higher=True, heavy=True, lacks="the real masks show nothing",
)  # fmt: skip
