"""FHIR bulk files: one NDJSON a resource type, written as pieces and joined in patient order."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from ...core.errors import InputError
from ...core.modality import Record
from ...core.weights import write_atomic
from .data import FOLDER, TYPES, Resource


def line(resource: Resource) -> str:
    """One resource as one line of JSON: keys in the order written, no clock, no NaN."""
    return json.dumps(resource, ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n"


def write_piece(records: Sequence[Record], folder: Path) -> list[Path]:
    """fhir/<Resource>.ndjson below folder for these patients; the paths written."""
    lines: dict[str, list[str]] = {}
    for record in records:
        for resource in record.facts["resources"]:
            lines.setdefault(resource["resourceType"], []).append(line(resource))
    if lines:
        (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    paths = []
    for kind in TYPES:
        if kind in lines:
            path = folder / FOLDER / f"{kind}.ndjson"
            write_atomic(path, "".join(lines[kind]).encode())
            paths.append(path)
    return paths


def join(pieces: Sequence[Path], folder: Path) -> list[Path]:
    """Each type's pieces in the order given, into fhir/<Resource>.ndjson below folder; the paths written.

    The bytes do not depend on how the patients were sliced. Memory stays flat. Raises InputError for a
    piece that is not there.
    """
    for piece in pieces:
        if not piece.is_dir():
            raise InputError(
                f"{piece}: no such folder; expected a slice of patients, run again with --resume"
            )
    paths = []
    for kind in TYPES:
        parts = [p for piece in pieces if (p := piece / FOLDER / f"{kind}.ndjson").exists()]
        if not parts:
            continue
        (folder / FOLDER).mkdir(parents=True, exist_ok=True)
        path = folder / FOLDER / f"{kind}.ndjson"
        temporary = path.with_name(f".{path.name}.part")
        try:
            with temporary.open("wb") as out:
                for part in parts:
                    with part.open("rb") as piece_file:
                        shutil.copyfileobj(piece_file, out)
            temporary.replace(path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        paths.append(path)
    return paths
