"""DICOM elements that are encoded once: the bytes are pydicom's, whatever was encoded before."""

from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset

from polyclinic.core import dicom_encoding
from polyclinic.core.dicom_encoding import save
from polyclinic.core.dicom_patient import coded, started

TEXT = st.sampled_from(["", "a", "größe", "a, b", "['a', 'b']"])
NUMBER = st.sampled_from(["1", "1.0", "1.50", "1.5", "-0", "0"])  # equal numbers, other bytes
PARTS = st.fixed_dictionaries(
    {},
    optional={
        "PatientComments": TEXT,
        "PatientName": st.sampled_from(["A^B", "A^B=", "größe^x"]),
        "ImageType": st.one_of(TEXT, st.lists(TEXT, min_size=1, max_size=3)),
        "SliceThickness": NUMBER,
        "PixelSpacing": st.lists(NUMBER, min_size=2, max_size=2),
        "SeriesNumber": st.sampled_from(["1", "01", "+1"]),
        "Rows": st.integers(0, 3),
        "PhysicalDeltaX": st.sampled_from([0.0, -0.0, 1.5]),
        "FrameIncrementPointer": st.sampled_from([[0x00540080], [0x00540010, 0x00540020]]),
        "PixelPaddingValue": st.integers(0, 3),  # ambiguous, US or SS
        "EncapsulatedDocument": st.binary(min_size=2, max_size=4).map(lambda b: b + b"\0" * (len(b) % 2)),
    },
)


def whole(parts: dict[str, object], meanings: list[str], inner: dict[str, object]) -> Dataset:
    dataset = started("1.2.840.10008.5.1.4.1.1.7", "2.25.1")
    dataset.PixelRepresentation = 0
    for keyword, value in parts.items():
        setattr(dataset, keyword, value)
    dataset.ReasonForVisitCodeSequence = [coded("I10", "I10C", meaning) for meaning in meanings]
    item = Dataset()
    for keyword, value in inner.items():
        setattr(item, keyword, value)
    dataset.DetectorInformationSequence = [item]
    return dataset


@given(st.lists(st.tuples(PARTS, st.lists(TEXT, max_size=2), PARTS), min_size=2, max_size=6))
@settings(max_examples=60, deadline=None)
@pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom's, of the values that are not valid
def test_bytes_are_those_of_pydicom_whatever_came_before(
    tmp_path_factory: pytest.TempPathFactory, objects: list[tuple[dict, list[str], dict]]
) -> None:
    path: Path = tmp_path_factory.mktemp("objects") / "one.dcm"
    for one in objects:
        expected = BytesIO()
        whole(*one).save_as(expected, enforce_file_format=True)
        save(whole(*one), path)
        assert path.read_bytes() == expected.getvalue()


def test_what_is_the_same_is_encoded_once_and_binary_data_are_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pydicom import filewriter

    monkeypatch.setattr(dicom_encoding, "_encoded", {})
    seen: list[str] = []
    write = filewriter.write_data_element
    monkeypatch.setattr(
        filewriter, "write_data_element", lambda fp, e, *a: (seen.append(e.keyword), write(fp, e, *a))
    )
    parts = {"PatientComments": "x", "EncapsulatedDocument": b"ab"}
    for number in range(2):
        save(whole(parts, ["a"], {"EncapsulatedDocument": b"cd"}), tmp_path / f"{number}.dcm")
    assert seen.count("PatientComments") == 1
    assert seen.count("DetectorInformationSequence") == seen.count("ReasonForVisitCodeSequence") + 1
    assert not any(content[-2:] == b"ab" or b"cd" in content for content in dicom_encoding._encoded.values())


def test_memory_stays_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dicom_encoding, "_encoded", {})
    monkeypatch.setattr(dicom_encoding, "SOME", 20)
    for number in range(30):
        save(whole({"PatientComments": str(number)}, [], {}), tmp_path / "x.dcm")
        assert len(dicom_encoding._encoded) <= 20
