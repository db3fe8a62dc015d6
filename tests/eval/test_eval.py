"""Judging a cohort: distances, classifiers, reference files, the report. On made-up data."""

import copy
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from polyclinic.core.errors import InputError
from polyclinic.core.modality import DatasetSource, Modality, Record, Rows, Task, TrainingSet, View
from polyclinic.core.pipeline import Patient
from polyclinic.core.profile import PatientProfile
from polyclinic.core.training.weights import digest, find
from polyclinic.eval import reference
from polyclinic.eval.metrics import classifier
from polyclinic.eval.metrics.classifier import auc, c2st, forest, predict_classes
from polyclinic.eval.metrics.distances import distances, frechet, ks, real_baseline, summarise
from polyclinic.eval.metrics.tstr import task_scores
from polyclinic.eval.profile import QUICK
from polyclinic.eval.report import report
from polyclinic.eval.sample import Sample, collect, one_each, resample
from polyclinic.eval.score import (
    AS_REAL,
    CALIBRATION,
    DEPENDENCE,
    DIFFERENT,
    MARGINALS,
    MEASURED,
    NOT_MEASURED,
    QUESTIONS,
    QUOTED,
    RARE,
    UNDECIDED,
    Score,
)  # fmt: skip

WIDTH = 6
ILL = Task(
    "illness", ("healthy", "ill"), lambda profile, record: float(profile.conditions.get("A41.9", np.nan))
)
COIN = Task(
    "a coin", ("head", "tail"), lambda profile, record: float(profile.patient_id.endswith(tuple("13579")))
)


def toy_features(records: Sequence[Record]) -> pd.DataFrame:
    return pd.DataFrame([r.arrays["x"] for r in records], columns=[f"f{i}" for i in range(WIDTH)])


def toy_picture(figure: Any, real: Rows, synthetic: Rows) -> str:
    figure.subplots().plot([row[1].arrays["x"][0] for row in synthetic])
    return f"{len(real)} real & {len(synthetic)} synthetic <dots>"


VIEW = View("toy", "Toy record", "x", toy_features, (ILL, COIN), toy_picture, "Six numbers.", ("colour",))


def rows(n: int, seed: int, shift: float = 0.0, each: int = 1, ill: bool | None = None) -> list[Any]:
    """(profile, record) pairs of n patients; illness moves the first number."""
    rng = np.random.default_rng(seed)
    out = []
    for i in range(n):
        sick = bool(rng.random() < 0.4) if ill is None else ill
        ill_with = {"A41.9": sick, "J43.9": i % 20 == 0}
        who = PatientProfile(f"p{seed}-{i}", age=50.0 + i % 30, sex="FM"[i % 2], conditions=ill_with)
        for _ in range(each):
            x = rng.normal(size=WIDTH) + shift
            x[0] += 2.0 * sick
            out.append((who, Record({"x": x})))
    return out


def sample(*args: Any, **options: Any) -> Sample:
    (found,) = collect([VIEW], rows(*args, **options))
    assert found is not None
    return found


@dataclass
class Toy:
    """A modality whose training set's options hold its rows."""

    name: str = "toy"

    def views(self) -> list[View]:
        return [VIEW]

    def load(self, data: TrainingSet) -> list[Record]:
        own = dict(data.options["rows"])
        return [own[record] for record in data.records]

    def read(self, folder: Path, patient_ids: Sequence[str]) -> dict[str, Record]:
        return {}


class ToyCohort:
    """A cohort in memory."""

    def __init__(self, pairs: list[Any]) -> None:
        self.pairs, self.patients, self.folder = pairs, len(pairs), Path("/toy")

    def profiles(self) -> Iterator[PatientProfile]:
        return (profile for profile, _ in self.pairs)

    def records(self, modality: Modality) -> Iterator[Patient]:
        return (Patient(profile, {modality.name: record}) for profile, record in self.pairs)


def training_set(pairs: list[Any], split: str) -> TrainingSet:
    names = tuple(str(i) for i in range(len(pairs)))
    kept = [(name, record) for name, (_, record) in zip(names, pairs, strict=True)]
    people = tuple(profile for profile, _ in pairs)
    return TrainingSet(Path("/toy"), DatasetSource("toy", "CC0"), names, people, (), split, {"rows": kept})


REAL = {"toy": [(training_set(rows(120, 1), "train"), training_set(rows(80, 2, each=2), "test"))]}
TOY: Any = Toy()


@pytest.fixture(scope="module", autouse=True)
def _small_forests() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(classifier, "TREES", 20)
        yield


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    out = tmp_path_factory.mktemp("eval") / "new"
    return report.evaluate(ToyCohort(rows(60, 3)), [TOY], REAL, out), out


# -- distances


def test_a_group_is_no_distance_from_itself() -> None:
    features = sample(200, 0).features
    real = summarise(features)
    assert ks(real.of(features), real).max() <= 1 / len(features)
    assert frechet(real.of(features), real) == pytest.approx(0, abs=1e-9)


def test_ties_cost_nothing() -> None:
    features = pd.DataFrame({"count": np.random.default_rng(0).integers(0, 3, 500).astype(float)})
    real = summarise(features)
    assert ks(real.of(features), real).max() <= 1 / len(features)


def test_distances_grow_with_added_noise() -> None:
    test, train, base = sample(150, 1), sample(150, 2), sample(100, 3)
    real = summarise(test.features)
    at = real_baseline(train, real, 70, 0)
    noise = np.random.default_rng(4).normal(size=base.features.shape)
    found = []
    for scale in (0.0, 1.0, 2.0, 4.0):
        noisy = Sample(base.features + scale * noise, base.inputs, base.profiles, base.labels, [])
        found.append([s.value for s in distances(noisy, real, at, test, 0)[0]])
    assert (np.diff(np.array(found), axis=0) > 0).all()


@pytest.mark.parametrize(("shift", "verdict"), [(0.0, AS_REAL), (1.5, DIFFERENT)])
def test_distance_verdicts(shift: float, verdict: str) -> None:
    test, train, synthetic = sample(150, 1), sample(150, 2), sample(100, 5, shift)
    real = summarise(test.features)
    scores, by_feature = distances(synthetic, real, real_baseline(train, real, 75, 0), test, 0)
    assert [s.verdict for s in scores] == [verdict, verdict]
    assert set(by_feature) == set(real.names)
    for s in scores:
        assert s.value is not None
        assert s.interval is not None
        assert s.interval[0] <= s.value <= s.interval[1]


# -- utility


def test_auc_is_the_share_of_won_pairs() -> None:
    assert auc(np.array([2.0, 3.0]), np.array([1.0, 0.0])) == 1
    assert auc(np.array([1.0, 1.0]), np.array([1.0])) == 0.5
    a, b = (np.random.default_rng(0).integers(0, 9, n).astype(float) for n in (60, 80))
    assert auc(a, b) == pytest.approx(roc_auc_score([1] * 60 + [0] * 80, [*a, *b]), abs=1e-12)
    assert np.isnan([auc(np.array([1.0, np.nan]), b), auc(a, np.array([np.nan, 1.0]))]).all()


@pytest.mark.parametrize(("rows", "columns"), [(40, 3), (90, 17)])
def test_a_forest_is_that_of_scikit_learn_to_the_last_bit(rows: int, columns: int) -> None:
    for seed in range(3):
        rng = np.random.default_rng(seed)
        x, judged = rng.standard_normal((rows, columns)).round(1), rng.standard_normal((30, columns))
        y = np.arange(rows) % 2
        peer = RandomForestClassifier(classifier.TREES, min_samples_leaf=2, random_state=seed).fit(x, y)
        assert np.array_equal(forest(x, y, judged, seed), peer.predict_proba(judged)[:, 1])


@pytest.mark.parametrize(
    ("shift", "low", "high", "verdict"), [(0, 0.3, 0.68, AS_REAL), (3, 0.97, 1, DIFFERENT)]
)
def test_telling_apart(shift: float, low: float, high: float, verdict: str) -> None:
    found = c2st(sample(80, 3, shift), sample(80, 1), sample(80, 2), 0)
    assert found.value is not None
    assert low <= found.value <= high
    assert found.verdict == verdict
    assert found.real_baseline == pytest.approx(0.5, abs=0.15)


def test_too_few_patients_are_not_told_apart() -> None:
    assert c2st(sample(9, 3), sample(80, 1), sample(80, 2), 0).status == NOT_MEASURED


def test_synthetic_rows_teach_as_real_ones() -> None:
    found = task_scores(ILL, sample(80, 3), sample(120, 1), sample(120, 2), 0)[0]
    assert found.verdict == AS_REAL
    assert found.value == pytest.approx(found.real_baseline, abs=0.1)


def test_wrong_labels_teach_nothing() -> None:
    wrong = sample(80, 3)
    wrong.labels["illness"][:] = 1 - wrong.labels["illness"]
    assert task_scores(ILL, wrong, sample(120, 1), sample(120, 2), 0)[0].verdict == DIFFERENT


def test_a_task_that_real_rows_do_not_teach_decides_nothing() -> None:
    assert task_scores(COIN, sample(80, 3), sample(120, 1), sample(120, 2), 0)[0].verdict == UNDECIDED


def test_one_class_is_not_measured() -> None:
    found = task_scores(ILL, sample(80, 3, ill=False), sample(120, 1), sample(120, 2), 0)[0]
    assert (found.status, found.value, found.verdict) == (NOT_MEASURED, None, None)
    assert "0 synthetic records with 'ill'" in str(found.reason)


def test_unknown_labels_are_left_out() -> None:
    partly = sample(80, 3)
    partly.labels["illness"][::2] = np.nan
    assert task_scores(ILL, partly, sample(120, 1), sample(120, 2), 0)[0].details["rows"] == 40


def test_more_features_than_rows_is_the_same_model() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(30, 60)), rng.integers(0, 2, 30)
    x = (x - x.mean(0)) / x.std(0)
    plain = LogisticRegression(C=1 / 60, max_iter=2000, tol=1e-8).fit(x, y).predict_proba(x)
    assert predict_classes(x, y, x) == pytest.approx(plain, abs=1e-3)


def test_the_patient_is_the_unit() -> None:
    patients = np.repeat([0, 1, 2], [1, 5, 2])
    rng = np.random.default_rng(0)
    assert sorted(patients[one_each(patients, 3, rng)]) == [0, 1, 2]
    drawn = np.bincount(patients[resample(patients, rng)], minlength=3)
    assert (drawn % [1, 5, 2] == 0).all()


# -- references without rows


def test_reference_file_round_trip(tmp_path: Path, scored: tuple[dict[str, Any], Path]) -> None:
    quoted = [Score.from_dict(s) for s in scored[0]["views"][0]["scores"] if s["question"] != "distance"]
    path = tmp_path / "toy.json"
    reference.write(reference.aggregate(TOY, REAL["toy"], {"toy": quoted}), path)
    known = reference.read(path)["toy"]
    assert {s.status for s in known.quoted} == {QUOTED}
    synthetic = sample(40, 3)
    found = report.score(VIEW, synthetic, None, None, known)
    ((train, test),) = reference.samples(TOY, REAL["toy"], 0)
    assert train is not None
    assert test is not None
    real = summarise(test.features)
    live, _ = distances(synthetic, real, real_baseline(train, real, 40, 0), None, 0)
    for ours, theirs in zip(found.scores, live, strict=False):
        assert ours.value == pytest.approx(theirs.value, rel=0.02)
        assert ours.real_baseline == pytest.approx(
            theirs.real_baseline, rel=0.15
        )  # between those of 25 and 50 patients
    assert known.real_baseline(10).ks[0] > known.real_baseline(30).ks[0] > known.real_baseline(50).ks[0]


@pytest.mark.parametrize("own", [False, True])
def test_figures_of_the_weights_that_ship_are_quoted_for_them_alone(
    own: bool, tmp_path: Path, scored: tuple[dict[str, Any], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    quoted = [Score.from_dict(s) for s in scored[0]["views"][0]["scores"] if s["question"] != "distance"]
    reference.write(reference.aggregate(TOY, REAL["toy"], {"toy": quoted}), tmp_path / "toy.json")
    monkeypatch.setattr(reference, "folder", lambda: tmp_path)
    monkeypatch.setattr(TOY, "weights", lambda: ["vitals"], raising=False)
    cohort: Any = ToyCohort(rows(60, 3))
    cohort.manifest = {"weights": {"vitals": "0" * 64 if own else digest(find("vitals"))}}
    (found,) = report.judge(cohort, TOY, None)
    kept = [score for score in found.scores if score.question == "c2st"]
    assert {score.status for score in kept} == {NOT_MEASURED if own else QUOTED}
    assert {score.status for score in found.scores if score.question == "distance"} == {MEASURED}
    if own:
        assert "others drew these records" in str(kept[0].reason)


def test_no_aggregate_of_a_handful() -> None:
    few = [(training_set(rows(40, 1), "train"), training_set(rows(19, 2), "test"))]
    with pytest.raises(InputError, match="19 test patients; expected 20 or more"):
        reference.aggregate(TOY, few, {})


def test_splits_that_share_a_patient_are_refused() -> None:
    both = [(training_set(rows(40, 1), "train"), training_set(rows(30, 1), "test"))]
    with pytest.raises(InputError, match="30 patients are in both splits"):
        reference.samples(TOY, both, 0)


@pytest.mark.parametrize("text", ["", "[]", '{"format": "polyclinic-reference", "format_version": 99}'])
def test_damaged_reference_file(text: str, tmp_path: Path) -> None:
    (tmp_path / "toy.json").write_text(text)
    with pytest.raises(InputError, match=r"toy\.json"):
        reference.read(tmp_path / "toy.json")


# -- the report


def refuse(constant: str) -> None:
    raise AssertionError(f"{constant} in JSON")


def test_scores_are_strict_json_and_stable(scored: tuple[dict[str, Any], Path]) -> None:
    scores, out = scored
    text = (out / "scores.json").read_text()
    assert json.loads(text, parse_constant=refuse) == json.loads(json.dumps(scores))
    assert (scores["format"], scores["format_version"]) == ("polyclinic-scores", 2)
    (view,) = scores["views"]
    assert {s["question"] for s in view["scores"]} == {*QUESTIONS, MARGINALS, DEPENDENCE, RARE, CALIBRATION}
    for s in view["scores"]:
        assert s["value"] is not None
        assert s["interval"][0] <= s["interval"][1]
        assert s["real_baseline_interval"][0] <= s["real_baseline"] <= s["real_baseline_interval"][1]
        assert s["direction"]
        assert s["sentence"].endswith(".")


SCHEMA = json.loads((files("polyclinic.eval") / "scores.schema.json").read_text())


def test_scores_keep_the_schema_that_ships(scored: tuple[dict[str, Any], Path]) -> None:
    content = json.loads((scored[1] / "scores.json").read_text())
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(content, SCHEMA)
    for spoil in (
        lambda view: view["scores"][0].update(status=NOT_MEASURED),  # yet with a value
        lambda view: view["scores"][0].update(value=None),
        lambda view: view["scores"][0].update(real_baseline=None),
        lambda view: view["scores"][0].update(direction=""),
        lambda view: view["scores"][0].update(verdict="passed"),
        lambda view: view.update(surprise=1),
    ):
        broken = copy.deepcopy(content)
        spoil(broken["views"][0])
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(broken, SCHEMA)


def test_a_quick_look_says_so(tmp_path: Path) -> None:
    scores = report.evaluate(ToyCohort(rows(60, 3)), [TOY], None, tmp_path, profile=QUICK)
    assert scores["evaluated"] == {"profile": "quick", "patients": 30}
    assert scores["patients"] == 60
    assert "A quick look at 30 of 60 patients" in (tmp_path / "report.html").read_text()
    jsonschema.validate(json.loads((tmp_path / "scores.json").read_text()), SCHEMA)


@dataclass
class Chart(Toy):
    """A modality with rules, of which the sick break one."""

    name: str = "toy"

    def rule_names(self) -> dict[str, str]:
        return {"drugs-fit": "A <drug> fits.", "ages-add-up": "Ages add up."}

    def breaches(self, record: Record) -> list[tuple[str, str]]:
        return [("drugs-fit", "x < 0")] if record.arrays["x"][0] < 0 else []


def test_rules_are_named_and_counted(tmp_path: Path) -> None:
    chart: Any = Chart()
    pairs = rows(40, 3)
    broken = sum(record.arrays["x"][0] < 0 for _, record in pairs)
    scores = report.evaluate(ToyCohort(pairs), [chart], None, tmp_path)
    assert broken
    assert (scores["rules"]["violations"], scores["rules"]["by_rule"]) == (broken, {"drugs-fit": broken})
    assert set(scores["rules"]["checked"]) == {"drugs-fit", "ages-add-up"}
    page = (tmp_path / "report.html").read_text()
    assert "A &lt;drug&gt; fits." in page
    assert re.search(r"Every rule.{0,80}\b2\b", page, re.DOTALL)
    assert page.count("✕ Broken") == 1
    assert page.count("✓ Kept") == 1
    assert page.index("Verdict") < page.index("Does each record keep the rules")


def test_report_is_one_accessible_file(scored: tuple[dict[str, Any], Path]) -> None:
    page = (scored[1] / "report.html").read_text()
    assert not re.search(r"""(src|href)=['"](?!data:|#)""", page)
    assert not re.search(r"<script|<link|@import|url\(", page)
    assert all('alt="' in tag for tag in re.findall(r"<img[^>]*>", page))
    assert not re.search(r"<th(?![^>]* scope=)[ >]", page)
    assert "prefers-color-scheme: dark" in page
    assert "48 real &amp; 48 synthetic &lt;dots&gt;" in page
    assert "This report shows real records" in page
    assert page.index("Verdict") < page.index("<img") < page.index("What was not measured")


def test_same_input_same_bytes(scored: tuple[dict[str, Any], Path], tmp_path: Path) -> None:
    report.evaluate(ToyCohort(rows(60, 3)), [TOY], REAL, tmp_path)
    for name in ("scores.json", "report.html"):
        assert (tmp_path / name).read_bytes() == (scored[1] / name).read_bytes()


def test_real_records_can_be_kept_out(tmp_path: Path) -> None:
    report.evaluate(ToyCohort(rows(12, 3)), [TOY], REAL, tmp_path, show_real=False)
    page = (tmp_path / "report.html").read_text()
    assert "0 real &amp; 12 synthetic" in page
    assert "This report shows real records" not in page


@pytest.mark.parametrize(("patients", "real"), [(5, REAL), (0, REAL), (30, None), (30, {})])
def test_nothing_to_compare_is_not_a_pass(patients: int, real: Any, tmp_path: Path) -> None:
    scores = report.evaluate(ToyCohort(rows(patients, 3)), [TOY], real, tmp_path)
    assert set(scores["views"][0]["verdicts"].values()) == {NOT_MEASURED}
    view = scores["views"][0]
    assert {s["status"] for s in view["scores"]} == {NOT_MEASURED}
    assert len(scores["not_measured"]) == len(view["scores"])
    assert "What was not measured" in (tmp_path / "report.html").read_text()


def test_unwritable_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file"):
        report.evaluate(ToyCohort([]), [], None, tmp_path / "file")
