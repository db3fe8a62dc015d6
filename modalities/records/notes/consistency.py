"""contradictions(): reads the words of a note back, span by span, and holds them against the resources they name."""

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime
from typing import Any

from ..case import Case, code_of, moment
from ..codes import codes
from ..data import DECLARED, PAM50, REPORTS, SUBTYPES, Resource
from .phrases import names
from .reading import NUMBER, SEXES, read_date, stated, units_of, words_of
from .reports import FAST, SLOW
from .text import LABELS, Span


def contradictions(note: Mapping[str, Any], case: Case) -> Iterator[str]:
    """What a note says and the patient's resources do not, one line each; nothing if all of it is so.

    The words themselves are read, not the values beside them. `note` is as Note.to_dict gives it, without
    typing errors.
    """
    text, end = note["text"], 0
    for span in note["spans"]:
        where = f"{note['meta']['kind']}: {span['label']} {span['text']!r}"
        if (
            span["start"] < end
            or text[span["start"] : span["end"]] != span["text"]
            or span["label"] not in LABELS
        ):
            yield f"{where}: is not at {span['start']} to {span['end']}, overlaps, or has no such label"
            continue
        end = span["end"]
        if span["label"] == "ANATOMY" and "code" in span:
            if span["code"] != names().anatomy_code(span["text"]):
                yield f"{where}: has code {span['code']}"
            continue
        resource = case.by_name.get(span.get("reference", ""))
        if resource is None:
            yield f"{where}: names {span.get('reference')}, which is not on record"
        elif not _READERS[span["label"]](span, resource, case, note):
            yield f"{where}: {span.get('reference')} does not say so"


Reader = Callable[[Span, Resource, Case, Mapping[str, Any]], bool]


# -- one reader a label: whether the resource says what the words say


def _parts(resource: Resource) -> list[Resource]:
    return [resource, *resource.get("component", [])]


def _value(span: Span, resource: Resource, case: Case, note: Mapping[str, Any]) -> bool:
    words = span["text"]
    if NUMBER.fullmatch(words):
        decimals = len(words.partition(".")[2])
        if resource["resourceType"] == "DiagnosticReport":
            return f"in {words} beats" in resource["conclusion"]
        if resource["resourceType"] == "ImagingStudy":
            return bool(resource["numberOfInstances"] == int(words))
        true = [
            p["valueQuantity"]["value"] for p in _parts(resource) if code_of(p["code"]) == span.get("code")
        ]
        rounded = span.get("code") == codes().observations["ecg_heart_rate"].code  # whole beats
        near = 0.5 + 1e-9 if rounded and not decimals else 0.0
        return bool(true) and abs(float(words) - true[0]) <= near
    said = resource.get("valueCodeableConcept", {})
    if said.get("text") in SUBTYPES.values() or "coding" not in said:
        return said.get("text") in (words, SUBTYPES.get(words))
    answers = {codes().answers[name].code for name in words_of("answers").get(words.lower(), ())}
    return code_of(said) in answers


def _unit(span: Span, resource: Resource, case: Case, note: Mapping[str, Any]) -> bool:
    known = {p["valueQuantity"]["code"] for p in _parts(resource) if "valueQuantity" in p}
    return bool(known & units_of().get(span["text"], set()))


def _lab(span: Span, resource: Resource, case: Case, note: Mapping[str, Any]) -> bool:
    if "coding" not in resource["code"] or code_of(resource["code"]) == PAM50["code"]:
        return span["text"].split()[0] in resource["code"]["text"]
    known = {
        codes().observations[name].code for name in words_of("observations").get(span["text"].lower(), ())
    }
    return code_of(resource["code"]) in known


def _drug(span: Span, resource: Resource, case: Case, note: Mapping[str, Any]) -> bool:
    known = {codes().drugs[name].code for name in words_of("drugs").get(span["text"].lower(), ())}
    return code_of(resource["medicationCodeableConcept"]) in known


def _dosage(resource: Resource) -> Any:
    return resource["dosageInstruction"][0]


def _dose(span: Span, resource: Resource, case: Case, note: Mapping[str, Any]) -> bool:
    number, _, unit = span["text"].partition(" ")
    true = _dosage(resource)["doseAndRate"][0]["doseQuantity"]
    if unit == "g":
        return bool(true["code"] == "mg" and float(number) * 1000 == true["value"])
    return float(number) == true["value"] and true["code"] in units_of().get(unit, set())


def _frequency(span: Span, resource: Resource, case: Case, note: Mapping[str, Any]) -> bool:
    words, repeat = span["text"].lower(), _dosage(resource)["timing"]["repeat"]
    if found := re.fullmatch(r"every (\d+) (days|weeks)", words):
        days = int(found[1]) * (7 if found[2] == "weeks" else 1)
        return (repeat["frequency"], repeat["period"]) == (1, days)
    if words == "weekly":
        return (repeat["frequency"], repeat["period"]) == (1, 7)
    return repeat["period"] == 1 and str(repeat["frequency"]) in words_of("frequencies").get(words, set())


def _route(span: Span, resource: Resource, case: Case, note: Mapping[str, Any]) -> bool:
    words = words_of("routes").get(span["text"].lower(), set())
    return any(_dosage(resource)["route"]["coding"][0]["display"].lower().startswith(way) for way in words)


def _dates(resource: Resource) -> Iterator[str]:
    """Every date of a resource, at any depth."""
    for key, value in resource.items():
        if isinstance(value, dict):
            yield from _dates(value)
        elif isinstance(value, list):
            for part in value:
                yield from _dates(part) if isinstance(part, dict) else ()
        elif (
            isinstance(value, str)
            and re.match(r"\d{4}-\d\d-\d\d", value)
            and key not in ("data", "birthDate")
        ):
            yield value[:10]


def _visit(case: Case, note: Mapping[str, Any]) -> tuple[date, date] | None:
    period = case.by_name[note["meta"]["encounter"]].get("period")
    return period and (moment(period["start"]).date(), moment(period["end"]).date())


def _date(span: Span, resource: Resource, case: Case, note: Mapping[str, Any]) -> bool:
    visit = _visit(case, note)
    said = read_date(span["text"], visit[0] if visit else date.min)
    true = set(_dates(resource))
    return bool(said & (true | {day[:4] for day in true if resource["resourceType"] == "Condition"}))


def _age(span: Span, resource: Resource, case: Case, note: Mapping[str, Any]) -> bool:
    visit, born = _visit(case, note), moment(resource["birthDate"]).date()
    days = {*(visit or ()), datetime.fromisoformat(note["meta"]["date"]).date()}
    ages = {d.year - born.year - ((d.month, d.day) < (born.month, born.day)) for d in days}
    return int(span["text"]) in ages


def _sex(span: Span, resource: Resource, case: Case, note: Mapping[str, Any]) -> bool:
    word = span["text"]
    return SEXES.get(word, SEXES.get(word.lower())) == resource["gender"]


def _condition(span: Span, resource: Resource, case: Case, note: Mapping[str, Any]) -> bool:
    held = {code_of(r["code"]) for r in case.of("Condition")}
    if span["negated"]:
        return span["code"] not in held and _means(span)
    if resource["resourceType"] != "Condition" or code_of(resource["code"]) != span.get("code", ""):
        return False
    own = f"{case.patient['id']}-{DECLARED}"  # a declared field is called as it was declared
    if resource["id"].startswith(own):
        return span["text"].lower() == str(resource["code"]["text"]).lower()
    return _means(span)


def _means(span: Span) -> bool:
    """Whether the words may mean the code."""
    return span.get("code") in stated().get(span["text"].lower(), ())


def _finding(span: Span, resource: Resource, case: Case, note: Mapping[str, Any]) -> bool:
    code, kind = span.get("code"), resource["resourceType"]
    if kind == "Condition":
        return code_of(resource["code"]) == code and not span["negated"] and _means(span)
    if kind == "DiagnosticReport":
        found = {code_of(concept) for concept in resource.get("conclusionCode", ())}
        if code is None:
            return _receptors(span["text"].lower(), case)
        return (code in found) is not span["negated"] and _means(span)
    if "valueCodeableConcept" in resource:
        return (code_of(resource["valueCodeableConcept"]) == code) is not span["negated"] and _means(span)
    return _shows(span, resource, case)


def _shows(span: Span, resource: Resource, case: Case) -> bool:
    """Whether a reading shows the sign."""
    known = codes().by_code["observations"]
    if known.get(code_of(resource["code"])) == "ecg_heart_rate":
        rate = round(resource["valueQuantity"]["value"])
        return rate > FAST if span["text"].lower() == "tachycardia" else rate < SLOW
    female = case.patient["gender"] == "female"
    return any(
        sign.of == known.get(code_of(part["code"])) and sign.shown(part["valueQuantity"]["value"], female)
        for sign in names().signs.values()
        if span["text"].lower() in (*sign.adjectives, *sign.nouns) and span.get("code") == sign.code
        for part in _parts(resource)
        if "valueQuantity" in part
    )


def _receptors(words: str, case: Case) -> bool:
    """Whether the receptors on record make the tumour what the words call it."""
    read = {name: value for name, _, _, value in case.readings if isinstance(value, str)}
    hormone = "positive" in (read.get("estrogen_receptor"), read.get("progesterone_receptor"))
    her2 = read.get("her2") == "positive"
    if words.startswith("triple"):
        return not hormone and not her2
    return (words.startswith("hormone") and hormone) or (words.startswith("her2") and her2)


def _normal(span: Span, resource: Resource, case: Case, note: Mapping[str, Any]) -> bool:
    found = {code_of(concept) for concept in resource.get("conclusionCode", ())}
    if span.get("code") is not None:
        held = {code_of(r["code"]) for r in case.of("Condition")}
        return span["code"] not in found | held
    lungs_only = span["text"].lower() == "clear"
    return not {code for code in found if not lungs_only or code not in ("I51.7", "J90", "J93.9")}


_RADIOGRAPHS = {"x-ray", "chest x-ray", "chest radiograph", "radiograph", "cxr"}
_STUDIES = {
    "DX": _RADIOGRAPHS, "CR": _RADIOGRAPHS, "CT": {"ct", "computed tomography"},
    "MR": {"mri", "magnetic resonance imaging"},
    "MG": {"mammogram", "mammography"}, "XA": {"angiogram", "angiography"},
    "PT": {"pet", "positron emission tomography"}, "NM": {"scintigram", "nuclear medicine scan"},
    "US": {"ultrasound", "sonogram"}, "OP": {"fundus photograph", "fundus photography"},
    "ES": {"endoscopy", "endoscopic image"}, "GM": {"microscopy", "micrograph"},
    "XC": {"photograph", "clinical photograph"}, "DMS": {"dermoscopy", "dermoscopic image"},
    "OT": {"image", "secondary capture"},
}  # fmt: skip


def _procedure(span: Span, resource: Resource, case: Case, note: Mapping[str, Any]) -> bool:
    known = {codes().procedures[name].code for name in words_of("procedures").get(span["text"].lower(), ())}
    if resource["resourceType"] == "ImagingStudy":
        said, kind = span["text"].lower(), resource["modality"][0]["code"]
        return said in _STUDIES.get(kind, _STUDIES["OT"])
    coded = resource["resourceType"] == "Procedure" and code_of(resource["code"]) == span["code"]
    return span["code"] in known and (coded or code_of(resource["code"]) == REPORTS["ecg"][0])


def _gene(span: Span, resource: Resource, case: Case, note: Mapping[str, Any]) -> bool:
    return bool(resource["code"]["coding"][0] == {
        "system": span["system"], "code": span["code"], "display": span["text"]
    })  # fmt: skip


def _anatomy(span: Span, resource: Resource, case: Case, note: Mapping[str, Any]) -> bool:
    return span["text"].lower() in resource["description"].lower()


def _view(span: Span, resource: Resource, case: Case, note: Mapping[str, Any]) -> bool:
    return f"{span['text']} view" in resource["description"]


_READERS: Mapping[str, Reader] = {
    "AGE": _age, "ANATOMY": _anatomy, "CONDITION": _condition, "DATE": _date, "DOSE": _dose, "DRUG": _drug,
    "FINDING": _finding, "FREQUENCY": _frequency, "GENE": _gene, "LAB": _lab, "NORMAL": _normal,
    "PROCEDURE": _procedure, "ROUTE": _route, "SEX": _sex, "UNIT": _unit, "VALUE": _value, "VIEW": _view,
}  # fmt: skip
