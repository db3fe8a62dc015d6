"""File list: sha256 and size of each file of a cohort, in its manifest, or in shards of it where there are many.

A shard is a JSON object of at most SHARD files, sorted by path; shards follow one another in that order. The manifest
holds the hash of each shard, so that its own hash stands for every file.
"""

import heapq
import json
import shutil
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any

from ..config import read_json
from ..errors import InputError
from .damage import MEND, Files
from .disk import write_atomic

SHARD = 16_384  # files; a cohort of fewer lists them in its manifest
FOLDER = "manifest"  # of the shards, in the cohort's
Entry = dict[str, Any]  # sha256, bytes


class ShardedFiles(Mapping[str, Entry]):
    """The files of a cohort, by path and in order, one shard in memory at a time.

    `shards` are the manifest's: path, sha256, bytes, the number of files and the first one. Raises InputError, which
    names the shard, where one that is looked into is missing or was changed.
    """

    def __init__(self, folder: Path, shards: list[dict[str, Any]]) -> None:
        self._folder, self._shards = folder, shards
        self._firsts = [shard["first"] for shard in shards]
        self._last: tuple[int, Files] = (-1, {})

    def __len__(self) -> int:
        return sum(shard["files"] for shard in self._shards)

    def __iter__(self) -> Iterator[str]:
        for number in range(len(self._shards)):
            yield from self._shard(number)

    def __getitem__(self, path: str) -> Entry:
        number = bisect_right(self._firsts, path) - 1
        if number < 0:
            raise KeyError(path)
        return self._shard(number)[path]

    @property
    def shards(self) -> Files:
        """Hash and size of each shard, by path."""
        return {s["path"]: {"sha256": s["sha256"], "bytes": s["bytes"]} for s in self._shards}

    def _shard(self, number: int) -> Files:
        if self._last[0] != number:
            self._last = (-1, {})  # two in memory would be twice as much
            about = self._shards[number]
            path = self._folder / FOLDER / _name(number)
            try:
                content = path.read_bytes()
            except OSError as error:
                raise InputError(f"{path}: cannot be read ({error.strerror}); {MEND}") from None
            if sha256(content).hexdigest() != about["sha256"]:
                raise InputError(f"{path}: changed since it was written; {MEND}")
            self._last = number, read_json(content)
        return self._last[1]


def _name(number: int) -> str:
    return f"{number:05}.json"


def opened(folder: Path, stated: Any, where: Path) -> ShardedFiles:
    """The files that a manifest's `shards` list. Raises InputError where they are not as we write them."""
    kinds = {"path": str, "sha256": str, "bytes": int, "files": int, "first": str}
    if not isinstance(stated, list) or not all(
        isinstance(one, dict)
        and all(isinstance(one.get(key), kind) for key, kind in kinds.items())
        and one["path"] == f"{FOLDER}/{_name(number)}"
        for number, one in enumerate(stated)
    ):
        raise InputError(f"{where}: damaged: shards: expected {', '.join(kinds)} of each shard")
    return ShardedFiles(folder, stated)


def write(folder: Path, parts: Iterable[Files], scratch: Path) -> dict[str, Any]:
    """What the manifest says of these files: `files`, or `shards`, which are written below `folder`.

    At most 2 SHARD entries are in memory; more are sorted in `scratch`, a folder that is made and removed. Of entries
    of one path the last counts.
    """
    shutil.rmtree(folder / FOLDER, ignore_errors=True)  # of a run that was killed
    shutil.rmtree(scratch, ignore_errors=True)
    runs: list[Path] = []
    held: Files = {}
    for part in parts:
        held |= part
        if len(held) > SHARD:
            scratch.mkdir(exist_ok=True)
            runs.append(_spilled(held, scratch / f"{len(runs):05}.jsonl"))
            held = {}
    if not runs:
        return {"files": dict(sorted(held.items()))}
    if held:
        runs.append(_spilled(held, scratch / f"{len(runs):05}.jsonl"))
        held = {}
    (folder / FOLDER).mkdir()
    shards: list[dict[str, Any]] = []
    merged = _latest(heapq.merge(*(_run(path, number) for number, path in enumerate(runs))))
    while some := dict(islice(merged, SHARD)):
        content = _text(some).encode()
        name = f"{FOLDER}/{_name(len(shards))}"
        write_atomic(folder / name, content)
        shards.append(
            {"path": name, "sha256": sha256(content).hexdigest(), "bytes": len(content), "files": len(some),
             "first": next(iter(some))}
        )  # fmt: skip
        some = {}  # before the next are held
    shutil.rmtree(scratch)
    return {"shards": shards}


def _text(entries: Files) -> str:
    """What json.dumps(entries, indent=0) gives, and a line's end, in a fifth of its time."""
    lines = (
        f'{json.dumps(name)}: {{\n"sha256": "{one["sha256"]}",\n"bytes": {one["bytes"]}\n}}'
        for name, one in entries.items()
    )
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _spilled(entries: Files, path: Path) -> Path:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(
            f"{json.dumps(name)}\t{one['sha256']}\t{one['bytes']}\n" for name, one in sorted(entries.items())
        )
    return path


def _run(path: Path, number: int) -> Iterator[tuple[str, int, str, int]]:
    """Path, number of the run, sha256 and bytes of each entry."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            name, digest, size = line.rsplit("\t", 2)
            yield json.loads(name), number, digest, int(size)


def _latest(entries: Iterable[tuple[str, int, str, int]]) -> Iterator[tuple[str, Entry]]:
    """Of each path the entry of the last run."""
    before: tuple[str, Entry] | None = None
    for name, _, digest, size in entries:
        if before is not None and before[0] != name:
            yield before
        before = name, {"sha256": digest, "bytes": size}
    if before is not None:
        yield before
