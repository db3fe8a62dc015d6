"""Carry: a slice's files from the folder where it was drawn to the one where the cohort grows."""

import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from ..config import read_json
from .cohort import PENDING, RESUME, slice_name
from .disk import refusals

Files = Mapping[
    str, bytes
]  # path below the cohort's folder -> content; the last one says that the slice is done


def taken(folder: Path, number: int) -> Files:
    """The files of a slice that is done in `folder`."""
    done = folder / PENDING / f"{slice_name(number)}.json"
    names = [*read_json(done.read_text(encoding="utf-8"))["files"], done.relative_to(folder).as_posix()]
    return {name: (folder / name).read_bytes() for name in names}


def put(files: Files, folder: Path) -> None:
    """Put a slice's files into a cohort's folder, each in one step; it is done when this returns.

    It may be put again, also by two at once. A slice that comes when the cohort is finished is dropped. Raises
    InputError when the disk is full.
    """
    part = folder / PENDING / f"part-{secrets.token_hex(8)}"
    with refusals(folder, RESUME):
        try:
            for name, content in files.items():
                part.write_bytes(content)
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                part.replace(target)
        except FileNotFoundError:
            if (folder / PENDING).is_dir():
                raise
        finally:
            with suppress(OSError):
                part.unlink(missing_ok=True)
