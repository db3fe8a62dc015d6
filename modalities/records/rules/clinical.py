"""Rules that a health record must keep, each by name; check() applies them all. Clinical ones are in this file."""

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta

from ....core.modality import Facts
from ..case import Case, Violation, code_of, moment
from ..codes import codes, holds
from ..data import Resource
from ..simulation.body import egfr_of, kidney_stage
from .agreement import AGREEMENT
from .form import FORM, Found
from .order import TIME

Rule = Callable[[Case], Found]


def check(resources: Sequence[Resource], facts: Mapping[str, Facts] | None = None) -> list[Violation]:
    """Every rule that one patient's true resources break; empty means none.

    facts, {modality: facts of that patient's record}, lets the rules about images and traces be checked.
    """
    case = Case(resources, facts)
    return [Violation(name, resource, says) for name, rule in RULES.items() for resource, says in rule(case)]


def drugs_have_an_indication(case: Case) -> Found:
    """A prescription names a condition on record that the drug treats."""
    by_code = codes().by_code["drugs"]
    names = {Case.name(resource): name for name, resource in case.problems.items()}
    for resource in case.of("MedicationRequest"):
        drug = codes().drugs.get(by_code.get(code_of(resource["medicationCodeableConcept"]), ""))
        reasons = {names.get(r["reference"], "") for r in resource.get("reasonReference", ())}
        if drug is not None and not any(holds(wanted, reasons) for wanted in drug.treats):
            yield (
                Case.name(resource),
                f"{drug.display} is for {', '.join(drug.treats)}, not {sorted(reasons)}",
            )


def doses_are_in_range(case: Case) -> Found:
    """One dose and a day's doses lie in the drug's limits, in its unit."""
    for name, resource, _, _ in case.orders:
        drug = codes().drugs[name]
        instruction = resource["dosageInstruction"][0]
        dose = instruction["doseAndRate"][0]["doseQuantity"]
        repeat = instruction["timing"]["repeat"]
        low, high = drug.dose
        a_day = dose["value"] * (repeat["frequency"] if repeat["period"] == 1 else 1)
        if dose["code"] != drug.unit:
            yield Case.name(resource), f"{name} in {dose['code']}, expected {drug.unit}"
        elif not low <= dose["value"] <= high or a_day > drug.daily + 1e-9:
            yield Case.name(resource), f"{name} {dose['value']} {drug.unit}, {a_day} a day: out of range"


def drugs_do_not_clash(case: Case) -> Found:
    """Drugs that exclude each other do not run at the same time, nor one drug twice."""
    for place, (name, resource, start, end) in enumerate(case.orders):
        for other, _, begins, ends in case.orders[:place]:
            together = (ends is None or ends > start) and (end is None or end > begins)
            if together and (other in codes().drugs[name].not_with or other == name):
                yield Case.name(resource), f"{name} runs together with {other}"


def drugs_fit_the_kidney(case: Case) -> Found:
    """A drug is not begun under its least eGFR."""
    read = case.numbers("egfr")
    for name, resource, start, _ in case.orders:
        before = [value for _, at, value in read if at <= start]
        if before and before[-1] < codes().drugs[name].least_egfr:
            yield Case.name(resource), f"{name} begun at an eGFR of {before[-1]}"


def sex_and_age_fit(case: Case) -> Found:
    """Conditions and drugs of one sex, and of adults, are theirs."""
    sex = {"female": "F", "male": "M"}.get(case.patient.get("gender", ""))
    for name, resource in case.problems.items():
        entry = codes().conditions[name]
        if entry.sex not in (None, sex):
            yield Case.name(resource), f"{entry.display} in a patient of sex {sex}"
        onset = resource.get("onsetDateTime")
        age = case.age(moment(onset)) if onset else None
        if age is not None and age < entry.low - 0.01:
            yield Case.name(resource), f"{entry.display} at {age:.1f} years"
    for name, resource, _, _ in case.orders:
        if codes().drugs[name].sex not in (None, sex):
            yield Case.name(resource), f"{name} for a patient of sex {sex}"


def values_are_possible(case: Case) -> Found:
    """A number has its observation's unit and lies in its possible range."""
    by_code = {entry.code: entry for entry in codes().observations.values()}
    for resource in case.of("Observation"):
        for part in [resource, *resource.get("component", [])]:
            entry, value = by_code.get(code_of(part["code"])), part.get("valueQuantity")
            if entry is None or value is None:
                continue
            if value["code"] != entry.unit:
                yield Case.name(resource), f"{entry.display} in {value['code']}, expected {entry.unit}"
            elif not entry.low <= value["value"] <= entry.high:
                yield Case.name(resource), f"{entry.display} {value['value']} {entry.unit} is not possible"


def systolic_is_over_diastolic(case: Case) -> Found:
    """In every reading of blood pressure."""
    for resource in case.of("Observation"):
        parts = {
            code_of(p["code"]): p["valueQuantity"]["value"]
            for p in resource.get("component", [])
            if "valueQuantity" in p
        }
        if {"8480-6", "8462-4"} <= parts.keys() and parts["8480-6"] <= parts["8462-4"]:
            yield Case.name(resource), f"{parts['8480-6']} over {parts['8462-4']} mm[Hg]"


def egfr_follows_from_creatinine(case: Case) -> Found:
    """An eGFR is CKD-EPI 2021 of the creatinine of that moment, within 2 (rounding, age in days)."""
    creatinine = {at: value for _, at, value in case.numbers("creatinine")}
    female = case.patient.get("gender") == "female"
    for resource, at, value in case.numbers("egfr"):
        age = case.age(at)
        if at not in creatinine or age is None:
            yield Case.name(resource), "no creatinine of that moment"
        elif abs(egfr_of(creatinine[at], age, female) - value) > 2:
            yield Case.name(resource), f"eGFR {value} with a creatinine of {creatinine[at]}"


def kidney_stage_matches_egfr(case: Case) -> Found:
    """The stage is that of the eGFR it rests on; above 60 albuminuria of 30 mg/g or more is on record."""
    problem = case.problems.get("kidney_disease")
    for stage in (problem or {}).get("stage", ()):
        assert problem is not None
        said = codes().by_code["answers"].get(code_of(stage["summary"]))
        basis = case.by_name.get(stage["assessment"][0]["reference"], {})
        value = basis.get("valueQuantity", {}).get("value")
        if value is None or kidney_stage(value) != said:
            yield Case.name(problem), f"{said} with an eGFR of {value}"
        albumin = [number for _, _, number in case.numbers("albumin_creatinine")]
        if said in ("stage_1", "stage_2") and max(albumin, default=0) < 30:
            yield Case.name(problem), f"{said} without albuminuria"


def diabetes_matches_hba1c(case: Case) -> Found:
    """The first HbA1c of a diabetic patient is 6.5 % or more; nobody else has one."""
    read, problem = case.numbers("hba1c"), case.problems.get("diabetes")
    if problem is not None and read and read[0][2] < 6.5:
        yield Case.name(problem), f"diagnosed with an HbA1c of {read[0][2]} %"
    if problem is None:
        for resource, _, value in read:
            if value >= 6.5:
                yield Case.name(resource), f"HbA1c of {value} % without diabetes"


def procedures_have_a_reason(case: Case) -> Found:
    """What a procedure needs is on record by then."""
    known = {entry.code: (name, entry.needs) for name, entry in codes().procedures.items()}
    for resource in case.of("Procedure"):
        name, needs = known.get(code_of(resource["code"]), ("", []))
        day = resource.get("performedDateTime", "9999")
        present = {key for key, r in case.problems.items() if r.get("recordedDate", "") <= day}
        if needs and not any(holds(need, present) for need in needs):
            yield Case.name(resource), f"{name} needs one of {', '.join(needs)}"


def tumour_drugs_match_receptors(case: Case) -> Found:
    """Endocrine therapy with estrogen receptors, trastuzumab with HER2."""
    answers = {name: value for name, _, _, value in case.readings if isinstance(value, str)}
    needed = {drug: "estrogen_receptor" for drug in ("tamoxifen", "letrozole", "anastrozole")}
    for name, resource, _, _ in case.orders:
        receptor = {**needed, "trastuzumab": "her2"}.get(name)
        if receptor is not None and answers.get(receptor) != "positive":
            yield Case.name(resource), f"{name} with {receptor} {answers.get(receptor)}"


def warfarin_is_watched(case: Case) -> Found:
    """Within 90 days of warfarin an INR is read, unless it ended or the record does first."""
    inr = [at for _, at, _ in case.numbers("inr")]
    last = max((at for _, _, at, _ in case.readings if at), default=None)
    for name, resource, start, end in case.orders:
        until = min(moment for moment in (end, last, start + timedelta(days=90)) if moment is not None)
        watched = any(start <= at <= start + timedelta(days=90) for at in inr)
        if name == "warfarin" and until >= start + timedelta(days=90) and not watched:
            yield Case.name(resource), "no INR within 90 days"


def shock_has_a_vasopressor(case: Case) -> Found:
    """Septic shock is shock on a vasopressor, in sepsis."""
    problem = case.problems.get("septic_shock")
    if problem is None:
        return
    if "sepsis" not in case.problems:
        yield Case.name(problem), "septic shock without sepsis"
    if "norepinephrine" not in {name for name, *_ in case.orders}:
        yield Case.name(problem), "septic shock without a vasopressor"


_ALL: tuple[Rule, ...] = (
    *FORM,
    *TIME,
    *AGREEMENT,
    drugs_have_an_indication,
    doses_are_in_range,
    drugs_do_not_clash,
    drugs_fit_the_kidney,
    sex_and_age_fit,
    values_are_possible,
    systolic_is_over_diastolic,
    egfr_follows_from_creatinine,
    kidney_stage_matches_egfr,
    diabetes_matches_hba1c,
    procedures_have_a_reason,
    tumour_drugs_match_receptors,
    warfarin_is_watched,
    shock_has_a_vasopressor,
)
RULES: Mapping[str, Rule] = {rule.__name__.replace("_", "-"): rule for rule in _ALL}
