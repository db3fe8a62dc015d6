"""An archive keeps every variant of a cohort: Orthanc holds as many instances as were sent."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from polyclinic.core.profile import PatientProfile

from .test_identity import ECGS, IMAGES, PERSON, sent


@pytest.fixture(scope="module")
def readers() -> ModuleType:
    """benchmarks/readers_images.py, which runs Orthanc by itself, away from the network."""
    path = Path(__file__).parents[2] / "benchmarks" / "readers_images.py"
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    spec = importlib.util.spec_from_file_location("readers_images", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_orthanc_holds_as_many_instances_as_were_sent(tmp_path: Path, readers: ModuleType) -> None:
    if reason := readers.no_orthanc():
        pytest.skip(reason)
    people = [PERSON, PatientProfile("SYN-2", 40.0, "M", index_date=PERSON.index_date)]
    names = [("imaging", name) for name in ("as it is", "another object", "compressed")]
    names += [("signals", name) for name in ("as it is", "noisy", "longer")]
    paths = []
    for modality, name in names:
        options, _, seed = (IMAGES if modality == "imaging" else ECGS)[name]
        more = {"formats": ["wfdb", "dicom"]} if modality == "signals" else {}
        for person in people:
            paths += sent(modality, {**options, **more}, person, seed, tmp_path / f"{modality} {name}")
    found = readers.stored(paths)
    assert found["CountInstances"] == len(paths) == len(names) * len(people)
    assert found["said"] == {"Success": len(paths)}
    again = readers.stored([paths[0], paths[0]])
    assert (again["CountInstances"], again["said"]["AlreadyStored"]) == (
        1,
        1,
    )  # what a repeated UID would meet
