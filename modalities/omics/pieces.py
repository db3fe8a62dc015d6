"""Pieces: a slice's omics on disk until all slices are there, as Arrow files that are read a column at a time.

A piece is a folder with `obs.arrow`, the slice's patients, and `<assay>.arrow`: the values, and the counts
where there are any, of the patients who have the assay. Its schema names the features and the patients' places
in obs.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...core.cohort.patients_table import array, columns
from ...core.modality import Record
from ...core.paths import file_name
from ...core.profile import PatientProfile
from ...core.types import AnyArray, IntArray
from .classes import drawn
from .data import MARKERS, OUTCOMES

if TYPE_CHECKING:
    import pyarrow as pa

OBS = "obs.arrow"
VALUES, COUNTS = "values", "counts"
TOGETHER = 256  # tables of pieces joined at once; thousands of tiny ones cost more memory than their rows


@dataclass(frozen=True)
class AssayPieces:
    """One assay in all pieces: rows (patient,) places in the joined obs, features, which columns there are."""

    files: tuple[Path, ...]
    rows: IntArray
    var: Sequence[str]
    ids: Sequence[str]
    counted: bool

    def blocks(
        self, column: str, rows: int, told: Callable[[AnyArray], AnyArray] = np.asarray
    ) -> Iterator[AnyArray]:
        """(patient, feature) values of a column in order, `rows` patients at a time (fewer in the last block).

        `told` turns the values of some patients into those wanted. In memory are one block, which is filled anew
        each time, and one piece.
        """
        block, filled = np.empty((0, len(self.var))), 0
        for file in self.files:
            waiting = told(_matrix(file, column, len(self.var)))
            if not len(block):
                block = np.empty((min(rows, len(self.rows)), len(self.var)), dtype=waiting.dtype)
            while len(waiting):
                taken, waiting = waiting[: len(block) - filled], waiting[len(block) - filled :]
                block[filled : filled + len(taken)] = taken
                filled += len(taken)
                if filled == len(block):
                    yield block
                    filled = 0
        if filled:
            yield block[:filled]


def write(records: Sequence[Record], profiles: Sequence[PatientProfile], folder: Path) -> list[Path]:
    """A piece of these patients; the paths written.

    An assay is a pair of arrays "<assay>", (feature,) float32, and "<assay>_var", (feature,) names, with
    "<assay>_id", (feature,) identifiers, and "<assay>_counts", (feature,) int32, where there are any. All
    records of an assay have the same features. A class that the profile leaves open is the record's; overall
    survival always is.
    """
    known = []
    for record, profile in zip(records, profiles, strict=True):
        own = drawn(record.facts, (*MARKERS, *OUTCOMES))
        known.append(
            profile.but(
                traits={name: value for name, value in own.items() if isinstance(value, str)},
                conditions={name: value for name, value in own.items() if isinstance(value, bool)},
            )
        )
    paths = [_save(folder / OBS, _with_outcomes(columns(known, {}), records))]
    for assay in sorted({n for record in records for n in record.arrays if f"{n}_var" in record.arrays}):
        rows = [i for i, record in enumerate(records) if assay in record.arrays]
        table = _table(assay, rows, [records[i] for i in rows])
        paths.append(_save(folder / f"{file_name(assay, 'assay')}.arrow", table))
    return paths


def _with_outcomes(table: "pa.Table", records: Sequence[Record]) -> "pa.Table":
    for name, kind in OUTCOMES.items():
        values = [record.facts.get(name) for record in records]
        if any(value is not None for value in values):
            table = table.append_column(name, array(values, kind))
    return table


def gather(pieces: Sequence[Path]) -> tuple["pa.Table", dict[str, AssayPieces]]:
    """The patients of all pieces, in order, and each assay by name. No values are read."""
    import pyarrow as pa

    joined: list[pa.Table] = []
    some: list[pa.Table] = []
    rows: dict[str, list[IntArray]] = {}
    files: dict[str, list[Path]] = {}
    about: dict[str, dict[bytes, bytes]] = {}
    start = 0
    for piece in pieces:
        patients = _read(piece / OBS)
        for file in sorted(set(piece.glob("*.arrow")) - {piece / OBS}):
            metadata = _read(file, mapped=True).schema.metadata
            places = json.loads(metadata.pop(b"rows"))
            assert about.setdefault(file.stem, metadata) == metadata, "features differ"
            rows.setdefault(file.stem, []).append(start + np.array(places, dtype=np.int64))
            files.setdefault(file.stem, []).append(file)
        start += len(patients)
        some.append(patients.replace_schema_metadata(None))
        if len(some) == TOGETHER:
            joined.append(pa.concat_tables(some, promote_options="default").combine_chunks())
            some = []
    obs = pa.concat_tables([*joined, *some], promote_options="default").combine_chunks()
    assays = {
        name: AssayPieces(tuple(files[name]), np.concatenate(rows[name]), **json.loads(about[name][b"about"]))
        for name in sorted(files)
    }
    return obs, assays


def _table(assay: str, rows: Sequence[int], records: Sequence[Record]) -> "pa.Table":
    import pyarrow as pa

    first = records[0].arrays
    names = first[f"{assay}_var"]
    same = all(
        r.arrays[f"{assay}_var"] is names or np.array_equal(r.arrays[f"{assay}_var"], names) for r in records
    )
    assert same, "features differ"
    assert len(set(names.tolist())) == len(names), "feature names repeat"
    counted = f"{assay}_counts" in first
    ids = [str(i) for i in first.get(f"{assay}_id", ())]
    about = {"var": [str(name) for name in names], "ids": ids, "counted": counted}
    matrices: dict[str, tuple[str, Any]] = {VALUES: (assay, np.float32)}
    if counted:
        matrices[COUNTS] = (f"{assay}_counts", np.int32)
    made: dict[str, Any] = {}
    for column, (name, dtype) in matrices.items():
        matrix = np.stack([r.arrays[name] for r in records]).astype(dtype, copy=False)
        kind = pa.from_numpy_dtype(matrix.dtype)
        values = pa.Array.from_buffers(kind, matrix.size, [None, pa.py_buffer(np.ascontiguousarray(matrix))])
        made[column] = pa.FixedSizeListArray.from_arrays(values, len(names))
    return pa.table(made).replace_schema_metadata({"about": json.dumps(about), "rows": json.dumps(rows)})


def _save(path: Path, table: "pa.Table") -> Path:
    import pyarrow as pa

    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    return path


def _read(path: Path, mapped: bool = False) -> "pa.Table":
    from pyarrow import feather

    return feather.read_table(path, memory_map=mapped)


def _matrix(path: Path, column: str, features: int) -> AnyArray:
    values = _read(path, mapped=True)[column].combine_chunks().flatten()
    return values.to_numpy().reshape(-1, features)
