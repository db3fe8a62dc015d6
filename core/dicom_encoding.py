"""Encode DICOM objects: an element that many objects share is encoded once."""

import struct
from collections.abc import Hashable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydicom import DataElement, Dataset

SOME = 4096  # elements that are remembered at most
_PREAMBLE = b"\0" * 128 + b"DICM"
_encoded: dict[Hashable, bytes] = {}


def save(dataset: "Dataset", path: Path) -> None:
    """Write an object of explicit little endian, native or compressed, in UTF-8.

    The bytes are those of `dataset.save_as(path, enforce_file_format=True)`, which encodes every element anew. The
    object has its whole file meta information, as core.dicom_patient.started gives it. Source: PS3.10 7.1.
    """
    from pydicom.filewriter import correct_ambiguous_vr

    if "PixelData" in dataset:
        dataset["PixelData"].is_undefined_length = dataset.file_meta.TransferSyntaxUID.is_compressed
    correct_ambiguous_vr(dataset, True)
    meta = b"".join(map(_element, dataset.file_meta))
    length = struct.pack("<HH2sHI", 2, 0, b"UL", 4, len(meta))
    with path.open("wb") as file:
        file.writelines([_PREAMBLE, length, meta, *map(_element, dataset)])


def _element(element: "DataElement") -> bytes:
    from pydicom.filebase import DicomBytesIO
    from pydicom.filewriter import write_data_element

    key = _key(element)
    if key is not None and (known := _encoded.get(key)) is not None:
        return known
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    write_data_element(buffer, element, "ISO_IR 192")
    content: bytes = buffer.getvalue()
    if key is not None:
        if len(_encoded) == SOME:
            _encoded.clear()
        _encoded[key] = content
    return content


def _key(element: "DataElement") -> Hashable | None:
    """What an element's bytes depend on, None of one with binary data, which is not remembered.

    The text of a value is as it was given: 1.50 and 1.5 differ.
    """
    value = element.value
    if element.VR == "SQ":
        items = tuple(tuple(map(_key, item)) for item in value)
        return None if any(None in item for item in items) else (element.tag, items)
    return None if isinstance(value, bytes) else (element.tag, element.VR, type(value), str(value))
