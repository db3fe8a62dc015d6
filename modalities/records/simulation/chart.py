"""Chart: what happened to one patient, in days from the index date, before it is written as FHIR."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from ..codes import codes, holds

INDEX_STARTS = 6.5 / 24  # the index visit begins at 06:30 of the index date
INDEX = "visit"  # its key


@dataclass
class Visit:
    """An encounter, [start, end] in days; `key` becomes the id, `reason` is a condition."""

    key: str
    kind: str
    start: float
    end: float
    reason: str | None = None

    @property
    def is_stay(self) -> bool:
        """Whether the patient stays overnight."""
        return self.kind in ("IMP", "OBSENC")


@dataclass
class Problem:
    """A condition on record: onset, when it was written down, when it ended; stages with the eGFR they rest on."""

    name: str
    onset: float
    recorded: float
    visit: Visit
    end: float | None = None
    stage: tuple[str, str] | None = None  # answer, key of the reading


@dataclass
class Reading:
    """One observation: a number, an answer by name, or the numbers of a panel's parts."""

    key: str
    name: str
    at: float
    visit: Visit
    value: float | str | dict[str, float]


@dataclass
class Order:
    """A prescription from `start` until `end` (None: it goes on), `dose` at a time."""

    key: str
    drug: str
    start: float
    visit: Visit
    reason: str
    dose: float
    per_day: int
    every: float | None = None
    end: float | None = None
    planned: bool = False  # whether the end was set when it was ordered


@dataclass
class Procedure:
    """Something done."""

    key: str
    name: str
    at: float
    visit: Visit
    reason: str | None


@dataclass
class Report:
    """A diagnostic report that rests on readings (by key)."""

    kind: str
    at: float
    visit: Visit
    results: list[str]


@dataclass
class Chart:
    """One patient's visits and what was done at them. Times never go back while a course run writes it."""

    female: bool | None = None
    visits: list[Visit] = field(default_factory=list)
    problems: dict[str, Problem] = field(default_factory=dict)
    readings: list[Reading] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)
    procedures: list[Procedure] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)
    latest: dict[str, float | str] = field(default_factory=dict)
    death: float | None = None
    cause: str | None = None
    _seen: set[tuple[str, str]] = field(default_factory=set)

    @property
    def index_visit(self) -> Visit:
        """The visit that the other modalities' records belong to."""
        return next(visit for visit in self.visits if visit.key == INDEX)

    def stay_at(self, at: float) -> Visit | None:
        """The visit that is running at that time."""
        return next((v for v in reversed(self.visits) if v.start <= at < v.end), None)

    def open(self, kind: str, start: float, end: float, reason: str | None, key: str = "") -> Visit:
        """A new visit."""
        visit = Visit(key or f"e{len(self.visits)}", kind, start, end, reason)
        self.visits.append(visit)
        return visit

    def present(self, at: float) -> set[str]:
        """Conditions on record by that time."""
        return {name for name, problem in self.problems.items() if problem.recorded <= at}

    def diagnose(self, name: str, onset: float, at: float, visit: Visit) -> None:
        """Put a condition on record, once."""
        if name not in self.problems:
            self.problems[name] = Problem(name, onset, at, visit)

    def read(
        self, name: str, at: float, visit: Visit, value: float | str | dict[str, float], key: str = ""
    ) -> str | None:
        """Note an observation unless this visit has it for that day; its key."""
        mark = (name, f"{visit.key}/{int(at)}")
        if mark in self._seen:
            return None
        self._seen.add(mark)
        key = key or f"o{len(self.readings)}"
        self.readings.append(Reading(key, name, at, visit, value))
        self.latest.update(value if isinstance(value, dict) else {name: value})
        return key

    def has_read(self, name: str, at: float, visit: Visit) -> bool:
        """Whether this visit has that observation for that day."""
        return (name, f"{visit.key}/{int(at)}") in self._seen

    def taking(self, drug: str, at: float) -> Order | None:
        """The running order of a drug."""
        return next((o for o in self.running(at) if o.drug == drug), None)

    def running(self, at: float) -> Iterator[Order]:
        """Orders that run at that time."""
        return (o for o in self.orders if o.start <= at and (o.end is None or o.end > at))

    def order(self, order: Order) -> None:
        """Start a drug, unless the list of drugs forbids it here; a changed dose ends the former order.

        What was ordered for one reason is not lowered for another.
        """
        drug = codes().drugs[order.drug]
        sex = None if self.female is None else "F" if self.female else "M"
        egfr = self.latest.get("egfr")
        if (
            (drug.sex is not None and drug.sex != sex)
            or not holds(order.reason, self.present(order.start))
            or any(self.taking(other, order.start) for other in drug.not_with)
            or (isinstance(egfr, float | int) and egfr < drug.least_egfr)
        ):
            return
        if (before := self.taking(order.drug, order.start)) is not None:
            daily, former = order.dose * order.per_day, before.dose * before.per_day
            if daily == former or (daily < former and before.reason != order.reason):
                return
            before.end = order.start
        self.orders.append(order)

    def stop(self, drug: str, at: float) -> None:
        """End a drug that runs."""
        if (order := self.taking(drug, at)) is not None:
            order.end, order.planned = at, False

    def close(self) -> None:
        """Infusions end with the stay that they were ordered for, and everything ends at death."""
        for order in self.orders:
            if codes().drugs[order.drug].route == "intravenous" and order.visit.kind == "IMP" and order.end:
                order.end = min(order.end, order.visit.end)
        if self.death is None:
            return
        until = self.death
        self.visits = [v for v in self.visits if v.start <= until]
        for visit in self.visits:
            visit.end = min(visit.end, until)
        self.readings = [r for r in self.readings if r.at <= until]
        self.procedures = [p for p in self.procedures if p.at <= until]
        self.reports = [r for r in self.reports if r.at <= until]
        self.orders = [o for o in self.orders if o.start <= until]
        for order in self.orders:
            if order.end is None or order.end > until:
                order.end, order.planned = until, False
        for problem in self.problems.values():
            if problem.end is not None and problem.end > until:
                problem.end = None
