"""Choice: a critic that picks one of several stays that the prior proposes for a row, by an additive score of figures.

Each figure of a stay's course and charting (never of its levels, which are the profile's) has a table of log odds over
bins. A proposal is drawn in proportion to the odds (sampling importance resampling, Rubin 1988). The tables come from
histograms of the patients' figures alone, so that a Gaussian mechanism on those makes them private; see
choice_training.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ....core.types import BoolArray, Float32Array, FloatArray, IntArray
from .critics import stay_figures
from .quantizer import SHIPPED, Lattice
from .refiner import Charted

if TYPE_CHECKING:
    from torch import Tensor

PROPOSALS = 8  # stays of which one is drawn
PREFIX = "choice"  # of its tensors, beside those of the prior
BLOCK = 500  # rows at a time
RELATIVE = (3, 4, 5, 6)  # blocks of stay_figures() that say a reading: lowest, highest, last, first


def shape_figures(readings: Float32Array, lattice: Lattice = SHIPPED) -> Float32Array:
    """(row, figure) of (row, hour, channel) readings with NaN: its course around its own mean, and its charting."""
    import torch

    out = []
    for start in range(0, len(readings), BLOCK):
        part = readings[start : start + BLOCK]
        stay = Charted.of(part, lattice)
        with torch.no_grad():
            found = stay_figures(stay.values, stay.mask, lattice).numpy()
        count = lattice.count
        for block in RELATIVE:
            found[:, block * count : (block + 1) * count] -= found[:, :count]
        out.append(np.concatenate([found[:, count:], _charting(np.isfinite(part))], axis=1))
    return np.concatenate(out).astype(np.float32)


def _charting(seen: BoolArray) -> FloatArray:
    """(row, figure): hours without any reading, how often charting begins or ends, and what is charted together."""
    first, second = np.tril_indices(seen.shape[2], -1)
    return np.concatenate(
        [
            1 - seen.any(2).mean(1, keepdims=True),
            (seen[:, 1:] != seen[:, :-1]).mean(1),
            (seen[..., first] & seen[..., second]).mean(1) - (seen[..., first] | seen[..., second]).mean(1),
        ],
        axis=1,
    )


@dataclass(frozen=True)
class Choice:
    """`edges` (figure, bin - 1) of each figure's bins; `table` (figure, bin) log odds, `septic` added in sepsis."""

    edges: Float32Array
    table: Float32Array
    septic: Float32Array

    def bins(self, figures: Float32Array) -> IntArray:
        """(row, figure) the bin of each figure."""
        return np.asarray((figures[..., None] > self.edges).sum(-1), dtype=np.int64)

    def __call__(self, figures: Float32Array, septic: BoolArray) -> FloatArray:
        """(row,) log odds, up to a constant, of rows of shape_figures(), and who of them has sepsis."""
        bins, place = self.bins(figures), np.arange(len(self.edges))
        odds = self.table[place, bins].sum(1) + septic * self.septic[place, bins].sum(1)
        return np.asarray(odds, dtype=np.float64)

    def tensors(self) -> dict[str, "Tensor"]:
        """For a weight file; `of` reads them."""
        from torch import from_numpy

        return {f"{PREFIX}.{name}": from_numpy(value).contiguous() for name, value in vars(self).items()}

    @classmethod
    def of(cls, tensors: Mapping[str, "Tensor"]) -> "Choice | None":
        """From the tensors of a weight file; None if it has none."""
        own = {
            name.removeprefix(f"{PREFIX}."): tensor.float().numpy()
            for name, tensor in tensors.items()
            if name.startswith(f"{PREFIX}.")
        }
        return cls(**own) if own else None
