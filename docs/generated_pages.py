"""Reference pages made from the code: command line, API, settings, what ships, scores.json; an mkdocs hook."""

import inspect
import json
import re
import typing
from collections.abc import Callable
from importlib.resources import files
from typing import Any

import typer
import yaml
from pydantic import BaseModel

import polyclinic


def pages() -> dict[str, str]:
    """Path below docs/, Markdown text."""
    from polyclinic.app.stream.scenario import ScenarioConfig
    from polyclinic.conditioning.design.cohort_config import CohortConfig
    from polyclinic.core.config import DatasetConfig, TrainConfig
    from polyclinic.eval.policy import Policy

    return {
        "reference/cli.md": command_line(),
        "reference/api.md": api(),
        "reference/dataset-yaml.md": settings("dataset.yaml and training YAML", DatasetConfig, TrainConfig),
        "reference/cohort-yaml.md": settings("Cohort and scenario YAML", CohortConfig, ScenarioConfig),
        "reference/policies.md": settings("Policies", Policy),
        "reference/configs.md": shipped_names(),
        "reference/scores.md": scores(),
    }


def on_files(files: Any, config: Any) -> Any:
    """MkDocs: put the generated pages in place of the short ones on disk, which readers of the repository see."""
    from mkdocs.structure.files import File

    for path, text in pages().items():
        files.remove(files.get_file_from_path(path))
        files.append(File.generated(config, path, content=text))
    return files


def command_line() -> str:
    """Every command with its arguments and options."""
    from polyclinic.app.cli import app

    text = [
        "# The command line",
        "Generated from the program. Exit codes: 0 done, 1 a bug, 2 wrong input (one line says what was expected, what"
        " came and what to do), 3 refused by a gate or a budget, 130 interrupted.",
    ]
    callbacks = {c.name or c.callback.__name__: c.callback for c in app.registered_commands if c.callback}
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        hints = typing.get_type_hints(callbacks[name])
        places = [p for p in command.params if p.param_type_name == "argument"]
        words = [p.name.upper() if p.required else f"[{p.name.upper()}]" for p in places]
        needed = [
            f"{p.opts[0]} {_type(hints[p.name])}" for p in command.params if p.required and p not in places
        ]
        usage = " ".join(["polyclinic", name, *words, *needed, "[OPTIONS]"])
        text += [f"## polyclinic {name}", command.help, f"    {usage}"]
        rows = ["| argument or option | type | default | meaning |", "|---|---|---|---|"]
        for p in command.params:
            if p.name not in hints:
                continue
            label = p.name.upper() if p in places else ", ".join(p.opts)
            default = "required" if p.required else "" if p.default in (None, False, "") else f"`{p.default}`"
            rows.append(_row(f"`{label}`", _type(hints[p.name]), default, getattr(p, "help", "") or ""))
        if len(rows) > 2:
            text.append("\n".join(rows))
    return "\n\n".join(text) + "\n"


def _type(hint: Any) -> str:
    """A hint in a word: `X | None` is X, a list may be repeated."""
    parts = [a for a in typing.get_args(hint) if a is not type(None)]
    if hint is bool:
        return "flag"
    if typing.get_origin(hint) is list:
        return f"{_type(parts[0])}, repeated"
    if parts:
        return " or ".join(_type(p) for p in parts)
    return {"str": "text", "float": "number", "int": "integer", "Path": "path"}.get(
        hint.__name__, hint.__name__
    )


def _row(*cells: str) -> str:
    return "| " + " | ".join(" ".join(c.split()).replace("|", "\\|") for c in cells) + " |"


def settings(title: str, *models: type[BaseModel]) -> str:
    """Every key of the YAML files that these models read, with type and default."""
    text, seen = (
        [f"# {title}", "Generated from the settings models. An unknown key is an error."],
        set[type](),
    )
    todo = list(models)
    while todo:
        model = todo.pop(0)
        if model in seen:
            continue
        seen.add(model)
        rows = ["| key | type | default |", "|---|---|---|"]
        for key, field in model.model_fields.items():
            default = (
                "required" if field.is_required() else f"`{field.get_default(call_default_factory=True)!r}`"
            )
            rows.append(_row(f"`{key}`", f"`{_hint(field.annotation)}`", default))
            todo += [part for part in _parts(field.annotation) if issubclass(part, BaseModel)]
        text += [f"## {model.__name__}", _doc(model), "\n".join(rows)]
    return "\n\n".join(text) + "\n"


def _parts(hint: Any) -> list[type]:
    inner = [part for a in typing.get_args(hint) for part in _parts(a)]
    return [hint, *inner] if inspect.isclass(hint) and not typing.get_args(hint) else inner


def _hint(hint: Any) -> str:
    name = hint.__name__ if inspect.isclass(hint) and not typing.get_args(hint) else _short(str(hint))
    return name.replace(" | ", " or ")


def _short(text: str) -> str:
    """Dotted names by their last part."""
    return re.sub(r"(?:\w+\.)+(\w+)", r"\1", text)


def shipped_names() -> str:
    """Names that --cohort, --config, --policy and --scenario know, and those of the weights that ship."""
    from polyclinic.core.config import shipped
    from polyclinic.core.training import weights

    text = ["# What ships", "Generated from the files. Names can be given in place of a path."]
    options = {"cohort": "--cohort", "train": "--config", "policy": "--policy", "scenario": "--scenario"}
    for folder, option in options.items():
        rows = [f"| `{option}` | |", "|---|---|"]
        for path in sorted((shipped() / folder).glob("*.yaml")):
            values = yaml.safe_load(path.read_text(encoding="utf-8"))
            what = values.get("title") or values.get("about") or values.get("modality", "")
            rows.append(_row(f"`{path.stem}`", str(what)))
        text += [f"## {option}", "\n".join(rows)]
    rows = ["| weights | modality | kind | privacy |", "|---|---|---|---|"]
    for name, path in weights.available().items():
        card = weights.read_card(path)
        rows.append(_row(f"`{name}`", card.modality, card.kind, card.privacy))
    text += ["## Weights", "`--init` takes these names.", "\n".join(rows)]
    return "\n\n".join(text) + "\n"


def scores() -> str:
    """The parts of scores.json, from its JSON Schema."""
    schema = json.loads((files("polyclinic.eval") / "scores.schema.json").read_text(encoding="utf-8"))
    text = [
        "# scores.json",
        "Generated from the JSON Schema, `eval/scores.schema.json`.",
        schema.get("description", ""),
    ]
    for name, part in {"scores.json": schema, **schema["$defs"]}.items():
        needed = part.get("required", [])
        rows = ["| key | type | always there | meaning |", "|---|---|---|---|"]
        for key, value in part.get("properties", {}).items():
            kind = value.get("type") or value.get("$ref", "").rpartition("/")[2] or "any"
            kind = " or ".join(kind) if isinstance(kind, list) else kind
            rows.append(_row(f"`{key}`", kind, "yes" if key in needed else "", value.get("description", "")))
        if len(rows) > 2:
            text += [f"## {name}", part.get("description", "") if part is not schema else "", "\n".join(rows)]
    return "\n\n".join(text) + "\n"


def api() -> str:
    """Every public name with its signature and docstring."""
    text = [
        "# The Python API",
        "Generated from the docstrings. `import polyclinic` is light: each name is imported on first use.",
    ]
    for name in sorted(n for n in polyclinic.__all__ if not n.startswith("__")):
        text += _entry(name, getattr(polyclinic, name), "##")
    return "\n\n".join(text) + "\n"


def _entry(name: str, thing: Any, level: str) -> list[str]:
    text = [f"{level} {name}"]
    if not (inspect.isclass(thing) and issubclass(thing, Exception)):
        text.append(f"```text\n{name}{_signature(thing)}\n```")
    text.append(_doc(thing))
    if inspect.isclass(thing):
        for key, member in vars(thing).items():
            if key.startswith("_") or not _documented(member):
                continue
            plain = member.__func__ if isinstance(member, classmethod | staticmethod) else member
            if isinstance(plain, property):
                text += [f"{level}# {name}.{key}", _doc(plain)]
            else:
                text += _entry(f"{name}.{key}", plain, f"{level}#")
    return text


def _doc(thing: Any) -> str:
    """A docstring as Markdown: examples become blocks."""
    text = inspect.getdoc(thing) or ""
    return re.sub(
        r"^>>> .*(?:\n.+)*", lambda example: f"```pycon\n{example[0]}\n```", text, flags=re.MULTILINE
    )


def _documented(member: Any) -> bool:
    inner = member.__func__ if isinstance(member, classmethod | staticmethod) else member
    return isinstance(inner, property) or (inspect.isfunction(inner) and bool(inner.__doc__))


def _signature(thing: Callable[..., Any]) -> str:
    """Arguments and result, one argument a line where they are many."""
    text = re.sub(r"(: |-> )(['\"])(.*?)\2", r"\1\3", str(inspect.signature(thing)))  # annotations as text
    signature = _short(re.sub(r"<function (\w+) at \w+>", r"\1", text))
    if len(signature) < 90:
        return signature
    inside, _, result = signature[1:].rpartition(")")
    return "(\n    " + re.sub(r", (?=\*|\w+(?::| ?=))", ",\n    ", inside) + ",\n)" + result
