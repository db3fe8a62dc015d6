"""course(): what happened during a visit after its beginning, day by day: found, given, changed, done, resolved."""

from collections.abc import Iterable
from datetime import date
from itertools import groupby

from ..codes import holds
from ..simulation.chart import Order, Procedure, Reading, Visit
from .note_writer import NoteWriter
from .text import Parts, capital, enumerated

_SIGNIFICANT = 0.2  # share by which a value must move to be told
_MOVING = (
    "lactate", "creatinine", "leukocytes", "crp", "procalcitonin", "nt_probnp", "platelets", "hemoglobin", "potassium",
)  # fmt: skip
_IN_OTHER_SECTIONS = ("ecg", "chest_xray", "echocardiography")
SIGNS = ("tachycardia", "bradycardia", "abnormal_ecg")  # told with the vital signs and the trace
_TRENDS = 3  # at most

Sentence = tuple[float, Parts]  # when, a sentence


def course(s: NoteWriter, visit: Visit, reason: str | None, dead: bool) -> Parts:
    """The sentences in order of time; `reason` is the leading problem, which another section states."""
    dated = [*_found(s, visit, reason), *_done(s, visit), *_orders(s, visit), *_cultures(s, visit)]
    dated.sort(key=lambda pair: pair[0])  # stable: as written within a moment
    sentences = [capital(parts) for _, parts in dated]
    sentences += [capital(parts) for parts in _trends(s, visit)]
    if resolved := _resolved(s, visit, dead):
        sentences.append(capital(resolved))
    if dead:
        sentences.append(capital(_death(s, visit)))
    if not sentences and visit.is_stay:
        sentences = [s.say("course/quiet")]
    return s.sentences(sentences)


def _timed(s: NoteWriter, at: float, visit: Visit, reference: str) -> dict[str, Parts]:
    """{when} and {When}: on admission, on day 3, or today."""
    if not visit.is_stay:
        return {"when": ["today"], "When": ["Today"], "when_bare": ["today"]}
    if s.day(at) == s.day(visit.start):
        words = s.pick(("on admission", "on arrival"))
        return {"when": [words], "When": capital([words + ","]), "when_bare": ["admission"]}
    when = s.when(at, visit, reference)
    return {"when": when, "When": capital([*when, ","]), "when_bare": when[1:]}


def _found(s: NoteWriter, visit: Visit, reason: str | None) -> Iterable[Sentence]:
    """Conditions put on record here: those of the first hours together, later ones with their day."""
    new = [p for p in s.chart.problems.values() if p.visit is visit and p.name not in (reason, *SIGNS)]
    first = [p for p in new if s.day(p.recorded) == s.day(visit.start)]
    if first:
        found = enumerated([[s.condition(p.name)] for p in first])
        yield visit.start, s.say("first/found", list=found)
    for problem in new:
        if problem not in first:
            mention = s.condition(problem.name)
            slots = _timed(s, problem.recorded, visit, str(mention.reference))
            yield problem.recorded, s.say("course/found", list=mention, **slots)


def _done(s: NoteWriter, visit: Visit) -> Iterable[Sentence]:
    """Procedures, those of a day together."""
    kinds = {"intensive_care": "course/intensive", "blood_culture_taken": "course/taken"}
    by_day: dict[tuple[date | None, str], dict[str, Procedure]] = {}
    for procedure in s.chart.procedures:
        if procedure.visit is visit and procedure.name not in _IN_OTHER_SECTIONS:
            group = by_day.setdefault((s.day(procedure.at), kinds.get(procedure.name, "course/done")), {})
            group.setdefault(procedure.name, procedure)  # told once a day
    for (_, key), named in by_day.items():
        mentions = [[s.procedure(p)] for p in named.values()]
        first = next(iter(named.values()))
        slots = _timed(s, first.at, visit, s.reference("Procedure", first.key))
        yield first.at, s.say(key, list=enumerated(mentions), he=s.he, He=s.he.capitalize(), **slots)


def _orders(s: NoteWriter, visit: Visit) -> Iterable[Sentence]:
    """Drugs begun, their doses changed, and drugs ended before they were due."""
    begun = [o for o in s.chart.orders if o.visit is visit]
    changed = {o.key: former for o in begun if (former := _former(s, o)) is not None}
    fresh = [o for o in begun if o.key not in changed]
    for _, same in groupby(fresh, key=lambda o: (s.day(o.start), o.reason)):
        group = list(same)
        drugs = enumerated([[s.drug(o), " ", s.dose(o)] if s.chance(0.6) else [s.drug(o)] for o in group])
        slots = _timed(s, group[0].start, visit, s.reference("MedicationRequest", group[0].key))
        if group[0].reason in s.chart.present(group[0].start):
            yield (
                group[0].start,
                s.say("course/started", drugs=drugs, reason=s.condition(group[0].reason), **slots),
            )
        else:
            yield group[0].start, s.say("course/started_plain", drugs=drugs, **slots)
    for order in begun:
        if (former := changed.get(order.key)) is not None:
            slots = _timed(s, order.start, visit, s.reference("MedicationRequest", order.key))
            more = order.dose * order.per_day > former.dose * former.per_day
            alike = former.per_day == order.per_day
            before, after = (_taken(s, o, alike) for o in (former, order))
            yield order.start, s.say(
                "course/raised" if more else "course/lowered", drug=s.drug(order), before=before, after=after, **slots
            )  # fmt: skip
    yield from _stopped(s, visit)


def _taken(s: NoteWriter, order: Order, dose_alone: bool) -> Parts:
    """The dose, and how often."""
    return [s.dose(order)] if dose_alone else [s.dose(order), " ", s.often(order)]


def _former(s: NoteWriter, order: Order) -> Order | None:
    """The order of the same drug that this one replaced at once."""
    return next(
        (o for o in s.chart.orders if o.drug == order.drug and o.end == order.start and o is not order), None
    )


def _stopped(s: NoteWriter, visit: Visit) -> Iterable[Sentence]:
    replaced = {(o.drug, o.start) for o in s.chart.orders}
    ended = [
        o for o in s.chart.orders
        if o.end is not None and not o.planned and visit.start <= o.end <= visit.end
        and o.end != s.chart.death and (o.drug, o.end) not in replaced
    ]  # fmt: skip
    for _, same in groupby(sorted(ended, key=lambda o: o.end or 0), key=lambda o: s.day(o.end or 0)):
        group = list(same)
        slots = _timed(s, group[0].end or 0, visit, s.reference("MedicationRequest", group[0].key))
        yield (
            group[0].end or 0,
            s.say("course/stopped", drugs=enumerated([[s.drug(o)] for o in group]), **slots),
        )


def _readings(s: NoteWriter, visit: Visit) -> list[Reading]:
    return sorted((r for r in s.chart.readings if r.visit is visit), key=lambda r: r.at)


def _cultures(s: NoteWriter, visit: Visit) -> Iterable[Sentence]:
    """What grew, or did not."""
    for reading in _readings(s, visit):
        if reading.name == "blood_culture":
            place = s.reference("Observation", reading.key)
            answer = s.value(reading.name, str(reading.value), place)
            slots = _timed(s, reading.at, visit, place) | {"date": [s.date(reading.at, place)]}
            key = "course/no_growth" if reading.value == "no_growth" else "course/culture"
            yield reading.at, s.say(key, lab=s.lab(reading.name, place), answer=answer, **slots)


def _trends(s: NoteWriter, visit: Visit) -> Iterable[Parts]:
    """Laboratory values that moved between the first and the last reading."""
    read: dict[str, list[Reading]] = {}
    for reading in _readings(s, visit):
        if reading.name in _MOVING and isinstance(reading.value, int | float):
            read.setdefault(reading.name, []).append(reading)
    count = 0
    for name in _MOVING:
        first, *_, last = (read.get(name, []) * 2)[:1] + read.get(name, [])[-1:] or (None, None)
        if first is None or last is None or first is last or count == _TRENDS:
            continue
        assert isinstance(first.value, int | float)
        assert isinstance(last.value, int | float)
        if abs(last.value - first.value) < _SIGNIFICANT * first.value:
            continue
        count += 1
        ends = [s.reference("Observation", r.key) for r in (first, last)]
        ucum = s.codes.observations[name].unit
        yield s.say(
            "course/rose" if last.value > first.value else "course/fell",
            lab=s.lab(name, ends[1]),
            first=s.value(name, first.value, ends[0]),
            last=s.value(name, last.value, ends[1]),
            unit=s.unit(ucum, ends[1]),
        )


def _resolved(s: NoteWriter, visit: Visit, dead: bool) -> Parts:
    """Conditions that were over when the stay ended."""
    if dead or not visit.is_stay:
        return []
    over = [p for p in s.chart.problems.values() if p.end is not None and visit.start < p.end <= visit.end]
    return s.say("course/resolved", list=enumerated([[s.condition(p.name)] for p in over])) if over else []


def _death(s: NoteWriter, visit: Visit) -> Parts:
    """When and of what."""
    death, cause = s.chart.death, s.chart.cause
    assert death is not None
    when = s.when(death, visit, s.patient)
    slots: dict[str, Parts] = {"when": when, "When": capital([*when, ","])}
    named = {"he": s.he, "He": s.he.capitalize()}
    if cause is None or not holds(cause, s.chart.present(death)):
        return s.say("course/died", **slots, **named)
    return s.say("course/death", cause=s.condition(cause), **slots, **named)
