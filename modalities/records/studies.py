"""What the other modalities measured, stated: the image with its UIDs, the ECG, the tumour's expression."""

from collections.abc import Iterable, Mapping
from datetime import datetime, time, timedelta
from typing import Any

from ...core.body_parts import REGIONS
from ...core.dicom_patient import SEGMENTATIONS
from ...core.errors import InputError
from ...core.fields import ICD10, SHIPPED, SNOMED
from ...core.identity import mask_uids
from ...core.instance_name import LABEL, base_of, named, stem_of
from ...core.modality import Facts
from ...core.profile import slice_uid
from ...core.study import Study
from .codes import DICOM, HGNC, UCUM, codes
from .data import (
    ACCESSIONS,
    ANSWERS,
    DICOM_UID,
    EARLY,
    GENE_UNIT,
    GENES,
    HL7,
    MODALITIES,
    PACED,
    PAM50,
    REPORTS,
    RHYTHMS,
    SOP_CLASSES,
    SUBTYPE_CODES,
    SUBTYPES,
    Resource,
    concept,
)
from .formats.fhir import Writer
from .simulation.chart import INDEX_STARTS, Chart, Reading, Report, Visit
from .us_core.hospital import reference
from .us_core.lists import NCIT

_LAB = ("observation-lab",)
RECEPTORS = {
    "estrogen_receptor": "estrogen receptor",
    "progesterone_receptor": "progesterone receptor",
    "her2": "HER2",
}


def facts_of(facts: Mapping[str, Facts], modality: str) -> list[Facts]:
    """Facts of a patient's records of that modality: of the plain one first, then of its instances."""
    return [own for name, own in facts.items() if base_of(name) == modality]


def keyed(key: str, facts: Facts) -> str:
    """A resource's key, which says of which instance the record is: `report-imaging-skin`."""
    return f"{key}-{facts[LABEL]}" if facts.get(LABEL) else key


def unkeyed(resource: Resource, keys: Iterable[str] = REPORTS) -> tuple[str, str]:
    """Which of `keys`, and of which instance (empty: the plain one), a resource is; ("", "") of none."""
    patient = str(resource.get("subject", {}).get("reference", "")).removeprefix("Patient/")
    own = str(resource["id"]).removeprefix(f"{patient}-").removeprefix("report-")
    found = (key for key in keys if own == key or own.startswith(f"{key}-"))
    key = next(found, "")
    return key, own.removeprefix(key).removeprefix("-") if key else ""


def home_of(resource: Resource, modality: str) -> str:
    """Where the files are that a study or report is of, from the cohort's folder on: `imaging-skin/`, or nothing."""
    _, label = unkeyed(resource)
    return f"{stem_of(named(modality, label))}/" if label else ""


def is_chest_xray(facts: Facts) -> bool:
    """Whether an image is a plain X-ray of the chest; facts that do not name the part are of one."""
    return facts.get("iod", "DX") in ("DX", "CR") and facts.get("body_part", "CHEST") == "CHEST"


def image_kind(facts: Facts) -> str:
    """Which of the kinds of report, and key of its study, an image has."""
    return "chest-xray" if is_chest_xray(facts) else "imaging"


def image_title(facts: Facts) -> str:
    """What the image is, in the words of its card where it has any."""
    if is_chest_xray(facts):
        view = facts.get("view")
        return f"Frontal chest X-ray{f', {view} view' if view else ''}"
    noun, part = MODALITIES[facts.get("iod", "DX")], str(facts.get("body_part", "chest")).lower()
    return str(facts.get("title") or (f"{noun} of the {part}" if part else noun))


def _body_site(facts: Facts) -> Resource | None:
    """The body part as a coding: with a code where it is known, none where nobody says which part it is."""
    part = str(facts.get("body_part", "CHEST"))
    if part == "CHEST":
        thorax = codes().answers["thorax"]
        return {"system": SNOMED, "code": thorax.code, "display": thorax.display}
    if part in REGIONS:
        code, _, display = REGIONS[part]
        return {"system": SNOMED, "code": code, "display": display}
    return {"display": part.replace("_", " ").capitalize()} if part else None


def slices_of(facts: Facts) -> int:
    """How many images the series of an image has."""
    return int(facts.get("slices", 1))


def instance_uids(facts: Facts) -> list[str]:
    """UIDs of the images of the series, in order."""
    uids = (facts["series_uid"], facts["instance_uid"])
    return [slice_uid(*uids, place) for place in range(slices_of(facts))]


def study_time(writer: Writer, facts: Facts) -> float:
    """When the study began, in days from the index date; early in the visit without a calendar or a study."""
    study = Study.of(facts, writer.profile.index_date)
    return _days(writer, None if study is None else study.begins)


def ecg_time(writer: Writer, facts: Facts) -> float:
    """When the ECG's first sample was recorded, in days from the index date; as study_time() otherwise."""
    study = Study.of(facts, writer.profile.index_date)
    return _days(writer, None if study is None else study.taken)


def _days(writer: Writer, moment: datetime | None) -> float:
    day = writer.profile.index_date
    if day is None or moment is None:
        return INDEX_STARTS + 0.05
    return (moment - datetime.combine(day, time())).total_seconds() / 86400


def tumour_place(chart: Chart) -> tuple[float, Visit]:
    """When and at which visit the tumour's expression is reported: where a course says so, else at the index visit."""
    report = next((r for r in reversed(chart.reports) if r.kind == "tumour-expression"), None)
    return (INDEX_STARTS + 0.1, chart.index_visit) if report is None else (report.at, report.visit)


def identifiers(study: Study) -> dict[str, Any]:
    """The element that names a study: its DICOM UID and its accession number."""
    accession = {
        "type": concept(f"{HL7}/v2-0203", "ACSN", "Accession ID"),
        "system": ACCESSIONS,
        "value": study.accession,
    }
    return {"identifier": [{"system": DICOM_UID, "value": f"urn:oid:{study.uid}"}, accession]}


def image(writer: Writer, facts: Facts) -> None:
    """The imaging study with the DICOM objects' own UIDs, and its report.

    `started` is the DICOM study date and time. The report is issued half an hour later.
    """
    iod = facts.get("iod", "DX")
    visit, title, kind = writer.chart.index_visit, image_title(facts), image_kind(facts)
    key = keyed(kind, facts)
    modality = {"system": DICOM, "code": "OT" if iod == "SC" else iod, "display": MODALITIES[iod]}
    count = slices_of(facts)
    instances = [
        {
            "uid": uid,
            "sopClass": {"system": "urn:ietf:rfc:3986", "code": f"urn:oid:{SOP_CLASSES[iod]}"},
            "number": place + 1,
        }
        for place, uid in enumerate(instance_uids(facts))
    ]
    day = writer.profile.index_date
    known = Study.of(facts, day)
    assert known is not None, "an image of a cohort is identified"
    begun = known.begins
    series = {
        "uid": facts["series_uid"],
        "number": 1,
        "modality": modality,
        "description": title,
        "numberOfInstances": count,
        "bodySite": _body_site(facts),
        "performer": [{"actor": reference("Device", f"SYNTHETIC-{iod}")}],
        "instance": instances,
    }
    listed = [{key: value for key, value in series.items() if value is not None}, *_segmentation(facts)]
    study = writer.add(
        "ImagingStudy",
        key,
        title,
        {
            **identifiers(known),
            "status": "available",
            "modality": [modality],
            "subject": writer.subject,
            "encounter": writer.refer("Encounter", visit.key),
            "started": begun and f"{begun.isoformat()}Z",
            "basedOn": [writer.refer("ServiceRequest", f"order-{key}")],
            "numberOfSeries": len(listed),
            "numberOfInstances": count + len(listed) - 1,
            "location": reference("Location", "radiology"),
            "description": title,
            "series": listed,
        },
    )
    found = [SHIPPED.field(code, "imaging findings") for code in facts.get("findings", ())]
    said = f" Findings: {'; '.join(known.label for known in found) or 'none of those assessed'}."
    if not found and str(facts.get("body_part", "CHEST")) != "CHEST":
        said = " Not assessed for findings."  # nobody says what it shows; its note says the same
    more: dict[str, Any] = {
        "imagingStudy": [{"reference": f"ImagingStudy/{study['id']}"}],
        **identifiers(known),
    }
    if found:
        more["conclusionCode"] = [concept(ICD10, known.codes["icd10cm"], known.label) for known in found]
    if begun is not None:
        issued = begun + timedelta(minutes=30)
        more |= {"effectiveDateTime": f"{begun.isoformat()}Z", "issued": f"{issued.isoformat()}Z"}
    writer.report(kind, f"{title}.{said}", study_time(writer, facts), visit, more, key)


def _segmentation(facts: Facts) -> list[Resource]:
    """The series of the image's mask, where it has one."""
    if "mask_labels" not in facts:
        return []
    series, instance = mask_uids(facts)
    names = ", ".join(one["label"] for one in facts["mask_labels"])
    return [
        {
            "uid": series,
            "number": 2,
            "modality": {"system": DICOM, "code": "SEG", "display": "Segmentation"},
            "description": f"Segmentation: {names}",
            "numberOfInstances": 1,
            "instance": [
                {
                    "uid": instance,
                    "sopClass": {"system": "urn:ietf:rfc:3986", "code": f"urn:oid:{SEGMENTATIONS[0]}"},
                    "number": 1,
                }
            ],
        }
    ]


def is_paced(facts: Facts) -> bool:
    """Whether all beats of a trace that do not come early are paced."""
    return set(facts.get("kinds", "")) - set(EARLY) == {PACED}


def ecg(writer: Writer, facts: Facts) -> None:
    """Heart rate and rhythm as measured on the trace, and the report; nothing without a trace.

    Raises InputError for a rhythm without a code.
    """
    lists, visit, at = codes(), writer.chart.index_visit, ecg_time(writer, facts)
    study = Study.of(facts, writer.profile.index_date)
    results, said = [], []
    if (rhythm := facts.get("rhythm")) is not None:
        if rhythm not in RHYTHMS:
            raise InputError(f"ECG rhythm {rhythm!r}: expected one of {', '.join(RHYTHMS)}")
        answer = RHYTHMS[rhythm]
        assert ANSWERS[answer] == rhythm
        results.append(
            writer.observation(Reading(keyed("ecg-rhythm", facts), "ecg_rhythm", at, visit, answer))
        )
        said.append(f"{'ventricular pacing, underlying ' if is_paced(facts) else ''}rhythm {rhythm}")
    if (rate := facts.get("heart_rate")) is not None:
        shown = lists.observations["ecg_heart_rate"].rounded(float(rate))
        results.append(
            writer.observation(Reading(keyed("ecg-heart-rate", facts), "ecg_heart_rate", at, visit, shown))
        )
        said.append(f"heart rate {shown} /min")
    if results:
        beats = facts.get("beats")
        counted = f" in {beats} beats" if beats is not None else ""
        shown_by: dict[str, Any] = {"result": [{"reference": f"Observation/{r['id']}"} for r in results]}
        if study is not None:
            shown_by |= identifiers(study)
        if study is not None and study.taken is not None:
            shown_by["effectiveDateTime"] = f"{study.taken.isoformat()}Z"
            for result in results:
                result["effectiveDateTime"] = shown_by["effectiveDateTime"]
        writer.report(
            "ecg",
            f"{len(facts.get('leads', range(12)))}-lead ECG: {', '.join(said)}{counted}.",
            at,
            visit,
            shown_by,
            keyed("ecg", facts),
        )


def pathology(writer: Writer, report: Report) -> None:
    """The pathology report of a tumour: its receptors as read on the chart."""
    read = [r for r in writer.chart.readings if r.key in report.results]
    said = ", ".join(f"{RECEPTORS[r.name]} {r.value}" for r in read)
    results = [writer.refer("Observation", reading.key) for reading in read]
    writer.report(
        "pathology",
        f"Breast biopsy: invasive carcinoma, {said}.",
        report.at,
        report.visit,
        {"result": results},
    )


def tumour(writer: Writer, facts: Facts, at: float, visit: Visit) -> None:
    """Subtype and receptor genes of the tumour's expression, and the report; nothing without facts."""
    results: list[Resource] = []
    said: list[str] = []
    named = [name for name in ("pam50", *GENES) if facts.get(name) is not None]
    sample = writer.drawn("tissue", at, visit) if named else {}
    if (subtype := facts.get("pam50")) is not None:
        label = SUBTYPES.get(subtype, subtype)
        coded = {"coding": [{"system": NCIT, **SUBTYPE_CODES[subtype]}]} if subtype in SUBTYPE_CODES else {}
        value: dict[str, Any] = {"valueCodeableConcept": {**coded, "text": label}, **sample}
        name: dict[str, Any] = {
            "coding": [{"system": NCIT, **PAM50}],
            "text": "PAM50 intrinsic subtype of breast cancer",
        }
        says = f"PAM50 subtype {label}"
        results.append(writer.result(keyed("pam50", facts), "laboratory", name, says, value, at, visit, _LAB))
        said.append(f"PAM50 subtype {label}")
    for gene, code in GENES.items():
        if (level := facts.get(gene)) is None:
            continue
        name = concept(HGNC, code, gene, f"{gene} expression in tumour")
        measured = {
            "value": round(float(level), 2),
            "unit": "log2(RSEM)",
            "system": UCUM,
            "code": GENE_UNIT,
        }
        says = f"{gene} {measured['value']} log2(RSEM)"
        value = {"valueQuantity": measured, **sample}
        words = f"Tumour expression of {says}"
        results.append(
            writer.result(keyed(f"gene-{gene}", facts), "laboratory", name, words, value, at, visit, _LAB)
        )
        said.append(says)
    if results:
        shown = {"result": [{"reference": f"Observation/{r['id']}"} for r in results]}
        key = keyed("tumour-expression", facts)
        writer.report("tumour-expression", f"Tumour expression: {', '.join(said)}.", at, visit, shown, key)
