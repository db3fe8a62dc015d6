"""Learnt profiles and cohort designs: every figure of docs/explanation/population.md.

    python benchmarks/population.py [--data DIR] [--quick] [--mbi PYTHON] [--dpmm PYTHON]

Learns 20 columns of diabetes130's train patients (first stay of each) at epsilon 1, delta 1e-6 through
`polyclinic train population`, draws as many synthetic patients, and holds both against the held-out patients: mean
total variation of all pairs of columns, AUROC of readmission (any) on real test patients by a logistic regression
trained on each table (TSTR), and the C2ST AUC of a gradient boosting (trained on one half, tested on the other). For
comparison: the real train patients (real-vs-real), independent columns, MST on private-pgm's mbi and dpmm's PrivBayes,
each peer in its own environment (--mbi and --dpmm name their interpreters; without one the
peer is not run). Our times are the processor's, so that a busy machine does not matter. Then the same columns with
charged domains (words and bins of 15 of them learnt within the budget, numbers between 0 and 1,000; rows brought into
the public levels to be compared), and with source ids in place of groups, both without bars, and cohort designs. Bars
were set beforehand. Exits 1 if one falls short.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray
from population_designs import joint, judged, rare
from population_peers import asked

from polyclinic.app.training import Privacy, train
from polyclinic.conditioning.table.cells import encode
from polyclinic.conditioning.table.domain import OTHER, Column, columns_of
from polyclinic.conditioning.table.learning import TableOptions
from polyclinic.conditioning.table.table_model import TableModel
from polyclinic.core.config import DatasetConfig, parse, read_yaml

HERE = Path(__file__).parent
EPSILON, DELTA = 1.0, 1e-6
BARS = {"2-way TV": (0.025, "at most"), "readmission AUROC": (0.59, "at least"), "C2ST AUC": (0.72, "at most"),
        "processor seconds": (60.0, "at most")}  # fmt: skip
Codes = NDArray[np.int64]


def patients(data: Path) -> pd.DataFrame:
    """diabetes130 with its split, in the order of stays; `?` is an empty cell."""
    folder = data / "ehr" / "diabetes130"
    stays = pd.read_csv(folder / "diabetic_data.csv.gz", dtype=str, na_values=["?"], keep_default_na=False)
    split = pd.read_csv(folder / "split.csv.gz", dtype=str)
    stays = stays.merge(split, on="patient_nbr", validate="m:1")
    return stays.iloc[stays["encounter_id"].astype(int).argsort(kind="stable")]


def coded(table: pd.DataFrame, config: DatasetConfig) -> tuple[Codes, list[str], list[int]]:
    """A table's codes, the columns' names and sizes."""
    options = parse(TableOptions, dict(config.options), "options")
    columns = columns_of(config.fields, options.columns, "benchmark")
    codes = encode(table, columns, config.fields, options.columns, "diabetes130")
    return codes, [c.name for c in columns], [c.size for c in columns]


def variation(one: Codes, other: Codes, sizes: Sequence[int]) -> NDArray[np.float64]:
    """Total variation of each pair of columns."""
    found = []
    for i, j in combinations(range(len(sizes)), 2):
        shares = [
            np.bincount(t[:, i] * sizes[j] + t[:, j], minlength=sizes[i] * sizes[j]) / len(t)
            for t in (one, other)
        ]
        found.append(np.abs(shares[0] - shares[1]).sum() / 2)
    return np.array(found)


def readmission(train: Codes, test: Codes, names: Sequence[str]) -> float:
    """AUROC on real test patients of a logistic regression on one-hot columns."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    at = list(names).index("readmitted")
    rest = [k for k in range(len(names)) if k != at]
    model = make_pipeline(OneHotEncoder(handle_unknown="ignore"), LogisticRegression(max_iter=300))
    model.fit(train[:, rest], train[:, at] > 0)
    return float(roc_auc_score(test[:, at] > 0, model.predict_proba(test[:, rest])[:, 1]))


def c2st(drawn: Codes, test: Codes) -> float:
    """AUC of gradient boosting, real against drawn, on halves it has not seen."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(0)
    rows = min(len(drawn), len(test))
    drawn, test = rng.permutation(drawn)[:rows], rng.permutation(test)[:rows]
    half = rows // 2
    label = np.repeat([1, 0], half)
    model = HistGradientBoostingClassifier(random_state=0).fit(
        np.concatenate([drawn[:half], test[:half]]), label
    )
    held = np.concatenate([drawn[half : 2 * half], test[half : 2 * half]])
    return float(roc_auc_score(label, model.predict_proba(held)[:, 1]))


def measured(
    name: str, table: Codes, test: Codes, names: Sequence[str], sizes: Sequence[int], seconds: float | None
) -> dict[str, float]:
    """One row of the table, printed."""
    pairs = variation(table, test, sizes)
    row = {
        "2-way TV": float(pairs.mean()),
        "largest": float(pairs.max()),
        "readmission AUROC": readmission(table, test, names),
        "C2ST AUC": c2st(table, test),
    }
    cells = "".join(f"{value:>12.4f}" for value in row.values())
    print(f"{name:34}{cells}{'' if seconds is None else f'{seconds:>10.0f} s'}", flush=True)
    return row if seconds is None else {**row, "processor seconds": seconds}


def learnt(
    stays: pd.DataFrame, config: DatasetConfig, test: pd.DataFrame, options: argparse.Namespace
) -> int:
    """The table model, its floor and its peers; how many bars fell short."""
    real, names, sizes = coded(stays, config)
    held, _, _ = coded(test, config)
    print(
        f"{len(real)} train, {len(held)} test patients, {len(names)} columns, epsilon {EPSILON:g}, delta {DELTA:g}"
    )
    heads("grouped")
    measured("real train patients (floor)", real, held, names, sizes, None)
    rng = np.random.default_rng(0)
    independent = np.column_stack([rng.permutation(column) for column in real.T])
    measured("independent columns, no privacy", independent, held, names, sizes, None)
    peers(real, held, names, sizes, options)
    missed = 0
    for run in range(1 if options.quick else 3):
        table, seconds, epsilon = ours(stays, config, len(real), run)
        row = measured(f"ours, run {run + 1} ({epsilon:g})", table, held, names, sizes, seconds)
        missed += judged(row, BARS)
    return missed


def charged(config: DatasetConfig) -> DatasetConfig:
    """The config without what a code book says: words and bins are to be learnt, at most 20 (the default).

    Groups by pattern stay, since they are a choice and not a domain.
    """
    columns = {}
    for name, own in config.options["columns"].items():
        wish = {"within": [0, 1000]} if "bins" in own and name not in config.fields else {}
        rest = {key: value for key, value in own.items() if key not in ("bins", "levels")}
        columns[name] = own if "patterns" in own else {**rest, "charged": wish}
    return config.model_copy(update={"options": {**config.options, "columns": columns}})


def in_levels(drawn: pd.DataFrame, columns: Sequence[Column]) -> Codes:
    """Drawn rows in the levels of other columns of the same names."""
    codes = np.empty((len(drawn), len(columns)), dtype=np.int64)
    for at, column in enumerate(columns):
        for row, value in enumerate(drawn[column.name]):
            if value is None:
                codes[row, at] = len(column.levels)
            elif column.kind == "number":
                place = int(np.searchsorted(column.edges, value, "right")) - 1
                codes[row, at] = min(max(place, 0), len(column.levels) - 1)
            else:
                known = (
                    value
                    if value in column.levels
                    else OTHER
                    if OTHER in column.levels
                    else column.levels[-1]
                )
                codes[row, at] = column.levels.index(known)
    return codes


def learnt_domains(stays: pd.DataFrame, config: DatasetConfig, test: pd.DataFrame, runs: int) -> None:
    """Ours with charged domains, compared with ours with public ones; no bars."""
    options = parse(TableOptions, dict(config.options), "options")
    columns = columns_of(config.fields, options.columns, "benchmark")
    held, names, sizes = coded(test, config)
    heads("domains of 15 columns charged")
    for run in range(runs):
        model, seconds, epsilon = model_of(stays, charged(config))
        began = time.process_time()
        table = in_levels(model.sample(len(stays), run), columns)
        seconds += time.process_time() - began
        measured(f"ours, run {run + 1} ({epsilon:g})", table, held, names, sizes, seconds)
    found = {column.name: column for column in model.columns}
    print(f"  words of medical_specialty: {', '.join(found['medical_specialty'].levels)}")
    for name in ("age", "num_medications", "number_inpatient"):
        print(f"  edges of {name}: {', '.join(f'{edge:g}' for edge in found[name].edges)}")


def ungrouped(
    stays: pd.DataFrame, config: DatasetConfig, test: pd.DataFrame, options: argparse.Namespace
) -> None:
    """The same with the source's 8, 29 and 26 ids of admission and discharge in place of groups; no bars."""
    raw = {"admission_type_id": 8, "discharge_disposition_id": 29, "admission_source_id": 26}
    columns = dict(config.options["columns"])
    for name, ids in raw.items():
        columns[name] = {"levels": [str(k) for k in range(1, ids + 1)], "missing": False}
    config = config.model_copy(update={"options": {**config.options, "columns": columns}})
    real, names, sizes = coded(stays, config)
    held, _, _ = coded(test, config)
    heads("ungrouped")
    measured("real train patients (floor)", real, held, names, sizes, None)
    peers(real, held, names, sizes, argparse.Namespace(mbi=options.mbi, dpmm=None))
    table, seconds, epsilon = ours(stays, config, len(real), 0)
    measured(f"ours ({epsilon:g})", table, held, names, sizes, seconds)


def heads(title: str) -> None:
    """The line above a table."""
    columns = ("2-way TV", "largest", "AUROC", "C2ST", "time")
    print(f"\n{title:34}" + "".join(f"{column:>12}" for column in columns))


def peers(
    real: Codes, held: Codes, names: Sequence[str], sizes: Sequence[int], options: argparse.Namespace
) -> None:
    """The peers whose environments were given."""
    for method, python, title in (
        ("mst", options.mbi, "MST on mbi"),
        ("privbayes", options.dpmm, "PrivBayes of dpmm"),
    ):
        if python is None:
            print(f"{title:34}not run: its environment was not given")
            continue
        drawn, seconds = asked(python, method, real, sizes, (EPSILON, DELTA), len(real))
        measured(title, drawn, held, names, sizes, seconds)


def ours(
    stays: pd.DataFrame, config: DatasetConfig, rows: int, seed: int
) -> tuple[Codes, float, float | None]:
    """Rows drawn from a table learnt by the command's own way, its seconds and its epsilon."""
    model, seconds, epsilon = model_of(stays, config)
    began = time.process_time()
    uniforms = np.random.default_rng(seed).random((rows, len(model.columns)))
    table, _ = model.given().codes(uniforms)
    return table, seconds + time.process_time() - began, epsilon


def model_of(stays: pd.DataFrame, config: DatasetConfig) -> tuple[TableModel, float, float | None]:
    """A table learnt by the command's own way, the seconds that this took and its epsilon."""
    with tempfile.TemporaryDirectory() as folder:
        data, out = Path(folder) / "data", Path(folder) / "table.safetensors"
        data.mkdir()
        stays.to_csv(data / "patients.csv", index=False)
        (data / "dataset.yaml").write_text(
            yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False), encoding="utf-8"
        )
        began = time.process_time()
        card = train("population", data, out, Privacy(EPSILON, DELTA, Path(folder) / "ledger.jsonl", EPSILON))
        return TableModel.load(out), time.process_time() - began, card.epsilon


def main() -> int:
    """Print the tables; 0 if all bars are met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--quick", action="store_true", help="one run of ours in place of three")
    parser.add_argument("--mbi", help="Python of an environment with private-pgm 2")
    parser.add_argument("--dpmm", help="Python of an environment with dpmm")
    options = parser.parse_args()
    config = parse(DatasetConfig, read_yaml(HERE / "diabetes130.yaml"), "diabetes130.yaml")
    stays = patients(options.data)
    train_rows, test = (
        stays[stays["split"] == split].drop_duplicates("patient_nbr") for split in ("train", "test")
    )
    missed = learnt(train_rows, config, test, options)
    learnt_domains(train_rows, config, test, 1 if options.quick else 3)
    if not options.quick:
        ungrouped(train_rows, config, test, options)
    missed += rare(options.quick) + joint()
    print("all bars met" if not missed else f"{missed} bars missed")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
