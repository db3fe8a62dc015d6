"""Tables of training folders: CSV, TSV, Parquet, or the obs of an AnnData or MuData file."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import InputError
from .remarks import remark
from .types import FloatArray

if TYPE_CHECKING:
    import pandas as pd

OBS_NAMES = "obs_names"  # what the index of an AnnData's obs is called as a column
STORES = (".h5ad", ".h5mu", ".zarr")


def read_table(path: Path) -> "pd.DataFrame":
    """The table; a text table's cells are strings. Of AnnData and MuData it is obs, its index a column `obs_names`.

    Raises InputError: no such file, or it cannot be read as what its name says.
    """
    import pandas as pd

    if not path.exists():
        raise InputError(f"{path}: no such file; expected the table that lists the records")
    if path.suffix in STORES:
        return _obs(path)
    try:
        if path.suffix == ".parquet":
            return pd.read_parquet(
                path, use_threads=False, pre_buffer=False
            )  # wide tables: a quarter of the memory
        separator = "\t" if ".tsv" in path.suffixes else ","
        return pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False, na_values=[""])
    except (ValueError, OSError, pd.errors.ParserError) as error:
        raise InputError(f"{path}: cannot be read as a table ({error})") from None


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
    except (KeyError, ValueError, OSError, RuntimeError, TypeError, AttributeError) as error:
        detail = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path}: cannot be read as AnnData or MuData ({detail})") from None


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
