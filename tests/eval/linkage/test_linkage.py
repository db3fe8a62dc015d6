"""The link between the records of one patient: assertions that must agree, labels that models recover, shuffled ids."""

import json
from collections.abc import Iterator, Sequence
from datetime import date
from functools import cache
from math import inf, nan
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from polyclinic.core.assertions import Assertion, findings
from polyclinic.core.capabilities import Asserting
from polyclinic.core.errors import InputError
from polyclinic.core.modality import Record, Task, View
from polyclinic.core.pipeline import Patient
from polyclinic.core.profile import PatientProfile
from polyclinic.eval.linkage.consistency import PATIENTS_TABLE, Statements, check_consistency, of_profile
from polyclinic.eval.linkage.cross_modal import cross_modal_correlations
from polyclinic.eval.linkage.label_recovery import (
    AGE,
    SEX,
    at_spread,
    concordance,
    concordances,
    predict_numbers,
    recover_labels,
)
from polyclinic.eval.linkage.linkage import Linkage, linkage, statements
from polyclinic.eval.report import report
from polyclinic.eval.sample import Comparison, Sample, collect
from polyclinic.eval.score import AS_REAL, DIFFERENT, UNDECIDED

PEOPLE = 120
ILL = Task("illness", ("healthy", "ill"), lambda profile, record: float(profile.has("A41.9")))
COIN = Task("a coin", ("head", "tail"), lambda profile, record: float(int(profile.patient_id[1:]) // 2 % 2))


def person(number: int, prefix: str = "p") -> PatientProfile:
    rng = np.random.default_rng([number, *prefix.encode()])
    return PatientProfile(
        f"{prefix}{number}",
        age=round(float(rng.uniform(20, 90)), 1),
        sex="FM"[number % 2],
        conditions={"A41.9": bool(rng.random() < 0.4)},
        measurements={"heart_rate": round(float(rng.uniform(50, 120)))},
        index_date=date(2024, 1, 1 + number % 28),
    )


def people(prefix: str = "p", n: int = PEOPLE) -> list[PatientProfile]:
    return [person(i, prefix) for i in range(n)]


def stated(profile: PatientProfile, source: str) -> list[Assertion]:
    return [Assertion(c.subject, source, c.low, c.high) for c in of_profile(profile)]


def said(**others: dict[str, list[Assertion]]) -> Statements:
    return {PATIENTS_TABLE: {p.patient_id: list(of_profile(p)) for p in people()}, **others}


def truthful(source: str) -> dict[str, list[Assertion]]:
    return {p.patient_id: stated(p, source) for p in people()}


# -- assertions


@pytest.mark.parametrize(
    ("a", "b", "agree"),
    [
        (Assertion.of("x", "a", 70.0, within=1.5), Assertion.of("x", "b", 73.0, within=1.5), True),
        (Assertion.of("x", "a", 70.0, within=1.5), Assertion.of("x", "b", 73.1, within=1.5), False),
        (Assertion.of("x", "a", "F"), Assertion.of("x", "b", "F"), True),
        (Assertion.of("x", "a", "F"), Assertion.of("x", "b", "M"), False),
        (Assertion.of("x", "a", "2024-03-09"), Assertion("x", "b", "1950-01-01", "2024-03-10"), True),
        (Assertion.of("x", "a", "2024-03-11"), Assertion("x", "b", "1950-01-01", "2024-03-10"), False),
        (Assertion.of("x", "a", 10.2), Assertion("x", "b", 9.5, inf), True),
        (Assertion.of("x", "a", nan), Assertion.of("x", "b", nan), False),
    ],
)
def test_assertions_agree_where_their_ranges_meet(a: Assertion, b: Assertion, agree: bool) -> None:
    assert a.agrees(b) == b.agrees(a) == agree


def test_findings_do_not_depend_on_order() -> None:
    assert findings(["J90", "I51.7"]) == findings(["I51.7", "J90"]) != findings([])


# -- agreement


def test_true_statements_agree_and_shuffled_ones_fall_to_chance() -> None:
    found, contradictions = check_consistency(said(one=truthful("one"), two=truthful("two")), 0)
    assert not contradictions
    assert {a.subject for a in found} >= {"patient id", "sex", "age", "heart rate", "date of the studies"}
    for a in found:
        assert (a.consistent, a.strength()) == (PEOPLE, 1.0)
        assert a.chance == pytest.approx(a.shuffled, abs=0.1)
        strength = a.strength(a.shuffled)
        assert strength is not None
        assert strength < 0.1
    sex = next(a for a in found if a.subject == "sex")
    assert sex.chance == pytest.approx(0.25, abs=0.1)  # three sources, two of them dealt anew


def test_each_swapped_patient_is_named_and_nobody_else() -> None:
    swapped = truthful("one")
    swapped["p3"], swapped["p8"] = swapped["p8"], swapped["p3"]
    _, contradictions = check_consistency(said(one=swapped, two=truthful("two")), 0)
    assert {contradiction.patient_id for contradiction in contradictions} == {"p3", "p8"}
    stated = next(
        contradiction
        for contradiction in contradictions
        if contradiction.subject == "patient id" and contradiction.patient_id == "p3"
    )
    assert dict(stated.said) == {PATIENTS_TABLE: "p3", "one": "p8", "two": "p3"}
    assert "one: p8" in str(stated)


def test_an_uncertain_assertion_is_counted_and_no_fault() -> None:
    rates = {
        p.patient_id: [Assertion.vital("heart_rate", "day", p.measurements["heart_rate"] + 5 * (i % 2), certain=False)]
        for i, p in enumerate(people())
    }  # fmt: skip
    (found,), contradictions = check_consistency(said(one=rates), 0)
    assert not contradictions
    assert (found.source, found.required, found.consistent) == ("day", False, PEOPLE // 2)
    assert found.gap == pytest.approx(2.5)


def test_what_is_alike_in_everybody_says_nothing_of_the_link() -> None:
    same = {
        p.patient_id: [Assertion.of("planet", "one", "Earth"), Assertion.of("planet", "two", "Earth")]
        for p in people()
    }
    (found,), _ = check_consistency(said(one=same), 0)
    assert found.share == 1
    assert found.strength() is None


@pytest.mark.parametrize(("many", "score"), [(PEOPLE, 1.0), (0, 0.0)])
def test_few_patients_count_only_where_no_subject_has_more(many: int, score: float) -> None:
    """Ten patients contradict each other on one subject; many, or nobody, agree on another."""
    here = {p.patient_id: [Assertion.of("hour", "one", f"{i}")] for i, p in enumerate(people()[:10])}
    there = {p.patient_id: [Assertion.of("hour", "two", f"{i + 1}")] for i, p in enumerate(people()[:10])}
    for i, p in enumerate(people()[:many]):
        here.setdefault(p.patient_id, []).append(Assertion.of("day", "one", f"{i}"))
        there.setdefault(p.patient_id, []).append(Assertion.of("day", "two", f"{i}"))
    found, _ = check_consistency(said(one=here, two=there), 0)
    link = Linkage(found, [], [], [])
    assert link.consistency == pytest.approx(score)
    assert link.shuffled == pytest.approx(0, abs=0.1)


def test_a_number_here_and_a_word_there_is_refused() -> None:
    words = {"p0": [Assertion.of("age", "one", "old")]}
    with pytest.raises(InputError, match="expected numbers from both"):
        check_consistency(said(one=words), 0)


# -- recovery


def toy_features(records: Sequence[Record]) -> pd.DataFrame:
    return pd.DataFrame([r.arrays["x"] for r in records], columns=[f"f{i}" for i in range(5)])


def view(name: str, *tasks: Task) -> View:
    return View(name, name.title(), "x", toy_features, tasks, lambda *_: "", "Five numbers.")


VIEW = view("toy", ILL, COIN)


def sample(profiles: Sequence[PatientProfile], seed: int, linked: bool = True) -> Sample:
    """Records that show illness, age and sex, of these profiles or of anybody."""
    rng = np.random.default_rng(seed)
    shown = profiles if linked else [profiles[i] for i in rng.permutation(len(profiles))]
    rows = []
    for profile, about in zip(profiles, shown, strict=True):
        assert about.age is not None
        x = rng.normal(size=5)
        x[:3] += 3 * np.array([about.has("A41.9"), about.age / 20, about.sex == "F"])
        rows.append((profile, Record({"x": x})))
    (found,) = collect([VIEW], rows)
    assert found is not None
    return found


@cache
def read(linked: bool) -> dict[str, Any]:
    """What is recovered of three groups of 120 patients, by label."""
    classes = {task.name: task.classes for task in VIEW.tasks}
    groups = sample(people("s"), 3, linked), sample(people("r"), 1), sample(people("t"), 2)
    return {r.label: r for r in recover_labels("toy", "Toy", classes, *groups, seed=0)}


def test_linked_records_reveal_what_real_ones_reveal() -> None:
    found = read(linked=True)
    assert set(found) == {AGE, SEX, "illness", "a coin"}
    for label in (AGE, SEX, "illness"):
        assert (found[label].verdict, found[label].met) == (AS_REAL, True)
        assert found[label].strength > 0.8
        assert found[label].shuffled_strength < 0.1
    low, high = found["illness"].shuffled[1]
    assert low < 0.5 < high


def test_unlinked_records_reveal_nothing() -> None:
    found = read(linked=False)
    for label in (AGE, SEX, "illness"):
        assert (found[label].verdict, found[label].met) == (DIFFERENT, False)
        assert found[label].strength < 0.3


def test_what_real_records_do_not_show_decides_nothing() -> None:
    found = read(linked=True)["a coin"]
    assert (found.shown_by_real, found.verdict) == (False, UNDECIDED)


def test_a_class_of_a_few_patients_decides_nothing() -> None:
    men, women = (tuple(p for p in people("s") if p.sex == sex) for sex in "MF")
    few = men[:8] + women
    found = recover_labels(
        "toy", "Toy", {}, sample(few, 3), sample(people("r"), 1), sample(people("t"), 2), seed=0
    )
    by_fact = {r.label: r for r in found}
    assert (by_fact[SEX].shown_by_real, by_fact[SEX].judged, by_fact[SEX].smallest_class) == (True, False, 8)
    assert by_fact[SEX].verdict == UNDECIDED
    assert by_fact[AGE].judged


def test_readings_of_one_fact_from_two_views_go_together() -> None:
    profiles = people("s")
    real = sample(people("r"), 1), sample(people("t"), 2)
    both = [
        found
        for name, seed in (("one", 3), ("two", 4))
        for found in recover_labels(name, name, {}, sample(profiles, seed), *real, seed=0)
    ]
    found = cross_modal_correlations(both, 0)
    assert [(c.label, c.views) for c in found] == [(AGE, ("one", "two")), (SEX, ("one", "two"))]
    for c in found:
        assert c.verdict == AS_REAL
        assert c.correlation == pytest.approx(c.expected, abs=0.25)
        assert c.shuffled[1][0] < 0 < c.shuffled[1][1]


def test_concordance_is_one_in_order_and_half_by_guessing() -> None:
    truth = np.arange(50.0)
    assert concordance(truth, truth**3) == 1
    assert concordance(truth, -truth) == 0
    assert concordance(truth, np.zeros(50)) == 0.5


@pytest.mark.parametrize(("rows", "decimals"), [(2, 3), (5, -1), (40, 3), (300, -1)])
def test_concordances_of_draws_are_scipys_bit_for_bit(rows: int, decimals: int) -> None:
    from scipy.stats import kendalltau

    rng = np.random.default_rng(rows)
    truth = np.round(rng.normal(50, 15, rows), decimals)  # with ties, or almost none
    said = np.round(truth + rng.normal(0, 20, rows), decimals)
    draws = [rng.integers(0, rows, rows) for _ in range(30)]
    tau = np.array([kendalltau(truth[own], said[own]).statistic for own in draws])
    np.testing.assert_array_equal(
        concordances(truth, said, draws), np.where(np.isnan(tau), 0.5, (1 + tau) / 2)
    )


def test_a_narrower_cohort_is_expected_to_show_less() -> None:
    rng = np.random.default_rng(0)
    ages, errors = rng.normal(size=(2, 4000))
    real = concordance(ages, ages + errors)
    narrow = concordance(ages / 2, ages / 2 + errors)
    assert at_spread(real, 0.5) == pytest.approx(narrow, abs=0.01)
    assert at_spread(real, 1.0) == pytest.approx(real)


def test_ridge_finds_a_line() -> None:
    x = np.random.default_rng(0).normal(size=(200, 3))
    y = 50 + 10 * x[:, 0]
    assert predict_numbers(x, y, x)[:, 0] == pytest.approx(y, abs=0.5)


# -- the whole


class Telling:
    """A modality that assertions; no records."""

    def __init__(self, name: str, by_patient: dict[str, list[Assertion]]) -> None:
        self.name, self.by_patient = name, by_patient

    def views(self) -> list[View]:
        return []

    def assertions(self, folder: Path, patient_ids: Sequence[str]) -> dict[str, list[Assertion]]:
        return {pid: self.by_patient[pid] for pid in patient_ids if pid in self.by_patient}


class Silent:
    """A plug-in of before there were assertions."""

    name = "silent"

    def views(self) -> list[View]:
        return []


class TellingCohort:
    """A cohort that consists of its table of patients."""

    folder, patients = Path("/toy"), PEOPLE

    def profiles(self) -> Iterator[PatientProfile]:
        return iter(people())

    def records(self, modality: Any) -> Iterator[Patient]:
        return iter(())


COHORT: Any = TellingCohort()


def judged(one: dict[str, list[Assertion]], linked: bool, real: bool = True) -> Linkage:
    modalities: list[Any] = [Telling("one", one), Silent()]
    groups = (sample(people("r"), 1), sample(people("t"), 2)) if real else (None, None)
    return linkage(COHORT, modalities, [Comparison(VIEW, sample(people(), 3, linked), *groups)])


def test_a_modality_without_assertions_is_left_out() -> None:
    assert not isinstance(Silent(), Asserting)
    modalities: list[Any] = [Silent(), Telling("one", truthful("one"))]
    assert set(statements(COHORT, modalities)) == {PATIENTS_TABLE, "one"}


def test_the_score_is_the_lower_of_agreement_and_recovery() -> None:
    whole = judged(truthful("one"), linked=True)
    assert whole.score == min(whole.consistency or 0, whole.label_recovery or 0) > 0.8
    assert whole.shuffled == pytest.approx(0, abs=0.1)
    by_id_only = judged(truthful("one"), linked=False)
    assert by_id_only.consistency == 1
    assert by_id_only.score is not None
    assert by_id_only.score < 0.3
    mixed_up = dict(zip(truthful("one"), [*truthful("one").values()][::-1], strict=True))
    wrong = judged(mixed_up, linked=True)
    assert wrong.score == wrong.consistency == pytest.approx(0, abs=0.1)
    assert len(wrong.inconsistent_patients) == PEOPLE


def test_without_real_records_there_is_no_score() -> None:
    found = judged(truthful("one"), linked=True, real=False)
    assert (found.score, found.label_recovery, found.consistency) == (None, None, 1)


def test_an_empty_link_is_not_a_pass() -> None:
    found = Linkage([], [], [], [])
    assert (found.score, found.consistency, found.label_recovery, found.shuffled) == (None, None, None, None)


def test_report_and_json_name_the_failing_patients(tmp_path: Path) -> None:
    swapped = truthful("one")
    swapped["p3"], swapped["p8"] = swapped["p8"], swapped["p3"]
    modality: Any = Telling("one", swapped)
    scores = report.evaluate(COHORT, [modality], None, tmp_path)
    assert scores["linkage"]["inconsistent_patients"] == ["p3", "p8"]
    assert scores["linkage"]["score"] is None
    assert "2 patients have contradictory files" in scores["linkage"]["in_words"]
    assert json.loads((tmp_path / "scores.json").read_text())["linkage"] == scores["linkage"]
    page = (tmp_path / "report.html").read_text()
    assert "Do the records of one patient belong together?" in page
    assert "one: p8" in page
