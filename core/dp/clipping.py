"""One gradient a row: what each row of a batch alone would teach each parameter, clipped and summed.

A book-keeping clipper. The parameters are frozen for one forward and one backward pass, which then only
carry output gradients; where one passes a layer, that layer's own gradients are computed row by row from its
input. What is measured is what is summed, both in float32, whatever precision the layer works in; a layer or a
parameter that is used twice adds up before it is measured. Since nothing but these gradients ever reaches a
parameter, none can learn around the clipping.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import InputError
from .groupnorm import group_norm
from .layers import RULES, Part, Whole, has_rule

Batch = tuple[Tensor, ...]
Finder = Callable[[], dict[str, Part]]
Record = Callable[[str, nn.Module, Tensor, Finder], None]  # name, layer, output gradient, its row gradients


@dataclass(frozen=True)
class RowGradients:
    """What each row of a batch would teach each parameter, and its loss (row,).

    A parameter in `weights` counts that many times its length, 1 if not said.
    """

    losses: Tensor
    parts: Mapping[nn.Parameter, Part]
    weights: Mapping[nn.Parameter, float] = field(default_factory=dict)

    def norms(self) -> Tensor:
        """(row,) float32 norms of the gradients of all parameters together, each by its weight."""
        squares = [self.weights.get(own, 1.0) ** 2 * part.squares() for own, part in self.parts.items()]
        return torch.stack(squares).sum(0).sqrt() if squares else torch.zeros(len(self.losses))

    def clipped_sum(self, max_norm: float) -> dict[nn.Parameter, Tensor]:
        """Sum over rows of the gradients, each scaled down to max_norm where it is longer; float32.

        A row whose gradient is not finite counts as zero: no patient may turn the sum into NaN.
        """
        norms = self.norms()
        finite = norms.isfinite()
        factors = (max_norm / norms.clamp(min=1e-12)).clamp(max=1.0)
        if bool(finite.all()):
            return {parameter: part.weighted(factors) for parameter, part in self.parts.items()}
        return {
            parameter: torch.tensordot(factors[finite], part.whole()[finite], dims=1)
            for parameter, part in self.parts.items()
        }


class Clipper:
    """Row gradients of a module's `losses(batch) -> (row,)`, for all its parameters that learn.

    Layers in RULES are kept book of, at little more than the cost of plain training. If any other layer owns a
    parameter that learns, the whole module runs forward and backward for each row by itself, which is
    slower and needs no rule. A module may say in `gradient_weights`, {name: number}, what its parameters count in
    the norm. A module with a `multiplicity` hands that many examples of each row, one after the
    other, to its layers. Raises InputError when a layer mixes rows by construction.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.together = int(getattr(module, "multiplicity", 1))
        for name, layer in module.named_modules():
            _refuse_mixing(name, layer)
        self.names = {p: name for name, p in module.named_parameters() if p.requires_grad}
        if not self.names:
            raise InputError("the model cannot be trained: none of its parameters learns")
        said: Mapping[str, float] = getattr(module, "gradient_weights", {})
        if wrong := [
            name for name, weight in said.items() if not (name in self.names.values() and weight > 0)
        ]:
            raise InputError(
                f"gradient_weights: {wrong[0]} is no parameter that learns, or its weight is not above 0"
            )
        self.weights = {p: said[name] for p, name in self.names.items() if name in said}
        self.layers: dict[str, nn.Module] = {}
        self.foreign: list[str] = []  # what has no rule
        for name, layer in module.named_modules():
            if any(p.requires_grad for p in layer.parameters(recurse=False)):
                if has_rule(layer):
                    self.layers[name] = layer
                else:
                    self.foreign.append(f"{name or 'the module itself'} ({type(layer).__name__})")
        self.checked = False

    def __call__(self, batch: Batch) -> RowGradients:
        """Losses and gradients of a batch of at least one row.

        Raises InputError, on the first batch, when the loss of one row depends on another row, when
        the data leave traces in a buffer, or when a parameter takes no part in the losses.
        """
        # compiled modules would not call the hooks
        with torch.compiler.set_stance("force_eager"):
            if not self.checked:
                self._check(batch)
            found = self._by_row(batch) if self.foreign else self._by_book(batch)
        if not self.checked:
            if missing := [name for parameter, name in self.names.items() if parameter not in found.parts]:
                raise InputError(
                    f"no gradient a patient for parameter {missing[0]}: it takes no part in the losses, or its layer's "
                    "weights are used without calling the layer; freeze it, or call the layer"
                )
            self.checked = True
        return found

    def _by_book(self, batch: Batch) -> RowGradients:
        rows = len(batch[0])
        parts: dict[nn.Parameter, Part] = {}

        def record(name: str, layer: nn.Module, grad: Tensor, find: Finder) -> None:
            _rows_lead(name, grad, rows * self.together)
            for own, part in find().items():
                parameter = getattr(layer, own)
                if parameter in self.names:
                    part, before = part.folded(self.together), parts.get(parameter)
                    parts[parameter] = (
                        part if before is None else Whole((before.whole() + part.whole()).contiguous())
                    )

        with self._tapped(record):
            losses = self._losses(batch)
            if losses.requires_grad:
                torch.autograd.backward(losses.sum())
        return RowGradients(losses.detach().float(), parts, self.weights)

    def _by_row(self, batch: Batch) -> RowGradients:
        learning = list(self.names)
        losses: list[Tensor] = []
        found: list[list[Tensor]] = [[] for _ in learning]
        for row in range(len(batch[0])):
            loss = self._losses(tuple(part[row : row + 1] for part in batch)).sum()
            for own, gradient in zip(
                found, torch.autograd.grad(loss, learning, allow_unused=True), strict=True
            ):
                own += [] if gradient is None else [gradient.float()]
            losses.append(loss.detach().float())
        parts: dict[nn.Parameter, Part] = {
            parameter: Whole(torch.stack(own))
            for parameter, own in zip(learning, found, strict=True)
            if len(own) == len(losses)
        }
        return RowGradients(torch.stack(losses), parts, self.weights)

    def _losses(self, batch: Batch) -> Tensor:
        losses = self.module.losses(batch)  # type: ignore[operator]
        if losses.shape != (len(batch[0]),):
            raise InputError(
                f"losses must be one number a row, ({len(batch[0])},), got {tuple(losses.shape)}"
            )
        return losses

    @contextmanager
    def _tapped(self, record: Record) -> Iterator[None]:
        """Freeze what learns, and have record called at each layer in the backward pass."""
        anchor = torch.zeros((), requires_grad=True)  # makes a graph where nothing before the layer learns
        hooks = []
        try:
            for name, layer in self.layers.items():
                if isinstance(layer, nn.GroupNorm):
                    vars(layer)["forward"] = _normed(name, layer, anchor, record)
                else:
                    tap = _tap(name, anchor, record)
                    hooks.append(layer.register_forward_hook(tap, with_kwargs=True))
            for parameter in self.names:
                parameter.requires_grad_(False)
            yield
        finally:
            for hook in hooks:
                hook.remove()
            for layer in self.layers.values():
                vars(layer).pop("forward", None)
            for parameter in self.names:
                parameter.requires_grad_(True)

    def _check(self, batch: Batch) -> None:
        """Try two rows: each loss may reach its own row of each layer only, and no buffer may remember them."""
        buffers = {name: b.clone() for name, b in self.module.named_buffers()}
        two = tuple(part[:2] for part in batch)
        with _stirred(self.module):
            if self.foreign:
                with torch.no_grad():
                    self._losses(two)
            else:
                self._check_rows(two)
        for name, buffer in self.module.named_buffers():
            if not torch.equal(buffer, buffers[name]):
                raise InputError(
                    f"the model cannot be trained privately: buffer {name} takes in the data it sees"
                )

    def _check_rows(self, two: Batch) -> None:
        own = 0

        def record(name: str, layer: nn.Module, grad: Tensor, find: Finder) -> None:
            _rows_lead(name, grad, len(two[0]) * self.together)
            other = grad.reshape(2, self.together, *grad.shape[1:])[1 - own]
            if bool(other.nan_to_num().any()):  # 0 times what is not a number is none
                raise InputError(
                    f"the model cannot be trained privately: at layer {name} the loss of one row depends on another row"
                )

        with self._tapped(record):
            losses = self._losses(two)
            if len(losses) == 2 and losses.requires_grad:
                for own in (0, 1):
                    torch.autograd.backward(losses[own], retain_graph=True)


def _normed(name: str, layer: nn.GroupNorm, anchor: Tensor, record: Record) -> Callable[[Tensor], Tensor]:
    def found(grad: Tensor, weight: Tensor, bias: Tensor) -> None:
        record(name, layer, grad, lambda: {"weight": Whole(weight), "bias": Whole(bias)})

    return lambda input: group_norm(layer, found, anchor.to(input.device), input)


def _tap(name: str, anchor: Tensor, record: Record) -> Callable[..., Tensor]:
    """A forward hook that has record called with the gradient of the layer's output."""

    def tap(layer: nn.Module, args: tuple[Any, ...], named: dict[str, Any], out: Tensor) -> Tensor:
        x = (args[0] if args else named["input"]).detach()
        version = x._version

        def taken(grad: Tensor) -> None:
            if x._version != version:
                raise InputError(f"the input of layer {name} was changed in place; private training needs it")
            with torch.no_grad(), torch.autocast(grad.device.type, enabled=False):
                record(name, layer, grad, lambda: RULES[type(layer)](layer, x, grad))

        if not torch.is_grad_enabled():
            return out
        if not out.requires_grad:
            out = out + anchor.to(out.device)
        out.register_hook(taken)  # type: ignore[no-untyped-call]
        return out

    return tap


def _refuse_mixing(name: str, layer: nn.Module) -> None:
    mixing = isinstance(layer, nn.modules.batchnorm._BatchNorm) or (
        isinstance(layer, nn.modules.instancenorm._InstanceNorm) and layer.track_running_stats
    )
    if mixing:
        raise InputError(
            f"the model cannot be trained privately: {name} ({type(layer).__name__}) mixes patients; use GroupNorm"
        )


@contextmanager
def _stirred(module: nn.Module) -> Iterator[None]:
    """Parameters that are all 0, as last layers start, are not: gradients pass to what lies before them."""
    zeros = [p for p in module.parameters() if not bool(p.detach().any())]
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in zeros:
            parameter.copy_(0.01 * torch.randn(parameter.shape, generator=random))
    try:
        yield
    finally:
        with torch.no_grad():
            for parameter in zeros:
                parameter.zero_()


def _rows_lead(name: str, grad: Tensor, rows: int) -> None:
    if grad.ndim < 2 or len(grad) != rows:
        raise InputError(
            f"the model cannot be trained privately: the output of layer {name} is {tuple(grad.shape)}, "
            f"expected the {rows} rows first"
        )
