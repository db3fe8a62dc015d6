"""UIDs follow everything that a DICOM object holds: no two variants of a cohort share one, the same settings do."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pydicom
import pytest

from polyclinic import Batch, PatientProfile, ProfileEncoder, load_modality
from polyclinic.core.cohort.watermark import Mark
from polyclinic.core.identity import STUDY, changed, identified
from polyclinic.core.modality import Record

PERSON = PatientProfile("SYN-1", 61.0, "F", 165.0, 70.0, index_date=date(2024, 3, 1))
ENCODER = ProfileEncoder()
IMAGES: dict[str, tuple[dict[str, Any], PatientProfile, int]] = {
    "as it is": ({"upsample": False}, PERSON, 1),
    "another object": ({"upsample": False, "iod": "CR"}, PERSON, 1),
    "another size": ({}, PERSON, 1),
    "compressed": ({"upsample": False, "compression": "rle"}, PERSON, 1),
    "another finding": ({"upsample": False}, PERSON.but(conditions={"J90": True}), 1),
    "another age": ({"upsample": False}, replace(PERSON, age=62.0), 1),
    "another seed": ({"upsample": False}, PERSON, 2),
}
ECGS: dict[str, tuple[dict[str, Any], PatientProfile, int]] = {
    "as it is": ({}, PERSON, 1),
    "noisy": ({"noise": {"muscle": 0.05}}, PERSON, 1),
    "longer": ({"seconds": 20}, PERSON, 1),
    "with heart failure": ({}, PERSON.but(conditions={"I50.9": True}), 1),
    "another seed": ({}, PERSON, 2),
}


def sent(
    modality: str, options: Mapping[str, Any], profile: PatientProfile, seed: int, out: Path
) -> list[Path]:
    plugin = load_modality(modality, options)
    batch = Batch((profile,), ENCODER.encode((profile,)), (seed,))
    records = plugin.generator(ENCODER.columns).sample(batch)
    return [path for path in plugin.export(records, (profile,), out) if path.suffix == ".dcm"]


@pytest.mark.parametrize(("modality", "variants"), [("imaging", IMAGES), ("signals", ECGS)])
def test_an_archive_keeps_every_variant_of_a_cohort(
    tmp_path: Path, modality: str, variants: Mapping[str, tuple[dict[str, Any], PatientProfile, int]]
) -> None:
    archive: dict[str, bytes] = {}
    series: dict[str, str] = {}
    more = {"formats": ["wfdb", "dicom"]} if modality == "signals" else {}
    for i, (name, (options, profile, seed)) in enumerate(variants.items()):
        for again in range(2):
            (path,) = sent(modality, {**options, **more}, profile, seed, tmp_path / f"{i}-{again}")
            tags = pydicom.dcmread(path)
            held = archive.setdefault(tags.SOPInstanceUID, path.read_bytes())
            assert held == path.read_bytes(), name  # the same UID means the same bytes
            assert series.setdefault(tags.SeriesInstanceUID, name) == name
    assert len(archive) == len(series) == len(variants)


def test_a_study_follows_its_patient_and_a_watermark_makes_another_object() -> None:
    plugin = load_modality("imaging", {"upsample": False})
    batch = Batch((PERSON,), ENCODER.encode((PERSON,)), (1,))
    (drawn,) = plugin.generator(ENCODER.columns).sample(batch)
    marked = plugin.mark(drawn, Mark(b"k" * 32), PERSON.patient_id)
    assert [drawn.facts[name] == marked.facts[name] for name in STUDY] == [True, False, False]
    assert plugin.mark(drawn, Mark(b"k" * 32), PERSON.patient_id).facts == marked.facts
    assert changed(Record({}, {"rate": 1})).facts == {"rate": 1}  # nothing to follow
    known = [identified(drawn, PERSON, 1, {"iod": iod}, {}) for iod in ("DX", "CR", "DX")]
    assert known[0].facts == known[2].facts
    assert not set(map(known[0].facts.get, STUDY)) & set(map(known[1].facts.get, STUDY))
