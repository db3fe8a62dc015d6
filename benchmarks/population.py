"""How good learnt profiles are, and how cohort designs keep their word; every figure of docs/population.md.

    python benchmarks/population.py [--data DIR] [--quick] [--mbi PYTHON] [--dpmm PYTHON]

Learns 20 columns of diabetes130's train patients (first stay of each) at epsilon 1, delta 1e-6 through
`polyclinic train population`, draws as many synthetic patients, and holds both against the held-out patients: mean
total variation of all pairs of columns, AUROC of readmission (any) on real test patients by a logistic regression
taught on each table, and the AUC of a gradient boosting that tells test patients from drawn ones (halves: taught on
one, judged on the other). Beside it: the real train patients (floor), independent columns, MST on private-pgm's mbi
and dpmm's PrivBayes, each peer in its own environment (--mbi and --dpmm name their interpreters; without one the
peer is not run). Then the same columns with source ids in place of groups, without bars, and cohort designs. Bars
were set beforehand. Exits 1 if one falls short.
"""

import argparse
import subprocess
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

from polyclinic.app.training import Privacy, train
from polyclinic.conditioning.domain import columns_of, encode
from polyclinic.conditioning.learning import TableOptions
from polyclinic.conditioning.population import Population
from polyclinic.conditioning.settings import CohortConfig
from polyclinic.conditioning.table import TableModel
from polyclinic.core.config import DatasetConfig, load, parse, read_yaml

HERE = Path(__file__).parent
EPSILON, DELTA = 1.0, 1e-6
BARS = {"2-way TV": (0.025, "at most"), "readmission AUROC": (0.59, "at least"), "told apart AUC": (0.72, "at most"),
        "seconds": (60.0, "at most")}  # fmt: skip
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


def readmission(taught: Codes, test: Codes, names: Sequence[str]) -> float:
    """AUROC on real test patients of a logistic regression on one-hot columns."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    at = list(names).index("readmitted")
    rest = [k for k in range(len(names)) if k != at]
    model = make_pipeline(OneHotEncoder(handle_unknown="ignore"), LogisticRegression(max_iter=300))
    model.fit(taught[:, rest], taught[:, at] > 0)
    return float(roc_auc_score(test[:, at] > 0, model.predict_proba(test[:, rest])[:, 1]))


def told_apart(drawn: Codes, test: Codes) -> float:
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
        "told apart AUC": told_apart(table, test),
    }
    cells = "".join(f"{value:>12.4f}" for value in row.values())
    print(f"{name:34}{cells}{'' if seconds is None else f'{seconds:>10.0f} s'}", flush=True)
    return row if seconds is None else {**row, "seconds": seconds}


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
    columns = ("2-way TV", "largest", "AUROC", "told apart", "time")
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
        with tempfile.TemporaryDirectory() as folder:
            given, drawn = Path(folder) / "in.npz", Path(folder) / "out.npz"
            np.savez_compressed(given, codes=real, sizes=sizes, epsilon=EPSILON, delta=DELTA, rows=len(real))
            script = HERE / "population_peers.py"
            subprocess.run([python, "-W", "ignore", script, method, given, drawn], check=True)
            out = np.load(drawn)
            measured(title, out["codes"], held, names, sizes, float(out["seconds"]))


def ours(
    stays: pd.DataFrame, config: DatasetConfig, rows: int, seed: int
) -> tuple[Codes, float, float | None]:
    """Rows drawn from a table learnt by the command's own way, its seconds and its epsilon."""
    with tempfile.TemporaryDirectory() as folder:
        data, out = Path(folder) / "data", Path(folder) / "table.safetensors"
        data.mkdir()
        stays.to_csv(data / "patients.csv", index=False)
        (data / "dataset.yaml").write_text(
            yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False), encoding="utf-8"
        )
        began = time.monotonic()
        card = train("population", data, out, Privacy(EPSILON, DELTA, Path(folder) / "ledger.jsonl", EPSILON))
        model = TableModel.load(out)
        uniforms = np.random.default_rng(seed).random((rows, len(model.columns)))
        table, _ = model.given().codes(uniforms)
        return table, time.monotonic() - began, card.epsilon


def judged(row: dict[str, float], bars: dict[str, tuple[float, str]]) -> int:
    """Each bar with its verdict; how many fell short."""
    missed = 0
    for name, (bar, way) in bars.items():
        good = row[name] <= bar if way == "at most" else row[name] >= bar
        missed += not good
        print(f"  {name:32}{row[name]:>12.4f}  {way} {bar:g}  {'met' if good else 'MISSED'}")
    return missed


def rare(quick: bool) -> int:
    """200 patients with a condition of 0.5 % prevalence, by design and by drawing until enough have it."""
    ward, _ = load(CohortConfig, "general_ward", "cohort")
    pneumothorax = ward.conditions["J93.9"].model_copy(update={"share": 0.005})
    ward = ward.model_copy(update={"conditions": {**ward.conditions, "J93.9": pneumothorax}})
    everybody = Population(ward)
    began = time.process_time()
    meant = Population(ward.model_copy(update={"include": {"J93.9": True}}))
    cohort = list(meant.draw(200, 1))
    designed = time.process_time() - began
    began, found, drawn = time.process_time(), [], 0
    while len(found) < (100 if quick else 400):
        patient = everybody.patient(drawn, 2)
        drawn += 1
        if patient.has("J93.9"):
            found.append(patient)
    rejected = (time.process_time() - began) * 200 / len(found)
    print(
        f"\n200 patients with a condition of {len(found) / drawn:.2%} (J93.9 in general_ward), "
        f"{len(found)} found by rejection"
    )
    for line in meant.told(200):
        print("  " + line)
    compared = list(meant.draw(1000, 3))
    gaps = []
    for name in (
        "age",
        "sex",
        "I10",
        "I50.9",
        "J43.9",
        "J90",
        "A41.9",
        "heart_rate",
        "oxygen_saturation",
        "chest_view",
    ):
        one, other = ([_number(p.get(name)) for p in who] for who in (compared, found))
        error = np.sqrt(np.var(one) / len(one) + np.var(other) / len(other))
        gaps.append(abs(np.mean(one) - np.mean(other)) / error)
        print(
            f"  {name:32}{np.mean(one):>12.3f}{np.mean(other):>12.3f}  {gaps[-1]:.1f} standard errors apart"
        )
    figures = {"times faster than rejection": rejected / designed, "largest gap, standard errors": float(max(gaps)),
               "share who have it": float(np.mean([p.has("J93.9") for p in cohort]))}  # fmt: skip
    bars = {"times faster than rejection": (20.0, "at least"), "largest gap, standard errors": (3.5, "at most"),
            "share who have it": (1.0, "at least")}  # fmt: skip
    return judged(figures, bars)


def _number(value: object) -> float:
    return float(value in ("F", "AP", True)) if isinstance(value, str | bool) else float(str(value))


def joint() -> int:
    """Age by sex by condition as asked, and the rest of each stratum as it is in the population."""
    ward, _ = load(CohortConfig, "general_ward", "cohort")
    strata = [
        {"share": 0.25, "who": {"sex": sex, "age": age, "I50.9": True}}
        for sex in ("F", "M") for age in ([18, 60], [60, 98])
    ]  # fmt: skip
    config = parse(
        CohortConfig, {**ward.model_dump(mode="json", exclude_none=True), "strata": strata}, "joint"
    )
    meant = Population(config)
    cohort = list(meant.draw(2000, 1))
    print("\nfour strata of 25 %: heart failure by sex by age under and over 60, 2,000 patients")
    for line in meant.told(2000):
        print("  " + line)
    shares = []
    for stratum in config.strata:
        (low, high), sex = stratum.who["age"], stratum.who["sex"]
        shares.append(
            np.mean([p.sex == sex and low <= (p.age or 0) <= high and p.has("I50.9") for p in cohort])
        )
    gap = float(max(abs(share - 0.25) for share in shares))
    return judged({"largest gap to a share asked": gap}, {"largest gap to a share asked": (0.03, "at most")})


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
    if not options.quick:
        ungrouped(train_rows, config, test, options)
    missed += rare(options.quick) + joint()
    print("all bars met" if not missed else f"{missed} bars missed")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
