"""Which parts of the flow learn: all of it, what modulates its features, or low-rank adapters.

A private step clips and noises every number that learns, so that fewer of them bear less noise.
"""

import math
from typing import Literal

import torch
from torch import Tensor, nn

Trainable = Literal["all", "modulation", "lora"]
# Parts of parameters' names. Without conv_in, torch's group norm ends the process in the backward pass of an input
# that needs no gradient.
MODULATION = ("condition.", "time_emb", "norm", "conv_in", "conv_out")
PLAIN = ("condition.", "time_emb", "conv_out")  # learnt as they are, without adapters


class Adapter(nn.Module):
    """A frozen matrix or convolution and a learnt update of low rank, which starts at zero (Hu et al. 2022).

    Its two factors are ordinary layers, so that their gradients a patient are known.
    """

    def __init__(self, base: nn.Linear | nn.Conv2d, rank: int) -> None:
        super().__init__()
        self.base = base
        if isinstance(base, nn.Linear):
            self.down: nn.Linear | nn.Conv2d = nn.Linear(base.in_features, rank, bias=False)
            self.up: nn.Linear | nn.Conv2d = nn.Linear(rank, base.out_features, bias=False)
        else:
            assert not isinstance(base.padding, str)
            kernel, stride, padding = base.kernel_size, base.stride, base.padding
            self.down = nn.Conv2d(base.in_channels, rank, kernel, stride, padding, bias=False)  # type: ignore[arg-type]
            self.up = nn.Conv2d(rank, base.out_channels, 1, bias=False)
        nn.init.zeros_(self.up.weight)
        for parameter in base.parameters():
            parameter.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        updated: Tensor = self.base(x) + self.up(self.down(x))
        return updated

    @torch.no_grad()
    def merged(self) -> nn.Module:
        """The layer with its update added."""
        up, down = self.up.weight.flatten(1), self.down.weight
        self.base.weight += torch.tensordot(up, down, dims=1)
        return self.base


def restrict(net: nn.Module, trainable: Trainable, rank: int) -> None:
    """Freeze what shall not learn, and set adapters of this rank into the U-Net of a `lora` training."""
    if trainable == "all":
        return
    parts = MODULATION if trainable == "modulation" else PLAIN
    for name, parameter in net.named_parameters():
        parameter.requires_grad_(any(part in name for part in parts))
    if trainable == "lora":
        for name, layer in list(net.named_modules()):
            if isinstance(layer, nn.Linear | nn.Conv2d) and not any(part in f"{name}." for part in PLAIN):
                greatest = min(len(layer.weight), math.prod(layer.weight.shape[1:]))
                _put(net, name, Adapter(layer, min(rank, greatest)))


def merge(net: nn.Module) -> None:
    """Put each adapter's update into its layer: the network then is as it was built, to the names of its tensors."""
    for name, layer in list(net.named_modules()):
        if isinstance(layer, Adapter):
            _put(net, name, layer.merged())


def _put(net: nn.Module, name: str, layer: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(net.get_submodule(parent), child, layer)
