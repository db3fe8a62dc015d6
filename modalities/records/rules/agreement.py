"""Rules of agreement: what US Core asks for says nothing that the rest of the record does not bear out."""

from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from typing import Any

from ....core.study import Study, chart_begins
from ..case import Case, code_of, moment
from ..codes import codes
from ..data import CHARTED, DICOM_UID, Resource
from ..us_core.lists import lists
from ..us_core.observed import judged
from .form import Found

_YEAR = 365.25


def _resources(case: Case, kind: str) -> dict[str, Resource]:
    return {Case.name(resource): resource for resource in case.of(kind)}


def nobody_takes_what_they_are_allergic_to(case: Case) -> Found:
    """No drug is ordered that an allergy on record forbids; `no known allergy` stands alone."""
    by_code = {entry.code: entry for entry in lists().allergens.values()}
    known = [code_of(resource["code"]) for resource in case.of("AllergyIntolerance")]
    if lists().terms["no_allergy"].code in known and len(known) > 1:
        yield Case.name(case.patient), "an allergy beside `no known allergy`"
    forbidden = {drug for code in known if code in by_code for drug in by_code[code].drugs}
    for name, resource, _, _ in case.orders:
        if name in forbidden:
            yield Case.name(resource), f"{name} with an allergy on record"


def immunizations_fit_age_and_season(case: Case) -> Found:
    """A vaccine is given from its age on, in its season and years, and influenza once a season."""
    by_code = {entry.code: (name, entry) for name, entry in lists().vaccines.items()}
    seasons: set[int] = set()
    for resource in case.of("Immunization"):
        name, entry = by_code[code_of(resource["vaccineCode"])]
        day = date.fromisoformat(resource["occurrenceDateTime"][:10])
        if case.born is None or (day - case.born.date()).days / _YEAR < entry.low:
            yield Case.name(resource), f"{name} before the age of {entry.low:g}"
        if not entry.since <= day.year < entry.until:
            yield Case.name(resource), f"{name} in {day.year}"
        if entry.month and not 0 <= (day - date(day.year, entry.month, 1)).days < entry.days:
            yield Case.name(resource), f"{name} on {day}, out of season"
        if entry.month and day.year in seasons:
            yield Case.name(resource), f"{name} twice in a season"
        seasons |= {day.year} if entry.month else set()


def claims_are_of_visits(case: Case) -> Found:
    """Each visit with a calendar is claimed once, for its days, from a coverage that runs on its last day."""
    visits, coverages = _resources(case, "Encounter"), _resources(case, "Coverage")
    claimed: list[str] = []
    for claim in case.of("Claim"):
        name = claim["item"][0]["encounter"][0]["reference"]
        claimed.append(name)
        if claim["billablePeriod"] != visits.get(name, {}).get("period"):
            yield Case.name(claim), f"billed for other days than those of {name}"
        period = coverages.get(claim["insurance"][0]["coverage"]["reference"], {}).get("period", {})
        day = claim["created"][:10]
        if not period.get("start", "9999") <= day <= period.get("end", "9999"):
            yield Case.name(claim), f"{day} is not covered by the coverage that it names"
        for entry in claim.get("diagnosis", ()):
            problem = case.by_name.get(entry["diagnosisReference"]["reference"], {})
            if problem.get("recordedDate", "") > claim["created"]:
                yield Case.name(claim), "claims a diagnosis that is not on record yet"
    if claimed and sorted(claimed) != sorted(visits):
        yield Case.name(case.patient), f"{len(visits)} visits and {len(claimed)} claims, not one for each"


def coverage_fits_age(case: Case) -> Found:
    """Medicare from the month of the 65th birthday on, and not before."""
    settings = lists().settings
    medicare = settings.payers["medicare"].code
    for resource in case.of("Coverage"):
        if case.born is None:
            continue
        start = date.fromisoformat(resource["period"]["start"])
        old = start >= date(case.born.year + settings.medicare_age, case.born.month, 1)
        if (code_of(resource["type"]) == medicare) != old:
            yield Case.name(resource), f"{resource['type']['text']} from {start} on"


def specimens_come_before_results(case: Case) -> Found:
    """What a result was measured on was taken before it, asked for at the same visit, and is of that kind."""
    specimens = _resources(case, "Specimen")
    tissue = lists().terms["tissue"].code
    receptors = {
        codes().observations[name].code for name in ("estrogen_receptor", "progesterone_receptor", "her2")
    }
    for resource in case.of("Observation"):
        if "specimen" not in resource:
            continue
        specimen = specimens.get(resource["specimen"]["reference"], {})
        taken, at = specimen.get("collection", {}).get("collectedDateTime"), resource.get("effectiveDateTime")
        if taken and at and moment(taken) > moment(at):
            yield Case.name(resource), f"measured {at[:16]} on what was taken {taken[:16]}"
        code = code_of(resource["code"])
        key = f"{resource['id'].removeprefix(case.patient['id'])}-"  # a second set of tumours is named at its end
        of_tumour = code in receptors or key.startswith(("-pam50-", "-gene-"))
        if (code_of(specimen.get("type")) == tissue) != of_tumour:
            yield Case.name(resource), "measured on a specimen of another kind"


def devices_are_accounted_for(case: Case) -> Found:
    """A pacemaker is in whom it is on record, a ventilator beside whom it was used."""
    wanted = {lists().terms["pacemaker"].code} if "pacemaker" in case.problems else set()
    used = [ref["reference"] for done in case.of("Procedure") for ref in done.get("usedReference", ())]
    wanted |= {lists().terms["ventilator"].code} if used else set()
    found = {code_of(resource["type"]) for resource in case.of("Device")}
    if found != wanted:
        yield Case.name(case.patient), f"devices {sorted(found)}, expected {sorted(wanted)}"


def interpretations_follow_from_ranges(case: Case) -> Found:
    """A value is called low, normal or high by the reference range beside it, which is that of the list."""
    known = codes().by_code["observations"]
    sex = {"female": "F", "male": "M"}.get(case.patient.get("gender", ""))
    for resource in case.of("Observation"):
        for part in [resource, *resource.get("component", ())]:
            name, value = known.get(code_of(part["code"])), part.get("valueQuantity", {}).get("value")
            if name is None or value is None:
                continue
            wanted = judged(name, value, sex)
            if {key: part.get(key) for key in ("interpretation", "referenceRange") if key in part} != wanted:
                yield Case.name(resource), f"{name} {value} is not interpreted by its reference range"


def goals_are_of_conditions(case: Case) -> Found:
    """A goal is for a condition on record that has that aim, and begins after it was recorded."""
    aims = {codes().conditions[name].code: aim for name, aim in lists().settings.goals.items()}
    for goal in case.of("Goal"):
        problem = case.by_name.get(goal["addresses"][0]["reference"], {})
        aim = aims.get(code_of(problem.get("code")))
        if aim is None or aim.words != goal["description"]["text"]:
            yield Case.name(goal), "the condition that it addresses has no such aim"
        if goal.get("startDate", "9999") < problem.get("recordedDate", "")[:10]:
            yield Case.name(goal), "begins before its condition is on record"


def infusions_are_ordered(case: Case) -> Found:
    """What was given was ordered: the same drug, while the order ran."""
    orders = {Case.name(resource): (start, until) for _, resource, start, until in case.orders}
    for given in case.of("MedicationAdministration"):
        request = given["request"]["reference"]
        drug = case.by_name.get(request, {}).get("medicationCodeableConcept")
        start = given.get("effectivePeriod", {}).get("start") or given["effectiveDateTime"]
        runs = orders.get(request)
        if drug != given["medicationCodeableConcept"] or runs is None:
            yield Case.name(given), "given without an order of that drug"
        elif moment(start) < runs[0] or (runs[1] is not None and moment(start) > runs[1]):
            yield Case.name(given), "given while its order did not run"


def studies_are_named_once(case: Case) -> Found:
    """The report of an image or ECG has time, UID and accession number of the study (facts of the others)."""
    index = case.by_name.get(f"Encounter/{case.patient['id']}-visit", {}).get("period", {}).get("start")
    if case.facts is None or index is None:
        return
    for modality, kinds in (("imaging", ("chest-xray", "imaging")), ("signals", ("ecg",))):
        study = Study.of(case.facts.get(modality, {}), date.fromisoformat(index[:10]))
        reports = [case.by_name.get(f"DiagnosticReport/{case.patient['id']}-report-{kind}") for kind in kinds]
        for report in filter(None, reports):
            if study is None or study.begins is None or study.taken is None:
                continue
            made = study.begins if modality == "imaging" else study.taken
            said = {one["system"]: one["value"] for one in report.get("identifier", ())}
            if said.pop(DICOM_UID, "") != f"urn:oid:{study.uid}" or list(said.values()) != [study.accession]:
                yield Case.name(report), "names another study than the file does"
            if report["effectiveDateTime"] != f"{made.isoformat()}Z":
                yield (
                    Case.name(report),
                    f"made {report['effectiveDateTime']}, the file says {made.isoformat()}",
                )


def the_chart_is_the_files(case: Case) -> Found:
    """Every charted vital sign is that of the trace's chart, hour by hour (facts of the modality signals)."""
    chart: Mapping[str, Any] | None = (case.facts or {}).get("signals", {}).get("chart")
    index = case.by_name.get(f"Encounter/{case.patient['id']}-visit", {}).get("period")
    if chart is None or index is None:
        return
    begins, step = chart_begins(date.fromisoformat(index["start"][:10])), timedelta(hours=chart["step_hours"])
    last = min(filter(None, (index["end"], case.patient.get("deceasedDateTime"))))
    wanted = {
        (f"{(begins + number * step).isoformat()}Z", column["loinc"] or column["label"]): value
        for number, row in enumerate(chart["rows"])
        for column, value in zip(chart["columns"], row, strict=True)
        if value is not None and f"{(begins + number * step).isoformat()}Z" <= last
    }
    found = dict(_charted(case))
    if found != wanted:
        differing = sorted({key for key in wanted.keys() | found.keys() if wanted.get(key) != found.get(key)})
        yield (
            Case.name(case.patient),
            f"{len(differing)} charted values differ from the file, the first {differing[0]}",
        )


def _charted(case: Case) -> Iterator[tuple[tuple[str, str], float]]:
    begins = f"{case.patient['id']}-{CHARTED}"
    for resource in case.of("Observation"):
        if not resource["id"].startswith(begins):
            continue
        for part in resource.get("component") or [resource]:
            if "valueQuantity" in part:
                coding = part["code"].get("coding", [])
                code = coding[-1]["code"] if coding else part["code"]["text"]
                yield (resource["effectiveDateTime"], code), part["valueQuantity"]["value"]


AGREEMENT = (
    nobody_takes_what_they_are_allergic_to,
    immunizations_fit_age_and_season,
    claims_are_of_visits,
    coverage_fits_age,
    specimens_come_before_results,
    devices_are_accounted_for,
    interpretations_follow_from_ranges,
    goals_are_of_conditions,
    infusions_are_ordered,
    studies_are_named_once,
    the_chart_is_the_files,
)
