"""A row of benchmarks/readers.py: what a program said of the files it read."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path


class AbsentError(Exception):
    """The program is not installed; why, in words."""


@dataclass(frozen=True)
class Row:
    """What a program said of the files it read; `figure` is what it found in them."""

    program: str
    version: str
    files: int
    figure: str
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def need(module: str, package: str = "") -> str:
    """The version of an installed package. Raises AbsentError where there is none."""
    if find_spec(module) is None:
        raise AbsentError(f"pip install {package or module}")
    try:
        return version(package or module)
    except PackageNotFoundError:
        return "?"


def read_each(paths: Sequence[Path], read: Callable[[Path], Iterable[str]]) -> list[str]:
    """What is wrong with each file: what `read` yields, or the exception that it raises."""
    errors: list[str] = []
    for path in paths:
        try:
            errors += [f"{path.name}: {said}" for said in read(path)]
        except Exception as error:  # of a program that is being tried: whatever it raises is the finding
            first = (str(error).splitlines() or [""])[0]
            errors.append(f"{path.name}: {type(error).__name__} {first}")
    return errors
