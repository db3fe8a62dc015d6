"""Changes of any file: gone, empty, cut, damaged, a folder, a device, a pipe, a link, a giant, another encoding."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random

from .case import HARMLESS, OTHER, REFUSED, Change, Edit

FAR = 1 << 40  # bytes of a sparse giant


def edits(path: str, change: Callable[[Path], None]) -> Edit:
    """An edit of the file at `path`."""
    return lambda home: change(home / path)


def content(path: str, change: Callable[[bytes], bytes]) -> Edit:
    """An edit of a file's bytes."""

    def edit(home: Path) -> None:
        place = home / path
        place.write_bytes(change(place.read_bytes()))

    return edit


def replaced(path: Path) -> None:
    """Take away what is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _folder(path: Path) -> None:
    replaced(path)
    path.mkdir()


def _pipe(path: Path) -> None:
    replaced(path)
    os.mkfifo(path)


def _link(target: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        replaced(path)
        path.symlink_to(target if target != "itself" else path.name)

    return change


def _giant(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(FAR)


def _noise(path: Path) -> None:
    path.write_bytes(Random(7).randbytes(max(64, path.stat().st_size)))


def of_kind(path: str, says: tuple[str, ...] = (), missing: str = REFUSED) -> list[Change]:
    """The file is another thing than a regular file, or not there; a refusal names the file."""
    names = says or (Path(path).name, Path(path).stem)
    kinds: list[tuple[str, Callable[[Path], None]]] = [
        ("missing", replaced),
        ("a folder", _folder),
        ("a named pipe", _pipe),
        ("a link to /dev/zero", _link("/dev/zero")),
        ("a link to /dev/stdin", _link("/dev/stdin")),
        ("a broken link", _link("nowhere")),
        ("a link to itself", _link("itself")),
    ]
    return [
        Change(
            f"{path} is {name}",
            missing if name in ("missing", "a broken link") else REFUSED,
            edits(path, do),
            names,
        )
        for name, do in kinds
    ]


def of_bytes(path: str, says: tuple[str, ...] = (), expect: str = REFUSED) -> list[Change]:
    """The file holds other bytes: none, the first half, noise, zeros, a giant's; `expect` where that must be seen."""
    names = says or (Path(path).name, Path(path).stem)
    return [
        Change(f"{path} is empty", expect, content(path, lambda _: b""), names),
        Change(f"{path} is cut in its middle", expect, content(path, lambda b: b[: len(b) // 2]), names),
        Change(f"{path} lacks its last bytes", OTHER, content(path, lambda b: b[:-3]), names),
        Change(f"{path} is noise", expect, edits(path, _noise), names),
        Change(f"{path} is zeros", expect, content(path, lambda b: bytes(len(b))), names),
        Change(f"{path} is a terabyte", HARMLESS, edits(path, _giant), names),
        Change(f"{path} begins with noise", expect, content(path, lambda b: b"\xff\xfe\x00" + b), names),
        Change(
            f"{path} is another format", expect, content(path, lambda _: b"PK\x03\x04" + bytes(200)), names
        ),
    ]


def of_text(path: str, says: tuple[str, ...] = ()) -> list[Change]:
    """The same text in another encoding or with other ends of lines."""
    names = says or (Path(path).name, Path(path).stem)

    def encoded(name: str) -> Callable[[bytes], bytes]:
        return lambda b: b.decode().encode(name)

    return [
        Change(
            f"{path} has a byte order mark", HARMLESS, content(path, lambda b: b"\xef\xbb\xbf" + b), names
        ),
        Change(f"{path} has CRLF", HARMLESS, content(path, lambda b: b.replace(b"\n", b"\r\n")), names),
        Change(f"{path} has CR alone", HARMLESS, content(path, lambda b: b.replace(b"\n", b"\r")), names),
        Change(f"{path} is UTF-16", HARMLESS, content(path, encoded("utf-16")), names),
        Change(f"{path} has no last line end", HARMLESS, content(path, lambda b: b.rstrip(b"\n")), names),
        Change(f"{path} has a Latin-1 byte", OTHER, content(path, lambda b: b + b"# \xe9\n"), names),
        Change(f"{path} has a zero byte", REFUSED, content(path, lambda b: b[:40] + b"\0" + b[40:]), names),
    ]
