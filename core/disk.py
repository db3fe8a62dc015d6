"""What the file system refuses, early and in words: room, permission, folders that hold something already."""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import InputError


def require_room(folder: Path, needed: int) -> None:
    """Raises InputError if fewer than `needed` bytes are free where a folder is or will be."""
    existing = next(p for p in (folder.absolute(), *folder.absolute().parents) if p.exists())
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise InputError(
            f"{folder}: the disk is too full: up to {needed / 1e9:.2f} GB may be needed, "
            f"{free / 1e9:.2f} GB are free; free some, ask for less, or choose another disk"
        )


@contextmanager
def refusals(folder: Path) -> Iterator[None]:
    """Turns a full disk and a missing permission below into InputError; other errors pass."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise InputError(
                f"{folder}: the disk is full; free some space and run again with --resume"
            ) from None
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
