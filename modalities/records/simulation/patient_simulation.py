"""PatientSimulation: what all courses of one patient share: chart, body, calendar of reviews, what comes next."""

import heapq
import math
from collections.abc import Callable, Mapping
from random import Random

from ....core.errors import InputError
from ....core.instance_name import base_of
from ....core.modality import Facts
from ....core.profile import PatientProfile, seed_for
from ..codes import BREAST_CANCER, codes
from .body import Body, creatinine_of, egfr_of
from .chart import INDEX, INDEX_STARTS, Chart, Visit
from .outcome import ACUTE, Outcome

FOLLOW_UP = 365.0  # days after the index date
YEAR = 365.25
WORN = ("hba1c", "resting_heart_rate")  # facts of a wearable that the index visit states
_MANY = 20_000  # events in one life; ours have hundreds
_REVIEW = 182.6  # days between regular visits
_INPATIENT = ("A41.9", "J81.0", "J93.9")
_REASONS = (  # of the index visit, the first that the patient has
    "sepsis", "pneumonia", "pneumothorax", "pulmonary_edema", "heart_failure", "pleural_effusion",
    "atrial_fibrillation", "breast_cancer_woman", "breast_cancer_man", "kidney_disease", "diabetes", "hypertension",
)  # fmt: skip


class PatientSimulation:
    """What all courses of a patient share: the chart, the body, the calendar of reviews and what comes next."""

    def __init__(self, profile: PatientProfile, facts: Mapping[str, Facts], seed: int) -> None:
        self.profile, self.facts, self.seed = profile, facts, seed
        self.chart = Chart(None if profile.sex is None else profile.sex == "F")
        self.body = Body(profile, seed)
        worn = facts.get("wearable", {})
        self.body.measured |= {name: float(worn[name]) for name in WORN if name in worn}
        self.outcome = Outcome.of(facts)
        self.now = -math.inf
        self.dated = None not in (profile.index_date, profile.age, profile.sex)
        self._waiting: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._calendar = Random(seed_for(seed, "reviews", "calendar"))
        self._reviews = [INDEX_STARTS]
        day = INDEX_STARTS
        while day < FOLLOW_UP:
            day = in_hours(day + _REVIEW + self._calendar.uniform(-21, 21))
            self._reviews.append(day)
        self.index_kind, self._index_end = self._index_kind()
        self.chart.latest.update(
            {n: v for n in ("height", "weight") if (v := self.body.at_index(n)) is not None}
        )

    def expect(self, at: float, what: Callable[[], None]) -> None:
        """Something that happens at a time, unless the patient is dead by then."""
        self._count += 1
        heapq.heappush(self._waiting, (at, self._count, what))

    def run(self) -> None:
        """Let everything happen, in order, until death or the end of follow-up.

        Raises InputError for a course that goes round without time passing.
        """
        while self._waiting:
            at, count, what = heapq.heappop(self._waiting)
            if count > _MANY:
                raise InputError(
                    f"{self.profile.patient_id}: more than {_MANY:,} events; expected every round of a course's "
                    "states to take time, give one of its moves an `after`"
                )
            if self.chart.death is not None or at > FOLLOW_UP:
                return
            self.now = at
            what()

    def profile_has(self, name: str) -> bool:
        """Whether the profile has the condition of that name."""
        conditions = codes().conditions
        names = ("breast_cancer_woman", "breast_cancer_man") if name == BREAST_CANCER else (name,)
        return any(one in conditions and self.profile.has(conditions[one].code) for one in names)

    def review_after(self, at: float) -> float:
        """The next regular visit; before the index visit they are counted back from it."""
        if at >= INDEX_STARTS - 1:
            return next((day for day in self._reviews if day > at + 1), math.inf)
        first = -int((INDEX_STARTS - at - 14) // _REVIEW)
        for number in range(first - 1, 1):
            shift = Random(seed_for(self.seed, f"review {number}", "calendar")).uniform(-21, 21)
            day = INDEX_STARTS if number == 0 else in_hours(number * _REVIEW + shift)
            if day > at + 14:
                return day
        return INDEX_STARTS

    def index_visit(self) -> None:
        """The visit on the index date: what is known of the profile, before any course adds to it."""
        charted = "chart" in self.facts.get("signals", {})  # from midnight on: the stay has begun by then
        start = 0.0 if charted and self.index_kind != "AMB" else INDEX_STARTS
        visit = self.chart.open(self.index_kind, start, self._index_end, None, INDEX)
        parts: dict[str, float] = {}
        for name, entry in codes().observations.items():
            if (value := self.body.at_index(name)) is not None:
                if name in ("systolic", "diastolic"):
                    parts[name] = entry.rounded(value)
                else:
                    self.chart.read(name, self.now, visit, entry.rounded(value), name.replace("_", "-"))
        if parts:
            self.chart.read("blood_pressure", self.now, visit, parts, "blood-pressure")
        self.note_egfr(visit, "egfr")
        for name, value in self.body.measured.items():
            if self.dated:
                entry = codes().observations[name]
                self.chart.read(name, self.now, visit, entry.rounded(value), name.replace("_", "-"))

    def settle(self) -> None:
        """Every condition of the profile is on record when the index visit has begun, whatever its course did."""
        for name, entry in codes().conditions.items():
            if self.profile.has(entry.code):
                self.chart.diagnose(name, INDEX_STARTS, self.now, self.chart.index_visit)
        visit = self.chart.index_visit
        visit.reason = next((name for name in _REASONS if self.profile_has(name)), visit.reason)

    def die(self) -> None:
        """The death that the tumour's follow-up states: of an acute illness that has not passed, else of the tumour."""
        problems = self.chart.problems
        acute = [name for name in ACUTE if name in problems and problems[name].end is None]
        tumours = [name for name in problems if name.startswith(BREAST_CANCER)]
        self.chart.death, self.chart.cause = self.now, next(iter([*acute, *tumours]), None)

    def _index_kind(self) -> tuple[str, float]:
        """In hospital, watched for a day (with traces of a day), or come and gone; and until when."""
        inside = self.profile.traits.get("chest_view") == "AP" or any(self.profile.has(c) for c in _INPATIENT)
        chart = self.facts.get("signals", {}).get("chart", {"rows": (), "step_hours": 1.0})
        monitored = math.ceil(len(chart["rows"]) * chart["step_hours"] / 24)  # days
        if inside:
            end = 1 + round(self._calendar.uniform(8, 90)) / 24
            return "IMP", max(end, monitored + 8 / 24)
        if any(base_of(name) == "signals" for name in self.facts):
            return "OBSENC", max(1, monitored) + 8 / 24
        return "AMB", 19.5 / 24

    def note_egfr(self, visit: Visit, key: str = "") -> None:
        """The eGFR that belongs to the creatinine just read."""
        creatinine = self.chart.latest.get("creatinine")
        if isinstance(creatinine, float | int) and (egfr := self.egfr(creatinine)) is not None:
            value = codes().observations["egfr"].rounded(egfr)
            self.chart.read("egfr", self.now, visit, value, key)

    def age(self) -> float | None:
        """Years, today."""
        return None if self.profile.age is None else self.profile.age + self.now / YEAR

    def egfr(self, creatinine: float) -> float | None:
        """eGFR of a creatinine, today."""
        age, female = self.age(), self.chart.female
        return None if age is None or female is None else egfr_of(max(creatinine, 0.1), age, female)

    def creatinine_at(self, egfr: float) -> float | None:
        """Creatinine of an eGFR, today."""
        age, female = self.age(), self.chart.female
        return None if age is None or female is None else creatinine_of(max(egfr, 2), age, female)

    def begin_others(self, with_course: set[str]) -> None:
        """Conditions that no course describes: some years ago, or found at the index visit."""
        for name, entry in codes().conditions.items():
            taken = name in with_course or (name.startswith(BREAST_CANCER) and BREAST_CANCER in with_course)
            if taken or not self.profile.has(entry.code):
                continue
            at = INDEX_STARTS
            if isinstance(entry.after, float | int):
                rng = Random(seed_for(self.seed, name, "onset"))
                at = in_hours(-YEAR * entry.after * math.exp(min(max(rng.gauss(0, 0.6), -1.2), 1.2)))
                at = max(at, -YEAR * (self.profile.age or 0) + YEAR)
            self.expect(at, lambda name=name: self._found(name))  # type: ignore[misc]

    def _found(self, name: str) -> None:
        visit = self.meet("AMB", name, 0.0)
        self.chart.diagnose(name, self.now, self.now, visit)

    def meet(self, kind: str, reason: str | None, days: float) -> Visit:
        """The visit running now, prolonged if need be, or a new one."""
        chart = self.chart
        if (running := chart.stay_at(self.now)) is not None:
            if kind == "IMP":
                if running.kind != "IMP" and running.key != INDEX:
                    running.end = self.now
                    return chart.open("IMP", self.now, self._leave(days), reason)
                running.end = max(running.end, self._leave(days))
                running.kind, running.reason = "IMP", running.reason or reason
            return running
        if kind == "IMP" and self._leave(days) > self.now + 0.5:
            return chart.open("IMP", self.now, self._leave(days), reason)
        return chart.open("AMB" if kind == "IMP" else kind, self.now, self.now + 0.5 / 24, reason)

    def _leave(self, days: float) -> float:
        """When a stay of so many days ends: around noon, and before the index visit if it began before it."""
        end = math.floor(self.now + max(days, 1)) + 12 / 24
        return end if self.now >= INDEX_STARTS else min(end, -1 + 12 / 24)


def in_hours(at: float) -> float:
    """The same day, between 08:00 and 17:00, in the same order."""
    day = math.floor(at)
    return day + (8 + 9 * (at - day)) / 24
