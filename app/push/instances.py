"""Instances: what a DICOM file's header says of where it belongs, read without its pixels."""

from dataclasses import dataclass

from .sender import Item


@dataclass(frozen=True)
class Identity:
    """UIDs of a DICOM file: its class, transfer syntax, study, series and instance."""

    sop_class: str
    syntax: str
    study: str
    series: str
    instance: str


def identity(item: Item) -> Identity:
    """Of an item that is a DICOM file."""
    import pydicom

    assert item.path is not None
    tags = pydicom.dcmread(
        item.path,
        stop_before_pixels=True,
        specific_tags=["SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"],
    )
    syntax = str(tags.file_meta.TransferSyntaxUID)
    return Identity(
        str(tags.SOPClassUID), syntax, str(tags.StudyInstanceUID), str(tags.SeriesInstanceUID),
        str(tags.SOPInstanceUID),
    )  # fmt: skip
