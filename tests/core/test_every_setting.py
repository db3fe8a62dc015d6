"""Every settings class and every option of every command, swept with what is no number or none that can be meant."""

import ast
from collections.abc import Iterator
from datetime import date
from importlib import import_module
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

import pytest
import typer
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from typer.testing import CliRunner

from polyclinic.app.api import stream
from polyclinic.app.cli import UsageError, app
from polyclinic.core.config import FROM_ZERO, SIGNED
from polyclinic.core.errors import InputError

ROOT = Path(__file__).parents[2]
ROOMS = ("app", "core", "conditioning", "modalities", "eval")
NEVER = (float("nan"), float("inf"), -float("inf"), 1e300, "", True)
MADE: dict[str, dict[str, Any]] = {  # what a class wants that the types of its fields do not tell
    "Fairness": {"groups": [{"age": [0, 50]}, {"age": [50, 90]}]},
    "Stratum": {"who": {"sex": "F"}},
    "CategoryShares": {"shares": {"a": 0.5, "b": 0.5}},
    "NumberSpread": {"mean": 1.0, "sd": 1.0},
    "Policy": {"format": 2},
    "Drug": {"dose": [1.0, 2.0]},
    "Sign": {"had": ["x"]},
    "Action": {"die": "x"},
}
TEXT = ("constants", "values")  # which may hold words and truths beside numbers


def every_model() -> list[type[BaseModel]]:
    """All classes of settings of the package, whose modules are found by their text and imported."""
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            text = path.read_text(encoding="utf-8")
            if ("Settings" in text or "BaseModel" in text) and _defines(text):
                name = ".".join(("polyclinic", *path.relative_to(ROOT).with_suffix("").parts))
                import_module(name.removesuffix(".__init__"))
    found = {model for model in _below(BaseModel) if model.__module__.startswith("polyclinic.")}
    return sorted(found, key=lambda model: (model.__module__, model.__name__))


def _defines(text: str) -> bool:
    return any(isinstance(node, ast.ClassDef) and node.bases for node in ast.parse(text).body)


def _below(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for child in model.__subclasses__():
        yield child
        yield from _below(child)


def kinds(annotation: Any) -> set[Any]:
    """The plain types that an annotation names."""
    parts = get_args(annotation)
    return set().union(*map(kinds, parts)) if parts else {annotation}


def valid(model: type[BaseModel]) -> dict[str, Any]:
    """Values for what a class requires."""
    made = MADE.get(model.__name__, {})
    required = {
        field.alias or name: field for name, field in model.model_fields.items() if field.is_required()
    }
    return {
        **{name: example(field.annotation) for name, field in required.items() if name not in made},
        **made,
    }


def example(annotation: Any) -> Any:
    """A value of a type."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return parts[0]
    if origin in (Union, UnionType):
        return example(parts[0])
    if origin is dict:
        return {}
    if origin in (list, tuple):
        return [example(parts[0])]
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return valid(annotation)
    return {int: 1, float: 1.0, bool: True, date: "2024-01-01"}.get(annotation, "x")


def numeric() -> list[tuple[type[BaseModel], str, FieldInfo]]:
    """Fields that hold numbers."""
    return [
        (model, name, field)
        for model in every_model()
        for name, field in model.model_fields.items()
        if kinds(field.annotation) & {int, float}
    ]


def takes(model: type[BaseModel], name: str, value: Any) -> bool:
    """Whether a class takes a value, alone, in a list or in a mapping; what refuses it is one error about it."""
    taken = False
    for shape in (value, [value, value], {"a": value}):
        try:
            model.model_validate({**valid(model), name: shape})
            taken = True
        except ValidationError as error:
            first = error.errors()[0]
            assert not first["loc"] or name in first["loc"] or name in first["msg"]
    return taken


def test_the_examples_are_valid() -> None:
    models = every_model()
    assert len(models) > 90
    for model in models:
        model.model_validate(valid(model))


def test_no_number_of_any_setting_takes_these() -> None:
    fields = numeric()
    assert len(fields) > 250
    bad = [
        f"{model.__name__}.{name} takes {value!r}"
        for model, name, _ in fields
        for value in NEVER
        if not (name in TEXT and isinstance(value, str | bool)) and takes(model, name, value)
    ]
    assert not bad


def test_what_may_be_negative_is_named_so_or_has_bounds_of_its_own() -> None:
    bad = [
        f"{model.__name__}.{name}"
        for model, name, field in numeric()
        if takes(model, name, -1) and name not in SIGNED and not field.metadata
    ]
    assert not bad


def test_counts_and_rates_are_not_zero() -> None:
    """Of training: batch sizes, rates, widths; steps and parts that may be left out are named."""
    wanted = (
        "batch_size",
        "learning_rate",
        "prior_rate",
        "max_grad_norm",
        "scale",
        "width",
        "widths",
        "size",
        "seconds",
    )
    fields = [(model, name) for model, name, _ in numeric() if name in wanted and model.__name__ != "Card"]
    assert len(fields) > 20
    assert not [f"{model.__name__}.{name}" for model, name in fields if takes(model, name, 0)]
    assert not FROM_ZERO & set(wanted)


REST = {
    "generate": ["--cohort", "icu", "--patients", "1", "--out", "full"],
    "train": ["signals", "--data", "x", "--out", "x.safetensors"],
    "stream": ["--cohort", "icu", "--to", "nowhere://"],
    "release": ["x", "--policy", "internal", "--key", "x.pem"],
    "evaluate": ["x"],
    "compare": ["x", "y"],
    "infer": ["x.safetensors", "linear", "a ~ b"],
    "convert": ["x", "--to", "csv"],
    "approve": ["x", "--role", "steward", "--policy", "internal", "--key", "x.pem"],
    "purge": ["x", "--key", "x.pem"],
    "keys": ["x.pem"],
    "verify": ["x"],
    "view": ["x"],
    "push": ["x", "--to", "fhir+http://127.0.0.1:9"],
}
COMMANDS: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
OPTIONS = [
    (name, option)
    for name, command in COMMANDS.items()
    for option in command.params
    if option.param_type_name == "option"
    and not option.is_flag
    and (name, option.name) not in (("demo", "out"), ("generate", "out"))
]


@pytest.mark.parametrize(
    ("name", "option"), OPTIONS, ids=[f"{name} {option.opts[0]}" for name, option in OPTIONS]
)
def test_every_option_refuses_in_one_line(
    name: str, option: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or takes the value as it is documented: what is refused anyway here is the folder, which is not there."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("x")  # so that `generate` never begins
    monkeypatch.setattr("sys.argv", ["polyclinic"])
    for value in ("nan", "inf", "-1", "0", "1e300", ""):
        done = CliRunner().invoke(app, [name, *REST.get(name, []), option.opts[0], value])
        said = str(done.exception) + done.output + done.stderr
        assert isinstance(done.exception, InputError | SystemExit | None | UsageError), (value, said)
        assert "Traceback" not in said
        if option.type_descriptor.annotation in (int, float) and value not in ("-1", "0"):
            assert done.exit_code != 0, value
            assert option.opts[0].strip("-") in said.replace("_", "-"), value


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "-1", "0", "1e300", "", "fast"])
def test_a_speed_is_a_number(value: str) -> None:
    with pytest.raises(InputError, match="speed"):
        stream("icu", "-", speed=value)
