"""Group normalisation whose backward pass finds the weights' gradients row by row on its way."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from .layers import CACHED

Record = Callable[
    [Tensor, Tensor, Tensor], None
]  # output gradient; (row, channel) gradients of weight and bias


def group_norm(layer: nn.GroupNorm, record: Record, anchor: Tensor, x: Tensor) -> Tensor:
    """What the layer gives for x (row, channel, ...), with record called in the backward pass.

    anchor is a number that requires a gradient, so that there is a backward pass where x needs none.
    """
    return _GroupNorm.apply(x, anchor, layer, record)  # type: ignore[no-untyped-call]


class _GroupNorm(torch.autograd.Function):
    """One walk over input and output gradient, a few rows in the cache at a time, in float32.

    torch's own walk adds the rows up; another one to tell them apart would cost as much again.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, anchor: Tensor, layer: nn.GroupNorm, record: Record) -> Tensor:
        rows, channels = x.shape[:2]
        x = x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x.contiguous()
        out, mean, scale = torch.native_group_norm(
            x, layer.weight, layer.bias, rows, channels, x[0, 0].numel(), layer.num_groups, layer.eps
        )
        ctx.save_for_backward(x, mean.float(), scale.float())
        ctx.layer, ctx.record = layer, record
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, None, None, None]:
        x, mean, scale = ctx.saved_tensors
        groups, gain = ctx.layer.num_groups, ctx.layer.weight.detach().float()
        with torch.no_grad(), torch.autocast(grad.device.type, enabled=False):
            back, weight, bias = _gradients(_last(x), _last(grad), mean, scale, gain, groups)
        ctx.record(grad, weight, bias)
        if not ctx.needs_input_grad[0]:
            return None, None, None, None
        size = x.shape[2:]
        return back.view(len(x), *size, -1).movedim(-1, 1), None, None, None


def _last(x: Tensor) -> Tensor:
    """(row, channel, ...) as (row, position, channel)."""
    return x.movedim(1, -1).reshape(len(x), -1, x.shape[1])


def _gradients(
    x: Tensor, grad: Tensor, mean: Tensor, scale: Tensor, gain: Tensor, groups: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of the input (row, position, channel), and of weight and bias (row, channel)."""
    rows, positions, channels = x.shape
    each = channels // groups
    mean, scale = mean.repeat_interleave(each, dim=1), scale.repeat_interleave(each, dim=1)

    def by_group(sums: Tensor) -> Tensor:
        """(row, channel) sums over positions as means over the channel's whole group."""
        means = sums.view(-1, groups, each).sum(2) / (positions * each)
        return means.repeat_interleave(each, dim=1)

    back = torch.empty_like(x)
    weight, bias = torch.empty(2, rows, channels, device=x.device)
    step = max(1, CACHED // (positions * channels))
    for start in range(0, rows, step):
        now = slice(start, start + step)
        centred = x[now].float() - mean[now, None]
        own = grad[now].float()
        bias[now] = own.sum(1)
        weight[now] = (own * centred).sum(1) * scale[now]
        shift = by_group(bias[now] * gain) * scale[now]
        slope = by_group(weight[now] * gain) * scale[now].square()
        own.mul_((gain * scale[now])[:, None]).addcmul_(centred, slope[:, None], value=-1)
        back[now] = own.sub_(shift[:, None])
    return back, weight, bias
