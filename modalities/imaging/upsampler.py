"""The public upsampler: an adversarially trained network that enlarges an image four times.

It learns from public images alone, so that it costs no budget: resolution beyond the private model is
post-processing. Its training inputs went through the last part of the flow, so that it also corrects what the
flow gets wrong.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import TensorDataset

from ...core.config import Settings, parse
from ...core.modality import TrainingSet
from ...core.training.fit import Fit
from ...core.training.trainer import fit
from ...core.training.weights import Weights, restore
from .images import Images
from .model import Denoiser, half_is_fast, network_of, network_tensors, require_flow, scaled

FACTOR = 4
MARGIN = 4  # coarse pixels of repeated edge around an image: the zeros that convolutions pad with would show as lines


class UpsamplerModel(Settings):
    """Shape: channels and residual blocks at the coarse size; `size` is that of the training images."""

    size: int = 256
    width: int = 48
    blocks: int = 8


class UpsamplerTraining(Settings):
    """How it is trained: on random crops of `crop` fine pixels, the first `warmup` batches without the critic.

    With --init a flow, three inputs in four are noised by it up to a time below `depth` and denoised again, which
    leaves the anatomy and renews the detail.
    """

    steps: int = 8000
    warmup: int = 400
    batch_size: int = 8
    crop: int = 128
    depth: float = 0.45
    learning_rate: float = 3e-4
    adversarial: float = 0.01
    matching: float = 0.3


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1)
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + 0.2 * self.body(x)


class Upsampler(nn.Module):
    """forward(coarse (row, 1, y, x) in [-1, 1], noise like coarse) -> (row, 1, 4 y, 4 x)."""

    def __init__(self, shape: UpsamplerModel) -> None:
        super().__init__()
        w = shape.width
        self.stem = nn.Conv2d(2, w, 3, padding=1)
        self.body = nn.Sequential(*[_Block(w) for _ in range(shape.blocks)])
        self.up = nn.Sequential(
            nn.Conv2d(w, 2 * w, 3, padding=1), nn.PixelShuffle(2), nn.SiLU(),
            nn.Conv2d(w // 2, 2 * w, 3, padding=1), nn.PixelShuffle(2), nn.SiLU(),
            nn.Conv2d(w // 2, 1, 3, padding=1),
        )  # fmt: skip

    def forward(self, coarse: Tensor, noise: Tensor) -> Tensor:
        first = self.stem(torch.cat([coarse, noise], dim=1))
        detail = self.up(first + self.body(first))
        smooth = functional.interpolate(coarse, scale_factor=FACTOR, mode="bicubic", align_corners=False)
        return smooth + detail


def shrunk(fine: Tensor) -> Tensor:
    """(row, 1, y, x) -> a quarter of the size, by area mean."""
    return functional.avg_pool2d(fine, FACTOR)


def enlarged(net: Upsampler, coarse: Tensor, noise: Tensor) -> Tensor:
    """(row, 1, 4 y, 4 x) of images (row, 1, y, x) in [-1, 1] and noise like them; edges are padded first."""
    around = (MARGIN,) * 4
    fine = net(
        functional.pad(coarse, around, mode="replicate"), functional.pad(noise, around, mode="reflect")
    )
    beyond = FACTOR * MARGIN
    return fine[:, :, beyond:-beyond, beyond:-beyond]


class Critic(nn.Module):
    """Is this patch of a real image? Logits (row, 1, patch, patch) and the features on the way (Isola et al. 2017)."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        widths = [2, width, 2 * width, 4 * width]
        self.layers = nn.ModuleList(
            nn.utils.parametrizations.spectral_norm(nn.Conv2d(a, b, 4, stride=2, padding=1))
            for a, b in pairwise(widths)
        )
        self.head = nn.Conv2d(widths[-1], 1, 3, padding=1)

    def forward(self, fine: Tensor, coarse: Tensor) -> tuple[Tensor, list[Tensor]]:
        x = torch.cat([fine, functional.interpolate(coarse, scale_factor=FACTOR, mode="nearest")], dim=1)
        seen = []
        for layer in self.layers:
            x = functional.leaky_relu(layer(x), 0.2)
            seen.append(x)
        return self.head(x), seen


class UpsamplerTrainer(pl.LightningModule):
    """Least absolute error, then a hinge critic with feature matching (Wang et al. 2018).

    Batches are (fine (row, 1, 4 y, 4 x), coarse (row, 1, y, x)), uint8.
    """

    def __init__(self, shape: UpsamplerModel, training: UpsamplerTraining) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.settings = training
        self.net, self.critic = Upsampler(shape), Critic()

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        fine, coarse = cropped(*batch, self.settings.crop)
        for_net, for_critic = self.optimizers()  # type: ignore[attr-defined]
        drawn = self.net(coarse, torch.randn_like(coarse))
        loss = functional.l1_loss(drawn, fine)
        self.log("loss", loss)
        if self.global_step >= self.settings.warmup:
            loss = loss + self._adversarial(drawn, fine, coarse, for_critic)
        for_net.zero_grad()
        self.manual_backward(loss)
        for_net.step()

    def _adversarial(self, drawn: Tensor, fine: Tensor, coarse: Tensor, for_critic: Any) -> Tensor:
        """One step of the critic, then its loss for the network."""
        real, _ = self.critic(fine, coarse)
        fake, _ = self.critic(drawn.detach(), coarse)
        gap = functional.relu(1 - real).mean() + functional.relu(1 + fake).mean()
        self.log("critic", gap)
        for_critic.zero_grad()
        self.manual_backward(gap)
        for_critic.step()
        with torch.no_grad():
            wanted = self.critic(fine, coarse)[1]
        score, seen = self.critic(drawn, coarse)
        match = sum(functional.l1_loss(a, b) for a, b in zip(seen, wanted, strict=True))
        return self.settings.matching * match - self.settings.adversarial * score.mean()

    def configure_optimizers(self) -> Any:
        rate = self.settings.learning_rate
        return [
            torch.optim.AdamW(part.parameters(), lr=rate, betas=(0.5, 0.99), weight_decay=0.0)
            for part in (self.net, self.critic)
        ]


def cropped(fine: Tensor, coarse: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """One random square of `side` fine pixels of 8-bit images, the same for all rows, each mirrored at random.

    In [-1, 1].
    """
    top, left = (int(torch.randint(length - side // FACTOR + 1, ())) for length in coarse.shape[2:])
    mirrored = torch.rand(len(fine), 1, 1, 1, device=fine.device) < 0.5
    return tuple(  # type: ignore[return-value]
        torch.where(mirrored, part.flip(3), part) / 127.5 - 1
        for part in (
            fine[:, :, FACTOR * top : FACTOR * top + side, FACTOR * left : FACTOR * left + side],
            coarse[:, :, top : top + side // FACTOR, left : left + side // FACTOR],
        )
    )


@torch.inference_mode()
def renewed(net: Denoiser, images: Tensor, depth: float, kept: int = 64, steps: int = 4) -> Tensor:
    """(row, 1, y, x) images in [-1, 1], noised up to a time below depth and denoised from there by Euler steps.

    SDEdit (Meng et al. 2022) within the flow: leading components stay, as in sampling from a coarse prior.
    """
    rows = len(images)
    z = net.coordinates(images)
    weights = torch.where(torch.arange(z.shape[1]) < kept, z, torch.randn_like(z))
    time = torch.rand(rows) * depth
    x = torch.lerp(images, net.source(torch.randn_like(images), weights), time[:, None, None, None])
    code = torch.zeros(rows, net.columns)
    for step in range(steps):
        now = time * (1 - step / steps)
        with torch.autocast("cpu", torch.bfloat16, enabled=half_is_fast(x.device)):
            velocity = net(x, now, code, torch.full((rows,), float(kept))).float()
        x = x - (time / steps)[:, None, None, None] * velocity
    return x.clamp(-1, 1)


def train(
    data: Sequence[TrainingSet],
    network: Mapping[str, Any],
    training: Mapping[str, Any],
    how: Fit,
    init: Weights | None,
) -> Weights:
    """The public upsampler, of images that went through the flow `init`, if given. Raises InputError."""
    shape = parse(UpsamplerModel, network, "model.network")
    settings = parse(UpsamplerTraining, training, "model.training")
    images = Images.read(data, shape.size, 1)
    torch.manual_seed(how.seed)
    coarse = to_coarse(images.pixels)
    if init is not None:
        require_flow(init.card)
        flow = Denoiser(len(init.card.columns), network_of(init.card)).eval()
        restore(flow, Weights(network_tensors(init), init.card))
        for begin in range(0, len(coarse), 64):
            rows = slice(begin, begin + 64)
            worked = renewed(flow, scaled(coarse[rows]), settings.depth)
            worked = ((worked + 1) * 127.5).round().to(torch.uint8)
            coarse[rows] = torch.where(torch.rand(len(worked), 1, 1, 1) < 0.75, worked, coarse[rows])
    module = UpsamplerTrainer(shape, settings)
    outcome = fit(
        module, TensorDataset(images.pixels, coarse), how, name="upsampler", steps=settings.steps,
        batch_size=settings.batch_size, ema=None,
    )  # fmt: skip
    return images.public_weights("imaging_upsampler", "adversarial upsampler", module.net, shape, outcome)


def to_coarse(pixels: Tensor) -> Tensor:
    """8-bit images at a quarter of their size."""
    parts = (pixels[i : i + 256].float() for i in range(0, len(pixels), 256))
    return torch.cat([shrunk(part).round().to(torch.uint8) for part in parts])
