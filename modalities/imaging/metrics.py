"""What eval may measure on images: coarse pixels, grey levels, texture, symmetry; of the chest, view and findings."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...core.modality import Panel, Record, Rows, Task, View
from ...core.profile import PatientProfile
from ...core.types import AnyArray, FloatArray
from .cosine_basis import OPPONENT
from .formats.kinds import is_colour
from .subject import Subject

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

SIDE = 64  # pixels; every image is brought to this size first
BLOCKS, LEVELS, RINGS = 8, 16, 10
WORDS = {
    "I51.7": "cardiomegaly",
    "J18.9": "pneumonia",
    "J43.9": "emphysema",
    "J81.0": "oedema",
    "J84.10": "fibrosis",
    "J90": "effusion",
    "J93.9": "pneumothorax",
    "J98.11": "atelectasis",
    "R91.1": "nodule",
    "R91.8": "opacity",
}


def flat(image: AnyArray) -> AnyArray:
    """(row, column): the middle slice of a series, the luma of an RGB image (ITU-R BT.601)."""
    if image.ndim == 2:
        return image
    if image.dtype == np.uint8:
        return np.rint(image @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)
    return np.asarray(image[len(image) // 2])


def shrink(image: NDArray[np.uint16], side: int = SIDE) -> FloatArray:
    """(row, column) of any size to (side, side) by area mean, in [0, 1]."""
    full = np.iinfo(np.uint8).max if image.dtype == np.uint8 else 4095
    tall, wide = (_shares(length, side) for length in image.shape)
    return np.asarray(tall @ image.astype(np.float64) @ wide.T / full, dtype=np.float64)


def _shares(length: int, side: int) -> FloatArray:
    """(side, length): which part of each pixel falls into each of `side` equal cells; rows sum to 1."""
    edges = np.linspace(0, length, side + 1)
    start = np.arange(length)
    overlap = np.minimum(edges[1:, None], start + 1) - np.maximum(edges[:-1, None], start)
    return np.maximum(overlap, 0) * side / length


def _small(records: Sequence[Record]) -> FloatArray:
    """(record, row, column) of all images at SIDE x SIDE, in [0, 1]."""
    return np.stack([shrink(flat(record.arrays["image"])) for record in records])


def features(records: Sequence[Record]) -> "DataFrame":
    """(record, feature) of images of any size: see ABOUT."""
    from pandas import DataFrame

    pixels = _small(records)
    block = SIDE // BLOCKS
    coarse = pixels.reshape(-1, BLOCKS, block, BLOCKS, block).mean((2, 4)).reshape(len(pixels), -1)
    edges = np.linspace(0, 1 + 1e-9, LEVELS + 1)
    levels = np.stack([np.histogram(p, edges)[0] / p.size for p in pixels])
    across, down = np.abs(np.diff(pixels, axis=2)), np.abs(np.diff(pixels, axis=1))
    edges_of = [part.reshape(len(pixels), -1) for part in (across, down)]
    strength = [s for part in edges_of for s in (part.mean(1), np.percentile(part, 95, axis=1))]
    mirrored = pixels[:, :, ::-1]
    difference = np.abs(pixels - mirrored).mean((1, 2))
    whole = [pixels.mean((1, 2)), pixels.std((1, 2)), difference, _likeness(pixels, mirrored)]
    names = [f"brightness row {i + 1} column {j + 1}" for i in range(BLOCKS) for j in range(BLOCKS)]
    names += [f"share of grey level {i + 1} of {LEVELS}" for i in range(LEVELS)]
    names += [f"texture, {i + 1} of {RINGS} (1 coarse)" for i in range(RINGS)]
    names += ["edges across, mean", "edges across, strong", "edges down, mean", "edges down, strong"]
    names += ["brightness", "contrast", "left-right difference", "left-right likeness"]
    columns = np.stack([*strength, *whole], axis=1)
    found = np.hstack([coarse, levels, _rings(pixels), columns])
    if any(is_colour(record.arrays["image"]) for record in records):
        found, names = np.hstack([found, colours(records)]), [*names, *COLOUR_NAMES]
    return DataFrame(found, columns=names)


COLOUR_NAMES = [
    f"{channel}, {place}"
    for channel in ("red against green", "red and green against blue")
    for place in ("mean", "spread", "of the centre", "of the dark half")
]


def colours(records: Sequence[Record]) -> FloatArray:
    """(record, feature) of both opponent channels, 0 for grey images: COLOUR_NAMES.

    The centre is the middle half of both sides; the dark half are the pixels below the image's median brightness.
    """
    rows = []
    for record in records:
        image = record.arrays["image"]
        if not is_colour(image):
            rows.append(np.zeros(len(COLOUR_NAMES)))
            continue
        small = np.stack([shrink(image[..., channel]) for channel in range(3)])
        light, *opponents = np.einsum("kc,cyx->kyx", OPPONENT, small)
        dark, quarter = light <= np.median(light), SIDE // 4
        rows.append(
            np.array(
                [
                    value
                    for plane in opponents
                    for value in (
                        plane.mean(),
                        plane.std(),
                        plane[quarter:-quarter, quarter:-quarter].mean(),
                        plane[dark].mean(),
                    )
                ]
            )
        )
    return np.stack(rows)


def pixels(records: Sequence[Record]) -> "DataFrame":
    """(record, pixel) in [0, 1] of images brought to 64 x 64, row by row."""
    from pandas import DataFrame

    small = _small(records).astype(np.float32)
    return DataFrame(small.reshape(len(small), -1), columns=[f"pixel {i}" for i in range(SIDE * SIDE)])


def embedded(records: Sequence[Record]) -> "DataFrame":
    """(record, feature) of the medical feature net."""
    from pandas import DataFrame

    from .features import shipped

    found = shipped()(_small(records))
    return DataFrame(found, columns=[f"net {i}" for i in range(found.shape[1])])


def _rings(pixels: FloatArray) -> FloatArray:
    """(image, ring) log10 of the mean spectral power in rings of equal width, up to the Nyquist frequency."""
    window = np.hanning(SIDE)[:, None] * np.hanning(SIDE)
    centred = pixels - pixels.mean((1, 2), keepdims=True)
    power = np.square(np.abs(np.fft.fft2(centred * window)))
    frequency = np.fft.fftfreq(SIDE)
    ring = np.minimum(np.hypot(frequency[:, None], frequency) / 0.5 * RINGS, RINGS).astype(int)
    means = [power[:, ring == r].mean(1) for r in range(RINGS)]
    return np.asarray(np.log10(np.stack(means, axis=1) + 1e-8), dtype=np.float64)


def _likeness(a: FloatArray, b: FloatArray) -> FloatArray:
    """(image,) correlation of pixels, 0 for a flat image."""
    x, y = (v.reshape(len(v), -1) - v.mean((1, 2))[:, None] for v in (a, b))
    norm = np.sqrt(np.square(x).sum(1) * np.square(y).sum(1))
    return np.asarray((x * y).sum(1) / np.maximum(norm, 1e-12), dtype=np.float64)


def _view(profile: PatientProfile, record: Record) -> float:
    view = profile.traits.get("chest_view") or record.facts.get("view")
    return {"PA": 0.0, "AP": 1.0}.get(str(view), float("nan"))


def _finding(*codes: str) -> Callable[[PatientProfile, Record], float]:
    """1 if any of these is known present, 0 if all are known absent, else NaN."""

    def label(profile: PatientProfile, record: Record) -> float:
        known = [profile.conditions.get(code) for code in codes]
        if any(known):
            return 1.0
        return 0.0 if all(state is False for state in known) else float("nan")

    return label


def picture(figure: "Figure", real: Rows, synthetic: Rows, subject: Subject) -> str:
    """A sheet of images, real left and synthetic right; view and findings below each that is of a chest."""
    sides = [("Real, held out", real), ("Synthetic", synthetic)] if real else [("Synthetic", synthetic)]
    columns, rows = (4, 4) if real else (6, 3)
    filled = max(1, -(-min(max(len(side) for _, side in sides), columns * rows) // columns))
    figure.set_size_inches(12.4, 7.4 * (filled + 0.3) / (rows + 0.3))
    rows = filled
    parts = figure.subfigures(1, len(sides), wspace=0.03, squeeze=False)[0]
    for part, (title, rows_shown) in zip(parts, sides, strict=True):
        part.suptitle(title, fontsize=13, fontweight="bold")
        axes = part.subplots(rows, columns).ravel()
        for axis in axes:
            axis.set_axis_off()
        for axis, (profile, record) in zip(axes, rows_shown, strict=False):
            image = record.arrays["image"]
            pixels = image if image.dtype == np.uint8 else flat(image)
            axis.imshow(
                pixels,
                cmap="gray",
                vmin=0,
                vmax=255 if pixels.dtype == np.uint8 else 4095,
                interpolation="antialiased",
            )
            if subject.is_radiograph_of_chest:
                axis.set_title(_caption(profile, record), fontsize=7.5, y=-0.13, color="#333333")
        part.subplots_adjust(left=0.01, right=0.99, top=0.92, bottom=0.04, wspace=0.05, hspace=0.16)
    shown = " and ".join(f"{min(len(r), columns * rows)} {t.split(',')[0].lower()}" for t, r in sides)
    if subject.is_radiograph_of_chest:
        return f"Sheet of {shown} chest X-rays, each with its view and findings."
    return f"Sheet of {shown} images: {subject.title}."


def _caption(profile: PatientProfile, record: Record) -> str:
    """View and findings as far as they are known; nothing is said of what nobody looked for."""
    view = profile.traits.get("chest_view") or record.facts.get("view") or ""
    found = [word for code, word in WORDS.items() if profile.has(code)]
    looked = any(profile.get(code) is not None for code in WORDS)
    said = ", ".join(found[:2]) + (f" +{len(found) - 2}" if len(found) > 2 else "")
    return " · ".join(part for part in (view, said or ("no finding" if looked else "")) if part)


ABOUT = (
    f"Each picture is brought to {SIDE} x {SIDE} pixels by area mean and described by the brightness of "
    f"{BLOCKS} x {BLOCKS} blocks, a histogram of {LEVELS} grey levels, the power of {RINGS} bands of "
    "texture, edges, contrast, and the likeness of left and right. RGB images are also described by the mean and "
    "spread of two opponent colours, of their centre and of their dark half."
)


def views(subject: Subject) -> list[View]:
    """One view: the image. View and findings are tasks where it is of a chest."""
    tasks: list[Task] = []
    if subject.is_radiograph_of_chest:
        tasks.append(Task("the AP view", ("PA", "AP"), _view))
    if subject.is_chest:
        tasks.append(Task("pleural effusion", ("no effusion", "effusion"), _finding("J90")))
        tasks.append(Task("any finding", ("no finding", "any finding"), _finding(*WORDS)))
    return [
        View(
            name="xray" if subject.is_radiograph_of_chest else "image",
            title=subject.title,
            needs="image",
            features=features,
            tasks=tuple(tasks),
            picture=partial(picture, subject=subject),
            about=ABOUT,
            panels=(
                Panel(
                    "net",
                    "features of the medical net",
                    "embedding",
                    embedded,
                    "128 features of a net that has seen six kinds of medical images.",
                ),
                Panel("pixels", "pixels", "pixels", pixels, f"{SIDE} x {SIDE} pixels."),
            ),
            blind=(
                f"anything finer than {SIDE} pixels a side"
                f"{': nodules, lines, small pneumothoraces' if subject.is_chest else ''}",
                f"how a {subject.reader} would read the {'X-rays' if subject.is_radiograph_of_chest else 'images'}",
            ),
        )
    ]
