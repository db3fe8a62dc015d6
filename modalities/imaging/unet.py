"""diffusers' two-dimensional U-Net and solver, imported without torch's compiler and SciPy's statistics.

diffusers marks a few of its classes for the compiler, which costs a process two seconds and 800 modules at import.
Those marks concern hooks and attention that this U-Net does not have; compile() loads the compiler when asked for.
The solver imports scipy.stats, 60 MB, for a spacing of steps that is not used here; scipy loads it when asked for.
Its packages of U-Nets and transformers load every one of theirs, two seconds and 300 modules, of which this needs two.
It also lists the files of every installed package, half a second, to know which of them holds a module of three names
that are seldom installed; they are listed when one of them is.
"""

import importlib
import importlib.metadata
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

COMPILER, STATISTICS = "torch._dynamo", "scipy.stats"


def _unmarked(thing: Any = None, *_: Any, **__: Any) -> Any:
    """A decorator, with arguments or without, that changes nothing."""
    return _unmarked if thing is None else thing


@contextmanager
def _stood_in(name: str, **content: Any) -> Iterator[None]:
    """Inside the block a module of this name has this content alone; unless it is loaded already."""
    if name in sys.modules:
        yield
        return
    sys.modules[name] = stand_in = ModuleType(name)
    vars(stand_in).update(content)
    try:
        yield
    finally:
        del sys.modules[name]


class _Packages(Mapping[str, list[str]]):
    """importlib.metadata.packages_distributions(), called when it is first looked into."""

    def __init__(self, listed: Callable[[], Mapping[str, list[str]]]) -> None:
        self._listed = listed

    @cached_property
    def _found(self) -> Mapping[str, list[str]]:
        return self._listed()

    def __getitem__(self, name: str) -> list[str]:
        return self._found[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)


@contextmanager
def _packages_when_asked() -> Iterator[None]:
    """Inside the block what lists the files of installed packages is told later."""
    listed = importlib.metadata.packages_distributions
    importlib.metadata.packages_distributions = lambda: _Packages(listed)
    try:
        yield
    finally:
        importlib.metadata.packages_distributions = listed


@contextmanager
def _own_modules_only(package: str) -> Iterator[None]:
    """Inside the block modules of this package are loaded without its others; it is loaded whole when asked for."""
    parent, _, name = package.rpartition(".")
    places = [str(Path(place) / name) for place in importlib.import_module(parent).__path__]
    with _stood_in(package, __path__=places):
        yield


with (
    _stood_in(COMPILER, allow_in_graph=_unmarked, disable=_unmarked),
    _stood_in(STATISTICS),
    _packages_when_asked(),
    _own_modules_only("diffusers.models.unets"),
    _own_modules_only("diffusers.models.transformers"),
):
    from diffusers.models.unets.unet_2d import UNet2DModel
    from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler

__all__ = ["DPMSolverMultistepScheduler", "UNet2DModel"]
