"""A table's errors are named together: with their rows, ten at most, and the fields and columns that there are."""

from pathlib import Path

import pandas as pd
import pytest

from polyclinic.conditioning.dataset.dataset import read_training_set
from polyclinic.core.config import DatasetConfig
from polyclinic.core.errors import InputError

ROWS = 25


def read(place: Path, fields: dict[str, object], **columns: list[object]) -> str:
    """Why a table of 25 patients is refused."""
    table = pd.DataFrame({"record": range(ROWS), "patient_id": range(ROWS), "age": 50, "sex": "F", **columns})
    table.to_csv(place / "patients.csv", index=False)
    config = DatasetConfig(name="clinic", split=None, fields=fields)
    with pytest.raises(InputError) as refused:
        read_training_set(config, place, "train")
    assert "\n" not in str(refused.value)
    return str(refused.value)


AGE, SEX = {"column": "age"}, {"column": "sex", "values": {"F": "F", "M": "M"}}


@pytest.mark.parametrize("wrong", [1, 2, 10, 11, ROWS])
def test_ten_rows_are_named_and_the_others_counted(wrong, tmp_path):
    ages: list[object] = [*["old"] * wrong, *[50] * (ROWS - wrong)]
    said = read(tmp_path, {"age": AGE, "sex": SEX}, age=ages)
    named = min(wrong, 10)
    assert said.count("age must be a number, got 'old'") == named
    assert all(f"row {2 + i}: " in said for i in range(named))
    assert said.count("patients.csv") == 1
    assert (f"{wrong} errors" in said) == (wrong > 1)
    assert (f"and {wrong - 10} more" in said) == (wrong > 10)


def test_errors_of_one_row_and_of_ranges_are_named_together(tmp_path):
    said = read(tmp_path, {"age": AGE, "sex": SEX}, age=["old", *[50] * 24], sex=["x", "y", *["F"] * 23])
    assert all(text in said for text in ("got 'old'", "sex is 'x'", "row 3: sex is 'y'"))
    assert "3 errors: row 2: age must" in said
    said = read(tmp_path, {"age": AGE}, age=[300, -4, *[50] * 23])
    assert "row 2 0: age must lie in" in said
    assert "row 3 1: age must lie in" in said


def test_unknown_fields_and_missing_columns_are_named_together(tmp_path):
    said = read(tmp_path, {"aeg": AGE, "sxe": SEX, "age": AGE})
    assert "aeg, sxe" in said
    assert "expected those of age, sex, " in said
    said = read(tmp_path, {"age": {"column": "years"}, "sex": {"column": "gender"}})
    assert "no column 'years'" in said
    assert "no column 'gender'" in said
