"""A volume as its slices: where each lies, as columns of the model's code, and noise that neighbours share."""

import math
from collections.abc import Sequence

import numpy as np
from torch import Tensor

from ...core.types import Float32Array, FloatArray

WAVES = 3
COLUMNS = ("slice", *(f"slice~cos{k}" for k in range(1, WAVES + 1)), "slice?")


def places(stacks: Sequence[str], heights: Sequence[float | None]) -> FloatArray:
    """(row,) place of each slice in its stack, 0 lowest to 1 highest; NaN where it lies in none.

    heights are along the normal of the slices' plane, in any unit.
    """
    import pandas as pd

    table = pd.DataFrame({"stack": [stack or None for stack in stacks], "height": heights}).astype(
        {"height": float}
    )
    low, high = (table.groupby("stack").height.transform(end) for end in ("min", "max"))
    return ((table.height - low) / (high - low).where(high > low)).to_numpy()


def spaced(slices: int) -> FloatArray:
    """(slice,) places of a drawn stack."""
    return np.linspace(0, 1, slices)


def code_of(place: FloatArray) -> Float32Array:
    """(row, column) of COLUMNS: the place from -1 to 1, cosines of it, and whether it is known; else zeros."""
    known = np.isfinite(place)
    p = np.where(known, place, 0.0)
    waves = [np.cos(math.pi * k * p) for k in range(1, WAVES + 1)]
    code = np.stack([2 * p - 1, *waves, np.ones(len(p))], axis=1)
    return (code * known[:, None]).astype(np.float32)


def turned(one: Tensor, other: Tensor, place: float) -> Tensor:
    """Noise that turns from one draw into another along a stack: unit variance at any place, smooth in it."""
    angle = math.pi / 2 * place
    return math.cos(angle) * one + math.sin(angle) * other
