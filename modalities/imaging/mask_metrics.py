"""What eval may measure on masks: how much of the image each label covers, where, in how many pieces; a segmenter."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ...core.config import MaskLabel
from ...core.modality import Panel, Record, Rows, View
from ...core.types import AnyArray, FloatArray
from .metrics import SIDE, flat, shrink

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

COLOURS = ((230, 70, 70), (70, 180, 80), (80, 120, 230), (230, 180, 60), (180, 80, 200), (70, 190, 200))
MEASURES = ("area share", "centre row", "centre column", "height", "width", "pieces")
ABOUT = (
    "Each label of a mask is described by its share of the image's area, its centre, the height and width of the box "
    "around it (shares of the image's sides; a label that is not there has its centre in the middle), and its pieces."
)


def mask_views(labels: Sequence[MaskLabel]) -> list[View]:
    """One view where there are masks."""
    if not labels:
        return []
    names = tuple(one.label for one in labels)
    pairs = Panel("masks", "images and masks", "masks", mask_pixels, f"{SIDE} x {SIDE} pixels of both.")
    return [
        View(
            name="mask",
            title=f"Masks: {', '.join(names)}",
            needs="mask",
            features=partial(features, labels=names),
            tasks=(),
            picture=picture,
            about=ABOUT,
            panels=(pairs,),
            blind=("whether an edge is where an expert would draw it",),
        )
    ]


def small(record: Record) -> AnyArray:
    """(SIDE, SIDE) labels of the mask, of a series that of the middle slice: the nearest pixel's."""
    mask = record.arrays["mask"]
    mask = mask if mask.ndim == 2 else mask[len(mask) // 2]
    rows, columns = (((np.arange(SIDE) + 0.5) * length / SIDE).astype(int) for length in mask.shape)
    return np.asarray(mask[np.ix_(rows, columns)])


def features(records: Sequence[Record], labels: Sequence[str]) -> "DataFrame":
    """(record, feature): MEASURES of each label."""
    from pandas import DataFrame

    rows = [[value for n in range(1, len(labels) + 1) for value in _measured(small(r) == n)] for r in records]
    names = [f"{label}, {measure}" for label in labels for measure in MEASURES]
    return DataFrame(np.array(rows, dtype=np.float64).reshape(-1, len(names)), columns=names)


def _measured(here: AnyArray) -> list[float]:
    from scipy.ndimage import label

    if not here.any():
        return [0.0, 0.5, 0.5, 0.0, 0.0, 0.0]
    rows, columns = np.nonzero(here)
    sides = [np.ptp(places) + 1 for places in (rows, columns)]
    centre = [(places.mean() + 0.5) / SIDE for places in (rows, columns)]
    return [here.mean(), *centre, *(side / SIDE for side in sides), float(label(here, np.ones((3, 3)))[1])]


def mask_pixels(records: Sequence[Record]) -> "DataFrame":
    """(record, column): `image n` in [0, 1], then `mask n`, the label of that pixel."""
    from pandas import DataFrame

    images = np.stack([shrink(flat(record.arrays["image"])) for record in records]).astype(np.float32)
    covers = np.stack([small(record) for record in records]).astype(np.float32)
    names = [f"{what} {n}" for what in ("image", "mask") for n in range(SIDE * SIDE)]
    return DataFrame(np.hstack([part.reshape(len(records), -1) for part in (images, covers)]), columns=names)


def overlaid(record: Record) -> FloatArray:
    """(row, column, 3) in [0, 1]: the image with its mask in colours."""
    image, mask = flat(record.arrays["image"]), record.arrays["mask"]
    mask = mask if mask.ndim == 2 else mask[len(mask) // 2]
    shown = np.repeat((image / (255 if image.dtype == np.uint8 else 4095))[..., None], 3, axis=2)
    for number in range(1, int(mask.max()) + 1):
        here = mask == number
        shown[here] = 0.6 * shown[here] + 0.4 * np.array(COLOURS[(number - 1) % len(COLOURS)]) / 255
    return np.asarray(shown, dtype=np.float64)


def picture(figure: "Figure", real: Rows, synthetic: Rows) -> str:
    """A sheet of images under their masks, real left and synthetic right."""
    sides = [("Real, held out", real), ("Synthetic", synthetic)] if real else [("Synthetic", synthetic)]
    figure.set_size_inches(12.4, 6.6)
    for part, (title, rows) in zip(figure.subfigures(1, len(sides), squeeze=False)[0], sides, strict=True):
        part.suptitle(title, fontsize=13, fontweight="bold")
        axes = part.subplots(3, 4).ravel()
        for axis in axes:
            axis.set_axis_off()
        for axis, (_, record) in zip(axes, rows, strict=False):
            axis.imshow(overlaid(record), interpolation="nearest")
        part.subplots_adjust(left=0.01, right=0.99, top=0.92, bottom=0.02, wspace=0.05, hspace=0.05)
    return f"Sheet of {' and '.join(title.split(',')[0].lower() for title, _ in sides)} images under their masks."
