"""Damage: files of a cohort that are gone or were changed, and records that only the manifest still knows."""

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice, repeat
from pathlib import Path
from typing import Any

from ..errors import InputError, listed
from ..paths import inside
from ..training.weights import digest
from . import patients_table

Files = dict[str, dict[str, Any]]  # path below the cohort -> {"sha256", "bytes"}
BLOCK = 1024  # files
MEND = "put them back from a copy, or draw the cohort again"


def damage(folder: Path, files: Mapping[str, dict[str, Any]], hashes: bool = True) -> list[str]:
    """Each file that is missing or was changed, a line each; without `hashes` one of the same size is as it was."""
    return [problem for _, found in in_blocks(folder, files, hashes) for problem in found]


def in_blocks(
    folder: Path, files: Mapping[str, dict[str, Any]], hashes: bool = True, done: int = 0
) -> Iterator[tuple[int, list[str]]]:
    """damage(), BLOCK files at a time, on all cores: how many files are done, and the problems of the block.

    `done` is how many were done before.
    """
    names = islice(files, done, None)
    with ThreadPoolExecutor(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1) as pool:
        while some := list(islice(names, BLOCK)):
            entries = [files[name] for name in some]
            found = pool.map(_problem, repeat(folder), some, entries, repeat(hashes))
            done += len(some)
            yield done, [problem for problem in found if problem is not None]


def _problem(folder: Path, name: str, entry: Mapping[str, Any], hashes: bool) -> str | None:
    """What is wrong with a file."""
    try:
        path = inside(folder, name, "manifest.json")
    except InputError as error:
        return str(error)
    if not path.is_file():
        return f"{name}: missing"
    if path.stat().st_size != entry["bytes"] or (hashes and digest(path) != entry["sha256"]):
        return f"{name}: changed since it was written"
    return None


def require_files(folder: Path, files: Mapping[str, dict[str, Any]], hashes: bool = True) -> None:
    """Raises InputError if there is damage."""
    if problems := damage(folder, files, hashes):
        count = f"{len(problems)} of {len(files)} files"
        raise InputError(f"{folder}: {count} are not as they were written: {listed(problems, 3)}; {MEND}")


def require_records(
    folder: Path, manifest: Mapping[str, Any], modality: str, ids: Sequence[str], found: Collection[str]
) -> None:
    """Raises InputError if one of these patients has no record of a modality that the manifest says to be there."""
    about = manifest.get("modalities", {}).get(modality, {})
    if "with_record" not in about:
        return
    absent = [patient for patient in ids if patient not in found]
    table = folder / patients_table.FILE
    stated = patients_table.lacking(table, modality) if absent and table.is_file() else None
    without = about.get("without_record", ()) if stated is None else stated
    lost = [patient for patient in absent if patient not in without]
    if lost:
        raise InputError(f"{folder}: {modality} of patients that had it are gone: {listed(lost, 3)}; {MEND}")
