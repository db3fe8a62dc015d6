"""CareTeam, Goal and CarePlan of a patient with a lasting condition, from the index visit on."""

from ....core.fields import LOINC, SNOMED
from ..data import HL7, concept, listed, quantity
from ..formats.fhir import Writer
from ..simulation.chart import Problem
from .hospital import HOSPITAL, reference
from .lists import Aim, lists

_US_CORE = "http://hl7.org/fhir/us/core/CodeSystem/careplan-category"
_ACUTE = (
    "sepsis", "septic_shock", "pneumonia", "pneumothorax", "pulmonary_edema", "kidney_injury", "respiratory_failure",
)  # fmt: skip


def care(writer: Writer) -> None:
    """The team, the aims of the conditions that last, and the plan; nothing where no condition lasts."""
    visit = writer.chart.index_visit
    lasting = [
        problem
        for problem in writer.chart.problems.values()
        if problem.end is None and problem.recorded <= visit.end and problem.name not in _ACUTE
    ]
    if not lasting or writer.time(0) is None:
        return
    _team(writer, lasting)
    goals = [_goal(writer, problem, aim) for problem in lasting if (aim := _aim(writer, problem))]
    _plan(writer, lasting, goals)


def _conditions(writer: Writer, problems: list[Problem]) -> list[dict[str, str]]:
    conditions = writer.codes.conditions
    return [writer.refer("Condition", f"condition-{conditions[problem.name].code}") for problem in problems]


def _team(writer: Writer, lasting: list[Problem]) -> None:
    terms, visit = lists().terms, writer.chart.index_visit
    members = [
        (terms["patient"], writer.subject),
        (terms["physician"], writer.team.reference("medicine")),
        (terms["nurse"], writer.team.reference("nurse")),
    ]
    if (attending := writer.team.attending(visit)) != members[1][1]:
        members.append((terms[writer.team.specialty(visit)], attending))
    writer.add(
        "CareTeam",
        "care-team",
        "Care team",
        {
            "status": "active" if writer.chart.death is None else "inactive",
            "name": "Care team of a synthetic patient",
            "subject": writer.subject,
            "encounter": writer.refer("Encounter", visit.key),
            "participant": [{"role": [listed(SNOMED, term)], "member": member} for term, member in members],
            "reasonReference": _conditions(writer, lasting),
            "managingOrganization": [reference("Organization", HOSPITAL)],
        },
        ["careteam"],
    )


def _aim(writer: Writer, problem: Problem) -> Aim | None:
    """The aim of a condition, if it has one, and if the drug that it is for was ever ordered."""
    aim = lists().settings.goals.get(problem.name)
    if aim is None or (aim.drug and all(order.drug != aim.drug for order in writer.chart.orders)):
        return None
    return aim


def _goal(writer: Writer, problem: Problem, aim: Aim) -> dict[str, str]:
    """The aim, and whether the last reading on record reaches it."""
    entry = writer.codes.observations[aim.observation]
    limits = {"low": aim.low, "high": aim.high}
    read = [
        value
        for reading in writer.chart.readings
        for name, value in (
            reading.value if isinstance(reading.value, dict) else {reading.name: reading.value}
        ).items()
        if name == aim.observation and isinstance(value, float | int)
    ]
    reached = None
    if read:
        met = (aim.low is None or read[-1] >= aim.low) and (aim.high is None or read[-1] <= aim.high)
        reached = ("achieved", "Achieved") if met else ("not-achieved", "Not Achieved")
    writer.add(
        "Goal",
        f"goal-{aim.observation.replace('_', '-')}",
        aim.words,
        {
            "lifecycleStatus": "active" if writer.chart.death is None else "completed",
            "achievementStatus": reached and concept(f"{HL7}/goal-achievement", *reached),
            "description": {"text": aim.words},
            "subject": writer.subject,
            "startDate": writer.day(max(problem.recorded, writer.chart.visits[0].start)),
            "target": [
                {
                    "measure": concept(LOINC, entry.code, entry.display),
                    "detailRange": {
                        end: quantity(value, entry.unit) for end, value in limits.items() if value is not None
                    },
                }
            ],
            "addresses": _conditions(writer, [problem]),
        },
        ["goal"],
    )
    return writer.refer("Goal", f"goal-{aim.observation.replace('_', '-')}")


def _plan(writer: Writer, lasting: list[Problem], goals: list[dict[str, str]]) -> None:
    visit, names = writer.chart.index_visit, [writer.codes.conditions[p.name].display for p in lasting]
    known = set(writer.chart.problems[p.name].name for p in lasting)
    requests = [
        writer.refer("MedicationRequest", order.key)
        for order in writer.chart.orders
        if order.reason in known and order.start <= visit.end and (order.end is None or order.end > visit.end)
    ]
    writer.add(
        "CarePlan",
        "care-plan",
        f"Plan for {'; '.join(names)}",
        {
            "status": "active" if writer.chart.death is None else "completed",
            "intent": "plan",
            "category": [concept(_US_CORE, "assess-plan")],
            "title": "Assessment and plan of treatment",
            "subject": writer.subject,
            "encounter": writer.refer("Encounter", visit.key),
            "period": {"start": writer.time(visit.start)},
            "created": writer.time(visit.start),
            "author": writer.team.attending(visit),
            "careTeam": [writer.refer("CareTeam", "care-team")],
            "addresses": _conditions(writer, lasting),
            "goal": goals or None,
            "activity": [{"reference": request} for request in requests] or None,
        },
        ["careplan"],
    )
