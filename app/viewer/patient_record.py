"""The health record as a readable chart: statements by section, each with the object of the patient that shows it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Resource = Mapping[str, Any]
Resources = Mapping[str, Sequence[Resource]]
UID = "urn:dicom:uid"
GENETICS = "GE"  # section of a report, HL7 table 0074
SECTIONS = {"laboratory": "labs", "vital-signs": "vitals"}
UNITS = {  # of UCUM, as they are printed
    "mm[Hg]": "mmHg", "Cel": "\N{DEGREE SIGN}C", "{INR}": "", "10*3/uL": "10\N{SUPERSCRIPT THREE}/\N{MICRO SIGN}L",
    "10*6/uL": "10\N{SUPERSCRIPT SIX}/\N{MICRO SIGN}L", "mL/min/{1.73_m2}": "mL/min/1.73 m\N{SUPERSCRIPT TWO}",
}  # fmt: skip
CHARTED = "-chart-"  # in ids of readings of the vitals chart, which the series show


def shown_by(resources: Resources, objects: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Reference of a resource -> key of the object that shows what it states, such as an ECG's heart rate -> the ECG.

    Studies are found by their UID, records of signals by their path, omics by the kind of report.
    """
    by_study: dict[str, str] = {}
    for one in objects:
        if one.get("study"):
            by_study.setdefault(one["study"], one["key"])
    found: dict[str, str] = {}
    for study in resources.get("ImagingStudy", ()):
        if key := _by_uid(study, by_study):
            found[f"ImagingStudy/{study['id']}"] = key
    for report in resources.get("DiagnosticReport", ()):
        key = _by_uid(report, by_study) or _omics_of(report, objects)
        if key:
            found[f"DiagnosticReport/{report['id']}"] = key
            found |= {str(result.get("reference")): key for result in report.get("result", ())}
    for document in resources.get("DocumentReference", ()):
        urls = {str(content.get("attachment", {}).get("url", "")) for content in document.get("content", ())}
        for one in objects:
            if one.get("file") in urls:
                found[f"DocumentReference/{document['id']}"] = one["key"]
    charts = [one["key"] for one in objects if one["kind"] == "series" and not one.get("instance")]
    if charts:
        found |= {
            f"Observation/{o['id']}": charts[0]
            for o in resources.get("Observation", ())
            if CHARTED in str(o["id"])
        }
    return found


def _by_uid(resource: Resource, by_study: Mapping[str, str]) -> str:
    for identifier in resource.get("identifier", ()):
        if identifier.get("system") == UID:
            return by_study.get(str(identifier.get("value", "")).removeprefix("urn:oid:"), "")
    return ""


def _omics_of(report: Resource, objects: Sequence[Mapping[str, Any]]) -> str:
    sections = {coding.get("code") for concept in report.get("category", ()) for coding in _codings(concept)}
    if GENETICS not in sections:
        return ""
    stores = [one for one in objects if one["kind"] == "omics"]
    plain = [one for one in stores if not one.get("instance")]
    own = [one for one in stores if one.get("instance") and str(report["id"]).endswith(f"-{one['instance']}")]
    found = own or plain
    return str(next((one["key"] for one in found if one["assay"] == "rna"), found[0]["key"] if found else ""))


def chart(resources: Resources, links: Mapping[str, str]) -> dict[str, Any]:
    """The chart in plain JSON types: who the patient is, then lists of statements by section.

    Times are ISO as the record has them. `link` of a statement is the key of the object that shows it, or empty.
    """

    def say(kind: str, resource: Resource, /, **more: Any) -> dict[str, Any]:
        reference = f"{kind}/{resource['id']}"
        return {"reference": reference, "link": links.get(reference, ""), **more}

    observations = resources.get("Observation", ())
    plain = [o for o in observations if CHARTED not in str(o["id"])]
    return {
        "patient": _patient(next(iter(resources.get("Patient", ())), {})),
        "problems": [
            say("Condition", c, text=_text(c.get("code")), code=_code(c.get("code")), onset=_when(c, "onset"),
                end=_when(c, "abatement"), status=_code(c.get("clinicalStatus")), recorded=c.get("recordedDate", ""),
                listed=_code(next(iter(c.get("category", ())), None)))
            for c in resources.get("Condition", ())
        ],
        "allergies": [
            say("AllergyIntolerance", a, text=_text(a.get("code")), criticality=a.get("criticality", ""),
                reaction=", ".join(_text(m) for r in a.get("reaction", ()) for m in r.get("manifestation", ())))
            for a in resources.get("AllergyIntolerance", ())
        ],
        "medications": [_medication(say("MedicationRequest", m), m) for m in resources.get("MedicationRequest", ())],
        "administrations": [
            say("MedicationAdministration", m, text=_text(m.get("medicationCodeableConcept")),
                time=_when(m, "effective"), dose=_quantity(m.get("dosage", {}).get("dose")))
            for m in resources.get("MedicationAdministration", ())
        ],
        "encounters": [
            say("Encounter", e, text=_text(next(iter(e.get("type", ())), None)),
                kind=e.get("class", {}).get("display", ""),
                start=e.get("period", {}).get("start", ""), end=e.get("period", {}).get("end", ""),
                reason=", ".join(_text(r) for r in e.get("reasonCode", ())),
                place=", ".join(_place(p.get("location", {}).get("reference", "")) for p in e.get("location", ())))
            for e in sorted(resources.get("Encounter", ()), key=lambda e: e.get("period", {}).get("start", ""))
        ],
        "labs": _groups(plain, "laboratory", say),
        "vitals": _groups(plain, "vital-signs", say),
        "others": _groups(plain, "", say),
        "charted": len(observations) - len(plain),
        "reports": [
            say("DiagnosticReport", r, text=_text(r.get("code")), time=_when(r, "effective"),
                conclusion=r.get("conclusion", ""),
                results=[str(one.get("reference")) for one in r.get("result", ())])
            for r in sorted(resources.get("DiagnosticReport", ()), key=lambda r: _when(r, "effective"))
        ],
        "procedures": [
            say("Procedure", p, text=_text(p.get("code")), time=_when(p, "performed"))
            for p in sorted(resources.get("Procedure", ()), key=lambda p: _when(p, "performed"))
        ],
        "samples": [
            say("Specimen", s, text=_text(s.get("type")), time=s.get("collection", {}).get("collectedDateTime", ""))
            for s in resources.get("Specimen", ())
        ],
        "immunizations": [
            say("Immunization", i, text=_text(i.get("vaccineCode")), time=_when(i, "occurrence"))
            for i in resources.get("Immunization", ())
        ],
        "goals": [say("Goal", g, text=_text(g.get("description"))) for g in resources.get("Goal", ())],
        "devices": [
            say("Device", d, text=_text(d.get("type")) or _text(d.get("code"))) for d in resources.get("Device", ())
        ],
        "claims": [
            say("Claim", c, text=", ".join(_text(i.get("productOrService")) for i in c.get("item", ())),
                time=c.get("billablePeriod", {}).get("start", c.get("created", "")),
                payer=_place(c.get("insurer", {}).get("reference", "")))
            for c in resources.get("Claim", ())
        ],
        "counts": {kind: len(own) for kind, own in sorted(resources.items())},
    }  # fmt: skip


def _patient(patient: Resource) -> dict[str, Any]:
    name: Resource = next(iter(patient.get("name", ())), {})
    stated = {
        str(extension.get("url", "")).rpartition("us-core-")[2]: part.get("valueString")
        for extension in patient.get("extension", ())
        for part in extension.get("extension", ())
        if part.get("url") == "text"
    }
    return {
        "name": " ".join([*name.get("given", ()), name.get("family", "")]).strip(),
        "born": patient.get("birthDate", ""),
        "died": patient.get("deceasedDateTime", ""),
        "gender": patient.get("gender", ""),
        **{key: stated[key] for key in ("race", "ethnicity") if stated.get(key)},
    }


def _medication(said: dict[str, Any], request: Resource) -> dict[str, Any]:
    dose: Resource = next(iter(request.get("dosageInstruction", ())), {})
    bounds = dose.get("timing", {}).get("repeat", {}).get("boundsPeriod", {})
    return {
        **said,
        "text": _text(request.get("medicationCodeableConcept")),
        "dose": dose.get("text", ""),
        "status": request.get("status", ""),
        "start": bounds.get("start", request.get("authoredOn", "")),
        "end": bounds.get("end", ""),
        "reasons": [str(reason.get("reference")) for reason in request.get("reasonReference", ())],
    }


def _groups(observations: Iterable[Resource], section: str, say: Any) -> list[dict[str, Any]]:
    """Observations of a section by what was measured, parts of panels by themselves, values in order of time."""
    groups: dict[str, dict[str, Any]] = {}
    for one in observations:
        own = _code(next(iter(one.get("category", ())), None))
        if (own if own in SECTIONS else "") != section:
            continue
        for part in [{**one, **part} for part in one.get("component", ())] or [dict(one)]:
            name = _text(part.get("code")) or _code(part.get("code"))
            group = groups.setdefault(
                name, {"text": name, "code": _code(part.get("code")), **_range(part), "values": []}
            )
            value = part.get("valueQuantity")
            flags = [_code(concept) for concept in part.get("interpretation", ())]
            group["values"].append(
                say(
                    "Observation",
                    one,
                    time=_when(one, "effective"),
                    value=value.get("value") if value else None,
                    text=_quantity(value) or _text(part.get("valueCodeableConcept")) or "not known",
                    flag=next((flag for flag in flags if flag and flag != "N"), ""),
                )
            )
            if value and not group.get("unit"):
                group["unit"] = _unit(value)
    for group in groups.values():
        group["values"].sort(key=lambda value: value["time"])
    return list(groups.values())


def _range(part: Resource) -> dict[str, Any]:
    """The normal range: ends that are known, and its text."""
    found: Resource = next(iter(part.get("referenceRange", ())), {})
    low, high = found.get("low", {}).get("value"), found.get("high", {}).get("value")
    said = found.get("text", "")
    if low is not None or high is not None:
        said = (
            f"{low:g} to {high:g}"
            if None not in (low, high)
            else f"above {low:g}"
            if high is None
            else f"below {high:g}"
        )
    return {"low": low, "high": high, "range": said}  # fmt: skip


def _place(reference: Any) -> str:
    """What the hospital and its payers are called: by their ids, which all cohorts share."""
    return str(reference).partition("/")[2].replace("payer-", "").replace("-", " ")


def _when(resource: Resource, stem: str) -> str:
    period = resource.get(f"{stem}Period") or {}
    return str(
        resource.get(f"{stem}DateTime")
        or period.get("start")
        or resource.get(f"{stem}Date")
        or resource.get("issued", "")
    )


def _codings(concept: Any) -> Sequence[Resource]:
    return concept.get("coding", ()) if isinstance(concept, Mapping) else ()


def _code(concept: Any) -> str:
    return str(next((coding.get("code", "") for coding in _codings(concept)), ""))


def _text(concept: Any) -> str:
    if not isinstance(concept, Mapping):
        return ""
    display = next((coding.get("display", "") for coding in _codings(concept)), "")
    return str(concept.get("text") or display or _code(concept))


def _unit(value: Resource) -> str:
    unit = str(value.get("unit") or "")
    return UNITS.get(unit, unit)


def _quantity(value: Any) -> str:
    if not isinstance(value, Mapping) or "value" not in value:
        return ""
    return f"{value['value']} {_unit(value)}".strip()


def pieces(note: Mapping[str, Any], links: Mapping[str, str]) -> dict[str, Any]:
    """A note cut at its marks: pieces of text in order, those marked with label, code, value and the object shown."""
    text, meta = str(note.get("text", "")), note.get("meta", {})
    parts: list[dict[str, Any]] = []
    at = 0
    for span in sorted(note.get("spans", ()), key=lambda span: span["start"]):
        if span["start"] < at or span["end"] > len(text):
            continue  # of a foreign note: marks that overlap or lie outside
        if span["start"] > at:
            parts.append({"text": text[at : span["start"]]})
        kept = {
            key: span[key]
            for key in ("label", "negated", "code", "reference", "value", "unit")
            if key in span
        }
        parts.append(
            {
                "text": text[span["start"] : span["end"]],
                **kept,
                "link": links.get(span.get("reference", ""), ""),
            }
        )
        at = span["end"]
    if at < len(text):
        parts.append({"text": text[at:]})
    return {
        "kind": meta.get("kind", "note"), "date": meta.get("date", ""), "author": meta.get("author", ""),
        "reference": meta.get("reference", ""), "link": links.get(meta.get("reference", ""), ""), "parts": parts,
    }  # fmt: skip
