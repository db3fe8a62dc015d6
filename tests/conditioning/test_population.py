"""Profiles: each patient alone, in range, as common as asked; designs that cannot be are refused."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from polyclinic.conditioning.design.cohort_config import CohortConfig
from polyclinic.conditioning.population import Population
from polyclinic.core import fields
from polyclinic.core.config import parse
from polyclinic.core.errors import InputError
from polyclinic.core.fields import BREAST_CANCER, BY_NAME, FIELDS
from polyclinic.core.profile import PatientProfile

SHIPPED = ("cardio_oncology", "general_ward", "icu")
MINIMAL: dict[str, Any] = {
    "name": "tiny",
    "index_date": {"first": "2024-01-01", "last": "2024-12-31"},
    "age": {"mean": 60, "sd": 12},
    "women": 0.5,
    "conditions": {"I10": 0.3, "I50.9": {"share": 0.2, "per_decade": 2, "given": {"I10": 3}}},
}


def population(**changes: Any) -> Population:
    return Population(parse(CohortConfig, {**MINIMAL, **changes}, "tiny.yaml"), "tiny.yaml")


@pytest.fixture(scope="module", params=SHIPPED)
def crowd(request: pytest.FixtureRequest) -> tuple[Population, list[PatientProfile]]:
    drawn = Population.load(request.param)
    return drawn, list(drawn.draw(3000, seed=7))


def test_a_patient_does_not_depend_on_the_others() -> None:
    few, many = list(population().draw(10, 3)), list(population().draw(1000, 3))
    assert few[7] == many[7] == population().patient(7, 3)
    assert len({p.patient_id for p in many}) == 1000


def test_seed_and_name_change_ids_and_profiles() -> None:
    base = population()
    for other, seed in ((base, 4), (population(name="other"), 3)):
        changed = other.patient(0, seed)
        assert changed.patient_id != base.patient(0, 3).patient_id
        assert replace(changed, patient_id="x") != replace(base.patient(0, 3), patient_id="x")


def test_a_new_condition_leaves_the_rest_of_the_patient_alone() -> None:
    more = population(conditions={**MINIMAL["conditions"], "R91.1": 0.5})
    for before, after in zip(population().draw(50, 1), more.draw(50, 1), strict=True):
        assert replace(after, conditions={}) == replace(before, conditions={})
        assert {k: v for k, v in after.conditions.items() if k != "R91.1"} == before.conditions


def test_patient_ids_have_a_mark_and_an_index() -> None:
    prefix, mark, index = population().patient_id(12, 7).split("-")
    assert (prefix, len(mark), index) == ("PC", 6, "000012")
    int(mark, 16)
    assert population().patient_id(12_345_678, 7).endswith("-12345678")


@pytest.mark.parametrize("name", SHIPPED)
def test_a_config_survives_json(name: str) -> None:
    drawn = Population.load(name)
    copied = json.loads(json.dumps(drawn.config.model_dump(mode="json")))
    again = Population(parse(CohortConfig, copied, "manifest"))
    assert list(again.draw(20, 1)) == list(drawn.draw(20, 1))


def test_draw_is_lazy() -> None:
    assert next(population().draw(10**12, 0)).patient_id.endswith("-000000")


@pytest.mark.parametrize("n", [0, -5, 2.5, True])
def test_wrong_number_of_patients_is_refused_at_once(n: Any) -> None:
    with pytest.raises(InputError, match="whole number over 0"):
        population().draw(n, 1)


def test_every_profile_is_checked_and_complete(crowd: tuple[Population, list[PatientProfile]]) -> None:
    drawn, profiles = crowd
    spoken = {*drawn.config.conditions, "R00.0", "R00.1"}
    numbers = {f.name for f in FIELDS if f.kind == "number"} - {"age", "height", "weight"}
    days, years = drawn.config.index_date, drawn.config.age
    for profile in profiles:
        assert fields.SHIPPED.checked(profile) is profile
        assert set(profile.conditions) == spoken
        assert set(profile.measurements) == numbers
        assert profile.age is not None
        assert years.low <= profile.age <= years.high
        assert profile.index_date is not None
        assert days.first <= profile.index_date <= days.last
        assert profile.height is not None
        assert profile.weight is not None
        assert 15 < profile.weight / (profile.height / 100) ** 2 < 56
        assert profile.measurements["diastolic"] < profile.measurements["systolic"] - 5
        tumour = any(profile.has(code) for code in BREAST_CANCER)
        assert ("pam50" in profile.traits) == (tumour and bool(drawn.config.pam50))


def test_shares_are_as_asked(crowd: tuple[Population, list[PatientProfile]]) -> None:
    drawn, profiles = crowd
    for code, prevalence in drawn.config.conditions.items():
        able = [p for p in profiles if BY_NAME[code].sex in (None, p.sex)]
        share = np.mean([p.has(code) for p in able])
        margin = 4 * np.sqrt(prevalence.share * (1 - prevalence.share) / len(able)) + 0.006
        assert abs(share - prevalence.share) < margin, code
    ap = np.mean([p.traits["chest_view"] == "AP" for p in profiles])
    assert drawn.config.chest_ap is not None
    assert abs(ap - drawn.config.chest_ap.share) < 0.04


def test_heart_rate_and_its_codes_agree(crowd: tuple[Population, list[PatientProfile]]) -> None:
    for profile in crowd[1]:
        rate, irregular = profile.measurements["heart_rate"], profile.has("I48.91")
        assert profile.conditions["R00.0"] == (rate > 100 and not irregular)
        assert profile.conditions["R00.1"] == (rate < 60 and not irregular)


# condition, measurement, direction: what the clinic expects to differ
LINKS = [
    ("I48.91", "heart_rate", 1),
    ("I48.91", "age", 1),
    ("I50.9", "age", 1),
    ("I50.9", "nt_probnp", 1),
    ("I50.9", "I51.7", 1),
    ("I50.9", "J90", 1),
    ("J18.9", "A41.9", 1),
    ("A41.9", "heart_rate", 1),
    ("A41.9", "lactate", 1),
    ("A41.9", "leukocytes", 1),
    ("A41.9", "temperature", 1),
    ("A41.9", "respiration", 1),
    ("A41.9", "systolic", -1),
    ("N18.9", "creatinine", 1),
    ("E11.9", "glucose", 1),
    ("J81.0", "oxygen_saturation", -1),
]


@pytest.mark.parametrize(("code", "name", "sign"), LINKS)
def test_what_follows_from_a_condition(
    crowd: tuple[Population, list[PatientProfile]], code: str, name: str, sign: int
) -> None:
    ill, well = ([float(p.get(name) or 0) for p in crowd[1] if p.has(code) is has] for has in (True, False))
    error = np.sqrt(np.var(ill) / len(ill) + np.var(well) / len(well))
    assert sign * (np.mean(ill) - np.mean(well)) > 3 * error


def test_cardio_oncology_is_what_it_says() -> None:
    drawn = Population.load("cardio_oncology")
    profiles = list(drawn.draw(3000, seed=11))
    assert 0.98 < np.mean([p.sex == "F" for p in profiles]) < 1
    ill = [p for p in profiles if any(p.has(code) for code in BREAST_CANCER)]
    well = [p for p in profiles if p not in ill]
    assert np.mean([p.measurements["hemoglobin"] for p in ill]) < np.mean(
        [p.measurements["hemoglobin"] for p in well]
    )
    whole = sum(drawn.config.pam50.values())
    for subtype, share in drawn.config.pam50.items():
        assert abs(np.mean([p.traits["pam50"] == subtype for p in ill]) - share / whole) < 0.04
    assert all(p.has("R94.31") for p in profiles if p.has("I48.91") or p.has("I44.7"))
    assert not any(p.has("I44.7") and p.has("I45.10") for p in profiles)


@pytest.mark.parametrize("share", [0, 1])
def test_nobody_and_everybody(share: float) -> None:
    drawn = population(conditions={"I10": {"share": share, "per_decade": 3}})
    assert {p.has("I10") for p in drawn.draw(200, 1)} == {bool(share)}


REFUSED: list[tuple[Mapping[str, Any], str]] = [
    ({"conditions": {"I10": 1.2}}, r"conditions\.I10\.share.*of at most 1"),
    ({"conditions": {"I10": -0.1}}, r"conditions\.I10\.share.*of 0 or more"),
    ({"conditions": {"I10": float("nan")}}, r"conditions\.I10\.share"),
    ({"conditions": {"I10": "often"}}, r"conditions\.I10"),
    ({"conditions": {"I10": {"share": 0.2, "per_decad": 2}}}, "unknown key.*per_decad.*'per_decade'"),
    ({"condition": {"I10": 0.2}}, "unknown key 'condition'.*'conditions'"),
    ({"conditions": {"I48.9": 0.2}}, "unknown field or code 'I48.9'; declare it"),
    ({"conditions": {"age": 0.2}}, r"conditions\.age: age is not a condition"),
    ({"conditions": {"R00.0": 0.2}}, r"conditions\.R00\.0: follows from the heart rate"),
    ({"women": 1, "conditions": {"C50.929": 0.2}}, r"conditions\.C50\.929: is a code for men"),
    ({"women": 0, "conditions": {"C50.919": 0.2}}, r"conditions\.C50\.919: is a code for women"),
    ({"women": 1.5}, "women: .*of at most 1"),
    ({"conditions": {"I50.9": {"share": 0.1, "given": {"I10": 2}}, "I10": 0.3}}, "I10 must be listed"),
    ({"conditions": {"I10": {"share": 0.1, "given": {"I1": 2}}}}, "unknown field or code 'I1'"),
    ({"conditions": {"I10": 0.5, "I50.9": {"share": 0.1, "given": {"I10": -2}}}}, r"given\.I10: a factor"),
    ({"conditions": {"I10": 0.5, "I50.9": {"share": 0.9, "given": {"I10": 0}}}}, "leave at most"),
    ({"conditions": {"I10": 0.5, "I50.9": {"share": 1, "given": {"I10": 0}}}}, "contradicts a factor of 0"),
    ({"conditions": {"I10": 0.5, "I50.9": {"share": 0.1, "always_if": ["I10"]}}}, "always_if alone"),
    ({"chest_ap": {"share": 0.5, "given": {"J90": 2}}}, "chest_ap.*J90 must be listed"),
    ({"age": {"mean": 60, "sd": 10, "high": 111}}, r"age\.high.*of at most 110"),
    ({"age": {"mean": 60, "sd": 10, "low": -1}}, r"age\.low.*of 0 or more"),
    ({"age": {"mean": 120, "sd": 10}}, r"age\.mean must lie between"),
    ({"age": {"mean": 50, "sd": 10, "low": 60, "high": 40}}, r"age\.low must lie below"),
    ({"age": {"mean": 50, "sd": 0}}, r"age\.sd.*above 0"),
    ({"index_date": {"first": "2024-05-01", "last": "2024-04-01"}}, r"index_date\.first"),
    ({"index_date": {"first": "soon", "last": "2024-04-01"}}, r"index_date\.first"),
    ({"name": "Not a name"}, "name: "),
    ({"pam50": {"LumA": 1}}, "pam50: needs breast cancer"),
    ({"pam50": {"LumA": 0.5}, "conditions": {"C50.919": 1}}, "must add up to 1"),
    ({"pam50": {"LumC": 1}, "conditions": {"C50.919": 1}}, "pam50 must be one of"),
    (
        {"pam50": {"LumA": 1.5, "LumB": -0.5}, "conditions": {"C50.919": 1}},
        "pam50: expected a number from 0 on",
    ),
]


@pytest.mark.parametrize(("changes", "message"), REFUSED)
def test_impossible_designs_are_refused(tmp_path: Path, changes: Mapping[str, Any], message: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({**MINIMAL, **changes}, sort_keys=False))
    with pytest.raises(InputError, match=message) as refusal:
        Population.load(str(path))
    assert str(refusal.value).startswith(str(path))
    assert "\n" not in str(refusal.value)


def test_unknown_cohort_is_named_with_those_that_ship() -> None:
    with pytest.raises(InputError, match=", ".join(SHIPPED)):
        Population.load("cardiology")


def test_shipped_cohorts_assess_the_ecg_and_the_chest(
    crowd: tuple[Population, list[PatientProfile]],
) -> None:
    ecg = {"I48.91", "I44.7", "I45.10", "I25.2", "R94.31", "R00.0", "R00.1"}
    names = [f.name for f in FIELDS]
    chest = {"I51.7", *names[names.index("J18.9") : names.index("R91.8") + 1]}
    assert ecg | chest <= set(crowd[1][0].conditions)
    assert all(BY_NAME[code].kind == "flag" for code in ecg | chest)


@given(st.floats(0, 110), st.dates(date(1990, 1, 1), date(2060, 1, 1)))
def test_birth_date_gives_the_age_on_the_index_date(age: float, day: date) -> None:
    born = PatientProfile("p", age, index_date=day).birth_date
    assert born is not None
    assert day.year - born.year - ((day.month, day.day) < (born.month, born.day)) == int(age)
