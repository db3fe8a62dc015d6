"""Cohort designs: shares as asked, the rest as in the population, each patient alone, the impossible refused."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from polyclinic.conditioning.design.cohort_config import CohortConfig
from polyclinic.conditioning.design.design import CANDIDATES
from polyclinic.conditioning.population import Population
from polyclinic.core.config import parse
from polyclinic.core.errors import InputError

WARD: dict[str, Any] = {
    "name": "ward",
    "index_date": {"first": "2024-01-01", "last": "2024-12-31"},
    "age": {"mean": 62, "sd": 14},
    "women": 0.5,
    "conditions": {
        "C50.919": 0.1,
        "C50.929": 0.01,
        "I10": 0.3,
        "I50.9": {"share": 0.15, "per_decade": 1.8, "given": {"I10": 3}},
        "I48.91": {"share": 0.1, "per_decade": 2, "given": {"I50.9": 4}},
        "R94.31": {"share": 0.3, "always_if": ["I48.91"]},
        "J93.9": {"share": 0.005, "per_decade": 1.3, "given": {"I50.9": 2}},
    },
    "chest_ap": {"share": 0.2, "given": {"I50.9": 3}},
    "pam50": {"LumA": 0.6, "Basal": 0.4},
}


def population(**changes: Any) -> Population:
    return Population(parse(CohortConfig, {**WARD, **changes}, "ward.yaml"), "ward.yaml")


def crowd(n: int = 400, seed: int = 1, **changes: Any) -> list[Any]:
    return list(population(**changes).draw(n, seed))


DESIGNS: list[dict[str, Any]] = [
    {"include": {"J93.9": True}},
    {"exclude": [{"I10": True}, {"sex": "M", "age": [18, 50]}]},
    {"strata": [{"share": 0.5, "who": {"I50.9": True}}]},
    {"include": {"severity": [1.2, 1.8], "heart_rate": [100, 130], "chest_view": "AP"}},
]


@pytest.mark.parametrize("design", DESIGNS, ids=str)
def test_a_patient_of_a_design_does_not_depend_on_the_others(design: dict[str, Any]) -> None:
    drawn = population(**design)
    assert list(drawn.draw(20, 3))[7] == drawn.patient(7, 3) == population(**design).patient(7, 3)
    assert drawn.patient(7, 3) != drawn.patient(7, 4)


def test_a_rare_condition_comes_with_its_own_case_mix() -> None:
    meant, everybody = population(include={"J93.9": True}), population()
    found = [p for p in everybody.draw(25_000, 2) if p.has("J93.9")]
    drawn = list(meant.draw(1000, 1))
    assert all(p.has("J93.9") for p in drawn)
    for name in ("age", "sex", "I10", "I50.9", "I48.91", "heart_rate", "oxygen_saturation", "chest_view"):
        one, other = (
            [float(v in ("F", "AP", True)) if isinstance(v := p.get(name), str | bool) else v for p in who]
            for who in (drawn, found)
        )
        error = np.sqrt(np.var(one) / len(one) + np.var(other) / len(other))
        assert abs(np.mean(one) - np.mean(other)) < 4 * error, name
    (summary,) = meant.summary
    assert summary.prevalence == pytest.approx(len(found) / 25_000, rel=0.3)
    assert 4 < summary.effective <= CANDIDATES


def test_strata_have_the_shares_asked_and_others_are_as_they_come() -> None:
    strata = [
        {"share": 0.3, "who": {"sex": "F", "age": [70, 90], "I50.9": True}},
        {"share": 0.2, "who": {"sex": "M", "I50.9": True}},
    ]
    drawn = crowd(2000, strata=strata)
    first = [p for p in drawn if p.sex == "F" and 70 <= p.age <= 90 and p.has("I50.9")]
    second = [p for p in drawn if p.sex == "M" and p.has("I50.9")]
    assert len(first) / 2000 == pytest.approx(0.3, abs=0.04)
    assert len(second) / 2000 == pytest.approx(0.2, abs=0.04)
    rest = [p for p in drawn if p not in first and p not in second]
    plain = [
        p
        for p in crowd(4000, seed=9)
        if not (p.has("I50.9") and (p.sex == "M" or (p.sex == "F" and 70 <= p.age <= 90)))
    ]
    for name in ("I10", "I50.9", "I48.91"):
        assert np.mean([p.has(name) for p in rest]) == pytest.approx(
            np.mean([p.has(name) for p in plain]), abs=0.04
        )
    shares = population(strata=strata)
    assert 0 < shares.effective_share < 1
    (line,) = shares.describe(100)
    assert line.startswith("the shares are as asked, not those of ")
    assert "average over all 100 patients" in line


def test_the_design_is_described_in_plain_words_where_there_is_something_to_say() -> None:
    assert population().describe(100) == []
    assert population(counts={"sex": {"F": 10, "M": 10}}).describe(20) == []  # shares as in the population
    rare = population(include={"J93.9": True})
    rare.summary = [replace(rare.summary[0], effective=3.0)]
    lines = rare.describe(100)
    assert [line.partition(": ")[2].startswith("few kinds of people fit") for line in lines] == [True]
    assert not any("candidate" in line or "effective" in line for line in lines)


def test_include_and_exclude_hold_for_everybody() -> None:
    for profile in crowd(
        150,
        include={"age": [65, 75], "I10": True, "sex": "F", "systolic": [150, 180], "pam50": "Basal"},
        exclude=[{"I50.9": True}, {"I48.91": True, "sex": "F"}],
    ):
        assert 65 <= profile.age <= 75
        assert profile.has("I10")
        assert not profile.has("I50.9")
        assert not profile.has("I48.91")
        assert 150 <= profile.measurements["systolic"] <= 180
        assert profile.traits["pam50"] == "Basal"


def test_severity_makes_the_ill_worse() -> None:
    mild, severe = (crowd(200, include={"I50.9": True, "severity": s}) for s in ([0.6, 0.9], [1.3, 1.8]))
    values = [np.median([p.measurements["nt_probnp"] for p in who]) for who in (mild, severe)]
    assert values[1] > 1.5 * values[0]


def test_fairness_gives_equal_groups_and_equal_prevalence() -> None:
    groups = [{"sex": s, "age": a} for s in "FM" for a in ([18, 60], [60, 95])]
    drawn = crowd(2000, fairness={"groups": groups, "conditions": {"I50.9": 0.5}})
    for group in groups:
        low, high = group["age"]
        own = [p for p in drawn if p.sex == group["sex"] and low <= p.age <= high]
        assert len(own) / 2000 == pytest.approx(0.25, abs=0.04)
        assert np.mean([p.has("I50.9") for p in own]) == pytest.approx(0.5, abs=0.08)


def test_without_a_design_nothing_is_told_and_all_count() -> None:
    assert population().describe(10) == []
    assert population().effective_share == 1


# -- twins


def test_a_twin_differs_in_what_follows_alone() -> None:
    drawn = population(conditions={**WARD["conditions"], "I10": 0.5})
    for index in range(40):
        one = drawn.patient(index, 5)
        other = drawn.twin(index, 5, {"I50.9": not one.has("I50.9")})
        assert one.patient_id == other.patient_id
        assert (one.age, one.sex, one.height, one.index_date) == (
            other.age,
            other.sex,
            other.height,
            other.index_date,
        )
        assert one.has("I50.9") != other.has("I50.9")
        assert one.has("I10") == other.has("I10")
        for name in (
            "potassium",
            "platelets",
            "glucose",
            "temperature",
        ):  # heart failure does nothing to these
            assert one.has("A41.9") or one.measurements[name] == other.measurements[name]
        assert (one.measurements["nt_probnp"] < other.measurements["nt_probnp"]) == other.has("I50.9")


def test_a_twin_of_nothing_new_is_the_patient() -> None:
    for design in ({}, {"include": {"I50.9": True}}, {"strata": [{"share": 0.5, "who": {"age": [70, 80]}}]}):
        drawn = population(**design)
        for index in range(10):
            one = drawn.patient(index, 1)
            assert drawn.twin(index, 1, {"sex": one.sex}) == one
            assert drawn.twin(index, 1, {"I50.9": one.has("I50.9")}) == one


def test_a_twin_of_the_other_sex_has_no_cancer_of_this_one() -> None:
    drawn = population(include={"C50.919": True})
    other = drawn.twin(0, 1, {"sex": "M"})
    assert drawn.patient(0, 1).has("C50.919")
    assert other.sex == "M"
    assert not other.has("C50.919")


def test_a_whole_cohort_of_twins_has_the_same_ids() -> None:
    plain, changed = population(), population(twin={"heart_rate": 150})
    for index in range(20):
        one, other = plain.patient(index, 1), changed.patient(index, 1)
        assert one.patient_id == other.patient_id
        assert other.measurements["heart_rate"] == 150
        assert other.conditions["R00.0"] == (not other.has("I48.91"))
        assert {**other.measurements, "heart_rate": 0} == {**one.measurements, "heart_rate": 0}


# -- sites


def test_sites_shift_what_they_name_and_keep_the_rest() -> None:
    sites = {
        "rural": {"women": 0.3, "conditions": {"I50.9": 0.4}, "chest_ap": 0.6, "age": {"mean": 72}},
        "city": {"options": {"imaging": {"compression": "rle"}}},
    }
    config = population(sites=sites).config
    rural = Population(config.site("rural", "ward.yaml"))
    assert rural.config.conditions["I50.9"].per_decade == 1.8
    assert rural.config.age is not None
    assert rural.config.age.sd == 14
    assert list(rural.config.conditions) == list(config.conditions)
    drawn = list(rural.draw(1000, 1))
    assert np.mean([p.sex == "F" for p in drawn]) == pytest.approx(0.3, abs=0.06)
    assert np.mean([p.has("I50.9") for p in drawn]) == pytest.approx(0.4, abs=0.06)
    assert np.mean([p.traits["chest_view"] == "AP" for p in drawn]) == pytest.approx(0.6, abs=0.06)
    city = Population(config.site("city", "ward.yaml"))
    assert city.patient_id(0, 1) != rural.patient_id(0, 1)
    assert city.config.options == {"imaging": {"compression": "rle"}}
    with pytest.raises(InputError, match="no site 'south'; sites: rural, city"):
        config.site("south", "ward.yaml")
    with pytest.raises(InputError, match=r"sites\.rural: unknown key 'woman'"):
        population(sites={"rural": {"woman": 1}}).config.site("rural", "ward.yaml")


def test_shipped_sites_can_all_be_drawn() -> None:
    common = Population.load("three_sites")
    for name in common.config.sites:
        site = Population.load(f"three_sites:{name}")
        assert site.config.name == f"three_sites_{name}"
        assert len(list(site.draw(20, 1))) == 20


# -- what cannot be

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"include": {"sex": "M", "C50.919": True}}, r"C50\.919 .*is a code for women alone"),
    ({"include": {"sex": "M"}, "strata": [{"share": 0.5, "who": {"C50.919": True}}]}, "code for women alone"),
    ({"strata": [{"share": 0.6, "who": {"I10": True}}, {"share": 0.5, "who": {"I10": False}}]}, "add up to 1.1"),
    ({"strata": [{"share": 0.4, "who": {"I10": True}}, {"share": 0.5, "who": {"sex": "F"}}]}, "overlap"),
    ({"include": {"I10": True}, "strata": [{"share": 1, "who": {"I10": False}}]}, "both present and absent"),
    ({"include": {"age": [20, 30]}, "strata": [{"share": 1, "who": {"age": [40, 50]}}]}, "no value lies in both"),
    ({"include": {"I10": True}, "exclude": [{"I10": True}]}, "no patient can be: I10 True"),
    ({"include": {"I48.91": True, "R94.31": False}}, "no patient can be"),
    ({"include": {"age": [96, 100]}}, "no patient can be"),
    ({"include": {"N18.9": True}}, r"include\.N18\.9: is not among the cohort's conditions"),
    ({"include": {"R00.0": True}}, "give a range of heart_rate"),
    ({"include": {"weight": [50, 60]}}, "cannot be chosen by"),
    ({"include": {"age": [70, 60]}}, r"expected a number or \[low, high\]"),
    ({"include": {"age": [-5, 60]}}, "must lie in 0 to 110"),
    ({"include": {"sex": "X"}}, "sex must be one of F, M"),
    ({"exclude": [{"heart_rate": [100, 200]}]}, "patients cannot be left out by heart_rate"),
    ({"strata": [{"share": 0.5, "who": {"heart_rate": [100, 200]}}]}, "cannot be left out by heart_rate"),
    ({"fairness": {"groups": [{"sex": "F"}, {"sex": "M"}], "conditions": {"I10": 1.2}}}, "must lie in 0 to 1"),
    ({"fairness": {"groups": [{"sex": "F"}, {"sex": "M"}]}, "strata": [{"share": 1, "who": {"I10": True}}]}, "one of"),
    ({"fairness": {"groups": [{"sex": "F"}, {"age": [18, 60]}]}}, "overlap"),
    ({"twin": {"age": [60, 70]}}, "a twin needs one value"),
    ({"twin": {"sex": "F", "I10": True}}, "twin: .*at most 1"),
    ({"age": None}, "age: expected mean and sd"),
    ({"chest_ap": None, "include": {"chest_view": "AP"}}, "include.chest_view: no view of a chest X-ray is drawn"),
    ({"chest_ap": None, "twin": {"chest_view": "AP"}}, "twin.chest_view: no view of a chest X-ray is drawn"),
]  # fmt: skip


@pytest.mark.parametrize(("design", "message"), REFUSED, ids=str)
def test_impossible_designs_are_refused_with_a_reason(design: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as refusal:
        population(**design)
    assert "\n" not in str(refusal.value)
    assert str(refusal.value).startswith("ward.yaml")
