"""The table of patients: its columns are those of pyarrow, and pandas is not loaded for them."""

import subprocess
import sys
from datetime import date
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyclinic.core.cohort.patients_table import array

VALUES: dict[str, st.SearchStrategy[Any]] = {
    "string": st.text(st.characters(codec="utf-8"), max_size=5),
    "bool": st.booleans(),
    "double": st.floats(allow_nan=False),
    "date32": st.dates(),
}


@pytest.mark.parametrize("kind", VALUES)
def test_arrays_are_those_of_pyarrow(kind: str) -> None:
    @settings(deadline=None)  # pyarrow.array() loads pandas
    @given(st.lists(st.none() | VALUES[kind], max_size=40))
    def same(values: list[Any]) -> None:
        made = array(values, kind)
        made.validate(full=True)
        assert made.equals(pa.array(values, pa.type_for_alias(kind)))
        assert made.null_count == values.count(None)

    same()


def test_dates_before_the_epoch() -> None:
    assert array([date(1950, 3, 1), None], "date32").to_pylist() == [date(1950, 3, 1), None]


WRITE = """
import sys
from pathlib import Path
from polyclinic.core.cohort import patients_table as table
from polyclinic.core.modality import Record
from polyclinic.core.profile import PatientProfile
from polyclinic.modalities.omics import pieces
import numpy as np
people = [PatientProfile("P-1", 50.0, "F", conditions={"I10": True}), PatientProfile("P-2")]
table.write(Path("patients.parquet"), lambda: [table.columns(people, {"omics": [True, False]})])
assert list(table.profiles(Path("patients.parquet"))) == people
values = np.ones(3, np.float32)
record = Record({"rna": values, "rna_var": np.array(["A", "B", "C"])}, {"os_months": 3.0, "os_event": True})
Path("piece").mkdir()
pieces.write([record, record], people, Path("piece"))
assert "pandas" not in sys.modules
"""


def test_a_slice_is_written_without_pandas(tmp_path) -> None:
    subprocess.run([sys.executable, "-c", WRITE], check=True, cwd=tmp_path)
