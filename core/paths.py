"""Paths of names that others wrote: file_name() makes a name in a folder, below() a path in it; both refuse all else.

Names come from weights, cards, manifests, dataset.yaml and tables. Nothing else may join them to a folder.
"""

import os
import re
from pathlib import Path, PurePosixPath

from .errors import InputError

LONGEST = 255  # bytes of a name, on all usual file systems
_NAME = re.compile(r"[^\W_][\w .+@()=-]*", re.ASCII)
_DOTS = {"", ".", ".."}


def file_name(name: object, where: str) -> str:
    """The name of one file or folder: letters, digits and `_ .+@()=-`, no longer than a file system takes.

    >>> file_name("rna", "weights omics: assay")
    'rna'
    >>> file_name("../rna", "weights omics: assay")
    Traceback (most recent call last):
    polyclinic.core.errors.InputError: weights omics: assay: expected a plain name ..., got '../rna'
    """
    text = str(name)
    if not _NAME.fullmatch(text) or len(text) > 200 or text.rstrip(" .") != text:
        raise InputError(
            f"{where}: expected a plain name of letters, digits and _ . + @ ( ) = - to call a file by, got "
            f"{_short(text)}"
        )
    return text


def below(folder: Path, name: object, where: str) -> Path:
    """A path below a folder, as a table or a dataset.yaml names it. Raises InputError for `..` and whole paths."""
    text = str(name)
    parts = text.split("/")
    if text.startswith("/") or "\0" in text or not text.strip() or set(parts) & {".."}:
        raise InputError(f"{where}: expected a path below {folder}, got {_short(text)}")
    if any(len(os.fsencode(part)) > LONGEST - 5 for part in parts):  # .part or .hea may follow
        raise InputError(f"{where}: {_short(text)} is longer than a file may be called")
    return folder / text


def inside(folder: Path, name: object, where: str) -> Path:
    """A path in a cohort, as its manifest names it: below the folder, with links followed too. Raises InputError."""
    text = str(name)
    try:
        path = below(folder, text, where)
    except InputError:
        path = None
    plain = PurePosixPath(text).as_posix() == text and text not in _DOTS
    if not path or not plain or not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder)):
        raise InputError(f"{where}: names a file outside of the cohort, {_short(text)}")
    return path


def require_file(path: Path, what: str) -> None:
    """Raises InputError unless a regular file is there: a pipe or a device would be read for ever."""
    try:
        if path.is_file():
            return
        there = os.path.lexists(path)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{_short(str(path))}: cannot be opened ({error.strerror if isinstance(error, OSError) else error})"
        ) from None
    if not there:
        raise InputError(f"{path}: no such file; expected {what}")
    kind = "a folder" if path.is_dir() else "a broken link" if not path.exists() else "a device or a pipe"
    raise InputError(f"{path}: expected {what}, got {kind}")


def _short(text: str) -> str:
    return repr(text) if len(text) < 80 else f"{text[:40]!r}... ({len(text)} characters)"
