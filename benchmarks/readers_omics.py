"""Rows of benchmarks/readers.py for stores and cards: anndata, scanpy, zarr, dask, mlcroissant."""

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from readers_rows import Row, need, read_each

MOST = 0.01  # of a log fold change, relative, and in log2 for those near 0


def stores(cohort: Path) -> list[Path]:
    """A store an assay."""
    return sorted((cohort / "omics").glob("*.zarr"))


def anndata_reads(cohort: Path) -> Row:
    """X without gaps, obs of the patients, names that are unique."""
    version = need("anndata")
    import anndata

    shapes = []

    def read(path: Path) -> Iterator[str]:
        data = anndata.read_zarr(path)
        shapes.append(f"{path.stem} {data.n_obs} x {data.n_vars}")
        if not np.isfinite(data.X).all():
            yield "X has gaps"
        if not (data.obs_names.is_unique and data.var_names.is_unique):
            yield "names repeat"
        yield from (
            f"{name} in var has an underscore" for name in data.var_names if "_" in name and known(name)
        )

    def known(name: str) -> bool:
        from polyclinic.modalities.omics.genes import ensembl_ids

        return bool(ensembl_ids([name])[0])

    errors = read_each(stores(cohort), read)
    return Row("anndata", version, len(shapes), ", ".join(shapes), errors)


def scanpy_reads(cohort: Path) -> Row:
    """Log fold changes of the two largest subtypes, against those computed from the RSEM of the records."""
    version = need("scanpy")
    import anndata
    import scanpy

    from polyclinic.modalities.omics.reading import read as records_of

    paths = [path for path in stores(cohort) if path.stem == "rna"]
    worst, genes = 0.0, 0
    errors: list[str] = []
    for path in paths:
        data = anndata.read_zarr(path)
        groups = data.obs["pam50"].value_counts()
        first, second = [str(name) for name in groups.index[:2]]
        records = records_of(cohort, list(data.obs_names))
        held = np.stack([records[name].arrays["rna"] for name in data.obs_names]).astype(np.float64)
        quantity = np.where(held == 0, 0.0, 2.0**held)
        level = {
            group: np.expm1(np.log1p(quantity[(data.obs["pam50"] == group).to_numpy()]).mean(0))
            for group in (first, second)
        }
        with np.errstate(divide="ignore", invalid="ignore"):
            asked = dict(zip(data.var_names, np.log2(level[first] / level[second]), strict=True))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            scanpy.tl.rank_genes_groups(data, "pam50", groups=[first], reference=second, method="wilcoxon")
        found = data.uns["rank_genes_groups"]
        for gene, change in zip(found["names"][first], found["logfoldchanges"][first], strict=True):
            if not np.isfinite(asked[gene]):
                continue  # detected in nobody of a group
            genes += 1
            gap = abs(float(change) - asked[gene]) / max(abs(asked[gene]), 1.0)
            worst = max(worst, gap if np.isfinite(gap) else np.inf)
        if not worst <= MOST:
            errors.append(f"log fold changes are off by {worst:.1%}")
    figure = f"log fold changes of {genes} genes within {worst:.3%} of the data's" if paths else ""
    return Row("scanpy", version, len(paths), figure, errors)


def zarr_reads(cohort: Path) -> Row:
    """Every array, by the consolidated metadata; they list all that there is."""
    version = need("zarr")
    import zarr

    arrays = 0

    def read(path: Path) -> Iterator[str]:
        nonlocal arrays
        listed = dict(zarr.open_consolidated(path).members(max_depth=None))
        there = {name for name, _ in zarr.open_group(path, use_consolidated=False).members(max_depth=None)}
        if there != set(listed):
            yield f"the metadata lack {sorted(there - set(listed))[:3]}"
        for node in listed.values():
            if isinstance(node, zarr.Array):
                arrays += 1
                node[...]

    errors = read_each(stores(cohort), read)
    return Row("zarr", version, len(stores(cohort)), f"{arrays} arrays", errors)


def dask_reads(cohort: Path) -> Row:
    """X by shards, as the docs say: the same numbers as zarr's."""
    version = need("dask")
    import dask.array
    import zarr

    parts = 0

    def read(path: Path) -> Iterator[str]:
        nonlocal parts
        stored = zarr.open_group(path)["X"]
        lazy = dask.array.from_zarr(stored, chunks=stored.shards or stored.chunks)
        parts += lazy.npartitions
        if not np.array_equal(lazy.compute(scheduler="synchronous"), stored[...]):
            yield "other numbers than zarr's"

    errors = read_each(stores(cohort), read)
    return Row("dask", version, len(stores(cohort)), f"{parts} shards", errors)


def croissant_reads(cohort: Path) -> Row:
    """The card that a release would write, opened; every record set is read back."""
    version = need("mlcroissant")
    import mlcroissant

    from polyclinic.app.governance.croissant import croissant
    from polyclinic.core.cohort.cohort import Cohort
    from polyclinic.core.training.weights import available, read_card

    cards = [read_card(path) for path in available().values()]
    certificate: dict[str, Any] = {
        "weights": [{"data": [{"licence": used.licence} for used in card.data]} for card in cards],
        "cohort": {"manifest_sha256": "0" * 64}, "issued": "2026-01-01T00:00:00Z", "signed_by": "benchmark",
        "verdict": {"not_measured": ["a benchmark"]}, "policy": {"name": "none", "about": "a benchmark"},
    }  # fmt: skip
    card = croissant(Cohort.open(cohort), certificate)
    path = cohort / "croissant.json"
    path.write_text(json.dumps(card))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            described = mlcroissant.Dataset(jsonld=path)
            issues = described.metadata.ctx.issues
            errors, said = sorted(issues.errors), sorted(issues.warnings)
            counts = {s["@id"]: sum(1 for _ in described.records(s["@id"])) for s in card["recordSet"]}
    finally:
        path.unlink()
    errors += [f"{name}: no record was read" for name, count in counts.items() if not count]
    figure = ", ".join(f"{count} {name}" for name, count in counts.items())
    return Row("mlcroissant", version, len(card["distribution"]), figure, errors, said)


READERS = {
    "anndata": anndata_reads,
    "scanpy": scanpy_reads,
    "zarr": zarr_reads,
    "dask": dask_reads,
    "mlcroissant": croissant_reads,
}
