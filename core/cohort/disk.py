"""What the file system refuses, early and in words: room, permission, folders that hold something already."""

import errno
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import InputError


def require_room(folder: Path, needed: int) -> None:
    """Raises InputError if fewer than `needed` bytes are free on the disk of a folder."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise InputError(
            f"{folder}: the disk is too full: up to {needed / 1e9:.2f} GB may be needed, "
            f"{free / 1e9:.2f} GB are free; free some, ask for less, or choose another disk"
        )


@contextmanager
def refusals(folder: Path, advice: str = "run again") -> Iterator[None]:
    """Turns a full disk and a missing permission below into InputError; other errors pass."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise InputError(f"{folder}: the disk is full; free some space and {advice}") from None
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise InputError(f"{folder}: cannot be written ({error.strerror or error})") from None
        raise


def new_folder(folder: Path, ignore: str = "") -> bool:
    """Make a folder that must be new or empty (but for a file named `ignore`); whether it was made.

    Raises InputError: it is a file, holds something, or cannot be made.
    """
    try:
        if folder.exists() and not folder.is_dir():
            raise InputError(f"{folder}: is a file; expected the name of a new folder")
        if not is_empty(folder, ignore):
            raise InputError(f"{folder}: already there and not empty; choose another folder")
        existed = folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        return not existed
    except OSError as error:
        raise InputError(f"{folder}: cannot be made or written ({error.strerror or error})") from None


def is_empty(folder: Path, ignore: str = "") -> bool:
    """Whether a folder is absent or holds nothing but a file named `ignore`."""
    return not folder.exists() or all(path.name == ignore for path in folder.iterdir())


def require_new_file(path: Path, overwrite: bool | None = None) -> None:
    """Raises InputError if a file is there already, or could not be written there.

    `overwrite` is None where the command has no such option.
    """
    try:
        if path.is_dir():
            raise InputError(f"{path}: is a folder; expected the name of a new file")
        if path.exists() and not overwrite:
            way = "delete it first" if overwrite is None else "allow it with --overwrite"
            raise InputError(f"{path}: already there; choose another name, or {way}")
        if not path.parent.is_dir():
            raise InputError(f"{path.parent}: no such folder; make it first")
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error})") from None


def part_of(path: Path) -> Path:
    """Where write_atomic prepares a file."""
    return path.with_name(f".{path.name}.part")


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file in one step: it is there whole, or not at all, and holds what it held before where that fails."""
    temporary = part_of(path)
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
