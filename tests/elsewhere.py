"""A device that is not there: tensors on `cuda:0` whose numbers lie in memory, and which keep a GPU's rules.

An operation on tensors of two devices fails, as on a GPU, and so does `.numpy()` without `.cpu()`. Numbers are those of
the CPU, so that what is drawn must be, byte by byte, what the CPU draws.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

PLACE = torch.device("cuda:0")
aten = torch.ops.aten
# a GPU takes places that lie on the CPU, and copies from there
MIXED = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten.copy_.default}


class Elsewhere(Tensor):
    """A tensor on PLACE."""

    inner: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor) -> "Elsewhere":
        made = Tensor._make_wrapper_subclass(
            cls, inner.shape, strides=inner.stride(), storage_offset=inner.storage_offset(), dtype=inner.dtype,
            device="meta", requires_grad=False,
        )  # fmt: skip
        made.inner = inner
        return made

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return PLACE  # PyTorch itself takes it for `meta`, which every build has

    __torch_function__ = torch._C._disabled_torch_function_impl

    def __repr__(self, **_: Any) -> str:
        return f"Elsewhere({self.inner!r})"

    @classmethod
    def __torch_dispatch__(
        cls,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        return carried_out(func, args, kwargs or {})


def carried_out(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """What an operation gives, on the device where a GPU would have it."""
    leaves = [leaf for leaf in tree_flatten((args, kwargs))[0] if isinstance(leaf, Tensor)]
    there = [leaf for leaf in leaves if isinstance(leaf, Elsewhere)]
    here = [leaf for leaf in leaves if not isinstance(leaf, Elsewhere) and leaf.dim()]
    if any(leaf.device.type == "meta" for leaf in here):
        raise RuntimeError(f"a tensor was moved out of sight, as places that are a list are, in {func}")
    asked = kwargs.get("device")
    if (
        there
        and here
        and not (func in MIXED and isinstance(args[0], Elsewhere))
        and func is not aten.copy_.default
    ):
        raise RuntimeError(
            f"Expected all tensors to be on the same device, but got cpu and {PLACE} in {func}"
        )
    on_place = bool(there) if asked is None else torch.device(asked).type in (PLACE.type, "meta")
    own = {id(leaf.inner): leaf for leaf in there}
    plain = {k: torch.device("cpu") if k == "device" and v is not None else v for k, v in kwargs.items()}
    args, plain = tree_map(lambda leaf: leaf.inner if isinstance(leaf, Elsewhere) else leaf, (args, plain))
    out = func(*args, **plain)

    def placed(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
        if id(leaf) in own:  # in place
            return own[id(leaf)] if on_place else leaf.clone()
        return Elsewhere(leaf) if on_place else leaf

    return tree_map(placed, out)


class _Factories(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return carried_out(func, args, kwargs or {})


@contextmanager
def elsewhere() -> Iterator[None]:
    """Inside the block `cuda:0` is there."""
    asks_for_a_driver = patch("torch.cuda._lazy_init")
    without_wrappers = patch("torch._C._InferenceMode", lambda _: torch.no_grad())
    with asks_for_a_driver, without_wrappers, _Factories():
        yield
