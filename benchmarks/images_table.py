"""What images.py and its parts share: the table, the data, drawing."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from polyclinic import Batch, PatientProfile, ProfileEncoder, seed_for
from polyclinic.conditioning.dataset.dataset import read_training_set
from polyclinic.core.config import DatasetConfig, TrainConfig, load
from polyclinic.modalities.imaging.data import read_images
from polyclinic.modalities.imaging.generator import ImageGenerator

Pixels = NDArray[np.float32]  # (image, y, x) in [0, 1]
DELTA, KEPT, SIDE = 1e-4, 64, 64
# Frechet distances depend on the scale of the net's features. The bars were set in another net, in which X-rays drawn
# directly from 64 moments (no noise) are at 1.72; in the shipped one they are at 1.72 times this unit.
FID_UNIT = 2.456
KID_UNIT = 1.459  # the same for kernel distances, 0.078 there
PNEUMONIA = "J18.9"
ENCODER = ProfileEncoder()


@dataclass
class Table:
    """Rows, printed at once where they are `shown`, how many bars were missed, and what a cache made and had."""

    shown: bool = False
    missed: int = 0
    made: int = 0
    used: int = 0
    lines: list[str] = field(default_factory=list)

    def _line(self, text: str) -> None:
        self.lines.append(text)
        if self.shown:
            print(text, flush=True)

    def head(self, title: str) -> None:
        """A section."""
        self._line(f"\n{title:68}{'figure':>9}{'floor':>9}{'bar':>10}  verdict")

    def add(
        self,
        what: str,
        figure: float,
        floor: float | None = None,
        least: float | None = None,
        most: float | None = None,
        interval: tuple[float, float] | None = None,
    ) -> None:
        """A row: figure, real-vs-real floor, bar (at least, or at most), verdict, and the figure's 95 % interval."""
        bar, verdict = "", "reported"
        if least is not None:
            bar, verdict = f">= {least:.3g}", "met" if figure >= least else "MISSED"
        if most is not None:
            bar, verdict = f"<= {most:.3g}", "met" if figure <= most else "MISSED"
        self.missed += verdict == "MISSED"
        baseline = "" if floor is None else f"{floor:.3f}"
        spread = "" if interval is None else f"  [{interval[0]:.3f}, {interval[1]:.3f}]"
        self._line(f"{what:68}{figure:>9.3f}{baseline:>9}{bar:>10}  {verdict}{spread}")


def read(config: str, name: str, data: Path, split: str) -> tuple[Pixels, list[PatientProfile]]:
    """Images of 64 x 64 in [0, 1], and whose they are, of one data set of a training YAML."""
    settings, _ = load(TrainConfig, config, "train")
    chosen: DatasetConfig = next(d for d in settings.datasets if d.name == name)
    pixels, profiles = read_images(read_training_set(chosen, data, split), 64)
    return (pixels[:, 0] / 4095).astype(np.float32), profiles


def drawn(
    generator: ImageGenerator, profiles: Sequence[PatientProfile], seed: int, size: int = SIDE
) -> Pixels:
    """One image of each profile, of `size` pixels a side or fewer: larger ones are shrunk by area mean."""
    out = []
    for start in range(0, len(profiles), 64):
        own = tuple(profiles[start : start + 64])
        seeds = tuple(seed_for(seed, f"{start + i}", "benchmark") for i in range(len(own)))
        images = generator.draw(Batch(own, ENCODER.encode(own), seeds))
        out.append((shrunk(images[:, 0], size) + 1) / 2)
    return np.concatenate(out).astype(np.float32)


def shrunk(images: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Images (image, y, x) of `size` pixels a side, by area mean, where they are a multiple as large."""
    times = max(1, images.shape[1] // size)
    side = images.shape[1] // times
    return images.reshape(len(images), side, times, side, times).mean((2, 4))


def coordinates(generator: ImageGenerator, x: Pixels) -> NDArray[np.float64]:
    """(image, component) in the generator's basis, of images of its size or, to each of whose pixels it has several."""
    import torch

    times = generator.shape.size // x.shape[1]
    with torch.no_grad():
        wide = (x[i : i + 512].repeat(times, 1).repeat(times, 2) for i in range(0, len(x), 512))
        parts = (torch.from_numpy(part)[:, None] * 2 - 1 for part in wide)
        return np.concatenate([generator.net.coordinates(part).double().numpy() for part in parts])
