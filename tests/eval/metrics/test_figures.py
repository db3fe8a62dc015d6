"""The finer figures: each finds real patients alike, fires on a hard case, and agrees with a known library."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from polyclinic import ProfileEncoder, load_modality
from polyclinic.conditioning.dataset.dataset import read_training_set
from polyclinic.core.config import DatasetConfig, FieldMap
from polyclinic.core.errors import InputError
from polyclinic.core.modality import Task
from polyclinic.core.profile import PatientProfile
from polyclinic.core.registry import sound
from polyclinic.eval.metrics import (
    calibration,
    classifier,
    structured,
    tabular,
    tstr,
)
from polyclinic.eval.metrics.metric import Group, compare
from polyclinic.eval.metrics.registry import detailed_scores, metrics_of
from polyclinic.eval.metrics.structured import _welch, frechet, kernel_distance
from polyclinic.eval.metrics.tsgm_adapter import ABSENT
from polyclinic.eval.profile import FULL, QUICK
from polyclinic.eval.sample import Sample
from polyclinic.eval.score import AS_REAL, CLOSE, DIFFERENT, NOT_MEASURED
from polyclinic.modalities.signals.time_metrics import autocorrelation, heart_rate_variability

SMALL = replace(FULL, real_baselines=16, bootstraps=10, slow_draws=8)
Rows = np.ndarray
Make = Callable[[int, int], Rows]


def dependent(n: int, seed: int) -> Rows:
    """Four columns: two that go together in a line, one by its square, one with rare high values."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 4))
    x[:, 1] += 2 * x[:, 0]
    x[:, 2] = np.square(x[:, 3]) + 0.3 * x[:, 2]
    return x


def apart(rows: Rows) -> Rows:
    """Each column shuffled by itself: the same numbers, nothing that joins them."""
    rng = np.random.default_rng(9)
    return np.stack([rng.permutation(column) for column in rows.T], axis=1)


def tailless(rows: Rows) -> Rows:
    return np.clip(rows, *np.quantile(rows, [0.1, 0.9], axis=0))


def has(n: int, seed: int) -> Rows:
    """Six categories, five of them in one of twelve patients."""
    rng = np.random.default_rng(seed)
    return (rng.random((n, 6)) < [0.5, *[1 / 12] * 5]).astype(float)


def stays(n: int, seed: int) -> Rows:
    rng = np.random.default_rng(seed)
    event, end = rng.exponential(10, n), rng.uniform(5, 30, n)
    return np.stack([np.minimum(event, end), event <= end], axis=1).astype(float)


def cloud(n: int, seed: int) -> Rows:
    return np.random.default_rng(seed).normal(size=(n, 8))


def pictures(n: int, seed: int) -> Rows:
    """Bars at random places, 64 x 64."""
    rng = np.random.default_rng(seed)
    out = np.zeros((n, 64, 64))
    for image, (row, column, size) in zip(out, rng.integers(4, 40, (n, 3)), strict=True):
        image[row : row + 20, column : column + size] = rng.uniform(0.3, 1)
    return (out + 0.02 * rng.random(out.shape)).reshape(n, -1)


def genes(n: int, seed: int) -> Rows:
    """Four modules of 25 genes; the first 60 genes differ between odd and even rows."""
    rng = np.random.default_rng(seed)
    x = np.repeat(rng.normal(size=(n, 4)), 25, axis=1) + 0.7 * rng.normal(size=(n, 100))
    x[::2, :60] += 2.0
    return x


def pairs(n: int, seed: int) -> Rows:
    """Images of 8 pixels a side with a bright half, left or right, and its mask."""
    rng = np.random.default_rng(seed)
    masks = np.zeros((n, 8, 8))
    for mask, edge, right in zip(masks, rng.integers(2, 6, n), rng.random(n) < 0.5, strict=True):
        mask[:, edge:] = right
        mask[:, :edge] = not right
    images = 0.3 + 0.4 * masks + 0.1 * rng.normal(size=masks.shape)
    return np.hstack([images.reshape(n, -1), masks.reshape(n, -1)])


def mismatched(rows: Rows) -> Rows:
    """Each image with the mask of another."""
    images, masks = np.split(rows, 2, axis=1)
    return np.hstack([images, np.roll(masks, 7, axis=0)])


def collapsed(rows: Rows) -> Rows:
    return rows.mean(0) + 0.1 * rows


HARD: dict[str, tuple[Make, Callable[[Rows], Rows]]] = {
    "wasserstein": (dependent, lambda x: x + 1.5),
    "cramers_v": (dependent, lambda x: x + 1.5),
    "correlation": (dependent, apart),
    "mutual_information": (dependent, apart),
    "tail_coverage": (dependent, tailless),
    "rare_category_coverage": (has, lambda x: x * [1, 0, 0, 0, 0, 0]),
    "wasserstein_over_time": (dependent, lambda x: x * 3),
    "kaplan_meier_gap": (stays, lambda x: x * [0.3, 1]),
    "mmd": (dependent, lambda x: x + 1.5),
    "series_range": (dependent, lambda x: x * 3),
    "fid": (cloud, lambda x: x + 1),
    "kid": (cloud, lambda x: x + 1),
    "precision": (cloud, lambda x: 4 * x),
    "density": (cloud, lambda x: 4 * x),
    "recall": (cloud, collapsed),
    "coverage": (cloud, collapsed),
    "segmenter_dice": (pairs, mismatched),
    "ms_ssim": (pictures, lambda x: x[:1] + 0.01 * x),
    "gene_correlation": (genes, apart),
    "differential_genes": (genes, lambda x: np.roll(x, 1, axis=0)),
    "gene_modules": (genes, apart),
}  # fmt: skip
ALL = {metric.name: metric for metric in sound("metrics").values()}


def group(rows: Rows) -> Group:
    names = tuple(f"c{i}" for i in range(rows.shape[1]))
    return Group(rows, names, np.arange(len(rows)), np.arange(len(rows)) % 2 * 1.0)


def test_pairs_as_channels_are_what_monai_makes_of_a_batch() -> None:
    from monai.metrics.regression import compute_ms_ssim

    images = np.random.default_rng(0).random((12, 64, 64)).astype(np.float32)
    images += np.linspace(0, 1, 64, dtype=np.float32)
    random = np.random.default_rng(3)
    one = random.integers(12, size=30)
    two = (one + random.integers(1, 12, size=30)) % 12
    sides = [torch.from_numpy(images[rows])[:, None] for rows in (one, two)]
    batch = compute_ms_ssim(*sides, 2, kernel_size=7, kernel_sigma=1.0, weights=structured.SCALES)
    assert structured.ms_ssim(images, 30, 3) == pytest.approx(float(batch.mean()), rel=1e-6)


def test_every_figure_has_a_hard_case() -> None:
    assert set(HARD) == set(ALL)


@pytest.mark.parametrize("name", HARD)
def test_real_patients_are_alike_and_the_hard_case_is_found(name: str) -> None:
    if ALL[name].missing() == ABSENT:
        pytest.skip(ABSENT)
    make, spoil = HARD[name]
    test, train, fresh = (group(make(n, seed)) for n, seed in ((80, 1), (160, 2), (80, 3)))
    found = {}
    for kind, rows in (("same", fresh), ("hard", group(spoil(make(80, 4))))):
        score = found[kind] = compare(ALL[name], rows, train, test, SMALL, 0)
        assert score.value is not None, score.reason
        assert score.interval is not None
        assert score.real_baseline_interval is not None
        assert score.interval[0] <= score.value <= score.interval[1]
        assert score.real_baseline_interval[0] <= score.real_baseline <= score.real_baseline_interval[1]
        assert score.direction in ("lower is better", "higher is better")
        assert score.sentence.endswith(".")
        assert "{" not in score.sentence
    assert found["same"].verdict in (AS_REAL, CLOSE)
    assert found["hard"].verdict == DIFFERENT


@pytest.mark.parametrize("name", HARD)
def test_few_patients_are_not_measured(name: str) -> None:
    make = HARD[name][0]
    few, many = group(make(9, 1)), group(make(80, 2))
    for comparisons in ((few, many, many), (many, few, many), (many, many, few)):
        score = compare(ALL[name], *comparisons, SMALL, 0)
        assert (score.status, score.value, score.verdict) == (NOT_MEASURED, None, None)


def test_a_quick_look_leaves_heavy_figures_out() -> None:
    rows = group(genes(80, 1))
    assert compare(ALL["gene_modules"], rows, rows, rows, QUICK, 0).reason == "left out of a quick look"
    assert compare(ALL["differential_genes"], rows, rows, rows, QUICK, 0).value is not None


@pytest.mark.parametrize(
    "name",
    ["wasserstein", "cramers_v", "correlation", "mutual_information", "fid", "kid", "kaplan_meier_gap"],
)
def test_a_group_is_no_distance_from_itself(name: str) -> None:
    rows = group(HARD[name][0](80, 1))
    assert ALL[name].against(rows)(rows) == pytest.approx(0, abs=0.02)


def test_unknown_values_are_left_out_and_too_few_are_no_figure() -> None:
    rows = dependent(80, 1)
    rows[::2, 0] = np.nan
    assert tabular.wasserstein(group(rows))(group(rows)) == pytest.approx(0, abs=1e-9)
    assert np.isnan(tabular.wasserstein(group(rows[:, :1][:18]))(group(rows[:, :1][:18])))
    assert np.isnan(tabular.rare(group(np.ones((50, 2))))(group(np.ones((50, 2)))))
    assert np.isnan(structured.survival(group(stays(50, 1) * [1, 0]))(group(stays(50, 2))))


# -- known libraries


def test_wasserstein_is_scipys() -> None:
    from scipy.stats import wasserstein_distance

    a, b = dependent(300, 1)[:, :1], dependent(300, 2)[:, :1] * 1.5 + 0.4
    expected = wasserstein_distance(a[:, 0], b[:, 0]) / a.std()
    assert tabular.wasserstein(group(a))(group(b)) == pytest.approx(expected, rel=0.05)


def test_chi_squared_is_scipys() -> None:
    from scipy.stats import chi2_contingency

    table = np.array([[10.0, 20.0, 5.0], [12.0, 8.0, 9.0]])
    expected = np.sqrt(chi2_contingency(table, correction=False).statistic / table.sum())
    assert tabular.cramers_v(table) == pytest.approx(expected)


def test_mutual_information_is_scikit_learns() -> None:
    from sklearn.metrics import mutual_info_score

    x = dependent(200, 1)
    edges = np.quantile(x, [0.25, 0.5, 0.75], axis=0)
    cut = [np.digitize(x[:, j], edges[:, j]) for j in range(4)]
    found = tabular.information(x, edges)
    for i in range(4):
        for j in range(4):
            assert found[i, j] == pytest.approx(mutual_info_score(cut[i], cut[j]) / np.log(2), abs=1e-5)


def test_fid_and_kid_are_torchmetrics() -> None:
    import torch
    from torchmetrics.image.fid import _compute_fid
    from torchmetrics.image.kid import poly_mmd

    a, b = cloud(200, 1), cloud(200, 2) + 0.3
    comparisons = [torch.from_numpy(x) for x in (a, b)]
    expected = _compute_fid(*(part for x in comparisons for part in (x.mean(0), x.T.cov())))
    assert frechet(a, b) == pytest.approx(float(expected), rel=1e-6)
    assert kernel_distance(a, b) == pytest.approx(float(poly_mmd(*comparisons)), rel=1e-3, abs=1e-3)


def test_survival_is_statsmodels() -> None:
    survfunc = pytest.importorskip("statsmodels.duration.survfunc")
    rows = stays(200, 1)
    known = survfunc.SurvfuncRight(rows[:, 0], rows[:, 1])
    assert structured.kaplan_meier(rows, known.surv_times) == pytest.approx(known.surv_prob)


def test_heart_rate_variability_is_neurokits() -> None:
    neurokit = pytest.importorskip("neurokit2")
    peaks = np.cumsum(np.random.default_rng(0).integers(180, 260, 40))
    expected = neurokit.hrv_time({"RRI": 1000 * np.diff(peaks) / 250, "RRI_Time": peaks[1:] / 250}).iloc[0]
    for name, value in heart_rate_variability(peaks, 250).items():
        assert value == pytest.approx(expected[f"HRV_{name}"], rel=1e-3), name
    assert np.isnan(heart_rate_variability(peaks[:4], 250)["SDNN"])


def test_autocorrelation_of_a_wave() -> None:
    wave = np.sin(2 * np.pi * np.arange(400) / 40)
    assert autocorrelation(wave, 40) == pytest.approx(1)
    assert autocorrelation(wave, 20) == pytest.approx(-1)
    wave[3:] = np.nan
    assert np.isnan(autocorrelation(wave, 1))


# -- both ways, probabilities, subgroups

ILL = Task("illness", ("healthy", "ill"), lambda profile, record: float(profile.conditions["A41.9"]))


def people(n: int, seed: int, gap: float = 1.5, wrong: str = "") -> Sample:
    """Five numbers; the first is moved by illness; labels are turned round for those of the sex `wrong`."""
    rng = np.random.default_rng(seed)
    ill = rng.random(n) < 0.4
    x = rng.normal(size=(n, 5))
    x[:, 0] += gap * ill
    who = tuple(
        PatientProfile(f"{seed}-{i}", age=20.0 + i % 60, sex="FM"[i % 2], conditions={"A41.9": bool(s)})
        for i, s in enumerate(ill)
    )
    x[:, 1] += 3.0 * np.array([p.sex == "M" for p in who])
    x[:, 2] = x[:, 0] * np.array(
        [1 if p.sex == "M" else -1 for p in who]
    )  # lets a model learn the sexes apart
    labels = np.array([s != (p.sex == wrong) for s, p in zip(ill, who, strict=True)], dtype=float)
    table = pd.DataFrame(x, columns=[f"f{i}" for i in range(5)])
    return Sample(table, table, who, {"illness": labels}, [])


TRAIN, TEST = people(300, 1), people(200, 2)


@pytest.fixture(autouse=True)
def _few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classifier, "BOOTSTRAP", 60)


def taught(synthetic: Sample) -> dict[str, tstr.Score]:
    return {s.metric: s for s in tstr.task_scores(ILL, synthetic, TRAIN, TEST, 0)}


def test_as_real_records_teach_as_real_ones_in_all_ways() -> None:
    found = taught(people(200, 3))
    assert set(found) == {"tstr_auroc", "trts_auroc", "brier_score", "worst_subgroup"}
    assert {s.verdict for s in found.values()} <= {AS_REAL, CLOSE}
    assert {row["group"] for row in found["worst_subgroup"].details["groups"]} == {
        "age under 40", "age 40 to 64", "age 65 and over", "women", "men",
    }  # fmt: skip
    assert "Not measured by origin" in found["worst_subgroup"].sentence


@pytest.mark.parametrize(("gap", "word"), [(6.0, "easier"), (0.0, "harder")])
def test_classes_that_are_too_far_apart_or_too_near_are_found_by_real_models(gap: float, word: str) -> None:
    found = taught(people(200, 3, gap))["trts_auroc"]
    assert found.verdict == DIFFERENT
    assert word in found.sentence


def test_wrong_labels_give_wrong_probabilities() -> None:
    turned = people(200, 3)
    turned.labels["illness"][:] = 1 - turned.labels["illness"]
    found = taught(turned)["brier_score"]
    assert found.verdict == DIFFERENT
    assert found.details["calibration_error"] > found.details["real_baseline_calibration_error"]


def test_the_group_for_whom_the_records_are_wrong_is_named() -> None:
    found = taught(people(200, 3, wrong="M"))["worst_subgroup"]
    assert found.verdict == DIFFERENT
    assert "“men”" in found.sentence


def test_origin_is_a_subgroup_where_the_reference_tells_it() -> None:
    stated = replace(
        TEST, profiles=tuple(p.but(traits={"race": "ab"[i % 2]}) for i, p in enumerate(TEST.profiles))
    )
    score = tstr.task_scores(ILL, people(200, 3), TRAIN, stated, 0)[-1]
    assert {"race a", "race b"} <= {row["group"] for row in score.details["groups"]}
    assert "Not measured by origin" not in score.sentence


def test_panels_of_a_side_that_was_read_without_its_records_are_not_measured() -> None:
    view = load_modality("imaging").views()[0]
    found = list(detailed_scores(view, people(60, 3), people(120, 4), people(60, 5), SMALL, 0))
    panels = [score for score in found if score.metric in {m.name for m in metrics_of("embedding")}]
    assert len(panels) == len(metrics_of("embedding"))
    assert {score.status for score in panels} == {NOT_MEASURED}


def test_no_subgroup_is_not_measured() -> None:
    nobody = replace(TEST, profiles=tuple(replace(p, age=None, sex=None) for p in TEST.profiles))
    score = tstr.task_scores(ILL, people(200, 3), TRAIN, nobody, 0)[-1]
    assert score.status == NOT_MEASURED


def test_brier_and_calibration_error() -> None:
    right, y = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([0, 1])
    assert (calibration.brier(right, y), calibration.brier(right, 1 - y)) == (0, 1)
    unsure = np.full((100, 2), 0.5)
    assert calibration.calibration_error(unsure, np.arange(100) % 2) == pytest.approx(0)
    sure = np.tile([0.95, 0.05], (100, 1))
    assert calibration.calibration_error(sure, np.arange(100) % 2) == pytest.approx(0.45)


# -- origin of the reference's patients


def test_a_reference_tells_origin_and_nothing_learns_it(tmp_path: Path) -> None:
    (tmp_path / "patients.csv").write_text(
        "record,patient_id,split,age,origin\na,1,test,50,x\nb,2,test,60,not reported\nc,3,test,70,\n"
    )
    config = DatasetConfig(fields={"age": FieldMap(column="age")}, groups={"race": "origin"})
    found = read_training_set(config, tmp_path, "test")
    assert [dict(p.traits) for p in found.profiles] == [{"race": "x"}, {}, {}]
    assert "race" not in found.fields
    encoder = ProfileEncoder()
    plain = tuple(replace(p, traits={}) for p in found.profiles)
    assert (encoder.encode(found.profiles) == encoder.encode(plain)).all()
    with pytest.raises(InputError, match="no column 'nation'"):
        read_training_set(config.model_copy(update={"groups": {"race": "nation"}}), tmp_path, "test")


def test_welch_is_scipys_and_constant_genes_raise_no_warning() -> None:
    from scipy.stats import ttest_ind

    rng = np.random.default_rng(3)
    values = rng.normal(8, 1, (40, 6))
    values[:, 0] = 5.1  # constant, in floats whose mean is not exact
    values[:20, 1] = 5.1  # in one class
    classes = np.repeat([0.0, 1.0], 20)
    sign, p = _welch(Group(values, tuple("abcdef"), np.arange(40), classes))
    expected = ttest_ind(values[:20, 2:], values[20:, 2:], equal_var=False)
    np.testing.assert_allclose(p[2:], expected.pvalue)
    np.testing.assert_array_equal(sign[2:], np.sign(expected.statistic))
    assert p[0] == 1
    assert 0 < p[1] < 1e-6


def test_tenths_are_the_same_of_all_columns_at_once_and_of_each_alone() -> None:
    values = np.random.default_rng(0).standard_normal((37, 9)).round(1)
    values[:, 3] = 1.0
    gap = np.vstack([values, np.full((1, 9), np.nan)])  # a value that is not known: column by column
    for one, other in zip(tabular._tenths(values), tabular._tenths(gap), strict=True):
        assert np.array_equal(one, other)
    assert tabular._tenths(values[:5]) == [None] * 9
