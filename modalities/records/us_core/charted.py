"""The vitals chart: one Observation a sign and hour, pressures of an hour in one, and documents that name the files."""

from datetime import timedelta
from typing import Any

from ....core.fields import LOINC
from ....core.instance_name import LABEL, named, stem_of
from ....core.modality import Facts
from ....core.study import Study, chart_begins
from ..data import CHARTED, DECLARED, HL7, concept, quantity
from ..formats.fhir import Writer
from .hospital import HOSPITAL, reference
from .lists import LOINC_TERMS
from .observed import form_of, judged

_PRESSURES = ("systolic", "diastolic")
_BY_LOINC = {
    "8867-4": "heart_rate", "59408-5": "oxygen_saturation", "2708-6": "oxygen_saturation", "8310-5": "temperature",
    "8480-6": "systolic", "8478-0": "mean_pressure", "8462-4": "diastolic", "9279-1": "respiration",
}  # fmt: skip
_CATEGORIES = "http://hl7.org/fhir/us/core/CodeSystem/us-core-documentreference-category"


def charted(writer: Writer, facts: Facts) -> None:
    """Every reading of the fact `chart` while the stay goes on; nothing without a chart or a calendar.

    Rows are `step_hours` apart from core.study.chart_begins(). Keys of an instance's readings name it. A column
    without a code of ours carries its own LOINC code or its label.
    """
    chart, day = facts.get("chart"), writer.profile.index_date
    if chart is None or day is None:
        return
    visit, sex = writer.chart.index_visit, writer.profile.sex
    prefix = f"charted-{facts[LABEL]}-" if facts.get(LABEL) else CHARTED
    begins, step = chart_begins(day), timedelta(hours=chart["step_hours"])
    columns = [(_BY_LOINC.get(column["loinc"], ""), column) for column in chart["columns"]]
    last = visit.end if writer.chart.death is None else min(visit.end, writer.chart.death)
    for number, row in enumerate(chart["rows"]):
        moment = begins + number * step
        if (moment - begins) / timedelta(days=1) > last:
            return
        when = f"{moment:%Y-%m-%dT%H:%M:%SZ}"
        pressures: dict[str, float] = {}
        for (name, column), value in zip(columns, row, strict=True):
            if value is None:
                continue
            shown = int(value) if value == int(value) else value
            if name in (*_PRESSURES, "mean_pressure"):
                pressures[name] = shown
            elif name:
                _file(writer, f"{prefix}{number}-{name.replace('_', '-')}", name, shown, when, sex)
            else:
                _own(
                    writer,
                    f"{prefix}{number}-{DECLARED}{columns.index((name, column))}",
                    column,
                    shown,
                    when,
                )
        if pressures:
            _panel(writer, f"{prefix}{number}-blood-pressure", pressures, when, sex)


def _file(writer: Writer, key: str, name: str, value: float, when: str, sex: str | None) -> None:
    form = form_of(name)
    content = {"valueQuantity": quantity(value, form.unit), **judged(name, value, sex)}
    writer.charted(key, form.code, f"{form.code['text']} {value} {form.unit}", content, when, form.profiles)


def _panel(writer: Writer, key: str, values: dict[str, float], when: str, sex: str | None) -> None:
    """Systolic and diastolic pressure, a missing one with a reason, and the mean pressure where it was charted."""
    parts: list[dict[str, Any]] = []
    for name in (*_PRESSURES, "mean_pressure"):
        form = form_of(name)
        if name in values:
            parts.append(
                {
                    "code": form.code,
                    "valueQuantity": quantity(values[name], form.unit),
                    **judged(name, values[name], sex),
                }
            )
        elif name in _PRESSURES:
            parts.append({"code": form.code, "dataAbsentReason": _NOT_CHARTED})
    form = form_of("blood_pressure")
    says = ", ".join(f"{form_of(name).code['text']} {value}" for name, value in values.items())
    writer.charted(key, form.code, says, {"component": parts}, when, form.profiles)


def _own(writer: Writer, key: str, column: dict[str, str], value: float, when: str) -> None:
    """A channel of the user's own."""
    label, code = column["label"], column["loinc"]
    named = concept(LOINC, code, "", label) if code else {"text": label}
    content = {"valueQuantity": quantity(value, column["unit"] or "1")}
    writer.charted(key, named, f"{label} {value} {column['unit']}".strip(), content, when, ())


_NOT_CHARTED = concept(f"{HL7}/data-absent-reason", "not-performed", "Not Performed")


def recordings(writer: Writer, facts: Facts) -> None:
    """A DocumentReference each for the ECG's and the chart's WFDB record, by their path in the cohort."""
    day, label = writer.profile.index_date, facts.get(LABEL, "")
    if day is None:
        return
    home = f"{stem_of(named('signals', label))}/" if label else ""
    place = f"{home}wfdb/{writer.profile.patient_id}"
    study = Study.of(facts, day)
    if study is not None and study.taken is not None and "heart_rate" in facts:
        _document(
            writer, "ecg", "waveform", "12-lead ECG, WFDB record", f"{study.taken.isoformat()}Z", place, label
        )
    if "chart" in facts:
        begins = f"{chart_begins(day).isoformat()}Z"
        _document(
            writer, "vitals", "vitals_chart", "Vital signs of the stay, WFDB record", begins, place, label
        )


def _document(writer: Writer, name: str, term: str, title: str, when: str, place: str, label: str) -> None:
    (system, code), display = LOINC_TERMS[term]
    visit = writer.chart.index_visit
    category = concept(_CATEGORIES, "clinical-note", "Clinical Note")
    writer.add(
        "DocumentReference",
        f"{name}-file-{label}" if label else f"{name}-file",
        title,
        {
            "status": "current",
            "type": concept(system, code, display, title),
            "category": [category],
            "subject": writer.subject,
            "date": when,
            "author": [writer.team.performer("vital-signs", visit)],
            "custodian": reference("Organization", HOSPITAL),
            "description": title,
            "content": [
                {
                    "attachment": {
                        "contentType": "application/octet-stream",
                        "url": f"{place}/{name}.hea",
                        "title": f"{title} of a synthetic patient",
                    }
                }
            ],
            "context": {
                "encounter": [writer.refer("Encounter", visit.key)],
                "period": {"start": when, "end": writer.time(visit.end)},
            },
        },
        ["documentreference"],
    )
