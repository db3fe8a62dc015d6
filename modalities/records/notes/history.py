"""Sections of a summary on the patient: who came why, what is known, what is taken, and when to come again."""

from ..simulation.chart import Order
from .episode import Episode
from .measured import signs
from .text import Mention, Parts, capital, enumerated

OPERATIONS = ("lumpectomy", "mastectomy")
_CHRONIC = (  # asked about in everybody, so worth a denial
    "hypertension", "diabetes", "kidney_disease", "old_infarction", "heart_failure", "atrial_fibrillation", "emphysema",
)  # fmt: skip
_WATCHED = ("creatinine", "potassium", "hemoglobin")
_SINGLE = 6  # conditions in one sentence


def dates(e: Episode) -> Parts:
    """From when to when."""
    start = e.s.date(e.visit.start, e.reference)
    if not e.visit.is_stay:
        return e.s.say("dates/visit", start=start)
    end = e.s.date(e.visit.end, e.reference)
    return e.s.say("dates/death" if e.dead else "dates/stay", start=start, end=end)


def presentation(e: Episode) -> Parts:
    """Who came why, and how he was."""
    s, visit = e.s, e.visit
    before = [[s.condition(p.name)] for p in e.old if p.name != e.reason][:_SINGLE]
    history_first = s.author.habit(2, "history first") and before
    slots = {"who": s.who(visit.start), "a_who": s.a_who(visit.start), "history": enumerated(before)}
    operation = next((p for p in e.chart.procedures if p.visit is visit and p.name in OPERATIONS), None)
    if e.reason is None:
        out = s.say("presentation/unknown_history" if history_first else "presentation/unknown", **slots)
    else:
        slots["reason"] = [s.condition(e.reason)]
        if operation is not None:
            out = s.say("presentation/operation", operation=[s.procedure(operation)], **slots)
        else:
            kind = visit.kind if visit.is_stay else "AMB"
            out = s.say(f"presentation/{kind}_history" if history_first else f"presentation/{kind}", **slots)
    out = capital(out)
    if shown := signs(e, adjectives=True):
        key = "arrival/first" if visit.is_stay else "arrival/today"
        said = s.say(key, signs_is=enumerated(shown), he=s.he, pt=s.pick(("the patient", "pt", s.he)))
        out += [" ", *capital(said)]
    return out


def diagnoses(e: Episode) -> Parts:
    """The leading problem, what was found at this visit, and what is still treated."""
    s = e.s
    lines: list[Parts] = []
    if e.reason is not None:
        problem = e.chart.problems[e.reason]
        lines.append(s.usually("diagnoses/principal", condition=[s.condition(problem.name)]))
    for problem in e.new:
        if problem.name != e.reason:
            over = problem.end is not None and problem.end <= e.visit.end
            key = "diagnoses/resolved" if over else "diagnoses/found"
            lines.append(s.usually(key, condition=[s.condition(problem.name)]))
    lines += [[s.condition(p.name)] for p in e.old if p.name != e.reason]
    return s.author.listed([capital(line) for line in lines])


def history(e: Episode) -> Parts:
    """What was known before, since when; and what is not known of."""
    s = e.s
    items: list[Parts] = []
    for problem in e.old:
        mention = s.condition(problem.name)
        day = s.writer.day(problem.onset) or ""
        since = Mention(day[:4], "DATE", reference=mention.reference, value=day)
        items.append(s.usually("history/item", condition=[mention], since=[since]))
    items += [[s.declared(resource)] for resource in e.declared]
    if items and (s.author.terse or s.author.bullet):
        out = s.author.listed([capital(item) for item in items])
    else:
        out = [*capital(enumerated(items)), "."] if items else s.say("history/none")
    return out + _denied(e, bool(items))


def _denied(e: Episode, after_items: bool) -> Parts:
    s = e.s
    known = s.profile.conditions
    absent = [
        name
        for name in _CHRONIC
        if name not in e.chart.problems and known.get(s.codes.conditions[name].code) is False
    ]
    wanted = [name for name in absent if s.chance(0.3)][:3]
    if not wanted:
        return []
    listed = enumerated([[s.condition(name, negated=True)] for name in wanted], " or ")
    gap = "\n" if after_items and (s.author.terse or s.author.bullet) else " "
    return [gap, *capital(s.say("denied", list=listed, He=s.he.capitalize()))]


def admission_drugs(e: Episode) -> Parts:
    """What was taken before."""
    orders = [o for o in e.running(e.visit.start) if o.start < e.visit.start - 1e-6]
    return _drugs(e, orders)


def drugs(e: Episode) -> Parts:
    """What goes on after this visit."""
    return [] if e.dead else _drugs(e, e.running(e.visit.end), after=True)


def _drugs(e: Episode, orders: list[Order], after: bool = False) -> Parts:
    s = e.s
    if not orders:
        return s.say("drugs/none")
    items = []
    for order in orders:
        item = _item(e, order)
        if after:
            if order.end is not None and order.planned and order.end - e.visit.end < 60:
                end = s.date(order.end, s.reference("MedicationRequest", order.key))
                item = s.usually("drugs/until", item=item, end=[end])
            elif s.author.habit(3, "why") and order.reason in e.chart.present(order.start):
                item = s.usually("drugs/reason", item=item, reason=[s.condition(order.reason)])
            if order.visit is e.visit and s.author.habit(2, "new"):
                item = s.usually("drugs/new", item=item)
        items.append(capital(item))
    if s.author.terse and not s.author.bullet:
        return [*enumerated(items, ", "), "."]
    return s.author.listed(items)


def _item(e: Episode, order: Order) -> Parts:
    """A drug with its dose, route and how often."""
    s = e.s
    key = "drugs/infusion" if "/" in s.codes.drugs[order.drug].unit else "drugs/item"
    return s.usually(
        key, drug=[s.drug(order)], dose=[s.dose(order)], route=[s.route(order)], often=[s.often(order)]
    )


def followup(e: Episode) -> Parts:
    """The next visit, and what to look at there."""
    if e.dead:
        return []
    s = e.s
    coming = next((v for v in e.chart.visits if v.start > e.visit.end and v.kind == "AMB"), None)
    if coming is None or coming.start - e.visit.end > 240:
        return s.say("followup/undated")
    out = s.say("followup/dated", date=s.date(coming.start, s.reference("Encounter", coming.key)))
    read = [r for r in e.chart.readings if r.visit is coming and r.name in _WATCHED]
    if read and s.chance(0.6):
        labs = [[s.lab(r.name, s.reference("Observation", r.key))] for r in read]
        out += [" ", *s.say("followup/watch", labs=enumerated(labs))]
    return out
