"""studies(): the image and the ECG of a patient as rows of OHDSI's imaging and waveform extensions.

Both are procedures too. Paths are relative to the cohort. Rate, leads and length of an ECG are read in its WFDB header,
where the cohort has one.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from ....core.fields import SNOMED
from ..codes import codes
from ..data import REPORTS, Resource, value_at
from ..studies import home_of
from .omop_concepts import Concepts
from .omop_rows import PatientRows

_RADIOGRAPHS = ("DX", "CR")  # modalities whose study is a plain X-ray


def studies(rows: PatientRows, root: Path) -> None:
    """The imaging studies and the ECG of the patient; root is the folder of the cohort."""
    for study, at in rows.dated("ImagingStudy"):
        _image(rows, study, at)
    for report, at in rows.dated("DiagnosticReport"):
        if value_at(report, "code.coding.0.code") == REPORTS["ecg"][0]:
            _ecg(rows, report, at, root)


def _procedure(rows: PatientRows, name: str, resource: Resource, at: datetime) -> int:
    """The row of a procedure of the bundled list."""
    entry = codes().procedures[name]
    coded = {"coding": [{"system": SNOMED, "code": entry.code, "display": entry.display}]}
    return rows.procedure(*rows.concepts.of(coded), at, **rows.placed(resource, at))


def _image(rows: PatientRows, study: Resource, at: datetime) -> None:
    """A row a series, and a row a finding of the report, which points to the condition where there is one."""
    modality = str(value_at(study, "modality.0.code", ""))
    site = value_at(study, "series.0.bodySite.code")
    if modality in _RADIOGRAPHS and site == codes().answers["thorax"].code:
        procedure = _procedure(rows, "chest_xray", study, at)
    else:
        procedure = rows.procedure(
            0, 0, str(study.get("description", modality)), at, **rows.placed(study, at)
        )
    uid = str(value_at(study, "identifier.0.value", "")).removeprefix("urn:oid:")
    patient = rows.patient["id"]
    for series in study["series"]:
        image = rows.add(
            "image_occurrence",
            procedure_occurrence_id=procedure,
            visit_occurrence_id=rows.placed(study, at)["visit_occurrence_id"],
            wadors_uri=f"studies/{uid}/series/{series['uid']}",
            local_path=f"{home_of(study, 'imaging')}dicom/{patient}/{uid}/{series['uid']}",
            image_occurrence_date=at.date(),
            image_study_uid=uid,
            image_series_uid=series["uid"],
            modality_concept_id=rows.concepts.of({"coding": [series["modality"]]})[0],
        )
        if value_at(series, "modality.code") == "SEG":
            continue  # the findings are of the image
        for finding in _findings(rows, f"ImagingStudy/{study['id']}"):
            concept, _, code = rows.concepts.of(finding)
            condition = rows.conditions.get(code)
            rows.add(
                "image_feature",
                image_occurrence_id=image,
                image_feature_event_field_concept_id=condition and Concepts.fixed("field", "condition"),
                image_feature_event_id=condition,
                image_feature_concept_id=concept,
                image_feature_type_concept_id=Concepts.fixed("type", "ehr"),
                image_finding_concept_id=concept,
            )


def _findings(rows: PatientRows, study: str) -> list[Resource]:
    reports = rows.resources.get("DiagnosticReport", ())
    return [
        code
        for report in reports
        if value_at(report, "imagingStudy.0.reference") == study
        for code in report.get("conclusionCode", ())
    ]


@dataclass(frozen=True)
class _Header:
    """What the header of a WFDB record says: Hz, seconds, leads, and the files beside it."""

    rate: float
    seconds: float
    leads: tuple[str, ...]
    files: tuple[str, ...]


def _header(path: Path) -> _Header | None:
    if not path.with_suffix(".hea").exists():
        return None
    import wfdb

    read = wfdb.rdheader(str(path))
    names = sorted({path.with_suffix(".hea").name, *(read.file_name or ())})
    return _Header(float(read.fs), read.sig_len / read.fs, tuple(read.sig_name or ()), tuple(names))


def _ecg(rows: PatientRows, report: Resource, at: datetime, root: Path) -> None:
    """The recording, its files, the rate of each lead, and rate and rhythm of the heart as features."""
    _procedure(rows, "ecg", report, at)
    place = f"{home_of(report, 'signals')}wfdb/{rows.patient['id']}"
    visit = rows.placed(report, at)
    header = _header(root / place / "ecg")
    if header is None or visit["visit_occurrence_id"] is None:
        return  # without files, or without the visit that the extension asks for
    end = at + timedelta(seconds=header.seconds)
    recording = rows.add(
        "waveform_occurrence",
        waveform_occurrence_concept_id=Concepts.fixed("waveform", "ecg"),
        waveform_occurrence_start_datetime=at,
        waveform_occurrence_end_datetime=end,
        **visit,
        waveform_occurrence_source_value=report["id"],
        num_of_files=len(header.files),
        waveform_format_source_value="WFDB",
    )
    files = [
        rows.add(
            "waveform_registry",
            waveform_occurrence_id=recording,
            waveform_file_start_datetime=at,
            waveform_file_end_datetime=end,
            **visit,
            file_extension_source_value=Path(name).suffix,
            waveform_target_file_uri=f"{place}/{name}",
        )
        for name in header.files
    ]
    channels = [
        rows.tables.add(
            "waveform_channel_metadata",
            waveform_registry_id=files[0],
            waveform_channel_source_value=lead,
            channel_concept_id=0,
            metadata_source_value="sampling_rate",
            metadata_concept_id=0,
            value_as_number=header.rate,
            unit_concept_id=rows.concepts.unit("Hz"),
            unit_source_value="Hz",
        )
        for lead in header.leads
    ]
    for result in report.get("result", ()):
        _feature(rows, result["reference"], recording, files[0], channels[0], (at, end))


def _feature(
    rows: PatientRows,
    reference: str,
    recording: int,
    file: int,
    channel: int,
    span: tuple[datetime, datetime],
) -> None:
    """A measurement that was taken on the recording; the channel is the first, as the extension asks for one."""
    measurement = rows.measured.get(reference)
    found = (r for r in rows.resources.get("Observation", ()) if f"Observation/{r['id']}" == reference)
    result = next(found, None)
    if measurement is None or result is None:
        return
    number, unit = value_at(result, "valueQuantity.value"), value_at(result, "valueQuantity.code")
    answer = result.get("valueCodeableConcept")
    rows.tables.add(
        "waveform_feature",
        waveform_occurrence_id=recording,
        waveform_registry_id=file,
        waveform_channel_metadata_id=channel,
        measurement_id=measurement,
        algorithm_concept_id=0,
        algorithm_source_value="polyclinic",
        waveform_feature_start_timestamp=span[0].time(),
        waveform_feature_end_timestamp=span[1].time(),
        is_feature_overflow=False,
        value_as_number=None if number is None else float(number),
        value_as_concept_id=None if answer is None else rows.concepts.of(answer)[0],
        value_as_string=value_at(result, "valueCodeableConcept.text|valueCodeableConcept.coding.0.display"),
        value_is_a_registry_file=False,
        unit_concept_id=rows.concepts.unit(unit),
        unit_source_value=unit,
    )
