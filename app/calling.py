"""Calling: the functions of the API take known arguments, and their errors name arguments as Python spells them."""

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from difflib import get_close_matches
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from ..core.errors import InputError, Refused, of_the_machine

P = ParamSpec("P")
R = TypeVar("R")

# `polyclinic generate --resume` is a command and stays as it is; --resume alone is an argument
_OPTION = re.compile(r"polyclinic [a-z]+(?: --[a-z][a-z-]*(?: [A-Z]+)?)*|(?<![\w-])--([a-z][a-z-]*)")
_OTHER_NAMES = {
    "cohort": ("population", "source"),
    "ledger": ("ledgers",),
    "set": ("options",),
    "watermark_key": ("watermark",),
}  # option of the command line, with _ for -, where it differs -> argument
_on_command_line: ContextVar[bool] = ContextVar("on_command_line", default=False)


@contextmanager
def command_line() -> Iterator[None]:
    """Inside the block errors keep the spelling of the command line."""
    token = _on_command_line.set(True)
    try:
        yield
    finally:
        _on_command_line.reset(token)


def public_function(function: Callable[P, R]) -> Callable[P, R]:
    """A function of the API: InputError for arguments that it does not take, and `max_minutes` for `--max-minutes`."""
    signature = inspect.signature(function)

    @wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> R:
        _require_arguments(function.__name__, signature, args, kwargs)
        try:
            with of_the_machine():
                return function(*args, **kwargs)
        except (InputError, Refused) as error:
            if not _on_command_line.get():
                error.args = tuple(
                    in_python(part, signature.parameters) if isinstance(part, str) else part
                    for part in error.args
                )
            raise

    return called


def in_python(text: str, arguments: Mapping[str, Any]) -> str:
    """A message with the options of the command line as arguments of a function.

    >>> in_python("--max-minutes must be above 0; see `polyclinic train --help`", {})
    'max_minutes must be above 0; see `polyclinic train --help`'
    """

    def spelled(found: re.Match[str]) -> str:
        if not found[1]:
            return found[0]
        name = found[1].replace("-", "_")
        return next((n for n in (name, *_OTHER_NAMES.get(name, ())) if n in arguments), name)

    return _OPTION.sub(spelled, text)


def _require_arguments(
    name: str, signature: inspect.Signature, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> None:
    """Raises InputError naming the first argument that is unknown, too many, given twice or missing."""
    known = list(signature.parameters)
    if strange := [key for key in kwargs if key not in known]:
        near = get_close_matches(strange[0], known, n=1, cutoff=0.0)[0]
        raise InputError(
            f"{name}: unknown argument {strange[0]!r}; the nearest known one is {near!r}; known: {', '.join(known)}"
        )
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        raise InputError(f"{name}: {error}; its arguments: {', '.join(known)}") from None


def plain_usage(error: Any) -> str:
    """What is wrong with an option, in the words that settings of YAML are refused in."""
    from pydantic import ValidationError

    from ..core.wrong_settings import plainly

    cause = error.__cause__
    if not isinstance(cause, ValidationError):
        return str(error.format_message())
    wrong = cause.errors()[0]
    return f"{error.param.opts[0]}: {plainly(wrong)}, got {wrong['input']!r}"
