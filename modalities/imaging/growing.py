"""Grow a flow: the same network draws images twice or four times as large, and learns what is finer afterwards.

Patches grow with the images, so that an evaluation costs what it did. At first the grown network sees the means of
blocks of pixels and moves all pixels of a block alike (Karras et al. 2018 let a network grow so, by layers).
"""

import torch
from torch import Tensor
from torch.nn import functional

from ...core.errors import InputError
from ...core.training.weights import Weights
from . import gaussian_prior
from .model import ImageModel, in_bands, network_of, network_tensors, scaled


def grown(weights: Weights, size: int, pixels: Tensor) -> Weights:
    """The flow and its prior at a larger size, without histogram matching.

    `pixels` are public 8-bit images (row, plane, y, x) of that size, which say how much is finer. Raises InputError
    unless the size is twice or four times that of the weights, whose source has at most four times fewer pixels a side.
    """
    shape = network_of(weights.card)
    times, left = divmod(size, shape.size)
    factor = times * shape.basis_factor
    if left or times not in (2, 4) or factor > 4 or shape.bands or not shape.components:
        raise InputError(
            f"model.network.size: a network of {shape.size} x {shape.size} pixels (--init {weights.card.name}) cannot "
            f"grow to {size}; expected twice or four times its size, at most four times that of its components, and a "
            "network that has not grown before"
        )
    larger = ImageModel(**{
        **shape.model_dump(), "size": size, "patch_size": times * shape.patch_size, "basis_factor": factor,
        "bands": True,
    })  # fmt: skip
    tensors = {name: tensor.float() for name, tensor in network_tensors(weights).items()}
    first, last = "unet.conv_in.weight", "unet.conv_out"
    tensors["mean"] = _smooth(tensors["mean"], times)
    tensors["finer"] = finer_than(pixels, factor)
    tensors[first] = _repeated(tensors[first], shape.patch_size, times, 1) / times**2
    for name in (f"{last}.weight", f"{last}.bias"):
        tensors[name] = _repeated(tensors[name], shape.patch_size, times, 0)
    others = {
        name: tensor
        for name, tensor in weights.tensors.items()
        if name.startswith(f"{gaussian_prior.STORED}.")
    }
    card = weights.card.model_copy(update={"model": {**weights.card.model, **larger.model_dump()}})
    return Weights({**{name: tensor.half() for name, tensor in tensors.items()}, **others}, card)


def finer_than(pixels: Tensor, factor: int) -> Tensor:
    """Standard deviation () of what is finer than blocks of `factor` x `factor` pixels, of 8-bit images as [-1, 1]."""
    some = scaled(pixels[torch.randperm(len(pixels))[:500]])
    return in_bands(some, factor)[1].square().mean().sqrt()


def _smooth(images: Tensor, times: int) -> Tensor:
    """(plane, y, x) enlarged."""
    return functional.interpolate(images[None], scale_factor=times, mode="bicubic", align_corners=False)[0]


def _repeated(kernel: Tensor, patch: int, times: int, axis: int) -> Tensor:
    """Numbers for each pixel of a patch, those of plane after plane, for the pixels of a patch `times` as large."""
    planes = kernel.reshape(*kernel.shape[:axis], -1, patch, patch, *kernel.shape[axis + 1 :])
    for side in (1, 2):
        planes = planes.repeat_interleave(times, axis + side)
    return planes.flatten(axis, axis + 2)
