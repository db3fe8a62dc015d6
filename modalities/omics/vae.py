"""The conditional VAE of normal scores of all assays, and the module that trains it."""

from collections.abc import Sequence
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from ...core.condition import FieldDropout
from ...core.config import Settings
from .decoder import Decoder


class Network(Settings):
    """Shape: latent numbers a tumour, hidden width, factors of what the decoder leaves unexplained.

    blur: how much of a drawn latent is new; the rest is a training patient's code. 1 keeps no code.
    """

    latent: int = 64
    width: int = 256
    factors: int = 128
    blur: float = 1.0


class Training(Settings):
    """How the VAE is trained."""

    steps: int = 1200
    batch_size: int = 128
    learning_rate: float = 1e-3
    kl: float = 0.3
    hide: float = 0.1


class OmicsVae(pl.LightningModule):
    """Kingma and Welling 2014, conditional (Sohn et al. 2015). Batches are (scores, condition).

    A score that is NaN is of an assay that the patient lacks: the encoder sees 0 there and a flag for each
    assay, the likelihood leaves it out.
    """

    def __init__(
        self, sizes: Sequence[int], columns: Sequence[str], network: Network, training: Training
    ) -> None:
        super().__init__()
        self.settings, self.sizes = training, list(sizes)
        features, width, latent = sum(sizes), network.width, network.latent
        self.encoder = nn.Sequential(
            nn.Linear(features + len(sizes) + len(columns), width),
            nn.SiLU(),
            nn.Dropout(0.2),
            nn.Linear(width, 2 * latent),
        )
        self.decoder = Decoder(features, len(columns), latent, width)
        self.log_spread = nn.Parameter(torch.zeros(features))
        self.hide = FieldDropout(columns, training.hide)

    def encode(self, scores: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance, (row, latent)."""
        flags = torch.stack([~part[:, 0].isnan() for part in torch.split(scores, self.sizes, dim=1)], dim=1)
        seen = torch.cat([scores.nan_to_num(0.0), flags.to(scores), condition], dim=1)
        mean, log_variance = self.encoder(seen).chunk(2, dim=1)
        return mean, log_variance.clamp(-8, 4)

    def losses(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """(row,) negative evidence lower bound, a feature."""
        scores, known = batch
        condition = self.hide(known.cpu()).to(known)
        mean, log_variance = self.encode(scores, condition)
        latent = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        present = ~scores.isnan()
        error = (scores.nan_to_num(0.0) - self.decoder(latent, condition)).float()
        spread = self.log_spread
        likelihood = ((0.5 * (error / spread.exp()).square() + spread) * present).sum(1)
        kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1)
        return (likelihood + self.settings.kl * kl) / present.sum(1)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        loss = self.losses(batch).mean()
        self.log("loss", loss)
        return loss

    def configure_optimizers(self) -> Any:
        return torch.optim.AdamW(self.parameters(), lr=self.settings.learning_rate, weight_decay=1e-3)
