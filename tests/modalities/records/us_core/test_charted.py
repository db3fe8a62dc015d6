"""Charts with levels of their own, and charts of instances, in the health record."""

from typing import Any

import numpy as np

from polyclinic.conditioning.population import Population
from polyclinic.core.instance_name import LABEL
from polyclinic.core.modality import Batch, Facts
from polyclinic.core.profile import seed_for
from polyclinic.modalities.records import Records

(PATIENT,) = Population.load("icu").draw(1, 3)
COLUMNS = [{"label": "Heart rate", "loinc": "8867-4", "unit": "/min", "field": "heart_rate"}]


def drawn(facts: dict[str, Facts]) -> dict[str, dict[str, Any]]:
    """Resources of the patient by their keys; no rule is broken."""
    seeds = (seed_for(3, PATIENT.patient_id, "records"),)
    (record,) = (
        Records().generator(()).sample(Batch((PATIENT,), np.zeros((1, 0), np.float32), seeds, (facts,)))
    )
    assert Records().breaches(record) == []
    return {r["id"].removeprefix(f"{PATIENT.patient_id}-"): r for r in record.facts["resources"]}


def test_vital_signs_of_the_index_visit_are_the_medians_of_a_chart_with_levels_of_its_own() -> None:
    chart = {"columns": COLUMNS, "step_hours": 1.0, "rows": [[131.0]] * 5}
    plain = drawn({"signals": {"chart": chart}})
    own = drawn({"signals": {"chart": chart, "baseline": {"heart_rate": 131.0, "temperature": float("nan")}}})
    assert own["heart-rate"]["valueQuantity"]["value"] == 131
    assert plain["heart-rate"]["valueQuantity"]["value"] == round(PATIENT.measurements["heart_rate"])
    assert own["temperature"] == plain["temperature"]  # which the chart does not have


def test_the_chart_of_an_instance_is_stated_beside_the_plain_one() -> None:
    rows = {"": [[80.0], [81.0]], "holter": [[90.0], [None], [92.0]]}
    facts = {
        f"signals:{label}" if label else "signals": {
            "chart": {"columns": COLUMNS, "step_hours": 1.0, "rows": own},
            **({LABEL: label} if label else {}),
        }
        for label, own in rows.items()
    }
    found = drawn(facts)
    charted = {key: r["valueQuantity"]["value"] for key, r in found.items() if key.startswith("chart")}
    assert charted == {
        "chart-0-heart-rate": 80,
        "chart-1-heart-rate": 81,
        "charted-holter-0-heart-rate": 90,
        "charted-holter-2-heart-rate": 92,
    }
    urls = [found[key]["content"][0]["attachment"]["url"] for key in ("vitals-file", "vitals-file-holter")]
    assert urls == [f"{home}wfdb/{PATIENT.patient_id}/vitals.hea" for home in ("", "signals-holter/")]
