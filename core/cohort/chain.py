"""Chain: an append-only file of JSON lines, each with the hash of the one before, as ledger and journal are."""

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import IO, Any

from ..errors import InputError

Line = dict[
    str, Any
]  # what a line says, with `time` (UTC, ISO 8601) and `previous` (sha256 of the line before)


class Held:
    """A chain while this process holds it: the lines there are, and those to be added when it lets go."""

    def __init__(self, lines: list[Line], head: str) -> None:
        self.lines, self.head = lines, head
        self.added: list[str] = []

    def append(self, values: Line, seal: Callable[[Line], Line] = lambda line: line) -> Line:
        """Add a line; `seal` may add to it (a signature) once time and hash are in it."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        line = seal({**values, "time": now, "previous": self.head})
        self.added.append(json.dumps(line))
        self.head = _hash(self.added)
        self.lines.append(line)
        return line


class Chain:
    """The file, and in one word what it is (ledger, journal) for messages."""

    def __init__(self, path: Path, what: str) -> None:
        self.path, self.what = path, what

    def lines(self) -> list[Line]:
        """All lines, oldest first; none where there is no file. Raises InputError if one was changed or removed."""
        return self._parse(self.path.read_bytes())[0] if self.path.exists() else []

    def head(self, lines: int | None = None) -> str:
        """Hash of the last line, or of the last of the first `lines`: it stands for all before. Empty for none.

        Raises InputError as lines() does.
        """
        if not self.path.exists():
            return ""
        content = self.path.read_bytes()
        head = self._parse(content)[1]
        return head if lines is None else _hash(content.decode().split("\n")[:-1][lines - 1 : lines])

    @contextmanager
    def held(self) -> Iterator[Held]:
        """Hold the file against other processes; what was appended is written at the end, all of it or none.

        Raises InputError if it cannot be written, or was changed.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            file: IO[bytes] = self.path.open("a+b")
        except OSError as error:
            raise InputError(f"{self.path}: the {self.what} cannot be written ({error.strerror})") from None
        with file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            held = Held(*self._parse(file.read()))
            yield held
            file.write("".join(line + "\n" for line in held.added).encode())
            file.flush()
            os.fsync(file.fileno())

    def _parse(self, content: bytes) -> tuple[list[Line], str]:
        """Lines, and the hash of the last one. A line that is not written as we write it counts as changed."""
        lines: list[Line] = []
        head = ""
        *texts, rest = content.split(b"\n")
        for number, text in enumerate([*texts, rest] if rest else texts, 1):
            try:
                line = json.loads(text)
                intact = (
                    line["previous"] == head and json.dumps(line).encode() == text and number <= len(texts)
                )
            except (ValueError, KeyError, TypeError):
                intact = False
            if not intact:
                raise InputError(
                    f"{self.path}, line {number}: the chain is broken; the {self.what} was changed"
                )
            lines.append(line)
            head = sha256(text).hexdigest()
        return lines, head


def _hash(texts: list[str]) -> str:
    """Of the last of them; empty for none."""
    return sha256(texts[-1].encode()).hexdigest() if texts else ""
