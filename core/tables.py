"""Tables of training folders: CSV, TSV, Parquet, or the obs of an AnnData or MuData file."""

import bz2
import csv
import gzip
import lzma
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import InputError, first_line, listed
from .paths import require_file
from .remarks import remark
from .types import FloatArray

if TYPE_CHECKING:
    import pandas as pd

OBS_NAMES = "obs_names"  # what the index of an AnnData's obs is called as a column
STORES = (".h5ad", ".h5mu", ".zarr")
PACKED = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
LONGEST_CELL = 1 << 24  # characters


def read_table(path: Path) -> "pd.DataFrame":
    """The table; a text table's cells are strings. Of AnnData and MuData it is obs, its index a column `obs_names`.

    Raises InputError: no such file, or it cannot be read as what its name says.
    """
    import pandas as pd

    if path.suffix in STORES and path.exists():
        return _obs(path)
    require_file(path, "the table that lists the records")
    try:
        if path.suffix == ".parquet":
            # wide tables: a quarter of the memory
            found = pd.read_parquet(path, use_threads=False, pre_buffer=False)
            return found if isinstance(found.index, pd.RangeIndex) else found.reset_index()
        separator = "\t" if ".tsv" in path.suffixes else ","
        require_even(path, separator)
        return pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False, na_values=[""])
    except InputError:
        raise
    except (ValueError, OSError, MemoryError, pd.errors.ParserError) as error:
        raise InputError(f"{path}: cannot be read as a table ({first_line(error)})") from None


def require_even(path: Path, separator: str) -> None:
    """Raises InputError for a text table with a head twice, or a row of more or fewer cells than heads.

    Cells that hold the end of a line are remarked: a stray quote makes one of several rows.
    """
    opened: Any = PACKED.get(path.suffix, open)
    before, broken = csv.field_size_limit(LONGEST_CELL), list[str]()
    try:
        with opened(path, "rt", encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file, delimiter=separator)
            heads = next(rows, [])
            if twice := [name for name in heads if name and heads.count(name) > 1]:
                raise InputError(
                    f"{path}: the column {twice[0]!r} is there twice; give each a name of its own"
                )
            for row in rows:
                if row and len(row) != len(heads):
                    raise InputError(
                        f"{path}, line {rows.line_num}: {len(row)} cells, expected {len(heads)} as in the head"
                    )
                if any("\n" in cell or "\r" in cell for cell in row):
                    broken.append(str(rows.line_num))
    except csv.Error as error:
        raise InputError(f"{path}, line {rows.line_num}: cannot be read as a table ({error})") from None
    finally:
        csv.field_size_limit(before)
    if broken:
        remark(
            f"{path}: {len(broken)} rows have cells with the end of a line in them, which end in line "
            f"{listed(broken, 3)}; a stray quote would swallow rows so"
        )


def numbers(values: "pd.Series[Any]", column: str, where: str) -> FloatArray:
    """A column as float64; empty cells are NaN, and so are words, which are remarked.

    Raises InputError where no cell that is filled holds a number.
    """
    import pandas as pd

    if pd.api.types.is_numeric_dtype(values):
        return values.to_numpy(np.float64, na_value=np.nan)
    text = values.astype("string").str.strip()
    found = pd.to_numeric(text, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    filled = text.fillna("").ne("").to_numpy()
    if (words := filled & ~np.isfinite(found)).any():
        seen = ", ".join(repr(word) for word in dict.fromkeys(text[words].tolist()[:1000]))[:60]
        if words.sum() == filled.sum():
            raise InputError(f"{where}: {column} must hold numbers, got {seen}")
        remark(f"{where}: {words.sum()} cells of {column} are not numbers ({seen}) and taken as missing")
        found[words] = np.nan
    return found


@contextmanager
def open_store(path: Path) -> Iterator[Any]:
    """The root group of an AnnData or MuData file, h5py's or zarr's.

    What those libraries raise inside the block for a part that is missing or damaged becomes InputError.
    """
    import h5py
    import zarr
    from anndata._io.specs.registry import IORegistryError  # for an encoding that it does not know

    try:
        if path.suffix == ".zarr":
            yield zarr.open_group(
                path, mode="r", use_consolidated=False
            )  # the copy may be older, or hide a loss
        else:
            with h5py.File(path, "r") as file:
                yield file
    except InputError:
        raise
    except (KeyError, ValueError, OSError, RuntimeError, TypeError, AttributeError, IORegistryError) as error:
        detail = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path}: cannot be read as AnnData or MuData ({detail})") from None
    except MemoryError as error:
        raise InputError(
            f"{path}: not enough memory ({first_line(error)}); check what sizes the file states, or ask for less"
        ) from None


def require_chunks(matrix: Any, where: str) -> None:
    """Raises InputError for a zarr array of which chunks are not there: they would be read as its fill value."""
    expected = getattr(matrix, "nchunks", None)
    if expected is not None and (there := matrix.nchunks_initialized) < expected:
        raise InputError(
            f"{where}: {expected - there} of {expected} chunks are not there and would be read as "
            f"{matrix.fill_value}; copy the store again, or, where all their values are that, write it with zarr's "
            "`write_empty_chunks`"
        )


def read_frame(group: Any, name: str, where: str) -> "pd.DataFrame":
    """obs or var of an AnnData group. Raises InputError for one that anndata wrote before 0.8."""
    import pandas as pd
    from anndata.io import read_elem

    table = None if hasattr(group[name], "shape") else read_elem(group[name])  # one array of records, of old
    if not isinstance(table, pd.DataFrame):
        raise InputError(
            f"{where}: {name} has the form that anndata wrote before 0.8; resave it: "
            "anndata.read_h5ad(FILE).write_h5ad(NEW)"
        )
    return table


def _obs(path: Path) -> "pd.DataFrame":
    with open_store(path) as group:
        table = read_frame(group, "obs", str(path))
    if OBS_NAMES in table.columns:
        return table
    plain = table.astype({name: object for name in table.select_dtypes("category").columns})
    plain.insert(0, OBS_NAMES, plain.index.astype(str))
    return plain.reset_index(drop=True)
