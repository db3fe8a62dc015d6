"""Reference pages made from the code: the command line (Typer app) and the API (docstrings); an mkdocs hook."""

import inspect
import typing
from collections.abc import Callable
from typing import Any

import typer

import polyclinic


def pages() -> dict[str, str]:
    """Path below docs/, Markdown text."""
    return {"reference/cli.md": command_line(), "reference/api.md": api()}


def on_files(files: Any, config: Any) -> Any:
    """MkDocs: add the generated pages to those on disk."""
    from mkdocs.structure.files import File

    for path, text in pages().items():
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
    text.append(inspect.getdoc(thing) or "")
    if inspect.isclass(thing):
        for key, member in vars(thing).items():
            if key.startswith("_") or not _documented(member):
                continue
            plain = member.__func__ if isinstance(member, classmethod | staticmethod) else member
            if isinstance(plain, property):
                text += [f"{level}# {name}.{key}", inspect.getdoc(plain) or ""]
            else:
                text += _entry(f"{name}.{key}", plain, f"{level}#")
    return text


def _documented(member: Any) -> bool:
    inner = member.__func__ if isinstance(member, classmethod | staticmethod) else member
    return isinstance(inner, property) or (inspect.isfunction(inner) and bool(inner.__doc__))


def _signature(thing: Callable[..., Any]) -> str:
    signature = inspect.signature(thing)
    return str(signature).replace("polyclinic.", "")
