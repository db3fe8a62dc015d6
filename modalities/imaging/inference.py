"""Inference: a trained network made ready to draw, in half precision where that is fast."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...core.device import half_is_fast

SMALL = 1024  # pixels of a map below which torch's group norm of bfloat16, channels last, takes a slow way


def ready(net: nn.Module) -> None:
    """Change a network in place to draw under autocast on the device where it is: no gradients, channels last, bfloat16
    where that is fast (autocast would cast every weight at every call)."""
    net.eval().requires_grad_(False)
    nn.Module.to(net, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if not half_is_fast(next(net.parameters()).device):
        return
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.Module.to(module, torch.bfloat16)
    for parent in list(net.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.GroupNorm):
                setattr(parent, name, _GroupNorm(child))


class _GroupNorm(nn.Module):
    """A group norm of float32 weights; small maps in float32, which is four times as fast on a processor."""

    def __init__(self, norm: nn.GroupNorm) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        groups, weight, bias, eps = self.norm.num_groups, self.norm.weight, self.norm.bias, self.norm.eps
        wide = x.float() if x.device.type == "cpu" and x[0, 0].numel() < SMALL else x
        return functional.group_norm(wide, groups, weight, bias, eps).to(x.dtype)
