"""Who pays: Coverage by age, and a Claim for each visit, made out to the coverage of its last day. No sum is stated."""

from datetime import datetime, timedelta
from itertools import pairwise

from ....core.fields import SNOMED
from ..data import HL7, concept, listed
from ..formats.fhir import Writer
from ..simulation.chart import Visit
from .hospital import HOSPITAL, IDS, reference
from .lists import SOPT, drawn, lists, uniform

_KINDS = {"AMB": ("professional", "Professional")}
_INSTITUTIONAL = ("institutional", "Institutional")


def coverage(writer: Writer) -> None:
    """The coverages of the years on record, and the claims; nothing without a calendar."""
    if writer.profile.birth_date is None or writer.time(0) is None:
        return
    covered = _covered(writer)
    for key, start, until in covered:
        _coverage(writer, key, start, until)
    for visit in writer.chart.visits:
        day = writer.moment(visit.end)
        assert day is not None
        key = next(key for key, _, until in covered if until is None or day < until)
        _claim(writer, visit, key)


def _covered(writer: Writer) -> list[tuple[str, datetime, datetime | None]]:
    """(payer, from, until) one after the other: from the year of the first visit, Medicare from 65 on."""
    patient_id, born = writer.profile.patient_id, writer.profile.birth_date
    first = writer.moment(min(visit.start for visit in writer.chart.visits))
    assert born is not None
    assert first is not None
    settings = lists().settings
    begins = max(datetime(first.year, 1, 1), datetime(born.year, born.month, born.day))
    aged = datetime(born.year + settings.medicare_age, born.month, 1)
    shares = {name: payer.share for name, payer in settings.payers.items() if payer.share}
    younger = drawn(shares, uniform(patient_id, "payer"))
    turns = [(younger, begins)] * (begins < aged) + [("medicare", max(begins, aged))]
    last = writer.moment(max(visit.end for visit in writer.chart.visits))
    assert last is not None
    turns = [turn for turn in turns if turn[1] <= last] or turns[:1]
    return [(key, start, end) for (key, start), (_, end) in pairwise([*turns, ("", None)])]  # type: ignore[misc]


def _coverage(writer: Writer, key: str, start: datetime, until: datetime | None) -> None:
    payer, patient_id = lists().settings.payers[key], writer.profile.patient_id
    member = f"{1_000_000_000 + int(9e9 * uniform(patient_id, f'member {key}'))}"
    period = {"start": start.date().isoformat()}
    if until is not None:
        period["end"] = (until - timedelta(days=1)).date().isoformat()
    number = {
        "type": concept(f"{HL7}/v2-0203", "MB", "Member Number"),
        "system": f"{IDS}/member",
        "value": member,
    }
    writer.add(
        "Coverage",
        f"coverage-{key}",
        payer.name or "Pays without insurance",
        {
            "identifier": [number],
            "status": "active",
            "type": concept(SOPT, payer.code, payer.display, payer.display),
            "subscriber": writer.subject,
            "subscriberId": member,
            "beneficiary": writer.subject,
            "relationship": concept(f"{HL7}/subscriber-relationship", "self", "Self"),
            "period": period,
            "payor": [reference("Organization", f"payer-{key}") if payer.name else writer.subject],
        },
        ["coverage"],
    )


def _claim(writer: Writer, visit: Visit, key: str) -> None:
    """What is billed: the visit, its reason and the diagnoses made at it, and what was done."""
    codes, term = writer.codes, lists().terms[visit.kind]
    kind = _KINDS.get(visit.kind, _INSTITUTIONAL)
    made = [p for p in writer.chart.problems.values() if p.visit is visit or p.name == visit.reason]
    made = [p for p in made if p.recorded <= visit.end]
    done = [p for p in writer.chart.procedures if p.visit is visit]
    diagnosis = [
        {
            "sequence": place,
            "diagnosisReference": writer.refer("Condition", f"condition-{codes.conditions[p.name].code}"),
        }
        for place, p in enumerate(made, 1)
    ]
    procedure = [
        {"sequence": place, "procedureReference": writer.refer("Procedure", p.key)}
        for place, p in enumerate(done, 1)
    ]
    item = {
        "sequence": 1,
        "diagnosisSequence": [entry["sequence"] for entry in diagnosis],
        "procedureSequence": [entry["sequence"] for entry in procedure],
        "productOrService": listed(SNOMED, term),
        "encounter": [writer.refer("Encounter", visit.key)],
    }
    writer.add(
        "Claim",
        f"claim-{visit.key}",
        f"Claim for a visit: {term.display}",
        {
            "identifier": [{"system": f"{IDS}/claim", "value": f"{writer.profile.patient_id}-{visit.key}"}],
            "status": "active",
            "type": concept(f"{HL7}/claim-type", *kind),
            "use": "claim",
            "patient": writer.subject,
            "billablePeriod": {"start": writer.time(visit.start), "end": writer.time(visit.end)},
            "created": writer.time(visit.end),
            "insurer": reference("Organization", f"payer-{key}")
            if lists().settings.payers[key].name
            else None,
            "provider": reference("Organization", HOSPITAL),
            "priority": concept(f"{HL7}/processpriority", "normal", "Normal"),
            "diagnosis": diagnosis or None,
            "procedure": procedure or None,
            "insurance": [
                {"sequence": 1, "focal": True, "coverage": writer.refer("Coverage", f"coverage-{key}")}
            ],
            "item": [{name: value for name, value in item.items() if value}],
        },
    )
