"""Rules of order: a life, its visits and its treatments happen in a possible sequence."""

import math
from datetime import timedelta
from itertools import pairwise

from ..case import Case, index_day, moment
from ..simulation.outcome import Outcome
from ..simulation.patient_simulation import FOLLOW_UP
from .form import Found

_DAY = timedelta(days=1)
_A_MOMENT = 2 / 1440  # days; times are whole minutes


def nothing_before_birth(case: Case) -> Found:
    """No date lies before the day of birth."""
    for resource, dates in case.dates:
        for name, at in dates:
            if case.born is not None and at < case.born:
                yield Case.name(resource), f"{name} {at:%Y-%m-%d} is before birth"


def nothing_after_death(case: Case) -> Found:
    """No date lies after death, and no prescription runs on."""
    if case.died is None:
        return
    for resource, dates in case.dates:
        for name, at in dates:
            if at > case.died:
                yield Case.name(resource), f"{name} {at:%Y-%m-%d} is after death"
    for _, resource, _, until in case.orders:
        if until is None or until > case.died:
            yield Case.name(resource), "runs on after death"


def visits_end_after_they_start(case: Case) -> Found:
    """A period's end is not before its start; two stays do not overlap."""
    stays = []
    for visit in case.of("Encounter"):
        if "period" in visit:
            start, end = moment(visit["period"]["start"]), moment(visit["period"]["end"])
            if end < start:
                yield Case.name(visit), "ends before it starts"
            if visit["class"]["code"] in ("IMP", "OBSENC"):
                stays.append((start, end, visit))
    stays.sort(key=lambda stay: stay[0])
    for (_, end, _), (start, _, visit) in pairwise(stays):
        if start < end:
            yield Case.name(visit), "begins while another stay runs"


def events_lie_in_their_visit(case: Case) -> Found:
    """What was done at a visit was done while it ran; a day without a time may be any time of that day."""
    for resource, dates in case.dates:
        visit = case.by_name.get((resource.get("encounter") or {}).get("reference", ""))
        if visit is None or "period" not in visit:
            continue
        start, end = moment(visit["period"]["start"]), moment(visit["period"]["end"])
        for name, at in dates:
            if name in ("onsetDateTime", "abatementDateTime"):
                continue
            if not start - _DAY * (len(resource.get(name, "")) == 10) <= at <= end:
                yield Case.name(resource), f"{name} {at:%Y-%m-%d %H:%M} is outside {Case.name(visit)}"


def conditions_are_recorded_after_onset(case: Case) -> Found:
    """Onset, then record; onset, then end."""
    for problem in case.of("Condition"):
        onset, recorded, over = (
            problem.get(name, "")[:10] for name in ("onsetDateTime", "recordedDate", "abatementDateTime")
        )
        if onset and recorded and recorded < onset:
            yield Case.name(problem), f"recorded {recorded}, before its onset {onset}"
        if onset and over and over < onset:
            yield Case.name(problem), f"over {over}, before its onset {onset}"


def treatment_follows_diagnosis(case: Case) -> Found:
    """A drug or procedure is not begun before its reason is on record."""
    for resource in case.resources:
        begun = resource.get("authoredOn") or resource.get("performedDateTime")
        for reason in resource.get("reasonReference", ()):
            problem = case.by_name.get(reason["reference"], {})
            known = problem.get("recordedDate")
            if begun and known and moment(begun) < moment(known):
                yield Case.name(resource), f"begun {begun[:16]}, its reason is on record from {known[:16]}"


def life_is_as_long_as_the_follow_up(case: Case) -> Found:
    """Nobody dies while the tumour's follow-up goes on, and who died in it dies that day (facts of omics)."""
    outcome, midnight = Outcome.of(case.facts or {}), index_day(case)
    if not outcome.known or midnight is None:
        return
    lived = math.inf if case.died is None else (case.died - midnight) / _DAY
    if lived < outcome.alive - _A_MOMENT:
        yield (
            Case.name(case.patient),
            f"died {lived:.1f} days after the index date, lived {outcome.alive:.1f}",
        )
    elif outcome.death <= FOLLOW_UP and lived > outcome.death + _A_MOMENT:
        said = "is alive" if case.died is None else f"died {lived:.1f} days after the index date"
        yield Case.name(case.patient), f"{said}, but the follow-up ends in death at {outcome.death:.1f}"


TIME = (
    life_is_as_long_as_the_follow_up,
    nothing_before_birth,
    nothing_after_death,
    visits_end_after_they_start,
    events_lie_in_their_visit,
    conditions_are_recorded_after_onset,
    treatment_follows_diagnosis,
)
