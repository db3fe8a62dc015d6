"""Inference that survives: intervals from synthetic sets of a private table, and what a trial would conclude.

    python benchmarks/private_inference.py [--data DIR] [--quick] [--only associations|trial|dpmm] [--dpmm PYTHON]

Learns 20 columns of diabetes130's train patients (the first stay of each) at epsilon 1, delta 1e-6 through `polyclinic
train population` with `inference` among its options, draws 20 sets (--quick: 10), and fits 10 regressions on each and
in 8 subgroups (private_inference_cases.py; they were named before a test row was looked at). Of the 20 associations:

- coverage of the train patients' own value, and of the test patients', whose sampling variance is added
  to the interval's, since the test value is an estimate too;
- width over that of the real train patients' interval, and wrong signs where the real |z| is over 3.

Beside it in the same run: the floor, which is the interval of one random half of the real train patients, held
against the other half's value (in the column of train values, and so is its width) and against the test patients'.
The other half's sampling variance is not added, so that 0.83 is expected of it where 0.95 is nominal. Then the same
sets with naive intervals (one set, taken as if it were real), the table model without `inference` and all of epsilon
for it (naive), and with --dpmm the MST of dpmm in its own environment (naive). Then a trial whose truth is known
(private_inference_trial.py): the bias of three estimators on real and on private synthetic patients. Bars were set
beforehand. Exits 1 if one falls short.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from population import coded as codes_of
from population import patients
from population_peers import asked as asked_peer
from private_inference_cases import ANALYSES, SUBGROUPS, Analysis, coded
from private_inference_trial import trial
from scipy.stats import t as student

from polyclinic import inference
from polyclinic.app.training import Privacy, train
from polyclinic.conditioning.table.cells import encode, values
from polyclinic.conditioning.table.domain import columns_of
from polyclinic.conditioning.table.learning import TableOptions
from polyclinic.conditioning.table.table_model import TableModel
from polyclinic.core.config import DatasetConfig, parse, read_yaml
from polyclinic.core.errors import InputError
from polyclinic.eval.inference import FEWEST_SETS
from polyclinic.eval.regression import Estimates

HERE = Path(__file__).parent
EPSILON, DELTA, SETS = 1.0, 1e-6, 20
COVERAGE, WIDTH = 0.90, 3.0
Answers = dict[
    tuple[str, str, str], tuple[float, float, float]
]  # estimate, standard error, degrees of freedom


def config_of(share: float | None) -> DatasetConfig:
    """diabetes130.yaml with age in its decades, as it was recorded."""
    raw = read_yaml(HERE / "diabetes130.yaml")
    raw["fields"].pop("age")
    raw["options"]["columns"].pop("age")
    raw["options"]["columns"]["decade"] = {"bins": list(range(11)), "missing": False}
    if share is not None:
        raw["options"]["inference"] = share
    return parse(DatasetConfig, raw, "diabetes130.yaml")


def as_drawn(stays: pd.DataFrame, config: DatasetConfig) -> pd.DataFrame:
    """Real rows by column as a table model draws them."""
    options = parse(TableOptions, dict(config.options), "options")
    columns = columns_of(config.fields, options.columns, "benchmark")
    codes = encode(stays, columns, config.fields, options.columns, "diabetes130")
    return pd.DataFrame(values(stays, columns, codes, config.fields, options.columns, "diabetes130"))


def asked() -> list[tuple[str, Callable[[pd.DataFrame], "pd.Series[bool]"] | None, Analysis]]:
    """Every regression: on all, then in the subgroups."""
    groups = [("all", None), *SUBGROUPS.items()]
    return [(name, holds, analysis) for name, holds in groups for analysis in ANALYSES]


def answered(sets: Sequence[pd.DataFrame], many: bool) -> Answers:
    """Estimates by subgroup, regression and term: of several sets combined, or of one as if it were real."""
    found: Answers = {}
    for name, holds, analysis in asked():
        fits: list[Estimates] = []
        for table in sets:
            try:
                fits.append(analysis.fit(table if holds is None else table[holds(table)]))
            except InputError:  # a set so poor that there is no estimate counts as not covered
                continue
        if len(fits) < (FEWEST_SETS if many else 1) or not fits[0].terms:
            continue
        if many:
            whole = inference.combine(fits)
            for k, term in enumerate(whole.terms):
                found[name, analysis.title, term] = (whole.values[k], whole.errors[k], whole.freedom[k])
        else:
            for k, term in enumerate(fits[0].terms):
                found[name, analysis.title, term] = (fits[0].values[k], fits[0].variances[k] ** 0.5, np.inf)
    return found


@dataclass(frozen=True)
class Figures:
    """Of some associations: coverage of the train and of the test value, mean width over real, wrong signs."""

    train: float
    test: float
    width: float
    wrong: int
    number: int


def figures(ours: Answers, train_rows: Answers, test: Answers, within: bool) -> Figures:
    """All associations, or those in subgroups alone."""
    covered, tested, widths, wrong = [], [], [], 0
    for key, (real, error, _) in train_rows.items():
        if (key[0] == "all") == within or key not in test:
            continue
        value, own, freedom = ours.get(key, (np.nan, np.nan, np.inf))
        reach = student.ppf(0.975, freedom)
        held, held_error, _ = test[key]
        covered.append(abs(value - real) <= reach * own)
        tested.append(abs(value - held) <= reach * np.hypot(own, held_error))
        widths.append(reach * own / (student.ppf(0.975, np.inf) * error))
        wrong += bool(abs(real / error) > 3 and value * real < 0)
    return Figures(
        float(np.mean(covered)), float(np.mean(tested)), float(np.nanmean(widths)), wrong, len(covered)
    )


def shown(title: str, ours: Answers, train_rows: Answers, test: Answers) -> tuple[Figures, Figures]:
    """Print a row for all patients and one for subgroups."""
    found = tuple(figures(ours, train_rows, test, within) for within in (False, True))
    for where, one in zip(("all", "subgroups"), found, strict=True):
        print(f"{title:44}{where:>10}{one.number:>5}{one.train:>9.3f}{one.test:>9.3f}{one.width:>8.2f}{one.wrong:>7}",
              flush=True)  # fmt: skip
    return found[0], found[1]


def learnt(stays: pd.DataFrame, config: DatasetConfig, folder: Path) -> Path:
    """A table learnt by the command's own way."""
    data = folder / "data"
    data.mkdir(parents=True)
    stays.to_csv(data / "patients.csv", index=False)
    text = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)
    (data / "dataset.yaml").write_text(text, encoding="utf-8")
    out = folder / "table.safetensors"
    train("population", data, out, Privacy(EPSILON, DELTA, folder / "ledger.jsonl", EPSILON))
    return out


def peer(python: str, stays: pd.DataFrame, config: DatasetConfig) -> pd.DataFrame:
    """Rows of dpmm's MST, decoded; numbers lie evenly in their bins."""
    codes, _, sizes = codes_of(stays, config)
    drawn, _ = asked_peer(python, "dpmm_mst", codes, sizes, (EPSILON, DELTA), len(codes))
    options = parse(TableOptions, dict(config.options), "options")
    columns = columns_of(config.fields, options.columns, "benchmark")
    places = np.random.default_rng(0).random(drawn.shape)
    return pd.DataFrame({c.name: c.decode(drawn[:, k], places[:, k]) for k, c in enumerate(columns)})


def peer_shown(
    python: str | None, stays: pd.DataFrame, config: DatasetConfig, real: tuple[Answers, Answers]
) -> None:
    """Print the rows of dpmm's MST, held against the train rows' and the test rows' answers."""
    if python is None:
        print(f"{'MST of dpmm':44}not run: its environment was not given")
        return
    rows = coded(peer(python, stays, config))
    shown("MST of dpmm, naive", answered([rows], many=False), *real)


def associations(options: argparse.Namespace, folder: Path) -> int:
    """The 20 associations; how many bars fell short."""
    config = config_of(0.5)
    stays = patients(options.data)
    stays = stays.assign(decade=stays["age"].str.extract(r"\[(\d+)-")[0].astype(int) // 10)
    one_each = {s: stays[stays["split"] == s].drop_duplicates("patient_nbr") for s in ("train", "test")}
    real = {name: coded(as_drawn(rows, config)) for name, rows in one_each.items()}
    train_rows, test = (answered([real[name]], many=False) for name in ("train", "test"))
    half = np.random.default_rng(0).permutation(len(real["train"])) < len(real["train"]) // 2
    print(
        f"{len(real['train'])} train, {len(real['test'])} test patients, epsilon {EPSILON:g}, delta {DELTA:g}\n"
        f"{'':44}{'':>10}{'':>5}{'covers':>9}{'covers':>9}{'width':>8}{'wrong':>7}\n"
        f"{'':44}{'patients':>10}{'n':>5}{'train':>9}{'test':>9}{'/ real':>8}{'signs':>7}"
    )
    first, second = (answered([real["train"][part]], many=False) for part in (half, ~half))
    shown("real half; train: the other half (floor)", first, second, test)
    if options.only == "dpmm":
        peer_shown(options.dpmm, one_each["train"], config, (train_rows, test))
        return 0
    sets = options.sets or (SETS // 2 if options.quick else SETS)
    began = time.process_time()
    table = learnt(one_each["train"], config, folder / "ours")
    drawn = [coded(one) for one in inference.draw_sets(table, sets, seed=1)]
    seconds = time.process_time() - began
    ours = answered(drawn, many=True)
    everyone, subgroups = shown(f"ours, {sets} sets combined", ours, train_rows, test)
    shown("the same, one set, naive", answered(drawn[:1], many=False), train_rows, test)
    plain = TableModel.load(learnt(one_each["train"], config_of(None), folder / "plain"))
    rows = coded(plain.sample(len(real["train"]), 1))
    shown("table model without inference, naive", answered([rows], many=False), train_rows, test)
    peer_shown(options.dpmm, one_each["train"], config, (train_rows, test))
    print(f"\n{'association, all patients':44}{'train':>9}{'test':>9}{'ours':>9}{'low':>9}{'high':>9}")
    for key, (value, own, freedom) in ours.items():
        if key[0] == "all":
            reach = student.ppf(0.975, freedom) * own
            print(f"{key[1]} ~ {key[2]}".ljust(44) + f"{train_rows[key][0]:>9.3f}{test[key][0]:>9.3f}{value:>9.3f}"
                  f"{value - reach:>9.3f}{value + reach:>9.3f}")  # fmt: skip
    print(f"\nlearning and drawing {sets} sets: {seconds:.0f} s of a processor")
    missed = 0
    for where, one in (("all", everyone), ("subgroups", subgroups)):
        for what, value, bar, good in (
            ("coverage of the test value", one.test, COVERAGE, one.test >= COVERAGE),
            ("coverage of the train value", one.train, COVERAGE, one.train >= COVERAGE),
            ("mean width over real", one.width, WIDTH, one.width <= WIDTH),
            ("wrong signs where |z| > 3", one.wrong, 0, one.wrong == 0),
        ):
            missed += not good
            print(f"  {what + ', ' + where:44}{value:>9.3f}  bar {bar:g}  {'met' if good else 'FALLS SHORT'}")
    return missed


def main() -> int:
    """Print the tables; 0 if all bars are met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument(
        "--quick", action="store_true", help="10 sets in place of 20, 3 trials in place of 10"
    )
    parser.add_argument(
        "--only",
        choices=("associations", "trial", "dpmm"),
        help="one of the two parts, or dpmm beside the floor",
    )
    parser.add_argument("--sets", type=int, help="so many sets")
    parser.add_argument("--dpmm", help="Python of an environment with dpmm")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        missed = 0
        if options.only != "trial":
            missed += associations(options, Path(folder))
        if options.only not in ("associations", "dpmm"):
            missed += trial(Path(folder) / "trial", options.quick)
    judged = "no bar is dpmm's" if options.only == "dpmm" else "all bars met"
    print(f"\n{missed} bars missed" if missed else f"\n{judged}")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
