"""The report of an image: what it is, its view, the findings it was given, and some that it was not."""

from ....core.assertions import CHEST_FINDINGS
from ....core.fields import ICD10, SNOMED
from ....core.modality import Facts
from ..formats.fhir import Writer
from ..simulation.chart import Visit
from ..studies import image_kind, is_chest_xray, keyed, slices_of, study_time
from .note_writer import NoteWriter
from .text import Mention, Note, Part, Parts, capital, enumerated

# A finding is not denied beside one that looks like it.
_ALIKE = {"R91.8": {"J18.9", "J81.0", "J84.10", "J98.11", "R91.1"}, "J18.9": {"R91.8"}, "R91.1": {"R91.8"}}
_LUNGS = {"J18.9", "J43.9", "J81.0", "J84.10", "J98.11", "R91.1", "R91.8"}
_OFTEN_DENIED = {"J90": 0.85, "J93.9": 0.85, "J18.9": 0.6, "J81.0": 0.5, "R91.1": 0.3}
_RARELY = 0.12  # the others


def radiology(writer: Writer, facts: Facts, seed: int) -> Note:
    """The report of an image: what it is, its view, the findings it was given, and some that it was not."""
    kind = image_kind(facts)
    key = keyed(kind, facts)
    s = NoteWriter(writer, "radiology", "radiology", key, seed)
    at, visit = study_time(writer, facts), writer.chart.index_visit
    report, study = (
        s.reference("DiagnosticReport", f"report-{key}"),
        s.reference("ImagingStudy", key),
    )
    iod, view = facts.get("iod", "DX"), facts.get("view")
    radiograph = s.codes.procedures["chest_xray"] if is_chest_xray(facts) else None
    named = Mention(
        "", "PROCEDURE", radiograph.code if radiograph else None, SNOMED if radiograph else None, study
    )
    views: Part = Mention(view, "VIEW", reference=study, value=view) if view else ""
    if view and radiograph:
        title = s.say("study/view", named, view=views)
    else:
        body = str(facts.get("body_part", "chest")).lower()
        code = s.names.anatomy_code(body)
        device = "DX" if iod == "CR" else iod
        part = Mention(body, "ANATOMY", code, SNOMED if code else None, study)
        title = s.say(f"study/{device}", named, body=part) if body else s.say(f"alone/{device}", named)
    parts = s.section("exam", capital(title))
    parts += s.dated(at, study)
    parts += s.section("indication", _indication(s, at, visit, facts))
    if s.author.habit(2, "comparison"):
        parts += s.section("comparison", s.say("comparison"))
    said = _findings(s, facts, report, views if view == "AP" and radiograph else "")
    if (count := slices_of(facts)) > 1:
        number = Mention(str(count), "VALUE", reference=study, value=count)
        said = [*s.say("series", count=number), " ", *said]
    parts += s.section("findings", said)
    parts += s.section("impression", _impression(s, facts, report))
    return s.note(kind, ("DiagnosticReport", f"report-{key}"), visit, writer.time(at), parts)


def _indication(s: NoteWriter, at: float, visit: Visit, facts: Facts) -> Parts:
    """Who it is and what for: the reason of the visit, if it is on record."""
    who, which = s.who(at), "indication" if _shows_chest(facts) else "indication_elsewhere"
    if visit.reason is None or visit.reason not in s.chart.present(at):
        return capital(s.say(f"{which}/unknown", who=who))
    return capital(s.say(f"{which}/known", who=who, reason=s.condition(visit.reason)))


def _finding(s: NoteWriter, code: str, report: str, negated: bool = False) -> Mention:
    """A finding without words yet: a condition on record, or what the report alone says."""
    known = any(s.codes.conditions[name].code == code for name in s.chart.problems)
    reference = s.reference("Condition", f"condition-{code}") if known and not negated else report
    return Mention("", "FINDING", code, ICD10, reference, negated=negated)


def _shows_chest(facts: Facts) -> bool:
    return str(facts.get("body_part", "CHEST")) == "CHEST"


def _unassessed(facts: Facts) -> str:
    return f"impression/{'unassessed' if _shows_chest(facts) else 'elsewhere'}"


def _absent(s: NoteWriter, facts: Facts) -> list[str]:
    """Findings of a chest that were sought and are not there."""
    if not _shows_chest(facts):
        return []
    present = set(facts.get("findings", ()))
    known = s.profile.conditions
    return [code for code in CHEST_FINDINGS if code not in present and known.get(code) is False]


def _findings(s: NoteWriter, facts: Facts, report: str, bedside: Part) -> Parts:
    present, absent = list(facts.get("findings", ())), _absent(s, facts)
    said = [capital(s.say(f"present/{code}", _finding(s, code, report))) for code in present]
    s.rng.shuffle(said)
    denied = [
        code
        for code in absent
        if not _ALIKE.get(code, set()) & set(present) and s.chance(_OFTEN_DENIED.get(code, _RARELY))
    ]
    if bedside and s.chance(0.4):
        said.insert(0, capital(s.say("bedside", view=bedside)))
    if set(absent) >= _LUNGS and s.chance(0.6):
        clear = Mention("", "NORMAL", reference=report, negated=True)
        said.append(capital(s.say("clear", clear)))
        denied = [code for code in denied if code not in _LUNGS]
    if "I51.7" in absent and s.chance(0.8):
        said.insert(
            s.rng.randrange(len(said) + 1), capital(s.say("absent/I51.7", _finding(s, "I51.7", report, True)))
        )
    elif "I51.7" in present and bedside and s.chance(0.5):
        said.append(s.say("magnified", view=bedside))
    denied = [code for code in denied if code != "I51.7"]
    if "J90" in denied and s.chance(0.25):
        said.append(capital(s.say("absent/J90", _finding(s, "J90", report, True))))
        denied.remove("J90")
    said += _denied(s, denied, report)
    if not said:
        said = [s.say(_unassessed(facts))]
    return s.sentences(said)


def _denied(s: NoteWriter, codes: list[str], report: str) -> list[Parts]:
    """Findings that are not there, in one sentence or two."""
    s.rng.shuffle(codes)
    nouns = [
        [_finding(s, code, report, True)._replace(surface=s.pick(s.book[f"nouns/{code}"]).text)]
        for code in codes
    ]
    cut = s.rng.randrange(1, len(nouns)) if len(nouns) > 2 and s.chance(0.5) else len(nouns)
    groups = [group for group in (nouns[:cut], nouns[cut:]) if group]
    return [capital(s.say("none", list=enumerated(group, " or "))) for group in groups]


def _impression(s: NoteWriter, facts: Facts, report: str) -> Parts:
    present = list(facts.get("findings", ()))
    if not present:
        if len(_absent(s, facts)) < len(CHEST_FINDINGS):
            return s.say(_unassessed(facts))
        return s.say("impression/normal", Mention("", "NORMAL", reference=report, negated=True))
    items: list[Parts] = [
        [_finding(s, code, report)._replace(surface=s.pick(s.book[f"nouns/{code}"]).text)] for code in present
    ]
    advice = [s.say(f"advice/{code}") for code in present if f"advice/{code}" in s.book and s.chance(0.4)][:1]
    if len(items) > 1 and s.author.bullet:
        return s.author.listed([*(capital([*item, "."]) for item in items), *advice])
    words = s.say("impression/one" if len(items) == 1 else "impression/many", list=enumerated(items))
    return [*capital(words), *(part for sentence in advice for part in (" ", *sentence))]
