"""Rules: nothing that is released breaks one, and each fires when its case is broken."""

import copy
from collections.abc import Callable
from datetime import date
from functools import cache
from typing import Any

import numpy as np
import pytest

from polyclinic.conditioning.population import Population
from polyclinic.core.modality import Batch, Facts
from polyclinic.core.profile import PatientProfile, seed_for, uid_for
from polyclinic.modalities.records import Records
from polyclinic.modalities.records.rules.clinical import RULES, check

Resources = list[dict[str, Any]]
COHORTS = ("cardio_oncology", "general_ward", "icu")
CHART = {
    "step_hours": 1.0,
    "columns": [
        {"label": label, "loinc": loinc, "unit": unit, "field": ""}
        for label, loinc, unit in (
            ("Heart rate", "8867-4", "/min"), ("Systolic blood pressure", "8480-6", "mmHg"),
            ("Diastolic blood pressure", "8462-4", "mmHg"), ("Mean blood pressure", "8478-0", "mmHg"),
            ("Oxygen saturation", "59408-5", "%"), ("Lactate", "", "mmol/L"),
        )
    ],
    "rows": [[80.0 + n, 121.0, None if n == 3 else 70.0, 88.0, 96.0, 1.5] for n in range(24)],
}  # fmt: skip
SUBTYPES = {
    "LumA": (13.4, 13.0),
    "LumB": (13.6, 12.8),
    "Her2": (7.8, 16.5),
    "Basal": (5.9, 11.7),
    "Normal": (10.6, 12.5),
}


def facts_of(profile: PatientProfile) -> dict[str, Facts]:
    """Made-up facts of the other modalities, as their contracts say."""
    seed = seed_for(1, profile.patient_id, "imaging")
    facts: dict[str, Facts] = {
        "imaging": {
            "findings": [code for code in ("I51.7", "J90") if profile.has(code)],
            "view": profile.traits.get("chest_view"),
            "body_part": "CHEST",
            **{f"{part}_uid": uid_for(seed, part) for part in ("study", "series", "instance")},
        },
        "signals": {
            "heart_rate": profile.measurements.get("heart_rate", 70) + 0.4,
            "rhythm": "atrial fibrillation" if profile.has("I48.91") else "sinus",
            "beats": 12,
            "study_uid": uid_for(seed, "ecg"),
            "chart": CHART,
        },
    }
    if (subtype := profile.traits.get("pam50")) is not None:
        esr1, erbb2 = SUBTYPES[subtype]
        followed = {"os_months": 0.4 + seed % 300 / 10, "os_event": seed % 2 == 1}
        facts["omics"] = {
            "pam50": subtype,
            "ESR1": esr1,
            "PGR": 9.0,
            "ERBB2": erbb2,
            "MKI67": 11.0,
            **followed,
        }
    return facts


def sample(profiles: tuple[PatientProfile, ...], run: int) -> list[Resources]:
    seeds = tuple(seed_for(run, p.patient_id, "records") for p in profiles)
    batch = Batch(
        profiles, np.zeros((len(profiles), 0), np.float32), seeds, tuple(facts_of(p) for p in profiles)
    )
    return [list(record.facts["resources"]) for record in Records().generator(()).sample(batch)]


@pytest.mark.parametrize("cohort", COHORTS)
def test_nothing_released_breaks_a_rule(cohort: str) -> None:
    profiles = tuple(Population.load(cohort).draw(50, 31))
    for profile, resources in zip(profiles, sample(profiles, 31), strict=True):
        assert check(resources, facts_of(profile)) == []


def test_nor_do_the_sickest() -> None:
    """Patients with everything at once, at every age."""
    everything = ("I10", "I25.2", "I48.91", "I50.9", "J18.9", "A41.9", "E11.9", "N18.9", "J81.0", "J43.9")
    for age in (18.1, 25.0, 44.0, 70.0, 97.0):
        for sex in ("F", "M"):
            code = {"F": "C50.919", "M": "C50.929"}[sex]
            profile = next(Population.load("icu").draw(1, int(age))).but(
                age=age,
                sex=sex,
                conditions=dict.fromkeys((*everything, code), True),
                traits={"pam50": "Her2"},
            )
            (resources,) = sample((profile,), 0)
            assert check(resources, facts_of(profile)) == []


# -- each rule fires


@cache
def _busy() -> tuple[PatientProfile, Resources]:
    """A patient with a resource for every rule to break: ill, treated, operated, and dead within the year."""
    conditions = ("C50.919", "A41.9", "E11.9", "N18.9", "I48.91", "I50.9", "I10")
    values = {
        "heart_rate": 118.0, "systolic": 82.0, "diastolic": 50.0, "respiration": 28.0, "oxygen_saturation": 88.0,
        "temperature": 38.9, "hemoglobin": 10.1, "leukocytes": 17.0, "platelets": 120.0, "creatinine": 2.2,
        "glucose": 190.0, "potassium": 4.8, "lactate": 5.0, "nt_probnp": 3000.0,
    }  # fmt: skip
    profile = PatientProfile(
        "P-1",
        70.0,
        "F",
        162.0,
        71.0,
        dict.fromkeys(conditions, True),
        values,
        {"pam50": "LumA"},
        date(2024, 6, 1),
    )
    for run in range(400):
        (resources,) = sample((profile,), run)
        given = str(
            [r["medicationCodeableConcept"] for r in resources if r["resourceType"] == "MedicationRequest"]
        )
        if "deceasedDateTime" in resources[0] and all(
            name in given for name in ("norepinephrine", "warfarin", "letrozole")
        ):
            assert check(resources, facts_of(profile)) == []
            return profile, resources
    raise AssertionError("no such patient in 400 draws")


def of(resources: Resources, kind: str, word: str = "") -> dict[str, Any]:
    return next(r for r in resources if r["resourceType"] == kind and word in str(r))


def drug(resources: Resources, name: str) -> dict[str, Any]:
    return of(resources, "MedicationRequest", f"'display': '{name}'")


def code(resource: dict[str, Any], element: str = "code") -> dict[str, Any]:
    found: dict[str, Any] = resource[element]["coding"][0]
    return found


def read(resources: Resources, loinc: str) -> dict[str, Any]:
    return next(r for r in resources if r["resourceType"] == "Observation" and code(r)["code"] == loinc)


def _repeat(rs: Resources) -> None:
    rs.append(rs[3])


def _untag(rs: Resources) -> None:
    rs[5]["meta"]["tag"] = []


def _dangle(rs: Resources) -> None:
    of(rs, "Procedure")["encounter"]["reference"] = "Encounter/none"


def _invent(rs: Resources) -> None:
    code(of(rs, "Procedure"))["code"] = "123"


def _rename(rs: Resources) -> None:
    code(of(rs, "Condition"))["display"] = "Something else"


def _other_image(rs: Resources) -> None:
    of(rs, "ImagingStudy")["series"][0]["uid"] = "2.25.1"


def _other_rate(rs: Resources) -> None:
    next(r for r in rs if r["id"].endswith("ecg-heart-rate"))["valueQuantity"]["value"] += 3


def _other_rhythm(rs: Resources) -> None:
    next(r for r in rs if r["id"].endswith("ecg-rhythm"))["valueCodeableConcept"]["text"] = "sinus"


def _unborn(rs: Resources) -> None:
    of(rs, "Condition")["onsetDateTime"] = "1950-01-01"


def _afterlife(rs: Resources) -> None:
    of(rs, "Procedure")["performedDateTime"] = "2031-01-01T08:00:00Z"


def _prescribed_on(rs: Resources) -> None:
    del drug(rs, "warfarin")["dosageInstruction"][0]["timing"]["repeat"]["boundsPeriod"]["end"]


def _outlives(rs: Resources) -> None:
    del of(rs, "Patient")["deceasedDateTime"]


def _dies_early(rs: Resources) -> None:
    of(rs, "Patient")["deceasedDateTime"] = "2024-06-03T08:00:00Z"


def _backwards(rs: Resources) -> None:
    of(rs, "Encounter")["period"]["end"] = "2010-01-01T08:00:00Z"


def _overlap(rs: Resources) -> None:
    stay = copy.deepcopy(next(r for r in rs if r["id"] == "P-1-visit"))
    rs.append(stay | {"id": "P-1-second"})


def _outside(rs: Resources) -> None:
    read(rs, "2345-7")["effectiveDateTime"] = "2024-05-30T08:00:00Z"


def _early_record(rs: Resources) -> None:
    of(rs, "Condition", "'E11.9'")["onsetDateTime"] = "2024-06-30"


def _early_drug(rs: Resources) -> None:
    drug(rs, "norepinephrine")["authoredOn"] = "2024-05-01T08:00:00Z"


def _no_indication(rs: Resources) -> None:
    drug(rs, "norepinephrine")["reasonReference"] = drug(rs, "warfarin")["reasonReference"]


def _overdose(rs: Resources) -> None:
    drug(rs, "warfarin")["dosageInstruction"][0]["doseAndRate"][0]["doseQuantity"]["value"] = 50


def _wrong_dose_unit(rs: Resources) -> None:
    drug(rs, "warfarin")["dosageInstruction"][0]["doseAndRate"][0]["doseQuantity"]["code"] = "g"


def _both_anticoagulants(rs: Resources) -> None:
    more = copy.deepcopy(drug(rs, "warfarin")) | {"id": "P-1-more"}
    code(more, "medicationCodeableConcept").update(code="1364430", display="apixaban")
    more["dosageInstruction"][0]["doseAndRate"][0]["doseQuantity"]["value"] = 5
    rs.append(more)


def _metformin_late(rs: Resources) -> None:
    more = copy.deepcopy(drug(rs, "warfarin")) | {"id": "P-1-more"}
    code(more, "medicationCodeableConcept").update(code="6809", display="metformin")
    before = next(r for r in rs if r["resourceType"] == "Observation" and code(r)["code"] == "98979-8")
    before["valueQuantity"]["value"] = 20
    more["authoredOn"] = before["effectiveDateTime"]
    rs.append(more)


def _man(rs: Resources) -> None:
    rs[0]["gender"] = "male"


def _child(rs: Resources) -> None:
    of(rs, "Condition", "'C50.919'")["onsetDateTime"] = "1960-01-01"


def _unit(rs: Resources) -> None:
    read(rs, "2345-7")["valueQuantity"]["code"] = "mmol/L"


def _impossible(rs: Resources) -> None:
    read(rs, "2823-3")["valueQuantity"]["value"] = 41


def _pressure(rs: Resources) -> None:
    parts = read(rs, "85354-9")["component"]
    parts[0]["valueQuantity"], parts[1]["valueQuantity"] = (
        parts[1]["valueQuantity"],
        parts[0]["valueQuantity"],
    )


def _egfr(rs: Resources) -> None:
    read(rs, "98979-8")["valueQuantity"]["value"] = 120


def _stage(rs: Resources) -> None:
    stage = of(rs, "Condition", "'N18.9'")["stage"][0]["summary"]
    stage["coding"][0].update(code="433146000", display="Chronic kidney disease stage 5")


def _stage_without_albumin(rs: Resources) -> None:
    disease = of(rs, "Condition", "'N18.9'")
    disease["stage"][0]["summary"]["coding"][0].update(
        code="431856006", display="Chronic kidney disease stage 2"
    )
    for r in rs:
        if r["resourceType"] == "Observation" and "9318-7" in str(r["code"]):
            r["valueQuantity"]["value"] = 5


def _hba1c(rs: Resources) -> None:
    first = min((r for r in rs if "'4548-4'" in str(r.get("code"))), key=lambda r: r["effectiveDateTime"])
    first["valueQuantity"]["value"] = 5.1


def _hba1c_of_the_healthy(rs: Resources) -> None:
    code(of(rs, "Condition", "'E11.9'")).update(code="I51.7", display="Cardiomegaly")


def _needless(rs: Resources) -> None:
    code(of(rs, "Procedure")).update(code="302497006", display="Hemodialysis")
    rs[:] = [r for r in rs if "'N18.9'" not in str(r.get("code")) and "'N17.9'" not in str(r.get("code"))]


def _receptor(rs: Resources) -> None:
    answer = read(rs, "85337-4")["valueCodeableConcept"]["coding"][0]
    answer.update(code="260385009", display="Negative")


def _unwatched(rs: Resources) -> None:
    rs[:] = [r for r in rs if "'6301-6'" not in str(r.get("code"))]


def _no_vasopressor(rs: Resources) -> None:
    rs.remove(drug(rs, "norepinephrine"))


def _shock_alone(rs: Resources) -> None:
    rs.remove(of(rs, "Condition", "'A41.9'"))


def _allergic(rs: Resources) -> None:
    code(drug(rs, "warfarin"), "medicationCodeableConcept").update(code="29046", display="lisinopril")
    code(of(rs, "AllergyIntolerance")).update(code="29046", display="lisinopril")


def _two_allergies(rs: Resources) -> None:
    none = copy.deepcopy(of(rs, "AllergyIntolerance")) | {"id": "P-1-more"}
    code(none).update(code="716186003", display="No known allergy")
    other = copy.deepcopy(none) | {"id": "P-1-another"}
    rs.extend([none, other])


def _vaccinated(day: str) -> Callable[[Resources], None]:
    def breaks(rs: Resources) -> None:
        shot = copy.deepcopy(of(rs, "Claim")) | {"id": "P-1-shot", "resourceType": "Immunization"}
        rs.append(shot | {"occurrenceDateTime": day, "vaccineCode": {"coding": [{"code": "150"}]}})

    return breaks


def _vaccinated_twice(rs: Resources) -> None:
    for day in ("2021-10-01", "2021-11-01"):
        _vaccinated(day)(rs)


def _billed(rs: Resources) -> None:
    of(rs, "Claim")["billablePeriod"] = {"start": "2020-01-01", "end": "2020-01-02"}


def _unpaid(rs: Resources) -> None:
    of(rs, "Coverage")["period"] = {"start": "2031-01-01"}


def _unclaimed(rs: Resources) -> None:
    rs.remove(of(rs, "Claim"))


def _claimed_early(rs: Resources) -> None:
    of(rs, "Claim", "diagnosisReference")["created"] = "2001-01-01T00:00:00Z"


def _medicare_for_all(rs: Resources) -> None:
    of(rs, "Coverage")["period"]["start"] = "1990-01-01"
    code(of(rs, "Coverage"), "type")["code"] = "1"


def _taken_late(rs: Resources) -> None:
    of(rs, "Specimen")["collection"]["collectedDateTime"] = "2030-01-01T00:00:00Z"


def _other_specimen(rs: Resources) -> None:
    read(rs, "85337-4")["specimen"] = read(rs, "2345-7")["specimen"]


def _paced(rs: Resources) -> None:
    code(of(rs, "Condition", "'I10'")).update(code="Z95.0", display="Presence of cardiac pacemaker")


def _misread(rs: Resources) -> None:
    read(rs, "2345-7")["interpretation"] = [{"coding": [{"code": "LL"}]}]


def _aimless(rs: Resources) -> None:
    of(rs, "Goal")["description"]["text"] = "Be well"


def _early_goal(rs: Resources) -> None:
    of(rs, "Goal")["startDate"] = "1990-01-01"


def _not_ordered(rs: Resources) -> None:
    of(rs, "MedicationAdministration")["request"]["reference"] = (
        f"MedicationRequest/{drug(rs, 'warfarin')['id']}"
    )


def _given_late(rs: Resources) -> None:
    given = of(rs, "MedicationAdministration")
    given["effectivePeriod"] = {"start": "2031-01-01T00:00:00Z"}


def _other_study(rs: Resources) -> None:
    of(rs, "DiagnosticReport", "-report-ecg")["identifier"].pop()


def _other_minute(rs: Resources) -> None:
    of(rs, "DiagnosticReport", "-report-ecg")["effectiveDateTime"] = "2024-06-01T06:59:00Z"


def _miscopied(rs: Resources) -> None:
    next(r for r in rs if r["id"] == "P-1-chart-2-heart-rate")["valueQuantity"]["value"] += 1


def _lost_hour(rs: Resources) -> None:
    rs[:] = [r for r in rs if not r["id"].startswith("P-1-chart-5-")]


BROKEN: list[tuple[str, Callable[[Resources], None], str]] = [
    ("ids-are-unique", _repeat, "used 2 times"),
    ("tagged-synthetic", _untag, "not tagged"),
    ("references-resolve", _dangle, "does not resolve"),
    ("codes-are-listed", _invent, "not in the bundled list"),
    ("codes-are-listed", _rename, "has display"),
    ("images-are-files", _other_image, "no image"),
    ("heart-rate-is-the-traces", _other_rate, "the trace has"),
    ("heart-rate-is-the-traces", _other_rhythm, "rhythm sinus"),
    ("nothing-before-birth", _unborn, "before birth"),
    ("nothing-after-death", _afterlife, "after death"),
    ("nothing-after-death", _prescribed_on, "runs on"),
    ("visits-end-after-they-start", _backwards, "ends before"),
    ("visits-end-after-they-start", _overlap, "another stay"),
    ("events-lie-in-their-visit", _outside, "outside"),
    ("conditions-are-recorded-after-onset", _early_record, "before its onset"),
    ("treatment-follows-diagnosis", _early_drug, "on record from"),
    ("drugs-have-an-indication", _no_indication, "is for septic_shock"),
    ("doses-are-in-range", _overdose, "out of range"),
    ("doses-are-in-range", _wrong_dose_unit, "expected mg"),
    ("drugs-do-not-clash", _both_anticoagulants, "runs together with warfarin"),
    ("drugs-fit-the-kidney", _metformin_late, "begun at an eGFR of 20"),
    ("life-is-as-long-as-the-follow-up", _outlives, "is alive, but the follow-up ends in death"),
    ("life-is-as-long-as-the-follow-up", _dies_early, "died 2.3 days after the index date, lived"),
    ("sex-and-age-fit", _man, "in a patient of sex M"),
    ("sex-and-age-fit", _child, "years"),
    ("values-are-possible", _unit, "expected mg/dL"),
    ("values-are-possible", _impossible, "not possible"),
    ("systolic-is-over-diastolic", _pressure, "mm[Hg]"),
    ("egfr-follows-from-creatinine", _egfr, "with a creatinine"),
    ("kidney-stage-matches-egfr", _stage, "stage_5 with an eGFR"),
    ("kidney-stage-matches-egfr", _stage_without_albumin, "without albuminuria"),
    ("diabetes-matches-hba1c", _hba1c, "diagnosed with an HbA1c"),
    ("diabetes-matches-hba1c", _hba1c_of_the_healthy, "without diabetes"),
    ("procedures-have-a-reason", _needless, "hemodialysis needs"),
    ("tumour-drugs-match-receptors", _receptor, "estrogen_receptor negative"),
    ("warfarin-is-watched", _unwatched, "no INR"),
    ("shock-has-a-vasopressor", _no_vasopressor, "without a vasopressor"),
    ("shock-has-a-vasopressor", _shock_alone, "without sepsis"),
    ("nobody-takes-what-they-are-allergic-to", _allergic, "lisinopril with an allergy"),
    ("nobody-takes-what-they-are-allergic-to", _two_allergies, "beside `no known allergy`"),
    ("immunizations-fit-age-and-season", _vaccinated("1954-03-20"), "before the age"),
    ("immunizations-fit-age-and-season", _vaccinated("2021-07-01"), "out of season"),
    ("immunizations-fit-age-and-season", _vaccinated("2003-10-01"), "in 2003"),
    ("immunizations-fit-age-and-season", _vaccinated_twice, "twice in a season"),
    ("claims-are-of-visits", _billed, "other days"),
    ("claims-are-of-visits", _unpaid, "not covered"),
    ("claims-are-of-visits", _unclaimed, "not one for each"),
    ("claims-are-of-visits", _claimed_early, "not on record yet"),
    ("coverage-fits-age", _medicare_for_all, "from 1990-01-01 on"),
    ("specimens-come-before-results", _taken_late, "on what was taken 2030"),
    ("specimens-come-before-results", _other_specimen, "another kind"),
    ("devices-are-accounted-for", _paced, "devices"),
    ("interpretations-follow-from-ranges", _misread, "not interpreted"),
    ("goals-are-of-conditions", _aimless, "no such aim"),
    ("goals-are-of-conditions", _early_goal, "before its condition"),
    ("infusions-are-ordered", _not_ordered, "without an order"),
    ("infusions-are-ordered", _given_late, "did not run"),
    ("studies-are-named-once", _other_study, "another study"),
    ("studies-are-named-once", _other_minute, "the file says"),
    ("the-chart-is-the-files", _miscopied, "1 charted values differ"),
    ("the-chart-is-the-files", _lost_hour, "charted values differ"),
]


@pytest.mark.parametrize(
    ("rule", "breaks", "says"), BROKEN, ids=[b.__name__.strip("_") for _, b, _ in BROKEN]
)
def test_each_rule_fires(rule: str, breaks: Callable[[Resources], None], says: str) -> None:
    profile, good = _busy()
    resources = copy.deepcopy(good)
    breaks(resources)
    found = [v for v in check(resources, facts_of(profile)) if v.rule == rule]
    assert any(says in str(violation) for violation in found), [str(v) for v in found]


def test_no_rule_is_left_untried() -> None:
    assert {rule for rule, _, _ in BROKEN} == set(RULES)
