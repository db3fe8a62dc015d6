"""meaning(): the value that a name in a course has now, for one patient."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from ..codes import BREAST_CANCER, codes, holds
from .chart import INDEX_STARTS, Chart, Visit
from .course import TRAITS
from .patient_simulation import YEAR, PatientSimulation


class Run(Protocol):
    """What a name may ask of a running course. course_run.CourseRun satisfies it."""

    world: PatientSimulation
    chart: Chart
    values: dict[str, Any]
    onset: float
    visit: Visit | None


def meaning(name: str, own: Run) -> Any:
    """A name of course.known_names(), or one of the course's own values; None where it is unknown."""
    if name in own.values:
        return own.values[name]
    listed, chart, now = codes(), own.chart, own.world.now
    if name in listed.conditions or name == BREAST_CANCER:
        return holds(name, chart.present(now))
    if name in listed.drugs:
        return chart.taking(name, now) is not None
    if name in listed.observations:
        return chart.latest.get(name)
    if name in listed.answers:
        return name
    if name.startswith("usual_"):
        return _usual(name.removeprefix("usual_"), own.world)
    return _PLAIN[name](own)


def _usual(name: str, world: PatientSimulation) -> float | None:
    if name != "egfr":
        return world.body.usual(name)
    creatinine = world.body.usual("creatinine")
    return None if creatinine is None else world.egfr(creatinine)


def _trait(field: str) -> Callable[[Run], Any]:
    return lambda own: own.world.profile.traits.get(field)


def _tumour(name: str) -> Callable[[Run], Any]:
    return lambda own: own.world.facts.get("omics", {}).get(name)


def _subtype(own: Run) -> Any:
    """Of the tumour drawn; without one what the profile knows."""
    known = own.world.facts.get("omics", {}).get("pam50")
    return own.world.profile.traits.get("pam50") if known is None else known


_PLAIN: Mapping[str, Callable[[Run], Any]] = {
    "age": lambda own: own.world.age(),
    "female": lambda own: own.chart.female,
    "male": lambda own: not own.chart.female,
    "years": lambda own: (own.world.now - own.onset) / YEAR,
    "years_to_index": lambda own: (INDEX_STARTS - own.world.now) / YEAR,
    "past": lambda own: own.world.now < INDEX_STARTS,
    "inpatient_at_index": lambda own: own.world.index_kind == "IMP",
    "days_left": lambda own: own.visit.end - own.world.now if own.visit else 0.0,
    "lives": lambda own: own.world.outcome.alive if own.world.outcome.known else None,
    "dies": lambda own: own.world.outcome.death if own.world.outcome.known else None,
    "rhythm": lambda own: own.world.facts.get("signals", {}).get("rhythm"),
    "pam50": _subtype,
    **{gene: _tumour(gene) for gene in ("ESR1", "PGR", "ERBB2", "MKI67")},
    **{name: _trait(field) for name, field in TRAITS.items()},
}
