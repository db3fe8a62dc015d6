"""FHIR bulk files and notes: one NDJSON a kind, written as pieces and joined in patient order; then other formats."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...core.cohort.disk import write_atomic
from ...core.contracts import CohortFormat
from ...core.errors import InputError
from ...core.modality import Record
from .data import FOLDER, NOTE_KINDS, NOTES, TRUE_NOTES, TRUTH, TYPES, line, whole_file
from .us_core.hospital import hospital

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


def join(pieces: Sequence[Path], folder: Path, formats: Sequence[Any] = ()) -> list[Path]:
    """Each file's pieces in the order given, into the same file below folder; the paths written.

    What all patients share is added. What formats wrote into the pieces is copied; formats of the whole cohort are made
    from the joined files. The bytes do not depend on how the patients were sliced. Memory stays flat. Raises InputError
    for a piece that is not there.
    """
    for piece in pieces:
        if not piece.is_dir():
            raise InputError(
                f"{piece}: no such folder; expected a slice of patients, run again with --resume"
            )
    names = [f"{place}/{name}" for _, place, files in _PLACES for name in files]
    paths = []
    for _, place, files in _PLACES:
        parts = {name: [p for piece in pieces if (p := piece / place / name).exists()] for name in files}
        first = shared() if parts.get("Patient.ndjson") else {}
        for name in files:
            if parts[name] or name in first:
                paths.append(_join(parts[name], folder / place / name, first.get(name, b"")))
    for piece in pieces:
        for path in sorted(path for path in piece.rglob("*") if path.is_file()):
            if (name := path.relative_to(piece).as_posix()) not in names:
                paths.append(_join([path], folder / name))
    for one in formats:
        if isinstance(one, CohortFormat):
            paths += one.convert(folder, folder)
    return paths


def shared() -> dict[str, bytes]:
    """What all patients share (see us_core.hospital), by file: it comes first, once a cohort."""
    lines: dict[str, str] = {}
    for resource in hospital():
        name = _file_of(resource)
        lines[name] = lines.get(name, "") + line(resource)
    return {name: text.encode() for name, text in lines.items()}


def _join(parts: Sequence[Path], path: Path, first: bytes = b"") -> Path:
    with whole_file(path) as temporary, temporary.open("wb") as out:
        out.write(first)
        for part in parts:
            with part.open("rb") as piece_file:
                shutil.copyfileobj(piece_file, out)
    return path
