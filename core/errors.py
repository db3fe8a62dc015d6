"""Errors a user can act on; the command line turns each into one line and an exit code."""

import errno
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


class InputError(ValueError):
    """Wrong input: the message says what was expected, what came and what to do (exit code 2)."""


class Refused(RuntimeError):  # noqa: N818
    """A gate or a privacy budget says no (exit code 3)."""


class BudgetExceeded(Refused):
    """A training would spend more privacy than the population's budget allows."""


def first_line(error: BaseException) -> str:
    """The first line of a foreign error's message, its type where it has none."""
    return (str(error).splitlines() or [type(error).__name__])[0]


_OF_PATHS = {
    errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC,
    errno.EDQUOT, errno.ENXIO, errno.EFBIG,
}  # fmt: skip


@contextmanager
def of_the_machine() -> Iterator[None]:
    """What the file system says of a path that a user gave, and a lack of memory, as InputError."""
    try:
        yield
    except OSError as error:
        if error.errno not in _OF_PATHS or error.filename is None:
            raise
        path = str(error.filename)
        said = path if len(path) < 200 else f"{path[:80]}... ({len(path)} characters)"
        raise InputError(f"{said}: {error.strerror}; name another path") from error
    except MemoryError as error:
        raise InputError(
            f"not enough memory ({first_line(error)}); ask for less at a time, or check what sizes the files state"
        ) from error


def listed(problems: Sequence[str], most: int = 10) -> str:
    """Problems in one line, the first `most` of them and how many more there are."""
    more = len(problems) - most
    return "; ".join(problems[:most]) + (f"; and {more} more" if more > 0 else "")
