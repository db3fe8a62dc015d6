"""PatientTable: tables of patients (CSV, Parquet, FHIR, OMOP) as a modality that compare judges; one row a patient."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..conditioning.dataset.dataset import vocabulary_of
from ..conditioning.dataset.fhir_bulk import coded_columns, is_fhir_folder
from ..conditioning.dataset.profile_tables import read_patients
from ..conditioning.dataset.rows import attempt, values_of
from ..conditioning.table.table_model import POPULATION
from ..core.config import DatasetConfig, FieldMap
from ..core.errors import InputError, listed
from ..core.fields import class_of
from ..core.modality import DatasetSource, Record, Rows, Task, TrainingSet, View
from ..core.profile import PatientProfile
from ..core.remarks import remark

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame, Series

ROW, CELLS = "row", "cells"  # the array of a record that says it is one, and the fact that holds its values
FHIR_FIELDS = {
    "age": FieldMap(column="age"),
    "sex": FieldMap(column="gender", values={"male": "M", "female": "F", "other": None, "unknown": None}),
}
COLOURS = ("#1f77b4", "#ff7f0e")  # of real and of synthetic patients in the picture
LEVELS, TASKS = 12, 12  # classes of a column, and columns that are labels, at most
CODES = 60  # commonest codes of an export that become columns
COMMON = (
    0.02  # the least share of patients, of those who have the commonest code, for a code to become a column
)
ENOUGH = 40  # patients of a label's second commonest class, in all tables together
MISSING = 0.02  # from this share of empty cells on, being empty is a feature of its own


def fhir_config(folder: Path) -> DatasetConfig:
    """What a folder of FHIR resources needs no dataset.yaml to say."""
    return DatasetConfig(
        name=folder.resolve().name,
        table=".",
        split=None,
        fields=FHIR_FIELDS,
        options={"modality": POPULATION},
    )


def read_tables(
    sides: Sequence[tuple[DatasetConfig, Path, str]],
) -> "tuple[PatientTable, list[TrainingSet]]":
    """The modality that judges some tables, and the rows of each (config, folder, split).

    The columns are those that all have, fields under the names of the vocabulary. Raises InputError.
    """
    config, folder, _ = sides[0]
    coded = _codes(folder / config.path / (config.table or "."))
    read = [_read(*side, coded) for side in sides]
    shared = [name for name in read[0][1].columns if all(name in table.columns for _, table in read)]
    if only := [str(name) for name in read[0][1].columns if name not in shared]:
        remark(f"columns of {folder} that the others do not have are left out: {listed(only)}")
    if not shared:
        raise InputError(f"{folder}: no column of its table is in all the tables to compare; name them alike")
    return PatientTable.of([table[shared] for _, table in read]), [
        _with_cells(rows, table[shared]) for rows, table in read
    ]


def _codes(path: Path) -> list[str]:
    """Coded columns of an export that enough patients have, the commonest first."""
    if not is_fhir_folder(path):
        return []
    counts = coded_columns(path)
    most = max(counts.values(), default=0)
    return [name for name, count in counts.most_common(CODES) if count >= COMMON * most]


def _read(
    config: DatasetConfig, folder: Path, split: str, coded: Sequence[str]
) -> "tuple[TrainingSet, DataFrame]":
    import pandas as pd

    name = config.name or folder.resolve().name
    known = vocabulary_of(config, folder / config.path, name)
    named = [mapping.column for mapping in config.fields.values()]
    table, _ = read_patients(config, folder, [*named, *coded], split)
    if missing := [column for column in named if column not in table.columns]:
        raise InputError(
            f"{folder}: no column {missing[0]!r}; the table has: {listed(list(map(str, table)))}"
        )
    cells = table.to_dict("records")
    values = attempt(lambda row: values_of(row, config, known, str(folder)), cells)
    ids = tuple(table[config.patient_id])
    profiles = tuple(
        known.with_values(PatientProfile(own), found, str(folder))
        for own, found in zip(ids, values, strict=True)
    )
    besides = [c for c in table.columns if c not in {config.patient_id, config.split, *named}]
    own = pd.DataFrame(values, columns=list(config.fields))
    plain = table[besides].reset_index(drop=True)
    source = DatasetSource(name, config.licence, config.citation)
    rows = TrainingSet(folder, source, ids, profiles, (), split, config.options, known)
    return rows, pd.concat([own, plain], axis=1)


def _with_cells(rows: TrainingSet, table: "DataFrame") -> TrainingSet:
    cells = dict(zip(rows.records, table.to_dict("records"), strict=True))
    return TrainingSet(
        rows.root, rows.source, rows.records, rows.profiles, (), rows.split, {CELLS: cells}, rows.vocabulary
    )


@dataclass(frozen=True)
class Number:
    """A column of numbers; an empty cell becomes the median, and a feature of its own where it is common."""

    median: float
    gaps: bool

    def features(self, name: str, values: Sequence[Any]) -> "dict[str, Any]":
        """Columns of the feature table."""
        found = np.array([_number(value) for value in values])
        empty = np.isnan(found)
        own = {name: np.where(empty, self.median, found)}
        return own | ({f"{name} is empty": empty.astype(float)} if self.gaps else {})


@dataclass(frozen=True)
class Classes:
    """A column of classes, each a feature that is 1 or 0. second: how many patients have the second commonest."""

    levels: tuple[str, ...]
    second: int

    def features(self, name: str, values: Sequence[Any]) -> "dict[str, Any]":
        """Columns of the feature table."""
        words = np.array([_word(value) for value in values])
        shown = self.levels[1:] if len(self.levels) == 2 else self.levels  # two classes are one feature
        return {f"{name} is {level}": (words == level).astype(float) for level in shown}


def _number(value: Any) -> float:
    try:
        found = float(value)
    except (TypeError, ValueError):
        return float("nan")
    return found if np.isfinite(found) else float("nan")


def _word(value: Any) -> str:
    empty = value is None or (isinstance(value, float) and np.isnan(value))
    return "" if empty else class_of(value)


class PatientTable:
    """Tables of patients as eval looks at them; see core.modality.Modality. It draws and writes nothing."""

    name = POPULATION

    def __init__(self, columns: Mapping[str, Number | Classes]) -> None:
        self.columns = dict(columns)

    @classmethod
    def of(cls, tables: "Sequence[DataFrame]") -> "PatientTable":
        """The kinds of the columns, from all tables together. Free text is left out, with a remark."""
        import pandas as pd

        together = pd.concat(tables, ignore_index=True)
        found = {str(name): _kind(together[name]) for name in together.columns}
        if free := [name for name, kind in found.items() if kind is None]:
            remark(f"columns of free text, of dates or without any value are not compared: {listed(free)}")
        columns = {name: kind for name, kind in found.items() if kind is not None}
        if not columns:
            raise InputError("the tables share no column of numbers or of at most 12 classes")
        return cls(columns)

    def load(self, data: TrainingSet) -> list[Record]:
        """The rows of a set that read_tables has made."""
        return [Record({ROW: np.zeros(1)}, {CELLS: data.options[CELLS][own]}) for own in data.records]

    def features(self, records: Sequence[Record]) -> "DataFrame":
        """(record, feature)."""
        import pandas as pd

        found: dict[str, Any] = {}
        for name, kind in self.columns.items():
            found |= kind.features(name, [record.facts[CELLS].get(name) for record in records])
        return pd.DataFrame(found)

    def views(self) -> list[View]:
        """One: a row a patient; every column of few classes is a task, which its own features do not state."""
        empty = [Record({}, {CELLS: {}})]
        tasks: list[Task] = []
        states: dict[str, tuple[str, ...]] = {}
        for name, kind in self.columns.items():
            states[name] = tuple(kind.features(name, [None]))
            if isinstance(kind, Classes) and kind.second >= ENOUGH and len(tasks) < TASKS:
                levels = tuple(level for level in kind.levels if level)
                tasks.append(Task(name, tuple(f"{name} {level}" for level in levels), _label(name, levels)))
        about = f"{len(self.features(empty).columns)} numbers a patient, from {len(self.columns)} columns."
        return [
            View(
                "table", "Table of patients", ROW, self.features, tuple(tasks), self.picture, about,
                blind=("the order of rows, text and dates",), states=states,
            )
        ]  # fmt: skip

    def picture(self, figure: "Figure", real: Rows, synthetic: Rows) -> str:
        """Distributions of the first twelve columns; the alternative text."""
        from matplotlib.patches import Patch

        shown = list(self.columns)[:12]
        figure.set_layout_engine("constrained")
        figure.set_size_inches(9, 2 * -(-len(shown) // 4))
        for place, name in enumerate(shown):
            axes, kind = figure.add_subplot(-(-len(shown) // 4), 4, place + 1), self.columns[name]
            sides = [[r.facts[CELLS].get(name) for _, r in rows] for rows in (real, synthetic)]
            if isinstance(kind, Number):
                values = [[v for v in map(_number, side) if not np.isnan(v)] for side in sides]
                axes.hist(values, bins=12, density=True, color=COLOURS)
            else:
                for k, side in enumerate(sides):
                    words = [_word(value) for value in side]
                    shares = [words.count(level) / max(1, len(words)) for level in kind.levels]
                    axes.bar(np.arange(len(kind.levels)) + 0.4 * k, shares, width=0.4, color=COLOURS[k])
                axes.set_xticks(
                    range(len(kind.levels)), [level[:8] or "empty" for level in kind.levels], fontsize=6
                )
            axes.set_title(name[:28], fontsize=8)
            axes.tick_params(labelsize=6)
        named = [Patch(color=colour) for colour in COLOURS]
        figure.legend(
            named, ["real", "synthetic"], loc="outside upper center", ncols=2, fontsize=7, frameon=False
        )
        return f"Distributions of {listed(shown)} in real and synthetic patients."


def _kind(column: "Series[Any]") -> Number | Classes | None:
    """What a column holds: numbers, at most twelve classes, or something that is not compared."""
    words = [_word(value) for value in column]
    filled = [word for word in words if word]
    levels = sorted(set(filled))
    numbers = np.array([_number(value) for value in column])
    known = numbers[np.isfinite(numbers)]
    if len(levels) < 2:
        return None
    if len(levels) > 2 and len(known) >= 0.95 * len(filled):
        return Number(float(np.median(known)), 1 - len(known) / len(words) >= MISSING)
    if len(levels) > LEVELS:
        return None
    empty = [""] if 1 - len(filled) / len(words) >= MISSING else []
    return Classes((*empty, *levels), Counter(filled).most_common(2)[1][1])


def _label(name: str, levels: Sequence[str]) -> Callable[[PatientProfile, Record], float]:
    def label(profile: PatientProfile, record: Record) -> float:
        word = _word(record.facts[CELLS].get(name))
        return float(levels.index(word)) if word in levels else float("nan")

    return label
