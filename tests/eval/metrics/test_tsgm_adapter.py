"""tsgm behind its adapter: its metrics on stays with gaps, its process, its model, and what is said without it."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from polyclinic import load_modality
from polyclinic.core.modality import Record
from polyclinic.eval.metrics import tsgm_adapter
from polyclinic.eval.metrics.metric import Group, compare
from polyclinic.eval.metrics.registry import metrics_of
from polyclinic.eval.metrics.tsgm_adapter import METRICS, Stays, ask, filled, scale_of
from polyclinic.eval.profile import FULL
from polyclinic.eval.score import AS_REAL, CLOSE, DIFFERENT, NOT_MEASURED

BACKEND = os.environ.get("KERAS_BACKEND")
BENCHMARKS = Path(__file__).parents[3] / "benchmarks"
SERIES = metrics_of("series")
VITALS = next(view for view in load_modality("signals").views() if view.needs == "vitals")
PANEL = next(panel for panel in VITALS.panels if panel.kind == "series")


def stays(count: int, seed: int, gaps: float = 0.3) -> Stays:
    """Seven channels of 24 hours around a level of the stay's own; the last is never charted."""
    rng = np.random.default_rng(seed)
    out = 80 + 10 * rng.normal(size=(count, 1, 7)) + 5 * rng.normal(size=(count, 24, 7))
    out[rng.random(out.shape) < gaps] = np.nan
    out[..., 6] = np.nan
    return out.astype(np.float32)


def group(rows: Stays) -> Group:
    """As the panel of vitals tells them."""
    table = PANEL.rows([Record({"vitals": stay}) for stay in rows])
    return Group(table.to_numpy(np.float64), tuple(table.columns), np.arange(len(rows)))


needs_tsgm = pytest.mark.skipif(
    tsgm_adapter.find_spec("tsgm") is None, reason="the extra tsgm is not installed"
)


@needs_tsgm
@pytest.mark.parametrize("metric", METRICS)
def test_stays_are_no_distance_from_themselves_and_further_the_more_they_are_shifted(metric: str) -> None:
    assert tsgm_adapter.missing() is None
    real = stays(80, 1)
    found = [ask(metric, real, real + shift) for shift in (0, 5, 20)]
    assert found[0] == pytest.approx(0, abs=1e-6)
    assert found[0] < found[1] < found[2]
    assert ask(metric, real, stays(80, 2)) < found[1]


@needs_tsgm
def test_mmd_is_that_of_its_definition() -> None:
    from scipy.spatial.distance import cdist

    a, b = stays(50, 1), stays(60, 2) + 8
    scale = scale_of(a)
    x, y = (filled(own, scale).reshape(len(own), -1).astype(np.float64) for own in (a, b))
    far = cdist(x, x, "sqeuclidean")
    kernel = [
        np.exp(-cdist(*pair, "sqeuclidean") / np.median(far[far > 0])).mean()
        for pair in ((x, x), (y, y), (x, y))
    ]
    assert ask("mmd", a, b) == pytest.approx(kernel[0] + kernel[1] - 2 * kernel[2], abs=1e-5)


@needs_tsgm
def test_equal_real_stays_have_no_width() -> None:
    assert np.isnan(ask("mmd", np.ones((30, 24, 7), np.float32), stays(30, 1)))


def test_gaps_are_the_mean_of_the_stay_and_of_all_where_it_has_none() -> None:
    real = stays(40, 1, gaps=0.0)
    real[0, :12, 0] = np.nan
    real[1, :, 1] = np.nan
    whole = filled(real, scale_of(real))
    assert np.isfinite(whole).all()
    assert whole[0, :12, 0] == pytest.approx(whole[0, 12:, 0].mean(), abs=1e-5)
    assert (whole[1, :, 1] == 0).all()
    assert (whole[..., 6] == 0).all()


@needs_tsgm
@pytest.mark.parametrize("metric", SERIES, ids=lambda metric: metric.name)
def test_the_panel_of_vitals_finds_what_is_not_real(metric) -> None:
    few = replace(FULL, slow_draws=8)
    test, train, same = (group(stays(count, seed)) for count, seed in ((80, 1), (160, 2), (80, 3)))
    score = compare(metric, same, train, test, few, 0)
    assert score.verdict in (AS_REAL, CLOSE)
    assert score.real_baseline is not None
    assert score.interval is not None
    wide = stays(80, 4)
    wide = 80 + 1.8 * (wide - 80)
    assert compare(metric, group(wide), train, test, few, 0).verdict == DIFFERENT


def test_short_stays_end_in_gaps() -> None:
    table = PANEL.rows(
        [Record({"vitals": stays(1, 1)[0][:5]}), Record({"vitals": np.ones((30, 7), np.float32)})]
    )
    assert list(table.columns[:8]) == [
        *(f"{c}@0" for c in ("HR", "O2Sat", "Temp", "SBP", "MAP", "DBP", "Resp")),
        "HR@1",
    ]
    assert table.shape == (2, 168)
    assert table.iloc[0, 35:].isna().all()
    assert table.iloc[1].notna().all()


@pytest.mark.parametrize("metric", SERIES, ids=lambda metric: metric.name)
def test_without_tsgm_the_figures_are_not_measured(metric, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tsgm_adapter, "find_spec", lambda name: None)
    rows = group(stays(40, 1))
    score = compare(metric, rows, rows, rows, FULL, 0)
    assert (score.status, score.value) == (NOT_MEASURED, None)
    assert score.sentence == "Not measured: pip install 'polyclinic[tsgm]'."


def test_a_tsgm_that_does_not_start_is_not_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tsgm.py").write_text("raise AttributeError('no such thing in this pandas')")
    monkeypatch.syspath_prepend(tmp_path)
    child = tsgm_adapter._Child()
    child.close()
    assert child.fault == "tsgm does not start (AttributeError: no such thing in this pandas)"


@needs_tsgm
def test_this_process_stays_as_it_was() -> None:
    assert ask("distance", stays(30, 1), stays(30, 2)) > 0
    assert "tsgm" not in sys.modules
    assert os.environ.get("KERAS_BACKEND") == BACKEND


@needs_tsgm
def test_the_betavae_draws_stays_with_the_gaps_of_train_rows() -> None:
    code = """
import numpy as np
from signals_tsgm import betavae
train = np.random.default_rng(0).normal(80, 10, (64, 24, 7)).astype(np.float32)
train[:, ::3, 2] = np.nan
drawn = betavae(train, 9, 0, epochs=1)
assert drawn.shape == (9, 24, 7) and drawn.dtype == np.float32
assert (np.isnan(drawn) == np.isnan(train[:1])).all()
"""
    environment = {**os.environ, **tsgm_adapter.SETTINGS}
    subprocess.run([sys.executable, "-c", code], check=True, cwd=BENCHMARKS, env=environment)
