"""AnnData stores of synthetic omics: omics/<assay>.zarr (zarr v3), written in pieces, joined, and read."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...core.errors import InputError
from ...core.modality import Record
from ...core.profile import PatientProfile
from .data import MARKERS

if TYPE_CHECKING:
    import pandas as pd
    import zarr

CHUNK = (256, 2048)  # patients, features: what one read decodes
SHARD_BYTES = 16_000_000  # before compression: what assemble() holds, and one file's contents
MEANINGS = {"rna": ("log2 RSEM, upper-quartile normalised", "exactly 0.0 = not detected")}  # unit, zero
SYNTHETIC = "SYNTHETIC: drawn by a model, not measured on a person"
LICENCE = (
    "synthetic data; the cohort's manifest.json names the weights, and their cards the data and licences"
)


@dataclass(frozen=True)
class Piece:
    """Some patients' rows of one assay, on disk; obs maps patient_id, age, sex and pam50 to lists."""

    rows: Path
    obs: dict[str, list[Any]]


def export(records: Sequence[Record], profiles: Sequence[PatientProfile], folder: Path) -> list[Path]:
    """Write a piece, <assay>.npy with <assay>.json, for each assay of these patients; the paths written.

    An assay is a pair of arrays "<assay>", (feature,) float32, and "<assay>_var", (feature,) names; all
    records of an assay have the same features.
    """
    paths = []
    pairs = list(zip(records, profiles, strict=True))
    for assay in sorted({name for record in records for name in record.arrays if _is_assay(name, record)}):
        those = [(record, profile) for record, profile in pairs if assay in record.arrays]
        names = those[0][0].arrays[f"{assay}_var"]
        assert all(np.array_equal(r.arrays[f"{assay}_var"], names) for r, _ in those), "features differ"
        meta = {
            "var": [str(name) for name in names],
            "obs": {
                "patient_id": [profile.patient_id for _, profile in those],
                "age": [profile.age for _, profile in those],
                "sex": [profile.sex for _, profile in those],
                "pam50": [record.facts.get("pam50") for record, _ in those],
            },
        }
        rows, about = folder / f"{assay}.npy", folder / f"{assay}.json"
        np.save(rows, np.stack([record.arrays[assay] for record, _ in those]).astype(np.float32))
        about.write_text(json.dumps(meta), encoding="utf-8")
        paths += [rows, about]
    return paths


def assemble(pieces: Sequence[Path], folder: Path) -> list[Path]:
    """Join pieces, in order, into omics/<assay>.zarr below folder; the paths of all files of the stores.

    obs are the patients, var the features. One shard of rows is in memory at a time. The bytes
    do not depend on how the patients were cut into pieces. Layout: anndata's on-disk format 0.1.0.
    """
    found: dict[str, list[Piece]] = {}
    features: dict[str, list[str]] = {}
    for place in pieces:
        for about in sorted(place.glob("*.json")):
            meta = json.loads(about.read_text(encoding="utf-8"))
            assert features.setdefault(about.stem, meta["var"]) == meta["var"], "features differ"
            found.setdefault(about.stem, []).append(Piece(about.with_suffix(".npy"), meta["obs"]))
    paths: list[Path] = []
    for assay, own in sorted(found.items()):
        store = folder / "omics" / f"{assay}.zarr"
        _write(store, assay, features[assay], own)
        paths += sorted(path for path in store.rglob("*") if path.is_file())
    return paths


def read(folder: Path, patient_ids: Sequence[str]) -> dict[str, Record]:
    """Records of these patients from a cohort folder, exact; patients without one are left out.

    Raises InputError naming a store that is unreadable or lacks a part.
    """
    arrays: dict[str, dict[str, NDArray[Any]]] = {}
    facts: dict[str, dict[str, Any]] = {}
    for store in sorted((folder / "omics").glob("*.zarr")):
        assay = store.stem
        obs, names, rows = _rows(store, patient_ids)
        markers = [(gene, int(np.flatnonzero(names == gene)[0])) for gene in MARKERS if gene in names]
        for (patient_id, about), row in zip(obs.iterrows(), rows, strict=True):
            own = arrays.setdefault(str(patient_id), {})
            own[assay], own[f"{assay}_var"] = row, names
            known = facts.setdefault(str(patient_id), {})
            known["pam50"] = about["pam50"] if isinstance(about["pam50"], str) else None
            if assay == "rna":
                known |= {gene: float(row[place]) for gene, place in markers}
    return {patient_id: Record(arrays[patient_id], facts[patient_id]) for patient_id in arrays}


def _is_assay(name: str, record: Record) -> bool:
    return f"{name}_var" in record.arrays


def _write(store: Path, assay: str, var: list[str], pieces: Sequence[Piece]) -> None:
    """One store. Its parts are anndata's own writing but for X, which is streamed."""
    import pandas as pd
    import zarr
    from anndata import settings
    from anndata.io import write_elem

    assert len(set(var)) == len(var), "feature names repeat"
    unit, zero = MEANINGS[assay]
    about: dict[str, Any] = {
        "synthetic": True,
        "statement": SYNTHETIC,
        "assay": assay,
        "unit": unit,
        "zero": zero,
    }
    parts: dict[str, Any] = {
        "obs": _obs(pieces),
        "var": pd.DataFrame(index=pd.Index(var, name="symbol", dtype=object)),
        "uns": {**about, "generator": "Polyclinic", "licence": LICENCE},
        **{name: {} for name in ("layers", "obsm", "obsp", "varm", "varp")},
    }
    store.parent.mkdir(parents=True, exist_ok=True)
    group = zarr.open_group(store, mode="w", zarr_format=3)
    group.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0", **about})
    with settings.override(zarr_write_format=3, auto_shard_zarr_v3=True):
        for name, part in parts.items():
            write_elem(group, name, part)
    patients, features = len(parts["obs"]), len(var)
    chunk = (min(CHUNK[0], patients), min(CHUNK[1], features))
    fitting = max(1, SHARD_BYTES // (chunk[0] * features * 4))
    shard = (chunk[0] * min(fitting, -(-patients // chunk[0])), chunk[1] * -(-features // chunk[1]))
    matrix = group.create_array(
        "X",
        shape=(patients, features),
        dtype="float32",
        chunks=chunk,
        shards=shard,
        fill_value=np.nan,  # a lost shard must not read as zeros, which mean "not detected"
        attributes={"encoding-type": "array", "encoding-version": "0.2.0"},
    )
    start = 0
    for block in _blocks(pieces, shard[0]):
        matrix[start : start + len(block)] = block
        start += len(block)


def _obs(pieces: Sequence[Piece]) -> "pd.DataFrame":
    import pandas as pd

    columns = {name: [x for piece in pieces for x in piece.obs[name]] for name in pieces[0].obs}
    index = pd.Index(columns["patient_id"], name="patient_id", dtype=object)
    values: dict[str, Any] = {"age": np.array(columns["age"], dtype=np.float64)}  # None becomes NaN
    for name in ("sex", "pam50"):
        values[name] = pd.Categorical(columns[name], categories=sorted({x for x in columns[name] if x}))
    return pd.DataFrame(values, index=index)


def _blocks(pieces: Sequence[Piece], rows: int) -> Iterator[NDArray[np.float32]]:
    """The pieces' rows in order, regrouped into blocks of `rows` (the last one shorter)."""
    block: list[NDArray[np.float32]] = []
    held = 0
    for piece in pieces:
        waiting = np.load(piece.rows)
        while len(waiting):
            taken, waiting = waiting[: rows - held], waiting[rows - held :]
            block.append(taken)
            held += len(taken)
            if held == rows:
                yield np.concatenate(block)
                block, held = [], 0
    if block:
        yield np.concatenate(block)


def _rows(
    store: Path, patient_ids: Sequence[str]
) -> tuple["pd.DataFrame", NDArray[np.str_], NDArray[np.float32]]:
    """obs of the patients that the store has, names of its features, and (patient, feature) values."""
    import zarr
    from anndata.io import read_elem

    try:
        group = zarr.open_group(store, mode="r")
        obs = read_elem(_part(group, "obs"))
        names = np.array([str(name) for name in read_elem(_part(group, "var")).index])
        wanted = obs.index.get_indexer([x for x in patient_ids if x in obs.index])
        matrix: Any = group["X"]
        rows = matrix.get_orthogonal_selection((wanted, slice(None))) if len(wanted) else []
    # what zarr and anndata raise for a missing or damaged part
    except (KeyError, ValueError, OSError, RuntimeError, TypeError, AttributeError) as error:
        detail = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"{store}: expected an AnnData store of a cohort, cannot read it ({detail})"
        ) from None
    values = np.asarray(rows, dtype=np.float32)
    if np.isnan(values).any():
        raise InputError(f"{store}: values are missing, a file below X is lost; generate the cohort again")
    return obs.iloc[wanted], names, values


def _part(group: "zarr.Group", name: str) -> "zarr.Group":
    import zarr

    part = group[name]
    if not isinstance(part, zarr.Group):
        raise ValueError(f"{name} is not a group")
    return part
