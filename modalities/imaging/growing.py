"""Grow a flow: the same network draws images twice or four times as large.

Patches grow with the images, so that an evaluation costs little more than it did; a few convolutions at full size take
away what patches leave at their borders. At first the grown network sees the means of blocks of pixels and moves all
pixels of a block alike (Karras et al. 2018 let a network grow so, by layers). Then it follows the small one: it learns
to draw what that draws from the same source, enlarged by its upsampler.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import TensorDataset

from ...core.errors import InputError
from ...core.training.weights import Weights
from . import gaussian_prior
from .diffusion import weighted
from .generator import STEPS, ImageGenerator
from .model import EVALUATIONS, Denoiser, ImageModel, Refine, network_of, network_tensors, scaled
from .sampler import ROWS, ended, jumped, times

LESSONS = 6400  # images of the small network that the grown one learns to draw
RATE, AVERAGE = 4e-4, 0.995  # of following: the learning rate, and of the moving average of weights
REFINE = 24  # channels of the convolutions at full size, which a network gets when it grows


def grown(weights: Weights, size: int) -> Weights:
    """The flow and its prior at a larger size, without histogram matching.

    Raises InputError unless the size is twice or four times that of the weights, whose source has at most four times
    fewer pixels a side.
    """
    shape = network_of(weights.card)
    more = size // shape.size
    factor = more * shape.basis_factor
    allowed = [n * shape.size for n in (2, 4) if n * shape.basis_factor <= 4]
    reason = ""
    if shape.blocks:
        reason = "a network that has not grown before; start at the one that it grew from"
    elif not shape.components:
        reason = "a network with components (model.network.components)"
    elif size not in allowed:
        reason = (
            " or ".join(map(str, allowed)) or "a network whose components are less than four times as small"
        )
    if reason:
        raise InputError(
            f"model.network.size: a network of {shape.size} x {shape.size} pixels (--init {weights.card.name}) cannot "
            f"grow to {size}; expected {reason}"
        )
    larger = ImageModel(**{
        **shape.model_dump(), "size": size, "patch_size": more * shape.patch_size, "basis_factor": factor,
        "blocks": True, "refine": REFINE,
    })  # fmt: skip
    tensors = {name: tensor.float() for name, tensor in network_tensors(weights).items()}
    first, last = "unet.conv_in.weight", "unet.conv_out"
    tensors["mean"] = larger_by(tensors["mean"][None], more)[0]
    tensors[first] = _repeated(tensors[first], shape.patch_size, more, 1) / more**2
    for name in (f"{last}.weight", f"{last}.bias"):
        tensors[name] = _repeated(tensors[name], shape.patch_size, more, 0)
    refine = Refine(larger.planes, REFINE).state_dict()
    tensors |= {f"refine.{name}": tensor for name, tensor in refine.items()}
    prior = f"{gaussian_prior.STORED}."
    others = {name: tensor for name, tensor in weights.tensors.items() if name.startswith(prior)}
    card = weights.card.model_copy(update={"model": {**weights.card.model, **larger.model_dump()}})
    return Weights({**{name: tensor.half() for name, tensor in tensors.items()}, **others}, card)


def larger_by(images: Tensor, times: int) -> Tensor:
    """(row, plane, y, x) enlarged without new detail."""
    return functional.interpolate(images, scale_factor=times, mode="bicubic", align_corners=False)


def _repeated(kernel: Tensor, patch: int, times: int, axis: int) -> Tensor:
    """Numbers for each pixel of a patch, those of plane after plane, for the pixels of a patch `times` as large."""
    planes = kernel.reshape(*kernel.shape[:axis], -1, patch, patch, *kernel.shape[axis + 1 :])
    for side in (1, 2):
        planes = planes.repeat_interleave(times, axis + side)
    return planes.flatten(axis, axis + 2)


def lessons(
    small: ImageGenerator, pixels: Tensor, code: Tensor, coarse: Tensor, rows: Sequence[int]
) -> TensorDataset:
    """What the small network draws for rows of training images, at the size of these, and what of.

    Of (white noise (row, plane, y, x), components (row, component), code (row, column), image (row, plane, y, x)
    uint8). `coarse` (row, component) are the leading components; where they are NaN they are those of the row's own
    image in `pixels` (row, plane, y, x) uint8.
    """
    parts = zip(*_drawn(small, pixels, code, coarse, rows), strict=True)
    return TensorDataset(*(torch.cat(part) for part in parts))


@torch.inference_mode()
def _drawn(
    small: ImageGenerator, pixels: Tensor, code: Tensor, coarse: Tensor, rows: Sequence[int]
) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    shape, net = small.shape, small.net
    size, kept = pixels.shape[2], coarse.shape[1]
    few = small.card.model.get(EVALUATIONS)
    for begin in range(0, len(rows), ROWS):
        own = torch.tensor(rows[begin : begin + ROWS])
        images = functional.avg_pool2d(scaled(pixels[own]), size // shape.size)
        weights = torch.randn(len(own), shape.components)
        weights[:, :kept] = torch.where(
            coarse[own].isfinite(), coarse[own].float(), net.coordinates(images)[:, :kept]
        )
        white = torch.randn(len(own), shape.planes, shape.size, shape.size)
        drawn = ended(net, net.source(white, weights), code[own], kept, few or STEPS, few is not None).clamp(
            -1, 1
        )
        side = 0 if small.upsampler is None or shape.masks else small.upsampler.factor * shape.size
        if side and side % size == 0:
            seeds = torch.randint(2**31, (len(own),)).tolist()
            finer = torch.from_numpy(small.enlarged(drawn.numpy(), seeds))
            finer = functional.avg_pool2d(finer, side // size)
        else:
            finer = larger_by(drawn, size // shape.size)
        yield (
            white.half(),
            weights.half(),
            code[own],
            ((finer.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8),
        )


class Following(pl.LightningModule):
    """The grown network learns what each of its jumps should lead to. Batches are of lessons()."""

    def __init__(self, net: Denoiser, evaluations: int, kept: int, fine: float) -> None:
        super().__init__()
        self.net, self.evaluations, self.kept, self.fine = net, evaluations, kept, fine

    def training_step(self, batch: Sequence[Tensor], batch_idx: int) -> Tensor:
        white, weights, code, wanted = batch
        with torch.autocast(white.device.type, enabled=False):
            source = self.net.source(white.float(), weights.float())
        image = scaled(wanted)
        place, loss = source, torch.zeros((), device=image.device)
        for time in times(self.evaluations):
            drawn = jumped(self.net, place, time, code, self.kept)
            loss = loss + weighted(drawn - image, self.fine).mean() / self.evaluations
            place = torch.lerp(drawn.detach(), source, time - 1 / self.evaluations)
        self.log("loss", loss)
        return loss

    def configure_optimizers(self) -> Any:
        return torch.optim.AdamW(self.net.parameters(), lr=RATE, weight_decay=0.01, betas=(0.9, 0.99))
