"""Who is held out: the rows of the other split never come, and nobody is on two sides."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyclinic.conditioning.dataset.dataset import read_training_set
from polyclinic.conditioning.dataset.split import is_in
from polyclinic.core.config import DatasetConfig
from polyclinic.core.errors import InputError

TABLE = "patient_id,split,record,years\na,train,1,61\nb,test,2,70\nc,train,3,\nd,test,4,50\n"
CONFIG = {"name": "mine", "table": "t.csv", "fields": {"age": {"column": "years"}}}


def read(folder: Path, side: str, **changes: object) -> list[tuple[str, float | None]]:
    config = DatasetConfig.model_validate({**CONFIG, **changes})
    return [(p.patient_id, p.age) for p in read_training_set(config, folder, side).profiles]  # type: ignore[arg-type]


def test_rows_are_those_of_the_split_and_an_empty_cell_is_unknown(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(TABLE)
    assert read(tmp_path, "train") == [("a", 61.0), ("c", None)]
    assert read(tmp_path, "test") == [("b", 70.0), ("d", 50.0)]


def test_a_share_is_held_out_and_both_sides_are_all(tmp_path: Path) -> None:
    rows = "".join(f"p{i},,{i},{i % 90}\n" for i in range(400))
    (tmp_path / "t.csv").write_text("patient_id,split,record,years\n" + rows)
    sides = [{pid for pid, _ in read(tmp_path, s, split=None, test_share=0.25)} for s in ("train", "test")]
    assert not sides[0] & sides[1]
    assert len(sides[0] | sides[1]) == 400
    assert 60 < len(sides[1]) < 140


def test_a_patient_on_two_sides_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(TABLE + "a,test,5,61\n")
    with pytest.raises(InputError, match="1 patients have rows of both 'train' and 'test': a"):
        read(tmp_path, "train")


@given(st.text(min_size=1), st.floats(0, 1))
def test_everybody_is_on_one_side_for_ever(patient: str, share: float) -> None:
    held = is_in("test", patient, share)
    assert held != is_in("train", patient, share)
    assert not held or is_in("test", patient, 1.0)
    assert not is_in("test", patient, 0.0)
