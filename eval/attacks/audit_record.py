"""Audits on file: what audits found of the trainers of weights, kept as JSON beside them, and which a cohort has.

Only weights learnt under a budget make a claim that an audit can refute. An audit is of a trainer, so what is kept
says which, and of which weight file by its hash: weights that were trained again need another audit.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from ...core.cohort.disk import write_atomic
from ...core.config import read_json
from ...core.errors import InputError
from ...core.training import weights
from .privacy_audit import Audit

ENDING = ".audit.json"
FORMAT, VERSION = "polyclinic-audit", 1
PUBLIC = "learnt on public data, there is no claim to audit"
UNKNOWN = "no weights with the hash in the manifest are installed"
MISSING = "no audit of these weights is on file"


@runtime_checkable
class Drawn(Protocol):
    """A cohort that says which weights drew it. core.cohort.Cohort is one."""

    @property
    def manifest(self) -> Mapping[str, Any]:
        """With `weights`, hashes by name, and a population that may have a `table`."""
        ...


@dataclass(frozen=True)
class Audited:
    """Weights of a cohort and what an audit of their trainer found; lower_bound None: not measured, see reason.

    weights: sha256 of the file. claimed: epsilon of the card, None for public ones.
    """

    name: str
    weights: str
    claimed: float | None = None
    lower_bound: float | None = None
    ceiling: float | None = None
    confidence: float | None = None
    trainer: str = ""
    reason: str | None = None

    @property
    def in_words(self) -> str:
        """One sentence."""
        if self.lower_bound is None or self.claimed is None:
            return f"{self.name}: not measured, {self.reason}."
        kept = "under" if self.lower_bound <= self.claimed else "ABOVE"
        return (
            f"{self.name}: epsilon is at least {self.lower_bound:.2f} by an audit of its trainer, {kept} the "
            f"{self.claimed:.2f} that its card claims."
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {**asdict(self), "in_words": self.in_words}


def write(found: Audit, path: Path, trainer: str) -> Path:
    """Keep an audit beside the weight file `path` whose trainer it was; `trainer` says what was run. The file."""
    body = {"format": FORMAT, "version": VERSION, "trainer": trainer, **found.to_dict(weights.digest(path))}
    file = path.with_suffix(ENDING)
    write_atomic(file, (json.dumps(body, indent=1) + "\n").encode())
    return file


def on_file(folders: Iterable[Path]) -> dict[str, dict[str, Any]]:
    """Audits kept in these folders, by the sha256 of the weights. Raises InputError on a file that is none."""
    found: dict[str, dict[str, Any]] = {}
    for path in (p for folder in folders for p in sorted(folder.glob(f"*{ENDING}"))):
        try:
            body = read_json(path.read_text(encoding="utf-8"))
            if (body["format"], body["version"]) != (FORMAT, VERSION):
                raise ValueError("another format")
            found.setdefault(body["weights"], body)
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path}: expected an audit ({FORMAT} version {VERSION}): {error}") from None
    return found


def audits(cohort: object) -> list[Audited] | None:
    """A row for each weight file that drew a cohort, its table of profiles too; None if the cohort names none."""
    if not isinstance(cohort, Drawn):
        return None
    used = weights_of(cohort.manifest)
    places = {*weights.folders(), *(path.parent for _, path, _ in used if path is not None)}
    kept = on_file(sorted(places))
    return [_row(name, path, sha, kept.get(sha)) for name, path, sha in used]


def weights_of(manifest: Mapping[str, Any]) -> list[tuple[str, Path | None, str]]:
    """Name, file and hash of what drew a cohort, its table of profiles too; None if no file here has that hash."""
    used = {name: (weights.place_of(name), sha) for name, sha in manifest.get("weights", {}).items()}
    if table := manifest.get("population", {}).get("table"):
        used["population"] = (Path(table["file"]), table["sha256"])
    return [
        (name, path if path and path.is_file() and weights.digest(path) == sha else None, sha)
        for name, (path, sha) in used.items()
    ]


def _row(name: str, path: Path | None, sha: str, found: Mapping[str, Any] | None) -> Audited:
    if path is None:
        return Audited(name, sha, reason=UNKNOWN)
    claimed = weights.read_card(path).epsilon
    if claimed is None:
        return Audited(name, sha, reason=PUBLIC)
    if found is None:
        return Audited(name, sha, claimed, reason=MISSING)
    kept = ("lower_bound", "ceiling", "confidence", "trainer")
    return Audited(name, sha, claimed, **{key: found[key] for key in kept})
