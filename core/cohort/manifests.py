"""Manifest: what the first file of a cohort's folder says: read and checked, begun, compared with what is asked for."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..config import read_json
from ..errors import InputError
from ..limits import SEED
from ..paths import require_file
from . import file_list
from .check import MANIFEST

FORMAT = "polyclinic-cohort"
FORMAT_VERSION = 2
SHARDED_VERSION = 3  # of a cohort whose manifest lists shards of its files, not the files
MOST_PATIENTS = 10**9
BYTES_PER_RECORD = 1_000_000  # where the modality does not say; generous, to refuse a full disk early


def read(folder: Path) -> dict[str, Any]:
    """The manifest in a folder, with `files` also where it lists shards of them. Raises InputError."""
    path = folder / MANIFEST
    if not path.exists():
        raise InputError(f"{folder}: no cohort there (expected a folder with {MANIFEST})")
    require_file(path, "the manifest of a cohort")
    try:
        manifest = read_json(path.read_text(encoding="utf-8"))
        kind, version = manifest["format"], manifest["format_version"]
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{path}: not the manifest of a cohort") from None
    if (kind, version) not in ((FORMAT, FORMAT_VERSION), (FORMAT, SHARDED_VERSION)):
        raise InputError(
            f"{path}: expected {FORMAT} version {FORMAT_VERSION} or {SHARDED_VERSION}, got {kind} version "
            f"{version}; draw the cohort again with polyclinic generate, or read it with the version that wrote it"
        )
    _require_keys(manifest, path)
    return with_files(folder, manifest)


def with_files(folder: Path, manifest: dict[str, Any]) -> dict[str, Any]:
    """The manifest, with `files` also where it lists shards of them."""
    if "shards" not in manifest:
        return manifest
    return manifest | {"files": file_list.opened(folder, manifest["shards"], folder / MANIFEST)}


def begun(header: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest of a cohort that has no file yet, in plain JSON types."""
    kind = {"format": FORMAT, "format_version": FORMAT_VERSION, "synthetic": True, "status": "incomplete"}
    plain: dict[str, Any] = json.loads(json.dumps({**kind, **header}))
    return plain


_KEYS: dict[str, tuple[type, ...]] = {
    "status": (str,), "patients": (int,), "modalities": (dict,), "files": (dict,), "weights": (dict,), "draw": (dict,),
    "labels": (list,), "use": (dict,), "watermark": (dict,), "device": (str,), "seed": (int,), "population": (dict,),
}  # fmt: skip


def _require_keys(manifest: Mapping[str, Any], path: Path) -> None:
    """Raises InputError where a key of a manifest that is there is of another kind than we write."""
    for key in (
        "status",
        "patients",
        "modalities",
        *(["files"] if manifest.get("status") == "complete" and "shards" not in manifest else []),
    ):
        if key not in manifest:
            raise InputError(f"{path}: damaged: {key} is missing; draw the cohort again, or copy it again")
    for key, kinds in _KEYS.items():
        value = manifest.get(key)
        if key in manifest and (not isinstance(value, kinds) or isinstance(value, bool)):
            raise InputError(
                f"{path}: damaged: {key} is {type(value).__name__}, expected {kinds[0].__name__}"
            )
    if not 0 < manifest["patients"] <= MOST_PATIENTS or manifest["status"] not in ("complete", "incomplete"):
        raise InputError(f"{path}: damaged: patients or status is not what a cohort has")
    if not SEED.low <= manifest.get("seed", 0) <= SEED.high:
        raise InputError(f"{path}: damaged: expected a seed of 64 bits")
    entries = manifest.get("files", {}).values()
    if not all(isinstance(e, dict) and isinstance(e.get("bytes"), int) and "sha256" in e for e in entries):
        raise InputError(f"{path}: damaged: files: expected bytes and sha256 of each file")
    if not all(isinstance(own, dict) for own in manifest["modalities"].values()):
        raise InputError(f"{path}: damaged: modalities: expected settings of each modality")


def bytes_per_patient(header: Mapping[str, Any]) -> int:
    """What a patient may take on disk while the cohort is written, over all modalities."""
    return sum(own.get("bytes_per_record", BYTES_PER_RECORD) for own in header["modalities"].values())


def _settings(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What two runs must share: all of the header but where weights lie, of the modalities their names."""
    kept = {
        key: value
        for key, value in manifest.items()
        if key not in ("format_version", "status", "files", "shards", "use")
    }
    return {**kept, "modalities": sorted(manifest["modalities"])}


def difference(there: Mapping[str, Any], asked: Mapping[str, Any]) -> str | None:
    """The first setting in which two manifests differ that must be the same to go on, in words."""
    found = _differing(_settings(there), _settings(asked))
    return found if found is None or len(found) < 600 else f"{found[:600]}..."


def _differing(there: Any, asked: Any, key: str = "") -> str | None:
    """The first setting that differs, in words."""
    if isinstance(there, dict) and isinstance(asked, dict):
        for name in dict.fromkeys([*there, *asked]):
            inner = f"{key}.{name}" if key else str(name)
            if found := _differing(there.get(name), asked.get(name), inner):
                return found
        return None
    return None if there == asked else f"{key} is {there!r} there and {asked!r} was asked for"
