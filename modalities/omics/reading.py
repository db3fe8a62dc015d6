"""Reads records back from a cohort's omics, whichever format they were written in."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.errors import InputError
from ...core.modality import Record
from ...core.tables import open_store
from ...core.types import AnyArray
from .annotation import BREAST_MARKERS, CLASSES
from .classes import PAM50
from .data import MARKERS, OUTCOMES
from .genes import SOURCE_NAME
from .log1p import record_values
from .pieces import COUNTS


@dataclass(frozen=True)
class Labels:
    """Of an assay on disk: each patient's row, facts by name, names and identifiers of the features.

    marked: whether the marker genes are facts.
    """

    rows: dict[str, int]
    facts: dict[str, list[Any]]
    names: NDArray[np.str_]
    ids: NDArray[np.str_] | None
    marked: bool


def read(folder: Path, patient_ids: Sequence[str]) -> dict[str, Record]:
    """Records of these patients from a cohort folder; patients without one are left out.

    Values are exact where X holds them as they are, else to a few steps of float32 (log1p.py).

    Raises InputError naming a store that is unreadable or lacks a part.
    """
    arrays: dict[str, dict[str, AnyArray]] = {}
    facts: dict[str, dict[str, Any]] = {}
    for store in sorted((folder / "omics").glob("*.[zh]*")):
        with open_store(store) as root:
            assays = sorted(root["mod"]) if "mod" in root else [store.stem]
        for assay in assays:
            labels = _labels(store, assay, store.stat().st_mtime_ns)
            known = [patient for patient in patient_ids if patient in labels.rows]
            for array, values in _values(store, assay, [labels.rows[p] for p in known]).items():
                for patient, row in zip(known, values, strict=True):
                    arrays.setdefault(patient, {})[array] = row
            for patient in known:
                record, about = arrays[patient], facts.setdefault(patient, {})
                record[f"{assay}_var"] = labels.names
                if labels.ids is not None:
                    record[f"{assay}_id"] = labels.ids
                place = labels.rows[patient]
                stated = {k: v[place] for k, v in labels.facts.items()}
                about |= {k: v for k, v in stated.items() if v is not None or k not in OUTCOMES}
                if assay == "rna" and labels.marked:
                    about |= {
                        m: float(record["rna"][labels.names == m][0]) for m in MARKERS if m in labels.names
                    }
    wanted = [patient for patient in patient_ids if patient in arrays]
    return {patient: Record(arrays[patient], facts[patient]) for patient in wanted}


def _group(root: Any, assay: str) -> Any:
    return root["mod"][assay] if "mod" in root else root


@lru_cache(maxsize=8)
def _labels(store: Path, assay: str, stamp: int) -> Labels:
    """Read once a store, which may have a million patients; `stamp` is when it was last changed."""
    from anndata.io import read_elem

    with open_store(store) as root:
        group = _group(root, assay)
        obs, var = group["obs"], read_elem(group["var"])
        patients = [str(patient) for patient in read_elem(obs["patient_id"])]
        about = read_elem(group["uns"])
        field = str(about.get(CLASSES, PAM50.field))
        facts = {name: _known(read_elem(obs[name])) for name in (field, *OUTCOMES) if name in obs}
    named = var[SOURCE_NAME if SOURCE_NAME in var.columns else "symbol"]
    names = np.array([str(value) for value in named])
    ids = np.array([str(value) for value in var["source_id"]]) if "source_id" in var.columns else None
    marked = bool(about.get(BREAST_MARKERS, True))
    return Labels({patient: row for row, patient in enumerate(patients)}, facts, names, ids, marked)


def _known(column: Any) -> list[Any]:
    """Values of a column of numbers or truths, None where unknown."""
    import pandas as pd

    return [None if pd.isna(value) else value for value in pd.Series(column).tolist()]


def _values(store: Path, assay: str, rows: Sequence[int]) -> dict[str, AnyArray]:
    """(patient, feature) of X, and of the counts where there are any, by name of the record's array."""
    with open_store(store) as root:
        group = _group(root, assay)
        stored = {assay: group["X"]}
        if COUNTS in group["layers"]:
            stored[f"{assay}_{COUNTS}"] = group["layers"][COUNTS]
        values = {name: _rows_of(matrix, rows) for name, matrix in stored.items()}
        values[assay] = record_values(group, values[assay])
    if any((np.isnan(v) if v.dtype.kind == "f" else v < 0).any() for v in values.values()):
        raise InputError(f"{store}: values are missing, a file below X is lost; generate the cohort again")
    return values


def _rows_of(matrix: Any, rows: Sequence[int]) -> AnyArray:
    """Rows in the order asked for; the formats want them sorted."""
    if not rows:
        return np.empty((0, matrix.shape[1]), matrix.dtype)
    sorted_rows, back = np.unique(np.asarray(rows), return_inverse=True)
    read = matrix.oindex[sorted_rows, :] if hasattr(matrix, "oindex") else matrix[sorted_rows, :]
    return np.asarray(read)[back]
