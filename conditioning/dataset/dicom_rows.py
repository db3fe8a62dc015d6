"""Rows of a DICOM folder: values of the tags, joined with a table where there is one."""

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from ...core.config import DatasetConfig
from ...core.errors import InputError, listed
from ...core.fields import Vocabulary
from ...core.ids import id_text
from ...core.tables import read_table
from .dicom_tags import TaggedImage, read_tags
from .masks import mask_columns, mask_finder
from .rows import Row, require_column, values_of
from .split import TEST_SHARE, is_in, require_apart, require_other_files, sides_of, tell_others

NO_CELLS: Mapping[Any, Any] = {}


def dicom_rows(config: DatasetConfig, pattern: str, folder: Path, split: str, known: Vocabulary) -> list[Row]:
    """A row an image file, one split; where a table has a row for the file, its values win over the tags.

    Files without a row have the values of their tags. Raises InputError: see dicom_tags.read_tags and match;
    an image without a patient id in either; a file without a row where the table gives the split.
    """
    besides = ("dataset.yaml", config.table or "", str(config.options.get("exclude", "")))
    images = read_tags(folder, pattern, config.keep, besides=besides)
    cells: list[Mapping[Any, Any]] = [NO_CELLS] * len(images)
    by_table, where = False, str(folder)
    if config.table:
        where = str(folder / config.table)
        table = read_table(folder / config.table)
        by_table = bool(config.split) and (
            config.split in table.columns or "split" in config.model_fields_set
        )
        cells = _joined(images, table, config, where, by_table)
    mask_of = mask_finder(config, folder)
    every = [
        Row(
            image.record,
            _patient(image, cell, config),
            {
                **config.constants,
                **image.values,
                **(values_of(cell, config, known, f"{where}, {image.record}") if cell else {}),
            },
            f"{where}, {image.record}",
            mask=mask_of(image.record, cell, image.uid),
        )
        for image, cell in zip(images, cells, strict=True)
    ]
    if nameless := [row.record for row in every if not row.patient_id]:
        raise InputError(
            f"{folder}: {len(nameless)} images have no PatientID: {listed(nameless)}; privacy is counted by patient: "
            f"add a table that gives their {config.record!r} and {config.patient_id!r}"
        )
    patients = [row.patient_id for row in every]
    if by_table:
        sides = sides_of([cell[config.split] for cell in cells], config, where)
        require_apart(patients, sides, config, where)
        chosen = [side == getattr(config, split) for side in sides]
    else:
        share = TEST_SHARE if config.test_share is None else config.test_share
        chosen = [is_in(split, patient, share) for patient in patients]
        sides = ["taken" if taken else "held out" for taken in chosen]
    rows = [row for row, taken in zip(every, chosen, strict=True) if taken]
    if not rows:
        raise InputError(
            f"{where}: no images of split {split!r} among {len(every)} of {len(set(patients))} patients"
        )
    if by_table:
        tell_others(sides, config, where)
    require_other_files(folder, [row.record for row in every], patients, sides, where)
    return rows


def match(images: Sequence[TaggedImage], names: Sequence[str], where: str) -> list[int | None]:
    """The place in `names` of each image's row, by path, file name, name without suffix, or SOP instance UID.

    None for an image without one. Raises InputError: a row that names no image or several, or an image
    that several rows name.
    """
    known: dict[str, set[int]] = {}
    for i, image in enumerate(images):
        path = PurePosixPath(image.record)
        for key in {image.record, path.name, path.stem, image.uid} - {""}:
            known.setdefault(key, set()).add(i)
    rows: list[int | None] = [None] * len(images)
    problems: list[str] = []
    for row, name in enumerate(names):
        found = known.get(name.removeprefix("./"), set())
        if len(found) != 1:
            problems.append(f"{name!r} ({len(found)} files)")
            continue
        (place,) = found
        if rows[place] is not None:
            problems.append(f"{name!r} (named twice)")
        rows[place] = row
    if problems:
        raise InputError(
            f"{where}: {len(problems)} of {len(names)} rows do not name one DICOM image each, by path, file name or "
            f"SOP instance UID: {listed(problems)}"
        )
    return rows


def _joined(
    images: Sequence[TaggedImage], table: pd.DataFrame, config: DatasetConfig, where: str, by_table: bool
) -> list[Mapping[Any, Any]]:
    """The table's row of each image; NO_CELLS for an image without one."""
    columns = [config.record, *(mapping.column for mapping in config.fields.values())]
    for column in [*columns, *mask_columns(config), *([config.split] if by_table and config.split else [])]:
        require_column(table, column, where)
    places = match(images, [id_text(name) for name in table[config.record]], where)
    if by_table and (absent := [i.record for i, place in zip(images, places, strict=True) if place is None]):
        raise InputError(
            f"{where}: {len(absent)} images have no row, so no split: {listed(absent)}; add rows, or set split: null "
            "to hold out a share of the patients"
        )
    cells = table.to_dict("records")
    return [NO_CELLS if place is None else cells[place] for place in places]


def _patient(image: TaggedImage, cells: Mapping[Any, Any], config: DatasetConfig) -> str:
    """The patient id of an image: from the table where it has one, else from the tag."""
    stated = cells.get(config.patient_id)
    return id_text(stated) or image.patient_id
