"""Find burned-in text: rows of small thin glyphs of one brightness, as scanners and printers overlay them.

Classical, since no model of characters ships: strokes by a morphological top-hat, connected components of
glyph size, chained into lines by height, baseline, gap and brightness. A line counts as text if it is straight, of one
brightness, not of bars alone (a ruler) and not among strokes of other kinds (hair, edges). Side markers (L, R), which
are a few glyphs, make no line. Text on its side, or over bone of its own brightness, is not found.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ...core.types import BoolArray, Float32Array, IntArray

LINE = 5  # glyphs in a row that make text: dates, times, names and numbers have more, side markers fewer
STROKE = 7  # pixels; what is wider is no stroke at this scale
CONTRAST = 0.12  # of black to white, by which strokes must stand out from both sides
EDGE = 0.5  # share of the strongest stroke nearby that a pixel needs, so that neighbouring glyphs part
NEARBY = 15  # pixels
HEIGHT = (5, 40)  # pixels of a glyph
GAP = 1.2  # heights between characters of a line: a word space and a dropped punctuation mark
WIDEST = 9.0  # heights; of glyphs that run together
STRAIGHT = (
    0.75  # share of a long line's glyphs that stand on its baseline, and of those that have its two heights
)
ON_LINE = 0.11  # heights, by which they may miss them
SMALL_LETTER = 0.73  # heights of a capital
ONE_LEVEL = 0.08  # median deviation of the glyphs' grey levels
BARS = 0.6  # share of upright bars from which a line is a scale
BAR = 0.4  # widths a height
CLUTTER = (
    0.35  # share of the strokes about a line that are no glyphs, from which it is hair, veins or an edge
)
SMALLEST, LARGEST = 100, 1536  # pixels of an image's sides, between which its scales are searched


@dataclass(frozen=True, order=True)
class Glyph:
    """A box in pixels (right and bottom excluded), the grey level of its strokes, how many characters it may be."""

    left: int
    right: int
    top: int
    bottom: int
    level: float
    characters: int

    @property
    def height(self) -> int:
        return self.bottom - self.top

    @property
    def is_bar(self) -> bool:
        """Whether it is an upright stroke alone, as 1, l and the marks of a ruler are."""
        return self.right - self.left <= BAR * self.height


def shows_text(image: Float32Array) -> bool:
    """Whether a (row, column) image, black 0 to white 1, shows a line of text, light or dark, small or large.

    Images of less than 100 pixels on a side are not searched: no name is legible there.
    """
    for scaled in _scales(image):
        for shown in (scaled, 1 - scaled):
            found, others = glyphs(shown)
            if any(is_text(line, others) for line in lines(found)):
                return True
    return False


def glyphs(image: Float32Array) -> tuple[list[Glyph], IntArray]:
    """Connected light strokes that may be characters, from left to right; and where strokes are.

    The second is (row, column): 0 no stroke, 1 one of a glyph, 2 another one.
    """
    strokes = image - ndimage.grey_opening(image, size=(STROKE, STROKE))
    where = np.zeros(image.shape, dtype=np.int64)
    if np.count_nonzero(strokes > CONTRAST) < LINE * HEIGHT[0]:
        return [], where
    ink = strokes > np.maximum(CONTRAST, EDGE * ndimage.maximum_filter(strokes, size=NEARBY))
    labels, _ = ndimage.label(ink, structure=np.ones((3, 3)))
    where[ink] = 2
    found = []
    for label, box in enumerate(ndimage.find_objects(labels), start=1):
        height, width = (side.stop - side.start for side in box)
        if max(height, width) < HEIGHT[0]:  # dots of an i, punctuation, noise
            where[box][labels[box] == label] = 1
            continue
        if not HEIGHT[0] <= height <= HEIGHT[1] or width > WIDEST * height or _is_cut(box, image.shape):
            continue
        shape = labels[box] == label
        if characters := _characters(shape):
            level = float(np.median(image[box][shape]))
            where[box][shape] = 1
            found.append(Glyph(box[1].start, box[1].stop, box[0].start, box[0].stop, level, characters))
    return sorted(found), where


def lines(found: list[Glyph]) -> list[list[Glyph]]:
    """The rows of like glyphs; found is ordered from left to right."""
    rows = []
    free = found
    while free:
        line, rest = [free[0]], []
        for place, glyph in enumerate(free[1:], start=1):
            last = line[-1]
            if glyph.left - last.right > GAP * max(last.height, glyph.height):
                rest += free[place:]
                break
            (line if _follows(last, glyph) else rest).append(glyph)
        rows.append(line)
        free = rest
    return rows


def is_text(line: list[Glyph], where: IntArray) -> bool:
    """Whether a row of glyphs is a line of text, among strokes as glyphs() says."""
    if sum(glyph.characters for glyph in line) < LINE:
        return False
    tops, bottoms, levels = (
        np.array([getattr(glyph, name) for glyph in line]) for name in ("top", "bottom", "level")
    )
    heights = bottoms - tops
    height = float(np.median(heights))
    slack = max(1.0, ON_LINE * height)
    two = [height * factor for factor in (1, SMALL_LETTER, 1 / SMALL_LETTER)]
    alike = max(
        np.sum(np.min([np.abs(heights - two[0]), np.abs(heights - other)], axis=0) <= slack)
        for other in two[1:]
    )
    around = where[
        max(0, int(tops.min() - height / 4)) : int(bottoms.max() + height / 4),
        max(0, int(line[0].left - height / 4)) : int(line[-1].right + height / 4),
    ]
    enough = len(line) - min(
        (1 - STRAIGHT) * len(line), (len(line) - LINE + 1) // 2
    )  # none amiss in the shortest
    return bool(
        np.sum(np.abs(bottoms - np.median(bottoms)) <= slack) >= enough
        and alike >= enough
        and np.median(np.abs(levels - np.median(levels))) <= ONE_LEVEL
        and np.mean([glyph.is_bar for glyph in line]) < BARS
        and np.mean(around[around > 0] == 2) < CLUTTER
    )


def _is_cut(box: tuple[slice, ...], shape: tuple[int, ...]) -> bool:
    """Whether a box touches the edge of the image, as rulers do and text does not."""
    return any(side.start == 0 or side.stop == length for side, length in zip(box, shape, strict=True))


def _characters(shape: BoolArray) -> int:
    """How many characters a component of this shape may be, 0 if it is none."""
    height, width = shape.shape
    fill = shape.mean()
    if fill < 0.15 or (fill > 0.9 and width > 0.4 * height):  # a hairline, a blob
        return 0
    if width <= 1.4 * height:
        return 1
    body = shape[height // 4 : height - height // 4]
    strokes = np.median(np.count_nonzero(np.diff(body.astype(np.int8), axis=1, prepend=0) == 1, axis=1))
    several = int(strokes / 2 + 0.5)  # a character has about two upright strokes
    return several if fill <= 0.75 and several >= max(2, 0.4 * width / height) else 0


def _follows(last: Glyph, glyph: Glyph) -> bool:
    height = max(last.height, glyph.height)
    low, high = glyph.bottom - last.bottom, glyph.top - last.top
    return (
        glyph.left - last.right >= -0.3 * height
        and min(last.height, glyph.height) >= 0.55 * height  # lower case next to capitals
        and min(abs(low), abs(high), abs(low + high) / 2) <= 0.25 * height
        and abs(last.level - glyph.level) <= 0.15
    )


def _scales(image: Float32Array) -> Iterator[Float32Array]:
    """The image and its halvings, as long as a line of text would fit; huge ones are halved first."""
    scaled = image
    while max(scaled.shape) > LARGEST:
        scaled = _halved(scaled)
    while min(scaled.shape) >= SMALLEST:
        yield scaled
        scaled = _halved(scaled)


def _halved(image: Float32Array) -> Float32Array:
    rows, columns = (side // 2 * 2 for side in image.shape)
    return image[:rows, :columns].reshape(rows // 2, 2, columns // 2, 2).mean(axis=(1, 3), dtype=np.float32)
