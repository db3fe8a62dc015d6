"""AllergyIntolerance and Immunization by rule: never against what was prescribed, never out of age or season."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta

from ....core.fields import SNOMED
from ..data import HL7, concept, listed
from ..formats.fhir import Writer
from ..simulation.patient_simulation import FOLLOW_UP
from .hospital import HOSPITAL, reference
from .lists import CVX, Vaccine, lists, uniform

_SEASONS = 5  # of a registry that are looked back on from the index date


def allergies(writer: Writer) -> None:
    """Each allergy by its share, none to what the patient is ever prescribed; without one, that none is known."""
    if writer.time(0) is None:
        return  # of somebody without a calendar the record says what is known, and no more
    taken = {order.drug for order in writer.chart.orders}
    visit = writer.chart.visits[0]
    base = {
        "clinicalStatus": concept(f"{HL7}/allergyintolerance-clinical", "active", "Active"),
        "verificationStatus": concept(f"{HL7}/allergyintolerance-verification", "confirmed", "Confirmed"),
    }
    about = {
        "patient": writer.subject,
        "encounter": writer.refer("Encounter", visit.key),
        "recordedDate": writer.time(visit.start),
        "recorder": writer.team.attending(visit),
    }
    found = [
        (name, entry)
        for name, entry in lists().allergens.items()
        if uniform(writer.profile.patient_id, f"allergy {name}") < entry.share
        and not taken & set(entry.drugs)
    ]
    for name, entry in found:
        reaction = lists().terms[entry.reaction]
        writer.add(
            "AllergyIntolerance",
            f"allergy-{name}",
            f"Allergy to {entry.display}: {reaction.display}",
            {
                **base,
                "type": "allergy",
                "category": [entry.category],
                "criticality": entry.criticality,
                "code": concept(entry.uri, entry.code, entry.display, entry.display),
                **about,
                "reaction": [{"manifestation": [listed(SNOMED, reaction)]}],
            },
            ["allergyintolerance"],
        )
    if not found:
        term = lists().terms["no_allergy"]
        content = {**base, "code": listed(SNOMED, term), **about}
        writer.add("AllergyIntolerance", "allergy-none", term.display, content, ["allergyintolerance"])


def immunizations(writer: Writer) -> None:
    """Each vaccine of the schedule by its share, on a day of its season on which the patient was alive and at home."""
    profile = writer.profile
    if profile.birth_date is None or profile.index_date is None:
        return
    for name, entry in lists().vaccines.items():
        for number, day in enumerate(
            _days(profile.patient_id, name, entry, profile.birth_date, profile.index_date)
        ):
            at = (day - datetime.combine(profile.index_date, datetime.min.time())) / timedelta(days=1)
            if at > FOLLOW_UP or (writer.chart.death is not None and at >= writer.chart.death):
                continue
            if writer.chart.stay_at(at) is not None:
                continue
            writer.add(
                "Immunization",
                f"{name.replace('_', '-')}-{number}",
                entry.display,
                {
                    "status": "completed",
                    "vaccineCode": concept(CVX, entry.code, entry.display, entry.display),
                    "patient": writer.subject,
                    "occurrenceDateTime": day.date().isoformat(),
                    "primarySource": True,
                    "performer": [{"actor": reference("Organization", HOSPITAL)}],
                },
                ["immunization"],
            )


def _days(patient_id: str, name: str, entry: Vaccine, born: date, index: date) -> Iterator[datetime]:
    """When the vaccine is given, at 10:00, whatever happens to the patient meanwhile."""

    def wanted(what: str, day: datetime) -> bool:
        age = (day.date() - born).days / 365.25
        return (
            age >= entry.low
            and entry.since <= day.year < entry.until
            and uniform(patient_id, f"{name} {what}") < entry.share_at(age)
        )

    if entry.every == 1:  # a season a year
        for year in range(index.year - _SEASONS, index.year + 1):
            day = datetime(year, entry.month, 1, 10) + timedelta(
                days=int(entry.days * uniform(patient_id, f"{name} day {year}"))
            )
            if wanted(f"{year}", day):
                yield day
        return
    last = datetime(index.year, index.month, min(index.day, 28), 10)
    first = max(last - timedelta(days=365 * (entry.every or 4)), datetime(entry.since, 1, 1, 10))
    eligible = datetime(born.year, born.month, 1, 10) + timedelta(days=round(365.25 * entry.low) + 31)
    first = max(first, eligible)
    if first >= last or not wanted("ever", first + timedelta(days=1)):
        return
    begun = first + timedelta(days=1 + int(((last - first).days - 1) * uniform(patient_id, f"{name} day")))
    yield from (begun + timedelta(days=entry.apart * number) for number in range(entry.doses))
