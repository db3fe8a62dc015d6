"""Read a training folder: the records of a split, their patients, and the known profile fields."""

from pathlib import Path
from typing import Any

from ...core.config import DatasetConfig
from ...core.errors import InputError
from ...core.fields import Vocabulary
from ...core.ids import require_ids
from ...core.modality import DatasetSource, TrainingSet
from ...core.paths import below
from ...core.profile import PatientProfile
from ...core.registry import vocabulary
from ...core.remarks import remark
from ...core.tables import read_table
from .dicom_rows import dicom_rows
from .dicom_tags import FIELDS
from .masks import mask_columns, mask_finder, require_own_masks
from .rows import Row, attempt, groups_of, require_column, require_fields, value_of, values_of
from .split import require_other_files, rows_of


def read_training_set(config: DatasetConfig, root: Path, split: str, private: bool = False) -> TrainingSet:
    """Rows of one split ("train" or "test") of a folder described by a dataset.yaml.

    The patients come from a table, or from the tags of DICOM files with or without one. A set with neither
    is of archives that its modality lists itself, options.npz (every row a patient, with the constants alone known).
    Classes and ranges of declared fields that are not stated are learnt from the table, unless it is `private`.
    Raises InputError: missing folder, table, column, a value out of range, a patient in both splits.
    """
    folder = root / config.path
    name = config.name or Path(config.path).name
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; expected the data set {name!r} there")
    source = DatasetSource(name, config.licence, config.citation)
    from_tags = FIELDS if config.dicom else ()
    fields = tuple(dict.fromkeys([*from_tags, *config.fields, *config.constants]))
    known = vocabulary_of(config, folder, name, private)
    require_fields(fields, known, f"{name}: fields")
    others: frozenset[str] | None = None
    if config.dicom:
        rows = dicom_rows(config, config.dicom, folder, split, known)
    elif config.table:
        rows, others = table_rows(config, config.table, folder, split, known)
    elif "npz" not in config.options:
        raise InputError(
            f"{folder}: needs a table of records (`table: FILE` in dataset.yaml), or `dicom: PATTERN`; images in "
            "archives need options: {npz: PATTERN}"
        )
    elif config.mask:
        raise InputError(
            f"{folder}: images of archives have no masks; leave out mask, or name image files in a table"
        )
    else:
        constants = known.with_values(PatientProfile("*"), config.constants, name)
        options = {**config.options, "constants": constants}
        return TrainingSet(folder, source, (), (), fields, split, options, known)
    records = tuple(row.record for row in rows)
    profiles = tuple(attempt(lambda row: row.profile(known), rows))
    if (
        not private
    ):  # a field that tags could hold, and no file does, is none of the set; one patient could tell
        stated = {*config.fields, *config.constants}
        fields = tuple(n for n in fields if n in stated or any(p.get(n) is not None for p in profiles))
    masks = tuple(row.mask for row in rows) if config.mask else ()
    require_own_masks(masks, [row.patient_id for row in rows] if masks else [], folder)
    return TrainingSet(
        folder,
        source,
        records,
        profiles,
        fields,
        split,
        config.options,
        known,
        others,
        masks,
        config.mask_labels,
    )


def vocabulary_of(config: DatasetConfig, folder: Path, where: str, private: bool = False) -> Vocabulary:
    """The vocabulary with what a dataset.yaml declares; see read_training_set. Raises InputError."""
    known = vocabulary().declare(config.declare, where)
    named = {*config.declare, *config.fields}
    unsettled = [field for field in known.declared if not field.settled and field.name in named]
    if not unsettled:
        return known
    missing = {"category": "classes", "number": "range"}
    if private or config.table is None or not (folder / config.table).is_file():
        first = unsettled[0]
        why = "patients' data may not settle it" if private else "no table gives it"
        raise InputError(f"{where}: declare.{first.name}: state its {missing[first.kind]}, since {why}")
    table, settled = read_table(folder / config.table), []
    for field in unsettled:
        mapping = config.fields.get(field.name)
        if mapping is None:
            raise InputError(f"{where}: declare.{field.name}: state its {missing[field.kind]}")
        require_column(table, mapping.column, str(folder / config.table))
        cells = [value_of(field, cell, mapping, where) for cell in table[mapping.column].unique()]
        learnt = field.settle([value for value in cells if value is not None], f"{where}: declare")
        remark(f"{where}: {field.name}: learnt from the table: {learnt.declaration()[missing[field.kind]]}")
        settled.append(learnt)
    return known.settle(settled)


def table_rows(
    config: DatasetConfig, name: str, folder: Path, split: str, known: Vocabulary
) -> tuple[list[Row], frozenset[str]]:
    """Rows of a table, one split, and the records of the others. Raises InputError."""
    table, where = read_table(folder / name), str(folder / name)
    needed = [
        config.record,
        config.patient_id,
        *([config.split] if config.split else []),
        *mask_columns(config),
    ]
    wanted = [(column, "") for column in [*needed, *config.groups.values()]]
    wanted += [(mapping.column, field) for field, mapping in config.fields.items()]
    attempt(lambda pair: require_column(table, pair[0], where, pair[1]), wanted)
    for column in {config.record, config.patient_id}:
        table = table.assign(**{column: require_ids(table[column], column, where)})
    whole, table = table, rows_of(table, split, config, where)
    attempt(lambda name: below(folder, name, f"{where}: {config.record}"), table[config.record].tolist())
    mine = set(table.index)
    sides = [split if row in mine else "other" for row in whole.index]
    require_other_files(
        folder, whole[config.record].tolist(), whole[config.patient_id].tolist(), sides, where
    )

    mask_of = mask_finder(config, folder)

    def row_of(place: tuple[int, dict[Any, Any]]) -> Row:
        number, cells = place
        return Row(
            cells[config.record],
            cells[config.patient_id],
            {**config.constants, **values_of(cells, config, known, f"{where}, row {number}")},
            f"{where}, row {number}",
            groups_of(cells, config),
            mask_of(cells[config.record], cells, ""),
        )

    rows = attempt(row_of, zip(table.index + 2, table.to_dict("records"), strict=True))
    return rows, frozenset(whole[config.record]) - {row.record for row in rows}
