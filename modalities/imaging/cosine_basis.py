"""The cosine basis: images as discrete cosine coefficients of opponent colours, a basis that owes nothing to any data.

The leading coefficients are the coarse image; the others are summed up by their power in bands of frequency. The scale
of each is the power law of natural images (Field 1987), whose colours vary less than their brightness.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ...core.types import FloatArray, IntArray

AMPLITUDE, FALL, COLOUR = (
    0.4,
    1.5,
    0.3,
)  # of the mean, in [-1, 1]; power of 1 + frequency; of colour to brightness
MASK = 1.0  # of a mask's plane to brightness
EDGES = (0, 3, 5, 7, 10, 14, 20, 28, 40, np.inf)  # of the bands, in half cycles an image
FLOOR, CENTRE, UNIT = 1e-3, -1.0, 0.7  # of the log power of a band: its least, its centre and its scale
# Rows: brightness, red against green, both against blue; orthonormal
OPPONENT = np.array([[1, 1, 1], [1, -1, 0], [1, 1, -2]]) / np.sqrt([[3.0], [2.0], [6.0]])
SMOOTH = 2 / 64  # of the image: over which the local contrast is averaged
PLAIN = 0.3  # of the fine detail's amplitude that is there without any contrast
MOST = 3.0  # standard deviations of a band's log power that are drawn
ALIKE = 0.95  # the most that fine detail of colour follows that of brightness


@dataclass(frozen=True)
class CosineBasis:
    """Square images as vectors: `rank` leading coefficients, and the log power of each band of the others.

    The planes of `masks` follow the channels of the image. They are smooth, so that the leading coefficients do.
    """

    size: int
    channels: int
    rank: int
    masks: int = 0

    @cached_property
    def _frequency(self) -> FloatArray:
        """(channel, y, x) half cycles an image."""
        steps = np.arange(self.size)
        return np.repeat(np.hypot(steps[:, None], steps)[None], self.channels + self.masks, axis=0)

    @cached_property
    def _scale(self) -> FloatArray:
        """(channel, y, x) public standard deviation of each coefficient."""
        colour = np.array([1.0, COLOUR, COLOUR])[: self.channels]
        plane = np.append(colour, np.full(self.masks, MASK))[:, None, None]
        return np.asarray(AMPLITUDE * plane / (1 + self._frequency) ** FALL)

    @cached_property
    def leading(self) -> IntArray:
        """(rank,) places of the leading coefficients among all, the greatest scale first."""
        return np.argsort(-self._scale.ravel(), kind="stable")[: self.rank].astype(np.int64)

    @cached_property
    def bands(self) -> tuple[IntArray, ...]:
        """Places of the other coefficients by band: brightness first, then both colours together."""
        band = np.digitize(self._frequency.ravel(), EDGES)
        colour = np.arange(band.size) >= self.size**2
        band = np.where(colour, band + len(EDGES), band)
        band[self.leading] = 0
        band[self.channels * self.size**2 :] = 0
        return tuple(np.flatnonzero(band == number) for number in np.unique(band[band > 0]))

    @property
    def width(self) -> int:
        """Numbers that describe an image."""
        return self.rank + len(self.bands)

    @property
    def weight(self) -> FloatArray:
        """(width,) of each number where vectors are clipped: half-way between all alike and all pixels alike."""
        root = np.sqrt(self._scale.ravel()[self.leading])
        return np.append(root / np.sqrt(np.mean(root**2)), np.ones(len(self.bands)))

    def describe(self, images: FloatArray) -> FloatArray:
        """(row, width) of images (row, channel, y, x) in [-1, 1], in public standard deviations."""
        from scipy.fft import dctn

        z = dctn(self._opponent(images), axes=(2, 3), norm="ortho") / self.size / self._scale
        z = z.reshape(len(images), -1)
        power = [np.log(np.sqrt(np.square(z[:, band]).mean(1)) + FLOOR) for band in self.bands]
        return np.column_stack([z[:, self.leading], *((row - CENTRE) / UNIT for row in power)])

    def image(self, vector: FloatArray, white: FloatArray) -> FloatArray:
        """(channel, y, x) in [-1, 1] of a vector (width,) and white noise (channel, y, x), of which the detail is made.

        The planes of masks follow, without detail.

        Fine detail lies where the coarse image changes, and its colours follow its brightness as those of the coarse
        image do: noise of the bands' power alone would be spread evenly.
        """
        z = np.zeros(self._scale.size)
        z[self.leading] = vector[: self.rank]
        whole = self._pixels(z.reshape(self._scale.shape))
        coarse, planes = whole[: self.channels], whole[self.channels :]
        fine = np.array(white, dtype=np.float64)
        flat = coarse.reshape(self.channels, -1)
        flat = flat - flat.mean(1, keepdims=True)
        for k in range(1, self.channels):
            likeness = flat[0] @ flat[k] / max(1e-12, np.linalg.norm(flat[0]) * np.linalg.norm(flat[k]))
            likeness = np.clip(np.sign(likeness) * np.sqrt(abs(likeness)), -ALIKE, ALIKE)
            fine[k] = likeness * fine[0] + np.sqrt(1 - likeness**2) * fine[k]
        gain = np.zeros(self.channels * self.size**2)
        for band, power in zip(self.bands, vector[self.rank :], strict=True):
            gain[band] = np.exp(CENTRE + UNIT * np.clip(power, -MOST, MOST))
        detail = self._pixels(fine * gain.reshape(fine.shape)) * self._contrast(coarse[0])
        mixed = coarse + detail
        if self.channels > 1:
            mixed = np.einsum("kyx,kc->cyx", mixed, OPPONENT)
        return np.clip(np.concatenate([mixed, planes]), -1, 1)

    def _opponent(self, images: FloatArray) -> FloatArray:
        if self.channels == 1:
            return np.asarray(images, dtype=np.float64)
        colour, planes = images[:, : self.channels].astype(np.float64), images[:, self.channels :]
        return np.concatenate([np.einsum("ncyx,kc->nkyx", colour, OPPONENT), planes], axis=1)

    def _pixels(self, z: FloatArray) -> FloatArray:
        """(channel, y, x) of coefficients of that shape."""
        from scipy.fft import idctn

        return np.asarray(idctn(z * self._scale[: len(z)] * self.size, axes=(1, 2), norm="ortho"))

    def _contrast(self, coarse: FloatArray) -> FloatArray:
        """(y, x) amplitude of fine detail, of mean square 1: a constant and the local contrast."""
        from scipy.ndimage import gaussian_filter

        down, across = np.gradient(coarse)
        local = np.sqrt(gaussian_filter(down**2 + across**2, SMOOTH * self.size))
        amplitude = local / max(1e-6, float(local.mean())) + PLAIN
        return np.asarray(amplitude / np.sqrt(np.mean(amplitude**2)))
