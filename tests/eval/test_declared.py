"""Declared fields in the evaluation: tasks where real rows know enough, label recovery, subgroups."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from polyclinic.core.fields import SHIPPED
from polyclinic.core.modality import DatasetSource, Record, Rows, TrainingSet, View
from polyclinic.core.pipeline import Patient
from polyclinic.core.profile import PatientProfile
from polyclinic.eval.declared import with_declared
from polyclinic.eval.linkage.linkage import linkage
from polyclinic.eval.metrics import classifier
from polyclinic.eval.metrics.tstr_models import subgroups
from polyclinic.eval.report import report

VOCABULARY = SHIPPED.declare(
    {
        "melanoma": {"kind": "flag", "label": "Melanoma"},
        "cdr": {"kind": "category", "label": "Dementia rating", "classes": [0, 0.5, 1]},
        "mmse": {"kind": "number", "label": "MMSE", "range": [0, 30], "unit": "points"},
        "ulcer": {"kind": "flag", "label": "Ulcer"},
        "later": {"kind": "category"},
    },
    "here",
)
KNOWN = ("melanoma", "cdr", "mmse", "ulcer", "later")


def _features(records: Sequence[Record]) -> pd.DataFrame:
    return pd.DataFrame([r.arrays["x"] for r in records], columns=["a", "b", "c"])


def _picture(figure: Any, real: Rows, synthetic: Rows) -> str:
    return "nothing"


VIEW = View("toy", "Toy", "x", _features, (), _picture, "Three numbers.")


def rows(n: int, seed: int) -> list[tuple[PatientProfile, Record]]:
    """Melanoma moves the first number, the rating the second, the score the third; one patient has an ulcer."""
    rng = np.random.default_rng(seed)
    out = []
    for i in range(n):
        ill, rating, score = bool(rng.random() < 0.4), int(rng.integers(2)), float(rng.integers(10, 30))
        x = rng.normal(loc=[2.5 * ill, 2.5 * rating, score / 4])
        profile = PatientProfile(
            f"p{seed}-{i}", 50.0 + i % 30, "FM"[i % 2], conditions={"melanoma": ill, "ulcer": i == 0},
            measurements={"mmse": score}, traits={"cdr": ("0", "1")[rating]},
        )  # fmt: skip
        out.append((profile, Record({"x": x})))
    return out


def training_set(pairs: list[tuple[PatientProfile, Record]], split: str) -> TrainingSet:
    names = tuple(str(i) for i in range(len(pairs)))
    people = tuple(profile for profile, _ in pairs)
    kept = {name: record for name, (_, record) in zip(names, pairs, strict=True)}
    return TrainingSet(
        Path("/toy"), DatasetSource("toy", "CC0"), names, people, KNOWN, split, {"rows": kept}, VOCABULARY
    )


class Toy:
    name = "toy"

    def views(self) -> list[View]:
        return [VIEW]

    def load(self, data: TrainingSet) -> list[Record]:
        return [data.options["rows"][record] for record in data.records]


class ToyCohort:
    def __init__(self, pairs: list[tuple[PatientProfile, Record]]) -> None:
        self.pairs, self.patients, self.folder = pairs, len(pairs), Path("/toy")

    def profiles(self) -> Iterator[PatientProfile]:
        return (profile for profile, _ in self.pairs)

    def records(self, modality: Any) -> Iterator[Patient]:
        return (Patient(profile, {"toy": record}) for profile, record in self.pairs)


PAIRS = [(training_set(rows(150, 1), "train"), training_set(rows(120, 2), "test"))]
TOY: Any = Toy()


@pytest.fixture(scope="module", autouse=True)
def _small_forests() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(classifier, "TREES", 20)
        yield


def test_a_field_that_real_rows_know_is_a_task() -> None:
    (view,) = with_declared([VIEW], PAIRS)
    tasks = {task.field: task for task in view.tasks}
    assert set(tasks) == {"melanoma", "cdr", "mmse"}  # one ulcer teaches nothing, and `later` has no classes
    assert tasks["melanoma"].classes == ("no Melanoma", "Melanoma")
    assert tasks["cdr"].classes == ("0", "0.5", "1")
    profile, record = rows(1, 3)[0]
    assert tasks["melanoma"].label(profile, record) == float(profile.has("melanoma"))
    assert tasks["cdr"].label(profile, record) == {"0": 0.0, "1": 2.0}[profile.traits["cdr"]]
    low = tasks["mmse"].classes[0]
    assert low.startswith("under ")
    assert np.isnan(tasks["mmse"].label(PatientProfile("nobody"), record))
    assert with_declared([VIEW], None) == [VIEW]


def test_what_synthetic_records_teach_of_it_is_measured() -> None:
    (judged,) = report.judge(ToyCohort(rows(150, 3)), TOY, PAIRS, show_real=False)
    figures = {(s.metric, s.task): s for s in judged.scores if s.task}
    for task in ("Melanoma", "Dementia rating", "MMSE"):
        for metric in ("tstr_auroc", "trts_auroc", "brier_score", "worst_subgroup"):
            assert figures[metric, task].value is not None, (metric, task)
        assert figures["tstr_auroc", task].value == pytest.approx(
            figures["tstr_auroc", task].real_baseline, abs=0.1
        )
    groups = figures["worst_subgroup", "Melanoma"].details
    assert "Dementia rating: 0" in str(groups)
    assert "Melanoma: " not in str(groups)


def test_labels_are_recovered_and_shuffled_ones_are_not() -> None:
    comparisons = report.comparisons_of(ToyCohort(rows(200, 3)), TOY, PAIRS)
    found = {r.label: r for r in linkage(ToyCohort(rows(200, 3)), [TOY], comparisons, 0).label_recoveries}  # type: ignore[arg-type]
    assert {"Melanoma", "Dementia rating", "MMSE"} <= set(found)
    assert found["Melanoma"].synthetic > 0.85
    assert found["Melanoma"].shuffled[0] == pytest.approx(0.5, abs=0.1)
    (comparison,) = comparisons
    assert comparison.test is not None
    assert {"Melanoma: Melanoma", "Dementia rating: 1"} <= set(subgroups(comparison.test))


def test_a_cohort_that_does_not_know_the_field_says_so() -> None:
    unknown = [(PatientProfile(p.patient_id, p.age, p.sex), r) for p, r in rows(60, 3)]
    (judged,) = report.judge(ToyCohort(unknown), TOY, PAIRS, show_real=False)
    (score,) = (s for s in judged.scores if (s.metric, s.task) == ("tstr_auroc", "Melanoma"))
    assert score.value is None
    assert "0 synthetic records with 'Melanoma'" in str(score.reason)
