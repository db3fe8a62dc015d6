"""FHIR bulk files and notes: one NDJSON a kind, written as pieces and joined in patient order; then other formats."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...core.errors import InputError
from ...core.modality import Record
from ...core.training.weights import write_atomic
from .data import FOLDER, NOTE_KINDS, NOTES, TRUE_NOTES, TRUTH, TYPES, line

_FHIR = tuple(f"{kind}.ndjson" for kind in TYPES)
_TEXT = tuple(f"{kind}.jsonl" for kind in NOTE_KINDS)
# What is written: the fact, its folder, the file names in order
_PLACES = (
    ("resources", FOLDER, _FHIR),
    ("truth", TRUTH, _FHIR),
    ("notes", NOTES, _TEXT),
    ("true_notes", TRUE_NOTES, _TEXT),
)


def write_piece(records: Sequence[Record], folder: Path) -> list[Path]:
    """fhir/<Resource>.ndjson and notes/<kind>.jsonl below folder for these patients; the paths.

    Where there is corruption, the truth beside them in fhir_truth/ and notes_truth/.
    """
    paths = []
    for fact, place, names in _PLACES:
        lines: dict[str, list[str]] = {}
        for record in records:
            for entry in record.facts.get(fact, ()):
                lines.setdefault(_file_of(entry), []).append(line(entry))
        for name in names:
            if name in lines:
                path = folder / place / name
                path.parent.mkdir(parents=True, exist_ok=True)
                write_atomic(path, "".join(lines[name]).encode())
                paths.append(path)
    return paths


def _file_of(entry: Mapping[str, Any]) -> str:
    """The file of a resource or of a note."""
    return f"{entry['resourceType']}.ndjson" if "resourceType" in entry else f"{entry['meta']['kind']}.jsonl"


def join(pieces: Sequence[Path], folder: Path, formats: Sequence[str] = ()) -> list[Path]:
    """Each file's pieces in the order given, into the same file below folder; the paths written.

    formats are made from the joined files. The bytes do not depend on how the patients were sliced.
    Memory stays flat. Raises InputError for a piece that is not there.
    """
    for piece in pieces:
        if not piece.is_dir():
            raise InputError(
                f"{piece}: no such folder; expected a slice of patients, run again with --resume"
            )
    paths = []
    for _, place, names in _PLACES:
        for name in names:
            parts = [p for piece in pieces if (p := piece / place / name).exists()]
            if parts:
                paths.append(_join(parts, folder / place / name))
    if "bundles" in formats:
        from .formats.bundles import write_bundles

        paths += write_bundles(folder)
    if "csv" in formats:
        from .formats.csv_tables import write_csv

        paths += write_csv(folder)
    if "omop" in formats:
        from .formats.omop import write_omop

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
