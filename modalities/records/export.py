"""FHIR bulk files: one NDJSON a resource type, written as pieces and joined in patient order; then other formats."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from ...core.errors import InputError
from ...core.modality import Record
from ...core.weights import write_atomic
from .data import FOLDER, TRUTH, TYPES, Resource, line


def write_piece(records: Sequence[Record], folder: Path) -> list[Path]:
    """fhir/<Resource>.ndjson below folder for these patients, and fhir_truth/ where there is mess; the paths."""
    delivered = [record.facts["resources"] for record in records]
    true = [record.facts["truth"] for record in records if "truth" in record.facts]
    return _write(delivered, folder / FOLDER) + _write(true, folder / TRUTH)


def _write(patients: Sequence[Sequence[Resource]], folder: Path) -> list[Path]:
    lines: dict[str, list[str]] = {}
    for resources in patients:
        for resource in resources:
            lines.setdefault(resource["resourceType"], []).append(line(resource))
    if lines:
        folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for kind in TYPES:
        if kind in lines:
            path = folder / f"{kind}.ndjson"
            write_atomic(path, "".join(lines[kind]).encode())
            paths.append(path)
    return paths


def join(pieces: Sequence[Path], folder: Path, formats: Sequence[str] = ()) -> list[Path]:
    """Each type's pieces in the order given, into fhir/<Resource>.ndjson below folder; the paths written.

    formats are made from the joined files. The bytes do not depend on how the patients were sliced.
    Memory stays flat. Raises InputError for a piece that is not there.
    """
    for piece in pieces:
        if not piece.is_dir():
            raise InputError(
                f"{piece}: no such folder; expected a slice of patients, run again with --resume"
            )
    paths = []
    for place in (FOLDER, TRUTH):
        for kind in TYPES:
            parts = [p for piece in pieces if (p := piece / place / f"{kind}.ndjson").exists()]
            if parts:
                paths.append(_join(parts, folder / place / f"{kind}.ndjson"))
    if "bundles" in formats:
        from .bundles import write_bundles

        paths += write_bundles(folder)
    if "csv" in formats:
        from .tables import write_csv

        paths += write_csv(folder)
    if "omop" in formats:
        from .omop import write_omop

        paths += write_omop(folder)
    return paths


def _join(parts: Sequence[Path], path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
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
    return path
