"""What modalities let eval see: finite features of any record, row by row, and pictures with words."""

from typing import Any

import numpy as np
import pytest

from polyclinic.core.modality import Panel, Record, View
from polyclinic.core.profile import PatientProfile
from polyclinic.eval.metrics.registry import metrics_of
from polyclinic.modalities.imaging import metrics as imaging
from polyclinic.modalities.imaging.subject import Subject
from polyclinic.modalities.omics import metrics as omics
from polyclinic.modalities.signals import metrics as signals
from polyclinic.modalities.signals import time_metrics

GENES = np.array(["ESR1", "KRT5", "MKI67", "GAPDH", "GAPDH"])


def images(rng: np.random.Generator, size: int = 64) -> Record:
    return Record({"image": rng.integers(0, 4096, (size, size)).astype(np.uint16)})


def ecg(rng: np.random.Generator, rate: float = 75.0) -> Record:
    """A train of spikes in all leads."""
    leads = 0.01 * rng.normal(size=(12, 5000))
    for beat in np.arange(0.4, 9.8, 60 / rate):
        spike = np.exp(-np.square((np.arange(5000) / 500 - beat) / 0.012))
        leads += np.linspace(0.5, 1.5, 12)[:, None] * spike
    return Record({"ecg": leads.astype(np.float32)}, {"heart_rate": rate})


def vitals(rng: np.random.Generator, hours: int = 24) -> Record:
    table = np.array([80, 97, 37, 120, 85, 65, 16]) + rng.normal(size=(hours, 7))
    table[rng.random(table.shape) < 0.4] = np.nan
    return Record({"vitals": table.astype(np.float32)})


def rna(rng: np.random.Generator) -> Record:
    return Record({"rna": rng.normal(8, 2, 5).astype(np.float32), "rna_var": GENES}, {"pam50": "LumA"})


VIEWS = [(view, images) for view in imaging.views(Subject("DX", "CHEST"))]
VIEWS += [(view, rna) for view in omics.views(omics.Shown.of_card({}, ["pam50?"]))]
VIEWS += [(view, {"ecg": ecg, "vitals": vitals}[view.name]) for view in signals.views("Chart")]
IDS = [view.name for view, _ in VIEWS]


@pytest.mark.parametrize(("view", "make"), VIEWS, ids=IDS)
def test_features_are_finite_named_and_row_by_row(view: View, make: Any) -> None:
    records = [make(np.random.default_rng(i)) for i in range(4)]
    for see in (view.features, view.inputs or view.features):
        table = see(records)
        assert len(table) == 4
        assert table.columns.is_unique
        assert np.isfinite(table.to_numpy()).all()
        alone = see(records[2:3])
        assert list(alone.columns) == list(table.columns)
        assert alone.to_numpy() == pytest.approx(table.to_numpy()[2:3], abs=1e-9)
    assert all(view.needs in record.arrays for record in records)


@pytest.mark.parametrize(("view", "make"), VIEWS, ids=IDS)
@pytest.mark.parametrize("real", [0, 3])
def test_pictures_have_words(view: View, make: Any, real: int) -> None:
    from matplotlib.figure import Figure

    rows = [
        (PatientProfile(str(i), traits={"pam50": "Basal"}), make(np.random.default_rng(i))) for i in range(6)
    ]
    figure = Figure()
    alt = view.picture(figure, rows[:real], rows[real:])
    figure.canvas.draw()
    assert ("real" in alt) == bool(real)
    assert "synthetic" in alt


@pytest.mark.parametrize(("view", "make"), VIEWS, ids=IDS)
def test_labels_of_unknown_patients_are_unknown(view: View, make: Any) -> None:
    record = Record(make(np.random.default_rng(0)).arrays)
    for task in view.tasks:
        assert np.isnan(task.label(PatientProfile("x"), record))


@pytest.mark.parametrize("empty", [Record({"ecg": np.zeros((12, 5000), np.float32)}),
                                   Record({"vitals": np.full((24, 7), np.nan, np.float32)}),
                                   Record({"image": np.zeros((64, 64), np.uint16)})],
                         ids=["flat ECG", "nothing charted", "black image"])  # fmt: skip
def test_empty_records_have_finite_features(empty: Record) -> None:
    for view, _ in VIEWS:
        if view.needs in empty.arrays:
            assert np.isfinite(view.features([empty]).to_numpy()).all()


def test_resolution_does_not_show() -> None:
    small = images(np.random.default_rng(0)).arrays["image"]
    large = np.kron(small, np.ones((4, 4), dtype=np.uint16))
    assert imaging.shrink(large) == pytest.approx(imaging.shrink(small))
    odd = imaging.shrink(large[:, :250])
    assert odd.shape == (64, 64)
    assert odd.mean() == pytest.approx(large[:, :250].mean() / 4095)


@pytest.mark.parametrize("rate", [45, 75, 140])
def test_beats_are_found_without_the_records_own_marks(rate: float) -> None:
    found = signals.ecg_features([ecg(np.random.default_rng(0), rate)]).iloc[0]
    assert found["heart rate"] == pytest.approx(rate, rel=0.02)
    assert found["V6 R wave"] > found["I R wave"] > 0.2


def test_a_short_stay_is_not_missing_data() -> None:
    table = vitals(np.random.default_rng(0)).arrays["vitals"].copy()
    table[8:] = np.nan
    found = signals.vitals_features([Record({"vitals": table})]).iloc[0]
    same = signals.vitals_features([Record({"vitals": table[:8]})]).iloc[0]
    assert found["hours"] <= 8
    assert found.to_numpy() == pytest.approx(same.to_numpy())


def test_a_finding_is_absent_only_if_all_are_known_absent() -> None:
    label = imaging._finding("J90", "J98.11")
    record = Record({})
    assert label(PatientProfile("x", conditions={"J90": False, "J98.11": True}), record) == 1
    assert label(PatientProfile("x", conditions={"J90": False, "J98.11": False}), record) == 0
    assert np.isnan(label(PatientProfile("x", conditions={"J90": False}), record))


PANELS = [(panel, view, make) for view, make in VIEWS for panel in view.panels]


@pytest.mark.parametrize(("panel", "view", "make"), PANELS, ids=[f"{v.name}-{p.name}" for p, v, _ in PANELS])
def test_closer_looks_are_named_row_by_row_and_of_a_known_kind(panel: Panel, view: View, make: Any) -> None:
    records = [make(np.random.default_rng(i)) for i in range(3)]
    table = panel.rows(records)
    assert metrics_of(panel.kind)
    assert len(table) == 3
    assert table.columns.is_unique
    alone = panel.rows(records[1:2]).to_numpy(dtype=float)
    assert alone == pytest.approx(table.to_numpy(dtype=float)[1:2], abs=1e-5, nan_ok=True)
    if panel.contrast is not None:
        task, *classes = panel.contrast
        assert set(classes) <= set(next(t for t in view.tasks if t.name == task).classes)


def test_closer_looks_see_time() -> None:
    rng = np.random.default_rng(0)
    steady, wild = ecg(rng, 60.0), Record({"ecg": np.roll(ecg(rng, 60.0).arrays["ecg"], 0, axis=1)})
    wild.arrays["ecg"][:, 2500:] = ecg(rng, 110.0).arrays["ecg"][:, 2500:]
    found = time_metrics.variability([steady, wild])
    assert found["SDNN"][0] < 20 < 100 < found["SDNN"][1]
    assert time_metrics.variability([Record({"ecg": np.zeros((12, 5000), np.float32)})]).isna().all(axis=None)
    beat = time_metrics.ecg_autocorrelation([steady])
    assert beat["II one beat"][0] > 0.8 > 0.2 > beat["II 0.3 s"][0]
    drift = Record({"vitals": np.repeat(np.arange(24.0)[:, None], 7, axis=1).astype(np.float32)})
    assert time_metrics.vitals_autocorrelation([drift])["HR 1 h"][0] == pytest.approx(1)
    short = vitals(rng, 24)
    short.arrays["vitals"][9:] = np.nan
    assert time_metrics.length_of_stay([drift, short]).to_numpy().tolist() == [[24, 0], [9, 1]]


def test_survival_of_tumours_is_read_from_facts() -> None:
    known = Record({}, {"os_months": 30.5, "os_event": True})
    found = omics.survival([known, Record({}, {})]).to_numpy()
    assert found[0].tolist() == [30.5, 1]
    assert np.isnan(found[1]).all()
