"""One assay on disk in AnnData's layout, in zarr v3 or HDF5: made empty, then filled by ranges of rows."""

import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...core.types import AnyArray

if TYPE_CHECKING:
    import pandas as pd

CHUNK = (256, 2048)  # patients, features: what one read decodes
SHARD_BYTES = 16_000_000  # before compression: what a writer holds, and one file's contents
SHARDS = 1024  # of a matrix at most: larger matrices get larger shards
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
) -> Layout:
    """All of an AnnData but the values of X (float32) and of `layers` (name: dtype), which write_rows adds.

    group: an empty zarr (format 3) or HDF5 group. Layout: anndata's on-disk format 0.1.0.
    """
    layout = Layout.of(len(obs), len(var))
    group.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
    write_parts(group, {"obs": obs, "var": var, "uns": dict(uns), "layers": {}, **{k: {} for k in EMPTY}})
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


def name_dimensions(store: Path) -> None:
    """Name the dimension of every column of obs and var, as xarray wants it; X and the layers have theirs.

    anndata leaves them nameless, and zarr fixes an array's metadata when it is made; so the file is changed.
    """
    for axis in ("obs", "var"):
        for path in sorted(store.glob(f"**/{axis}/**/zarr.json")):
            about = json.loads(path.read_text(encoding="utf-8"))
            if about["node_type"] == "array" and len(about["shape"]) == 1:
                words = path.parent.name == "categories"
                about["dimension_names"] = [f"{path.parent.parent.name}_category" if words else axis]
                path.write_text(json.dumps(about, indent=2), encoding="utf-8")


def consolidate(store: Path) -> None:
    """Copy the metadata of all arrays into the root's, so that a store is opened by one read; done last.

    zarr 3.1.6 shows no array that is added afterwards.
    """
    import zarr

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Consolidated metadata is currently not part")
        zarr.consolidate_metadata(store, zarr_format=3)


def _matrix(group: Any, name: str, layout: Layout, dtype: str, fill: float) -> None:
    import zarr

    common: dict[str, Any] = {"shape": layout.shape, "dtype": dtype, "chunks": layout.chunk}
    if isinstance(group, zarr.Group):
        names: dict[str, Any] = {"attributes": DENSE, "dimension_names": ("obs", "var")}
        group.create_array(name, **common, **names, shards=layout.shard, fill_value=fill)
    else:
        packed: dict[str, Any] = {"compression": "gzip", "compression_opts": 1, "shuffle": True}
        group.create_dataset(name, **common, **packed, fillvalue=fill).attrs.update(DENSE)
