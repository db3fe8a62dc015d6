"""A study's time, UID and accession number: one answer, whoever asks."""

from datetime import date, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from polyclinic.core.profile import uid_for
from polyclinic.core.study import Study, chart_begins

SEEDS = st.integers(0, 2**62)
DAYS = st.dates(date(1901, 1, 1), date(2100, 1, 1))


@given(SEEDS, DAYS)
def test_a_study_is_made_by_day_and_its_accession_number_fits_dicom(seed: int, day: date) -> None:
    study = Study.of({"study_uid": uid_for(seed, "study")}, day)
    assert study == Study.of({"study_uid": uid_for(seed, "study"), "other": 1}, day)
    assert study is not None
    assert study.begins is not None
    assert study.taken is not None
    assert (
        datetime(day.year, day.month, day.day, 7) <= study.begins < datetime(day.year, day.month, day.day, 19)
    )
    assert study.taken - study.begins == timedelta(minutes=2)
    assert len(study.accession) <= 16  # SH
    assert chart_begins(day) <= study.begins


@given(SEEDS, SEEDS)
def test_two_studies_have_two_accession_numbers(first: int, second: int) -> None:
    one, other = (Study.of({"study_uid": uid_for(seed, "study")}, None) for seed in (first, second))
    assert one is not None
    assert other is not None
    assert (one.accession == other.accession) == (first == second)
    assert one.begins is one.taken is one.series_begins is None


def test_what_was_not_identified_has_no_study() -> None:
    assert Study.of({}, date(2026, 1, 1)) is None
