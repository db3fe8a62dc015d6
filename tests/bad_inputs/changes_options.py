"""Changes of the command line: every option of every command by bad values, found in the commands themselves."""

import inspect
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path

from .case import OTHER, REFUSED, Base, Change, nothing

NUMBERS = (
    "nan",
    "inf",
    "-inf",
    "-1",
    "0",
    "1e300",
    "1e400",
    "",
    " ",
    "x",
    "2.5",
    str(2**63),
    str(2**70),
    "9" * 5000,
    "0x5",
    "1_0",
    "\u0665",
    "1,5",
)
TEXTS = (
    "",
    " ",
    "x" * 300,
    "../../evil",
    "a\x1b[31mb",
    "[bold]x[/bold]",
    "nosuch",
    "-",
    "nan",
    "\udcff",
    "a\nb",
    "{}",
    "*",
    "a,b",
    "null",
)
PATHS = (
    "",
    ".",
    "..",
    "/dev/zero",
    "/dev/full",
    "/dev/null/x",
    "/proc/nowhere/x",
    "x" * 300,
    "a\x1b[31mb/c",
    "nowhere/deeper/x",
    "/",
    "[bold]x",
)


# Values that an option takes for nothing that there is; each names the option, or what to do instead.
DRAWING = {
    "--device": ("cuda:99", "cuda:-1", "cuda:", "cuda:x", "cuda:0x1", "cpu:1", "CUDA", "mps", "meta", "\u0665"),
    "--engine": ("Ray", "slurm", "local,ray", "ray:auto", "../local", "x" * 300),
    "--address": ("nowhere", ":6379", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:99999", "127.0.0.1:" + "9" * 5000,
                  "127.0.0.1:\u00b2", "x" * 300 + ":1", "a b:1", "ray://127.0.0.1:9", "http://127.0.0.1", "..:1"),
    "--out": ("s3://bucket/c", "memory://c", "file:///nowhere/c", "gs://bucket/a/b"),
}  # fmt: skip
FORMULAS = (
    "heart_rate", "heart_rate ~", "~ age", "heart_rate ~ age + age", "heart_rate ~ nosuch", "nosuch ~ age",
    "heart_rate, age ~ sex", "heart_rate ~ sex", "heart_rate ~ stage=III", "heart_rate ~ age=1", "heart_rate ~ age +",
    "heart_rate ~ heart_rate", "a\x1b[31mb ~ age", "~ ~ ~", "x" * 300 + " ~ age",
)  # fmt: skip


def of_drawing(base: Base) -> Iterator[Change]:
    """Where a cohort is drawn and what draws it, by DRAWING; an address is that of an engine which has one."""
    for option, values in DRAWING.items():
        says = ("push",) if option == "--out" else (option.removeprefix("--"),)
        more = ("--engine", "ray") if option == "--address" else ()
        for value in values:
            argv = (*_leaving_out(base.argv, option), *more, option, value)
            yield Change(f"{option} {value!r:.30}", REFUSED, nothing, says, argv)


def of_formula(base: Base) -> Iterator[Change]:
    """The kind of regression and its formula, which are the second and third argument of `infer`."""
    name, table, kind, formula, *rest = base.argv
    for other in ("Linear", "poisson", "-", "x" * 300, "cox"):
        yield Change(f"kind {other!r:.20}", REFUSED, nothing, argv=(name, table, other, formula, *rest))
    for other in FORMULAS:
        yield Change(f"formula {other!r:.30}", REFUSED, nothing, argv=(name, table, kind, other, *rest))


def of_command(base: Base) -> Iterator[Change]:
    """Each option and argument of the base's command by each bad value of its type, and options nobody knows."""
    from polyclinic.app.cli import app

    name, *rest = base.argv
    commands = {
        (c.name or c.callback.__name__.replace("_", "-")): c.callback
        for c in app.registered_commands
        if c.callback
    }
    for parameter in inspect.signature(commands[name]).parameters.values():
        hint, extra = parameter.annotation, typing.get_args(parameter.annotation)[1:]
        if typing.get_origin(hint) is typing.Annotated:
            hint = typing.get_args(hint)[0]
        declared = [d for part in extra for d in getattr(part, "param_decls", None) or ()]
        is_argument = any(type(part).__name__ == "ArgumentInfo" for part in extra)
        option = declared[0] if declared else f"--{parameter.name.replace('_', '-')}"
        kinds = set(typing.get_args(hint)) or {hint}
        if bool in kinds:
            yield Change(f"{name} {option} twice", OTHER, nothing, argv=(*base.argv, option, option))
            continue
        values: Sequence[str] = (
            NUMBERS if kinds & {int, float} else PATHS if Path in kinds or list[Path] in kinds else TEXTS
        )
        for value in values:
            if is_argument:
                place = next(
                    i
                    for i, part in enumerate(rest)
                    if (not part.startswith("-") and not rest[i - 1 : i][0:1]) or i == 0
                )
                argv = (name, *rest[:place], value, *rest[place + 1 :])
            else:
                argv = (name, *_leaving_out(rest, option), option, value)
            must = (
                kinds & {int, float}
                and value not in ("0", "-1", "2.5", "1_0", "\u0665", "1e300")
                and not (value == str(2**63) and False)
            )
            yield Change(f"{name} {option} {value!r:.20}", REFUSED if must else OTHER, nothing, argv=argv)
    yield Change(f"{name} --nosuch", REFUSED, nothing, ("nosuch",), (*base.argv, "--nosuch"))
    yield Change(f"{name} with an argument more", REFUSED, nothing, argv=(*base.argv, "more", "and more"))
    yield Change(f"{name} without arguments", REFUSED, nothing, argv=(name,))


def _leaving_out(rest: Sequence[str], option: str) -> list[str]:
    """Arguments without an option and its value."""
    if option not in rest:
        return list(rest)
    place = list(rest).index(option)
    return [*rest[:place], *rest[place + 2 :]]
