"""Joins pieces into a cohort's omics: an AnnData store an assay (zarr v3 or h5ad), or one MuData of all assays."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ...core.memory import give_back
from . import log1p, ontology
from .annotation import (
    CLASSES,
    INDEX,
    LICENCE,
    SYMBOL,
    SYNTHETIC,
    is_of_breast,
    kinds_of,
    obs_of,
    shared_uns,
    uns_of,
    var_of,
)
from .classes import PAM50
from .pieces import COUNTS, VALUES, AssayPieces, gather, write
from .store import Held, create, write_parts, write_rows

if TYPE_CHECKING:
    import pandas as pd

    from .store import Columns

MUDATA = "mudata.zarr"


class Zarr:
    """An AnnData store (zarr v3) an assay; see core.contracts.PatientFormat and JoiningFormat."""

    name, modality = "zarr", "omics"
    write = staticmethod(write)

    def assemble(self, pieces: Sequence[Path], folder: Path, provenance: Mapping[str, Any]) -> list[Path]:
        """The stores of all patients below folder/omics."""
        return assemble(pieces, folder, self.name, provenance)


class H5ad(Zarr):
    """An AnnData file (HDF5) an assay."""

    name = "h5ad"


class MuData(Zarr):
    """One MuData store (zarr v3) of all assays."""

    name = "mudata"


def assemble(
    pieces: Sequence[Path],
    folder: Path,
    form: str = "zarr",
    provenance: Mapping[str, Any] | None = None,
) -> list[Path]:
    """Join pieces, in order, into stores below folder/omics; the paths of all their files.

    zarr: <assay>.zarr, h5ad: <assay>.h5ad, mudata: mudata.zarr with every assay. obs are the patients, var the
    features. In memory at a time: a shard of rows (16 MB, or a 1,024th of a matrix above 16 GB) and the table
    of patients. The bytes do not depend on how the patients were cut into pieces.
    """
    table, assays = gather(pieces)
    about = provenance or {}
    obs = obs_of(table, str(about.get(CLASSES, PAM50.field)))
    obs = ontology.with_terms(obs, ontology.patient_terms(obs, is_of_breast(about)))
    place = folder / "omics"
    place.mkdir(parents=True, exist_ok=True)
    columns: Columns = {}
    if form == "mudata":
        with _new(place / MUDATA, columns) as store:
            _write_mudata(store, obs, assays, about)
    else:
        for name, assay in assays.items():
            with _new(place / f"{name}.{form}", columns) as store:
                _write_anndata(store.root, store, name, obs.iloc[assay.rows], assay, about)
    return sorted(path for path in place.rglob("*") if path.is_file())


class _Store(NamedTuple):
    """A new store's root group, what to call after each range of rows, and what writes obs, if not anndata alone."""

    root: Any
    spill: Callable[[], None]
    write_obs: Callable[[Any, "pd.DataFrame"], None] | None


@contextmanager
def _new(store: Path, columns: "Columns") -> Iterator[_Store]:
    """A new store, zarr or HDF5 by its name. `columns` are those of the cohort's other stores."""
    if store.suffix == ".zarr":
        import zarr

        with zarr.config.set({"async.concurrency": 1}):  # every chunk packed at once is in memory twice
            held = Held(store, columns)
            yield _Store(held.root, held.spill, held.write_obs)
            held.finish()
    else:
        import h5py

        with h5py.File(store, "w") as file:
            yield _Store(file, lambda: None, None)
    give_back()


def _write_anndata(
    group: Any,
    store: _Store,
    name: str,
    obs: "pd.DataFrame",
    assay: AssayPieces,
    provenance: Mapping[str, Any],
    prefix: str = "",
) -> None:
    """One assay: the frame first, then its rows, a shard at a time."""
    kinds = kinds_of(provenance)
    obs = ontology.with_terms(obs, ontology.assay_terms(name, kinds, len(obs)))
    var = _var(assay, provenance, prefix)
    uns = uns_of(name, provenance, assay.counted)
    shifts = log1p.is_shifted(name, kinds)
    layers = {COUNTS: "int32"} if assay.counted else {}
    layout = create(group, obs, var, uns, layers, store.write_obs)
    group.attrs.update({"synthetic": True, "statement": SYNTHETIC, "assay": name})
    for column, layer in ((VALUES, None), *(((COUNTS, COUNTS),) if assay.counted else ())):
        told = log1p.shifted if shifts and layer is None else np.asarray
        blocks = assay.blocks(column, layout.shard[0], told)
        for rows, block in zip(layout.ranges(), blocks, strict=True):
            write_rows(group, rows.start, block, layer)
            store.spill()


def _var(assay: AssayPieces, provenance: Mapping[str, Any], prefix: str = "") -> "pd.DataFrame":
    return var_of(assay.var, assay.ids, prefix, str(provenance.get(INDEX, SYMBOL)))


def _write_mudata(
    store: _Store,
    obs: "pd.DataFrame",
    assays: Mapping[str, AssayPieces],
    provenance: Mapping[str, Any],
) -> None:
    """mudata's on-disk format 0.1.0: an AnnData an assay below mod/, and maps from all patients and features to them.

    A map has an axis' place in the assay, counted from 1, and 0 where it is absent. Feature names are
    prefixed with the assay, since a gene may be in several.
    """
    import pandas as pd

    root = store.root
    root.attrs.update({"encoding-type": "MuData", "encoding-version": "0.1.0", "axis": 0})
    root.attrs.update({"encoder": "Polyclinic", "synthetic": True, "statement": SYNTHETIC})
    mod = root.create_group("mod")
    mod.attrs["mod-order"] = list(assays)
    for name, assay in assays.items():
        _write_anndata(
            mod.create_group(name), store, name, obs.iloc[assay.rows], assay, provenance, prefix=f"{name}:"
        )
    names = [key for name, assay in assays.items() for key in _var(assay, provenance, f"{name}:").index]
    sizes = [len(assay.var) for assay in assays.values()]
    maps: dict[str, dict[str, Any]] = {"obsmap": {}, "varmap": {}}
    for (name, assay), first in zip(assays.items(), np.cumsum([0, *sizes]), strict=False):
        maps["obsmap"][name] = _map(len(obs), assay.rows)
        maps["varmap"][name] = _map(len(names), np.arange(first, first + len(assay.var)))
    masks = {
        f"{axis}m": {name: places[:, None] > 0 for name, places in maps[f"{axis}map"].items()}
        for axis in ("obs", "var")
    }
    var = pd.DataFrame(index=pd.Index(names, dtype=object))
    uns = {"synthetic": True, "statement": SYNTHETIC, "generator": "Polyclinic", "licence": LICENCE}
    uns |= shared_uns(provenance)
    write_parts(root, {"obs": obs, "var": var, **masks, **maps, "obsp": {}, "varp": {}, "uns": uns})


def _map(length: int, places: Any) -> Any:
    found = np.zeros(length, dtype=np.uint32)
    found[places] = np.arange(1, len(places) + 1)
    return found
