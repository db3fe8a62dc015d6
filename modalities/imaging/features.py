"""The medical feature net: a small classifier of image kind and orientation, and the features of its last layer.

Frechet and kernel distances of images are computed in its 128 features, as FID is in those of Inception (Heusel et
al. 2017), which was trained on photographs. Its public training task is to tell which data set an image is of, and
by which of the 8 symmetries of the square it was turned.
"""

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ...core.config import Settings, parse
from ...core.training.weights import find, load, restore
from ...core.types import AnyArray, FloatArray

SIDE = 64  # pixels that the net sees
TURNS = 8


class FeatureModel(Settings):
    """Shape of the net; `features` is the width of the last layer."""

    widths: tuple[int, ...] = (32, 64, 128)
    features: int = 128
    classes: int = 6


class FeatureNet(nn.Module):
    """(row, 1, 64, 64) images in [-1, 1] -> (row, features)."""

    def __init__(self, shape: FeatureModel) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 1
        for width in (*shape.widths, shape.features):
            layers += [
                nn.Conv2d(before, width, 3, stride=2, padding=1),
                nn.BatchNorm2d(width),
                nn.SiLU(),
                nn.Conv2d(width, width, 3, padding=1, groups=width // 16),
                nn.BatchNorm2d(width),
                nn.SiLU(),
            ]
            before = width
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(shape.features, shape.classes * TURNS)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x).mean((2, 3))


class FeatureSpace:
    """A trained net, as a function of (image, 64, 64) pictures in [0, 1] to (image, features)."""

    def __init__(self, path: Path) -> None:
        weights = load(path)
        self.net = FeatureNet(parse(FeatureModel, weights.card.model, f"weights {weights.card.name}: model"))
        restore(self.net, weights)
        self.net.eval()

    @torch.inference_mode()
    def __call__(self, images: AnyArray) -> FloatArray:
        device = next(self.net.parameters()).device
        parts = (images[start : start + 256].astype(np.float32) for start in range(0, len(images), 256))
        found = [self.net(torch.from_numpy(part)[:, None].to(device) * 2 - 1) for part in parts]
        return torch.cat(found).double().cpu().numpy()


@lru_cache(maxsize=1)
def shipped() -> FeatureSpace:
    """The net of the weights `imaging_features`, loaded once. Raises InputError if they are missing."""
    return FeatureSpace(find("imaging_features"))
