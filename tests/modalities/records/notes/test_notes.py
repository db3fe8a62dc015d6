"""Notes: every word of them that states something is on record, and is marked; hands differ; typing errors align."""

import base64
import copy
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polyclinic.conditioning.population import Population
from polyclinic.core.assertions import CHEST_FINDINGS, Assertion
from polyclinic.core.modality import Batch, Facts, Record
from polyclinic.core.profile import PatientProfile, seed_for, uid_for
from polyclinic.modalities.records import Records
from polyclinic.modalities.records.case import Case
from polyclinic.modalities.records.codes import codes
from polyclinic.modalities.records.corruption import corrupted_note
from polyclinic.modalities.records.data import NOTE_KINDS
from polyclinic.modalities.records.metrics import violations
from polyclinic.modalities.records.notes.consistency import contradictions
from polyclinic.modalities.records.notes.phrases import names, phrases
from polyclinic.modalities.records.notes.reading import read_date
from polyclinic.modalities.records.notes.style import DATES, author
from polyclinic.modalities.records.notes.text import LABELS, Note

RUN, EACH = 23, 70
COHORTS = ("cardio_oncology", "general_ward", "icu")
LEVELS = {
    "LumA": (13.41, 13.02),
    "LumB": (13.6, 12.8),
    "Her2": (7.8, 16.5),
    "Basal": (5.9, 11.7),
    "Normal": (10.6, 12.5),
}
SUBTYPES = {
    "LumA": "Luminal A",
    "LumB": "Luminal B",
    "Her2": "HER2-enriched",
    "Basal": "Basal-like",
    "Normal": "Normal-like",
}
Row = dict[str, Any]


def facts_of(profile: PatientProfile) -> dict[str, Facts]:
    """Made-up facts of the other modalities; rates are the trace's own, not the profile's. One in five has none."""
    seed = seed_for(RUN, profile.patient_id, "imaging")
    if seed % 5 == 0:
        return {}
    facts: dict[str, Facts] = {
        "imaging": {
            "findings": [code for code in CHEST_FINDINGS if profile.has(code)],
            "view": profile.traits.get("chest_view"),
            "body_part": "CHEST",
            **{f"{part}_uid": uid_for(seed, part) for part in ("study", "series", "instance")},
        },
        "signals": {
            "heart_rate": round(profile.measurements["heart_rate"] + seed % 17 / 10, 1),
            "rhythm": "atrial fibrillation" if profile.has("I48.91") else "sinus",
            "beats": 8 + seed % 9,
            "kinds": ("/" if profile.has("Z95.0") else "N") * (8 + seed % 9),
        },
    }
    if (subtype := profile.traits.get("pam50")) is not None:
        esr1, erbb2 = LEVELS[subtype]
        facts["omics"] = {"pam50": subtype, "ESR1": esr1, "PGR": 9.0, "ERBB2": erbb2, "MKI67": 11.25}
    return facts


def draw(profiles: tuple[PatientProfile, ...], options: Row | None = None, run: int = RUN) -> list[Record]:
    seeds = tuple(seed_for(run, p.patient_id, "records") for p in profiles)
    batch = Batch(
        profiles, np.zeros((len(profiles), 0), np.float32), seeds, tuple(facts_of(p) for p in profiles)
    )
    return Records(options).generator(()).sample(batch)


@cache
def cohort(name: str) -> tuple[tuple[PatientProfile, Record], ...]:
    profiles = tuple(Population.load(name).draw(EACH, RUN))
    return tuple(zip(profiles, draw(profiles), strict=True))


def everybody() -> Iterator[tuple[PatientProfile, Record]]:
    for name in COHORTS:
        yield from cohort(name)


def texts(kind: str) -> Iterator[tuple[PatientProfile, Record, Row]]:
    for profile, record in everybody():
        for note in record.facts["notes"]:
            if note["meta"]["kind"] == kind:
                yield profile, record, note


# -- what is marked is on record


def test_all_that_is_marked_is_on_record() -> None:
    labels: Counter[str] = Counter()
    for _, record in everybody():
        case = Case(record.facts["resources"])
        for note in record.facts["notes"]:
            assert list(contradictions(note, case)) == []
            labels.update(span["label"] for span in note["spans"])
    assert set(labels) == set(LABELS)
    assert min(labels.values()) > 50


def test_nothing_released_is_a_breach() -> None:
    for _, record in cohort("cardio_oncology")[:20]:
        assert Records().breaches(record) == []


def test_spans_are_the_words_they_mark_and_lie_apart() -> None:
    for _, record in everybody():
        for note in record.facts["notes"]:
            end = 0
            for span in note["spans"]:
                assert end <= span["start"] < span["end"]
                assert note["text"][span["start"] : span["end"]] == span["text"] == span["text"].strip()
                assert span["label"] == "ANATOMY" or span["reference"].partition("/")[0].isalpha()
                assert ("code" in span) == ("system" in span)
                end = span["end"]
            assert end <= len(note["text"])


# -- and read without the marks


def outside(note: Row) -> str:
    """The text with what is marked blanked out."""
    text = note["text"]
    for span in note["spans"]:
        text = text[: span["start"]] + " " * (span["end"] - span["start"]) + text[span["end"] :]
    return str(text)


def test_no_number_stands_outside_a_mark() -> None:
    for _, record in everybody():
        for note in record.facts["notes"]:
            bare = re.sub(r"(?m)(^|: )\d+\. ", "", outside(note))  # numbers of a list
            assert not re.search(r"\d", bare), bare


def test_no_name_stands_outside_a_mark() -> None:
    """Of a condition, drug, observation or procedure; short ones are words too."""
    known = names()
    words = {
        word
        for kind in (known.conditions, known.drugs, known.observations, known.procedures)
        for name in kind.values()
        for word in (*name.long, *name.short)
        if len(word) > 3 and word not in ("rhythm", "rate")
    }
    pattern = re.compile(rf"(?i)\b({'|'.join(map(re.escape, sorted(words)))})\b")
    for _, record in everybody():
        for note in record.facts["notes"]:
            assert not pattern.findall(outside(note)), outside(note)


def written_units() -> dict[str, str]:
    return {word: ucum for ucum, words in names().units.items() for word in words if word}


def test_every_number_with_a_unit_is_a_quantity_on_record() -> None:
    """Numbers before units, found in the bare text, against all quantities of the patient."""
    known = written_units()
    units = "|".join(map(re.escape, sorted(known, key=len, reverse=True)))
    pattern = re.compile(rf"(?<![\d.])(\d+(?:\.\d+)?) ?({units}|g)(?![A-Za-z/])")
    counted = 0
    for _, record in everybody():
        held = set()
        for resource in record.facts["resources"]:
            for value, code in re.findall(r'"value": ([\d.]+).{,90}?"code": "([^"]+)"', json.dumps(resource)):
                held.add((float(value), code))
        rates = {round(value) for value, code in held if code == "/min"}
        for note in record.facts["notes"]:
            for number, unit in pattern.findall(note["text"]):
                value, code = float(number), known.get(unit, "mg")
                value = value * 1000 if unit == "g" else value
                assert (value, code) in held or (code == "/min" and value in rates), (
                    number,
                    unit,
                    note["text"],
                )
                counted += 1
    assert counted > 3000


def test_the_ecg_report_states_the_rate_and_rhythm_of_that_trace() -> None:
    seen = Counter[str]()
    for profile, _, note in texts("ecg"):
        facts = facts_of(profile)["signals"]
        (rate,) = re.findall(r"(\d+) ?(?:/min|bpm|per minute)", note["text"])
        assert int(rate) == round(facts["heart_rate"])
        said = re.sub(r"(?i)no (evidence of )?(atrial fibrillation|af)\b", "", note["text"])
        interpretation = said.rpartition("\n")[0]
        fibrillates = re.search(r"(?i)\b(atrial fibrillation|af)\b(?! on record)", interpretation[-160:])
        sinus = re.search(r"(?i)sinus|\bNSR\b", interpretation)
        assert bool(sinus) == (facts["rhythm"] == "sinus")
        assert bool(fibrillates) or facts["rhythm"] == "sinus"
        paced = "/" in facts["kinds"]
        assert ("tachycardia" in said.lower()) == (round(facts["heart_rate"]) > 100 and not paced)
        assert bool(re.search(r"(?i)ventricular pac(ing|ed)", interpretation)) == paced
        assert not (paced and re.search(r"(?i)response|bradycardia", interpretation))
        if paced:  # it comes first, what the atria do after it
            assert re.search(r"(?is)ventricular pac.*underlying", interpretation)
        seen["paced"] += paced
        seen[facts["rhythm"]] += 1
    assert seen.pop("paced") >= 3
    assert min(seen.values()) > 15


def test_the_film_report_states_the_findings_of_that_image() -> None:
    """Sentences that deny are set aside; what remains names the findings given, and no other."""
    book = phrases("radiology")
    nouns = {code: [p.text for p in book[f"nouns/{code}"]] for code in CHEST_FINDINGS}
    for code in CHEST_FINDINGS:
        nouns[code] += re.findall(
            r"\[([^|\]]+)\|FINDING\]", " ".join(p.text for p in book[f"present/{code}"])
        )
    denies = re.compile(r"(?i)\b(no|not|negative|without|clear|normal)\b")
    seen = Counter[str]()
    for profile, _, note in texts("chest-xray"):
        given = facts_of(profile)["imaging"]["findings"]
        body = re.split(r"(?i)\n(?:findings|report|description)[:\n]", note["text"])[1]
        affirmed = " ".join(s for s in re.split(r"(?<=[.\n])", body) if not denies.search(s)).lower()
        for code in CHEST_FINDINGS:
            said = any(re.search(rf"\b{re.escape(noun.lower())}\b", affirmed) for noun in nouns[code])
            assert said == (code in given), (code, note["text"])
            seen[code] += said
        if profile.traits["chest_view"] is not None:
            assert re.search(rf"\b{profile.traits['chest_view']}\b", note["text"])
    assert min(seen.values()) > 0


def test_the_genomics_report_states_that_tumour() -> None:
    count = 0
    for profile, _, note in texts("tumour-expression"):
        facts = facts_of(profile)["omics"]
        for gene in ("ESR1", "PGR", "ERBB2", "MKI67"):
            (level,) = re.findall(rf"{gene}[ :=]+([\d.]+) log2", note["text"])
            assert float(level) == facts[gene]
        assert SUBTYPES[facts["pam50"]] in note["text"] or facts["pam50"] in note["text"]
        count += 1
    assert count > 30


def test_discharge_summaries_list_the_drugs_that_go_on() -> None:
    """From the resources: prescriptions that run when the stay ends, each with its dose."""
    named = {entry.code: names().drugs[name] for name, entry in codes().drugs.items()}
    count = 0
    for _, record, note in texts("discharge-summary"):
        case = Case(record.facts["resources"])
        end = case.by_name[note["meta"]["encounter"]]["period"]["end"]
        if case.patient.get("deceasedDateTime") == end:
            continue
        for _, order, start, until in case.orders:
            if start.isoformat()[:16] <= end[:16] and (until is None or until.isoformat()[:16] > end[:16]):
                words = named[order["medicationCodeableConcept"]["coding"][0]["code"]]
                assert any(w.lower() in note["text"].lower() for w in (*words.long, *words.short))
                count += 1
    assert count > 300


# -- the check fires

SWAPS = {  # label -> words that cannot be so
    "AGE": "7", "ANATOMY": "elbow", "CONDITION": "asthma", "DATE": "1901-01-01", "DOSE": "77777 mg",
    "DRUG": "placebo", "FINDING": "mumps", "FREQUENCY": "every 99 days", "GENE": "TP53", "LAB": "ammonia",
    "PROCEDURE": "appendectomy", "ROUTE": "rectally", "SEX": "robot", "UNIT": "furlong", "VALUE": "98765.4",
    "VIEW": "LL",
}  # fmt: skip


@pytest.mark.parametrize("label", sorted(SWAPS))
def test_wrong_words_are_noticed(label: str) -> None:
    count = 0
    for _, record in everybody():
        case = Case(record.facts["resources"])
        for note in record.facts["notes"]:
            place = next((i for i, s in enumerate(note["spans"]) if s["label"] == label), None)
            if place is None:
                continue
            wrong = reworded(note, place, SWAPS[label])
            assert any(f"{label} {SWAPS[label]!r}" in line for line in contradictions(wrong, case))
            count += 1
        if count > 20:
            break
    assert count


def reworded(note: Row, place: int, words: str) -> Row:
    """The note with other words in one span, its offsets right."""
    spans = copy.deepcopy(note["spans"])
    span = spans[place]
    text = note["text"][: span["start"]] + words + note["text"][span["end"] :]
    for other in spans[place + 1 :]:
        other["start"] += len(words) - len(span["text"])
        other["end"] += len(words) - len(span["text"])
    span["end"], span["text"] = span["start"] + len(words), words
    return {**note, "text": text, "spans": spans}


def first(kind: str, fits: Callable[[Row], bool]) -> tuple[Record, Row, int]:
    """A note of that kind with a span that fits."""
    for _, record, note in texts(kind):
        for place, span in enumerate(note["spans"]):
            if fits(span):
                return record, note, place
    raise AssertionError(f"no {kind} with such a span")


@pytest.mark.parametrize(
    ("kind", "label", "negated"),
    [
        ("discharge-summary", "CONDITION", True),
        ("discharge-summary", "CONDITION", False),
        ("chest-xray", "FINDING", True),
        ("chest-xray", "FINDING", False),
        ("ecg", "FINDING", False),
    ],
)
def test_a_turned_negation_is_noticed(kind: str, label: str, negated: bool) -> None:
    record, note, place = first(
        kind, lambda s: s["label"] == label and s["negated"] == negated and "code" in s
    )
    note = copy.deepcopy(note)
    note["spans"][place]["negated"] = not negated
    assert list(contradictions(note, Case(record.facts["resources"])))


def test_another_sex_rhythm_and_diagnosis_are_noticed() -> None:
    record, note, place = first("discharge-summary", lambda s: s["label"] == "SEX")
    other = {"F": "man", "M": "woman"}[note["spans"][place]["value"]]
    assert list(contradictions(reworded(note, place, other), Case(record.facts["resources"])))
    record, note, place = first("discharge-summary", lambda s: s.get("code") == "I10" and not s["negated"])
    assert list(contradictions(reworded(note, place, "sepsis"), Case(record.facts["resources"])))
    record, note, place = first("ecg", lambda s: s.get("value") == "sinus")
    note = copy.deepcopy(note)
    note["spans"][place]["code"] = codes().answers["fibrillation"].code
    assert list(contradictions(note, Case(record.facts["resources"])))


def test_marks_that_slip_or_overlap_are_noticed() -> None:
    record, note, _ = first("ecg", lambda s: s["label"] == "VALUE")
    case = Case(record.facts["resources"])
    slipped = copy.deepcopy(note)
    slipped["spans"][0]["start"] += 1
    assert any("is not at" in line for line in contradictions(slipped, case))
    twice = copy.deepcopy(note)
    twice["spans"].insert(1, copy.deepcopy(twice["spans"][0]))
    assert any("overlaps" in line for line in contradictions(twice, case))
    lost = copy.deepcopy(note)
    lost["spans"][0]["reference"] = "Observation/nowhere"
    assert any("not on record" in line for line in contradictions(lost, case))


def _quantity(resource: Row) -> None:
    resource["valueQuantity"]["value"] += 3


def _dose(resource: Row) -> None:
    resource["dosageInstruction"][0]["doseAndRate"][0]["doseQuantity"]["value"] *= 2


def _drug(resource: Row) -> None:
    resource["medicationCodeableConcept"]["coding"][0]["code"] = "1"


def _often(resource: Row) -> None:
    resource["dosageInstruction"][0]["timing"]["repeat"]["frequency"] += 1


def _days(resource: Row) -> None:
    for key, value in resource["period"].items():
        resource["period"][key] = str(int(value[:4]) - 1) + value[4:]


def _code(resource: Row) -> None:
    resource["code"]["coding"][0]["code"] = "Z00.0"


def _answer(resource: Row) -> None:
    resource["valueCodeableConcept"]["coding"][0]["code"] = "0"


def _findings(resource: Row) -> None:
    resource["conclusionCode"] = [{"coding": [{"code": "J93.9"}]}]


def _born(resource: Row) -> None:
    resource["birthDate"] = str(int(resource["birthDate"][:4]) - 20) + resource["birthDate"][4:]


def _gender(resource: Row) -> None:
    resource["gender"] = {"female": "male", "male": "female"}[resource["gender"]]


@pytest.mark.parametrize(
    ("kind", "fits", "change"),
    [
        ("ecg", lambda s: s["label"] == "VALUE" and s["reference"].endswith("rate"), _quantity),
        ("ecg", lambda s: s.get("reference", "").endswith("ecg-rhythm"), _answer),
        ("discharge-summary", lambda s: s["label"] == "VALUE" and "creatinine" in s["reference"], _quantity),
        ("discharge-summary", lambda s: s["label"] == "DOSE", _dose),
        ("discharge-summary", lambda s: s["label"] == "DRUG", _drug),
        ("discharge-summary", lambda s: s["label"] == "FREQUENCY", _often),
        ("discharge-summary", lambda s: s["label"] == "DATE" and "Encounter" in s["reference"], _days),
        ("discharge-summary", lambda s: s["label"] == "CONDITION" and not s["negated"], _code),
        ("discharge-summary", lambda s: s["label"] == "AGE", _born),
        ("chest-xray", lambda s: s["label"] == "SEX", _gender),
        ("chest-xray", lambda s: s.get("code") == "J93.9" and s["negated"], _findings),
        ("pathology", lambda s: s.get("value") == "positive", _answer),
        ("tumour-expression", lambda s: s.get("unit") == "{log2_RSEM}" and s["label"] == "VALUE", _quantity),
    ],
)
def test_a_changed_fact_is_noticed(
    kind: str, fits: Callable[[Row], bool], change: Callable[[Row], None]
) -> None:
    record, note, place = first(kind, fits)
    resources = copy.deepcopy(record.facts["resources"])
    assert list(contradictions(note, Case(resources))) == []
    change(Case(resources).by_name[note["spans"][place]["reference"]])
    found = list(contradictions(note, Case(resources)))
    assert any(repr(note["spans"][place]["text"]) in line for line in found)
    changed = Record({}, {**record.facts, "resources": resources})
    assert "notes-state-the-record" in {rule for rule, _ in Records().breaches(changed)}


# -- hands


def test_the_same_seed_gives_the_same_notes_and_another_other_words() -> None:
    profiles = tuple(profile for profile, _ in cohort("icu")[:6])
    assert [r.facts["notes"] for r in draw(profiles)] == [r.facts["notes"] for _, r in cohort("icu")[:6]]
    other = [n["text"] for r in draw(profiles, run=RUN + 1) for n in r.facts["notes"]]
    assert not set(other) & {n["text"] for _, r in cohort("icu")[:6] for n in r.facts["notes"]}


def test_notes_of_a_kind_are_not_alike() -> None:
    for kind, distinct in (
        ("chest-xray", 0.7),
        ("ecg", 0.6),
        ("discharge-summary", 0.95),
        ("pathology", 0.8),
    ):
        masked = [outside(note) for *_, note in texts(kind)]
        assert len(set(masked)) > distinct * len(masked), kind
    orders = {
        tuple(re.findall(r"(?m)^([A-Z][A-Za-z -]+):?$", n["text"])) for *_, n in texts("discharge-summary")
    }
    assert len(orders) > 30


def test_an_author_keeps_one_way_to_write_dates() -> None:
    shapes: dict[str, set[str]] = {}
    for _, record in everybody():
        for note in record.facts["notes"]:
            for span in note["spans"]:
                if span["label"] == "DATE" and len(span["text"]) > 6 and "day" not in span["text"]:
                    shape = re.sub(r"[A-Z][a-z]{2}\b", "Mon", re.sub(r"\d+", "9", span["text"]))
                    shapes.setdefault(note["meta"]["author"], set()).add(
                        re.sub(r"[A-Z][a-z]{3,}", "Month", shape)
                    )
    assert len(shapes) > 60
    assert max(len(own - {"9 Mon 9", "Mon 9, 9"}) for own in shapes.values()) <= 1  # May is short and long


@pytest.mark.parametrize("form", list(DATES))
def test_dates_are_read_back(form: str) -> None:
    assert DATES[form](date(2024, 3, 5)) == form
    for day in (date(2023, 12, 31), date(2024, 5, 6)):
        assert read_date(DATES[form](day), day) == {day.isoformat()}


def test_an_author_is_one_hand_of_many() -> None:
    assert author("cardiology", 3).name == "cardiology-03"
    hands = {(a.heads, a.bullet, a.padded, a.brevity) for a in (author("medicine", n) for n in range(40))}
    assert len(hands) > 20


# -- what is known decides what is written


def test_without_a_calendar_there_are_reports_alone() -> None:
    bare = PatientProfile("P-1")
    facts: dict[str, Facts] = {
        "signals": {"heart_rate": 70.0, "rhythm": "sinus"},
        "imaging": {
            "findings": [],
            "view": None,
            **{f"{p}_uid": uid_for(1, p) for p in ("study", "series", "instance")},
        },
    }
    batch = Batch((bare,), np.zeros((1, 0), np.float32), (1,), (facts,))
    (record,) = Records().generator(()).sample(batch)
    assert [n["meta"]["kind"] for n in record.facts["notes"]] == ["chest-xray", "ecg"]
    for note in record.facts["notes"]:
        assert note["meta"]["date"] is None
        assert list(contradictions(note, Case(record.facts["resources"]))) == []
        assert not {"DATE", "AGE", "SEX"} & {span["label"] for span in note["spans"]}


def test_a_ct_report_says_that_it_is_one() -> None:
    profile = cohort("general_ward")[0][0]
    image = {
        "findings": [],
        "view": None,
        "body_part": "ABDOMEN",
        "iod": "CT",
        "slices": 12,
        "slice_spacing_mm": 3.0,
    }
    facts: dict[str, Facts] = {
        "imaging": image | {f"{p}_uid": uid_for(1, p) for p in ("study", "series", "instance")}
    }
    for seed in range(8):
        batch = Batch((profile,), np.zeros((1, 0), np.float32), (seed,), (facts,))
        (record,) = Records().generator(()).sample(batch)
        note = next(n for n in record.facts["notes"] if n["meta"]["kind"] == "imaging")
        assert re.search(r"CT|computed tomography", note["text"], re.IGNORECASE)
        assert "12" in note["text"]
        assert "abdomen" in note["text"].lower()
        assert "lung" not in note["text"].lower()
        assert list(contradictions(note, Case(record.facts["resources"]))) == []


def test_an_outpatient_has_a_visit_note() -> None:
    kinds = Counter(note["meta"]["kind"] for _, record in everybody() for note in record.facts["notes"])
    assert set(kinds) == set(NOTE_KINDS) - {"imaging"}  # of chests alone
    for _, record, note in texts("visit-note"):
        visit = Case(record.facts["resources"]).by_name[note["meta"]["encounter"]]
        assert visit["class"]["code"] == "AMB"


def test_a_stay_that_ends_in_death_says_so() -> None:
    shock = {"systolic": 78.0, "diastolic": 41.0, "lactate": 9.0}
    septic = tuple(p.but(conditions={"A41.9": True}, measurements=shock) for p, _ in cohort("icu")[:24])
    dead = 0
    for record in draw(septic):
        case = Case(record.facts["resources"])
        for note in record.facts["notes"]:
            assert list(contradictions(note, case)) == []
            if note["meta"]["kind"] == "discharge-summary":
                end = case.by_name[note["meta"]["encounter"]]["period"]["end"]
                died = case.patient.get("deceasedDateTime") == end
                assert bool(re.search(r"(?i)\bdied|date of death", note["text"])) == died
                assert not (died and re.search(r"(?i)discharge medication|follow-up", note["text"]))
                dead += died
    assert dead > 1


# -- FHIR, files, typing errors


def test_fhir_carries_the_text() -> None:
    for _, record in everybody():
        held = {f"{r['resourceType']}/{r['id']}": r for r in record.facts["resources"]}
        assert len({n["meta"]["reference"] for n in record.facts["notes"]}) == len(record.facts["notes"])
        for note in record.facts["notes"]:
            resource = held[note["meta"]["reference"]]
            form = resource.get("presentedForm") or [part["attachment"] for part in resource["content"]]
            assert base64.b64decode(form[0]["data"]).decode() == note["text"]
            assert form[0]["contentType"] == "text/plain; charset=utf-8"
            assert "synthetic" in form[0]["title"]
            assert note["meta"]["synthetic"] is True


def test_a_line_gives_the_note_back() -> None:
    for _, record in cohort("icu")[:5]:
        for row in record.facts["notes"]:
            assert Note.from_dict(json.loads(json.dumps(row))).to_dict() == row


def notes_of(record: Record) -> list[Note]:
    return [Note.from_dict(row) for row in record.facts["notes"]]


def test_typing_errors_keep_the_marks_on_their_words() -> None:
    for _, record in cohort("general_ward")[:20]:
        for note in notes_of(record):
            assert corrupted_note(note, 0.0, 3) == note
            typed = corrupted_note(note, 1.0, 3)
            assert re.findall(r"\d+", typed.text) == re.findall(r"\d+", note.text)
            assert len(typed.spans) == len(note.spans)
            for span, before in zip(typed.spans, note.spans, strict=True):
                assert typed.text[span["start"] : span["end"]] == span["text"]
                assert abs(len(span["text"]) - len(before["text"])) <= len(before["text"].split())
                kept = {k: v for k, v in span.items() if k not in ("start", "end", "text")}
                assert kept == {k: v for k, v in before.items() if k not in ("start", "end", "text")}
            bare, was = (outside(n.to_dict()).split() for n in (typed, note))
            assert len(bare) == len(was)  # no word is lost or joined


def test_more_mess_more_typing_errors() -> None:
    shares = []
    for dial in (0.1, 0.5, 1.0):
        pairs = [(n, corrupted_note(n, dial, 3)) for _, r in cohort("icu")[:20] for n in notes_of(r)]
        struck = sum(a != b for n, m in pairs for a, b in zip(n.text.split(), m.text.split(), strict=True))
        shares.append(struck / sum(len(n.text.split()) for n, _ in pairs))
    assert 0 < shares[0] < shares[1] < shares[2] < 0.05


def on_disk(folder: Path, options: Row) -> Path:
    """Twelve patients of intensive care as a cohort's files."""
    profiles = tuple(profile for profile, _ in cohort("icu")[:12])
    (folder / "piece").mkdir(parents=True)
    modality = Records(options)
    modality.export(draw(profiles, options), profiles, folder / "piece")
    modality.assemble([folder / "piece"], folder)
    return folder


def test_the_clean_truth_is_beside_the_typing_errors(tmp_path: Path) -> None:
    folder = on_disk(tmp_path, {"corruption": 1.0})
    clean = [n for _, r in cohort("icu")[:12] for n in r.facts["notes"]]
    for kind in {n["meta"]["kind"] for n in clean}:
        true = [
            json.loads(line) for line in (folder / "notes_truth" / f"{kind}.jsonl").read_text().splitlines()
        ]
        typed = [json.loads(line) for line in (folder / "notes" / f"{kind}.jsonl").read_text().splitlines()]
        assert true == [n for n in clean if n["meta"]["kind"] == kind]
        assert [n["meta"] for n in typed] == [n["meta"] for n in true]
        assert typed != true
    delivered, truth = (
        (folder / place / "DocumentReference.ndjson").read_text().splitlines()
        for place in ("fhir", "fhir_truth")
    )
    assert delivered != truth
    assert list(violations(folder)) == []


def said(found: list[Assertion], source: str) -> dict[str, str]:
    return {assertion.subject: str(assertion) for assertion in found if assertion.source == source}


def test_assertions_are_read_from_the_words(tmp_path: Path) -> None:
    folder = on_disk(tmp_path, {})
    ids = [profile.patient_id for profile, _ in cohort("icu")[:12]]
    found = Records().assertions(folder, ids)
    for profile, _ in cohort("icu")[:12]:
        facts, assertions = facts_of(profile), found[profile.patient_id]
        if not facts:
            continue
        assert float(said(assertions, "text of the ECG report")["heart rate"]) == round(
            facts["signals"]["heart_rate"]
        )
        assert said(assertions, "text of the ECG report")["rhythm"] == facts["signals"]["rhythm"]
        radiograph = said(assertions, "text of the X-ray report")
        assert radiograph["chest findings"] == (", ".join(sorted(facts["imaging"]["findings"])) or "none")
        assert radiograph.get("X-ray view", profile.traits["chest_view"]) == profile.traits["chest_view"]
        stay = said(assertions, "discharge summary")
        assert stay.get("sex", profile.sex) == profile.sex
        ages = [c for c in assertions if c.subject == "age"]
        assert all(a.agrees(b) for a in ages for b in ages)
    assert list(violations(folder)) == []


def test_a_forged_report_is_a_fault(tmp_path: Path) -> None:
    folder = on_disk(tmp_path, {})
    path = folder / "notes" / "ecg.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    place = next(i for i, s in enumerate(rows[0]["spans"]) if s["label"] == "VALUE")
    rows[0] = reworded(rows[0], place, "199")
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    patient = rows[0]["meta"]["patient"]
    assertions = [c for c in Records().assertions(folder, [patient])[patient] if c.subject == "heart rate"]
    assert not all(a.agrees(b) for a in assertions for b in assertions)
    assert [patient] == sorted({owner for owner, _ in violations(folder)})


def test_a_note_with_other_words_is_another_note() -> None:
    note = notes_of(cohort("icu")[0][1])[0]
    assert note.but("x", []) == replace(note, text="x", spans=())
