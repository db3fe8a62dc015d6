"""Draw in a few evaluations: the flow's network jumps to the image, goes part of the way back, and jumps again.

What a jump predicts is the mean of all images that a place of the flow may lead to, so it is blurred; critics teach
it to be one of them (adversarial diffusion distillation, Sauer et al. 2023, with the loss of training/adversarial.py).
"""

from collections.abc import Sequence

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from ...core.training.adversarial import AdversarialTraining, Views
from .critics import COARSE, DetailCritic, StatisticsCritic, WholeCritic, detail, statistics, varied
from .model import Denoiser, scaled
from .sampler import jumped, times


class FewStepsTraining(AdversarialTraining):
    """Settings of the second training of a flow.

    `evaluations` of the network draw an image. `from_prior` is the share of rows whose coarse image is drawn by the
    Gaussian prior, where there is one; the others have their own. `faithful` weighs the squared error of the coarse
    image, in standard deviations, against what critics say. `held_out` is the share of patients that judge. `kept` are
    numbers of components that a source may share with its image, one drawn for each batch: those of the Gaussian prior
    unless others are named. Coarse images of another number than the prior's are always the row's own. A network that
    grows follows the small one for `following` steps first; with `steps: 0` no critics teach it after that.
    """

    steps: int = Field(default=3000, ge=0)

    batch_size: int = Field(default=16, ge=2)
    learning_rate: float = Field(default=1.5e-4, gt=0)
    critic_rate: float = Field(default=4e-4, gt=0)
    noise: float = Field(default=0.02, ge=0)
    penalty: float = Field(default=0.5, ge=0)
    penalty_every: int = Field(default=4, ge=1)
    judge_every: int = Field(default=250, ge=1)
    patience: int = Field(default=12, ge=1)
    evaluations: int = Field(default=2, ge=1, le=8)
    from_prior: float = Field(default=0.7, ge=0, le=1)
    faithful: float = Field(default=0.2, ge=0)
    hide: float = Field(default=0.15, ge=0, lt=1)
    held_out: float = Field(default=0.15, gt=0, lt=1)
    kept: tuple[int, ...] | None = None
    following: int = Field(default=2400, ge=1)
    widths: tuple[int, ...] = (64, 128, 192)
    detail_width: int = Field(default=24, ge=4)
    statistics_width: int = Field(default=128, ge=8)


def fitting(widths: Sequence[int], side: int) -> tuple[int, ...]:
    """The widths of a critic that halves an image of that side once each, to 4 pixels or just above."""
    return tuple(widths[: max(1, side.bit_length() - 3)])


class ImageGame(nn.Module):
    """Batches are (images (row, plane, y, x) uint8, condition (row, column), coarse images of the prior (row, draw,
    component), NaN where the row's own is kept). A sample is the images and the coarse images that were asked for.
    """

    fine: Tensor
    centre: Tensor
    spread: Tensor

    def __init__(self, net: Denoiser, settings: FewStepsTraining, rank: int, pixels: Tensor) -> None:
        """`rank` is the Gaussian prior's, 0 without one; `pixels` are 8-bit images that scale what critics see."""
        super().__init__()
        self.generator, self.settings = net, settings
        self.kept = (rank,) if settings.kept is None else settings.kept
        planes, size = pixels.shape[1:3]
        fold = 4 if size >= 128 else 2 if size >= 32 else 1
        side = min(COARSE, size)
        real = scaled(pixels[torch.randperm(len(pixels))[:1000]])
        found = statistics(real)
        self.critics = nn.ModuleList(
            [
                WholeCritic(planes, size, net.columns, fitting(settings.widths, size // fold), fold),
                WholeCritic(planes, side, net.columns, fitting(settings.widths, side), 1),
                DetailCritic(planes, size, net.columns, settings.detail_width),
                StatisticsCritic(found.shape[1] + net.columns, settings.statistics_width),
            ]
        )
        self.critics.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.register_buffer("fine", detail(real).std())
        self.register_buffer("centre", found.mean(0))
        self.register_buffer("spread", found.std(0) + 1e-3)

    def real(self, batch: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        images = scaled(batch[0])
        return images, images.new_zeros(len(images), 0)

    def drawn(self, generator: nn.Module, batch: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Images after one evaluation, or after more of which the last alone learns."""
        images, condition, drawn = batch
        x = scaled(images)
        net = self.generator
        kept = self.kept[int(torch.randint(len(self.kept), ()))]
        with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
            coarse = net.coordinates(x)[:, :kept]
            if drawn.shape[1] and drawn.shape[2] == kept:
                chosen = drawn[torch.arange(len(x)), torch.randint(drawn.shape[1], (len(x),))].float()
                by_prior = torch.rand(len(x), 1, device=x.device) < self.settings.from_prior
                coarse = torch.where(by_prior & chosen.isfinite(), chosen, coarse)
            weights = torch.randn(len(x), len(net.basis), device=x.device)
            weights[:, :kept] = coarse
            source = net.source(torch.randn_like(x), weights)
        evaluations = self.settings.evaluations
        last = int(torch.randint(evaluations, ()))
        place = source
        for step, time in enumerate(times(evaluations)[: last + 1]):
            with torch.set_grad_enabled(step == last and torch.is_grad_enabled()):
                image = jumped(generator, place, time, condition, kept)
            place = torch.lerp(image, source, time - 1 / evaluations)
        return image, coarse

    def views(self, sample: tuple[Tensor, Tensor], batch: Sequence[Tensor]) -> Views:
        images, condition = varied(sample[0]), batch[1]
        side = min(COARSE, images.shape[2])
        small = functional.adaptive_avg_pool2d(images, side)
        return [
            torch.cat([images.flatten(1), condition], dim=1),
            torch.cat([small.flatten(1), condition], dim=1),
            torch.cat([(detail(sample[0]) / self.fine).flatten(1), condition], dim=1),
            torch.cat([(statistics(sample[0]) - self.centre) / self.spread, condition], dim=1),
        ]

    def cost(self, sample: tuple[Tensor, Tensor], batch: Sequence[Tensor]) -> Tensor:
        """How far the coarse images are from those that were asked for."""
        images, coarse = sample
        if not coarse.shape[1]:
            return images.new_zeros(())
        with torch.autocast(images.device.type, enabled=False):
            found = self.generator.coordinates(images.float())[:, : coarse.shape[1]]
        return self.settings.faithful * (found - coarse).square().mean()
