"""Omics files that are read: any usual format, and bad input is refused in one line."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from polyclinic.conditioning.dataset.dataset import read_training_set
from polyclinic.core.config import DatasetConfig, parse
from polyclinic.core.errors import InputError
from polyclinic.core.modality import TrainingSet
from polyclinic.core.remarks import remarks
from polyclinic.modalities.omics.data import read_assays, read_survival, records_of

# -- bring your own

IDS = [f"t{i}" for i in range(7)]
GENES = ["ESR1", "FOXA1", "GATA3", "KRT5"]
VALUES = np.random.default_rng(0).normal(6, 2, (7, 4)).astype(np.float32)
VALUES[VALUES < 4.5] = 0.0  # not detected
READS = np.random.default_rng(1).integers(0, 900, (7, 4))
PATIENTS = pd.DataFrame({"record": IDS, "patient_id": IDS, "years": 50.0, "split": "train"})
FRAME = pd.DataFrame(VALUES, pd.Index(IDS, name="who"), GENES)


def annotated(values: Any = VALUES) -> anndata.AnnData:
    obs = pd.DataFrame({"years": 50.0, "split": pd.Categorical(["train"] * 7)}, index=pd.Index(IDS))
    var = pd.DataFrame({"gene_ids": [f"ENSG{i:011d}" for i in range(4)]}, index=pd.Index(GENES))
    return anndata.AnnData(values, obs, var, layers={"raw": READS})


def write_mudata(path: Path) -> None:
    import mudata

    with mudata.set_options(pull_on_update=False):
        both = mudata.MuData({"rna": annotated(), "meth": annotated(-VALUES)[:5].copy()})
        both.var_names_make_unique()
        both.write_zarr(path) if path.suffix == ".zarr" else both.write_h5mu(path)


def write_matrix(name: str, path: Path) -> None:
    """The values, in the format of a name."""
    table = FRAME.reset_index()
    match name:
        case "csv":
            table.to_csv(path, index=False)
        case "csv.gz":
            table.iloc[::-1].to_csv(path, index=False)  # in any order
        case "tsv":
            FRAME.rename(columns=lambda g: f"{g}_{GENES.index(g) + 7}").to_csv(path, sep="\t")
        case "transposed.csv":
            FRAME.T.to_csv(path)
        case "parquet":
            FRAME.to_parquet(path)
        case "h5ad":
            annotated().write_h5ad(path)
        case "sparse.h5ad":
            annotated(sp.csr_matrix(VALUES)).write_h5ad(path)
        case "columns.h5ad":
            annotated(sp.csc_matrix(VALUES)).write_h5ad(path)
        case "zarr":
            with anndata.settings.override(zarr_write_format=3, auto_shard_zarr_v3=True):
                annotated().write_zarr(path)
        case "v2.zarr":
            with anndata.settings.override(zarr_write_format=2):
                annotated(sp.csr_matrix(VALUES)).write_zarr(path)
        case "h5mu" | "mu.zarr":
            with anndata.settings.override(zarr_write_format=3, auto_shard_zarr_v3=True):
                write_mudata(path)


def training_set(
    folder: Path, options: dict[str, Any], table: str = "patients.csv", **keys: Any
) -> TrainingSet:
    if table == "patients.csv":
        PATIENTS.to_csv(folder / table, index=False)
    settings = {"name": "clinic", "table": table, "fields": {"age": {"column": "years"}}, "options": options}
    return read_training_set(parse(DatasetConfig, settings | keys, "dataset.yaml"), folder, "train")


FORMATS = ["csv", "csv.gz", "tsv", "transposed.csv", "parquet", "h5ad", "sparse.h5ad", "columns.h5ad"]
FORMATS += ["zarr", "v2.zarr", "h5mu", "mu.zarr"]


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_assay(tmp_path: Path, name: str) -> None:
    file = f"rna.{name}"
    write_matrix(name, tmp_path / file)
    source: Any = {"file": file, "transposed": True} if name.startswith("transposed") else file
    (assay,) = read_assays(training_set(tmp_path, {"assays": {"rna": source}})).values()
    assert assay.values.dtype == np.float32
    np.testing.assert_allclose(assay.values, VALUES, atol=1e-6)
    assert ((assay.values == 0) == (VALUES == 0)).all()
    assert assay.symbols.tolist() == GENES
    assert assay.present.all()
    if name == "tsv":
        assert assay.ids.tolist() == ["7", "8", "9", "10"]
    elif "h5" in name or "zarr" in name:
        assert assay.ids.tolist() == [f"ENSG{i:011d}" for i in range(4)]
    else:
        assert not any(assay.ids)


@pytest.mark.parametrize("name", ["h5ad", "zarr", "h5mu"])
def test_the_table_may_be_the_obs_of_the_data(tmp_path: Path, name: str) -> None:
    """An AnnData alone is a training folder: obs columns are mapped as those of any table."""
    write_matrix(name, tmp_path / f"all.{name}")
    if name == "h5mu":
        with h5py.File(tmp_path / "all.h5mu", "r+") as file:
            del file["obs"]
            file.copy("mod/rna/obs", "obs")
    own = {"record": "obs_names", "patient_id": "obs_names"}
    data = training_set(tmp_path, {"assays": {"rna": f"all.{name}"}}, table=f"all.{name}", **own)
    assert list(data.records) == IDS
    assert [p.age for p in data.profiles] == [50.0] * 7
    np.testing.assert_allclose(read_assays(data)["rna"].values, VALUES, atol=1e-6)


@pytest.mark.parametrize(
    "source", [{"file": "rna.h5ad", "layer": "raw"}, {"file": "raw.csv"}], ids=["layer", "table"]
)
def test_counts_become_log2_per_million_and_zero_stays_zero(tmp_path: Path, source: dict[str, str]) -> None:
    write_matrix("h5ad", tmp_path / "rna.h5ad")
    pd.DataFrame(READS, pd.Index(IDS), GENES).to_csv(tmp_path / "raw.csv")
    data = training_set(tmp_path, {"assays": {"rna": {**source, "values": "counts"}}})
    values = read_assays(data)["rna"].values
    np.testing.assert_allclose((2.0**values - 1).sum(1), 1e6, rtol=1e-5)
    assert ((values == 0) == (READS == 0)).all()


def test_a_patient_may_lack_an_assay(tmp_path: Path) -> None:
    FRAME.to_csv(tmp_path / "rna.csv")
    FRAME[2:5].to_csv(tmp_path / "meth.csv")
    data = training_set(tmp_path, {"assays": {"rna": "rna.csv", "meth": "meth.csv"}, "tumour": "C50.9"})
    assays = read_assays(data)
    assert assays["meth"].present.tolist() == [False, False, True, True, True, False, False]
    assert np.isnan(assays["meth"].values[0]).all()
    records = records_of(data)
    assert [sorted(r.arrays) for r in records[1:3]] == [
        ["rna", "rna_var"], ["meth", "meth_var", "rna", "rna_var"]
    ]  # fmt: skip
    assert records[2].facts["ESR1"] == pytest.approx(float(VALUES[2, 0]))
    assert records[0].arrays["rna_var"] is records[1].arrays["rna_var"]


def spoilt(change: Callable[[pd.DataFrame], Any], **options: Any) -> Callable[[Path], TrainingSet]:
    """A training folder whose table was changed."""

    def make(folder: Path) -> TrainingSet:
        table = FRAME.copy().astype(object)
        made = change(table)
        (table if made is None else made).to_csv(folder / "rna.csv")
        return training_set(folder, {"assays": {"rna": "rna.csv"}, **options})

    return make


def stored(
    source: dict[str, str], change: Callable[[Path], Any] = lambda path: None
) -> Callable[[Path], TrainingSet]:
    """A training folder with an AnnData file that was changed."""

    def make(folder: Path) -> TrainingSet:
        annotated().write_h5ad(folder / "rna.h5ad")
        change(folder / "rna.h5ad")
        return training_set(folder, {"assays": {"rna": {"file": "rna.h5ad", **source}}})

    return make


def put(row: int, column: int, value: Any) -> Callable[[pd.DataFrame], None]:
    def change(table: pd.DataFrame) -> None:
        table.iloc[row, column] = value

    return change


def without_x(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        del file["X"]


def words(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        del file["X"]
        file["X"] = np.array([["a"] * 4] * 7, dtype="S1")


def plain(folder: Path, **keys: Any) -> TrainingSet:
    FRAME.to_csv(folder / "rna.csv")
    return training_set(folder, keys.pop("options", {"assays": {"rna": "rna.csv"}}), **keys)


def table_with(folder: Path, change: Callable[[pd.DataFrame], pd.DataFrame]) -> TrainingSet:
    """A training folder whose table of patients was changed."""
    FRAME.to_csv(folder / "rna.csv")
    change(PATIENTS).to_csv(folder / "own.csv", index=False)
    return training_set(folder, {"assays": {"rna": "rna.csv"}}, table="own.csv")


def empty(name: str) -> Callable[[Path], TrainingSet]:
    """A training folder with an empty file."""

    def make(folder: Path) -> TrainingSet:
        (folder / name).touch()
        return training_set(folder, {"assays": {"rna": name}})

    return make


LAYERED = {"file": "rna.csv", "layer": "x"}
REFUSED: dict[str, tuple[Callable[[Path], TrainingSet], str]] = {
    "a missing patient": (spoilt(lambda t: t[1:]), r"'t0' is in the table but in no assay .*1 of 7"),
    "a patient twice": (spoilt(lambda t: pd.concat([t, t[:1]])), "patient 't0' is there 2 times"),
    "a gene twice": (spoilt(lambda t: t.set_axis(["A", "B", "A", "C"], axis=1)), "feature 'A' is there 2"),
    "a word": (spoilt(put(3, 2, "low")), "GATA3 of patient t3 is 'low'; expected numbers only"),
    "a gap": (spoilt(put(4, 1, None)), "rna FOXA1 of patient t4 is nan, not a finite number; fill or drop"),
    "infinity": (spoilt(put(0, 0, np.inf)), "ESR1 of patient t0 is inf, not a finite"),
    "counts unsaid": (spoilt(put(0, 0, 5000.0)), "is 5000, not a log2 value; say `values: counts`"),
    "negative counts": (spoilt(put(0, 3, -1.0), values="counts"), "KRT5 of patient t0 is -1, not a count"),
    "an empty library": (spoilt(lambda t: t.mul(0), values="counts"), "no counts at all"),
    "no features": (spoilt(lambda t: t[[]]), "has no features"),
    "no file": (lambda f: training_set(f, {"assays": {"rna": "rna.csv"}}), "no such file"),
    "an empty file": (empty("rna.csv"), "cannot be read"),
    "a foreign format": (empty("rna.xlsx"), "unknown format '.xlsx'"),
    "no such key": (lambda f: plain(f, options={"assays": {"rna": "rna.csv"}, "key": "mrn"}), "no column 'mrn'"),
    "an unknown option": (lambda f: plain(f, options={"assay": "rna.csv"}), "'assay'; the nearest known"),
    "no assay": (lambda f: plain(f, options={"assays": {}}), "assays: "),
    "a layer of a table": (lambda f: plain(f, options={"assays": {"rna": LAYERED}}), "layer 'x' is asked for"),
    "no split": (lambda f: table_with(f, lambda t: t.drop(columns="split")), "no column 'split'"),
    "no row of the split": (lambda f: table_with(f, lambda t: t.assign(split="test")), "no rows of split 'train'"),
    "a record twice": (lambda f: table_with(f, lambda t: pd.concat([t, t[:1]])), "record 't0' is in the table twice"),
    "no table": (lambda f: plain(f, table=None), "needs a table"),
    "no such layer": (stored({"layer": "counts"}), "no layer 'counts'; it has: raw"),
    "no X": (stored({}, without_x), "has no X; name one of its layers: raw"),
    "no numbers in X": (stored({}, words), "expected a matrix of numbers"),
    "no obs column": (stored({"key": "mrn"}), "obs has no column 'mrn'; it has: years"),
    "no MuData": (stored({"modality": "rna"}), "this is no MuData"),
    "no AnnData": (stored({}, lambda path: path.write_bytes(b"junk")), "cannot be read as AnnData"),
}  # fmt: skip


@pytest.mark.parametrize(("make", "message"), REFUSED.values(), ids=REFUSED)
def test_bad_input_is_refused_in_one_line(
    tmp_path: Path, make: Callable[[Path], TrainingSet], message: str
) -> None:
    with pytest.raises(InputError, match=message) as refusal:
        read_assays(make(tmp_path))
    assert "\n" not in str(refusal.value)


def followed(folder: Path, **change: Any) -> TrainingSet:
    """A training folder with follow-up of its patients but the last, in years; `change` alters the columns."""
    FRAME.to_csv(folder / "rna.csv")
    values = {
        "id": [f"t{i}" for i in range(6)],
        "years": ["0", "1", "2.5", "", "-1", "4"],
        "dead": list("010101"),
    }
    pd.DataFrame(values | change).to_csv(folder / "ends.csv", index=False)
    columns = {"file": "ends.csv", "time": "years", "event": "dead", "unit": "years"}
    return training_set(folder, {"assays": {"rna": "rna.csv"}, "survival": columns})


def test_follow_up_is_read_in_months_and_may_be_unknown(tmp_path: Path) -> None:
    data = followed(tmp_path)
    ends = read_survival(data)
    assert ends is not None
    np.testing.assert_array_equal(ends.months, [0, 12, 30, np.nan, np.nan, 48, np.nan])
    np.testing.assert_array_equal(ends.event, [0, 1, 0, np.nan, np.nan, 1, np.nan])
    facts = [record.facts for record in records_of(data)]
    assert facts[1]["os_months"] == 12
    assert facts[1]["os_event"] is True
    assert "os_months" not in facts[3]
    assert read_survival(plain(tmp_path)) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"years": ["soon"] * 6}, "years of t0 is 'soon'; expected a number"),
        ({"dead": ["2"] * 6}, r"dead of t0 is '2'; expected 1 \(died\) or 0"),
        ({"id": ["t0"] * 6}, "record 't0' is there twice"),
    ],
)
def test_impossible_follow_up_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_survival(followed(tmp_path, **change))


def test_a_table_without_the_columns_of_survival_is_refused(tmp_path: Path) -> None:
    data = plain(tmp_path, options={"survival": {"file": "rna.csv", "time": "days", "event": "dead"}})
    with pytest.raises(InputError, match="no column 'days' for survival; it has: "):
        read_survival(data)


def test_a_modality_that_mudata_lacks_is_refused(tmp_path: Path) -> None:
    write_matrix("h5mu", tmp_path / "a.h5mu")
    with pytest.raises(InputError, match=r"no modality 'mirna'; it has: meth, rna"):
        read_assays(training_set(tmp_path, {"assays": {"mirna": "a.h5mu"}}))


SPELT = [  # ids in the table of samples, ids in the matrix, whether that is remarked
    ([f"{i:05d}" for i in range(7)], [f"{i:05d}" for i in range(7)], False),
    ([str(i) for i in range(7)], [f"{i:05d}" for i in range(7)], True),
    ([f"{i}.0" for i in range(7)], [str(i) for i in range(7)], True),
    ([f"{i}01E2" for i in range(7)], [f"{i}01E2" for i in range(7)], False),
    (
        ["NA", "null", "nan", "None", "1e5", "TRUE", "-"],
        ["NA", "null", "nan", "None", "1e5", "TRUE", "-"],
        False,
    ),
]


@pytest.mark.parametrize("suffix", ["csv", "tsv", "csv.gz", "parquet"])
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(("samples", "keys", "said"), SPELT)
def test_ids_are_text_whatever_they_look_like(
    tmp_path: Path, samples: list[str], keys: list[str], said: bool, transposed: bool, suffix: str
) -> None:
    table = pd.DataFrame(VALUES, pd.Index(keys, name="sample"), GENES)
    if transposed:
        table = table.T.rename_axis("gene")
    path = tmp_path / f"rna.{suffix}"
    table.to_parquet(path) if suffix == "parquet" else table.to_csv(
        path, sep="\t" if suffix == "tsv" else ","
    )
    PATIENTS.assign(record=samples, patient_id=samples).to_csv(tmp_path / "patients.csv", index=False)
    source = {"file": path.name, "transposed": transposed}
    config = parse(
        DatasetConfig, {"options": {"modality": "omics", "assays": {"rna": source}}}, "dataset.yaml"
    )
    with remarks(lambda text: None) as found:
        assay = read_assays(read_training_set(config, tmp_path, "train"))["rna"]
    np.testing.assert_allclose(assay.values, VALUES, rtol=1e-6)
    assert len(found) == said


def test_an_assay_that_meets_nobody_is_refused_by_name(tmp_path: Path) -> None:
    FRAME.to_csv(tmp_path / "rna.csv")
    FRAME.set_axis([f"other-{name}" for name in FRAME.index]).to_csv(tmp_path / "mirna.csv")
    PATIENTS.to_csv(tmp_path / "patients.csv", index=False)
    assays = {"rna": "rna.csv", "mirna": "mirna.csv"}
    config = parse(DatasetConfig, {"options": {"modality": "omics", "assays": assays}}, "dataset.yaml")
    with pytest.raises(
        InputError, match=r"mirna\.csv: none of the 7 samples .* like 'other-t0', the table's like 't0'"
    ):
        read_assays(read_training_set(config, tmp_path, "train"))


def test_anndata_of_the_old_form_is_named_as_such(tmp_path: Path) -> None:
    path = tmp_path / "rna.h5ad"
    annotated().write_h5ad(path)
    with h5py.File(path, "a") as file:  # before 0.8, obs was one compound array
        del file["obs"]
        file["obs"] = np.array([(name.encode(),) for name in IDS], dtype=[("index", "S8")])
    PATIENTS.to_csv(tmp_path / "patients.csv", index=False)
    config = parse(
        DatasetConfig, {"options": {"modality": "omics", "assays": {"rna": path.name}}}, "dataset.yaml"
    )
    with pytest.raises(InputError, match=r"obs has the form that anndata wrote before 0\.8; resave it"):
        read_assays(read_training_set(config, tmp_path, "train"))
