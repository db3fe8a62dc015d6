"""Omics: where a patient's sample lies among the cohort's: principal components, and the genes that vary most."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...core.errors import InputError, first_line
from .patient_files import DAMAGED

if TYPE_CHECKING:
    from .patient_files import PatientFiles

GENES = 500  # of the greatest variance, from which the components are
SHOWN = 40  # genes of the heat map
ROWS = 256  # read at a time
CLASSES = ("pam50", "subtype", "class", "histology", "disease", "sex")  # columns that may colour the samples
MOST = 12  # classes of a column that colours
_lock = threading.Lock()


def samples(files: "PatientFiles", broken: list[str]) -> list[dict[str, Any]]:
    """The stores that have a sample of this patient: key, assay, path and row. Damaged ones are told in `broken`."""
    found: list[dict[str, Any]] = []
    for store in files.stores():
        try:
            ids = _ids(files.cohort.folder / store, _stamp(files, store))
        except InputError as error:
            broken.append(first_line(error))
            continue
        if files.patient_id in ids:
            own = store.split("/")[0]
            label = own.partition("-")[2] if "-" in own else ""
            assay = Path(store).stem
            found.append(
                {
                    "kind": "omics",
                    "key": f"omics-{len(found)}",
                    "assay": assay,
                    "instance": label,
                    "label": f"Tumour {assay}" + (f" ({label})" if label else ""),
                    "store": store,
                    "row": ids.index(files.patient_id),
                    "time": "",
                }
            )
    return found


def position(files: "PatientFiles", store: str) -> dict[str, Any]:
    """Where the samples of a store lie on two components, and which genes vary most. Raises InputError."""
    if store not in files.stores():
        raise InputError(f"no omics store {store[:80]!r} in this cohort")
    found = _overview(files.cohort.folder / store, _stamp(files, store))
    ids = found["ids"]
    return {**found, "row": ids.index(files.patient_id) if files.patient_id in ids else None}


def _stamp(files: "PatientFiles", store: str) -> int:
    return files.cohort.path(f"{store}/zarr.json").stat().st_mtime_ns


def _open(store: Path) -> Any:
    import zarr

    return zarr.open_group(store, mode="r")


@contextmanager
def _reading(store: Path) -> Iterator[None]:
    """What readers of a damaged store raise, as InputError."""
    try:
        yield
    except InputError:
        raise
    except DAMAGED as error:
        raise InputError(
            f"{store.name}: cannot be read as a zarr store ({first_line(error)}); copy it again"
        ) from None


@lru_cache(maxsize=8)
def _ids(store: Path, stamp: int) -> list[str]:
    """Patient of each row; `stamp` is when the store was last changed."""
    with _reading(store):
        return [str(value) for value in _open(store)["obs/_index"][:]]


@lru_cache(maxsize=4)
def _overview(store: Path, stamp: int) -> dict[str, Any]:
    """Ids, two coordinates a sample with the variance they explain, a class a sample, and SHOWN genes by variance.

    Genes have their column in X, mean and standard deviation among the samples. X is read ROWS rows at a time.
    """
    with _lock, _reading(store):
        root = _open(store)
        ids, x = _ids(store, stamp), root["X"]
        names = [str(name) for name in _symbols(root)]
        count, total, squares = np.zeros(x.shape[1]), np.zeros(x.shape[1]), np.zeros(x.shape[1])
        shift = np.nan_to_num(np.asarray(x[0], dtype=np.float64))
        for start in range(0, x.shape[0], ROWS):
            block = np.asarray(x[start : start + ROWS], dtype=np.float64) - shift
            there = np.isfinite(block)
            block = np.where(there, block, 0.0)
            count += there.sum(0)
            total += block.sum(0)
            squares += (block**2).sum(0)
        held = np.maximum(count, 1)
        mean, sd = total / held + shift, np.sqrt(np.maximum(squares / held - (total / held) ** 2, 0.0))
        top = np.argsort(-sd, kind="stable")[: min(GENES, len(sd))]
        centred = np.zeros((x.shape[0], len(top)), dtype=np.float32)
        for start in range(0, x.shape[0], ROWS):
            block = np.asarray(x[start : start + ROWS], dtype=np.float64)[:, top] - mean[top]
            centred[start : start + ROWS] = np.where(np.isfinite(block), block, 0.0)
        coordinates, explained = _components(centred)
        column, classes = _classes(root)
        return {
            "store": store.name,
            "ids": ids,
            "unit": _said(root, "unit"),
            "points": np.round(coordinates, 3).tolist(),
            "explained": [round(float(share), 4) for share in explained],
            "coloured_by": column,
            "classes": classes,
            "features": len(names),
            "used": len(top),
            "genes": [
                {
                    "column": int(g),
                    "name": names[g],
                    "mean": round(float(mean[g]), 4),
                    "sd": round(float(sd[g]), 4),
                }
                for g in top[:SHOWN]
            ],
        }


def _components(centred: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The first two principal components, (sample, 2), and their shares of the variance; the largest weight is > 0."""
    samples, genes = centred.shape
    if samples < 3 or genes < 2:
        return np.zeros((samples, 2)), np.zeros(2)
    covariance = centred.T.astype(np.float64) @ centred
    values, vectors = np.linalg.eigh(covariance)
    main = vectors[:, ::-1][:, :2]
    main = main * np.sign(main[np.abs(main).argmax(0), [0, 1]])
    total = float(values.sum()) or 1.0
    return centred @ main, values[::-1][:2] / total


def _symbols(root: Any) -> Any:
    return root["var/symbol"][:] if "symbol" in root["var"] else root["var/_index"][:]


def _classes(root: Any) -> tuple[str, list[str]]:
    """The first of CLASSES that obs has with two classes or more, as the class of each sample."""
    obs = root["obs"]
    names = [*CLASSES, *(str(n) for n in obs.attrs.get("column-order", ()))]
    for name in dict.fromkeys(names):
        if name not in obs or f"{name}/categories" not in obs:
            continue
        words = [str(word) for word in obs[name]["categories"][:]]
        codes = [int(code) for code in obs[name]["codes"][:]]
        if 2 <= len({code for code in codes if code >= 0}) <= MOST:
            return name, [words[code] if code >= 0 else "unknown" for code in codes]
    return "", ["" for _ in range(obs["_index"].shape[0])]


def _said(root: Any, name: str) -> str:
    return str(root[f"uns/{name}"][()]) if f"uns/{name}" in root else ""
