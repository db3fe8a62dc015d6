"""RecordRules: one patient's FHIR R4 resources, by rule from the profile and the other records' facts."""

import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from ...core.errors import InputError
from ...core.modality import Batch, Facts, Record
from ...core.names import invented_name
from ...core.profile import PatientProfile
from ...core.vocabulary import FIELDS, ICD10, LOINC, SNOMED, field
from .data import (
    DICOM,
    GENES,
    HGNC,
    HTEST,
    PATIENT_IDS,
    PRESSURES,
    REPORTS,
    RHYTHMS,
    SUBTYPES,
    TYPES,
    UCUM,
    VITALS,
    Resource,
)

_HL7 = "http://terminology.hl7.org/CodeSystem"
_FHIR_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
# A patient with one of these, or filmed at the bedside, is in hospital; the others came and went.
_INPATIENT = ("A41.9", "J81.0", "J93.9")
_DX_IMAGE = "1.2.840.10008.5.1.4.1.1.1.1"  # Digital X-Ray Image Storage - For Presentation
_SCALE = "log2(RSEM)"


class RecordRules:
    """The Generator of health records. It draws nothing: the same profile and facts give the same record."""

    def sample(self, batch: Batch) -> list[Record]:
        """One record a row: no arrays, facts {"resources": [...]} in the order of data.TYPES."""
        facts = batch.facts or ({},) * len(batch)
        return [
            Record({}, {"resources": resources_of(profile, known)})
            for profile, known in zip(batch.profiles, facts, strict=True)
        ]


def resources_of(profile: PatientProfile, facts: Mapping[str, Facts]) -> list[Resource]:
    """A patient's resources; studies and reports only of the modalities that are in facts.

    facts is {modality: its record's facts}. Raises InputError if the patient id cannot be a FHIR id.
    """
    chart = _Chart(profile)
    chart.visit()
    chart.measurements()
    if "imaging" in facts:
        chart.chest_xray(facts["imaging"])
    if "signals" in facts:
        chart.ecg(facts["signals"])
    if "omics" in facts:
        chart.tumour(facts["omics"])
    return sorted(chart.resources, key=lambda resource: TYPES.index(resource["resourceType"]))


def _concept(system: str, code: str, display: str = "", text: str = "") -> dict[str, Any]:
    coding = {"system": system, "code": code} | ({"display": display} if display else {})
    return {"coding": [coding]} | ({"text": text} if text else {})


def _quantity(value: float, unit: str, code: str) -> dict[str, Any]:
    return {"value": value, "unit": unit, "system": UCUM, "code": code}


class _Chart:
    """One patient's resources as they are written."""

    def __init__(self, profile: PatientProfile) -> None:
        if not _FHIR_ID.fullmatch(profile.patient_id) or len(profile.patient_id) > 32:
            raise InputError(
                f"patient id {profile.patient_id!r}: a FHIR id needs letters, digits, '-' or '.', at most 32"
            )
        self.profile = profile
        self.resources: list[Resource] = []
        self.patient = {"reference": f"Patient/{profile.patient_id}"}
        self.encounter = {"reference": f"Encounter/{profile.patient_id}-visit"}
        self.day = profile.index_date.isoformat() if profile.index_date else None

    def add(self, kind: str, key: str, says: str, content: Mapping[str, Any], when: str = "") -> Resource:
        """File one resource: tagged as test data, with a narrative; `when` names its date element."""
        patient_id = self.profile.patient_id
        resource: Resource = {
            "resourceType": kind,
            "id": f"{patient_id}-{key}" if key else patient_id,
            "meta": {"security": [HTEST], "tag": [HTEST]},
            "text": {
                "status": "generated",
                "div": f'<div xmlns="http://www.w3.org/1999/xhtml">Synthetic patient. {escape(says)}</div>',
            },
            **content,
        }
        if when and self.day:
            resource[when] = self.day
        self.resources.append(resource)
        return resource

    def visit(self) -> None:
        """Patient, the encounter on the index date, and the conditions that are present."""
        profile = self.profile
        family, given = invented_name(profile.patient_id, profile.sex)
        born = profile.birth_date
        self.add(
            "Patient",
            "",
            f"{given} {family}",
            {
                "identifier": [{"system": PATIENT_IDS, "value": profile.patient_id}],
                "active": True,
                "name": [{"use": "anonymous", "family": family, "given": [given]}],
                "gender": {"F": "female", "M": "male"}.get(profile.sex or "", "unknown"),
                **({"birthDate": born.isoformat()} if born else {}),
            },
        )
        inside = profile.traits.get("chest_view") == "AP" or any(profile.has(code) for code in _INPATIENT)
        code, display = ("IMP", "inpatient encounter") if inside else ("AMB", "ambulatory")
        self.add(
            "Encounter",
            "visit",
            f"Visit ({display})",
            {
                "status": "finished",
                "class": {"system": f"{_HL7}/v3-ActCode", "code": code, "display": display},
                "subject": self.patient,
                **({"period": {"start": self.day, "end": self.day}} if self.day else {}),
            },
        )
        for known in FIELDS:
            if known.kind == "condition" and profile.has(known.name):
                self.condition(known.code, known.label)

    def condition(self, code: str, label: str) -> None:
        self.add(
            "Condition",
            f"condition-{code}",
            label,
            {
                "clinicalStatus": _concept(f"{_HL7}/condition-clinical", "active"),
                "verificationStatus": _concept(f"{_HL7}/condition-ver-status", "confirmed"),
                "category": [_concept(f"{_HL7}/condition-category", "encounter-diagnosis")],
                "code": _concept(ICD10, code, label, label),
                "subject": self.patient,
                "encounter": self.encounter,
            },
            when="recordedDate",
        )

    def observation(
        self, key: str, category: str, code: Mapping[str, Any], says: str, value: Mapping[str, Any]
    ) -> Resource:
        content = {
            "status": "final",
            "category": [_concept(f"{_HL7}/observation-category", category)],
            "code": code,
            "subject": self.patient,
            "encounter": self.encounter,
            **value,
        }
        return self.add("Observation", key, says, content, when="effectiveDateTime")

    def measurements(self) -> None:
        """Body size, vitals and labs of the profile; blood pressure as one panel."""
        pressures = []
        for known in FIELDS:
            value = self.profile.get(known.name)
            if known.kind != "number" or known.name == "age" or value is None:
                continue
            quantity = _quantity(_plain(float(value), known.decimals), known.unit, known.unit)
            code = _concept(LOINC, known.code, text=known.label)
            if known.name in PRESSURES:
                pressures.append({"code": code, "valueQuantity": quantity})
                continue
            category = "vital-signs" if known.name in VITALS else "laboratory"
            says = f"{known.label} {quantity['value']} {known.unit}"
            key = known.name.replace("_", "-")
            self.observation(key, category, code, says, {"valueQuantity": quantity})
        if pressures:
            says = ", ".join(f"{p['code']['text']} {p['valueQuantity']['value']} mm[Hg]" for p in pressures)
            code = _concept(LOINC, "85354-9", text="Blood pressure")
            self.observation("blood-pressure", "vital-signs", code, says, {"component": pressures})

    def report(self, kind: str, conclusion: str, more: Mapping[str, Any]) -> None:
        """A diagnostic report whose conclusion says the facts in one plain sentence."""
        code, name, section, section_name = REPORTS[kind]
        self.add(
            "DiagnosticReport",
            f"report-{kind}",
            conclusion,
            {
                "status": "final",
                "category": [_concept(f"{_HL7}/v2-0074", section, section_name)],
                "code": _concept(LOINC, code, name, name),
                "subject": self.patient,
                "encounter": self.encounter,
                **more,
                "conclusion": conclusion,
            },
            when="effectiveDateTime",
        )

    def chest_xray(self, facts: Facts) -> None:
        """The imaging study with the DICOM object's own UIDs, and its report."""
        view = facts.get("view")
        title = f"Frontal chest X-ray{f', {view} view' if view else ''}"
        modality = {"system": DICOM, "code": "DX", "display": "Digital Radiography"}
        instance = {
            "uid": facts["instance_uid"],
            "sopClass": {"system": "urn:ietf:rfc:3986", "code": f"urn:oid:{_DX_IMAGE}"},
            "number": 1,
        }
        series = {
            "uid": facts["series_uid"],
            "number": 1,
            "modality": modality,
            "description": title,
            "numberOfInstances": 1,
            "bodySite": {"system": SNOMED, "code": "51185008", "display": "Thoracic structure"},
            "instance": [instance],
        }
        study = self.add(
            "ImagingStudy",
            "chest-xray",
            title,
            {
                "identifier": [{"system": "urn:dicom:uid", "value": f"urn:oid:{facts['study_uid']}"}],
                "status": "available",
                "modality": [modality],
                "subject": self.patient,
                "encounter": self.encounter,
                "numberOfSeries": 1,
                "numberOfInstances": 1,
                "description": title,
                "series": [series],
            },
            when="started",
        )
        found = [field(code, "imaging findings") for code in facts.get("findings", ())]
        said = "; ".join(known.label for known in found) or "none of those assessed"
        more: dict[str, Any] = {"imagingStudy": [_refer(study)]}
        if found:
            more["conclusionCode"] = [_concept(ICD10, known.code, known.label) for known in found]
        self.report("chest-xray", f"{title}. Findings: {said}.", more)

    def ecg(self, facts: Facts) -> None:
        """Heart rate and rhythm as measured on the trace, and the report; nothing without a trace."""
        results, said = [], []
        if (rhythm := facts.get("rhythm")) is not None:
            if rhythm not in RHYTHMS:
                raise InputError(f"ECG rhythm {rhythm!r}: expected one of {', '.join(RHYTHMS)}")
            code, display = RHYTHMS[rhythm]
            value = {"valueCodeableConcept": _concept(SNOMED, code, display, rhythm)}
            name = _concept(LOINC, "8884-9", "Heart rate rhythm", "ECG rhythm")
            results.append(self.observation("ecg-rhythm", "procedure", name, f"ECG rhythm: {rhythm}", value))
            said.append(f"rhythm {rhythm}")
        if (rate := facts.get("heart_rate")) is not None:
            quantity = _quantity(_plain(float(rate), 1), "/min", "/min")
            name = _concept(LOINC, "76282-3", "Heart rate.beat-to-beat by EKG", "ECG heart rate")
            says = f"ECG heart rate {quantity['value']} /min"
            results.append(
                self.observation("ecg-heart-rate", "procedure", name, says, {"valueQuantity": quantity})
            )
            said.append(f"heart rate {quantity['value']} /min")
        if results:
            beats = facts.get("beats")
            counted = f" in {beats} beats" if beats is not None else ""
            self.report("ecg", f"12-lead ECG: {', '.join(said)}{counted}.", {"result": _refer_all(results)})

    def tumour(self, facts: Facts) -> None:
        """Subtype and receptor genes of the tumour's expression, and the report."""
        results, said = [], []
        if (subtype := facts.get("pam50")) is not None:
            label = SUBTYPES.get(subtype, subtype)
            value = {"valueCodeableConcept": {"text": label}}
            name = {"text": "PAM50 intrinsic subtype of breast cancer"}
            results.append(self.observation("pam50", "laboratory", name, f"PAM50 subtype {label}", value))
            said.append(f"PAM50 subtype {label}")
        for gene, code in GENES.items():
            if (level := facts.get(gene)) is None:
                continue
            name = _concept(HGNC, code, gene, f"{gene} expression in tumour")
            quantity = _quantity(_plain(float(level), 2), _SCALE, "{log2_RSEM}")
            says = f"{gene} {quantity['value']} {_SCALE}"
            results.append(
                self.observation(
                    f"gene-{gene}",
                    "laboratory",
                    name,
                    f"Tumour expression of {says}",
                    {"valueQuantity": quantity},
                )
            )
            said.append(says)
        if results:
            self.report(
                "tumour-expression", f"Tumour expression: {', '.join(said)}.", {"result": _refer_all(results)}
            )


def _plain(value: float, decimals: int) -> float | int:
    return round(value, decimals) if decimals else round(value)


def _refer(resource: Resource) -> dict[str, str]:
    return {"reference": f"{resource['resourceType']}/{resource['id']}"}


def _refer_all(resources: Sequence[Resource]) -> list[dict[str, str]]:
    return [_refer(resource) for resource in resources]
