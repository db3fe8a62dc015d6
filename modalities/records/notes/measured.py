"""Sections of a summary on what was measured: vital signs, laboratory, studies; again at the end."""

from ....core.fields import ICD10, SNOMED
from ..data import RHYTHMS
from ..simulation.chart import Reading
from ..studies import facts_of, is_chest_xray, is_paced, keyed
from .episode import Episode
from .phrases import signs_of
from .reports import heart_rate
from .text import Mention, Parts, capital, enumerated

_VITALS = ("temperature", "heart_rate", "blood_pressure", "respiration", "oxygen_saturation")
_CALM = {  # within which a patient leaves "stable"
    "temperature": (35.5, 37.9), "heart_rate": (50, 100), "systolic": (95, 165), "diastolic": (50, 100),
    "respiration": (10, 22), "oxygen_saturation": (92, 100),
}  # fmt: skip


def examination(e: Episode) -> Parts:
    """The first vital signs."""
    read = [e.early[name] for name in (*_VITALS, "height", "weight") if name in e.early]
    return [*capital(_vitals(e, read)), "."] if read else []


def _vitals(e: Episode, readings: list[Reading]) -> Parts:
    return enumerated([e.s.measured(r, e.s.author.says_units) for r in readings], ", ")


def labs(e: Episode) -> Parts:
    """The first laboratory values."""
    s = e.s
    read = [
        r
        for r in e.early.values()
        if s.codes.observations[r.name].group == "laboratory" and isinstance(r.value, int | float)
    ]
    if not read:
        return []
    items = [s.measured(r, s.author.says_units or r.name in ("egfr", "lactate")) for r in read]
    listed = s.author.habit(2, "labs listed")
    out = s.author.listed([capital(i) for i in items]) if listed else [*capital(enumerated(items, ", ")), "."]
    if shown := signs(e, adjectives=False):
        said = s.say("labs_said", signs_had=enumerated(shown))
        out += ["\n" if listed else " ", *capital(said)]
    return out


def signs(e: Episode, adjectives: bool) -> list[Parts]:
    """What the first readings show, as adjectives of the patient or as nouns."""
    out: list[Parts] = []
    for reading in e.early.values():
        value = reading.value
        for name, number in (value if isinstance(value, dict) else {reading.name: value}).items():
            for sign in signs_of(name):
                if bool(sign.adjectives) is not adjectives or isinstance(number, str):
                    continue
                if sign.shown(number, e.chart.female):
                    words = e.s.pick(sign.adjectives if adjectives else sign.nouns)
                    place = e.s.reference("Observation", reading.key)
                    out.append([Mention(words, "FINDING", sign.code, ICD10, place)])
    return out


def studies(e: Episode) -> Parts:
    """The ECG, the radiograph and the echocardiogram of this visit."""
    s = e.s
    lines = [line for line in (_ecg(e), _image(e), _echo(e)) if line]
    return s.sentences([capital(line) for line in lines])


def _ecg(e: Episode) -> Parts:
    s, facts = e.s, next((own for own in facts_of(e.facts, "signals") if "heart_rate" in own), {})
    if facts.get("heart_rate") is None:
        return []
    value, unit = heart_rate(s, facts)
    report = s.reference("DiagnosticReport", keyed("report-ecg", facts))
    words = s.word("procedures", "ecg")
    words = words.replace("12-lead ", "") if "leads" in facts else words
    ecg = Mention(words, "PROCEDURE", s.codes.procedures["ecg"].code, SNOMED, report)
    rate: Parts = [value, " ", *unit]
    if (rhythm := facts.get("rhythm")) is None:
        return s.say("studies/rate_only", ecg=ecg, rate=rate)
    answer = s.codes.answers[RHYTHMS[rhythm]]
    place = s.reference("Observation", keyed("ecg-rhythm", facts))
    said = "sinus rhythm" if rhythm == "sinus" else s.word("conditions", rhythm.replace(" ", "_"))
    mention = Mention(said, "FINDING", answer.code, SNOMED, place, value=rhythm)
    if is_paced(facts) and "pacemaker" in e.chart.problems:
        pacing = s.condition("pacemaker")._replace(surface="ventricular pacing", label="FINDING")
        return s.say("studies/ecg_paced", ecg=ecg, pacing=pacing, rhythm=mention, rate=rate)
    return s.say("studies/ecg", ecg=ecg, rhythm=mention, rate=rate)


def _image(e: Episode) -> Parts:
    s, images = e.s, facts_of(e.facts, "imaging")
    facts = next((own for own in images if "study_uid" in own and is_chest_xray(own)), None)
    if facts is None:
        return []
    words = s.word("procedures", "chest_xray")
    code, place = (
        s.codes.procedures["chest_xray"].code,
        s.reference("ImagingStudy", keyed("chest-xray", facts)),
    )
    study = Mention(words, "PROCEDURE", code, SNOMED, place)
    by_code = {entry.code: name for name, entry in s.codes.conditions.items()}
    named = [by_code[code] for code in facts.get("findings", ()) if by_code.get(code) in e.chart.problems]
    if not named:
        return s.say("studies/image_normal", study=study) if not facts.get("findings") else []
    found = [[s.condition(name)._replace(label="FINDING")] for name in named]
    return s.say("studies/image", study=study, list=enumerated(found))


def _echo(e: Episode) -> Parts:
    s = e.s
    reading = next((r for r in e.readings if r.name == "ejection_fraction"), None)
    done = next((p for p in e.chart.procedures if p.visit is e.visit and p.name == "echocardiography"), None)
    if reading is None or done is None or not isinstance(reading.value, int | float):
        return []
    place = s.reference("Observation", reading.key)
    value = s.value(reading.name, reading.value, place)
    unit = s.unit(s.codes.observations[reading.name].unit, place)
    return s.say(
        "studies/ejection", lab=s.lab(reading.name, place), value=value, unit=unit, echo=s.procedure(done)
    )


def condition(e: Episode) -> Parts:
    """The last vital signs, where they were taken again."""
    if e.dead or not e.visit.is_stay:
        return []
    last = {r.name: r for r in e.readings if r.at > e.visit.start + 0.5 and r.name in _VITALS}
    read = [last[name] for name in _VITALS if name in last]
    if len(read) < 2:
        return []
    key = "condition/calm" if all(_calm(r) for r in read) else "condition/plain"
    return capital(e.s.say(key, vitals=_vitals(e, read)))


def _calm(reading: Reading) -> bool:
    values = reading.value if isinstance(reading.value, dict) else {reading.name: reading.value}
    return all(
        isinstance(value, int | float) and low <= value <= high
        for name, value in values.items()
        for low, high in (_CALM[name],)
    )
