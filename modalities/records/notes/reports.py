"""Reports of the ECG, the biopsy and the tumour's expression, each from its own facts."""

from ....core.fields import ICD10, LOINC, SNOMED
from ....core.instance_name import LABEL
from ....core.modality import Facts
from ..codes import HGNC
from ..data import GENE_UNIT, GENES, RHYTHMS, SUBTYPES
from ..formats.fhir import Writer
from ..simulation.chart import Report, Visit
from ..studies import RECEPTORS, ecg_time, is_paced, keyed
from .note_writer import NoteWriter
from .text import Mention, Note, Part, Parts, capital, enumerated

_ON_THE_TRACE = (  # known conditions that a reader of the trace is told
    "left_bundle_branch_block", "right_bundle_branch_block", "atrial_premature_beats", "ventricular_premature_beats",
    "pacemaker", "old_infarction",
)  # fmt: skip
FAST, SLOW = 100, 60  # /min, of an ECG's words


def ecg(writer: Writer, facts: Facts, seed: int) -> Note:
    """The report of a trace: the heart rate and rhythm of that trace, and what they make of each other."""
    key = keyed("report-ecg", facts)
    s = NoteWriter(writer, "ecg", "cardiology", keyed("ecg", facts), seed)
    at, visit = ecg_time(writer, facts), writer.chart.index_visit
    report = s.reference("DiagnosticReport", key)
    code = s.codes.procedures["ecg"].code
    title = "title_of_fewer_leads" if "leads" in facts else "title"
    parts = [*capital(s.usually(title, Mention("", "PROCEDURE", code, SNOMED, report))), "\n"]
    parts += s.dated(at, report)
    reason = visit.reason if visit.reason in s.chart.present(at) else None
    who = s.who(at)
    why = s.say("indication", who=who, reason=s.condition(reason)) if reason else s.say("routine", who=who)
    parts += s.section("indication", capital(why))
    conduction = [[s.condition(name)] for name in _ON_THE_TRACE if name in s.chart.present(at)]
    if conduction:
        words = s.say("history", list=enumerated(conduction))
        parts += s.section("history", capital(words))
    paced = is_paced(facts) and "pacemaker" in s.chart.present(at)
    measured, read = _trace(s, facts, report, paced)
    if measured:
        parts += s.section("measurements", measured)
    parts += s.section("interpretation", s.sentences(read))
    return s.note("ecg", ("DiagnosticReport", key), visit, writer.time(at), parts)


def heart_rate(s: NoteWriter, facts: Facts) -> tuple[Mention, Parts]:
    """The rate of a trace in whole beats, and its unit."""
    entry = s.codes.observations["ecg_heart_rate"]
    reference = s.reference("Observation", keyed("ecg-heart-rate", facts))
    exact = entry.rounded(float(facts["heart_rate"]))
    value = Mention(f"{exact:.0f}", "VALUE", entry.code, LOINC, reference, value=exact, unit=entry.unit)
    return value, s.unit(entry.unit, reference, "")


def _trace(s: NoteWriter, facts: Facts, report: str, paced: bool) -> tuple[Parts, list[Parts]]:
    """What was measured, and the sentences of the reading; a pacemaker's rhythm comes before that of the atria."""
    rate, rhythm = facts.get("heart_rate"), facts.get("rhythm")
    measured: Parts = []
    speed = "normal"
    if rate is not None:
        value, unit = heart_rate(s, facts)
        lab = s.lab("ecg_heart_rate", str(value.reference))
        measured = capital(s.say("measured", lab=lab, value=value, unit=unit))
        if not paced:
            speed = "fast" if int(value.surface) > FAST else "slow" if int(value.surface) < SLOW else "normal"
    if (beats := facts.get("beats")) is not None and s.author.habit(2, "beats"):
        counted = Mention(str(beats), "VALUE", reference=report, value=int(beats))
        measured += [" "] * bool(measured) + s.say("beats", beats=counted)
    read: list[Parts] = []
    if paced:
        speed = "paced"
        read.append(s.say("paced", s.condition("pacemaker")._replace(label="FINDING")))
    if rhythm is not None:
        answer = s.codes.answers[RHYTHMS[rhythm]]
        finding = Mention(
            "",
            "FINDING",
            answer.code,
            SNOMED,
            s.reference("Observation", keyed("ecg-rhythm", facts)),
            value=rhythm,
        )
        slots: dict[str, Part | Parts] = {}
        if speed in ("fast", "slow"):
            name = {"fast": "tachycardia", "slow": "bradycardia"}[speed]
            icd = s.codes.conditions[name].code if rhythm == "sinus" else None
            reference = s.reference("Observation", keyed("ecg-heart-rate", facts))
            slots["sign"] = Mention(name, "FINDING", icd, ICD10 if icd else None, reference)
        read.append(capital(s.say(f"{RHYTHMS[rhythm]}/{speed}", finding, **slots)))
        if rhythm == "sinus" and "atrial_fibrillation" not in s.chart.problems and s.chance(0.3):
            other = s.codes.answers["fibrillation"]
            read.append(s.say("not_af", finding._replace(code=other.code, negated=True, value=None)))
    known = s.profile.conditions.get("R94.31")
    if known:
        read.append(s.say("verdict/abnormal", s.condition("abnormal_ecg")))
    elif known is False and speed == "normal" and rhythm == "sinus":
        read.append(s.say("verdict/normal", Mention("", "NORMAL", "R94.31", ICD10, report, negated=True)))
    return measured, read or [["Rate as above."]]


def pathology(writer: Writer, report: Report, seed: int) -> Note:
    """The report of a biopsy: what the tumour is and its receptors as read on the chart."""
    s = NoteWriter(writer, "pathology", "pathology", "pathology", seed)
    reference = s.reference("DiagnosticReport", "report-pathology")
    parts = [*capital(s.usually("title")), "\n", *s.dated(report.at, reference)]
    taken = next(
        (p for p in reversed(s.chart.procedures) if p.name == "breast_biopsy" and p.at <= report.at), None
    )
    if taken is not None:
        mention = s.procedure(taken)
        date = s.date(taken.at, str(mention.reference))
        words = s.say("specimen/dated", procedure=mention, date=date)
        parts += s.section("specimen", capital(words))
    if s.author.habit(2, "history"):
        words = capital(s.say("history", who=s.who(report.at)))
        parts += s.section("history", words)
    name = "breast_cancer_woman" if s.chart.female else "breast_cancer_man"
    words = capital(s.say("diagnosis", s.condition(name)))
    parts += s.section("diagnosis", words)
    read = {r.name: r for r in s.chart.readings if r.key in report.results}
    lines = []
    for receptor in sorted(read, key=list(RECEPTORS).index):
        reading, place = read[receptor], s.reference("Observation", read[receptor].key)
        value = s.value(receptor, str(reading.value), place)
        lines.append(capital(s.usually("receptor", lab=s.lab(receptor, place), value=value)))
    parts += s.section("receptors", s.author.listed(lines))
    if (comment := _comment({n: str(r.value) for n, r in read.items()})) and s.chance(0.7):
        finding = Mention("", "FINDING", reference=reference)
        parts += s.section("comment", capital(s.say(f"comment/{comment}", finding)))
    return s.note(
        "pathology", ("DiagnosticReport", "report-pathology"), report.visit, writer.time(report.at), parts
    )


def _comment(receptors: dict[str, str]) -> str | None:
    """Which comment the receptors deserve."""
    if len(receptors) < len(RECEPTORS):
        return None
    hormone = "positive" in (receptors["estrogen_receptor"], receptors["progesterone_receptor"])
    her2 = receptors["her2"] == "positive"
    return {(True, True): "both", (True, False): "hormone", (False, True): "her2"}.get(
        (hormone, her2), "triple"
    )


def genomics(writer: Writer, facts: Facts, at: float, visit: Visit, seed: int) -> Note:
    """The report of a tumour's expression: PAM50 subtype and receptor genes."""
    key = keyed("report-tumour-expression", facts)
    s = NoteWriter(writer, "genomics", "genomics", keyed("tumour-expression", facts), seed)
    parts = [*capital(s.usually("title")), "\n"]
    parts += s.dated(at, s.reference("DiagnosticReport", key))
    present = s.chart.present(at)
    cancer = next((n for n in ("breast_cancer_woman", "breast_cancer_man") if n in present), None)
    who = s.who(at)
    why = s.say("history", who=who, reason=s.condition(cancer)) if cancer else s.say("plain", who=who)
    parts += s.section("history", capital(why))
    if s.author.habit(2, "method"):
        parts += s.section("method", s.say("method"))
    if (subtype := facts.get("pam50")) is not None:
        place = s.reference("Observation", keyed("pam50", facts))
        words = str(SUBTYPES.get(subtype, subtype))
        shown = str(subtype) if s.author.brevity > 0.5 and subtype in ("LumA", "LumB") else words
        lab = Mention(s.pick(("PAM50 subtype", "PAM50")), "LAB", reference=place)
        value = Mention(shown, "VALUE", reference=place, value=words)
        parts += s.section("result", capital(s.say("subtype", lab=lab, subtype=value)))
    levels = {gene: round(float(facts[gene]), 2) for gene in GENES if facts.get(gene) is not None}
    if levels:
        lines = [_gene(s, facts, gene, level) for gene, level in levels.items()]
        body = s.author.listed(lines) if s.author.habit(2, "lines") else [*enumerated(lines, ", "), "."]
        parts += s.section("genes", body)
    receptors = (
        ("ESR1", "estrogen_receptor"),
        ("ERBB2", "her2"),
    )  # of the plain record, which the course follows
    agreeing = [] if LABEL in facts else [(g, name) for g, name in receptors if g in levels]
    said = []
    for gene, name in agreeing:
        reading = next((r for r in s.chart.readings if r.name == name and r.at <= at), None)
        if reading is not None and s.chance(0.6):
            place = s.reference("Observation", reading.key)
            named, lab = _named(s, facts, gene), s.lab(name, place)
            said.append(s.say("agrees", gene=named, lab=lab, value=s.value(name, str(reading.value), place)))
    if said:
        parts += s.section("interpretation", s.sentences(said))
    return s.note("tumour-expression", ("DiagnosticReport", key), visit, writer.time(at), parts)


def _named(s: NoteWriter, facts: Facts, gene: str) -> Mention:
    return Mention(gene, "GENE", GENES[gene], HGNC, s.reference("Observation", keyed(f"gene-{gene}", facts)))


def _gene(s: NoteWriter, facts: Facts, gene: str, level: float) -> Parts:
    named = _named(s, facts, gene)
    shown = f"{level:.2f}" if s.author.padded else f"{level:g}"
    value = Mention(shown, "VALUE", named.code, HGNC, named.reference, value=level, unit=GENE_UNIT)
    return s.usually("gene", gene=named, value=value, unit=s.unit(GENE_UNIT, str(named.reference), ""))
