"""When signals begin, the same in WFDB, EDF and DICOM; and what WFDB headers say that a trace shows."""

import warnings
from datetime import datetime
from pathlib import Path
from typing import Any

import edfio
import numpy as np
import pydicom
import pytest
import wfdb
from hypothesis import given
from hypothesis import strategies as st

from polyclinic.core.modality import Record
from polyclinic.core.profile import PatientProfile
from polyclinic.core.study import Study, chart_begins
from polyclinic.modalities.signals.export import ExportOptions, export
from polyclinic.modalities.signals.formats.diagnoses import codes_of, dx_lines
from polyclinic.modalities.signals.formats.wfdb import MOST_NOTE, fitting
from polyclinic.modalities.signals.layout import study_of

from .test_export import USUAL, trace

ALL = ExportOptions(formats=("wfdb", "edf", "dicom"), together=True)


def patient(**facts: Any) -> Record:
    """An ECG that was identified, with a day of vitals and a minute at the bedside."""
    ecg = trace(**study_of(7), **facts)
    vitals = np.full((24, 7), 60, np.float32)
    return Record({**ecg.arrays, "vitals": vitals, "bedside": vitals[:1].repeat(120, 0)}, ecg.facts)


def test_one_time_in_every_format(tmp_path: Path) -> None:
    record = patient()
    study = Study.of(record.facts, USUAL.index_date)
    assert study is not None
    assert USUAL.index_date is not None
    paths = export([record], [USUAL], tmp_path, ALL)
    begins = {"ecg": study.taken, "all": study.taken, "vitals": chart_begins(USUAL.index_date)}
    begins["bedside"] = begins["vitals"]
    seen = 0
    for path in paths:
        if path.suffix == ".hea":
            assert wfdb.rdheader(str(path.with_suffix(""))).base_datetime == begins[path.stem]
        elif path.suffix == ".edf":
            found = edfio.read_edf(path)
            assert datetime.combine(found.startdate, found.starttime) == begins[path.stem]
        elif path.suffix == ".dcm":
            tags = pydicom.dcmread(path)
            assert tags.AcquisitionDateTime == f"{study.taken:%Y%m%d%H%M%S}"
            assert tags.TimezoneOffsetFromUTC == "+0000"
        else:
            continue
        seen += 1
    assert seen == 4 + 3 + 1


def test_without_a_date_no_time_is_made_up(tmp_path: Path) -> None:
    export([patient()], [PatientProfile("SYN-9")], tmp_path, ExportOptions())
    header = wfdb.rdheader(str(tmp_path / "wfdb" / "SYN-9" / "vitals"))
    assert (header.base_date, header.base_time) == (None, None)


@pytest.mark.parametrize(
    ("facts", "codes"),
    [
        ({"kinds": "NNNN"}, ["426783006"]),
        ({"kinds": "NNNN", "heart_rate": 120.0}, ["427084000"]),
        ({"kinds": "NNNN", "heart_rate": 44.0}, ["426177001"]),
        ({"kinds": "LLLL", "rhythm": "atrial fibrillation", "heart_rate": 120.0}, ["164889003", "164909002"]),
        ({"kinds": "RRVR"}, ["426783006", "59118001", "427172004"]),
        ({"kinds": "N/NA"}, ["426783006", "284470004"]),
        ({"kinds": "////", "rhythm": "atrial flutter"}, ["164890007", "10370003"]),
    ],
)
def test_the_dx_line_says_what_the_trace_shows(
    tmp_path: Path, facts: dict[str, Any], codes: list[str]
) -> None:
    record = patient(**facts)
    assert codes_of(record) == codes
    export([record], [USUAL], tmp_path, ExportOptions())
    place = tmp_path / "wfdb" / USUAL.patient_id
    assert f"Dx: {','.join(codes)}" in wfdb.rdheader(str(place / "ecg")).comments
    assert f"\n#Dx: {','.join(codes)}\n" in (place / "ecg.hea").read_text()
    assert "#Dx" not in (place / "vitals.hea").read_text()


def test_a_trace_of_no_stated_rhythm_has_no_dx_line() -> None:
    assert dx_lines(Record({"ecg": np.zeros((12, 500), np.float32)}, {})) == []


@given(st.text(max_size=400))
def test_notes_fit_into_an_annotation_file(text: str) -> None:
    note = fitting(text)
    assert text.startswith(note)
    assert len(note.encode()) <= MOST_NOTE < len(note.encode()) + 4 or note == text


def test_a_long_note_reads_back_as_one_mark(tmp_path: Path) -> None:
    """wfdb 4.3.1 writes longer ones too, and reads them back as marks that nobody made."""

    def marks(note: str) -> list[str]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            wfdb.wrann(
                "a",
                "atr",
                np.array([5, 90]),
                symbol=["~", "N"],
                aux_note=[note, ""],
                fs=500,
                write_dir=str(tmp_path),
            )
            return wfdb.rdann(str(tmp_path / "a"), "atr").symbol

    assert marks(fitting("é" * 300)) == ["~", "N"]
