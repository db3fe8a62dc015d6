"""Learn a table model from a training folder, within a privacy budget or from public data."""

import secrets
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field as Setting

from ..core.config import DatasetConfig, Settings, parse
from ..core.errors import InputError
from ..core.vocabulary import field
from .domain import ColumnConfig, columns_of, encode
from .mechanism import ROUNDS, learn, releases, shares
from .table import POPULATION, TableModel
from .tables_in import read_patients

if TYPE_CHECKING:
    from ..core.train import Fit
    from ..core.weights import Weights

ENOUGH = 20.0  # patients for each standard deviation of noise on a column's counts


class TableOptions(Settings):
    """`options` of a dataset.yaml for a table of patients: its own columns, and how profile fields are binned."""

    modality: str = POPULATION
    columns: dict[str, ColumnConfig] = Setting(default_factory=dict)


def learn_table(config: DatasetConfig, root: Path, fit: "Fit") -> "Weights":
    """The joint distribution of a table's profile fields and own columns, one row a patient.

    With fit.budget the run is charged before any count is taken: 1 + 2 ROUNDS Gaussian mechanisms on all
    patients. Raises InputError before that for a folder or a budget that will not do, and BudgetExceeded.
    """
    from ..core.ledger import end_run, pay
    from ..core.privacy import PrivacyPlan, noise_for
    from ..core.weights import Card, DataUsed, figures

    began, name = time.monotonic(), config.name or root.resolve().name
    where = f"{root}: dataset.yaml"
    options = parse(TableOptions, dict(config.options), f"{where}: options")
    if options.modality != POPULATION:
        raise InputError(f"{where}: options.modality is {options.modality!r}, expected {POPULATION!r}")
    for wanted in config.fields:
        field(wanted, f"{where}: fields")
    columns = columns_of(config.fields, options.columns, where)
    sources = [
        config.fields[c.name].column if c.name in config.fields else options.columns[c.name].column or c.name
        for c in columns
    ]
    table, rows = read_patients(config, root, sources)
    codes = encode(table, columns, config.fields, options.columns, name)
    patients = len(codes)
    said: dict[str, Any] = {"privacy": "public"}
    noise = [0.0] * len(releases())
    if fit.budget is not None:
        fit.budget.check(patients)
        noise = noise_for(fit.budget, shares())
        if patients < ENOUGH * noise[0] * len(columns) ** 0.5:
            raise InputError(
                f"{name}: {patients} patients are too few for {len(columns)} columns at epsilon "
                f"{fit.budget.epsilon:g}; raise epsilon, or learn fewer columns"
            )
        plans = {
            f"{POPULATION}: {what}": PrivacyPlan.once(patients, multiplier, fit.budget.delta, what)
            for what, multiplier in zip(releases(), noise, strict=True)
        }
        said = pay(replace(fit, precision="32-true"), plans, name)
    # noise has its own source: a seed that somebody knows would take it off again
    entropy = np.random.default_rng(secrets.randbits(128))
    model = TableModel(columns, learn(codes, [column.size for column in columns], noise, entropy))
    end_run(fit.folder)
    used = DataUsed(
        name=name, licence=config.licence, citation=config.citation, rows=rows, patients=patients,
        split=config.train if config.split else "all", privacy=str(said["privacy"]),
    )  # fmt: skip
    card = Card(
        name=POPULATION, modality=POPULATION, kind="graphical model of a table", data=[used], steps=ROUNDS,
        seconds=round(time.monotonic() - began, 1), columns=[c.name for c in columns], model={},
        figures=figures(pairs=float(sum(len(group) == 2 for group in model.learnt.factors))), **said,
    )  # fmt: skip
    return model.save(card)
