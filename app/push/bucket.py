"""BucketSender: the files of a cohort into a folder of a bucket, or of a disk, through fsspec."""

import os
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from ...core.cohort.cohort import MANIFEST
from ...core.errors import InputError, first_line
from ...core.extras import install_line
from .sender import SENT, Item, Outcome, Stopped
from .target import Target

PIECE = 1 << 20  # bytes read at a time


class BucketSender:
    """See sender.Sender. A file is there whole or not at all: an object store's put, or a rename on a disk."""

    most, most_bytes = 32, 64_000_000

    def __init__(self, target: Target, cohort: Path, parallel: int) -> None:
        self.parallel, self._target, self._cohort = parallel, target, cohort
        self._system: Any = None

    def open(self) -> None:
        """See sender.Sender. Raises InputError too where another cohort is there, or this very one lies."""
        import fsspec

        try:
            self._system, self._home = fsspec.core.url_to_fs(self._target.url)
        except ImportError as error:
            kind = self._target.url.partition(":")[0]
            hint = f"needs s3fs; {install_line('s3')}" if kind in ("s3", "s3a") else first_line(error)
            raise InputError(f"--to {self._target.url}: {hint}") from None
        except ValueError as error:
            raise InputError(f"--to {self._target.url}: {first_line(error)}") from None
        self._local = self._system.protocol == "file" or "file" in self._system.protocol
        if self._local and Path(self._home).resolve().is_relative_to(self._cohort.resolve()):
            raise InputError(f"--to {self._target.url}: lies in the cohort itself; name a folder elsewhere")
        if self._local and Path(self._home).exists() and not Path(self._home).is_dir():
            raise InputError(f"--to {self._target.url}: is a file; expected a folder")
        manifest = f"{self._home}/{MANIFEST}"
        try:
            there = self._system.cat_file(manifest) if self._system.exists(manifest) else None
        except Exception as error:  # each file system has errors of its own
            raise InputError(
                f"--to {self._target.url}: cannot be read ({_said(error)}); check its name and credentials"
            ) from None
        if there is not None and there != (self._cohort / MANIFEST).read_bytes():
            raise InputError(f"--to {self._target.url}: holds another cohort; name another folder")

    def held(self, items: Sequence[Item]) -> set[str]:
        """See sender.Sender: what is there with the same bytes."""
        try:
            return {item.name for item in items if self._hash(item) == item.sha256}
        except Exception as error:
            raise Stopped(_said(error)) from None

    def _hash(self, item: Item) -> str:
        place, total = f"{self._home}/{item.name}", sha256()
        if not self._system.exists(place) or self._system.size(place) != item.size:
            return ""
        with self._system.open(place, "rb") as file:
            while piece := file.read(PIECE):
                total.update(piece)
        return total.hexdigest()

    def send(self, items: Sequence[Item]) -> list[Outcome]:
        """See sender.Sender."""
        try:
            for item in items:
                assert item.path is not None
                place = f"{self._home}/{item.name}"
                if self._local:
                    _copy(item.path, Path(place))
                else:
                    self._system.put_file(str(item.path), place)
        except Exception as error:
            raise Stopped(_said(error)) from None
        return [Outcome(item, SENT) for item in items]

    def close(self) -> None:
        """See sender.Sender."""


def _copy(source: Path, place: Path) -> None:
    """A file's bytes at another place, in one step, on the disk when this returns."""
    place.parent.mkdir(parents=True, exist_ok=True)
    part = place.with_name(f".{place.name}.part")
    with source.open("rb") as there, part.open("wb") as file:
        while piece := there.read(PIECE):
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
    part.replace(place)


def _said(error: Exception) -> str:
    """A foreign error in a line, whatever it is."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"{type(error).__name__}: {first_line(error)}"
