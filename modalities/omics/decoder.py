"""The decoder of the omics model: from a latent and a condition to scores."""

import torch
from torch import Tensor, nn


class Decoder(nn.Module):
    """(row, latent) and (row, column) condition to (row, feature) scores: a line, after a bend of width > 0."""

    def __init__(self, features: int, columns: int, latent: int, width: int) -> None:
        super().__init__()
        self.bend = (
            nn.Sequential(nn.Linear(latent + columns, width), nn.SiLU(), nn.Linear(width, latent))
            if width
            else None
        )
        self.line = nn.Linear(latent + columns, features)

    def forward(self, latent: Tensor, condition: Tensor) -> Tensor:
        if self.bend is not None:
            latent = latent + self.bend(torch.cat([latent, condition], dim=1))
        scores: Tensor = self.line(torch.cat([latent, condition], dim=1))
        return scores
