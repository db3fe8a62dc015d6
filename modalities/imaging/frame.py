"""One image on its way into training: grey levels from black to white, which slices, one square size."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field, model_validator

from ...core.config import Settings
from ...core.types import AnyArray, Float32Array

FULL_SCALE = 4095  # white in 12 bits
LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601
SQUARE_ENOUGH = 0.01  # pixel aspects nearer to 1 than this are noise of decimal tags
Percentile = Annotated[float, Field(ge=0, le=100)]


@dataclass(frozen=True)
class Frame:
    """An image as displayed: (row, column) grey or (row, column, 3) RGB, float32, black 0 to white 1.

    aspect is a pixel's height over its width. annotated: the file itself says that text is burned in.
    stack names the volume that it is a slice of, and height is how far up the normal of its plane it lies, in any unit.
    labels is its mask, (row, column) of the place of each pixel's label from 1, 0 the background; see masks.
    """

    pixels: Float32Array
    aspect: float = 1.0
    annotated: bool = False
    stack: str = ""
    height: float | None = None
    labels: NDArray[np.uint8] | None = None


class Window(Settings):
    """A display window in the file's own unit, such as Hounsfield units after rescale."""

    center: float
    width: float = Field(gt=0)


class Levels(Settings):
    """What becomes black and white: a public window, or percentiles of each image by itself."""

    window: Window | None = None
    percentiles: tuple[Percentile, Percentile] | None = None

    @property
    def chosen(self) -> bool:
        """Whether the user set levels, which then hold in place of the file's own."""
        return self.window is not None or self.percentiles is not None

    def ends(self, values: AnyArray) -> tuple[float, float]:
        """Black and white for these values: the window, or their own percentiles (all of the range if unset)."""
        if self.window is not None:
            half = self.window.width / 2
            return self.window.center - half, self.window.center + half
        if not values.size:
            return 0.0, 1.0
        low, high = np.percentile(values, self.percentiles or (0, 100))
        return float(low), float(high)


class Slices(Settings):
    """Which slices or frames of a file: its middle share, or the places first to last, counted from 0."""

    middle: float = Field(default=1.0, gt=0, le=1)
    first: int | None = Field(default=None, ge=0)
    last: int | None = Field(default=None, ge=0)
    step: int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _one_way(self) -> "Slices":
        if self.middle < 1 and (self.first, self.last) != (None, None):
            raise ValueError("give either middle, or first and last")
        if self.first is not None and self.last is not None and self.last < self.first:
            raise ValueError("last must not come before first")
        return self

    def of(self, count: int) -> range:
        """Places of the chosen slices in a file of `count`; empty where the file has none of them."""
        if self.middle < 1:
            kept = max(1, round(self.middle * count))
            start = (count - kept) // 2
            return range(start, start + kept, self.step)
        end = count if self.last is None else min(self.last + 1, count)
        return range(self.first or 0, end, self.step)


def stretched(values: AnyArray, low: float, high: float) -> Float32Array:
    """Values as float32 from 0 (at low and before) to 1 (at high and beyond), also where high lies below low.

    What is not a number is black.
    """
    scaled = (np.asarray(values, dtype=np.float32) - np.float32(low)) / np.float32(high - low or 1)
    return np.clip(np.nan_to_num(scaled, nan=0.0), 0, 1)


def grey(pixels: Float32Array) -> Float32Array:
    """(row, column) luma of grey or RGB pixels."""
    return pixels @ LUMA if pixels.ndim == 3 else pixels


def twelve_bits(pixels: Float32Array) -> NDArray[np.uint16]:
    """0..1 as 0..4095."""
    return np.rint(np.clip(pixels, 0, 1) * FULL_SCALE).astype(np.uint16)


def square(frame: Frame, size: int, channels: int = 1) -> NDArray[np.uint16]:
    """(channel, size, size) 12-bit: the central square in physical units, resampled with antialiasing."""
    if channels == 1:
        planes = [grey(frame.pixels)]
    elif frame.pixels.ndim == 2:
        planes = [frame.pixels] * channels
    else:
        planes = [frame.pixels[..., channel] for channel in range(channels)]
    return np.stack([twelve_bits(fitted(plane, size, frame.aspect)) for plane in planes])


def fitted(
    plane: Float32Array, size: int, aspect: float, how: Image.Resampling = Image.Resampling.LANCZOS
) -> Float32Array:
    """(size, size) of a plane: its central square in physical units."""
    rows, columns = plane.shape
    if abs(aspect - 1) < SQUARE_ENOUGH:
        aspect = 1.0
    if plane.shape == (size, size) and aspect == 1:
        return plane
    side = min(columns, rows * aspect)  # in pixel widths
    left, top = (columns - side) / 2, (rows - side / aspect) / 2
    box = (left, top, left + side, top + side / aspect)
    picture = Image.fromarray(np.ascontiguousarray(plane, dtype=np.float32))
    return np.asarray(picture.resize((size, size), how, box))
