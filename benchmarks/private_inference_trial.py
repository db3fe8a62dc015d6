"""A trial whose truth is known, for private_inference.py: bias of three estimators on real and private synthetic rows.

Patients are simulated by the population's own rules (TRIAL): who gets the treatment depends on age and two diseases,
which the outcome depends on too. The effect on each patient is known exactly: the outcome of twins, drawn under both
arms from the same random numbers.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from polyclinic import inference
from polyclinic.app.training import Privacy, train
from polyclinic.conditioning.design.cohort_config import CohortConfig
from polyclinic.conditioning.population import Population
from polyclinic.core.config import parse
from polyclinic.eval.regression import Estimates

EPSILON, DELTA, TWINS = 1.0, 1e-6, 500
BIAS = 0.10  # of the effect: the most that adjusted estimators may be off, in the mean of the runs
CONFOUNDERS = ("age", "I50.9", "N18.9")
TRIAL: dict[str, Any] = {
    "name": "trial", "index_date": {"first": "2024-01-01", "last": "2024-12-31"},
    "age": {"mean": 66, "sd": 12, "low": 40, "high": 95},
    "conditions": {"I50.9": {"share": 0.3, "per_decade": 1.5}, "N18.9": {"share": 0.2, "per_decade": 1.4}},
    "declare": {"treated": {"kind": "flag"}, "walk": {"kind": "number", "unit": "m", "range": [0, 900], "decimals": 0}},
    "fields": {
        "treated": {"share": 0.5, "per_decade": 0.7, "given": {"I50.9": 2.5, "N18.9": 0.4}},
        "walk": {"mean": 420, "sd": 70, "per_decade": -25, "given": {"I50.9": -60, "N18.9": -40, "treated": 30}},
    },
}  # fmt: skip
FLAG = {"values": {"True": True, "False": False}}
DATASET: dict[str, Any] = {
    "name": "trial", "patient_id": "id", "split": None, "declare": TRIAL["declare"],
    "fields": {"sex": {"column": "sex"}, "age": {"column": "age"}, "walk": {"column": "walk"},
               **{name: {"column": name, **FLAG} for name in ("I50.9", "N18.9", "treated")}},
    "options": {
        "columns": {
            **{name: {"missing": False} for name in ("sex", "I50.9", "N18.9", "treated")},
            "age": {"bins": [40, 50, 55, 60, 65, 70, 75, 80, 85, 96], "decimals": 1, "missing": False},
            "walk": {"bins": [0, 200, 250, 300, 350, 400, 450, 500, 550, 600, 900], "missing": False},
        },
        "inference": 0.5,
    },
}  # fmt: skip


def simulated(patients: int, seed: int) -> tuple[pd.DataFrame, np.ndarray[Any, np.dtype[np.float64]]]:
    """A table of patients as they were treated, and the effect on each of some of them."""
    population = Population(parse(CohortConfig, TRIAL, "trial"))
    names = ("age", "sex", "I50.9", "N18.9", "treated", "walk")
    rows = [
        {"id": one.patient_id, **{n: one.get(n) for n in names}} for one in population.draw(patients, seed)
    ]
    arms = [
        [population.twin(k, seed, {"treated": arm}).get("walk") for arm in (True, False)]
        for k in range(TWINS)
    ]
    return pd.DataFrame(rows), np.array([float(a) - float(b) for a, b in arms])  # type: ignore[arg-type]


def estimators(table: pd.DataFrame) -> dict[str, Estimates]:
    """What each makes of the effect."""
    known = table.assign(**{name: table[name].astype(float) for name in (*CONFOUNDERS, "treated", "walk")})
    adjusted = inference.linear(known, "walk", ("treated", *CONFOUNDERS))
    return {
        "unadjusted": inference.linear(known, "walk", ("treated",)),
        "adjusted by regression": Estimates(
            adjusted.terms[:1], adjusted.values[:1], adjusted.variances[:1], adjusted.rows
        ),
        "inverse probability weights": inference.ipw(known, "walk", "treated", CONFOUNDERS),
    }  # fmt: skip


def trial(folder: Path, quick: bool) -> int:
    """Print each estimator's bias; how many bars fell short."""
    runs, patients, sets = (3, 20_000, 10) if quick else (10, 20_000, 20)
    bias: dict[str, list[tuple[float, float, bool, bool]]] = {}
    for run in range(runs):
        table, effects = simulated(patients, run)
        truth = float(effects.mean())
        data = folder / str(run)
        data.mkdir(parents=True)
        table.to_csv(data / "patients.csv", index=False)
        (data / "dataset.yaml").write_text(yaml.safe_dump(DATASET, sort_keys=False), encoding="utf-8")
        out = data / "trial.safetensors"
        train("population", data, out, Privacy(EPSILON, DELTA, data / "ledger.jsonl", EPSILON))
        drawn = [estimators(one) for one in inference.draw_sets(out, sets, seed=run)]
        for name, real in estimators(table).items():
            whole = inference.combine([one[name] for one in drawn])
            covers = [
                bool(t.low.iloc[0] <= truth <= t.high.iloc[0])
                for t in (whole.intervals(), drawn[0][name].intervals())
            ]
            bias.setdefault(name, []).append((real.values[0] - truth, whole.values[0] - truth, *covers))
    print(
        f"\na trial of {patients} simulated patients, {runs} runs, epsilon {EPSILON:g}: effect {truth:.1f} m "
        f"(twins; from {effects.min():.1f} to {effects.max():.1f}), bias in m\n"
        f"{'':32}{'real':>9}{'synthetic':>11}{'covers':>9}{'naive':>9}"
    )
    missed = 0
    for name, found in bias.items():
        real, ours, covers, naive = np.mean(np.array(found, dtype=float), axis=0)
        print(f"{name:32}{real:>9.2f}{ours:>11.2f}{covers:>9.2f}{naive:>9.2f}")
        if name != "unadjusted":
            good = abs(ours) <= BIAS * truth
            missed += not good
            print(
                f"  {'bias over effect':42}{abs(ours) / truth:>9.3f}  bar {BIAS:g}  {'met' if good else 'FALLS SHORT'}"
            )
    return missed
