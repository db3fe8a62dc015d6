"""Chain: an append-only file of JSON lines, each with the hash of the one before, as ledger and journal are.

A process that dies while it writes leaves a torn last line. That is no tampering: the line is remarked, and
set aside in `FILE.torn` when the file is next held. With `kept_head`, the hash of the last line stands in
`FILE.head` too, so that a file that was emptied or cut at its end is seen as changed; without it that is told.
"""

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from io import FileIO
from pathlib import Path
from typing import Any

from ..config import read_json
from ..errors import InputError
from ..paths import require_file
from ..remarks import remark
from .disk import write_atomic

Line = dict[
    str, Any
]  # what a line says, with `time` (UTC, ISO 8601) and `previous` (sha256 of the line before)


class Held:
    """A chain while this process holds it: the lines there are, and those to be added on write() or when it lets go."""

    def __init__(self, lines: list[Line], head: str) -> None:
        self.lines, self.head = lines, head
        self.added: list[str] = []
        self.write: Callable[[], None] = lambda: None  # what was appended so far, all of it or none

    def append(self, values: Line, seal: Callable[[Line], Line] = lambda line: line) -> Line:
        """Add a line; `seal` may add to it (a signature) once time and hash are in it."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        line = seal({**values, "time": now, "previous": self.head})
        self.added.append(json.dumps(line))
        self.head = _hash(self.added)
        self.lines.append(line)
        return line


class _State:
    """Of a held file: how long it is without a torn end, that end, and what is noted of it beside it."""

    def __init__(self, content: bytes, known: tuple[int, str] | None) -> None:
        self.size = content.rfind(b"\n") + 1
        self.torn = content[self.size :]
        self.known = known


class Chain:
    """The file, in a word what it is (ledger, journal) and what to do if it was changed, for messages.

    `kept_head`: whether its last hash stands beside it.
    """

    def __init__(
        self, path: Path, what: str, kept_head: bool = False, way_out: str = "put its last copy back"
    ) -> None:
        self.path, self.what, self._way_out = path, what, way_out
        if not path.name:
            raise InputError(f"{path}: expected the name of a file, got a folder")
        self.head_file = path.with_name(path.name + ".head") if kept_head else None

    def lines(self) -> list[Line]:
        """All lines, oldest first; none where there is no file. Raises InputError if one was changed or removed."""
        return self._read()[0]

    def head(self, lines: int | None = None) -> str:
        """Hash of the last line, or of the last of the first `lines`: it stands for all before. Empty for none.

        Raises InputError as lines() does.
        """
        _, head, texts = self._read()
        return head if lines is None else _hash(texts[lines - 1 : lines])

    @contextmanager
    def held(self, wait: bool = True) -> Iterator[Held]:
        """Hold the file against other processes; what was appended is written at the end, all of it or none.

        Raises InputError if it cannot be written, or was changed; or another process holds it, unless `wait`.
        """
        self._require_file()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            file = self.path.open("a+b", buffering=0)
        except OSError as error:
            raise InputError(f"{self.path}: the {self.what} cannot be written ({error.strerror})") from None
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InputError(
                    f"{self.path}: another run holds the {self.what}; wait for it to end"
                ) from None
            file.seek(0)
            known = self._known_head()
            content = file.read()
            held = Held(*self._parse(content, known)[:2])
            held.write = partial(self._write, file, held, _State(content, known))
            yield held
            held.write()

    def _write(self, file: FileIO, held: Held, state: "_State") -> None:
        """Append what is to be added; a torn last line is set aside first."""
        try:
            if state.torn:
                with self.path.with_name(self.path.name + ".torn").open("ab") as aside:
                    aside.write(state.torn + b"\n")
                file.truncate(state.size)
                state.torn = b""
            if not held.added:
                self._note_head(held, state.known)  # of a line whose writer was killed before it noted it
                return
            content = "".join(line + "\n" for line in held.added).encode()
            rest = content
            while rest:
                rest = rest[file.write(rest) :]
            os.fsync(file.fileno())
            self._note_head(held, state.known)
            state.size += len(content)
            state.known = (len(held.lines), held.head)
            held.added.clear()
        except OSError as error:
            if held.added:
                _cut(self.path, state.size)
            raise InputError(
                f"{self.path}: the {self.what} cannot be written ({error.strerror}); nothing was added to it"
            ) from None

    def _note_head(self, held: Held, known: tuple[int, str] | None) -> None:
        """Keep the number of lines and the last hash, if they are not `known` already."""
        if self.head_file is not None and held.lines and known != (len(held.lines), held.head):
            state = {"lines": len(held.lines), "head": held.head}
            write_atomic(self.head_file, json.dumps(state).encode())

    def _require_file(self) -> None:
        if os.path.lexists(self.path):
            require_file(self.path, f"a {self.what}")

    def _read(self) -> tuple[list[Line], str, list[str]]:
        """Lines, the hash of the last one, and their texts, as they stand on the disk."""
        self._require_file()
        known = self._known_head()  # first: another process may write meanwhile
        return self._parse(self.path.read_bytes() if self.path.exists() else b"", known)

    def _parse(self, content: bytes, known: tuple[int, str] | None) -> tuple[list[Line], str, list[str]]:
        """As _read. A line that is not written as we write it counts as changed; one without its end as torn."""
        lines: list[Line] = []
        head = ""
        *texts, torn = content.split(b"\n")
        for number, text in enumerate(texts, 1):
            try:
                line = read_json(text)
                intact = line["previous"] == head and json.dumps(line).encode() == text
            except (ValueError, KeyError, TypeError):
                intact = False
            head = sha256(text).hexdigest()
            if not intact or (known and number == known[0] and head != known[1]):
                raise InputError(
                    f"{self.path}, line {number}: the chain is broken; the {self.what} was changed: {self._way_out}"
                )
            lines.append(line)
        if known and len(lines) < known[0]:
            raise InputError(
                f"{self.path}: the chain is broken; it had {known[0]} lines and has {len(lines)}: the {self.what} was "
                f"changed: {self._way_out} ({self.head_file} has the hash of its last line)"
            )
        if lines and known is None and self.head_file is not None and not self.head_file.exists():
            remark(
                f"{self.head_file}: is not there, so that nobody sees whether lines at the end of {self.path} are "
                "missing; it is written anew"
            )
        if torn:
            remark(
                f"{self.path}: its last line has no end: a process died while it wrote it; it counts for nothing"
            )
        return lines, head, [text.decode() for text in texts]

    def _known_head(self) -> tuple[int, str] | None:
        """Lines and last hash as they were noted after the last writing; None where nothing was."""
        if self.head_file is None or not self.head_file.exists():
            return None
        try:
            state = read_json(self.head_file.read_text(encoding="utf-8"))
            return int(state["lines"]), str(state["head"])
        except (OSError, ValueError, KeyError, TypeError):
            raise InputError(
                f"{self.head_file}: damaged; expected the number of lines and the last hash of the {self.what}. "
                "Compare the file with its last copy, then delete this one"
            ) from None


def _cut(path: Path, size: int) -> None:
    """The file as long as it was, where the disk lets us."""
    with suppress(OSError):
        os.truncate(path, size)


def _hash(texts: list[str]) -> str:
    """Of the last of them; empty for none."""
    return sha256(texts[-1].encode()).hexdigest() if texts else ""
