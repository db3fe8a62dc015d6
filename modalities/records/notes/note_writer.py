"""NoteWriter: says the things of one patient's chart in the words of one author, each as a Mention of its resource."""

from collections.abc import Sequence
from datetime import date
from functools import cached_property
from random import Random
from typing import Any, Literal, TypeVar

from ....core.fields import ICD10, LOINC, SNOMED
from ....core.profile import seed_for
from ..codes import RXNORM, codes
from ..data import ROUTES, Resource
from ..formats.fhir import Writer
from ..simulation.chart import Order, Procedure, Reading, Visit
from .phrases import Book, Phrase, names, phrases
from .style import HANDS, Author, author
from .text import Mention, Note, Part, Parts, enumerated, written

T = TypeVar("T")
_SEXES = {
    "F": (("woman", "female", "lady"), ("F",)),
    "M": (("man", "male", "gentleman"), ("M",)),
}


class NoteWriter:
    """The words for one note. `writer` has the chart and the calendar, `key` names the note's own randomness."""

    def __init__(self, writer: Writer, book: Book, department: str, key: str, seed: int) -> None:
        self.writer, self.chart, self.profile = writer, writer.chart, writer.profile
        self.book, self.key, self.codes, self.names = phrases(book), key, codes(), names()
        self.rng = Random(seed_for(seed, key, "note"))
        self.author: Author = author(department, self.rng.randrange(HANDS))
        self._short: dict[str, bool] = {}

    # -- choosing

    def pick(self, choices: Sequence[T]) -> T:
        """One of them, by chance."""
        return choices[int(self.rng.random() * len(choices))]

    def chance(self, share: float) -> bool:
        """True in that share of cases."""
        return self.rng.random() < share

    def phrase(self, key: str) -> Phrase:
        """One of the phrases of that key."""
        return self.pick(self.book[key])

    def say(self, key: str, mention: Mention | None = None, /, **slots: Part | Parts) -> Parts:
        """One of the phrases of that key, filled."""
        return self.phrase(key).fill(slots, mention)

    def usually(self, key: str, mention: Mention | None = None, /, **slots: Part | Parts) -> Parts:
        """This author's phrase of that key, filled."""
        choices = self.book[key]
        return choices[self.author.habit(len(choices), key)].fill(slots, mention)

    def word(self, kind: str, key: Any) -> str:
        """The author's word for a thing: doses alike throughout a note, the rest long here and short there."""
        if kind in ("routes", "frequencies", "observations"):
            if kind not in self._short:
                self._short[kind] = self.chance(self.author.brevity)
            return self.author.word(kind, key, self._short[kind])
        return self.author.word(kind, key, self.chance(self.author.brevity))

    # -- the patient

    def reference(self, kind: str, key: str) -> str:
        """`Type/id` of a resource of this patient."""
        return f"{kind}/{self.profile.patient_id}-{key}"

    @property
    def patient(self) -> str:
        """`Patient/id`."""
        return f"Patient/{self.profile.patient_id}"

    @cached_property
    def born(self) -> date | None:
        """The day of birth."""
        return self.profile.birth_date

    def day(self, at: float) -> date | None:
        """The day of a moment."""
        moment = self.writer.moment(at)
        return None if moment is None else moment.date()

    def who(self, at: float) -> Parts:
        """`72-year-old woman`, or as much as is known."""
        sex, day = self.profile.sex, self.day(at)
        nouns, letters = _SEXES.get(sex or "", (("patient",), ("patient",)))
        years = None
        if day is not None and self.born is not None:
            years = day.year - self.born.year - ((day.month, day.day) < (self.born.month, self.born.day))
        reference = self.patient

        def sexed(words: Sequence[str]) -> Part:
            word = words[self.author.habit(len(words), "sex")]
            return word if sex is None else Mention(word, "SEX", reference=reference, value=sex)

        if years is None:
            return [sexed(nouns)]
        age = Mention(str(years), "AGE", reference=reference, value=years, unit="a")
        way = self.author.habit(4, "who")
        if way == 0 and sex is not None:
            return [age, sexed(letters)]
        if way == 1:
            return [age, " yo ", sexed(nouns)]
        return [age, "-year-old ", sexed(nouns)]

    def a_who(self, at: float) -> Parts:
        """The same with its article."""
        who = self.who(at)
        first = who[0]
        words = first if isinstance(first, str) else first.surface
        vowel = words.startswith("8") or words in ("11", "18")
        return ["an " if vowel else "a ", *who]

    @property
    def he(self) -> str:
        """The pronoun."""
        return {"F": "she", "M": "he"}.get(self.profile.sex or "", "the patient")

    # -- time

    def date(self, at: float, reference: str) -> Mention:
        """The day of a moment, written out; only with a calendar."""
        day = self.day(at)
        assert day is not None
        return Mention(self.author.date(day), "DATE", reference=reference, value=day.isoformat())

    def when(self, at: float, stay: Visit, reference: str) -> Parts:
        """`on day 3` or `on 5 March 2024`; the first day is `on admission`."""
        day, first = self.day(at), self.day(stay.start)
        assert day is not None
        assert first is not None
        number = (day - first).days + 1
        if self.author.counts_days:
            words = f"hospital day {number}" if self.author.habit(3, "day") == 0 else f"day {number}"
            return ["on ", Mention(words, "DATE", reference=reference, value=day.isoformat())]
        return ["on ", self.date(at, reference)]

    def dated(self, at: float, reference: str) -> Parts:
        """A line with the date, where there is a calendar."""
        return ["Date: ", self.date(at, reference), "\n"] if self.day(at) is not None else []

    # -- what is on the chart

    def condition(self, name: str, negated: bool = False) -> Mention:
        """A diagnosis; one that is denied has no resource but the patient's."""
        code = self.codes.conditions[name].code
        reference = self.patient if negated else self.reference("Condition", f"condition-{code}")
        return Mention(self.word("conditions", name), "CONDITION", code, ICD10, reference, negated=negated)

    def declared(self, resource: Resource) -> Mention:
        """A diagnosis of a declared field, in its own words, with the first of its codes."""
        coding = resource["code"].get("coding", [{}])[0]
        reference = f"Condition/{resource['id']}"
        words = resource["code"]["text"]
        return Mention(words, "CONDITION", coding.get("code"), coding.get("system"), reference)

    def lab(self, name: str, reference: str) -> Mention:
        """What was measured."""
        code = self.codes.observations[name].code
        return Mention(self.word("observations", name), "LAB", code, LOINC, reference)

    def value(self, name: str, value: float | str, reference: str) -> Mention:
        """A number with its decimals, or an answer in words."""
        entry = self.codes.observations[name]
        if isinstance(value, str):
            code = self.codes.answers[value].code
            words = self.word("answers", value)
            return Mention(words, "VALUE", code, SNOMED, reference, value=value)
        shown = f"{value:.{entry.decimals}f}" if self.author.padded else f"{value:g}"
        if float(shown) != value:  # %g keeps six digits
            shown = str(value)
        return Mention(shown, "VALUE", entry.code, LOINC, reference, value=value, unit=entry.unit)

    def unit(self, ucum: str, reference: str, gap: str = " ") -> Parts:
        """The unit after a number, with the gap before it; nothing where it has no written form."""
        words = self.author.unit(ucum)
        if not words:
            return []
        mention = Mention(words, "UNIT", reference=reference, unit=ucum)
        return [self.author.gap, mention] if words == "%" else [gap, mention]

    def measured(self, reading: Reading, units: bool = True) -> Parts:
        """`creatinine 1.20 mg/dL`, `BP 120/80`."""
        reference = self.reference("Observation", reading.key)
        lab, value = self.lab(reading.name, reference), reading.value
        if isinstance(value, dict):
            numbers = [[self.value(part, number, reference)] for part, number in value.items()]
            out: Parts = [lab, " ", *enumerated(numbers, "/")]
            ucum = self.codes.observations[next(iter(value))].unit
        else:
            out, ucum = (
                [lab, " ", self.value(reading.name, value, reference)],
                self.codes.observations[reading.name].unit,
            )
        return out + self.unit(ucum, reference) if units and ucum else out

    def drug(self, order: Order) -> Mention:
        """The drug of an order."""
        code, reference = self.codes.drugs[order.drug].code, self.reference("MedicationRequest", order.key)
        return Mention(self.word("drugs", order.drug), "DRUG", code, RXNORM, reference)

    def dose(self, order: Order) -> Mention:
        """One dose; thousands of milligrams may be said in grams."""
        ucum, dose = self.codes.drugs[order.drug].unit, order.dose
        reference = self.reference("MedicationRequest", order.key)
        if ucum == "mg" and dose >= 1000 and dose % 250 == 0 and self.author.habit(2, "grams"):
            words = f"{dose / 1000:g} g"
        else:
            words = f"{dose:g} {self.author.unit(ucum)}"
        return Mention(words, "DOSE", reference=reference, value=dose, unit=ucum)

    def often(self, order: Order) -> Mention:
        """How often it is taken."""
        reference = self.reference("MedicationRequest", order.key)
        if order.every is None:
            words = self.word("frequencies", order.per_day)
            return Mention(words, "FREQUENCY", reference=reference, value=order.per_day, unit="/d")
        days = round(order.every)
        weeks = days // 7 if days % 7 == 0 and self.author.habit(2, "weeks") else 0
        words = f"every {days} days" if not weeks else "weekly" if weeks == 1 else f"every {weeks} weeks"
        return Mention(words, "FREQUENCY", reference=reference, value=1 / days, unit="/d")

    def route(self, order: Order) -> Mention:
        """The way it is given."""
        route = self.codes.drugs[order.drug].route
        words = self.word("routes", route)
        reference = self.reference("MedicationRequest", order.key)
        return Mention(words, "ROUTE", ROUTES[route][0], SNOMED, reference)

    def procedure(self, done: Procedure) -> Mention:
        """Something done."""
        code, reference = self.codes.procedures[done.name].code, self.reference("Procedure", done.key)
        return Mention(self.word("procedures", done.name), "PROCEDURE", code, SNOMED, reference)

    # -- the whole

    def section(self, name: str, body: Parts) -> Parts:
        """A section below this author's heading of that name."""
        return self.author.headed(self.usually(f"headings/{name}"), body)

    def sentences(self, said: list[Parts]) -> Parts:
        """One after the other, or a line each."""
        if self.author.terse:
            return self.author.listed(said)
        return [part for place, one in enumerate(said) for part in ([" "] if place else []) + one]

    def note(
        self, kind: str, report: tuple[Literal["DocumentReference", "DiagnosticReport"], str], visit: Visit,
        date: str | None, parts: Parts,
    ) -> Note:  # fmt: skip
        """The note of these parts; `report` is the type and key of the resource that carries it."""
        text, spans = written(parts)
        return Note(
            kind, self.profile.patient_id, self.reference(*report), self.reference("Encounter", visit.key),
            self.author.name, date, text, tuple(spans),
        )  # fmt: skip
