"""Every number that a user may give is checked against one table; NaN, infinity and giants never get by."""

import inspect
import typing
from collections.abc import Mapping

import pytest
from pydantic import Field as Setting
from pydantic import ValidationError
from typer.testing import CliRunner

from polyclinic.app import api
from polyclinic.app.cli import app
from polyclinic.core.config import Settings
from polyclinic.core.errors import InputError
from polyclinic.core.limits import LIMITS, require

NEVER = (float("nan"), float("inf"), -float("inf"), 1e300, 10**400, "", True)


@pytest.mark.parametrize("name", LIMITS)
def test_no_limit_lets_these_by(name: str) -> None:
    for value in NEVER:
        with pytest.raises(InputError, match=f"--{name.replace('_', '-')} must be a"):
            require(**{name: value})
    require(**{name: None})


@pytest.mark.parametrize("name", LIMITS)
def test_both_ends_are_as_said(name: str) -> None:
    limit = LIMITS[name]
    high = int(limit.high) if limit.whole else limit.high
    require(**{name: high})
    with pytest.raises(InputError):
        require(**{name: high * 2 + 2})
    if not limit.above:
        require(**{name: int(limit.low) if limit.whole else limit.low})
        return
    with pytest.raises(InputError):
        require(**{name: limit.low})


def numbers_of(function: typing.Callable[..., object]) -> list[str]:
    """Arguments that take a number and nothing else."""
    found = []
    for name, parameter in inspect.signature(function).parameters.items():
        hint: object = parameter.annotation
        if typing.get_origin(hint) is typing.Annotated:
            hint = typing.get_args(hint)[0]
        kinds = [kind for kind in typing.get_args(hint) or (hint,) if kind is not type(None)]
        if all(kind in (int, float) for kind in kinds):
            found.append(name)
    return found


COMMANDS = [
    (command.callback, name)
    for command in app.registered_commands
    if command.callback is not None
    for name in numbers_of(command.callback)
]


def test_every_number_of_the_command_line_has_a_limit() -> None:
    assert {name for _, name in COMMANDS} <= set(LIMITS)


def test_every_number_of_the_api_has_a_limit() -> None:
    functions = [f for _, f in inspect.getmembers(api, inspect.isfunction) if not f.__name__.startswith("_")]
    found = {name for f in functions if f.__module__ == api.__name__ for name in numbers_of(f)}
    assert {"patients", "seed", "epsilon", "seconds"} <= found <= set(LIMITS)


REST = {
    "generate": ["--cohort", "icu", "--out", "x"],
    "train": ["signals", "--data", "x", "--out", "x.safetensors"],
    "stream": ["--cohort", "icu", "--to", "-"],
    "view": ["x"],
    "infer": ["x.safetensors", "linear", "a ~ b"],
    "release": ["x", "--policy", "internal", "--key", "x.pem"],
}


@pytest.mark.parametrize("value", ["nan", "1e300", "-1", "0"])
@pytest.mark.parametrize(("command", "name"), COMMANDS, ids=[f"{c.__name__}-{n}" for c, n in COMMANDS])
def test_the_command_line_refuses_in_words(
    command: typing.Callable[..., object], name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = LIMITS[name]
    if value in ("0", "-1") and limit.low <= float(value) and not (limit.above and float(value) == limit.low):
        pytest.skip("allowed")
    monkeypatch.setattr("sys.argv", ["polyclinic"])
    option = f"--{name.replace('_', '-')}"
    done = CliRunner().invoke(app, [command.__name__, *REST[command.__name__], option, value])
    said = str(done.exception) + done.output + done.stderr
    assert done.exit_code != 0
    assert isinstance(done.exception, InputError | SystemExit)
    assert option.strip("-") in said.replace("_", "-")


class Numbers(Settings):
    one: float = 1.0
    many: Mapping[str, float] = Setting(default_factory=dict)
    pair: tuple[float, float] | None = None


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "nan", "-inf"])
def test_no_setting_takes_what_is_no_number(value: object) -> None:
    for settings in ({"one": value}, {"many": {"a": value}}, {"pair": [0, value]}):
        with pytest.raises(ValidationError, match="finite"):
            Numbers.model_validate(settings)
