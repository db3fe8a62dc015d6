"""The Lightning module that trains the image model's flow."""

from collections.abc import Sequence
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor
from torch.nn import functional

from ...core.condition import FieldDropout
from .model import Denoiser, ImageModel, ImageTraining, scaled


class ImageDiffusion(pl.LightningModule):
    """Flow matching (Lipman et al. 2023): x_t = (1 - t) x + t source, the network learns source - x.

    Batches are (images (row, channel, y, x) uint8, condition (row, column)).
    """

    def __init__(self, columns: Sequence[str], shape: ImageModel, training: ImageTraining) -> None:
        super().__init__()
        self.training_settings = training
        self.multiplicity = training.augmentation_multiplicity  # examples a row, for the clipper
        self.net = Denoiser(len(columns), shape).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.hide = FieldDropout(columns, training.hide)
        self.kept = torch.tensor(training.kept)
        if training.compile:
            self.net.compile()

    def losses(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """(row,) squared error of the velocity at uniform times; fine detail, of little energy, weighs more.

        With augmentation multiplicity K, the mean of K draws of a row's start and time (De et al. 2022).
        """
        images, condition = (part.repeat_interleave(self.multiplicity, dim=0) for part in batch)
        x = scaled(images)
        kept = self.kept[torch.randint(len(self.kept), (len(x),))].to(x.device)
        weights = torch.randn(len(x), len(self.net.basis), device=x.device)
        shared = torch.arange(weights.shape[1], device=x.device) < kept[:, None]
        with torch.autocast(x.device.type, enabled=False):  # what is shared is shared to the last digits
            weights = torch.where(shared, self.net.coordinates(x), weights)
            source = self.net.source(torch.randn_like(x), weights)
        time = torch.rand(len(x), device=x.device)
        t = time[:, None, None, None]
        velocity = self.net((1 - t) * x + t * source, time, self.hide(condition), kept)
        error = velocity.float() - (source - x)
        losses = weighted(error, self.training_settings.fine)
        return losses.view(-1, self.multiplicity).mean(1)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        loss = self.losses(batch).mean()
        self.log("loss", loss)
        return loss

    def configure_optimizers(self) -> Any:
        rate = self.training_settings.learning_rate
        groups: list[dict[str, Any]] = [
            {"params": [p for p in part.parameters() if p.requires_grad], "lr": rate * factor}
            for part, factor in ((self.net.unet, 1.0), (self.net.condition, 3.0))
        ]
        return torch.optim.AdamW([g for g in groups if g["params"]], weight_decay=0.01, betas=(0.9, 0.99))


def weighted(error: Tensor, weight: float) -> Tensor:
    """(row,) mean square of errors (row, plane, y, x); that of fine detail, of little energy, counts so much more."""
    fine = error - functional.avg_pool2d(error, 5, stride=1, padding=2, count_include_pad=False)
    return error.square().mean(dim=(1, 2, 3)) + weight * fine.square().mean(dim=(1, 2, 3))
