"""What scanpy, dask, zarr and anndata make of our stores, and what their users find in obs and var."""

import json
import warnings
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

from polyclinic.core.errors import InputError
from polyclinic.core.modality import Record
from polyclinic.core.profile import PatientProfile
from polyclinic.core.registry import load_modality
from polyclinic.modalities.omics import annotation, genes, log1p, ontology, pieces, reading
from polyclinic.modalities.omics.export import assemble

NAMES = np.array(["HLA_DOB", "NKX2_5", "ESR1", "C6orf97", "unknown", *(f"GENE{i}" for i in range(15))])
HAIRPINS = np.array(["hsa_let_7a_1", "hsa_mir_100"])


def stores(folder: Path, count: int = 40, form: str = "zarr", **provenance: Any) -> tuple[Path, np.ndarray]:
    """Stores of tumours of two subtypes, and their RNA as the records hold it: some genes are below 1 in most."""
    rng = np.random.default_rng(5)
    centres = rng.uniform(-6, 12, len(NAMES))
    records, people = [], []
    for i in range(count):
        basal = i % 2 == 1
        rna = (
            centres + np.where(np.arange(len(NAMES)) < 10, 5.9, 0) * basal + rng.normal(0, 1, len(NAMES))
        ).astype(np.float32)
        rna[rng.random(len(NAMES)) < 0.1] = 0
        arrays = {"rna": rna, "rna_var": NAMES, "mirna": rna[:2], "mirna_var": HAIRPINS}
        records.append(Record(arrays, {"pam50": "Basal" if basal else "LumA"}))
        people.append(PatientProfile(f"P{i}", 50.0, ("F", "M", None)[i % 3]))
    folder.mkdir(parents=True, exist_ok=True)
    pieces.write(records, people, folder)
    assemble([folder], folder / "cohort", form, provenance)
    return folder / "cohort", np.stack([record.arrays["rna"] for record in records])


# -- values


@given(st.lists(st.just(0.0) | st.floats(-60, 60, width=32).filter(lambda x: abs(x) > 1e-3), min_size=1))
def test_values_come_back_and_only_what_was_not_detected_is_zero(row: list[float]) -> None:
    held = np.array(row, dtype=np.float32)
    stored = log1p.shifted(held)
    assert (stored >= 0).all()
    np.testing.assert_array_equal(stored == 0, held == 0)
    np.testing.assert_allclose(log1p.unshifted(stored), held, rtol=1e-5, atol=1e-5)


def test_scanpy_gives_the_fold_changes_of_the_data(tmp_path: Path) -> None:
    """Within 1 %, for every gene: of the ratio that the quantities themselves give."""
    folder, held = stores(tmp_path)
    quantity = np.where(held == 0, 0.0, 2.0 ** held.astype(np.float64))  # of RSEM
    level = np.expm1(np.log1p(quantity).reshape(-1, 2, len(NAMES)).mean(0))  # subtype, gene
    expected = dict(zip(genes.official_symbols(NAMES), np.log2(level[1] / level[0]), strict=True))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scanpy = pytest.importorskip("scanpy")
        data = anndata.read_zarr(folder / "omics" / "rna.zarr")
        scanpy.tl.rank_genes_groups(data, "pam50", groups=["Basal"], reference="LumA", method="t-test")
    found = data.uns["rank_genes_groups"]
    changes = dict(zip(found["names"]["Basal"], found["logfoldchanges"]["Basal"], strict=True))
    assert changes.keys() == expected.keys()
    for gene, change in expected.items():
        assert changes[gene] == pytest.approx(change, rel=0.01, abs=0.01), gene


@pytest.mark.parametrize(
    ("values", "based", "moved"),
    [("intensities", True, True), ("counts", True, False), ("beta", False, False), ("centred", False, False)],
)
def test_only_logarithms_of_a_quantity_are_said_to_be_logarithms(
    tmp_path: Path, values: str, based: bool, moved: bool
) -> None:
    folder, held = stores(tmp_path, values={"rna": values})
    data = anndata.read_zarr(folder / "omics" / "rna.zarr")
    assert ("log1p" in data.uns, "pseudocount" in data.uns) == (based, moved)
    np.testing.assert_array_equal(data.X, log1p.shifted(held) if moved else held)
    again = reading.read(folder, ["P7"])["P7"].arrays["rna"]
    np.testing.assert_allclose(again, held[7], rtol=1e-5, atol=1e-5)


# -- names


def test_genes_have_their_real_names(tmp_path: Path) -> None:
    folder, _ = stores(tmp_path)
    var = anndata.read_zarr(folder / "omics" / "rna.zarr").var
    assert (
        var.index.tolist()[:5]
        == var["symbol"].tolist()[:5]
        == ["HLA-DOB", "NKX2-5", "ESR1", "C6orf97", "unknown"]
    )
    assert var["ensembl_id"].tolist()[:5] == ["ENSG00000241106", "ENSG00000183072", "ENSG00000091831", "", ""]
    assert var["source_name"].tolist() == NAMES.tolist()
    hairpins = anndata.read_zarr(folder / "omics" / "mirna.zarr").var
    assert hairpins.index.tolist() == ["hsa-let-7a-1", "hsa-mir-100"]
    assert all(hairpins["ensembl_id"])
    assert reading.read(folder, ["P0"])["P0"].arrays["rna_var"].tolist() == NAMES.tolist()


def test_a_spelling_that_another_feature_has_stays() -> None:
    assert genes.official_symbols(["HLA_DOB", "HLA-DOB", "hsa_mir_1"]) == ["HLA_DOB", "HLA-DOB", "hsa-mir-1"]
    assert genes.official_symbols([]) == []


@pytest.mark.parametrize("form", ["zarr", "h5ad", "mudata"])
def test_var_may_be_indexed_by_ensembl_id(tmp_path: Path, form: str) -> None:
    folder, _ = stores(tmp_path, 4, form, index=annotation.ENSEMBL)
    path = folder / "omics"
    if form == "mudata":
        mudata = pytest.importorskip("mudata")
        with mudata.set_options(pull_on_update=False):
            whole = mudata.read_zarr(path / "mudata.zarr")
        names = [name.removeprefix("rna:") for name in whole["rna"].var_names]
        assert set(whole["rna"].var_names) <= set(whole.var_names)
    else:
        read = anndata.read_zarr if form == "zarr" else anndata.read_h5ad
        names = read(path / f"rna.{form}").var_names.tolist()
    assert names[:4] == [
        "ENSG00000241106",
        "ENSG00000183072",
        "ENSG00000091831",
        "C6orf97",
    ]  # withdrawn: no id
    assert reading.read(folder, ["P0"])["P0"].arrays["rna_var"].tolist() == NAMES.tolist()
    with pytest.raises(InputError, match="index"):
        load_modality("omics", {"index": "entrez"})


# -- obs


@pytest.mark.parametrize("breast", [True, False])
def test_obs_has_ontology_terms(tmp_path: Path, breast: bool) -> None:
    folder, _ = stores(tmp_path, 6, breast_markers=breast)
    obs = anndata.read_zarr(folder / "omics" / "rna.zarr").obs
    sexes = ["PATO:0000383", "PATO:0000384", "unknown"]
    assert obs["sex_ontology_term_id"].tolist() == sexes * 2
    assert set(obs["tissue_ontology_term_id"]) == {"UBERON:0000310" if breast else "unknown"}
    assert set(obs["disease_ontology_term_id"]) == {"MONDO:0007254" if breast else "unknown"}
    assert set(obs["assay_ontology_term_id"]) == {"EFO:0008896"}
    assert obs["donor_id"].tolist() == obs["patient_id"].tolist()
    assert anndata.read_zarr(folder / "omics" / "mirna.zarr").obs["assay"].tolist()[0].startswith("microRNA")
    declared = ontology.with_terms(obs[["sex"]].assign(tissue="skin"), ontology.patient_terms(obs, True))
    assert set(declared["tissue"]) == {"skin"}  # a field of the user's


# -- zarr, dask, anndata


def test_metadata_are_consolidated_once_all_is_written(tmp_path: Path) -> None:
    folder, held = stores(tmp_path)
    path = folder / "omics" / "rna.zarr"
    about = json.loads((path / "zarr.json").read_text())["consolidated_metadata"]["metadata"]
    plain = zarr.open_group(path, mode="r", use_consolidated=False)
    names = {name for name, _ in plain.members(max_depth=None)}
    assert names == set(about)
    assert about["obs/age"]["dimension_names"] == ["obs"]  # the dimensions were named before
    assert zarr.open_consolidated(path)["X"].shape == held.shape


def test_zarr_hides_an_array_added_after_consolidation_and_we_add_none(tmp_path: Path) -> None:
    folder, _ = stores(tmp_path)
    path = folder / "omics" / "rna.zarr"
    zarr.open_group(path, mode="a", use_consolidated=False).create_array("late", shape=(2,), dtype="i4")
    assert "late" not in zarr.open_group(path, mode="r")
    assert "late" in zarr.open_group(path, mode="r", use_consolidated=False)


def test_dask_takes_inner_chunks_and_may_be_told_to_take_shards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from polyclinic.modalities.omics import store

    array = pytest.importorskip("dask.array")
    monkeypatch.setattr(store, "CHUNK", (4, 8))
    folder, held = stores(tmp_path)
    stored = zarr.open_group(folder / "omics" / "rna.zarr", mode="r")["X"]
    assert stored.shards is not None
    assert array.from_zarr(stored).chunksize == stored.chunks == (4, 8)
    whole = array.from_zarr(stored, chunks=stored.shards)
    assert whole.npartitions == 1
    np.testing.assert_array_equal(whole.compute(scheduler="synchronous"), log1p.shifted(held))


def test_a_lost_shard_is_no_number_in_anndata_and_an_error_in_ours(tmp_path: Path) -> None:
    """zarr gives the fill value for what is not there, and anndata asks no further: ours is NaN, not 0."""
    folder, _ = stores(tmp_path)
    path = folder / "omics" / "rna.zarr"
    (path / "X" / "c" / "0" / "0").unlink()
    assert np.isnan(anndata.read_zarr(path).X).all()
    with pytest.raises(InputError, match="values are missing"):
        reading.read(folder, ["P0"])
