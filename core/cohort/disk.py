"""What the file system refuses, early and in words: room, permission, folders that hold something already."""

import errno
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import InputError

URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{1,30}:")  # how one begins as a path; a letter alone is a drive
SOME = 1_000_000  # bytes: the least that must be free where it is not known how much will be written
FULL = (errno.ENOSPC, errno.EDQUOT)
REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO, errno.EFBIG)


def require_room(folder: Path, needed: int) -> None:
    """Raises InputError if fewer than `needed` bytes are free on the disk of a folder."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise InputError(
            f"{folder}: the disk is too full: up to {_size(needed)} may be needed, {_size(free)} are free; free some, "
            "ask for less, or choose another disk"
        )


def _size(number: int) -> str:
    return f"{number / 1e9:.2f} GB" if number >= 1e8 else f"{number / 1e6:.2f} MB"


def require_on_disk(folder: Path) -> None:
    """Raises InputError where a folder to write is named by a URL: a path of it would be made in the working folder."""
    first, *rest = folder.parts or ("",)
    if rest and URL.fullmatch(first) and not Path(first).exists():
        raise InputError(
            f"{folder}: expected a folder, got a URL ({first}//); write to a disk, "
            "and send a finished cohort with polyclinic push COHORT --to URL"
        )


def require_folder(folder: Path, needed: int = SOME) -> None:
    """Raises InputError if a folder that is there, or is yet to be made, could not be written, or has too little room.

    Nothing is made.
    """
    require_on_disk(folder)
    there = folder
    while not there.exists() and there.parent != there:
        there = there.parent
    try:
        if not there.is_dir():
            raise InputError(f"{there}: is a file; expected a folder to write into")
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror or error})") from None
    require_room(there, needed)


@contextmanager
def refusals(folder: Path, advice: str = "run again") -> Iterator[None]:
    """Turns a full disk and a missing permission into InputError; other errors pass."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise InputError(f"{folder}: the disk is full; free some space and {advice}") from None
        if error.errno in REFUSED:
            place = Path(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes) else folder
            what = "written" if place.absolute().is_relative_to(folder.absolute()) else "read or written"
            raise InputError(f"{place}: cannot be {what} ({error.strerror or error})") from None
        raise


def new_folder(folder: Path, ignore: str = "") -> bool:
    """Make a folder that must be new or empty (but for a file named `ignore`); whether it was made.

    Raises InputError: it is a file, holds something, is a URL, or cannot be made.
    """
    require_on_disk(folder)
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


def names_below(place: Path) -> list[str]:
    """Paths of the files below a folder, from it on, in order."""
    home = f"{place}{os.sep}"
    found = [f"{folder}{os.sep}{name}" for folder, _, names in os.walk(place) for name in names]
    return sorted(path.removeprefix(home).replace(os.sep, "/") for path in found)


def move_into(place: Path, folder: Path) -> None:
    """Move what a folder holds to the same paths below another, which is there; the emptied folder goes.

    A folder that is not yet there is moved whole, in one step, and so is each file of one that is.
    """
    for path in list(place.iterdir()):
        there = folder / path.name
        if path.is_dir() and there.is_dir():
            move_into(path, there)
        else:
            path.replace(there)
    place.rmdir()


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A folder to write into, which becomes `folder` when all of it is written; that must be new or empty.

    What was written is removed where something fails; what a killed run left goes when the next one begins. Raises
    InputError as new_folder does.
    """
    made = new_folder(folder, ignore=".part")
    folder = folder.resolve()
    mounted = folder.is_mount()  # nothing can take its place
    staging = folder / ".part" if mounted else part_of(folder)
    try:
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir()
        yield staging
        if mounted:
            for path in list(staging.iterdir()):
                path.replace(folder / path.name)
            staging.rmdir()
        else:
            staging.replace(folder)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        if made:
            with suppress(OSError):
                folder.rmdir()
        raise


def require_new_file(path: Path, overwrite: bool | None = None, needed: int = 0) -> None:
    """Raises InputError if a file is there already, or could not be written there, `needed` bytes or more.

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
    require_room(path.parent, needed)


def part_of(path: Path) -> Path:
    """Where write_atomic prepares a file."""
    return path.with_name(f".{path.name}.part")


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file in one step: it is there whole, or not at all, and holds what it held before where that fails."""
    write_together({path: content})


def write_together(files: Mapping[Path, bytes]) -> None:
    """Write files that belong together: where one of them cannot be written, all hold what they held before."""
    try:
        for path, content in files.items():
            part_of(path).write_bytes(content)
        for path in files:
            part_of(path).replace(path)
    except OSError:
        for path in files:
            with suppress(OSError):
                part_of(path).unlink(missing_ok=True)
        raise
