"""The public upsampler: an adversarially trained network that enlarges an image two or four times.

It learns from public images alone, so that it costs no budget: resolution beyond the private model is
post-processing.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from ...core.config import Settings, parse
from ...core.device import half_is_fast
from ...core.errors import InputError
from ...core.training.weights import Weights, available, read_card, restore
from ...core.types import Float32Array

KIND = "adversarial upsampler"  # in the card
# A film's frame: from one row to the next, so deep at most, so large a share of the pixels changes by so much
FRAME, CHANGES, SHARE = 4, 0.2, 0.45
FADE = 3  # coarse pixels in which detail comes back beside a frame
AT_ONCE = 4  # images that are enlarged together: a seventh faster than one, and more are slower
MARGIN = 4  # coarse pixels of repeated edge around an image: the zeros that convolutions pad with would show as lines


class UpsamplerModel(Settings):
    """Shape: `width` and residual blocks at the coarse size; `size` is that of the training images, `channels` are one
    of grey or three of colour, and `factor` is how many times it enlarges.
    """

    size: int = 256
    channels: Literal[1, 3] = 1
    factor: Literal[2, 4] = 4
    width: int = Field(default=48, ge=2, multiple_of=2)
    blocks: int = Field(default=8, ge=0)

    @model_validator(mode="after")
    def _divides(self) -> "UpsamplerModel":
        if self.size % self.factor:
            raise ValueError(f"size: expected a multiple of factor {self.factor}, got {self.size}")
        return self


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1)
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.add(x, self.body(x), alpha=0.2)


class Upsampler(nn.Module):
    """forward(coarse (row, channel, y, x) in [-1, 1], noise (row, 1, y, x)) -> (row, channel, factor y, factor x)."""

    def __init__(self, shape: UpsamplerModel) -> None:
        super().__init__()
        w, self.channels, self.factor, self.size = shape.width, shape.channels, shape.factor, shape.size
        self.stem = nn.Conv2d(shape.channels + 1, w, 3, padding=1)
        self.body = nn.Sequential(*[_Block(w) for _ in range(shape.blocks)])
        self.up = nn.Sequential(
            *[
                layer
                for width in ((w,) if shape.factor == 2 else (w, w // 2))
                for layer in (nn.Conv2d(width, 2 * w, 3, padding=1), nn.PixelShuffle(2), nn.SiLU())
            ],
            nn.Conv2d(w // 2, shape.channels, 3, padding=1),
        )

    def forward(self, coarse: Tensor, noise: Tensor) -> Tensor:
        both = torch.cat([coarse, noise], dim=1).contiguous(memory_format=torch.channels_last)
        first = self.stem(both)
        *up, last = self.up
        detail = first + self.body(first)
        for layer in up[:-2]:
            detail = layer(detail).contiguous(memory_format=torch.channels_last)
        assert isinstance(last, nn.Conv2d)
        assert last.bias is not None
        bias = last.bias.repeat_interleave(4)
        detail = functional.conv2d(functional.silu(detail), unshuffled(last.weight), bias, padding=1)
        detail = functional.pixel_shuffle(detail, 2)
        smooth = functional.interpolate(coarse, scale_factor=self.factor, mode="bicubic", align_corners=False)
        return smooth + detail


def restored(weights: Weights) -> Upsampler:
    """The network of a weight file. Raises InputError."""
    net = Upsampler(parse(UpsamplerModel, weights.card.model, f"weights {weights.card.name}: model"))
    restore(net, weights)
    return net


def unshuffled(kernel: Tensor) -> Tensor:
    """The 3 x 3 kernel (4 out, 4 channel, y, x) that does before a pixel shuffle of 2 what `kernel` (out, channel, y,
    x) does after it, exactly: four times the products, and less than half the time, as no map is of the full size."""
    shifts = [(1 + right, 2 - right, 1 + down, 2 - down) for down in (0, 1) for right in (0, 1)]
    parts = [functional.pixel_unshuffle(functional.pad(kernel, shift), 2) for shift in shifts]
    return torch.stack(parts, dim=1).flatten(0, 1)


def shrunk(fine: Tensor, factor: int) -> Tensor:
    """(row, channel, y, x) -> `factor` times smaller, by area mean."""
    return functional.avg_pool2d(fine, factor)


def unframed(coarse: Tensor) -> tuple[Tensor, Tensor]:
    """Images (row, channel, y, x) with what lies inside the frames of films repeated over them; (row, 1, y, x) 1, and
    falling to 0 at a frame.

    Films end in lines and strips of black or white. The network, which has learnt from crops of bodies, would draw
    dashes and echoes along them.
    """
    weight = torch.ones_like(coarse[:, :1])
    depth = min(FRAME, coarse.shape[2] - 2)
    for turns in range(4):
        side = coarse.rot90(turns, (2, 3))
        changed = side[:, :, : depth + 1].mean(1).diff(dim=1).abs() > CHANGES
        crossed = changed.sum(2) > SHARE * side.shape[3]
        if not crossed.any():
            continue
        deep = (crossed * torch.arange(1, depth + 1, device=side.device)).amax(1)[:, None]
        place = torch.arange(side.shape[2], device=side.device)[None]
        kept = torch.where(deep > 0, torch.maximum(place, deep + 1), place)
        filled = side.gather(2, kept[:, None, :, None].expand_as(side))
        fading = torch.where(deep > 0, ((place - deep) / FADE).clamp(0, 1), 1.0)[:, None, :, None]
        coarse = filled.rot90(-turns, (2, 3))
        weight = weight * fading.expand(-1, -1, -1, side.shape[3]).rot90(-turns, (2, 3))
    return coarse, weight


def enlarged(net: Upsampler, coarse: Tensor, noise: Tensor) -> Tensor:
    """Images (row, channel, y, x) in [-1, 1], with noise (row, 1, y, x), enlarged; edges are padded first.

    The frame of a film is enlarged without detail.
    """
    around, beyond = (MARGIN,) * 4, net.factor * MARGIN
    middle = (..., slice(beyond, -beyond), slice(beyond, -beyond))
    body, weight = unframed(coarse)
    fine = net(functional.pad(body, around, mode="replicate"), functional.pad(noise, around, mode="reflect"))
    if bool((weight == 1).all()):
        return fine[middle]
    wide = functional.pad(coarse, around, mode="replicate")
    plain = functional.interpolate(wide, scale_factor=net.factor, mode="bicubic", align_corners=False)[middle]
    share = functional.interpolate(weight, scale_factor=net.factor, mode="bilinear", align_corners=False)
    return torch.lerp(plain, fine[middle].to(plain.dtype), share)


@torch.inference_mode()
def finer(net: Upsampler, images: Float32Array, seeds: Sequence[int]) -> Float32Array:
    """Images (row, channel, y, x) in [-1, 1] enlarged, each from its own seed.

    So many at a time, always, that a row's bits do not depend on its companions.
    """
    device = next(net.parameters()).device
    out = []
    for start in range(0, len(images), AT_ONCE):
        own = torch.from_numpy(images[start : start + AT_ONCE])
        coarse, noise = (torch.zeros(AT_ONCE, planes, *own.shape[2:]) for planes in (own.shape[1], 1))
        coarse[: len(own)] = own
        for row, seed in enumerate(seeds[start : start + AT_ONCE]):
            noise[row] = torch.randn(noise.shape[1:], generator=torch.Generator().manual_seed(seed))
        with torch.autocast(device.type, torch.bfloat16, enabled=half_is_fast(device)):
            fine = enlarged(net, coarse.to(device), noise.to(device))
        out.append(fine[: len(own)].float().clamp(-1, 1).cpu().numpy())
    return np.concatenate(out)


def require_upsampler(name: str | None, channels: int, where: str = "model.shows.upsampler") -> None:
    """Raises InputError, of the setting `where`, unless weights of that name are there and enlarge images of so many
    channels.
    """
    if name is None:
        return
    if (there := available().get(name)) is None:
        known = ", ".join(sorted(own for own in available() if "upsampler" in own))
        raise InputError(
            f"{where}: no weights {name!r}; there are {known}; train it first (kind: upsampler) and "
            "put its file into a folder that POLYCLINIC_WEIGHTS names, or leave it out"
        )
    card = read_card(there)
    if card.kind != KIND:
        raise InputError(f"{where}: weights {name} are a {card.kind}; expected an {KIND}, or leave it out")
    if (enlarges := int(card.model.get("channels", 1))) != channels:
        raise InputError(
            f"{where}: {name} enlarges images of {enlarges} channel(s), these have {channels}; name "
            "another, or leave it out"
        )
