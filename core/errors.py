"""Errors a user can act on; the command line turns each into one line and an exit code."""


class InputError(ValueError):
    """Wrong input: the message says what was expected, what came and what to do (exit code 2)."""


class Refused(RuntimeError):  # noqa: N818
    """A gate or a privacy budget says no (exit code 3)."""


class BudgetExceeded(Refused):
    """A training would spend more privacy than the population's budget allows."""
