"""Each kind of layer's gradients, row by row, from its input and its output gradient."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from .recurrence import Recurrence

CACHED = 1 << 18  # numbers that a core's cache holds while several passes are made over them


@dataclass(frozen=True)
class Whole:
    """Gradients written out: (row, ...) contiguous; axes order a row as the parameter has them."""

    values: Tensor
    axes: tuple[int, ...] | None = None

    def squares(self) -> Tensor:
        """(row,) squared norms, float32."""
        flat = self.values.flatten(1)
        if self._small():
            return flat.float().square().sum(1)
        return torch.stack([torch.dot(row, row) for row in (own.float() for own in flat)])

    def weighted(self, factors: Tensor) -> Tensor:
        """Sum over rows, each times its factor; float32."""
        flat = self.values.flatten(1)
        if self._small():
            total = factors @ flat.float()
        else:
            total = torch.zeros(flat.shape[1], device=flat.device)
            for row, factor in zip(flat, factors.tolist(), strict=True):
                total.add_(row, alpha=factor)
        total = total.view(self.values.shape[1:])
        return total if self.axes is None else total.permute(self.axes)

    def whole(self) -> Tensor:
        """(row, *shape of the parameter), float32."""
        values = self.values if self.axes is None else self.values.permute(0, *(1 + a for a in self.axes))
        return values.float()

    def folded(self, together: int) -> "Whole":
        """Of rows that are this many examples each: their sums, float32."""
        if together == 1:
            return self
        return Whole(_together(self.values, together).sum(1, dtype=torch.float32), self.axes)

    def _small(self) -> bool:
        """Whether all rows are handled at once; long ones go one by one, each in the cache."""
        return self.values[0].numel() < CACHED // 16


@dataclass(frozen=True)
class Outer:
    """Gradients of a matrix as outer products of float32: (row, out) output gradients, (row, in) inputs."""

    left: Tensor
    right: Tensor

    def squares(self) -> Tensor:
        """(row,) squared norms; that of an outer product is the product of the two."""
        return self.left.square().sum(1) * self.right.square().sum(1)

    def weighted(self, factors: Tensor) -> Tensor:
        """Sum over rows, each times its factor."""
        return (self.left * factors[:, None]).T @ self.right

    def folded(self, together: int) -> "Whole | Outer":
        """Of rows that are this many examples each: their sums."""
        if together == 1:
            return self
        left, right = (_together(part, together) for part in (self.left, self.right))
        return Whole(torch.bmm(left.transpose(1, 2), right))

    def whole(self) -> Tensor:
        """(row, *shape of the parameter)."""
        return self.left[:, :, None] * self.right[:, None, :]


@dataclass(frozen=True)
class Products:
    """Gradients of a matrix as sums of outer products of float32: (row, place, out) and (row, place, in).

    Nothing the size of the matrix is made a row: the squared norm is that of the two Gram matrices over places
    (Li et al. 2022, section 4), the sum over rows one product.
    """

    left: Tensor
    right: Tensor

    def squares(self) -> Tensor:
        """(row,) squared norms. What rounding may have taken from a sum that cancels is added: none is too short."""
        left, right = (part @ part.transpose(1, 2) for part in (self.left, self.right))
        sizes = (left.diagonal(dim1=1, dim2=2) * right.diagonal(dim1=1, dim2=2)).clamp(min=0).sqrt().sum(1)
        return (left * right).sum((1, 2)).clamp(min=0) + torch.finfo(torch.float32).eps * sizes.square()

    def weighted(self, factors: Tensor) -> Tensor:
        """Sum over rows, each times its factor."""
        return (self.left * factors[:, None, None]).flatten(0, 1).T @ self.right.flatten(0, 1)

    def folded(self, together: int) -> "Products":
        """Of rows that are this many examples each: their sums."""
        if together == 1:
            return self
        return Products(*(_together(part, together).flatten(1, 2) for part in (self.left, self.right)))

    def whole(self) -> Tensor:
        """(row, *shape of the parameter)."""
        return torch.bmm(self.left.transpose(1, 2), self.right)


def products(left: Tensor, right: Tensor) -> "Products | Whole":
    """Sums over places of outer products, (row, place, out) times (row, place, in), whichever way is less work."""
    places, rows, columns = left.shape[1], left.shape[2], right.shape[2]
    if places * (rows + columns) < rows * columns:
        return Products(left.float(), right.float())
    return Whole(torch.bmm(left.transpose(1, 2), right))


def _together(values: Tensor, together: int) -> Tensor:
    """(example, ...) as (row, example, ...)."""
    return values.reshape(-1, together, *values.shape[1:])


Part = Whole | Outer | Products
Rule = Callable[[Any, Tensor, Tensor], dict[str, Part]]  # layer, input, output gradient -> parts by parameter


def _linear(layer: nn.Linear, x: Tensor, grad: Tensor) -> dict[str, Part]:
    if x.ndim == 2:
        return {"weight": Outer(grad.float(), x.float()), "bias": Whole(grad.float())}
    x, grad = x.flatten(1, -2), grad.flatten(1, -2)
    return {"weight": products(grad, x.to(grad.dtype)), "bias": Whole(grad.float().sum(1))}


FEW = 256  # output positions up to which copying patches for one product a row beats one convolution a row


def _conv(layer: nn.Conv1d | nn.Conv2d, x: Tensor, grad: Tensor) -> dict[str, Part]:
    """One-dimensional signals are images of one line."""
    assert not isinstance(layer.padding, str)
    line = (1,) if grad.ndim == 3 else ()
    none = (0,) if grad.ndim == 3 else ()
    kernel, stride = (*line, *layer.kernel_size), (*line, *layer.stride)
    padding, dilation = (*none, *layer.padding), (*line, *layer.dilation)
    if line:
        x, grad = x[:, :, None], grad[:, :, None]
    x = x.to(grad.dtype).contiguous(memory_format=torch.channels_last)
    grad = grad.contiguous(memory_format=torch.channels_last)
    if math.prod(grad.shape[2:]) > FEW and math.prod(kernel) > 1:
        weight = _by_convolution(x, grad, kernel, stride, padding, dilation)
    else:
        weight = _by_patches(x, grad, kernel, stride, padding, dilation)
    bias = grad.permute(0, 2, 3, 1).flatten(1, 2).sum(1)
    if line:
        return {"weight": Whole(weight[:, :, 0], (0, 2, 1)), "bias": Whole(bias)}
    return {"weight": Whole(weight, (0, 3, 1, 2)), "bias": Whole(bias)}


Shape = Sequence[int]


def _by_convolution(
    x: Tensor, grad: Tensor, kernel: Shape, stride: Shape, padding: Shape, dilation: Shape
) -> Tensor:
    """(row, out, y, x, in) weight gradients, by one convolution a row."""
    (rows, inputs), outputs = x.shape[:2], grad.shape[1]
    out = grad.new_empty(rows, outputs, *kernel, inputs)  # in the order that convolutions give
    weight = torch.empty(outputs, inputs, *kernel, dtype=x.dtype, device=x.device)
    weight = weight.contiguous(memory_format=torch.channels_last)
    for row in range(rows):
        one = torch.ops.aten.convolution_backward(
            grad[row : row + 1], x[row : row + 1], weight, None, stride, padding, dilation, False, [0, 0], 1,
            [False, True, False],
        )[1]  # fmt: skip
        out[row].copy_(one.permute(0, 2, 3, 1))
    return out


def _by_patches(
    x: Tensor, grad: Tensor, kernel: Shape, stride: Shape, padding: Shape, dilation: Shape
) -> Tensor:
    """(row, out, y, x, in) weight gradients, by one matrix product a row over the patches of its image."""
    last = x.permute(0, 2, 3, 1)
    if any(padding):
        last = functional.pad(last, (0, 0, padding[1], padding[1], padding[0], padding[0]))
    last = last.contiguous()
    rows, _, _, inputs = last.shape
    size = grad.shape[2:]
    row, y, x_, channel = last.stride()
    patches = last.as_strided(
        (rows, *size, *kernel, inputs),
        (row, y * stride[0], x_ * stride[1], y * dilation[0], x_ * dilation[1], channel),
    )
    left = grad.permute(0, 2, 3, 1).reshape(rows, math.prod(size), -1).transpose(1, 2)
    out = grad.new_empty(rows, left.shape[1], math.prod(kernel) * inputs)
    step = max(1, CACHED // patches[0].numel())
    for start in range(0, rows, step):
        now = slice(start, start + step)
        right = patches[now].reshape(-1, math.prod(size), out.shape[2])
        torch.bmm(left[now], right, out=out[now])
    return out.view(rows, -1, *kernel, inputs)


def _layer_norm(layer: nn.LayerNorm, x: Tensor, grad: Tensor) -> dict[str, Part]:
    shape = layer.normalized_shape
    normed = functional.layer_norm(x.float(), shape, eps=layer.eps)
    between = tuple(range(1, x.ndim - len(shape)))
    grad = grad.float()
    weight = grad * normed
    if between:
        weight, grad = weight.sum(between), grad.sum(between)
    return {"weight": Whole(weight), "bias": Whole(grad)}


def _embedding(layer: nn.Embedding, x: Tensor, grad: Tensor) -> dict[str, Part]:
    rows, width = len(x), layer.embedding_dim
    index = x.reshape(rows, -1)
    grad = grad.reshape(rows, -1, width).float()
    if layer.padding_idx is not None:
        grad = grad * (index != layer.padding_idx)[:, :, None]
    out = torch.zeros(rows, layer.num_embeddings, width, device=grad.device)
    out.scatter_add_(1, index[:, :, None].expand_as(grad), grad)
    return {"weight": Whole(out)}


def _recurrence(layer: Recurrence, x: Tensor, grad: Tensor) -> dict[str, Part]:
    gates, states = layer.gate_gradients(x, grad)
    return {"weight": products(gates, states), "bias": Whole(gates[..., -states.shape[2] :].sum(1))}


RULES: Mapping[type[nn.Module], Rule] = {
    nn.Linear: _linear,
    nn.Conv1d: _conv,
    nn.Conv2d: _conv,
    nn.LayerNorm: _layer_norm,
    nn.Embedding: _embedding,
    Recurrence: _recurrence,
}


def has_rule(layer: nn.Module) -> bool:
    """Whether there is a rule for just this layer; a subclass may use its weights in its own way.

    That of group norm is its own backward pass, in groupnorm.py.
    """
    if isinstance(layer, nn.Conv1d | nn.Conv2d):
        plain = layer.groups == 1 and layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
        return plain and type(layer) in RULES
    if isinstance(layer, nn.Embedding):
        plain = layer.max_norm is None and not layer.scale_grad_by_freq and not layer.sparse
        return plain and type(layer) in RULES
    return type(layer) in RULES or type(layer) is nn.GroupNorm
