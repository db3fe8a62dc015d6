"""Reads a cohort's wearables back from Parquet."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ...core.errors import InputError
from ...core.modality import Record
from ...core.types import AnyArray
from .layout import BEATS, FOLDER, MEALS, PPG


def read(folder: Path, patient_ids: Sequence[str]) -> dict[str, Record]:
    """Records by patient; those without files are left out. Raises InputError naming a damaged file."""
    found = {}
    for patient_id in patient_ids:
        place = folder / FOLDER / patient_id
        if place.is_dir() and (files := sorted(place.glob("*.parquet"))):
            found[patient_id] = _record(files)
    return found


def _record(files: Sequence[Path]) -> Record:
    arrays: dict[str, AnyArray] = {}
    facts: dict[str, Any] = {}
    for path in files:
        try:
            table = pq.read_table(path)
            head = json.loads(table.schema.metadata[b"polyclinic"])
            facts = head["facts"]
            arrays |= _arrays(path.stem, head, table)
        except (OSError, pa.ArrowException, KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"{path}: cannot be read as our Parquet ({type(error).__name__}: {error})"
            ) from error
    return Record(arrays, facts)


def _arrays(stem: str, head: dict[str, Any], table: pa.Table) -> dict[str, AnyArray]:
    if stem == PPG:
        waves = {name: _waves(table[name]) for name in ("wrist", "finger")}
        return {
            f"{PPG}/begins": table["begins"].to_numpy(),
            **{f"{PPG}/{n}": wave for n, wave in waves.items()},
        }
    if stem == MEALS:
        return {f"{MEALS}/{name}": table[name].to_numpy() for name in table.column_names}
    device = head["device"]
    if stem.endswith(f"-{BEATS}"):
        return {f"{device}/{BEATS}": table["at"].to_numpy()}
    names = [name for name in table.column_names if name not in ("time", "received")]
    return {f"{device}/{name}": table[name].to_numpy().astype(np.float32) for name in names}


def _waves(column: pa.ChunkedArray) -> AnyArray:
    flat = column.combine_chunks()
    return np.asarray(flat.flatten()).reshape(len(flat), -1)
