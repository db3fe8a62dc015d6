"""Courses: the language refuses what it does not know, and what it plays out is a possible life."""

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from polyclinic.conditioning.population import Population
from polyclinic.core.errors import InputError
from polyclinic.core.fields import FIELDS
from polyclinic.core.modality import Batch, Facts
from polyclinic.core.profile import PatientProfile, seed_for
from polyclinic.modalities.records import Records
from polyclinic.modalities.records.codes import codes
from polyclinic.modalities.records.rules.clinical import check
from polyclinic.modalities.records.simulation.body import Body, creatinine_of, egfr_of, kidney_stage
from polyclinic.modalities.records.simulation.course import courses, known_names, read_course
from polyclinic.modalities.records.simulation.course_run import play
from polyclinic.modalities.records.simulation.expression import FUNCTIONS, Expression
from polyclinic.modalities.records.timeline import timeline_of

DAY = date(2024, 3, 1)
SMALL = """
title: a small course
sources: [made up]
who: hypertension
onset: 2 to 4 years
values: {strength: 2}
body: {systolic: usual_systolic + 10}
start: begun
states:
  begun:
    do: [{visit: {}}, {observe: [blood_pressure]}, {diagnose: hypertension}]
    next: [{to: treated, when: systolic > 90, after: 3 to 12 days}]
  treated:
    do: [{prescribe: {drug: lisinopril, dose: 5 * strength}}, {answer: {ecg_rhythm: sinus}}]
"""


class Scope:
    """Names from a mapping."""

    rng = Random(1)

    def __init__(self, **values: Any) -> None:
        self.values = values

    def look(self, name: str) -> Any:
        return self.values.get(name)

    def creatinine_at(self, egfr: float) -> float:
        return creatinine_of(egfr, 60, True)


def person(**more: Any) -> PatientProfile:
    known = {"age": 71.0, "sex": "M", "height": 175.0, "weight": 82.0, "index_date": DAY}
    return PatientProfile("P-1", **(known | more))


def timeline(profile: PatientProfile, facts: Mapping[str, Facts] | None = None, seed: int = 3) -> list[Any]:
    batch = Batch((profile,), np.zeros((1, 0), np.float32), (seed,), (facts or {},))
    (record,) = Records().generator(()).sample(batch)
    assert record.facts["timeline"] == timeline_of(record.facts["resources"])
    return list(record.facts["timeline"])


# -- the language


@pytest.mark.parametrize(
    ("text", "values", "expected"),
    [
        ("2 * (age >= 75) + female", {"age": 80, "female": True}, 3),
        ("60 <= age < 65 or smoker", {"age": 62}, True),
        ("x > 1", {}, False),  # what is unknown compares with nothing
        ("not x > 1", {}, True),
        ("x + 1", {}, None),
        ("max(x, 3) if known else -1", {"known": False}, -1),
        ("kind == 'LumA'", {"kind": "LumA"}, True),
        ("round_to(x, 0.5)", {"x": 4.3}, 4.5),
        ("x if y > 0 else true", {"y": None}, True),
    ],
)
def test_expressions_mean_what_they_say(text: str, values: dict[str, Any], expected: Any) -> None:
    assert Expression(text)(Scope(**values)) == expected


@pytest.mark.parametrize(
    "text",
    ["__import__('os')", "x.y", "[1]", "lambda: 1", "x[0]", "f'{x}'", "x ** 9", "open('x')", "1 +", "x := 1"],
)
def test_expressions_are_no_python(text: str) -> None:
    with pytest.raises(ValueError, match=r"cannot be read|not part of the language|unknown function"):
        Expression(text)


def test_a_small_course_is_read() -> None:
    course = read_course(yaml.safe_load(SMALL), "here")
    assert course.states["begun"].next[0].after.low == 3
    chart = play({"small": course}, person(conditions={"I10": True}, measurements={"systolic": 150.0}), {}, 4)
    (order,) = chart.orders
    assert (order.drug, order.dose) == ("lisinopril", 10)
    assert chart.problems["hypertension"].onset < -500
    before, index = (r.value for r in chart.readings if r.name == "blood_pressure")
    assert index == {"systolic": 150}  # the profile's own, and the profile knows no diastolic pressure
    assert isinstance(before, dict)
    assert before["systolic"] != 150


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("who: hypertension", "who: hypertensoin", "nearest known one is 'hypertension'"),
        ("start: begun", "start: begin", "nearest known one is 'begun'"),
        ("to: treated", "to: treatd", r"states\.begun\.next\.0\.to: unknown name 'treatd'"),
        ("systolic > 90", "sistolic > 90", "nearest known one is 'systolic'"),
        ("drug: lisinopril", "drug: lisinoprl", "nearest known one is 'lisinopril'"),
        ("drug: lisinopril", "drug: metformin", "listed for diabetes, not for hypertension"),
        ("observe: [blood", "observe: [blod", "nearest known one is 'blood_pressure'"),
        ("ecg_rhythm: sinus", "ecg_rhythm: sinuss", "nearest known one is 'sinus'"),
        ("after: 3 to 12 days", "after: soon", "expected `3 days`"),
        ("after: 3 to 12 days", "after: 12 to 3 days", "0 < first < second"),
        ("after: 3 to", "afer: 3 to", "nearest known one is 'after'"),
        ("{visit: {}}", "{visit: {}, diagnose: hypertension}", "exactly one verb"),
        ("5 * strength", "5 ^ strength", "not part of the language"),
        ("body: {systolic", "body: {sistolic", "nearest known one is 'systolic'"),
    ],
)
def test_what_a_course_may_not_say(old: str, new: str, message: str) -> None:
    assert old in SMALL
    with pytest.raises(InputError, match=message):
        read_course(yaml.safe_load(SMALL.replace(old, new)), "here")


def test_a_course_that_goes_round_in_no_time_is_refused() -> None:
    round_and_round = SMALL.replace("to: treated, when: systolic > 90, after: 3 to 12 days", "to: begun")
    course = read_course(yaml.safe_load(round_and_round), "here")
    with pytest.raises(InputError, match="give one of its moves an `after`"):
        play({"round": course}, person(conditions={"I10": True}), {}, 1)


def test_names_do_not_collide() -> None:
    own = codes()
    lists = [own.conditions, own.observations, own.drugs, own.procedures, own.answers]
    names = [name for one in lists for name in one]
    assert len(names) == len(set(names))
    assert not set(names) & set(FUNCTIONS)
    assert len(own.displays()) == len(names)
    for drug in own.drugs.values():
        assert set(drug.treats) <= {*own.conditions, "breast_cancer"}
        assert all(drug.code not in ("",) and other in own.drugs for other in drug.not_with)
    for course in courses().values():
        assert not set(course.values) & known_names()
        assert course.sources


# -- the body


@given(st.floats(0.3, 12), st.floats(18, 100), st.booleans())
def test_creatinine_and_egfr_are_inverse(creatinine: float, age: float, female: bool) -> None:
    assert creatinine_of(egfr_of(creatinine, age, female), age, female) == pytest.approx(creatinine)


def test_egfr_as_published() -> None:
    """Worked values of the CKD-EPI 2021 equation (National Kidney Foundation calculator)."""
    assert round(egfr_of(1.0, 50, True)) == 69
    assert round(egfr_of(1.0, 50, False)) == 92
    assert kidney_stage(59.9) == "stage_3a"
    assert kidney_stage(14) == "stage_5"


def test_an_acute_deviation_fades() -> None:
    body = Body(person(conditions={"A41.9": True}, measurements={"lactate": 6.0}), 1)
    levels = [body.level("lactate", day) for day in (0.3, 1.3, 4, 20)]
    assert all(level is not None for level in levels)
    assert levels == sorted(levels, reverse=True)  # type: ignore[type-var]
    assert levels[-1] == pytest.approx(2.0, abs=0.01)  # nobody lives at home with more


# -- lives


def test_the_same_seed_gives_the_same_life() -> None:
    profile = person(
        conditions={"I10": True, "I50.9": True}, measurements={"systolic": 140.0, "diastolic": 80.0}
    )
    assert timeline(profile) == timeline(profile)
    assert timeline(profile) != timeline(profile, seed=4)


def test_one_disease_more_leaves_the_others_onset_alone() -> None:
    one = timeline(person(conditions={"I10": True}))
    two = timeline(person(conditions={"I10": True, "I25.2": True}))

    def onset(events: list[Any]) -> str:
        return str(next(e["date"] for e in events if e["kind"] == "condition" and e["code"] == "I10"))

    assert onset(one) == onset(two)


def test_treatment_follows_the_receptors() -> None:
    """Expression of that tumour decides: endocrine drugs, trastuzumab or neither."""
    cancer = person(sex="F", age=58.0, conditions={"C50.919": True})
    expected = {
        (13.0, 12.0): ({"letrozole", "anastrozole"}, {"trastuzumab"}),
        (13.0, 17.0): ({"trastuzumab"}, set()),
        (5.0, 17.0): ({"trastuzumab"}, {"letrozole", "anastrozole", "tamoxifen"}),
        (5.0, 11.0): (set(), {"letrozole", "anastrozole", "tamoxifen", "trastuzumab"}),
    }
    for (esr1, erbb2), (some, none) in expected.items():
        given: set[str] = set()
        for seed in range(12):
            omics = {"pam50": None, "ESR1": esr1, "PGR": 9.0, "ERBB2": erbb2, "MKI67": 10.0}
            given |= {
                e["display"] for e in timeline(cancer, {"omics": omics}, seed) if e["kind"] == "medication"
            }
        assert given & some or not some
        assert not given & none


def test_anticoagulation_follows_the_score() -> None:
    """Nobody young and otherwise well, nearly everybody old with more, half the dose of apixaban in the frail."""
    drugs: dict[str, list[Any]] = {}
    frail = {"weight": 50.0, "measurements": {"creatinine": 1.9}}
    for label, profile in {
        "young": person(age=45.0, conditions={"I48.91": True}),
        "old": person(age=82.0, conditions={"I48.91": True, "I10": True}),
        "frail": person(age=86.0, conditions={"I48.91": True}, **frail),
    }.items():
        events = [e for seed in range(20) for e in timeline(profile, seed=seed)]
        drugs[label] = [e for e in events if e["display"] in ("apixaban", "warfarin")]
    assert not drugs["young"]
    assert len(drugs["old"]) >= 20
    doses = {e["value"].split()[1] for e in drugs["frail"] if e["display"] == "apixaban"}
    assert doses == {"2.5"}


def test_hba1c_falls_under_treatment() -> None:
    profile = person(conditions={"E11.9": True}, measurements={"glucose": 150.0})
    first, last = [], []
    for seed in range(20):
        read = [
            e["value"]
            for e in timeline(profile, seed=seed)
            if e["code"] == "4548-4" and e["date"] < "2024-03-02"
        ]
        first.append(read[0])
        last.append(read[-1])
    assert min(first) >= 6.5
    assert np.mean(first) > np.mean(last) + 0.5


def test_kidney_function_falls_towards_the_index_visit() -> None:
    profile = person(conditions={"N18.9": True}, measurements={"creatinine": 2.4, "potassium": 4.4})
    events = timeline(profile)
    read = [e["value"] for e in events if e["code"] == "98979-8" and e["date"] < "2024-03-02"]
    assert read[0] > read[-1]
    (disease,) = (e for e in events if e["code"] == "N18.9" and e["kind"] == "condition")
    assert disease["value"] in ("Chronic kidney disease stage 3B", "Chronic kidney disease stage 4")


def test_some_septic_patients_die_and_nothing_follows() -> None:
    deaths = 0
    for seed in range(30):
        shocked = {
            "systolic": 80.0,
            "diastolic": 50.0,
            "lactate": 6.0,
            "creatinine": 2.0,
            "respiration": 28.0,
        }
        events = timeline(person(conditions={"A41.9": True}, measurements=shocked), seed=seed)
        death = next((e for e in events if e["kind"] == "death"), None)
        if death is not None:
            deaths += 1
            assert death["date"] > "2024-03-02"
            assert death["reason"] == "Sepsis, unspecified organism"
            assert max(e["date"] for e in events) <= death["date"]
    assert 5 <= deaths <= 25


@pytest.mark.parametrize(
    ("months", "died"), [(0.1, True), (0.5, True), (7.3, True), (30.0, True), (14.0, False)]
)
def test_a_life_is_as_long_as_the_tumours_follow_up_says(months: float, died: bool) -> None:
    """Nobody dies before, by whatever course; who dies within the year does so that day, and nothing follows."""
    ill = {"C50.929": True, "A41.9": True, "I50.9": True, "J18.9": True}
    values = {"systolic": 80.0, "diastolic": 50.0, "lactate": 6.0, "creatinine": 2.0, "respiration": 28.0}
    for seed in range(12):
        events = timeline(
            person(conditions=ill, measurements=values, traits={"tumor_stage": "IV"}),
            {"omics": {"os_months": months, "os_event": died}},
            seed,
        )
        death = next((e for e in events if e["kind"] == "death"), None)
        if died and months < 12:
            assert death is not None
            day = datetime.fromisoformat(death["date"].removesuffix("Z")) - datetime(2024, 3, 1)
            assert day / timedelta(days=365.25 / 12) == pytest.approx(months, abs=0.001)
            assert max(e["date"] for e in events) <= death["date"]
            assert (death["reason"] == "Sepsis, unspecified organism") or months > 0.2
        else:
            assert death is None


def test_who_is_lost_to_follow_up_may_die_after_it() -> None:
    fates = [
        timeline(
            person(conditions={"C50.929": True}, traits={"tumor_stage": "IV"}),
            {"omics": {"os_months": 3.0, "os_event": False}},
            seed,
        )
        for seed in range(60)
    ]
    deaths = [e["date"] for events in fates for e in events if e["kind"] == "death"]
    assert 2 <= len(deaths) <= 40
    assert min(deaths) > "2024-05-31"


def test_unknown_age_or_day_gives_the_index_visit_alone() -> None:
    for missing in ({"age": None}, {"sex": None}, {"index_date": None}):
        events = timeline(person(conditions={"I10": True, "A41.9": True}, **missing))
        assert {e["encounter"] for e in events} <= {"Encounter/P-1-visit", None}
        assert {e["code"] for e in events if e["kind"] == "condition"} == {"I10", "A41.9"}


def test_facts_and_code_do_not_wait_for_each_other() -> None:
    """Seeds are the row's own: a second patient in the batch changes nothing."""
    profiles = tuple(Population.load("icu").draw(6, 2))
    seeds = tuple(seed_for(2, p.patient_id, "records") for p in profiles)
    rules = Records().generator(())
    whole = rules.sample(Batch(profiles, np.zeros((6, 0), np.float32), seeds))
    alone = [
        rules.sample(Batch((p,), np.zeros((1, 0), np.float32), (s,)))[0]
        for p, s in zip(profiles, seeds, strict=True)
    ]
    assert whole == alone


def test_every_condition_of_the_vocabulary_is_in_the_list() -> None:
    own = {entry.code: entry.display for entry in codes().conditions.values()}
    for known in FIELDS:
        if known.kind == "flag":
            assert own[known.name] == known.label
    observed = {name: entry for name, entry in codes().observations.items() if entry.unit}
    for known in FIELDS:
        if known.kind == "number" and known.name != "age":
            entry = observed[known.name]
            ours = (entry.code, entry.unit, entry.decimals, entry.low, entry.high)
            assert ours == (known.codes["loinc"], known.unit, known.decimals, known.low, known.high)


# -- courses of one's own


OWN = """
title: Emphysema with a yearly look at the lungs
sources: ["made up for a test"]
who: emphysema
onset: 3 to 4 years
start: seen
states:
  seen:
    do: [{visit: {}}, {diagnose: emphysema}, {observe: [oxygen_saturation]}]
    next: [{to: seen, after: 12 months}]
"""


def own_courses(folder: Path, name: str = "emphysema", text: str = OWN) -> Path:
    (folder / f"{name}.yaml").write_text(text)
    return folder


def test_a_folder_adds_courses(tmp_path: Path) -> None:
    ours, with_own = courses(), courses(own_courses(tmp_path))
    assert set(with_own) - set(ours) == {"emphysema"}
    profile = next(p for p in Population.load("icu").draw(60, 3) if p.has("J43.9"))
    batch = Batch((profile,), np.zeros((1, 0), np.float32), (5,))
    plain, own = (
        Records(options).generator(()).sample(batch)[0].facts["resources"]
        for options in ({}, {"courses": str(tmp_path)})
    )
    seen = [sum(r["resourceType"] == "Encounter" for r in resources) for resources in (plain, own)]
    assert seen[1] > seen[0]
    assert check(own) == []


def test_a_file_of_the_same_name_replaces_a_course(tmp_path: Path) -> None:
    replaced = courses(
        own_courses(tmp_path, "hypertension", OWN.replace("who: emphysema", "who: hypertension"))
    )
    assert set(replaced) == set(courses())
    assert replaced["hypertension"].title.startswith("Emphysema")
    assert courses()["hypertension"].title.startswith("High blood pressure")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (None, "", "expected courses"),
        (
            "mine",
            OWN.replace("diagnose: emphysema", "diagnose: emphysma"),
            "mine.yaml.*'emphysma'.*'emphysema'",
        ),
        ("mine", OWN.replace("start: seen", "start: sen"), "mine.yaml: start: unknown name 'sen'"),
        ("mine", "title: [", "mine.yaml: not valid YAML"),
        ("mine", OWN + "body: {creatinine: 1.0}\n", "kidney_disease.yaml already|mine.yaml already"),
    ],
)
def test_a_folder_of_courses_that_will_not_do_is_refused(
    tmp_path: Path, name: str | None, text: str, message: str
) -> None:
    if name is not None:
        own_courses(tmp_path, name, text)
    with pytest.raises(InputError, match=message):
        Records({"courses": str(tmp_path)}).generator(())


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder; expected one of YAML courses"):
        Records({"courses": str(tmp_path / "nowhere")}).generator(())
