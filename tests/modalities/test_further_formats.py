"""Formats from outside: one file and one entry-point line, for images a patient and for tables of all patients."""

from pathlib import Path

import numpy as np
import pytest

from polyclinic import PatientProfile, Record
from polyclinic.core.errors import InputError
from polyclinic.core.registry import load_modality

PLUGIN = """
import numpy as np

class Raw:
    name, modality = "raw", "imaging"

    def write(self, records, profiles, folder):
        paths = [folder / f"{p.patient_id}.npy" for p in profiles]
        for path, record in zip(paths, records):
            np.save(path, record.arrays["image"])
        return paths

class Lines:
    name, modality = "lines", "omics"

    def write(self, records, profiles, folder):
        (folder / "ids").write_text("".join(p.patient_id + "\\n" for p in profiles))
        return [folder / "ids"]

    def assemble(self, pieces, folder, provenance):
        (folder / "all").write_text("".join((piece / "ids").read_text() for piece in pieces))
        return [folder / "all"]

class Alone(Lines):
    name, assemble = "alone", None

class Finished:
    name, modality = "finished", "records"

    def convert(self, source, folder):
        (folder / "finished").write_text("all")
        return [folder / "finished"]

class OfOne(Finished):
    name, modality = "whole", "imaging"

class Nothing:
    name, modality = "nothing", "records"
"""
POINTS = """[polyclinic.formats]
imaging.raw = further:Raw
omics.lines = further:Lines
omics.alone = further:Alone
records.finished = further:Finished
imaging.whole = further:OfOne
records.nothing = further:Nothing
"""
PEOPLE = [
    PatientProfile("a", conditions={"C50.919": True}),
    PatientProfile("b", conditions={"C50.919": True}),
]
FACTS = {
    "findings": [], "view": "PA", "body_part": "CHEST", "iod": "DX", "study_uid": "2.25.1", "series_uid": "2.25.2",
    "instance_uid": "2.25.3", "pixel_spacing_mm": 1.0, "derivation": "made up",
}  # fmt: skip


@pytest.fixture(autouse=True)
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package of one file and its entry points."""
    home = tmp_path / "site"
    about = home / "further-1.0.dist-info"
    about.mkdir(parents=True)
    (home / "further.py").write_text(PLUGIN)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: further\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(POINTS)
    monkeypatch.syspath_prepend(str(home))


def test_images_are_written_in_both(tmp_path: Path) -> None:
    image = np.full((16, 16), 7, dtype=np.uint16)
    imaging = load_modality("imaging", {"formats": ["dicom", "raw"]})
    paths = imaging.export([Record({"image": image}, FACTS)], PEOPLE[:1], tmp_path)
    assert [path.suffix for path in paths] == [".dcm", ".npy"]
    np.testing.assert_array_equal(np.load(paths[1]), imaging.read(tmp_path, ["a"])["a"].arrays["image"])


def test_tumours_are_joined_by_it(tmp_path: Path) -> None:
    omics = load_modality("omics", {"format": "lines"})
    pieces = [tmp_path / "1", tmp_path / "2"]
    for piece, person in zip(pieces, PEOPLE, strict=True):
        piece.mkdir()
        omics.export([Record({}, {})], [person], piece)
    assert [path.read_text() for path in omics.assemble(pieces, tmp_path)] == ["a\nb\n"]


def test_a_format_of_the_finished_cohort_needs_no_write(tmp_path: Path) -> None:
    records = load_modality("records", {"formats": ["finished"]})
    assert records.export([], [], tmp_path) == []
    assert (tmp_path / "finished") in records.assemble([tmp_path], tmp_path)


def test_formats_that_cannot_do_what_is_asked_are_refused(tmp_path: Path) -> None:
    image = Record({"image": np.full((16, 16), 7, dtype=np.uint16)}, FACTS)
    with pytest.raises(InputError, match="imaging: formats: whole cannot write patients"):
        load_modality("imaging", {"formats": ["dicom", "whole"]}).export([image], PEOPLE[:1], tmp_path)
    with pytest.raises(
        InputError, match=r"neither `write\(records, profiles, folder\)` nor `convert\(source, folder\)`"
    ):
        load_modality("records", {"formats": ["nothing"]}).export([], [], tmp_path)


def test_a_format_that_cannot_join_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="alone cannot join all patients"):
        load_modality("omics", {"format": "alone"}).export([], [], tmp_path)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("imaging", {"formats": ["dicom", "none"]}),
        ("omics", {"format": "none"}),
    ],
)
def test_formats_that_are_not_installed_are_named(name: str, options: dict[str, object]) -> None:
    with pytest.raises(InputError, match=r"raw|lines"):
        load_modality(name, options)
