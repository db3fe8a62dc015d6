"""One row of a training folder: the record, its patient, and the profile values of its cells."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from ...core.config import DatasetConfig, FieldMap
from ...core.errors import InputError
from ...core.fields import Field, Vocabulary
from ...core.profile import PatientProfile, Value

NOT_REPORTED = ("", "not reported", "unknown")


@dataclass(frozen=True)
class Row:
    """A record, its patient, what is known of that patient then, where that is written, and the patient's origin."""

    record: str
    patient_id: str
    values: Mapping[str, Value]
    where: str
    groups: Mapping[str, str] | None = None

    def profile(self, vocabulary: Vocabulary) -> PatientProfile:
        """The values, checked against the vocabulary. Raises InputError."""
        known = vocabulary.with_values(PatientProfile(self.patient_id), self.values, self.where)
        return known.but(traits=self.groups) if self.groups else known


def require_column(table: pd.DataFrame, column: str, where: str, field: str = "") -> None:
    """Raises InputError that names the columns there are, and how to name the one of a field."""
    if column not in table.columns:
        have = ", ".join(map(str, table.columns[:12]))
        hint = f"; `fields: {{{field}: {{column: NAME}}}}` says where {field} is" if field else ""
        raise InputError(f"{where}: no column {column!r}; the table has: {have}{hint}")


def values_of(
    cells: Mapping[Any, Any], config: DatasetConfig, vocabulary: Vocabulary, where: str
) -> dict[str, Value]:
    """What a row's cells say by the config's fields; empty cells are left out. Raises InputError."""
    values: dict[str, Value] = {}
    for name, mapping in config.fields.items():
        value = value_of(vocabulary.field(name, where), cells[mapping.column], mapping, where)
        if value is not None:
            values[name] = value
    return values


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
