"""Ways that an image might as well lie: mirrored, upside down, turned; a square has eight."""

from typing import Literal

import torch
from torch import Tensor
from torch.utils.data import Dataset

from ...core.types import IntArray

Symmetry = Literal["none", "mirror", "rectangle", "square"]
_ORDER = (0, 1, 4, 5, 2, 3, 6, 7)  # twice the quarter turns, and 1 where mirrored
_WAYS = {"none": 1, "mirror": 2, "rectangle": 4, "square": 8}  # how many of them


def ways_of(symmetry: Symmetry) -> int:
    """How many ways there are, the image as it is among them."""
    return _WAYS[symmetry]


def laid(image: Tensor, way: int) -> Tensor:
    """A square image (plane, y, x) in one of eight ways, of which the first is the image as it is."""
    turns, mirrored = divmod(_ORDER[way], 2)
    return (image.flip(2) if mirrored else image).rot90(turns, (1, 2))


class Turned(Dataset[tuple[Tensor, ...]]):
    """Rows of images (row, plane, y, x) and others; each time an image is asked for, it lies in one of its `ways`
    (row,) at random.
    """

    def __init__(self, images: Tensor, ways: IntArray, *others: Tensor) -> None:
        self.images, self.ways, self.others = images, ways, others

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, row: int) -> tuple[Tensor, ...]:
        way = int(torch.randint(int(self.ways[row]), ()))
        return (laid(self.images[row], way), *(other[row] for other in self.others))
