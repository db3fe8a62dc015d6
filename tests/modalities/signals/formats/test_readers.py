"""Programs of our users on our signals, where they do what nobody expects."""

from dataclasses import replace
from datetime import date
from pathlib import Path

import edfio
import numpy as np
import pytest

from polyclinic.core.errors import InputError
from polyclinic.core.modality import Record
from polyclinic.core.profile import PatientProfile
from polyclinic.modalities.signals.export import ExportOptions, export
from polyclinic.modalities.signals.layout import study_of

from .test_export import USUAL, trace

EDF = ExportOptions(formats=("wfdb", "edf"))
PADDING = -327.68  # not charted


def written(folder: Path, profile: PatientProfile = USUAL) -> Path:
    """EDF files of an ECG and of a chart with one hour that nobody charted."""
    ecg, vitals = trace(**study_of(1)), np.full((24, 7), 70, np.float32)
    vitals[3] = np.nan
    export([Record({**ecg.arrays, "vitals": vitals}, ecg.facts)], [profile], folder, EDF)
    return folder / "edf" / profile.patient_id


def test_mne_calls_channels_eeg_unless_it_infers_types_and_takes_padding_for_data(tmp_path: Path) -> None:
    mne = pytest.importorskip("mne")
    place = written(tmp_path)
    plain = mne.io.read_raw_edf(place / "ecg.edf", verbose="error")
    assert set(plain.get_channel_types()) == {"eeg"}
    inferred = mne.io.read_raw_edf(place / "ecg.edf", infer_types=True, verbose="error")
    assert set(inferred.get_channel_types()) == {"ecg"}  # our labels begin with ECG
    assert inferred.ch_names[:2] == ["I", "II"]
    chart = mne.io.read_raw_edf(place / "vitals.edf", preload=True, verbose="error")
    assert chart.get_data()[:, 3] == pytest.approx(PADDING)
    assert any(f"{PADDING:g} stands for not charted" in text for text in chart.annotations.description)


def test_pyedflib_opens_them(tmp_path: Path) -> None:
    pyedflib = pytest.importorskip("pyedflib")
    with pyedflib.EdfReader(str(written(tmp_path) / "ecg.edf")) as file:
        assert file.getSignalLabels()[:2] == ["ECG I", "ECG II"]
        assert len(file.readAnnotations()[0]) == len(
            edfio.read_edf(tmp_path / "edf/SYN-0001/ecg.edf").annotations
        )


@pytest.mark.parametrize("year", [1984, 1985, 2084, 2085])
def test_a_year_that_edf_has_no_room_for_is_refused_before_a_file_is_written(
    tmp_path: Path, year: int
) -> None:
    profile = replace(USUAL, index_date=date(year, 5, 1))
    if 1985 <= year <= 2084:
        assert edfio.read_edf(written(tmp_path, profile) / "ecg.edf").startdate.year == year
        return
    with pytest.raises(InputError, match=f"years from 1985 to 2084, got {year}-05-01; leave edf out"):
        written(tmp_path, profile)
    assert not list(tmp_path.rglob("*.edf"))


def test_no_annotation_of_ours_has_a_line_break_which_edfio_drops(tmp_path: Path) -> None:
    path = tmp_path / "a.edf"
    signal = edfio.EdfSignal(np.arange(10.0), 10)
    marks = [edfio.EdfAnnotation(0.1, None, "two\nlines"), edfio.EdfAnnotation(0.2, None, "one")]
    edfio.Edf([signal], annotations=marks).write(path)
    assert [mark.text for mark in edfio.read_edf(path).annotations] == ["one"]
    ecg = trace(lead_off=[["RA", 100, 600]], **study_of(1))
    export([ecg], [USUAL], tmp_path, EDF)
    texts = [mark.text for mark in edfio.read_edf(tmp_path / "edf/SYN-0001/ecg.edf").annotations]
    assert any(text.startswith("lead off RA") for text in texts)
    assert not any("\n" in text for text in texts)


def test_a_record_of_ten_seconds_stays_ten_in_our_edf(tmp_path: Path) -> None:
    """wfdb 4.3.1 wfdb_to_edf adds a data record to it, so ours is written by edfio."""
    import wfdb

    ecg = np.tile(trace().arrays["ecg"], (1, 5))
    export([Record({"ecg": ecg}, {})], [PatientProfile("SYN-7")], tmp_path, EDF)
    assert edfio.read_edf(tmp_path / "edf/SYN-7/ecg.edf").duration == 10
    assert wfdb.rdheader(str(tmp_path / "wfdb/SYN-7/ecg")).sig_len == 5000


@pytest.mark.filterwarnings("ignore")
def test_neurokit_finds_a_heart_rate_in_noise_so_electrodes_off_are_marked(tmp_path: Path) -> None:
    neurokit = pytest.importorskip("neurokit2")
    import wfdb

    _, info = neurokit.ecg_process(np.random.default_rng(0).normal(0, 0.01, 5000), sampling_rate=500)
    assert len(info["ECG_R_Peaks"]) > 5  # ten microvolts of noise
    export([trace(lead_off=[["RA", 100, 600]], **study_of(1))], [USUAL], tmp_path)
    marks = wfdb.rdann(str(tmp_path / "wfdb" / "SYN-0001" / "ecg"), "atr")
    assert [int(n) for n, symbol in zip(marks.sample, marks.symbol, strict=True) if symbol == "~"] == [
        100,
        600,
    ]
