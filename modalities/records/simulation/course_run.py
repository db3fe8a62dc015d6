"""CourseRun: one patient's courses played forward together, in the order of time, onto one chart."""

import math
from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from ....core.modality import Facts
from ....core.profile import PatientProfile, seed_for
from ..codes import BREAST_CANCER, codes, holds
from .body import kidney_stage
from .chart import INDEX_STARTS, Chart, Order, Procedure, Report, Visit
from .course import Action, Course, Meeting, Move, Prescription, Span, State
from .naming import meaning
from .patient_simulation import FOLLOW_UP, YEAR, PatientSimulation, in_hours

_ALIVE_UNTIL = 1.5  # the first day's traces are of a living patient


def play(
    courses: Mapping[str, Course], profile: PatientProfile, facts: Mapping[str, Facts], seed: int
) -> Chart:
    """The chart of a patient whose index date, age and sex are known; others have the index visit alone."""
    patient = PatientSimulation(profile, facts, seed)
    patient.expect(INDEX_STARTS, patient.index_visit)
    patient.expect(INDEX_STARTS + 0.5 / 1440, patient.settle)
    if patient.dated:
        for name, course in courses.items():
            if patient.profile_has(course.who):
                CourseRun(name, course, patient).begin()
        patient.begin_others({course.who for course in courses.values()})
    if patient.outcome.death <= FOLLOW_UP and profile.index_date is not None:
        patient.expect(patient.outcome.death, patient.die)
    patient.run()
    patient.chart.close()
    return patient.chart


class CourseRun:
    """One course of one patient: a Scope for its formulas, and its state machine."""

    patient: PatientSimulation
    chart: Chart
    onset: float

    def __init__(self, name: str, course: Course, patient: PatientSimulation) -> None:
        self.course, self.patient, self.chart = course, patient, patient.chart
        self.rng = Random(seed_for(patient.seed, name, "course"))
        self.values: dict[str, Any] = {}
        self.onset = INDEX_STARTS
        self.started = False
        self.visit: Visit | None = None

    def begin(self) -> None:
        """Draw the onset and wait for it."""
        course, patient = self.course, self.patient
        if course.onset != "index":
            ago = self.days(course.onset)
            youngest = YEAR * (course.earliest_age - (patient.profile.age or 0))
            self.onset = in_hours(min(max(-ago, youngest), -1.0))
        for level, formula in course.body.items():
            patient.body.levels[level] = lambda formula=formula: self._level(formula)  # type: ignore[misc]
        patient.expect(self.onset, self._start)

    def _level(self, formula: Callable[["CourseRun"], Any]) -> float | None:
        return formula(self) if self.started else None

    def _start(self) -> None:
        for name, formula in self.course.values.items():
            self.values[name] = formula(self)
        self.started = True
        self.enter(self.course.start)

    # -- the state machine

    def enter(self, label: str) -> None:
        """Do a state's actions, then wait for the first of its moves."""
        state: State = self.course.states[label]
        for action in state.do:
            if action.when is None or action.when(self):
                self.act(action)
                if self.chart.death is not None:
                    return
        times = [
            (at, place) for place, move in enumerate(state.next) if (at := self.arrival(move)) is not None
        ]
        if times:
            at, place = min(times)
            self._follow(state.next[place], at)

    def _follow(self, move: Move, at: float) -> None:
        at = max(at, _ALIVE_UNTIL) if self._deadly(move) else at

        def arrive() -> None:
            stay = self.visit
            if move.after.until == "discharge" and stay is not None and stay.end > self.patient.now + 1e-6:
                self.patient.expect(stay.end, arrive)  # the stay was prolonged meanwhile
            else:
                self.enter(move.to)

        self.patient.expect(at, arrive)

    def _deadly(self, move: Move) -> bool:
        return any(action.die for action in self.course.states[move.to].do)

    def arrival(self, move: Move) -> float | None:
        """When a move would be made (the very moment that other courses see too), None if it is not open.

        A deadly one is closed as long as the tumour's follow-up says that the patient lives.
        """
        at = self._arrival(move)
        alive = at is not None and at < self.patient.outcome.alive
        return None if alive and self._deadly(move) else at

    def _arrival(self, move: Move) -> float | None:
        now = self.patient.now
        if move.when is not None and not move.when(self):
            return None
        if self.rng.random() >= (move.chance(self) or 0):
            return None
        if move.hazard is not None:
            rate = move.hazard(self) or 0
            return now + self.rng.expovariate(rate) * YEAR if rate > 0 else None
        if move.after.until == "review":
            return self.patient.review_after(now)
        if move.after.until == "discharge":
            return max(now, self.visit.end) if self.visit else now
        wait = self.days(move.after)
        return in_hours(now + wait) if wait >= 2 else now + wait

    def days(self, span: Span) -> float:
        """A span drawn."""
        if span.high <= span.low:
            return span.low
        low, high = math.log(span.low), math.log(span.high)
        drawn = self.rng.gauss((low + high) / 2, (high - low) / 3.29)  # 90 % of a normal lies within 1.645 sd
        return math.exp(min(max(drawn, low), high))

    # -- the scope of formulas

    def look(self, name: str) -> Any:
        """The value of a name now, None where unknown."""
        return meaning(name, self)

    def creatinine_at(self, egfr: float) -> float | None:
        """See PatientSimulation."""
        return self.patient.creatinine_at(egfr)

    # -- the verbs

    def act(self, action: Action) -> None:
        """Do one action, at the visit running now; without one, at a short visit of its own."""
        if action.visit is not None:
            self.visit = self._meet(action.visit)
            return
        for name, formula in (action.set or {}).items():
            self.values[name] = formula(self)
        if action.set is not None:
            return
        if action.die is not None:
            self.chart.death, self.chart.cause = self.patient.now, self.condition(action.die)
            return
        if action.resolve is not None:
            if (problem := self.chart.problems.get(self.condition(action.resolve))) is not None:
                problem.end = problem.end or self.patient.now
            return
        for drug in action.stop or ():
            self.chart.stop(drug, self.patient.now)
        visit = self.chart.stay_at(self.patient.now) or self.patient.meet("AMB", self.reason, 0.0)
        self.visit = visit
        self._observe(action, visit)
        if action.diagnose is not None:
            first = action.diagnose == self.course.who
            self.chart.diagnose(
                self.condition(action.diagnose),
                self.onset if first else self.patient.now,
                self.patient.now,
                visit,
            )
        if action.stage is not None:
            self._stage()
        if action.prescribe is not None:
            self._prescribe(action.prescribe, visit)
        if action.procedure is not None:
            self._perform(action.procedure, visit)
        if action.report is not None:
            wanted = {"pathology": ("estrogen_receptor", "progesterone_receptor", "her2")}
            names = wanted.get(action.report, ())
            results = [r.key for r in self.chart.readings if r.name in names]
            if results or not names:
                self.chart.reports.append(Report(action.report, self.patient.now, visit, results))

    @property
    def reason(self) -> str:
        """The course's own condition, by its name in the list."""
        return self.condition(self.course.who)

    def condition(self, name: str) -> str:
        """The name in the list: for breast cancer that of the patient's sex."""
        if name != BREAST_CANCER:
            return name
        return "breast_cancer_woman" if self.chart.female else "breast_cancer_man"

    def _meet(self, meeting: Meeting) -> Visit:
        reason = self.condition(meeting.reason) if meeting.reason else self.reason
        return self.patient.meet(meeting.kind, reason, self.days(meeting.lasts))

    def _observe(self, action: Action, visit: Visit) -> None:
        for name in action.observe or ():
            self._read(name, visit)
        for name, formula in (action.measure or {}).items():
            if (level := formula(self)) is not None and not self.chart.has_read(
                name, self.patient.now, visit
            ):
                self.chart.read(name, self.patient.now, visit, self.patient.body.shown(name, level))
                if name == "creatinine":
                    self.patient.note_egfr(visit)
        for name, formula in (action.answer or {}).items():
            if (answer := formula(self)) is not None:
                self.chart.read(name, self.patient.now, visit, answer)

    def _read(self, name: str, visit: Visit) -> None:
        now, body = self.patient.now, self.patient.body
        if self.chart.has_read(name, now, visit):
            return
        if parts := codes().observations[name].parts:
            values = {part: value for part in parts if (value := body.reading(part, now)) is not None}
            if {"systolic", "diastolic"} <= set(values):
                values["diastolic"] = min(values["diastolic"], values["systolic"] - 15)
            if values:
                self.chart.read(name, now, visit, values)
        elif (value := body.reading(name, now, self._treated(name))) is not None:
            self.chart.read(name, now, visit, value)
            if name == "creatinine":
                self.patient.note_egfr(visit)

    def _treated(self, name: str) -> float:
        """What the drugs that are taken multiply a level by."""
        drugs = codes().drugs
        return math.prod(
            drugs[order.drug].effect.get(name, 1.0) for order in self.chart.running(self.patient.now)
        )

    def _stage(self) -> None:
        egfr = next((r for r in reversed(self.chart.readings) if r.name == "egfr"), None)
        problem = self.chart.problems.get("kidney_disease")
        if problem is not None and egfr is not None and isinstance(egfr.value, float | int):
            problem.stage = (kidney_stage(egfr.value), egfr.key)

    def _prescribe(self, wanted: Prescription, visit: Visit) -> None:
        drug, now = codes().drugs[wanted.drug], self.patient.now
        if (dose := wanted.dose(self)) is None:
            return
        low, high = drug.dose
        dose = round(
            min(max(dose, low), high, drug.daily / (wanted.per_day if wanted.every is None else 1)), 3
        )
        lasts = None if wanted.lasts is None else self.days(wanted.lasts)
        self.chart.order(
            Order(
                key=f"m{len(self.chart.orders)}",
                drug=wanted.drug,
                start=now,
                visit=visit,
                reason=self.condition(wanted.reason) if wanted.reason else self.reason,
                dose=dose,
                per_day=wanted.per_day,
                every=None if wanted.every is None else wanted.every.low,
                end=None if lasts is None else now + lasts,
                planned=lasts is not None,
            )
        )

    def _perform(self, name: str, visit: Visit) -> None:
        needs, present = codes().procedures[name].needs, self.chart.present(self.patient.now)
        reason = next((n for n in (self.course.who, *needs) if holds(n, present)), None)
        if not needs or any(holds(need, present) for need in needs):
            key = f"p{len(self.chart.procedures)}"
            named = self.condition(reason) if reason else None
            self.chart.procedures.append(Procedure(key, name, self.patient.now, visit, named))
