"""The Lightning module that trains the vitals network, and its loss on held-out stays."""

from collections.abc import Sequence
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from ....core.condition import FieldDropout, field_of
from .network import VitalsModel, VitalsNet
from .training import LINES, Blur, Stays, VitalsTraining
from .trajectory import SEPSIS


class VitalsTrainer(pl.LightningModule):
    """Batches are Stays.tensors(); the loss is in nats an hour."""

    def __init__(self, columns: Sequence[str], shape: VitalsModel, training: VitalsTraining) -> None:
        super().__init__()
        self.settings, self.everywhere = training, True  # public training need not be
        self.net = VitalsNet(len(columns), shape)
        self.hide = FieldDropout(columns, training.hide)
        self.blur = Blur(columns, training.blur, self.net.lattice)
        levels = {channel.field for channel in self.net.lattice.channels if channel.field}
        self.levels = [i for i, column in enumerate(columns) if field_of(column) in levels]
        self.sepsis = [i for i, column in enumerate(columns) if field_of(column) == SEPSIS]

    @property
    def gradient_weights(self) -> dict[str, float]:
        """Under a budget: where bells stand would take up three quarters of a patient's gradient, in a few numbers."""
        lines = [*self.net.lines.parameters(), *self.net.tops.parameters(), *self.net.bends.parameters()]
        return {name: LINES for name, p in self.named_parameters() if any(p is line for line in lines)}

    def losses(self, batch: Sequence[Tensor]) -> Tensor:
        """(row,) minus log likelihood an hour of the window, some of what is known hidden at random."""
        stays = Stays.of(batch, self.net.lattice)
        code = self.blur(self.hide(stays.code))
        if self.levels and self.settings.hide_levels:
            hidden = torch.rand(len(code), device=code.device) < self.settings.hide_levels
            code[:, self.levels] = code[:, self.levels] * ~hidden[:, None]
        # an onset may be known to be, and its hour not
        unsaid = torch.rand(len(code), device=code.device) < 0.5
        if self.sepsis:
            unsaid |= (code[:, self.sepsis] == 0).all(1)
        onset = torch.where(unsaid, torch.nan, stays.onset)
        hours = stays.tokens.bins.shape[1]
        found = self.net.log_likelihood(stays.tokens, stays.chart, code, stays.length, onset, self.everywhere)
        return -found / hours

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        loss = self.losses(batch).mean()
        self.log("loss", loss.detach())
        return loss

    def configure_gradient_clipping(self, optimizer: Any, *_: Any, **__: Any) -> None:
        nn.utils.clip_grad_norm_(self.parameters(), 1.0)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        s = self.settings
        return torch.optim.AdamW(
            self.parameters(), lr=s.learning_rate, betas=(0.9, 0.99), weight_decay=s.weight_decay
        )


@torch.inference_mode()
def held_out_loss(trainer: VitalsTrainer, rows: Sequence[Tensor]) -> float:
    """Nats an hour on rows that were not trained on, everything known; NaN without rows."""
    stays = Stays.of(rows, trainer.net.lattice)
    if not len(stays.code):
        return float("nan")
    hours = stays.tokens.bins.shape[1]
    return float(
        -trainer.net.log_likelihood(stays.tokens, stays.chart, stays.code, stays.length, stays.onset).mean()
        / hours
    )
