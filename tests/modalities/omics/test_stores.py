"""Omics stores that are written: names, counts, and files that open in their users' tools."""

import json
import shutil
import warnings
from collections.abc import Callable
from functools import cache
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

from polyclinic.conditioning.dataset.dataset import read_training_set
from polyclinic.core.config import DatasetConfig, parse
from polyclinic.core.errors import InputError
from polyclinic.core.modality import Batch, Record
from polyclinic.core.profile import PatientProfile
from polyclinic.core.registry import load_modality
from polyclinic.core.training.weights import Card, DataUsed
from polyclinic.modalities.omics import genes, log1p, pieces, reading, store
from polyclinic.modalities.omics.annotation import provenance_of
from polyclinic.modalities.omics.counts import Counted, counts
from polyclinic.modalities.omics.data import MARKERS, read_assays
from polyclinic.modalities.omics.export import assemble

FEATURES = ["ESR1", "FOXA1", "GATA3", "KRT5"]
LEVELS = np.random.default_rng(0).normal(6, 2, (2, 4)).astype(np.float32)
LEVELS[LEVELS < 4.5] = 0.0  # not detected

# -- names


@pytest.mark.parametrize(
    ("names", "symbols", "ids"),
    [
        (["ESR1_2099", "C6orf97_80129"], ["ESR1", "C6orf97"], ["2099", "80129"]),
        (["SLC35E2_1", "SLC35E2_2", "A_3"], ["SLC35E2_1", "SLC35E2_2", "A"], ["1", "2", "3"]),
        (["hsa_let_7a_1", "hsa_let_7b"], ["hsa_let_7a_1", "hsa_let_7b"], ["", ""]),  # no Entrez number
        (["ENSG00000091831", "ESR2"], ["ENSG00000091831", "ESR2"], ["ENSG00000091831", ""]),
        ([], [], []),
    ],
)
def test_names_are_split(names: list[str], symbols: list[str], ids: list[str]) -> None:
    assert genes.split_names(names) == (symbols, ids)


def test_ensembl_ids_are_known_by_symbol_hairpin_and_own_id() -> None:
    symbols = ["ESR1", "hsa-mir-100", "hsa_let_7a_1", "hsa_mir_1_2", "hsa_mir_30c_2", "C6orf97", "anything"]
    own = ["2099", "", "", "", "", "", "ENSG00000000001.7"]
    found = genes.ensembl_ids(symbols, own)
    assert [found[0], found[5], found[6]] == ["ENSG00000091831", "", "ENSG00000000001"]
    assert found[1:5] == genes.ensembl_ids(["MIR100", "MIRLET7A1", "MIR1-2", "MIR30C2"])
    assert all(found[1:5])


def test_symbols_of_a_var_with_ensembl_names(tmp_path: Path) -> None:
    var = pd.DataFrame({"gene_name": ["TP53", None, "A", "A"]}, [f"ENSG{i:011d}" for i in range(4)])
    symbols, ids = genes.feature_names(var)
    assert symbols == ["TP53", *ids[1:]]  # one without a symbol, and two that share one
    assert ids == list(var.index)


# -- counts


@given(st.integers(0, 2**32), st.lists(st.just(0.0) | st.floats(-8, 21, width=32), min_size=1, max_size=50))
def test_counts_are_whole_and_none_where_nothing_is_detected(seed: int, row: list[float]) -> None:
    log2 = np.array(row, dtype=np.float32)
    drawn = counts(log2, np.random.default_rng(seed))
    assert drawn.dtype == np.int32
    assert (drawn >= 0).all()
    assert (drawn[log2 == 0] == 0).all()


def test_counts_have_the_stated_mean_and_overdispersion() -> None:
    log2 = np.log2(np.array([2, 200, 2000] + [1000] * 997, dtype=np.float32))
    drawn = np.array([counts(log2, np.random.default_rng(i)) for i in range(3000)]).astype(float)
    library = drawn.sum(1, keepdims=True)
    assert np.log(library).std() == pytest.approx(0.3, rel=0.05)
    share = drawn / library  # what the library size adds is taken out
    expected = np.exp2(log2) / np.exp2(log2).sum()
    np.testing.assert_allclose(share.mean(0)[:3], expected[:3], rtol=0.05)
    mean = share.mean(0) * 1.5e6
    spread = ((share * 1.5e6).var(0) - mean) / mean**2  # dispersion, and a little from the library's variance
    assert spread[2] == pytest.approx(0.0103, rel=0.25)
    assert spread[0] > 10 * spread[1] > 10 * spread[2] * 0.5


class Fixed:
    """A generator of the same tumour for all."""

    def sample(self, batch: Batch) -> list[Record]:
        arrays = {
            "rna": LEVELS[0],
            "rna_var": np.array(FEATURES),
            "meth": LEVELS[1],
            "meth_var": np.array(FEATURES),
        }
        return [Record(arrays, {"pam50": "LumA"}) for _ in batch.seeds]


def test_counts_follow_the_patients_own_seed() -> None:
    def drawn(*seeds: int) -> list[Record]:
        people = tuple(PatientProfile(str(s)) for s in seeds)
        return Counted(Fixed()).sample(Batch(people, np.zeros((len(seeds), 0), np.float32), seeds))

    one, two, again = drawn(1, 2, 1)
    assert sorted(one.arrays) == ["meth", "meth_var", "rna", "rna_counts", "rna_var"]
    np.testing.assert_array_equal(one.arrays["rna_counts"], again.arrays["rna_counts"])
    np.testing.assert_array_equal(one.arrays["rna_counts"], drawn(1)[0].arrays["rna_counts"])
    assert not np.array_equal(one.arrays["rna_counts"], two.arrays["rna_counts"])
    assert one.arrays["rna"] is LEVELS[0] or np.array_equal(one.arrays["rna"], LEVELS[0])


# -- stores

SYMBOLS = {
    "rna": np.array([*MARKERS, *(f"GENE{i}" for i in range(46))]),
    "mirna": np.array(["hsa_mir_100", "hsa_let_7a_1", "hsa_mir_9999"]),
    "meth": np.array(["ESR1", "FOXA1"]),
}
ENTREZ = np.array(["2099", "5241", "2064", "4288", *[""] * 46])
CARD = Card(
    name="omics", modality="omics", kind="test", columns=[], steps=1, model={}, version="1.2",
    data=[DataUsed(name="clinic", licence="CC0", citation="us", rows=5, patients=5, privacy="public")],
    privacy="epsilon 10, delta 1e-05, patient level", epsilon=10.0, delta=1e-5,
)  # fmt: skip


def person(i: int) -> PatientProfile:
    return PatientProfile(
        f"P{i}",
        None if i % 4 == 0 else 0.5 + i,
        (None, "F", "M")[i % 3],
        conditions={"C50.919": True, **({"J90": bool(i % 2)} if i % 3 else {})},
        traits={"pam50": "Her2"} if i == 5 else {},
    )


def tumour(i: int) -> Record:
    """RNA with counts of all, miRNA of some, methylation of others."""
    rng = np.random.default_rng(i)
    arrays: dict[str, Any] = {}
    for k, (assay, names) in enumerate(SYMBOLS.items()):
        if k == 0 or i % 3 == k:
            row = rng.normal(6, 3, len(names)).astype(np.float32)
            arrays |= {assay: np.where(row < 2, 0, row).astype(np.float32), f"{assay}_var": names}
    arrays |= {"rna_id": ENTREZ, "rna_counts": rng.integers(0, 99, 50).astype(np.int32)}
    levels = {gene: float(arrays["rna"][k]) for k, gene in enumerate(MARKERS)}
    subtype = "Her2" if i == 5 else ("LumA", "Basal", None)[i % 3]
    outcome = {} if i % 4 == 1 else {"os_months": 0.5 + i, "os_event": i % 3 == 0}
    return Record(arrays, {"pam50": subtype, **levels, **outcome})


def cohort(folder: Path, count: int, cut: int = 16, form: Any = "zarr") -> Path:
    """The stores of these patients, made in slices of `cut`."""
    made = []
    for start in range(0, count, cut):
        piece = folder / f"piece-{start}"
        piece.mkdir(parents=True)
        some = range(start, min(start + cut, count))
        pieces.write([tumour(i) for i in some], [person(i) for i in some], piece)
        made.append(piece)
    paths = assemble(made, folder / "cohort", form, provenance_of(CARD))
    assert sorted(paths) == sorted(path for path in (folder / "cohort").rglob("*") if path.is_file())
    return folder / "cohort"


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """cohort(), made once for these settings: to be read, not changed."""
    return cache(
        lambda count, form="zarr": cohort(tmp_path_factory.mktemp(f"{form}-{count}"), count, form=form)
    )


def everything(folder: Path) -> dict[str, str]:
    """Hash of every file below a folder by relative path."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): sha256(path.read_bytes()).hexdigest() for path in files}


def opened(folder: Path, form: str, assay: str = "rna") -> anndata.AnnData:
    import mudata

    if form == "mudata":
        with mudata.set_options(pull_on_update=False):
            return mudata.read_zarr(folder / "omics" / "mudata.zarr")[assay]
    path = folder / "omics" / f"{assay}.{form}"
    return anndata.read_zarr(path) if form == "zarr" else anndata.read_h5ad(path)


@pytest.mark.parametrize(
    ("form", "count", "shard_bytes"),
    [
        ("zarr", 1, 1),
        ("zarr", 21, 2000),
        ("zarr", 21, store.SHARD_BYTES),
        ("h5ad", 21, 2000),
        ("mudata", 21, 2000),
    ],
)
def test_stores_are_exact_and_do_not_depend_on_slices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str, count: int, shard_bytes: int
) -> None:
    monkeypatch.setattr(store, "CHUNK", (4, 30))
    monkeypatch.setattr(store, "SHARD_BYTES", shard_bytes)
    folder = cohort(tmp_path / "16", count, 16, form)
    assert everything(cohort(tmp_path / "5", count, 5, form)) == everything(folder)
    asked = [f"P{i}" for i in reversed(range(count))]
    back = reading.read(folder, [*asked, "absent"])
    assert list(back) == asked
    for i in range(count):
        record, again = tumour(i), back[f"P{i}"]
        assert again.facts.keys() == record.facts.keys()
        for name, value in record.facts.items():
            near = isinstance(value, float)
            assert again.facts[name] == (pytest.approx(value, rel=1e-6, abs=1e-6) if near else value)
        assert again.arrays.keys() == record.arrays.keys()
        for name, array in record.arrays.items():
            if name in log1p.SEQUENCED:  # log2(x + 1) on disk
                np.testing.assert_allclose(again.arrays[name], array, rtol=1e-6, atol=1e-6)
                np.testing.assert_array_equal(again.arrays[name] == 0, array == 0)
            else:
                np.testing.assert_array_equal(again.arrays[name], array)
    assert back["P0"].arrays["rna_var"] is back[asked[0]].arrays["rna_var"]


@pytest.mark.parametrize("form", ["zarr", "h5ad", "mudata"])
def test_a_store_tells_who_what_and_whence(kept: Callable[..., Path], form: str) -> None:
    data = opened(kept(9, form), form)
    held = np.stack([tumour(i).arrays["rna"] for i in range(9)]).astype(np.float64)
    np.testing.assert_array_equal(data.X, np.where(held == 0, 0, np.log2(1 + 2.0**held)).astype(np.float32))
    assert data.uns["log1p"] == {"base": 2.0}
    np.testing.assert_array_equal(
        data.layers["counts"], np.stack([tumour(i).arrays["rna_counts"] for i in range(9)])
    )
    people = [person(i) for i in range(9)]
    assert data.obs["patient_id"].tolist() == data.obs_names.tolist() == [p.patient_id for p in people]
    np.testing.assert_array_equal(data.obs["age"], [np.nan if p.age is None else p.age for p in people])
    assert [x if isinstance(x, str) else None for x in data.obs["sex"]] == [p.sex for p in people]
    assert data.obs["pam50"].tolist()[5] == "Her2"
    assert data.obs["C50.919"].all()
    assert [None if pd.isna(x) else bool(x) for x in data.obs["J90"]] == [
        p.conditions.get("J90") for p in people
    ]
    assert data.var["symbol"].tolist() == SYMBOLS["rna"].tolist()
    assert data.var["source_name"].tolist() == SYMBOLS["rna"].tolist()
    assert data.var["ensembl_id"].tolist()[:2] == ["ENSG00000091831", "ENSG00000082175"]
    assert data.var["source_id"].tolist() == ENTREZ.tolist()
    uns = data.uns
    assert uns["synthetic"]
    assert uns["statement"].startswith("SYNTHETIC")
    assert uns["unit"].startswith("log2")
    assert (uns["privacy"], uns["epsilon"], uns["delta"]) == (CARD.privacy, 10.0, 1e-5)
    assert (list(uns["training_data"]), list(uns["training_data_licence"])) == (["clinic"], ["CC0"])
    assert "licence" in uns


def test_mudata_maps_its_assays(kept: Callable[..., Path]) -> None:
    """Masks and maps are what mudata itself makes of the same assays."""
    import mudata

    with mudata.set_options(pull_on_update=False):
        ours = mudata.read_zarr(kept(9, "mudata") / "omics" / "mudata.zarr")
        own = mudata.MuData({name: ours[name].copy() for name in ("meth", "mirna", "rna")})
        own = own[ours.obs_names].copy()
    assert list(ours.mod) == ["meth", "mirna", "rna"]
    assert ours.obs["patient_id"].tolist() == [f"P{i}" for i in range(9)]
    assert ours.var_names.is_unique
    for name in ours.mod:
        np.testing.assert_array_equal(ours.obsm[name].ravel(), own.obsm[name].ravel())
        there = np.asarray(ours.obsmap[name]).ravel()
        assert ours[name].obs_names.tolist() == ours.obs_names[there > 0].tolist()
        assert there[there > 0].tolist() == list(range(1, ours[name].n_obs + 1))
        assert (
            ours.var_names[np.asarray(ours.varmap[name]).ravel() > 0].tolist()
            == ours[name].var_names.tolist()
        )


def test_scanpy_analyses_a_store(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scanpy = pytest.importorskip("scanpy")
        data = anndata.read_zarr(cohort(tmp_path, 40) / "omics" / "rna.zarr")
        scanpy.pp.pca(data, n_comps=3)
        assert data.obsm["X_pca"].shape == (40, 3)
        own = data[data.obs["pam50"].notna().to_numpy()].copy()
        scanpy.tl.rank_genes_groups(own, "pam50", groups=["LumA", "Basal"], method="t-test")
        assert len(own.uns["rank_genes_groups"]["names"]) == 50


def test_plain_zarr_and_xarray_read_a_store(kept: Callable[..., Path]) -> None:
    path = kept(9) / "omics" / "rna.zarr"
    root = zarr.open_group(path, mode="r")
    assert root.metadata.zarr_format == 3
    assert (root.attrs["encoding-type"], root.attrs["synthetic"]) == ("anndata", True)
    for name, node in root.members(max_depth=None):
        assert "encoding-type" in node.attrs, name
        assert "encoding-version" in node.attrs, name
    assert root["X"].shape == (9, 50)
    assert json.loads((path / "X" / "zarr.json").read_text())["dimension_names"] == ["obs", "var"]
    xarray = pytest.importorskip("xarray")
    with xarray.open_zarr(path, consolidated=False) as data:
        assert dict(data.sizes) == {"obs": 9, "var": 50}
    with xarray.open_zarr(path, group="obs", consolidated=False) as obs:
        assert obs["patient_id"].values.tolist() == [f"P{i}" for i in range(9)]
    with xarray.open_zarr(path, group="var", consolidated=False) as var:
        assert var["symbol"].values.tolist() == SYMBOLS["rna"].tolist()


def test_a_store_is_a_training_folder_of_its_own(kept: Callable[..., Path]) -> None:
    """What is written can be learnt from again, with its obs as the table."""
    folder = kept(9, "mudata") / "omics"
    own = {"record": "patient_id", "split": None, "fields": {"age": {"column": "age"}}}
    assays = {name: "mudata.zarr" for name in SYMBOLS}
    settings = {"name": "clinic", "table": "mudata.zarr", "options": {"assays": assays}, **own}
    data = read_training_set(parse(DatasetConfig, settings, "dataset.yaml"), folder, "train")
    read = read_assays(data)
    assert [p.age for p in data.profiles] == [person(i).age for i in range(9)]
    np.testing.assert_allclose(read["rna"].values[3], tumour(3).arrays["rna"], rtol=1e-6, atol=1e-6)
    assert read["mirna"].symbols.tolist() == SYMBOLS["mirna"].tolist()
    assert read["mirna"].present.tolist() == [i % 3 == 1 for i in range(9)]


def test_a_store_has_few_files_whatever_the_number_of_patients(tmp_path: Path) -> None:
    few, many = (len(everything(cohort(tmp_path / str(n), n, 150))) for n in (20, 300))
    assert few == many < 450  # of three assays


@given(st.integers(1, 3_000_000), st.integers(1, 60_000))
def test_shards_bound_files_and_memory(patients: int, features: int) -> None:
    layout = store.Layout.of(patients, features)
    ranges = layout.ranges()
    assert len(ranges) <= store.SHARDS
    assert (ranges[0].start, ranges[-1].stop) == (0, patients)
    assert all(a.stop == b.start for a, b in pairwise(ranges))
    assert all(s % c == 0 for s, c in zip(layout.shard, layout.chunk, strict=True))
    row_of_chunks = layout.chunk[0] * features * 4
    assert layout.shard[0] * features * 4 <= max(
        store.SHARD_BYTES, row_of_chunks, patients * features * 4 / 500
    )


def test_row_ranges_may_be_written_at_once_and_in_any_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from concurrent.futures import ThreadPoolExecutor

    monkeypatch.setattr(store, "CHUNK", (4, 3))
    monkeypatch.setattr(store, "SHARD_BYTES", 100)
    values = np.random.default_rng(0).normal(size=(50, 7)).astype(np.float32)
    obs, var = (pd.DataFrame(index=[f"{k}{i}" for i in range(n)]) for k, n in (("p", 50), ("g", 7)))
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=3)
    layout = store.create(group, obs, var, {})
    assert len(layout.ranges()) > 5
    assert np.isnan(np.asarray(group["X"])).all()  # a row that nobody wrote is no measurement

    def write(rows: range) -> None:
        own = zarr.open_group(tmp_path / "a.zarr", mode="r+")
        store.write_rows(own, rows.start, values[rows.start : rows.stop])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, reversed(layout.ranges())))
    np.testing.assert_array_equal(anndata.read_zarr(tmp_path / "a.zarr").X, values)


def test_read_without_a_store_or_patient_is_empty(tmp_path: Path, kept: Callable[..., Path]) -> None:
    assert reading.read(tmp_path, ["P0"]) == {}
    assert reading.read(kept(9), ["absent"]) == {}


PARTS = ["zarr.json", "obs/zarr.json", "X/zarr.json", "X/c/0/0", "layers/counts/c/0/0"]


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("damage", ["lost", "junk"])
def test_a_damaged_store_is_named(tmp_path: Path, kept: Callable[..., Path], part: str, damage: str) -> None:
    folder = shutil.copytree(kept(9), tmp_path / "copy")
    path = folder / "omics" / "rna.zarr" / part
    if damage == "lost":
        path.unlink()
    else:
        path.write_bytes(b"junk")
    with pytest.raises(InputError, match=r"rna\.zarr: ") as refusal:
        reading.read(folder, ["P0", "P1"])
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("options", [{"format": "loom"}, {"counts": "perhaps"}, {"shape": 1}])
def test_unknown_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=f"omics: .*{next(iter(options))}"):
        load_modality("omics", options)


@pytest.mark.parametrize("features", ["other names", "repeated names"])
def test_an_assay_of_two_sorts_of_features_is_a_bug(tmp_path: Path, features: str) -> None:
    odd = Record({"rna": LEVELS[0], "rna_var": np.array(["A", "B", "C", "C" if "rep" in features else "D"])})
    fine = Record({"rna": LEVELS[0], "rna_var": np.array(FEATURES)})
    records = [odd] if "rep" in features else [fine, odd]
    with pytest.raises(AssertionError, match="feature"):
        pieces.write(records, [person(i) for i in range(len(records))], tmp_path)
