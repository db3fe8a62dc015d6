"""Read a training folder: the records of a split, their patients, and the known profile fields."""

from pathlib import Path

from ...core.config import DatasetConfig
from ...core.errors import InputError
from ...core.fields import field, with_values
from ...core.ids import require_ids
from ...core.modality import DatasetSource, TrainingSet
from ...core.profile import PatientProfile
from ...core.tables import read_table
from .dicom_rows import dicom_rows
from .dicom_tags import FIELDS
from .rows import Row, groups_of, require_column, values_of
from .split import is_in, require_apart


def read_training_set(config: DatasetConfig, root: Path, split: str) -> TrainingSet:
    """Rows of one split ("train" or "test") of a folder described by a dataset.yaml.

    The patients come from a table, or from the tags of DICOM files with or without one. A set with neither
    is one that its modality lists itself (every row a patient, with the constants alone known).
    Raises InputError: missing folder, table, column, a value out of range, a patient in both splits.
    """
    folder = root / config.path
    name = config.name or Path(config.path).name
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; expected the data set {name!r} there")
    source = DatasetSource(name, config.licence, config.citation)
    from_tags = FIELDS if config.dicom else ()
    fields = tuple(dict.fromkeys([*from_tags, *config.fields, *config.constants]))
    for wanted in fields:
        field(wanted, f"{name}: fields")
    if config.dicom:
        rows = dicom_rows(config, config.dicom, folder, split)
    elif config.table:
        rows = table_rows(config, config.table, folder, split)
    else:
        known = with_values(PatientProfile("*"), dict(config.constants), name)
        options = {**config.options, "constants": known}
        return TrainingSet(folder, source, (), (), fields, split, options)
    records = tuple(row.record for row in rows)
    profiles = tuple(row.profile() for row in rows)
    return TrainingSet(folder, source, records, profiles, fields, split, config.options)


def table_rows(config: DatasetConfig, name: str, folder: Path, split: str) -> list[Row]:
    """Rows of a table, one split. Raises InputError."""
    table, where = read_table(folder / name), str(folder / name)
    needed = [config.record, config.patient_id, *([config.split] if config.split else [])]
    for column in [*needed, *(mapping.column for mapping in config.fields.values()), *config.groups.values()]:
        require_column(table, column, where)
    for column in {config.record, config.patient_id}:
        table = table.assign(**{column: require_ids(table[column], column, where)})
    if config.split:
        require_apart(table[config.patient_id], table[config.split], config, where)
        table = table[table[config.split] == getattr(config, split)]
    elif config.test_share is not None:
        table = table[[is_in(split, p, config.test_share) for p in table[config.patient_id]]]
    if table.empty:
        raise InputError(f"{where}: no rows of split {getattr(config, split)!r}")
    return [
        Row(
            cells[config.record],
            cells[config.patient_id],
            {**config.constants, **values_of(cells, config, f"{where}, row {number}")},
            f"{where}, row {number}",
            groups_of(cells, config),
        )
        for number, cells in zip(table.index + 2, table.to_dict("records"), strict=True)
    ]
