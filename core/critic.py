"""A critic that chooses among what a prior proposes: how it scores, and how it is kept in a weight file."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .types import Float32Array, FloatArray

if TYPE_CHECKING:
    from torch import Tensor

PREFIX = "critic."  # of the names of its tensors
PROPOSALS = 8  # of which one is drawn


@dataclass(frozen=True)
class Critic:
    """From scores of a proposal to the log ratio of real to proposed ones, up to a constant: a line, or a network.

    `layers` are the weight (output, input) and bias (output,) of each; `middle` and `spread` (score,) are the scale
    of its inputs.
    """

    layers: tuple[tuple[Float32Array, Float32Array], ...]
    middle: Float32Array
    spread: Float32Array

    def __call__(self, scores: FloatArray | Float32Array) -> FloatArray:
        """(row,) log ratio of (row, score)."""
        x = ((scores - self.middle) / self.spread).astype(np.float32)
        for weight, bias in self.layers[:-1]:
            x = np.maximum(x @ weight.T + bias, 0)
        weight, bias = self.layers[-1]
        return np.asarray((x @ weight.T + bias)[:, 0], dtype=np.float64)

    def choose(self, random: np.random.Generator, scores: FloatArray | Float32Array) -> int:
        """A row of (row, score), in proportion to the ratio (sampling importance resampling, Rubin 1988)."""
        return int((self(scores) + random.gumbel(size=len(scores))).argmax())

    def arrays(self) -> dict[str, FloatArray]:
        """By name, for a weight file; `of_arrays` reads them."""
        out = {"middle": self.middle, "spread": self.spread}
        for i, (weight, bias) in enumerate(self.layers):
            out |= {f"{i}.weight": weight, f"{i}.bias": bias}
        return {f"{PREFIX}{name}": value.astype(np.float64) for name, value in out.items()}

    def tensors(self) -> dict[str, "Tensor"]:
        """The same as tensors; `of` reads them."""
        from torch import from_numpy

        return {name: from_numpy(value).float().contiguous() for name, value in self.arrays().items()}

    @classmethod
    def of(cls, tensors: Mapping[str, "Tensor"]) -> "Critic | None":
        """From the tensors of a weight file; None if it has none."""
        return cls.of_arrays(
            {name: t.float().numpy() for name, t in tensors.items() if name.startswith(PREFIX)}
        )

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, FloatArray]) -> "Critic | None":
        """From arrays() among others; None if they are not there."""
        own = {
            name.removeprefix(PREFIX): value.astype(np.float32)
            for name, value in arrays.items()
            if name.startswith(PREFIX)
        }
        if not own:
            return None
        count = sum(name.endswith(".bias") for name in own)
        layers = tuple((own[f"{i}.weight"], own[f"{i}.bias"]) for i in range(count))
        return cls(layers, own["middle"], own["spread"])
