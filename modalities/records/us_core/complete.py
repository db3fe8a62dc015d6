"""complete(): what US Core asks for beside the chart and the studies, from the record as it is and fixed rules."""

from collections.abc import Mapping

from ....core.modality import Facts
from ..formats.fhir import Writer
from ..simulation.patient_simulation import FOLLOW_UP
from ..studies import facts_of
from .care import care
from .charted import charted, recordings
from .coverage import coverage
from .hospital import HOSPITAL, reference
from .orders import devices, given, orders
from .prevention import allergies, immunizations

_PARTICIPANT = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"


def complete(writer: Writer, facts: Mapping[str, Facts]) -> None:
    """Chart, orders, specimens, devices, infusions, allergies, immunizations, care, coverage and claims."""
    for own in facts_of(facts, "signals"):
        charted(writer, own)
        recordings(writer, own)
    orders(writer, facts)
    devices(writer)
    given(writer)
    allergies(writer)
    immunizations(writer)
    care(writer)
    coverage(writer)


def provenance(writer: Writer) -> None:
    """Who made the record: the hospital, when the record ends; nothing without a calendar."""
    ends = writer.time(FOLLOW_UP if writer.chart.death is None else writer.chart.death)
    if ends is None:
        return
    agent = {
        "type": {"coding": [{"system": _PARTICIPANT, "code": "author", "display": "Author"}]},
        "who": reference("Organization", HOSPITAL),
    }
    visit = writer.refer("Encounter", writer.chart.index_visit.key)
    content = {"target": [writer.subject, visit], "recorded": ends, "agent": [agent]}
    writer.add("Provenance", "provenance", "Made by rules from a synthetic profile", content, ["provenance"])
