"""A check of all files of a cohort, which goes on where it was stopped."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..config import read_json
from ..errors import InputError
from ..paths import require_file
from ..training.weights import digest
from .damage import in_blocks
from .disk import refusals, require_new_file, write_atomic

MANIFEST = "manifest.json"


def check(folder: Path, files: Mapping[str, dict[str, Any]], progress: Path | None) -> list[str]:
    """Each file that is missing or was changed, a line each.

    `progress` is a file that says how far a check of this very manifest has come, and what it found; it is removed at
    the end. Raises InputError where it is no such file.
    """
    subject = digest(folder / MANIFEST)
    begun, problems = (0, list[str]()) if progress is None else _noted(progress, subject)
    for done, found in in_blocks(folder, files, done=begun):
        problems += found
        if progress is not None:
            with refusals(progress.parent):
                state = {"manifest_sha256": subject, "done": done, "problems": problems}
                write_atomic(progress, json.dumps(state).encode())
    if progress is not None:
        progress.unlink(missing_ok=True)
    return problems


def _noted(progress: Path, subject: str) -> tuple[int, list[str]]:
    """How many files were checked and what was found; nothing where the file is not there yet."""
    if not progress.exists():
        require_new_file(progress)
        return 0, []
    require_file(progress, "the progress of a check")
    try:
        noted = read_json(progress.read_text(encoding="utf-8"))
        of, done, problems = noted["manifest_sha256"], int(noted["done"]), [*map(str, noted["problems"])]
        if done < 0:
            raise ValueError
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(
            f"{progress}: expected the progress of a check, as verify writes it; choose another name"
        ) from None
    if of != subject:
        raise InputError(f"{progress}: of the check of another manifest; delete it, or choose another name")
    return done, problems
