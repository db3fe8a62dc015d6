"""Damage: files of a cohort that are gone or were changed, and records that only the manifest still knows."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import InputError, listed
from ..paths import inside
from ..training.weights import digest

Files = dict[str, dict[str, Any]]  # path below the cohort -> {"sha256", "bytes"}
MEND = "put them back from a copy, or draw the cohort again"


def damage(folder: Path, files: Files, hashes: bool = True) -> list[str]:
    """Each file that is missing or was changed, a line each; without `hashes` one of the same size is as it was."""
    problems = []
    for name, entry in files.items():
        try:
            path = inside(folder, name, "manifest.json")
        except InputError as error:
            problems.append(str(error))
            continue
        if not path.is_file():
            problems.append(f"{name}: missing")
        elif path.stat().st_size != entry["bytes"] or (hashes and digest(path) != entry["sha256"]):
            problems.append(f"{name}: changed since it was written")
    return problems


def require_files(folder: Path, files: Files, hashes: bool = True) -> None:
    """Raises InputError if there is damage."""
    if problems := damage(folder, files, hashes):
        count = f"{len(problems)} of {len(files)} files"
        raise InputError(f"{folder}: {count} are not as they were written: {listed(problems, 3)}; {MEND}")


def require_records(
    folder: Path, manifest: Mapping[str, Any], modality: str, ids: Sequence[str], found: Collection[str]
) -> None:
    """Raises InputError if one of these patients has no record of a modality that the manifest says to be there."""
    about = manifest.get("modalities", {}).get(modality, {})
    if "without_record" not in about:
        return
    lost = [patient for patient in ids if patient not in found and patient not in about["without_record"]]
    if lost:
        raise InputError(f"{folder}: {modality} of patients that had it are gone: {listed(lost, 3)}; {MEND}")
