"""What written words may mean: names, units, dates, sexes; the way back from a note to values."""

import re
from collections.abc import Mapping
from datetime import date, timedelta
from functools import cache

from ..codes import codes
from ..data import RHYTHMS
from .phrases import Book, names, phrases
from .style import MONTHS

NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
SEXES = {"woman": "female", "female": "female", "lady": "female", "F": "female"}
SEXES |= {"man": "male", "male": "male", "gentleman": "male", "M": "male"}


@cache
def words_of(kind: str) -> Mapping[str, set[str]]:
    """What each written name may mean, in lower case; kind as in names.yaml."""
    found: dict[str, set[str]] = {}
    for key, name in names().named(kind).items():
        for words in (*name.long, *name.short):
            found.setdefault(words.lower(), set()).add(str(key))
    return found


@cache
def units_of() -> Mapping[str, set[str]]:
    """The UCUM units that a written one may mean."""
    found: dict[str, set[str]] = {}
    for ucum, words in names().units.items():
        for word in words:
            found.setdefault(word, set()).add(ucum)
    return found


@cache
def stated() -> Mapping[str, set[str]]:
    """Codes that the words of diagnoses, findings and rhythms may mean, in lower case: names, and words of phrases."""
    lists = codes()
    found: dict[str, set[str]] = {}
    conditions = {entry.code for entry in lists.conditions.values()}
    for words, named in words_of("conditions").items():
        found[words] = {lists.conditions[name].code for name in named}
    cancers = {lists.conditions[name].code for name in ("breast_cancer_woman", "breast_cancer_man")}
    of_key = {answer: {lists.answers[answer].code} for answer in RHYTHMS.values()}
    of_key |= {
        "not_af": of_key["fibrillation"],
        "paced": {lists.conditions["pacemaker"].code},
        "verdict": {lists.conditions["abnormal_ecg"].code},
        "diagnosis": cancers,
    }
    books: tuple[Book, ...] = ("radiology", "ecg", "pathology")
    for book in books:
        for key, choices in phrases(book).items():
            head, _, code = key.partition("/")
            meant = {code} if code in conditions else of_key.get(head, set())
            marked = {m.surface for p in choices for m in p.marked if m.label in ("FINDING", "CONDITION")}
            for word in marked | ({p.text for p in choices} if head == "nouns" else set()):
                found.setdefault(word.lower(), set()).update(meant)
    found.setdefault("sinus rhythm", set()).update(of_key["sinus"])
    for words in words_of("conditions"):  # what a summary calls the rhythm
        for rhythm, answer in RHYTHMS.items():
            held = lists.conditions.get(rhythm.replace(" ", "_"))
            if held is not None and held.code in found[words]:
                found[words] = found[words] | of_key[answer]
    return found


def read_date(words: str, start: date) -> set[str]:
    """ISO texts (of a day or a year) that the words may mean; `start` is the first day of the stay."""
    months = {month[:3]: number for number, month in enumerate(MONTHS, start=1)}
    if found := re.fullmatch(r"(?:hospital )?day (\d+)", words.lower()):
        return {(start + timedelta(days=int(found[1]) - 1)).isoformat()}
    if re.fullmatch(r"\d{4}(-\d\d-\d\d)?", words):
        return {words}
    if found := re.fullmatch(r"(\d\d)/(\d\d)/(\d{4})", words):
        return {f"{found[3]}-{found[1]}-{found[2]}"}
    if found := re.fullmatch(r"(\d\d)\.(\d\d)\.(\d{4})", words):
        return {f"{found[3]}-{found[2]}-{found[1]}"}
    if found := re.fullmatch(r"(\d+) ([A-Z][a-z]+) (\d{4})", words):
        return {f"{found[3]}-{months[found[2][:3]]:02d}-{int(found[1]):02d}"}
    if found := re.fullmatch(r"([A-Z][a-z]+) (\d+), (\d{4})", words):
        return {f"{found[3]}-{months[found[1][:3]]:02d}-{int(found[2]):02d}"}
    return set()
