"""Ids are text, and tables whose ids are spelt in different ways meet only where that is sure."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyclinic.core.errors import InputError
from polyclinic.core.ids import id_text, match_ids, require_ids, spelling
from polyclinic.core.remarks import DataWarning, remark, remarks


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (7, "7"),
        (7.0, "7"),
        (np.int64(7), "7"),
        (np.float32(7), "7"),
        ("0007", "0007"),
        (" A-1 ", "A-1"),
        ("101E2", "101E2"),  # a plate, not 10,100
        ("NA", "NA"),
        ("null", "null"),
        (7.5, "7.5"),
        (None, ""),
        (float("nan"), ""),
        (pd.NA, ""),
        (pd.NaT, ""),
        ("  ", ""),
    ],
)
def test_an_id_is_text(value: object, text: str) -> None:
    assert id_text(value) == text


def test_rows_without_an_id_are_named() -> None:
    assert require_ids([1, "b"], "mrn", "t.csv") == ["1", "b"]
    with pytest.raises(InputError, match=r"t\.csv: 2 of 3 rows have no 'mrn': row 3; 4"):
        require_ids(["a", "", None], "mrn", "t.csv")


@given(st.lists(st.integers(0, 10**6), unique=True, min_size=1, max_size=20), st.integers(0, 8))
def test_one_number_is_one_id_however_it_is_written(numbers: list[int], width: int) -> None:
    wanted, there = [f"{n:0{width}d}" for n in numbers], [f"{n}.0" for n in numbers]
    with remarks(lambda text: None):
        assert match_ids(wanted, there, "x") == dict(zip(wanted, there, strict=True))


@given(st.lists(st.text("0123456789.EA-", min_size=1, max_size=5), unique=True, max_size=20))
def test_equal_ids_meet_without_a_word(names: list[str]) -> None:
    assert match_ids(names, names[::-1], "x") == {name: name for name in names}


def test_a_plate_is_no_number() -> None:
    assert spelling("101E2") == "101E2"
    assert match_ids(["101E2"], ["10100"], "x") == {}


def test_what_cannot_be_told_apart_is_refused() -> None:
    with pytest.raises(InputError, match=r"a and b: ids are spelt in different ways and 1 cannot be matched"):
        match_ids(["1"], ["01", "001"], "a and b")
    with pytest.raises(InputError, match="cannot be matched"):
        match_ids(["01", "001"], ["1"], "a and b")


def test_a_remark_is_made_once_and_shown_or_warned_of() -> None:
    shown: list[str] = []
    with remarks(shown.append) as outer:
        remark("one")
        with remarks() as inner:
            remark("two")
            remark("two")
        remark("one")
    assert (list(outer), list(inner), shown) == (["one"], ["two"], ["one", "two"])
    with pytest.warns(DataWarning, match="three"):
        remark("three")
