"""Reads one matrix of any usual format: CSV, TSV, Parquet, AnnData (h5ad, zarr), MuData (h5mu, zarr)."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ...core.config import Settings
from ...core.errors import InputError
from ...core.ids import id_text, match_ids
from ...core.paths import require_file
from ...core.tables import STORES, open_store, read_frame, require_chunks
from ...core.types import Float32Array
from .genes import feature_names, split_names
from .log1p import record_values

if TYPE_CHECKING:
    import pandas as pd

TEXT = {".csv": ",", ".tsv": "\t", ".txt": "\t"}
PACKED = (".gz", ".bz2", ".xz", ".zip")
BLOCK = 1024  # rows of a dense matrix read at once
Values = Literal["log2", "counts", "intensities", "beta", "centred"]  # what the numbers of an assay are


class Source(Settings):
    """Where an assay's matrix is.

    key: the column (of a table, or of obs) that holds the rows' keys; by default a table's first column, or
    the obs_names of AnnData. layer: of AnnData; X without. modality: of MuData; the assay's name without.
    transposed: the table has a row a feature and a column a patient.
    """

    file: str
    values: Values = "log2"
    key: str | None = None
    layer: str | None = None
    modality: str | None = None
    transposed: bool = False


@dataclass(frozen=True)
class Matrix:
    """Some rows of an assay: keys of the rows, (row, feature) float32, the features' symbols and ids."""

    keys: list[str]
    values: Float32Array
    symbols: list[str]
    ids: list[str]


def read_matrix(path: Path, wanted: Sequence[str], assay: str, source: Source) -> Matrix:
    """The rows whose key is wanted, in the order of the file.

    Raises InputError: no such file, format, column, layer or modality; keys or features that repeat; cells that
    are not numbers.
    """
    suffix = next((s for s in reversed(path.suffixes) if s not in PACKED), "")
    if not (suffix == ".zarr" and path.is_dir()):
        require_file(path, "the matrix of an assay")
    if suffix in STORES:
        if source.transposed:
            raise InputError(f"{path}: transposed is for tables; the rows of AnnData are its obs")
        return _annotated(path, wanted, source, assay)
    if suffix not in (*TEXT, ".parquet"):
        known = ", ".join((*TEXT, ".parquet", *STORES))
        raise InputError(f"{path}: unknown format {suffix!r}; expected one of: {known}")
    for name, value in (("layer", source.layer), ("modality", source.modality)):
        if value is not None:
            raise InputError(f"{path}: {name} {value!r} is asked for, but a table has none; leave {name} out")
    return _tabular(path, suffix, wanted, source)


# -- tables


def _tabular(path: Path, suffix: str, wanted: Sequence[str], source: Source) -> Matrix:
    table = _table(path, suffix, source.key)
    columns = [str(name) for name in table.columns]
    column = columns[0] if source.key is None and columns else source.key
    if column not in columns:
        raise InputError(f"{path}: no column {column!r}; the first columns are: {', '.join(columns[:5])}")
    table = table.set_index(table.columns[columns.index(column)])
    if source.transposed:
        table = table.T
    keys, names = [id_text(k) for k in table.index], [str(name) for name in table.columns]
    _refuse_repeats(str(path), keys, names)
    rows, records = _wanted(keys, wanted, str(path))
    kept = table.iloc[rows]
    try:
        values = kept.to_numpy(np.float32)
    except (ValueError, TypeError):
        raise InputError(f"{path}: {_not_a_number(kept)}; expected numbers only") from None
    symbols, ids = split_names(names)
    return Matrix(records, values, symbols, ids)


def _wanted(keys: Sequence[str], wanted: Sequence[str], where: str) -> tuple[list[int], list[str]]:
    """Rows whose key is a wanted record, and these records. Raises InputError where there is none."""
    joined = match_ids(wanted, keys, f"{where} and the table of samples")
    if not joined:
        raise InputError(
            f"{where}: none of the {len(wanted)} samples of the table is there: its keys are like "
            f"{keys[0] if keys else ''!r}, the table's like {wanted[0]!r}; check `record` and `key`"
        )
    record_of = {key: record for record, key in joined.items()}
    rows = [i for i, key in enumerate(keys) if key in record_of]
    return rows, [record_of[keys[i]] for i in rows]


def _table(path: Path, suffix: str, key: str | None) -> "pd.DataFrame":
    """The table as it is, its keys as text; the index of a Parquet table becomes its first column."""
    import pandas as pd

    try:
        if suffix == ".parquet":
            # read ahead on threads, 12,625 columns of 400 numbers take 800 MB, not 200
            table = pd.read_parquet(path, use_threads=False, pre_buffer=False)
            return table if isinstance(table.index, pd.RangeIndex) else table.reset_index()
        header = pd.read_csv(
            path, sep=TEXT[suffix], nrows=1, header=None, dtype=str, keep_default_na=False
        ).iloc[0]
        names = [str(name) for name in header]
        place = names.index(key) if key in names else 0
        table = pd.read_csv(path, sep=TEXT[suffix], low_memory=False, converters={place: str.strip})
    except (ValueError, OSError, EOFError, MemoryError, pd.errors.ParserError) as error:
        detail = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path}: cannot be read as a table ({detail})") from None
    _refuse_repeats(str(path), [], [str(name) for name in header])  # pandas would rename them
    return table


def _not_a_number(table: "pd.DataFrame") -> str:
    """The first cell that is no number, in words."""
    import pandas as pd

    for name in table.columns:
        bad = pd.to_numeric(table[name], errors="coerce").isna() & table[name].notna()
        if bad.any():
            return f"{name} of patient {table.index[int(bad.argmax())]} is {table[name][bad].iloc[0]!r}"
    return f"the columns are of type {table.dtypes.iloc[0]}"


def _refuse_repeats(where: str, keys: Sequence[str], names: Sequence[str]) -> None:
    for what, values in (("patient", keys), ("feature", names)):
        value, count = next(iter(Counter(values).most_common(1)), ("", 0))
        if count > 1:
            raise InputError(f"{where}: {what} {value!r} is there {count} times; expected each {what} once")


# -- AnnData and MuData


def _annotated(path: Path, wanted: Sequence[str], source: Source, assay: str) -> Matrix:
    key = source.key
    with open_store(path) as root:
        group, where = _assay_of(root, str(path), source.modality, assay)
        obs, var = read_frame(group, "obs", where), read_frame(group, "var", where)
        if key is not None and key not in obs.columns:
            have = ", ".join(map(str, obs.columns[:12]))
            raise InputError(f"{where}: obs has no column {key!r}; it has: {have}")
        keys = [id_text(k) for k in (obs.index if key is None else obs[key])]
        _refuse_repeats(where, keys, [str(name) for name in var.index])
        rows, records = _wanted(keys, wanted, where)
        values = _rows_of(_stored(group, where, source.layer), rows, where)
        if source.layer is None:  # of a store of ours: back to the logarithms it was made of
            values = record_values(group, values)
    if values.shape[1] != len(var):
        raise InputError(f"{where}: var has {len(var)} features, the matrix {values.shape[1]} columns")
    symbols, ids = feature_names(var)
    prefix = f"{source.modality or assay}:"  # as mudata makes names unique across assays
    symbols = [symbol.removeprefix(prefix) for symbol in symbols]
    return Matrix(records, values, symbols, ids)


def _assay_of(root: Any, where: str, modality: str | None, assay: str) -> tuple[Any, str]:
    """The AnnData group asked for, and its name for messages."""
    name = modality or assay
    if "mod" in root:
        if name not in root["mod"]:
            raise InputError(f"{where}: no modality {name!r}; it has: {', '.join(sorted(root['mod']))}")
        return root["mod"][name], f"{where}, modality {name}"
    if modality is not None:
        raise InputError(f"{where}: modality {modality!r} is asked for, but this is no MuData; leave it out")
    return root, where


def _stored(group: Any, where: str, layer: str | None) -> Any:
    """X, or the layer asked for, as it is stored."""
    layers = sorted(group["layers"]) if "layers" in group else []
    if layer is not None and layer not in layers:
        raise InputError(f"{where}: no layer {layer!r}; it has: {', '.join(layers) or 'none'}")
    if layer is None and "X" not in group:
        raise InputError(f"{where}: has no X; name one of its layers: {', '.join(layers) or 'none'}")
    return group["X"] if layer is None else group["layers"][layer]


def _rows_of(stored: Any, rows: Sequence[int], where: str) -> Float32Array:
    """Those rows of a dense or a sparse matrix, (row, feature) float32."""
    from anndata.io import read_elem

    if not hasattr(stored, "shape"):  # sparse: a group of three arrays, small enough to be read whole
        for part in ("data", "indices", "indptr"):
            require_chunks(stored[part], f"{where}, {part}")
        return np.asarray(read_elem(stored).tocsr()[list(rows)].toarray(), dtype=np.float32)
    if len(stored.shape) != 2 or np.dtype(stored.dtype).kind not in "iufb":
        raise InputError(
            f"{where}: expected a matrix of numbers, got shape {stored.shape}, type {stored.dtype}"
        )
    require_chunks(stored, where)
    values = np.empty((len(rows), stored.shape[1]), np.float32)
    places = np.asarray(rows, dtype=np.int64)
    for start in range(0, stored.shape[0], BLOCK):
        here = np.flatnonzero((places >= start) & (places < start + BLOCK))
        if len(here):
            values[here] = stored[start : start + BLOCK][places[here] - start]
    return values
