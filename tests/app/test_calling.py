"""Errors of the API name arguments as Python spells them, and unknown arguments are wrong input."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import polyclinic as pc
from polyclinic.app.calling import in_python
from polyclinic.app.cli import app
from polyclinic.core.errors import InputError

FUNCTIONS: list[Callable[..., Any]] = [
    pc.generate_cohort, pc.generate, pc.open_cohort, pc.train, pc.evaluate, pc.compare, pc.convert, pc.release,
    pc.stream,
]  # fmt: skip


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
def test_an_unknown_argument_is_answered_with_the_known_ones(function: Callable[..., Any]) -> None:
    with pytest.raises(InputError) as refused:
        function(wrong=3)
    known = list(inspect.signature(function).parameters)
    assert str(refused.value).startswith(
        f"{function.__name__}: unknown argument 'wrong'; the nearest known one is "
    )
    assert str(refused.value).endswith(f"known: {', '.join(known)}")


def test_a_missing_argument_is_named() -> None:
    with pytest.raises(
        InputError, match=r"train: missing a required argument: 'data'; its arguments: modality, data"
    ):
        pc.train("imaging")  # type: ignore[call-arg]


def test_numbers_are_refused_under_their_names_in_python(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^max_minutes must be a number above 0"):
        pc.train("imaging", tmp_path, public=True, max_minutes=0)
    with pytest.raises(InputError, match=r"^patients must be a whole number"):
        pc.generate_cohort("icu", 0, out=tmp_path / "c")
    with pytest.raises(
        InputError, match=r"^say epsilon E delta D for patients' data, or public for public data$"
    ):
        pc.train("imaging", tmp_path)
    with pytest.raises(InputError, match="say how many patients: patients N, or fields "):
        pc.generate_cohort("icu", out=tmp_path / "c")


def test_the_command_line_keeps_its_spelling(tmp_path: Path) -> None:
    arguments = ["generate", "--patients", "0", "--out", str(tmp_path / "c")]
    refused = CliRunner().invoke(app, arguments).exception
    assert str(refused).startswith("--patients must be")
    with pytest.raises(InputError, match=r"^patients must be"):  # and Python has its own again
        pc.generate_cohort("icu", 0, out=tmp_path / "c")


@pytest.mark.parametrize(
    ("said", "arguments", "meant"),
    [
        ("--watermark-key FILE", ["watermark"], "watermark FILE"),
        ("--set imaging.x: y", ["options"], "options imaging.x: y"),
        ("--cohort NAME", ["population"], "population NAME"),
        ("--cohort NAME", ["source"], "source NAME"),
        (
            "complete it with polyclinic generate --resume",
            ["resume"],
            "complete it with polyclinic generate --resume",
        ),
        ("a--b and -- and x --y", [], "a--b and -- and x y"),
    ],
)
def test_options_become_arguments(said: str, arguments: list[str], meant: str) -> None:
    assert in_python(said, dict.fromkeys(arguments)) == meant
