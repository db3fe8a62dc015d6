"""Rules of form: ids, tags, references, codes, and whether a file of another modality says the same."""

from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache

from ....core.body_parts import REGIONS
from ....core.fields import ICD10, LOINC, SNOMED
from ....core.instance_name import LABEL
from ..case import Case
from ..codes import HGNC, RXNORM, codes
from ..data import DECLARED, DOCUMENTS, GENES, HTEST, NO_CONDITION, REPORTS, ROUTES
from ..genomics import GENE_CODES, TERMS
from ..studies import facts_of, instance_uids, unkeyed
from ..us_core.hospital import hospital_names
from ..us_core.lists import lists

Found = Iterator[tuple[str, str]]  # resource, in words
CLINICAL = (ICD10, LOINC, SNOMED, RXNORM, HGNC)


@cache
def bundled() -> Mapping[tuple[str, str], str]:
    """(system, code) -> display of every clinical code that a record may carry."""
    return {
        **lists().displays(),
        **codes().displays(),
        **{(ICD10, code): display for code, display in NO_CONDITION.values()},
        **{(LOINC, report[0]): report[1] for report in REPORTS.values()},
        **{(LOINC, document[0]): document[1] for document in DOCUMENTS.values()},
        **{(SNOMED, code): display for code, display in ROUTES.values()},
        **{(SNOMED, code): display for code, _, display in REGIONS.values()},
        **{(HGNC, code): gene for gene, code in (GENES | GENE_CODES).items()},
        **{(LOINC, code): display for code, display in TERMS.values()},
    }


def ids_are_unique(case: Case) -> Found:
    """No two resources share type and id."""
    for name, count in Counter(Case.name(r) for r in case.resources).items():
        if count > 1:
            yield name, f"id used {count} times"


def tagged_synthetic(case: Case) -> Found:
    """Every resource carries the tag HTEST."""
    for resource in case.resources:
        if HTEST["code"] not in [tag.get("code") for tag in resource.get("meta", {}).get("tag", [])]:
            yield Case.name(resource), f"not tagged {HTEST['code']}"


def references_resolve(case: Case) -> Found:
    """Every reference leads to a resource of this patient, or of the hospital."""
    known = case.by_name.keys() | hospital_names()
    for resource, parts in zip(case.resources, case.parts, strict=True):
        for part in parts:
            reference = part.get("reference")
            if isinstance(reference, str) and reference not in known:
                yield Case.name(resource), f"reference {reference!r} does not resolve"


def codes_are_listed(case: Case) -> Found:
    """Every clinical code is in the bundled list, with its display; those of declared fields are their user's."""
    known = bundled()
    for resource, parts in zip(case.resources, case.parts, strict=True):
        if f"-{DECLARED}" in resource["id"]:
            continue
        for part in parts:
            system, code = part.get("system"), part.get("code")
            if system not in CLINICAL or code is None:
                continue
            display = known.get((str(system), code))
            if display is None:
                yield Case.name(resource), f"code {code} of {system} is not in the bundled list"
            elif part.get("display") != display:
                yield Case.name(resource), f"code {code} has display {part.get('display')!r}, not {display!r}"


def images_are_files(case: Case) -> Found:
    """The UIDs of every ImagingStudy are those of an image (facts of the modality imaging and its instances)."""
    if case.facts is None:
        return
    images = facts_of(case.facts, "imaging")
    true = [(image["study_uid"], image["series_uid"], *instance_uids(image)) for image in images]
    for study in case.of("ImagingStudy"):
        series = study["series"][0]
        uid = study["identifier"][0]["value"].removeprefix("urn:oid:")
        said = (uid, series["uid"], *(instance["uid"] for instance in series["instance"]))
        if said not in true:
            yield Case.name(study), "no image has these UIDs"


def heart_rate_is_the_traces(case: Case) -> Found:
    """An ECG's heart rate and rhythm are those measured on the trace (facts of signals, or an instance)."""
    traces = {own.get(LABEL, ""): own for own in facts_of(case.facts or {}, "signals")}
    for name, resource, _, value in case.readings:
        facts = traces.get(unkeyed(resource, ("ecg-heart-rate", "ecg-rhythm"))[1], {})
        if name == "ecg_heart_rate" and case.facts is not None:
            rate = facts.get("heart_rate")
            if rate is None or not isinstance(value, float | int) or abs(value - rate) > 0.06:
                yield Case.name(resource), f"heart rate {value}, the trace has {rate}"
        if name == "ecg_rhythm" and unkeyed(resource, ("ecg-rhythm",))[0] and case.facts is not None:
            rhythm = resource["valueCodeableConcept"].get("text")
            if rhythm != facts.get("rhythm"):
                yield Case.name(resource), f"rhythm {rhythm}, the trace has {facts.get('rhythm')}"


FORM = (
    ids_are_unique,
    tagged_synthetic,
    references_resolve,
    codes_are_listed,
    images_are_files,
    heart_rate_is_the_traces,
)
