"""Training of the medical feature net."""

from collections.abc import Mapping, Sequence
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import TensorDataset

from ...core.config import Settings, parse
from ...core.modality import TrainingSet
from ...core.training.fit import Fit
from ...core.training.trainer import fit
from ...core.training.weights import Weights
from .features import SIDE, TURNS, FeatureModel, FeatureNet
from .images import Images


class FeatureTraining(Settings):
    """How the net is trained."""

    steps: int = 1500
    batch_size: int = 128
    learning_rate: float = 1e-3
    label_smoothing: float = 0.1


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
