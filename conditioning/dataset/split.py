"""Which patients of a training folder are held out: as its table says, or a fixed share by the hash of their ids."""

from collections import Counter
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pandas as pd

from ...core.config import DatasetConfig
from ...core.errors import InputError, listed
from ...core.ids import id_text
from ...core.remarks import remark

TEST_SHARE = 0.2


def is_in(split: str, patient_id: str, test_share: float) -> bool:
    """Whether a patient belongs to a split: to "test" where the 64-bit BLAKE2b hash of the id is in the lowest share.

    Fixed for ever, whichever other patients there are.
    """
    digest = blake2b(patient_id.encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") < test_share * 2**64) == (split == "test")


def sides_of(cells: Iterable[Any], config: DatasetConfig, where: str) -> list[str]:
    """The split that each row states, blanks around it left out.

    Raises InputError where a row spells a split in another case: it was meant, and would be left out.
    """
    sides = [id_text(cell) for cell in cells]
    ours = {config.train, config.test}
    others = Counter(side for side in sides if side not in ours)
    like = {side.casefold() for side in ours}
    if meant := [side for side in others if side.casefold() in like]:
        raise InputError(
            f"{where}: {config.split} is {meant[0]!r} in {others[meant[0]]} rows; expected {config.train!r} or "
            f"{config.test!r}, spelt so; say `train:` and `test:` in dataset.yaml, or correct the table"
        )
    return sides


def tell_others(sides: Sequence[str], config: DatasetConfig, where: str) -> None:
    """Remark how many rows are of neither split."""
    others = Counter(side for side in sides if side not in (config.train, config.test))
    if others:
        said = ", ".join(f"{side or 'blank'!r} ({count})" for side, count in others.most_common(5))
        remark(
            f"{where}: {sum(others.values())} of {len(sides)} rows are neither {config.train!r} nor {config.test!r} "
            f"and left out: {config.split} is {said}"
        )


def rows_of(table: pd.DataFrame, split: str, config: DatasetConfig, where: str) -> pd.DataFrame:
    """The rows of one split of a table whose ids are text. Raises InputError: a patient on both sides, no rows."""
    patients, sides = table[config.patient_id].tolist(), list[str]()
    if config.split:
        sides = sides_of(table[config.split], config, where)
        require_apart(patients, sides, config, where)
        wanted = getattr(config, split)
        table = table[[side == wanted for side in sides]]
    elif config.test_share is not None:
        table = table[[is_in(split, str(patient), config.test_share) for patient in patients]]
    if table.empty:
        raise InputError(f"{where}: no rows of split {getattr(config, split)!r}")
    tell_others(sides, config, where)
    return table


def require_apart(
    names: Iterable[Any], splits: Iterable[Any], config: DatasetConfig, where: str, what: str = "patients"
) -> None:
    """Raises InputError naming patients with rows in both splits, so that a test would see training patients."""
    sides: dict[str, set[Any]] = {}
    for name, side in zip(names, splits, strict=True):
        sides.setdefault(str(name), set()).add(side)
    if both := [name for name, found in sides.items() if {config.train, config.test} <= found]:
        one = "patient" if what == "patients" else "record"
        raise InputError(
            f"{where}: {len(both)} {what} have rows of both {config.train!r} and {config.test!r}: "
            f"{listed(both)}; put all rows of a {one} in one split"
        )


BEGINNING = 1 << 16  # bytes of a file that are compared first
ENDS = ("", ".dat", ".hea")  # of the file that a record names


def require_other_files(
    folder: Path, records: Sequence[str], patients: Sequence[str], sides: Sequence[str], where: str
) -> None:
    """Raises InputError where a record belongs to two patients, one on each side of the split.

    Two files of the same content are remarked: it may be one patient under two ids. `sides` are any names of the sides.
    """
    if len(set(sides)) < 2:
        return
    owners: dict[str, tuple[str, str]] = {}
    for record, patient, side in zip(records, patients, sides, strict=True):
        other, there = owners.setdefault(record, (patient, side))
        if other != patient and there != side:
            raise InputError(
                f"{where}: the record {record!r} is of patient {other!r} on one side of the split and of {patient!r} "
                "on the other; a record has one patient, and a patient one side"
            )
    groups: dict[Any, list[int]] = {}
    files = _files_of(folder, records)
    for row, record in enumerate(records):
        if (path := files.get(record)) is not None:
            groups.setdefault(path.stat().st_size, []).append(row)
    for most in (BEGINNING, None):
        finer: dict[Any, list[int]] = {}
        for size, rows in groups.items():
            if len({sides[row] for row in rows}) > 1:
                for row in rows:
                    finer.setdefault((size, _digest(files[records[row]], most)), []).append(row)
        groups = finer
    alike = [
        (rows[0], row)
        for rows in groups.values()
        for row in rows
        if sides[row] != sides[rows[0]] and patients[row] != patients[rows[0]]
    ]
    if alike:
        one, two = alike[0]
        remark(
            f"{where}: {len(alike)} files are there twice, under ids on both sides of the split, as {records[one]} of "
            f"{patients[one]} and {records[two]} of {patients[two]}; if that is one patient, give both one id"
        )


def _files_of(folder: Path, records: Iterable[str]) -> dict[str, Path]:
    """The file that each record names, of those that name one. A folder is listed once, and not asked for each name."""
    listed: dict[str, set[str]] = {}
    found: dict[str, Path] = {}
    for record in dict.fromkeys(records):
        parent, _, name = record.rstrip("/").rpartition("/")
        if parent not in listed:
            place = folder / parent
            listed[parent] = {path.name for path in place.iterdir()} if place.is_dir() else set()
        for end in ENDS:
            if f"{name}{end}" in listed[parent] and (path := folder / parent / f"{name}{end}").is_file():
                found[record] = path
                break
    return found


def _digest(path: Path, most: int | None) -> bytes:
    """Of the first `most` bytes of a record's file, or of all."""
    state = blake2b(digest_size=16)
    with path.open("rb") as file:
        while block := file.read(BEGINNING):
            state.update(block)
            if most is not None:
                break
    return state.digest()
