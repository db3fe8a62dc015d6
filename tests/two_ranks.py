"""Models that a second process can import: what tests/core/training/test_devices.py trains on two ranks."""

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from polyclinic.core.errors import InputError

ROWS, FEATURES, RATE = 48, 3, 0.05


class Told(Dataset[tuple[Tensor, Tensor]]):
    """y = x . (1, 2, 3); each row asked for is added to a file."""

    def __init__(self, path: str) -> None:
        random = torch.Generator().manual_seed(1)
        self.x, self.path = torch.randn(ROWS, FEATURES, generator=random), path
        self.y = self.x @ torch.tensor([1.0, 2.0, 3.0])

    def __len__(self) -> int:
        return ROWS

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor]:
        with open(self.path, "a") as told:  # noqa: PTH123
            told.write(f"{row}\n")
        return self.x[row], self.y[row]


class Plane(pl.LightningModule):
    """y = w . x by squared error; `idle` numbers take part and learn nothing; `fault` fails in the second process."""

    def __init__(self, idle: int = 0, fault: bool = False) -> None:
        super().__init__()
        self.line, self.fault = nn.Linear(FEATURES, 1, bias=False), fault
        self.rest = nn.Linear(idle, 1, bias=False) if idle else None
        nn.init.zeros_(self.line.weight)
        if self.rest is not None:
            nn.init.zeros_(self.rest.weight)

    def losses(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        x, y = batch
        if self.fault and self.global_rank == 1:
            raise InputError("row 7: no number")
        out = self.line(x)[:, 0]
        if self.rest is not None:
            out = out + self.rest(torch.zeros(len(x), self.rest.in_features))[:, 0]
        return (out - y).square()

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        loss = self.losses(batch).mean()
        self.log("loss", loss)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=RATE)
