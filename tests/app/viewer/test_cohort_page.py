"""The page of a cohort in a real browser: figures, search, filters, sorting, the table, axe, dark and phone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

LOADED = "[...document.querySelectorAll('tr.patient img')].every(one => one.naturalWidth > 40)"
PHONE, SCREEN = {"width": 400, "height": 850}, {"width": 1300, "height": 900}


@pytest.fixture(scope="module")
def table(folder: Path) -> pd.DataFrame:
    return pd.read_parquet(folder / "patients.parquet").set_index("patient_id")


def shown(tab: Any) -> list[str]:
    """Ids of the patients in the table, in order."""
    return list(
        tab.evaluate("[...document.querySelectorAll('tr.patient td.id a')].map(one => one.textContent)")
    )


def test_all_patients_are_there_with_their_pictures(
    opened: Callable[..., Any],
    table: pd.DataFrame,
    shoot: Callable[..., None],
    until: Callable[..., Any],
) -> None:
    tab = opened()
    assert shown(tab) == list(table.index)
    until(lambda: tab.evaluate(LOADED))
    assert tab.locator("tr.patient img").count() == table.has_imaging.sum()
    assert tab.locator(".count").inner_text() == f"{len(table)} patients"
    shoot(tab, "cohort")


def test_search_finds_ids_and_diagnoses(
    opened: Callable[..., Any], table: pd.DataFrame, until: Callable[..., Any]
) -> None:
    tab = opened()
    one = table.index[2]
    tab.get_by_label("Search").fill(one[-3:].upper())
    until(lambda: shown(tab) == [one])
    tab.get_by_label("Search").fill("hypertension")
    until(lambda: shown(tab) == list(table.index[table.I10.fillna(False).astype(bool)]))


def test_age_and_sex_filter(
    opened: Callable[..., Any], table: pd.DataFrame, until: Callable[..., Any]
) -> None:
    tab = opened()
    middle = sorted(table.age)[len(table) // 2]
    tab.get_by_label("Age, from").fill(str(middle))
    expected = list(table.index[table.age >= middle])
    until(lambda: shown(tab) == expected)
    tab.get_by_label("female", exact=True).check()
    assert shown(tab) == list(table.index[(table.age >= middle) & (table.sex == "F")])
    tab.click("#reset")
    assert shown(tab) == list(table.index)
