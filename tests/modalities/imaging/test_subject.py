"""What images are of: the card's statement, the folder's, its tags, and the words that follow from it."""

from pathlib import Path

import pytest

from polyclinic.core.errors import InputError
from polyclinic.core.modality import DatasetSource, TrainingSet
from polyclinic.core.remarks import remarks
from polyclinic.core.training.weights import find, read_card
from polyclinic.modalities.imaging.metrics import views
from polyclinic.modalities.imaging.model import Shows, shows_of
from polyclinic.modalities.imaging.subject import Subject
from polyclinic.modalities.imaging.training import shown


def folder(root: Path, records: tuple[str, ...] = (), **options: object) -> TrainingSet:
    return TrainingSet(root, DatasetSource("mine", "none"), records, (), (), "train", options)


@pytest.mark.parametrize(
    ("iod", "part", "title"),
    [
        ("MR", "BRAIN", "Brain MR"), ("DMS", "SKIN", "Skin photograph (dermoscopy)"), ("DX", "CHEST", "Chest X-ray"),
        ("CT", "CHEST", "Chest CT"), (None, "CHEST", "Chest X-ray"), ("CR", "HAND", "Hand X-ray"),
        ("OP", "EYE", "Fundus photograph"), ("US", "", "Ultrasound"), ("PT", "WHOLEBODY", "Whole-body PET"),
        (None, "LIVER", "Liver image"), (None, "", "Image"), ("MG", "BREAST", "Mammogram"),
    ],
)  # fmt: skip
def test_titles(iod: str | None, part: str, title: str) -> None:
    assert Subject(iod, part).title == title


def test_tasks_and_name_of_the_chest_are_of_chests_alone() -> None:
    (chest,), (skin,) = views(Subject("DX", "CHEST")), views(Subject("DMS", "SKIN"))
    assert (chest.name, len(chest.tasks)) == ("xray", 3)
    assert (skin.name, skin.tasks, skin.title) == ("image", (), "Skin photograph (dermoscopy)")
    assert not any("lung" in said or "X-ray" in said for said in skin.blind)


def test_cards_that_ship_are_of_chests() -> None:
    card = read_card(find("imaging"))
    assert Subject.of_card(card).title == "Chest X-ray"
    old = card.model_copy(update={"model": {"size": 64}})
    assert (shows_of(old).body_part, Subject.of_card(old).body_part) == ("CHEST", "CHEST")


def test_a_folder_that_says_nothing_gets_no_body_part(tmp_path: Path) -> None:
    with remarks(lambda text: None) as said:
        found = shown([folder(tmp_path)], Shows(), None)
        assert found.body_part == ""
        assert not said, "what is wrong with the images themselves is one line alone"
        found.remark_nameless()
    assert any("shows: {body_part: ...}" in text for text in said)


def test_a_folder_states_it_and_the_training_yaml_goes_first(tmp_path: Path) -> None:
    skin = folder(tmp_path, shows={"iod": "DMS", "body_part": "SKIN", "extent_mm": 20})
    found = shown([skin], Shows(extent_mm=30), None)
    assert (found.iod, found.body_part, found.extent_mm) == ("DMS", "SKIN", 30)
    assert Subject.of_data([folder(tmp_path), skin]) == Subject("DMS", "SKIN")


@pytest.mark.parametrize(
    ("modality", "part", "expected"),
    [
        ("MR", "BRAIN", {"iod": "MR", "body_part": "BRAIN"}), ("DX", "HAND", {"iod": "CR", "body_part": "HAND"}),
        ("CR", "THORAX", {"iod": "CR", "body_part": "CHEST"}), ("MG", "", {"iod": "MG", "body_part": "BREAST"}),
        ("OT", "", {"iod": "SC"}), ("RF", "ABDOMEN", {"iod": "SC", "body_part": "ABDOMEN"}),
        ("US", "ABDOMEN", {"iod": "US", "body_part": "ABDOMEN"}), ("", "HAND", {"body_part": "HAND"}),
    ],
)  # fmt: skip
def test_dicom_tags_say_it(tmp_path: Path, modality: str, part: str, expected: dict[str, str]) -> None:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    for number in range(2):
        dataset = Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", f"2.25.{number}"
        dataset.Modality, dataset.BodyPartExamined = modality, part
        dataset.save_as(tmp_path / f"{number}.dcm", enforce_file_format=True)
    assert Subject.of_data([folder(tmp_path, ("0.dcm", "1.dcm"))]).shows() == expected


@pytest.mark.parametrize("kind", ["OT", "RF", "dx", "", 3, ["DX"], {"DX": 1}])
def test_a_kind_that_nobody_knows_is_one_line(tmp_path: Path, kind: object) -> None:
    data = folder(tmp_path, shows={"iod": kind, "body_part": "ABDOMEN"})
    for asked in (lambda: shown([data], Shows(), None), lambda: Subject.of_data([data])):
        with pytest.raises(InputError, match=r"options\.shows: iod: .*'DX', 'CR', .* or 'SC', got "):
            asked()


def test_a_caption_says_only_what_is_known() -> None:
    from polyclinic.core.modality import Record
    from polyclinic.core.profile import PatientProfile
    from polyclinic.modalities.imaging.metrics import _caption

    nothing = Record({}, {})
    assert _caption(PatientProfile("a"), nothing) == ""
    assert _caption(PatientProfile("a", traits={"chest_view": "PA"}), nothing) == "PA"
    assert (
        _caption(PatientProfile("a", conditions={"J90": False}), Record({}, {"view": "AP"}))
        == "AP · no finding"
    )
    found = _caption(PatientProfile("a", conditions={"J90": True}), nothing)
    assert found
    assert "·" not in found
