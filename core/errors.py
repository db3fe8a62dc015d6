"""Errors a user can act on; the command line turns each into one line and an exit code."""

from collections.abc import Sequence


class InputError(ValueError):
    """Wrong input: the message says what was expected, what came and what to do (exit code 2)."""


class Refused(RuntimeError):  # noqa: N818
    """A gate or a privacy budget says no (exit code 3)."""


class BudgetExceeded(Refused):
    """A training would spend more privacy than the population's budget allows."""


def first_line(error: BaseException) -> str:
    """The first line of a foreign error's message, its type where it has none."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def listed(problems: Sequence[str], most: int = 10) -> str:
    """Problems in one line, the first `most` of them and how many more there are."""
    more = len(problems) - most
    return "; ".join(problems[:most]) + (f"; and {more} more" if more > 0 else "")
