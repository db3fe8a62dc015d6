"""One assay on disk in AnnData's layout, in zarr v3 or HDF5: made empty, then filled by ranges of rows."""

import json
import shutil
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...core.types import AnyArray

if TYPE_CHECKING:
    import pandas as pd
    from zarr.core.buffer import Buffer

    Columns = dict[
        Any, tuple[pd.Series[Any], dict[str, Buffer]]
    ]  # name -> values, and the files below its own

CHUNK = (256, 2048)  # patients, features: what one read decodes
SHARD_BYTES = 16_000_000  # before compression: what a writer holds, and one file's contents
SHARDS = 1024  # of a matrix at most: larger matrices get larger shards
METADATA = "zarr.json"
OBS = "obs"
EMPTY = ("obsm", "obsp", "varm", "varp")
DENSE: dict[str, Any] = {"encoding-type": "array", "encoding-version": "0.2.0"}


@dataclass(frozen=True)
class Layout:
    """How a (patient, feature) matrix is cut: chunks are what is decoded at once, shards are the files."""

    shape: tuple[int, int]
    chunk: tuple[int, int]
    shard: tuple[int, int]

    @classmethod
    def of(cls, patients: int, features: int) -> "Layout":
        """Shards of whole rows, of about 16 MB, and at most 1,024 of them."""
        chunk = (min(CHUNK[0], patients), min(CHUNK[1], features))
        rows = -(-patients // chunk[0])  # of chunks
        fitting = max(1, SHARD_BYTES // (chunk[0] * features * 4), -(-rows // SHARDS))
        shard = (chunk[0] * min(fitting, rows), chunk[1] * -(-features // chunk[1]))
        return cls((patients, features), chunk, shard)

    def ranges(self) -> list[range]:
        """The rows of each shard: different ranges may be written by different processes at the same time."""
        rows = self.shard[0]
        return [range(s, min(s + rows, self.shape[0])) for s in range(0, self.shape[0], rows)]


def create(
    group: Any,
    obs: "pd.DataFrame",
    var: "pd.DataFrame",
    uns: Mapping[str, Any],
    layers: Mapping[str, str] | None = None,
    write_obs: Callable[[Any, "pd.DataFrame"], None] | None = None,
) -> Layout:
    """All of an AnnData but the values of X (float32) and of `layers` (name: dtype), which write_rows adds.

    group: an empty zarr (format 3) or HDF5 group. Layout: anndata's on-disk format 0.1.0. `write_obs` is
    Held.write_obs of the store where it may be used.
    """
    layout = Layout.of(len(obs), len(var))
    group.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
    if write_obs is None:
        write_parts(group, {OBS: obs})
    else:
        write_obs(group, obs)
    write_parts(group, {"var": var, "uns": dict(uns), "layers": {}, **{k: {} for k in EMPTY}})
    # a lost shard must not read as zeros, which mean "not detected"
    _matrix(group, "X", layout, "float32", np.nan)
    for name, dtype in (layers or {}).items():
        _matrix(group["layers"], name, layout, dtype, -1 if np.dtype(dtype).kind == "i" else np.nan)
    return layout


def write_rows(group: Any, start: int, values: AnyArray, layer: str | None = None) -> None:
    """Rows start, start + 1, ... of X, or of a layer: (row, feature).

    In zarr, several processes may write at once if each writes one of Layout.ranges(); HDF5 has one writer.
    """
    matrix = group["X"] if layer is None else group["layers"][layer]
    matrix[start : start + len(values)] = values


def write_parts(group: Any, parts: Mapping[str, Any]) -> None:
    """Tables and mappings in anndata's own encoding, few files each."""
    from anndata import settings
    from anndata.io import write_elem

    with settings.override(zarr_write_format=3, auto_shard_zarr_v3=True):
        for name, part in parts.items():
            write_elem(group, name, part)


class Held:
    """A new zarr store whose small files are held in memory until all are there.

    An assay's metadata is read and written hundreds of times, which takes twice the processor time on disk.
    """

    def __init__(self, folder: Path, columns: "Columns | None" = None) -> None:
        import zarr
        from zarr.storage import MemoryStore

        shutil.rmtree(
            folder, ignore_errors=True
        )  # zarr writes no chunk of fill values: an older one would stay
        self.folder, self.files = folder, dict[str, "Buffer"]()
        self.store = MemoryStore(self.files)
        self.root: zarr.Group = zarr.open_group(self.store, mode="w", zarr_format=3)
        self.columns: Columns = {} if columns is None else columns

    def write_obs(self, group: Any, obs: "pd.DataFrame") -> None:
        """The table of patients of an assay; columns that another assay has written are copied as files.

        A column takes ten calls of zarr, and assays of the same patients share all columns but two.
        """
        known = {name: own[1] for name in obs if (own := self.columns.get(name)) and own[0].equals(obs[name])}
        write_parts(group, {OBS: obs.drop(columns=list(known))})
        group[OBS].attrs["column-order"] = list(obs.columns)
        home = f"{group.path}/{OBS}/".lstrip("/")
        for name in obs:
            place = f"{home}{name}/"
            if name in known:
                self.files |= {f"{place}{file}": content for file, content in known[name].items()}
            else:
                files = {f.removeprefix(place): c for f, c in self.files.items() if f.startswith(place)}
                self.columns[name] = obs[name], files

    def spill(self, metadata: bool = False) -> None:
        """Write what was filled to disk and forget it; `metadata`, which is read again till the end, too."""
        for name in [n for n in self.files if metadata or not n.endswith(METADATA)]:
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self.files.pop(name).to_bytes())

    def finish(self) -> None:
        """Name the dimensions, copy all metadata into the root's, and write what is left."""
        self._name_dimensions()
        self._consolidate()
        self.spill(metadata=True)

    def _name_dimensions(self) -> None:
        """Name the dimension of every column of obs and var, as xarray wants it; X and the layers have theirs.

        anndata leaves them nameless, and zarr fixes an array's metadata when it is made; so the file is changed.
        """
        for name, content in list(self.files.items()):
            *place, last = name.split("/")
            if last != METADATA or not (axis := next((a for a in ("var", "obs") if a in place[:-1]), None)):
                continue
            about = json.loads(content.to_bytes())
            if about["node_type"] == "array" and len(about["shape"]) == 1:
                words = place[-1] == "categories"
                about["dimension_names"] = [f"{place[-2]}_category" if words else axis]
                self.files[name] = type(content).from_bytes(json.dumps(about, indent=2).encode())

    def _consolidate(self) -> None:
        """Copy the metadata of all arrays into the root's, so that a store is opened by one read.

        zarr 3.1.6 shows no array that is added afterwards.
        """
        import zarr

        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Consolidated metadata is currently not part")
            zarr.consolidate_metadata(self.store, zarr_format=3)


def _matrix(group: Any, name: str, layout: Layout, dtype: str, fill: float) -> None:
    import zarr

    common: dict[str, Any] = {"shape": layout.shape, "dtype": dtype, "chunks": layout.chunk}
    if isinstance(group, zarr.Group):
        names: dict[str, Any] = {"attributes": DENSE, "dimension_names": ("obs", "var")}
        group.create_array(name, **common, **names, shards=layout.shard, fill_value=fill)
    else:
        packed: dict[str, Any] = {"compression": "gzip", "compression_opts": 1, "shuffle": True}
        group.create_dataset(name, **common, **packed, fillvalue=fill).attrs.update(DENSE)
