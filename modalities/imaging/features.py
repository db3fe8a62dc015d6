"""The medical feature net: a small classifier of image kind and orientation, and the features of its last layer.

Frechet and kernel distances of images are computed in its 128 features, as FID is in those of Inception (Heusel et
al. 2017), which was trained on photographs. Its public training task is to tell which data set an image is of, and
by which of the 8 symmetries of the square it was turned.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import TensorDataset

from ...core.config import Settings, parse
from ...core.modality import TrainingSet
from ...core.training.fit import Fit
from ...core.training.trainer import fit
from ...core.training.weights import Weights, find, load, restore
from ...core.types import AnyArray, FloatArray
from .images import Images

SIDE = 64  # pixels that the net sees
TURNS = 8


class FeatureModel(Settings):
    """Shape of the net; `features` is the width of the last layer."""

    widths: tuple[int, ...] = (32, 64, 128)
    features: int = 128
    classes: int = 6


class FeatureTraining(Settings):
    """How the net is trained."""

    steps: int = 1500
    batch_size: int = 128
    learning_rate: float = 1e-3
    label_smoothing: float = 0.1


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


def turned(images: Tensor, turn: Tensor) -> Tensor:
    """(row, channel, side, side) images, each by its own symmetry of the square, (row,) in 0..7."""
    out = images.clone()
    for k in range(TURNS):
        rows = turn == k
        part = torch.rot90(images[rows], k % 4, (2, 3))
        out[rows] = part.flip(3) if k >= 4 else part
    return out


class FeatureTrainer(pl.LightningModule):
    """Classifies set and symmetry. Batches are (images (row, 1, side, side) uint8, set (row,))."""

    def __init__(self, shape: FeatureModel, training: FeatureTraining) -> None:
        super().__init__()
        self.net, self.settings = FeatureNet(shape), training

    def losses(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """(row,) cross-entropy."""
        images, kind = batch
        turn = torch.randint(TURNS, (len(images),), device=images.device)
        logits = self.net.head(self.net(turned(images.float() / 127.5 - 1, turn)))
        smoothing = self.settings.label_smoothing
        return functional.cross_entropy(
            logits, kind * TURNS + turn, label_smoothing=smoothing, reduction="none"
        )

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        loss = self.losses(batch).mean()
        self.log("loss", loss)
        return loss

    def configure_optimizers(self) -> Any:
        return torch.optim.AdamW(self.parameters(), lr=self.settings.learning_rate, weight_decay=0.01)


def train(
    data: Sequence[TrainingSet], network: Mapping[str, Any], training: Mapping[str, Any], how: Fit
) -> Weights:
    """The feature net; the sets are its classes. Raises InputError."""
    shape = parse(FeatureModel, {**network, "classes": len(data)}, "model.network")
    settings = parse(FeatureTraining, training, "model.training")
    images = Images.read(data, SIDE, 1)
    torch.manual_seed(how.seed)
    module = FeatureTrainer(shape, settings)
    outcome = fit(
        module, TensorDataset(images.pixels, torch.from_numpy(images.origin)), how, name="features",
        steps=settings.steps, batch_size=settings.batch_size, ema=None,
    )  # fmt: skip
    return images.public_weights("imaging_features", "feature net", module.net, shape, outcome)


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
