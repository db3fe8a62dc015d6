"""Training of the public upsampler.

Its training inputs went through the last part of the flow, so that it also corrects what the flow gets wrong.
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
from ...core.device import half_is_fast
from ...core.errors import InputError
from ...core.modality import TrainingSet
from ...core.training.fit import Fit
from ...core.training.trainer import fit
from ...core.training.weights import Weights, restore
from .images import Images
from .model import Denoiser, network_of, network_tensors, require_flow, scaled
from .upsampler import KIND, Upsampler, UpsamplerModel, shrunk


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


class Critic(nn.Module):
    """Is this patch of a real image? Logits (row, 1, patch, patch) and the features on the way (Isola et al. 2017)."""

    def __init__(self, channels: int = 1, width: int = 32) -> None:
        super().__init__()
        widths = [2 * channels, width, 2 * width, 4 * width]
        self.layers = nn.ModuleList(
            nn.utils.parametrizations.spectral_norm(nn.Conv2d(a, b, 4, stride=2, padding=1))
            for a, b in pairwise(widths)
        )
        self.head = nn.Conv2d(widths[-1], 1, 3, padding=1)

    def forward(self, fine: Tensor, coarse: Tensor) -> tuple[Tensor, list[Tensor]]:
        x = torch.cat([fine, functional.interpolate(coarse, fine.shape[2:], mode="nearest")], dim=1)
        seen = []
        for layer in self.layers:
            x = functional.leaky_relu(layer(x), 0.2)
            seen.append(x)
        return self.head(x), seen


class UpsamplerTrainer(pl.LightningModule):
    """Least absolute error, then a hinge critic with feature matching (Wang et al. 2018).

    Batches are (fine (row, channel, factor y, factor x), coarse (row, channel, y, x)), uint8.
    """

    def __init__(self, shape: UpsamplerModel, training: UpsamplerTraining) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.settings = training
        self.net, self.critic = Upsampler(shape), Critic(shape.channels)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        fine, coarse = cropped(*batch, self.settings.crop)
        for_net, for_critic = self.optimizers()  # type: ignore[attr-defined]
        drawn = self.net(coarse, torch.randn_like(coarse[:, :1]))
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
    factor = fine.shape[2] // coarse.shape[2]
    top, left = (int(torch.randint(length - side // factor + 1, ())) for length in coarse.shape[2:])
    mirrored = torch.rand(len(fine), 1, 1, 1, device=fine.device) < 0.5
    return tuple(  # type: ignore[return-value]
        torch.where(mirrored, part.flip(3), part) / 127.5 - 1
        for part in (
            fine[:, :, factor * top : factor * top + side, factor * left : factor * left + side],
            coarse[:, :, top : top + side // factor, left : left + side // factor],
        )
    )


@torch.inference_mode()
def renewed(net: Denoiser, images: Tensor, depth: float, kept: int = 64, steps: int = 4) -> Tensor:
    """(row, channel, y, x) images in [-1, 1], noised up to a time below depth and denoised from there by Euler steps.

    SDEdit (Meng et al. 2022) within the flow: leading components stay, as in sampling from a coarse prior.
    """
    rows = len(images)
    z = net.coordinates(images)
    weights = torch.where(torch.arange(z.shape[1], device=z.device) < kept, z, torch.randn_like(z))
    time = torch.rand(rows, device=z.device) * depth
    x = torch.lerp(images, net.source(torch.randn_like(images), weights), time[:, None, None, None])
    code = torch.zeros(rows, net.columns, device=z.device)
    share = torch.full((rows,), float(kept), device=z.device)
    for step in range(steps):
        now = time * (1 - step / steps)
        with torch.autocast(x.device.type, torch.bfloat16, enabled=half_is_fast(x.device)):
            velocity = net(x, now, code, share).float()
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
    if settings.crop % shape.factor or not 0 < settings.crop <= shape.size:
        raise InputError(
            f"model.training.crop: expected a multiple of {shape.factor} (model.network.factor) up to {shape.size} "
            f"(model.network.size), got {settings.crop}"
        )
    if init is not None:
        require_flow(init.card)
        flow_shape = network_of(init.card)
        has, wanted = (flow_shape.size, flow_shape.planes), (shape.size // shape.factor, shape.channels)
        if has != wanted:
            raise InputError(
                f"--init {init.card.name}: expected a flow of {wanted[0]} x {wanted[0]} pixels and {wanted[1]} "
                f"channel(s), got {has[0]} x {has[0]} and {has[1]}; change model.network, or leave --init out"
            )
    images = Images.read(data, shape.size, shape.channels)
    torch.manual_seed(how.seed)
    coarse = to_coarse(images.pixels, shape.factor)
    if init is not None:
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
    return images.public_weights("imaging_upsampler", KIND, module.net, shape, outcome)


def to_coarse(pixels: Tensor, factor: int) -> Tensor:
    """8-bit images `factor` times smaller."""
    parts = (pixels[i : i + 256].float() for i in range(0, len(pixels), 256))
    return torch.cat([shrunk(part, factor).round().to(torch.uint8) for part in parts])
