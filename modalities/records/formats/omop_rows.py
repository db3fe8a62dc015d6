"""PatientRows: one patient's resources as rows of the clinical tables of OMOP."""

import base64
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from typing import Any

from ..data import Resource, parts_of, value_at
from ..timeline import CAUSE_OF_DEATH
from .omop_concepts import Concepts
from .omop_hospital import Sites, Tables, address, payer
from .omop_parts import DOSAGE, Row, amount, numeric, span, time_at

INTENSIVE_CARE = "305351004"  # SNOMED CT: admission to it
_OBSERVATIONS = ("exam", "survey", "social-history", "activity")  # categories that are no measurement
_STARTS = {  # resource type: where its time stands
    "Encounter": "period.start",
    "Condition": "recordedDate|onsetDateTime",
    "Observation": "effectiveDateTime",
    "MedicationRequest": "authoredOn",
    "Procedure": "performedDateTime",
    "ImagingStudy": "started",
    "DiagnosticReport": "effectiveDateTime",
    "DocumentReference": "date",
}
_TISSUE = {"60568-3": "breast tissue", "51969-4": "tumour tissue"}  # reports that rest on a specimen
_CULTURE = "600-7"  # LOINC: an observation that rests on blood


class PatientRows:
    """Writes the rows of one patient, whose person_id is `person`. `period` is None for whom OMOP cannot hold."""

    def __init__(
        self,
        person: int,
        patient: Resource,
        resources: Mapping[str, list[Resource]],
        tables: Tables,
        concepts: Concepts,
        sites: Sites,
        undated: dict[str, int],
    ) -> None:
        self.patient, self.resources = patient, resources
        self.tables, self.concepts, self.sites = tables, concepts, sites
        self.person = person
        self.visits: dict[str, int] = {}  # reference of an encounter -> visit_occurrence_id
        self.conditions: dict[str, int] = {}  # code -> condition_occurrence_id
        self.measured: dict[str, int] = {}  # reference of an observation -> measurement_id
        self._stays: list[
            tuple[datetime, datetime, str, int]
        ] = []  # intensive care: from, until, visit, detail
        self._ends = {
            f"Encounter/{visit['id']}": end
            for visit in resources.get("Encounter", ())
            if (end := time_at(visit, "period.end")) is not None
        }
        self._undated = undated
        self.died = time_at(patient, "deceasedDateTime")
        self.period = self._period()

    def _period(self) -> tuple[datetime, datetime] | None:
        """From the first to the last dated event; nothing after death. None without a date of birth or events."""
        found = [
            at
            for kind, path in _STARTS.items()
            for r in self.resources.get(kind, ())
            if (at := time_at(r, path)) is not None
        ]
        found += [
            at for r in self.resources.get("Encounter", ()) if (at := time_at(r, "period.end")) is not None
        ]
        if "birthDate" not in self.patient or not found:
            self._count("patients")
            return None
        return min(found), self.died or max(found)

    def _count(self, what: str) -> None:
        self._undated[what] = self._undated.get(what, 0) + 1

    def write(self) -> None:
        """All rows of the patient, but those of studies. The period must be known."""
        assert self.period is not None
        self._person()
        start, end = self.period
        self.add(
            "observation_period",
            observation_period_start_date=start.date(),
            observation_period_end_date=end.date(),
            period_type_concept_id=Concepts.fixed("type", "derived"),
        )
        self._visits()
        self._intensive_care()
        for condition, at in self.dated("Condition"):
            self._condition(condition, at)
        for order, at in self.dated("MedicationRequest"):
            self._drug(order, at)
        for procedure, at in self.dated("Procedure"):
            self.procedure(
                *self.concepts.of(procedure["code"]),
                at,
                **self.placed(procedure, at),
                provider_id=self.sites.provider(procedure, "performer.0.actor"),
            )
        for device in self.resources.get("Device", ()):
            self._device(device)
        for coverage in self.resources.get("Coverage", ()):
            if (columns := payer(coverage, end, self.concepts)) is not None:
                self.add("payer_plan_period", **columns)
        for observation, at in self.dated("Observation"):
            self._observation(observation, at)
        self._death()
        for kind in ("DiagnosticReport", "DocumentReference"):
            for report, at in self.dated(kind):
                self._note(report, at)

    # -- what rows share

    def add(self, table: str, **values: Any) -> int:
        """A row of this person; its id."""
        return self.tables.add(table, person_id=self.person, **values)

    def dated(self, kind: str) -> Iterator[tuple[Resource, datetime]]:
        """The resources of one type with their time; one without is counted and left out."""
        for resource in self.resources.get(kind, ()):
            at = time_at(resource, _STARTS[kind])
            if at is None:
                self._count(f"resources of type {kind}")
            else:
                yield resource, at

    def placed(self, resource: Resource, at: datetime) -> Row:
        """The visit of a resource, and its stay in intensive care."""
        reference = value_at(resource, "encounter.reference|context.encounter.0.reference", "")
        inside = (d for start, end, visit, d in self._stays if visit == reference and start <= at <= end)
        return {"visit_occurrence_id": self.visits.get(reference), "visit_detail_id": next(inside, None)}

    # -- tables

    def _person(self) -> None:
        born = date.fromisoformat(self.patient["birthDate"])
        gender = str(self.patient.get("gender", "unknown"))
        race, ethnicity = self._us_core("race"), self._us_core("ethnicity")
        self.tables.add(
            "person",
            person_id=self.person,
            gender_concept_id=Concepts.fixed("gender", gender),
            year_of_birth=born.year,
            month_of_birth=born.month,
            day_of_birth=born.day,
            birth_datetime=datetime(born.year, born.month, born.day),
            location_id=self.tables.add("location", **address(self.patient, "address.0"))
            if "address" in self.patient
            else None,
            provider_id=self.sites.provider(self.patient, "generalPractitioner.0"),
            care_site_id=self.sites.care_site(self.patient, "managingOrganization"),
            race_concept_id=Concepts.fixed("race", race or ""),
            ethnicity_concept_id=Concepts.fixed("ethnicity", ethnicity or ""),
            person_source_value=self.patient["id"],
            gender_source_value=gender,
            gender_source_concept_id=0,
            race_source_value=race,
            race_source_concept_id=0,
            ethnicity_source_value=ethnicity,
            ethnicity_source_concept_id=0,
        )

    def _us_core(self, name: str) -> str | None:
        """The code in US Core's extension of that name, where the patient has one."""
        for extension in self.patient.get("extension", ()):
            if str(extension.get("url", "")).endswith(f"us-core-{name}"):
                for part in extension.get("extension", ()):
                    if part.get("url") == "ombCategory":
                        return str(part["valueCoding"]["code"])
        return None

    def _visits(self) -> None:
        before = None
        for visit, start in sorted(self.dated("Encounter"), key=lambda pair: pair[1]):
            end = max(time_at(visit, "period.end") or start, start)
            kind = str(value_at(visit, "class.code", ""))
            left = value_at(visit, "hospitalization.dischargeDisposition.coding.0.code")
            before = self.add(
                "visit_occurrence",
                visit_concept_id=Concepts.fixed("visit", kind),
                **span("visit", start, end),
                visit_type_concept_id=Concepts.fixed("type", "encounter"),
                provider_id=self.sites.provider(visit, "participant.0.individual"),
                care_site_id=self.sites.care_site(visit, "location.0.location"),
                visit_source_value=kind,
                visit_source_concept_id=0,
                discharged_to_concept_id=left and Concepts.fixed("discharge", left),
                discharged_to_source_value=left,
                preceding_visit_occurrence_id=before,
            )
            self.visits[f"Encounter/{visit['id']}"] = before

    def _intensive_care(self) -> None:
        """A visit_detail from each admission to intensive care to the end of the visit."""
        for procedure in self.resources.get("Procedure", ()):
            start, visit = (
                time_at(procedure, "performedDateTime"),
                value_at(procedure, "encounter.reference", ""),
            )
            if value_at(procedure, "code.coding.0.code") != INTENSIVE_CARE or visit not in self.visits:
                continue
            end = self._ends.get(visit)
            if start is None or end is None:
                continue
            detail = self.add(
                "visit_detail",
                visit_detail_concept_id=Concepts.fixed("intensive_care"),
                **span("visit_detail", start, max(start, end)),
                visit_detail_type_concept_id=Concepts.fixed("type", "encounter"),
                provider_id=self.sites.provider(procedure, "performer.0.actor"),
                care_site_id=self.sites.care_site(procedure, "location"),
                visit_detail_source_value=INTENSIVE_CARE,
                visit_detail_source_concept_id=0,
                visit_occurrence_id=self.visits[visit],
            )
            self._stays.append((start, end, visit, detail))

    def _condition(self, condition: Resource, at: datetime) -> None:
        """Dated when it was recorded, at the visit of the row; a stage with a concept of its own is the concept."""
        concept, source, code = self.concepts.of(condition["code"])
        if "stage" in condition:
            concept = self.concepts.of(condition["stage"][0].get("summary"))[0] or concept
        ended = time_at(condition, "abatementDateTime")
        status = value_at(condition, "clinicalStatus.coding.0.code")
        self.conditions[code] = self.add(
            "condition_occurrence",
            condition_concept_id=concept,
            **span("condition", at, ended and max(ended, at)),
            condition_type_concept_id=Concepts.fixed("type", "ehr"),
            **self.placed(condition, at),
            provider_id=self.sites.provider(condition, "recorder"),
            condition_source_value=code,
            condition_source_concept_id=source,
            condition_status_source_value=status,
        )

    def _drug(self, order: Resource, at: datetime) -> None:
        """quantity is the amount ordered from start to end, in the unit of dose_unit_source_value.

        An order that goes on ends with the observation period; verbatim_end_date is then null.
        """
        assert self.period is not None
        concept, source, code = self.concepts.of(order.get("medicationCodeableConcept"))
        stated = time_at(order, f"{DOSAGE}.timing.repeat.boundsPeriod.end")
        end = max(stated or self.period[1], at)
        dose, unit = amount(order, end - at)
        self.add(
            "drug_exposure",
            drug_concept_id=concept,
            **span("drug_exposure", at, end),
            verbatim_end_date=stated and stated.date(),
            drug_type_concept_id=Concepts.fixed("type", "prescription"),
            quantity=dose,
            sig=value_at(order, f"{DOSAGE}.text"),
            route_concept_id=Concepts.fixed("route", value_at(order, f"{DOSAGE}.route.coding.0.code", "")),
            **self.placed(order, at),
            provider_id=self.sites.provider(order, "requester"),
            drug_source_value=code,
            drug_source_concept_id=source,
            route_source_value=value_at(order, f"{DOSAGE}.route.coding.0.display"),
            dose_unit_source_value=unit,
        )

    def procedure(self, concept: int, source: int, code: str, at: datetime, **more: Any) -> int:
        """A row of procedure_occurrence; its id."""
        return self.add(
            "procedure_occurrence",
            procedure_concept_id=concept,
            procedure_date=at.date(),
            procedure_datetime=at,
            procedure_type_concept_id=Concepts.fixed("type", "ehr"),
            procedure_source_value=code,
            procedure_source_concept_id=source,
            **more,
        )

    def _device(self, device: Resource) -> None:
        """What a patient carries, from when it was made; what was used at a procedure, until the visit ended."""
        concept, source, code = self.concepts.of(device.get("type"))
        name = f"Device/{device['id']}"
        used = [
            p for p in self.resources.get("Procedure", ()) if value_at(p, "usedReference.0.reference") == name
        ]
        spans: list[tuple[datetime, datetime | None, Row]] = []
        if (made := time_at(device, "manufactureDate")) is not None:
            spans.append((made, None, {}))
        for procedure in used:
            if (at := time_at(procedure, "performedDateTime")) is not None:
                visit = value_at(procedure, "encounter.reference", "")
                spans.append((at, max(at, self._ends.get(visit, at)), self.placed(procedure, at)))
        if not spans:
            self._count("resources of type Device")
        for start, end, place in spans:
            self.add(
                "device_exposure",
                device_concept_id=concept,
                **span("device_exposure", start, end),
                device_type_concept_id=Concepts.fixed("type", "ehr"),
                unique_device_id=device.get("distinctIdentifier"),
                production_id=device.get("serialNumber"),
                quantity=1,
                **place,
                device_source_value=code,
                device_source_concept_id=source,
            )

    def _observation(self, resource: Resource, at: datetime) -> None:
        """A measurement, or by its category an observation; of a panel a row a part."""
        category = value_at(resource, "category.0.coding.0.code")
        table = "observation" if category in _OBSERVATIONS else "measurement"
        for part in parts_of(resource):
            concept, source, code = self.concepts.of(part["code"])
            number, unit = value_at(part, "valueQuantity.value"), value_at(part, "valueQuantity.code")
            answer = part.get("valueCodeableConcept")
            said = value_at(part, "valueCodeableConcept.text|valueCodeableConcept.coding.0.display")
            values: Row = {
                f"{table}_concept_id": concept,
                f"{table}_date": at.date(),
                f"{table}_datetime": at,
                "value_as_number": None if number is None else float(number),
                "value_as_concept_id": self.concepts.of(answer)[0] if "coding" in (answer or {}) else None,
                "unit_concept_id": self.concepts.unit(unit),
                "unit_source_value": unit,
                f"{table}_source_value": code,
                f"{table}_source_concept_id": source,
                "value_source_value": said if number is None else str(number),
            }
            kind = "laboratory" if category == "laboratory" else "ehr"
            values[f"{table}_type_concept_id"] = Concepts.fixed("type", kind)
            if table == "observation":
                values["value_as_string"] = said
            else:
                values["range_low"] = numeric(part, "referenceRange.0.low.value")
                values["range_high"] = numeric(part, "referenceRange.0.high.value")
            values["provider_id"] = self.sites.provider(resource, "performer.0")
            row = self.add(table, **values, **self.placed(resource, at))
            if table == "measurement":
                self.measured[f"Observation/{resource['id']}"] = row
        if value_at(resource, "code.coding.0.code") == _CULTURE:
            self._specimen(resource, at, "blood", Concepts.fixed("specimen", "blood"))

    def _death(self) -> None:
        if self.died is None:
            return
        causes = (
            o["valueCodeableConcept"]
            for o in self.resources.get("Observation", ())
            if value_at(o, "code.coding.0.code") == CAUSE_OF_DEATH and "valueCodeableConcept" in o
        )
        cause = next(causes, None)
        concept, source, code = self.concepts.of(cause) if cause else (None, None, None)
        self.add(
            "death",
            death_date=self.died.date(),
            death_datetime=self.died,
            death_type_concept_id=Concepts.fixed("type", "ehr"),
            cause_concept_id=concept,
            cause_source_value=code,
            cause_source_concept_id=source,
        )

    def _note(self, resource: Resource, at: datetime) -> None:
        """The text that a report or a document carries; a report on tissue has a specimen too."""
        code = str(value_at(resource, "type.coding.0.code|code.coding.0.code", ""))
        if code in _TISSUE:
            self._specimen(resource, at, _TISSUE[code], 0)
        data = value_at(resource, "presentedForm.0.data|content.0.attachment.data")
        if data is None:
            return
        self.add(
            "note",
            note_date=at.date(),
            note_datetime=at,
            note_type_concept_id=Concepts.fixed("note", code) or Concepts.fixed("type", "ehr"),
            note_class_concept_id=0,
            note_title=value_at(resource, "type.text|code.text"),
            note_text=base64.b64decode(data).decode(),
            encoding_concept_id=Concepts.fixed("utf8"),
            language_concept_id=Concepts.fixed("english"),
            **self.placed(resource, at),
            provider_id=self.sites.provider(resource, "resultsInterpreter.0")
            or self.sites.provider(resource, "author.0"),
            note_source_value=code,
        )

    def _specimen(self, resource: Resource, at: datetime, what: str, concept: int) -> None:
        self.add(
            "specimen",
            specimen_concept_id=concept,
            specimen_type_concept_id=Concepts.fixed("type", "ehr"),
            specimen_date=at.date(),
            specimen_datetime=at,
            specimen_source_id=resource["id"],
            specimen_source_value=what,
        )
