"""meaning(): the value that a name in a course has now, for one patient."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from ..codes import BREAST_CANCER, codes, holds
from .chart import INDEX_STARTS, Chart, Visit
from .course import TRAITS
from .patient_simulation import YEAR, PatientSimulation


class Run(Protocol):
    """What a name may ask of a running course. course_run.CourseRun satisfies it."""

    patient: PatientSimulation
    chart: Chart
    values: dict[str, Any]
    onset: float
    visit: Visit | None


def meaning(name: str, run: Run) -> Any:
    """A name of course.known_names(), or one of the course's own values; None where it is unknown."""
    if name in run.values:
        return run.values[name]
    listed, chart, now = codes(), run.chart, run.patient.now
    if name in listed.conditions or name == BREAST_CANCER:
        return holds(name, chart.present(now))
    if name in listed.drugs:
        return chart.taking(name, now) is not None
    if name in listed.observations:
        return chart.latest.get(name)
    if name in listed.answers:
        return name
    if name.startswith("usual_"):
        return _usual(name.removeprefix("usual_"), run.patient)
    return _PLAIN[name](run)


def _usual(name: str, patient: PatientSimulation) -> float | None:
    if name != "egfr":
        return patient.body.usual(name)
    creatinine = patient.body.usual("creatinine")
    return None if creatinine is None else patient.egfr(creatinine)


def _trait(field: str) -> Callable[[Run], Any]:
    return lambda run: run.patient.profile.traits.get(field)


def _tumour(name: str) -> Callable[[Run], Any]:
    return lambda run: run.patient.facts.get("omics", {}).get(name)


def _subtype(run: Run) -> Any:
    """Of the tumour drawn; without one what the profile knows."""
    known = run.patient.facts.get("omics", {}).get("pam50")
    return run.patient.profile.traits.get("pam50") if known is None else known


_PLAIN: Mapping[str, Callable[[Run], Any]] = {
    "age": lambda run: run.patient.age(),
    "female": lambda run: run.chart.female,
    "male": lambda run: not run.chart.female,
    "years": lambda run: (run.patient.now - run.onset) / YEAR,
    "years_to_index": lambda run: (INDEX_STARTS - run.patient.now) / YEAR,
    "past": lambda run: run.patient.now < INDEX_STARTS,
    "inpatient_at_index": lambda run: run.patient.index_kind == "IMP",
    "days_left": lambda run: run.visit.end - run.patient.now if run.visit else 0.0,
    "lives": lambda run: run.patient.outcome.alive if run.patient.outcome.known else None,
    "dies": lambda run: run.patient.outcome.death if run.patient.outcome.known else None,
    "rhythm": lambda run: run.patient.facts.get("signals", {}).get("rhythm"),
    "pam50": _subtype,
    **{gene: _tumour(gene) for gene in ("ESR1", "PGR", "ERBB2", "MKI67")},
    **{name: _trait(field) for name, field in TRAITS.items()},
}
