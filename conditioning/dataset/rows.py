"""One row of a training folder: the record, its patient, and the profile values of its cells."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import pandas as pd

from ...core.config import DatasetConfig, FieldMap
from ...core.errors import InputError, listed
from ...core.fields import Field, Vocabulary
from ...core.profile import PatientProfile, Value

NOT_REPORTED = ("", "not reported", "unknown")
Item = TypeVar("Item")
Made = TypeVar("Made")


@dataclass(frozen=True)
class Row:
    """A record, its patient, what is known of him then, where that is written, the patient's origin, its mask."""

    record: str
    patient_id: str
    values: Mapping[str, Value]
    where: str
    groups: Mapping[str, str] | None = None
    mask: str = ""

    def profile(self, vocabulary: Vocabulary) -> PatientProfile:
        """The values, checked against the vocabulary. Raises InputError."""
        known = vocabulary.with_values(PatientProfile(self.patient_id), self.values, self.where)
        return known.but(traits=self.groups) if self.groups else known


class TableError(InputError):
    """All that is wrong in a table, in one line."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__(problems[0] if len(problems) == 1 else _together(problems))
        self.problems = problems


def attempt(do: Callable[[Item], Made], items: Iterable[Item]) -> list[Made]:
    """What `do` makes of each. Raises one InputError that names all, or ten, of the errors that it raises."""
    made: list[Made] = []
    problems: list[str] = []
    for item in items:
        try:
            made.append(do(item))
        except InputError as error:
            problems += error.problems if isinstance(error, TableError) else [str(error)]
    if problems:
        raise TableError(problems)
    return made


def _together(problems: Sequence[str]) -> str:
    """Several problems in one line; where all begin with the same file, it is named once."""
    starts = {problem.partition(", row ")[0] for problem in problems}
    start = starts.pop() if len(starts) == 1 else ""
    if not start or not all(problem.startswith(f"{start}, row ") for problem in problems):
        return f"{len(problems)} errors: {listed(problems)}"
    short = [problem.removeprefix(f"{start}, ") for problem in problems]
    return f"{start}: {len(short)} errors: {listed(short)}"


def require_fields(names: Iterable[str], vocabulary: Vocabulary, where: str) -> None:
    """Raises InputError for names that the vocabulary has not; several are named together, with those it has."""
    unknown = [name for name in names if name not in vocabulary]
    if len(unknown) == 1:
        vocabulary.field(unknown[0], where)
    if unknown:
        raise InputError(
            f"{where}: unknown fields or codes {', '.join(unknown)}; expected those of "
            f"{', '.join(vocabulary.by_name)}, or declare them there: "
            f"`declare: {{{unknown[0]}: {{kind: flag, label: TEXT}}, ...}}` (or kind: category, or number; "
            "docs/how-to/fields.md)"
        )


def require_column(table: pd.DataFrame, column: str, where: str, field: str = "") -> None:
    """Raises InputError that names the columns there are, and how to name the one of a field."""
    if column not in table.columns:
        have = ", ".join(map(str, table.columns[:12]))
        hint = f"; `fields: {{{field}: {{column: NAME}}}}` says where {field} is" if field else ""
        if column == "split":
            hint = "; where the table has none, `split: null` with `test_share: 0.2` holds some patients out"
        raise InputError(f"{where}: no column {column!r}; the table has: {have}{hint}")


def values_of(
    cells: Mapping[Any, Any], config: DatasetConfig, vocabulary: Vocabulary, where: str
) -> dict[str, Value]:
    """What a row's cells say by the config's fields; empty cells are left out. Raises InputError."""

    def read(name: str) -> tuple[str, Value | None]:
        mapping = config.fields[name]
        return name, value_of(vocabulary.field(name, where), cells[mapping.column], mapping, where)

    return {name: value for name, value in attempt(read, config.fields) if value is not None}


def groups_of(cells: Mapping[Any, Any], config: DatasetConfig) -> dict[str, str]:
    """The row's origin, where config.groups names a column for it."""
    origin = {name: cells[column] for name, column in config.groups.items()}
    return {n: str(v) for n, v in origin.items() if not pd.isna(v) and str(v).lower() not in NOT_REPORTED}


def value_of(known: Field, raw: Any, mapping: FieldMap, where: str) -> Value | None:
    """One cell as a profile value; None where it is empty."""
    if mapping.pattern is not None:
        return bool(re.search(mapping.pattern, "" if pd.isna(raw) else str(raw)))
    if pd.isna(raw):
        return None
    if mapping.values is not None:
        if str(raw) not in mapping.values:
            words = ", ".join(mapping.values)
            raise InputError(f"{where}: {mapping.column} is {raw!r}, expected one of: {words}")
        return mapping.values[str(raw)]
    if known.kind == "number" or mapping.above is not None:
        try:
            number = float(raw)
        except (TypeError, ValueError):
            raise InputError(f"{where}: {mapping.column} must be a number, got {raw!r}") from None
        return number * mapping.scale if mapping.above is None else number > mapping.above
    return known.parse(raw, f"{where}: {mapping.column}")
