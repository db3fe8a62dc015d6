"""Read a training folder's table: which rows are whose, and what is known of each patient."""

import re
from pathlib import Path
from typing import Any

import pandas as pd

from ..core.config import DatasetConfig, FieldMap
from ..core.errors import InputError
from ..core.modality import DatasetSource, TrainingSet
from ..core.profile import PatientProfile, Value
from ..core.vocabulary import field, with_values


def read_training_set(config: DatasetConfig, root: Path, split: str) -> TrainingSet:
    """Rows of one split ("train" or "test") of a folder described by a dataset.yaml.

    A set without a table is one that its modality lists itself (every row its own patient, nothing
    known but the constants). Raises InputError: missing folder, table, column, or a value out of range.
    """
    folder = root / config.path
    name = config.name or Path(config.path).name
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; expected the data set {name!r} there")
    source = DatasetSource(name, config.licence, config.citation)
    fields = tuple(dict.fromkeys([*config.fields, *config.constants]))
    for wanted in fields:
        field(wanted, f"{name}: fields")
    if config.table is None:
        profile = with_values(PatientProfile("*"), dict(config.constants), name)
        options = {**config.options, "constants": profile}
        return TrainingSet(folder, source, (), (), fields, split, options)
    table = _table(folder / config.table)
    where = str(folder / config.table)
    split_columns = [config.split] if config.split else []
    for column in [config.record, config.patient_id, *split_columns]:
        _require(table, column, where)
    for mapping in config.fields.values():
        _require(table, mapping.column, where)
    if config.split:
        table = table[table[config.split] == getattr(config, split)]
    if table.empty:
        raise InputError(f"{where}: no rows of split {getattr(config, split)!r}")
    profiles = tuple(
        _profile(row, config, f"{where}, row {number}")
        for number, row in zip(table.index + 2, table.to_dict("records"), strict=True)
    )
    records = tuple(str(value) for value in table[config.record])
    return TrainingSet(folder, source, records, profiles, fields, split, config.options)


def _table(path: Path) -> pd.DataFrame:
    if not path.exists():
        raise InputError(f"{path}: no such file; expected the table that lists the records")
    try:
        if path.suffix == ".parquet":
            return pd.read_parquet(path)
        return pd.read_csv(path, dtype=str, keep_default_na=False, na_values=[""])
    except (ValueError, OSError, pd.errors.ParserError) as error:
        raise InputError(f"{path}: cannot be read as a table ({error})") from None


def _require(table: pd.DataFrame, column: str, where: str) -> None:
    if column not in table.columns:
        have = ", ".join(map(str, table.columns[:12]))
        raise InputError(f"{where}: no column {column!r}; the table has: {have}")


def _profile(row: dict[Any, Any], config: DatasetConfig, where: str) -> PatientProfile:
    values: dict[str, Value] = dict(config.constants)
    for name, mapping in config.fields.items():
        value = _value(name, row[mapping.column], mapping, where)
        if value is not None:
            values[name] = value
    return with_values(PatientProfile(str(row[config.patient_id])), values, where)


def _value(name: str, raw: Any, mapping: FieldMap, where: str) -> Value | None:
    """One cell as a profile value; None where it is empty."""
    if mapping.pattern is not None:
        return bool(re.search(mapping.pattern, "" if pd.isna(raw) else str(raw)))
    if pd.isna(raw):
        return None
    if mapping.values is not None:
        if str(raw) not in mapping.values:
            known = ", ".join(mapping.values)
            raise InputError(f"{where}: {mapping.column} is {raw!r}, expected one of: {known}")
        return mapping.values[str(raw)]
    known_field = field(name, where)
    if known_field.kind == "category":
        return str(raw)
    try:
        number = float(raw)
    except (TypeError, ValueError):
        raise InputError(f"{where}: {mapping.column} must be a number, got {raw!r}") from None
    if mapping.above is not None:
        return number > mapping.above
    return number * mapping.scale
