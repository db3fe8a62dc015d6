"""Learn a table model from a training folder, within a privacy budget or from public data."""

import secrets
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field as Setting

from ...core.config import DatasetConfig, Settings, parse
from ...core.errors import InputError, listed
from ...core.fields import CONSTRAINTS, Declaration, Vocabulary
from ...core.registry import vocabulary
from ...core.remarks import remark
from ...core.types import IntArray
from ..dataset.dataset import vocabulary_of
from ..dataset.profile_tables import read_patients
from ..dataset.rows import attempt, require_fields
from .cells import encode, source_of, values
from .constraints import Constraint, possible_levels
from .coupling import couplings
from .domain import Charged, Column, ColumnConfig, columns_of
from .mechanism import ROUNDS, learn, mechanisms, rounds_for, shares
from .moments import measure_moments
from .private_domain import SHARE, charged_columns, failures, learn_domains, unlearnt
from .shape import curves
from .table_model import POPULATION, TableModel

if TYPE_CHECKING:
    import pandas as pd

    from ...core.dp.budget import Budget, PrivacyPlan
    from ...core.training.fit import Fit
    from ...core.training.weights import Weights

DRAWN = 20_000  # rows of the model, by which features are scaled
ENOUGH = 20.0  # patients for each standard deviation of noise on a column's counts


class TableOptions(Settings):
    """`options` of a dataset.yaml for a table of patients: other columns, bins of profile fields, and constraints.

    `inference` is the share of the budget that goes to the moments which intervals rest on (moments.py). A constraint
    is `COLUMN > COLUMN` or `COLUMN > NUMBER` (or <, >=, <=). Those of configs/fields.yaml hold by
    themselves between the fields that a table has.
    """

    modality: str = POPULATION
    columns: dict[str, ColumnConfig] = Setting(default_factory=dict)
    constraints: list[str] = Setting(default_factory=list)
    inference: float | None = Setting(default=None, gt=0, lt=1)


def learn_table(config: DatasetConfig, root: Path, fit: "Fit") -> "Weights":
    """The joint distribution of a table's profile fields and other columns, one row a patient.

    With fit.budget the run is charged before any count is taken: 1 + 2 ROUNDS Gaussian mechanisms on all
    patients (two where patients are few), and one more where domains are charged.
    Raises InputError before that for a folder or a budget
    that will not do, and BudgetExceeded.
    """
    from ...core.dp.ledger import end_run, pay
    from ...core.training.weights import Card, DataUsed, figures

    began, name = time.monotonic(), config.name or root.resolve().name
    where = f"{root}: dataset.yaml"
    options = parse(TableOptions, dict(config.options), f"{where}: options")
    if options.modality != POPULATION:
        raise InputError(f"{where}: options.modality is {options.modality!r}, expected {POPULATION!r}")
    known, domains = _declared(config, root, options.columns, fit.budget is not None)
    charged = charged_columns(config.fields, domains, known)
    domains |= {name: unlearnt(column) for name, column in charged.items()}
    columns = columns_of(config.fields, domains, where, known)
    sources = [
        source_of(c.name, config.fields.get(c.name), domains.get(c.name, ColumnConfig())) for c in columns
    ]
    table, read = read_patients(config, root, sources)
    _name_unused(
        table, {*sources, config.patient_id, config.split, config.record, *config.groups.values()}, where
    )
    # what cannot be read is refused here, before anything is charged
    codes = encode(table, columns, config.fields, domains, name, tell=True)
    patients = len(codes)
    constraints = _constraints(options.constraints, columns, where)
    said: dict[str, Any] = {"privacy": "public"}
    failure = failures(charged, fit.budget.delta if fit.budget else 0.0)
    noise = [0.0] * (1 + len(mechanisms()))
    if fit.budget is not None:
        fit.budget.check(patients)
        plans = _plans(fit.budget, patients, len(columns), charged, sum(failure.values()), options.inference)
        noise = [0.0] * (not charged) + [plan.noise_multiplier for plan in plans.values()]
        if patients < ENOUGH * noise[1] * len(columns) ** 0.5:
            raise InputError(
                f"{name}: {patients} patients are too few for {len(columns)} columns at epsilon "
                f"{fit.budget.epsilon:g}; raise epsilon, or learn fewer columns"
            )
        people = tuple(map(str, table[config.patient_id]))
        said = pay(replace(fit, precision="32-true", people=people), plans, name)
    # noise has a separate source: with a known seed it could be subtracted
    entropy = np.random.default_rng(secrets.randbits(128))
    if charged:
        domains |= learn_domains(table, charged, config.fields, noise[0], failure, entropy, name)
        columns = columns_of(config.fields, domains, where, known)
        codes = encode(table, columns, config.fields, domains, name)
    on_moments = noise.pop() if options.inference is not None and fit.budget is not None else 0.0
    model = _modelled(columns, codes, noise[1:], entropy, constraints, where)
    if options.inference is not None:
        drawn = model.values(model.given(), entropy.random((DRAWN, len(columns))))
        real = values(table, columns, codes, config.fields, domains, name)
        model = model.with_moments(measure_moments(columns, real, drawn, on_moments, entropy))
    end_run(fit.folder)
    used = DataUsed(
        name=name, licence=config.licence, citation=config.citation, rows=read, patients=patients,
        split=config.train if config.split else "all", privacy=str(said["privacy"]),
    )  # fmt: skip
    card = Card(
        name=POPULATION, modality=POPULATION, kind="graphical model of a table", data=[used], steps=ROUNDS,
        seconds=round(time.monotonic() - began, 1), columns=[c.name for c in columns], model={},
        declared={c.name: _declaration(known, c) for c in columns if c.name in known and known.field(c.name).declared},
        figures=figures(pairs=float(sum(len(group) == 2 for group in model.graphical.factors))), **said,
    )  # fmt: skip
    return model.save(card)


def _name_unused(table: "pd.DataFrame", used: Collection[str | None], where: str) -> None:
    """Say which columns of the table are not learnt."""
    if extra := [str(name) for name in table.columns if name not in used]:
        remark(
            f"{where}: columns that are not learnt, since neither fields nor options.columns name them: {listed(extra)}"
        )


def _constraints(given: Sequence[str], columns: Sequence[Column], where: str) -> list[Constraint]:
    """The declared constraints and the vocabulary's own. Raises InputError."""
    key = f"{where}: options.constraints"
    found = attempt(lambda text: Constraint.parse(text, columns, key), given)
    numbers = {column.name for column in columns if column.kind == "number"}
    for text in CONSTRAINTS:
        if {text.split()[0], text.split()[2]} <= numbers:
            found.append(Constraint.parse(text, columns, "fields.yaml"))
    possible_levels(found, columns, key)
    return found


def _modelled(
    columns: Sequence[Column],
    codes: IntArray,
    noise: Sequence[float],
    rng: np.random.Generator,
    constraints: Sequence[Constraint],
    where: str,
) -> TableModel:
    """The table's model: learnt levels, then by post-processing shapes within bins and couplings of ranks."""
    numbers = {k: column.edges for k, column in enumerate(columns) if column.kind == "number"}
    possible = possible_levels(constraints, columns, where)
    learnt = learn(codes, [column.size for column in columns], noise, rng, numbers, possible)
    model = TableModel(columns, learnt)
    shaped = list(columns)
    for k in numbers:
        shares = model.level_shares(k)[: len(columns[k].levels)]
        shaped[k] = replace(columns[k], curves=curves(columns[k].ends.tolist(), shares))
    bins = {k: len(ends) - 1 for k, ends in numbers.items()}
    coupled = couplings(model.order, bins, model.pair_shares()) if len(bins) > 1 else ()
    return TableModel(shaped, learnt, couplings=coupled, constraints=constraints)


def _declared(
    config: DatasetConfig, root: Path, extra: Mapping[str, ColumnConfig], private: bool
) -> tuple[Vocabulary, dict[str, ColumnConfig]]:
    """The vocabulary and the columns' domains. Classes that are not stated are learnt, and charged where private.

    Raises InputError for a range that is not stated of private data: its ends would be two patients' own.
    """
    where, domains = f"{root}: dataset.yaml", dict(extra)
    known = vocabulary().declare(config.declare, where)
    require_fields(config.fields, known, where)
    ranges = {}
    for field in known.declared:
        if field.settled or field.name not in config.fields:
            continue
        if field.kind == "category":
            domains[field.name] = domains.get(field.name, ColumnConfig()).model_copy(
                update={"charged": Charged()}
            )
        else:
            ranges[field.name] = config.declare[field.name]
    if ranges:
        numbers = config.model_copy(update={"declare": ranges})
        known = known.settle(vocabulary_of(numbers, root / config.path, where, private).declared)
    return known, domains


def _declaration(known: Vocabulary, column: Column) -> Declaration:
    """A declared field as it was learnt, for the card."""
    found = known.field(column.name).declaration()
    if column.kind == "words":
        found["classes"] = list(column.levels)
    return Declaration(**found)


def _plans(
    budget: "Budget",
    patients: int,
    columns: int,
    charged: Collection[str],
    failure: float,
    inference: float | None = None,
) -> dict[str, "PrivacyPlan"]:
    """The mechanisms by purpose: the domains', if any are charged, those of mechanisms(), and those of inference."""
    from ...core.dp.budget import PrivacyPlan, noise_for

    domains = SHARE if charged else 0.0
    parts = {f"domains of {', '.join(charged)}": domains} if charged else {}
    without = replace(budget, delta=budget.delta - failure)
    rounds = rounds_for(patients, columns, noise_for(without, [1.0])[0])
    left = 1 - domains
    if inference is not None:
        left *= 1 - inference
    parts |= {what: left * share for what, share in zip(mechanisms(rounds), shares(rounds), strict=True)}
    if inference is not None:
        parts["moments of all pairs"] = (1 - domains) * inference
    noise = noise_for(without, list(parts.values()))
    plans = {
        f"{POPULATION}: {what}": PrivacyPlan.once(patients, multiplier, budget.delta, what)
        for what, multiplier in zip(parts, noise, strict=True)
    }
    first = next(iter(plans))  # the words are among the domains
    return {**plans, first: replace(plans[first], failure=failure)}
