"""Faults to plant into a child of the worker, to see that the judge notices; each puts itself into the program."""

import time
from pathlib import Path
from typing import Any

from polyclinic.conditioning.dataset import dataset
from polyclinic.core.errors import InputError


def _instead(change: Any) -> None:
    """The reader of tables gives what `change` makes of its table."""
    real = dataset.read_table
    dataset.read_table = lambda path: change(real(path))


def crash() -> None:
    """Raises what no user should see."""

    def change(table: Any) -> Any:
        raise KeyError("split")

    _instead(change)


def drop() -> None:
    """Loses a row and says nothing."""
    _instead(lambda table: table.iloc[1:].reset_index(drop=True))


def hang() -> None:
    """Never ends."""
    _instead(lambda table: time.sleep(1000))


def leave() -> None:
    """Writes beside what it was asked for."""

    def change(table: Any) -> Any:
        Path("../../elsewhere.txt").write_text("x")
        return table

    _instead(change)


def escape() -> None:
    """Drives the terminal."""

    def change(table: Any) -> Any:
        print("\x1b[31mred")
        return table

    _instead(change)


def halve() -> None:
    """Refuses, and leaves something behind."""

    def change(table: Any) -> Any:
        Path("half.txt").write_text("x")
        raise InputError("data/patients.csv: refused")

    _instead(change)
