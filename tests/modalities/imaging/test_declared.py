"""Declared diagnoses in DICOM: the reason for the visit of those who have them, never what an image was drawn by."""

from pathlib import Path

import pydicom
import pytest

from polyclinic import Batch, PatientProfile, ProfileEncoder, load_modality
from polyclinic.core.errors import InputError
from polyclinic.core.fields import SHIPPED
from polyclinic.modalities.imaging.gaussian_prior import classes_of, require_classes
from polyclinic.modalities.imaging.generator import ImageGenerator

VOCABULARY = SHIPPED.declare(
    {
        "melanoma": {
            "kind": "flag",
            "label": "Melanoma",
            "codes": {"icd10cm": "C43.9", "snomed": "372244006"},
        },
        "J45.909": {"kind": "flag", "label": "Asthma"},
        "mole": {"kind": "flag"},
        "cdr": {"kind": "category", "classes": [0, 1]},
    },
    "here",
)


@pytest.fixture(scope="module")
def encoder() -> ProfileEncoder:
    return ProfileEncoder.of(VOCABULARY)


@pytest.fixture(scope="module")
def generator(encoder: ProfileEncoder) -> ImageGenerator:
    made = load_modality("imaging").generator(encoder.columns)
    assert isinstance(made, ImageGenerator)
    return made


def test_a_declared_diagnosis_is_the_reason_of_those_who_have_it(
    tmp_path: Path, generator: ImageGenerator, encoder: ProfileEncoder
) -> None:
    has = {"melanoma": True, "J45.909": False, "mole": True}
    people = (
        PatientProfile("a", 50, "F", conditions=has),
        PatientProfile("b", 50, "F", conditions={"melanoma": False}),
    )
    batch = Batch(people, encoder.encode(people), (1, 2), declared=encoder.declared)
    records = generator.sample(batch)
    modality = load_modality("imaging")
    ill, well = (pydicom.dcmread(path) for path in sorted(modality.export(records, people, tmp_path)))
    assert {(i.CodingSchemeDesignator, i.CodeValue) for i in ill.ReasonForVisitCodeSequence} == {
        ("I10C", "C43.9"), ("SCT", "372244006"),
    }  # fmt: skip
    assert ill.ReasonForVisit == "Melanoma"
    assert "ReasonForVisitCodeSequence" not in well
    stated = [{name: v for name, v in r.facts.items() if name != "findings"} for r in records]
    assert [r.facts for r in modality.read(tmp_path, ["a", "b"]).values()] == stated


def test_what_an_image_was_drawn_by_stands_nowhere_in_its_tags(
    tmp_path: Path, generator: ImageGenerator, encoder: ProfileEncoder
) -> None:
    """The shipped weights draw effusion and cardiomegaly, and know nothing of hypertension."""
    (person,) = people = (PatientProfile("a", 50, "F", conditions={"J90": True, "I51.7": True, "I10": True}),)
    records = generator.sample(Batch(people, encoder.encode(people), (1,)))
    assert set(records[0].facts["findings"]) == {"J90", "I51.7"}  # of which the report speaks
    (path,) = load_modality("imaging").export(records, people, tmp_path)
    tags = pydicom.dcmread(path)
    assert [item.CodeValue for item in tags.AdmittingDiagnosesCodeSequence] == ["I10"]
    assert not {"J90", "I51.7"} & set(str(tags).replace("'", " ").split())
    assert person.has("J90")


def test_what_an_image_was_drawn_by_is_not_given_away(
    generator: ImageGenerator, encoder: ProfileEncoder
) -> None:
    profile, before = PatientProfile("a", conditions={"melanoma": True, "J45.909": True}), generator.card
    assert len(generator._background(profile, encoder.declared)["diagnoses"]) == 3
    try:
        generator.card = before.model_copy(update={"columns": [*before.columns, "melanoma", "melanoma?"]})
        assert generator._background(profile, encoder.declared) == {
            "diagnoses": [["I10C", "J45.909", "Asthma"]]
        }
    finally:
        generator.card = before


def test_a_prior_may_stand_by_a_declared_field_that_the_data_know() -> None:
    people = [PatientProfile(str(i), conditions={"melanoma": i % 2 == 0}) for i in range(4)]
    values, place = classes_of("melanoma", people, VOCABULARY)
    assert values == (False, True)
    assert place.tolist() == [1, 0, 1, 0]
    require_classes("melanoma", people, VOCABULARY)
    for by, known in (("melanoma", people[::2]), ("cdr", people)):
        with pytest.raises(
            InputError, match=rf"model.prior.by: no training patient is known to have {by} = "
        ):
            require_classes(by, known, VOCABULARY)
