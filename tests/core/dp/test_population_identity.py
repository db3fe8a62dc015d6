"""A population cannot get a fresh budget by another name."""

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyclinic.core.dp.budget import Budget, PrivacyPlan
from polyclinic.core.dp.ledger import Ledger
from polyclinic.core.dp.population_identity import SMALLEST, overlap, sketch
from polyclinic.core.errors import BudgetExceeded, InputError
from polyclinic.core.remarks import DataWarning

KEY = b"k" * 32
PLAN = {"slope": PrivacyPlan(100, 0.1, 2.0, 50, 1e-3, 1.0)}


def ids(first: int, count: int) -> list[str]:
    return [f"MRN{i:05}" for i in range(first, first + count)]


@given(st.integers(1, 400), st.integers(1, 400), st.floats(0, 1))
def test_the_overlap_is_estimated(a: int, b: int, share: float) -> None:
    shared = round(share * min(a, b))
    one, other = ids(0, a), ids(a - shared, b)
    found = overlap(sketch(one, KEY), sketch(other, KEY), (a, b))
    true = shared / min(a, b)
    if len({*one, *other}) < SMALLEST:
        assert found == pytest.approx(true)
    if shared == 0:
        assert found == 0
    if shared == min(a, b) == max(a, b):
        assert found == pytest.approx(1)


def test_half_of_a_large_set_is_seen() -> None:
    found = overlap(sketch(ids(0, 5000), KEY), sketch(ids(2500, 5000), KEY), (5000, 5000))
    assert 0.25 < found < 0.75


def test_without_the_key_nothing_is_recognised() -> None:
    assert overlap(sketch(ids(0, 100), KEY), sketch(ids(0, 100), b"x" * 32), (100, 100)) == 0


@pytest.mark.parametrize("name", ["our clinic.", "Our Clinic", "our-clinic", "north wing"])
def test_the_same_people_under_another_name_are_refused(tmp_path: Path, name: str) -> None:
    book = Ledger(tmp_path / "ledger.jsonl")
    book.charge_all("our clinic", PLAN, None, people=ids(0, 100))
    with pytest.raises(InputError, match="population: our clinic` if they are the same"):
        book.charge_all(name, PLAN, None, people=ids(0, 100))
    assert len(book.entries()) == 1
    with pytest.warns(DataWarning, match="a budget of its own"):
        book.charge_all(name, PLAN, None, people=ids(0, 100), stated=True)
    assert len(book.entries()) == 2


def test_other_people_have_a_budget_of_their_own(tmp_path: Path) -> None:
    book = Ledger(tmp_path / "ledger.jsonl")
    book.charge_all("our clinic", PLAN, None, people=ids(0, 100))
    book.charge_all("a hospital far away", PLAN, None, people=ids(100, 100))
    with pytest.warns(DataWarning, match="nearly"):
        book.charge_all("our clinics", PLAN, None, people=ids(500, 100))
    assert {entry.population for entry in book.entries()} == {
        "our clinic",
        "a hospital far away",
        "our clinics",
    }


def test_the_same_name_adds_up(tmp_path: Path) -> None:
    book = Ledger(tmp_path / "ledger.jsonl")
    one = PLAN["slope"].epsilon("prv")
    book.charge_all("our clinic", PLAN, Budget(1.2 * one, 1e-3), people=ids(0, 100))
    with pytest.raises(BudgetExceeded):
        book.charge_all("our clinic", PLAN, Budget(1.2 * one, 1e-3), people=ids(0, 100))


def test_the_key_is_secret_and_asked_for(tmp_path: Path) -> None:
    book = Ledger(tmp_path / "ledger.jsonl")
    book.charge_all("our clinic", PLAN, None, people=ids(0, 100))
    key = tmp_path / "ledger.jsonl.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert not any(name in book.path.read_text() for name in ids(0, 100))
    key.write_text("?")
    with pytest.raises(InputError, match="the ledger's key cannot be read"):
        book.charge_all("our clinic", PLAN, None, people=ids(0, 100))


def test_a_dead_writer_is_made_whole(tmp_path: Path) -> None:
    book = Ledger(tmp_path / "ledger.jsonl")
    plans = {**PLAN, "level": PLAN["slope"]}
    book.charge_all("our clinic", plans, None, run="r1", people=ids(0, 100))
    lines = book.path.read_bytes().splitlines(keepends=True)
    book.path.write_bytes(lines[0])
    (tmp_path / "ledger.jsonl.head").unlink()
    with pytest.warns(DataWarning, match="is not there, so that nobody sees"):
        book.charge_all("our clinic", plans, None, run="r1", people=ids(0, 100))
    assert [entry.purpose for entry in book.entries()] == ["slope", "level"]
