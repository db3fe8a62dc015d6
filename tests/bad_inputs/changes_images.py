"""Changes of images: DICOM tags and pixels, the parts of a PNG."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .case import HARMLESS, OTHER, REFUSED, TOLD, Change, Edit
from .changes_files import content

LITTLE_ENDIAN, BIG_ENDIAN = b"1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"  # transfer syntaxes
TAGS: dict[str, tuple[tuple[Any, str], ...]] = {
    "Rows": ((0, REFUSED), (65535, REFUSED), (1, OTHER), (None, REFUSED), (15, OTHER)),
    "Columns": ((0, REFUSED), (65535, REFUSED), (None, REFUSED)),
    "NumberOfFrames": (("0", OTHER), ("-1", REFUSED), ("1000000", REFUSED), ("2147483647", REFUSED)),
    "SamplesPerPixel": ((0, REFUSED), (3, REFUSED), (200, REFUSED), (None, OTHER)),
    "BitsAllocated": ((0, REFUSED), (1, REFUSED), (8, OTHER), (12, REFUSED), (64, REFUSED), (None, REFUSED)),
    "BitsStored": ((0, REFUSED), (99, REFUSED), (None, OTHER)),
    "PixelRepresentation": ((7, REFUSED), (None, OTHER)),
    "PhotometricInterpretation": (
        ("", REFUSED),
        ("MAGIC", REFUSED),
        ("PALETTE COLOR", REFUSED),
        ("RGB", REFUSED),
        (None, REFUSED),
    ),
    "RescaleSlope": (
        ("0", REFUSED),
        ("1e300", REFUSED),
        ("nan", REFUSED),
        ("inf", REFUSED),
        ("", OTHER),
        ("-1", OTHER),
    ),
    "RescaleIntercept": (("1e300", REFUSED), ("nan", REFUSED), ("inf", REFUSED)),
    "WindowWidth": (("0", TOLD), ("-5", TOLD), ("nan", REFUSED), ("1e300", OTHER), (["1", "2"], OTHER)),
    "WindowCenter": (("nan", REFUSED), ("inf", REFUSED), ("1e300", OTHER)),
    "PatientID": (
        ("", REFUSED),
        ("   ", REFUSED),
        (None, REFUSED),
        ("../../evil", OTHER),
        ("a\x1b[31mb", OTHER),
        ("x" * 64, OTHER),
    ),
    "PatientAge": (("", OTHER), ("999Y", TOLD), ("-01Y", OTHER), ("abc", OTHER), ("031W", OTHER)),
    "PatientSex": (("", OTHER), ("X", OTHER), ("F\\M", OTHER)),
    "Modality": (("", OTHER), ("SR", OTHER), (None, OTHER)),
    "BodyPartExamined": (("FOOT", REFUSED),),
    "StudyDate": (("20240230", OTHER), ("x", OTHER)),
    "TransferSyntaxUID": (
        ("1.2.840.10008.1.2.4.50", REFUSED),
        ("1.2.840.10008.1.2.4.90", REFUSED),
        ("1.2.840.10008.1.2.5", REFUSED),
        ("1.2.840.10008.1.2.4.100", REFUSED),
        ("1.2.3", REFUSED),
        (BIG_ENDIAN, REFUSED),
        ("1.2.840.10008.1.2.1.99", REFUSED),
    ),
    "PixelData": (
        (b"", REFUSED),
        (bytes(511), REFUSED),
        (bytes(256), REFUSED),
        (bytes(514), OTHER),
        (None, REFUSED),
    ),
    "SOPInstanceUID": (("2.25.1001", OTHER), ("", OTHER), ("not.a.uid", OTHER)),
}


def of_dicom(file: str) -> list[Change]:
    """One tag by another value, or none; the file cut at odd places. A refusal names the file."""
    name = (Path(file).name,)

    def tag(keyword: str, value: Any) -> Edit:
        def edit(home: Path) -> None:
            import pydicom.encaps

            if value == BIG_ENDIAN:  # which pydicom does not write of the other order
                content(file, lambda b: b.replace(LITTLE_ENDIAN, BIG_ENDIAN.encode(), 1))(home)
                return
            image = pydicom.dcmread(home / file)
            owner = image.file_meta if keyword == "TransferSyntaxUID" else image
            if value is None:
                delattr(owner, keyword)
            else:
                pydicom.config.settings.writing_validation_mode = pydicom.config.IGNORE
                setattr(owner, keyword, value)
            try:
                image.save_as(home / file, enforce_file_format=False)
            except ValueError:  # of a compressed syntax, whose pixels go in packets
                image.PixelData = pydicom.encaps.encapsulate([image.PixelData])
                image["PixelData"].is_undefined_length = True
                image.save_as(home / file, enforce_file_format=False)

        return edit

    changes = [
        Change(
            f"{file}: {keyword} is {value!r:.16}",
            expect,
            tag(keyword, value),
            name if expect == REFUSED else (),
        )
        for keyword, values in TAGS.items()
        for value, expect in values
    ]
    cuts = [
        Change(
            f"{file}: cut before its pixels",
            REFUSED,
            content(file, lambda b: b[: b.rfind(b"\xe0\x7f\x10\x00")]),
            name,
        ),
        Change(f"{file}: cut in its pixels", REFUSED, content(file, lambda b: b[:-100]), name),
        Change(f"{file}: cut in its tags", REFUSED, content(file, lambda b: b[:500]), name),
        Change(f"{file}: preamble alone", REFUSED, content(file, lambda b: b[:132]), name),
        Change(f"{file}: no preamble", REFUSED, content(file, lambda b: b[132:]), name),
        Change(
            f"{file}: a length of 4 GiB",
            REFUSED,
            content(
                file,
                lambda b: b.replace(
                    b"\xe0\x7f\x10\x00OW\0\0\x00\x02\x00\x00", b"\xe0\x7f\x10\x00OW\0\0\xfe\xff\xff\xff"
                ),
            ),
            name,
        ),
        Change(f"{file}: bytes behind", OTHER, content(file, lambda b: b + b"\0" * 7), name),
    ]
    return [*changes, *cuts]


def chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, depth: int, colour: int, rows: bytes, more: bytes = b"") -> bytes:
    """A PNG of these fields, whether they fit or not."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + more + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def of_png(file: str) -> list[Change]:
    """Headers that lie, pixels that are missing, bombs."""
    name = (Path(file).name,)
    whole = (b"\0" + bytes(range(16))) * 16
    made: dict[str, tuple[str, bytes]] = {
        "wide as 2^31": (REFUSED, png(2**31 - 1, 2**31 - 1, 8, 0, whole)),
        "sixty thousand squared": (REFUSED, png(60_000, 60_000, 8, 0, whole)),
        "of no width": (REFUSED, png(0, 16, 8, 0, whole)),
        "of seven bits": (REFUSED, png(16, 16, 7, 0, whole)),
        "of colour type 9": (REFUSED, png(16, 16, 8, 9, whole)),
        "a palette without one": (REFUSED, png(16, 16, 8, 3, whole)),
        "half its rows": (REFUSED, png(16, 16, 8, 0, whole[: len(whole) // 2])),
        "no row": (REFUSED, png(16, 16, 8, 0, b"")),
        "rows too many": (OTHER, png(16, 16, 8, 0, whole * 3)),
        "one pixel": (OTHER, png(1, 1, 8, 0, b"\0\7")),
        "one grey": (OTHER, png(16, 16, 8, 0, (b"\0" + bytes(16)) * 16)),
        "a filter of 99": (REFUSED, png(16, 16, 8, 0, b"\x63" + whole[1:])),
        "a text bomb": (
            OTHER,
            png(16, 16, 8, 0, whole, chunk(b"zTXt", b"x\0\0" + zlib.compress(bytes(100_000_000)))),
        ),
        "a profile that is none": (OTHER, png(16, 16, 8, 0, whole, chunk(b"iCCP", b"x\0\0abc"))),
        "a strip": (OTHER, png(20_000, 1, 8, 0, b"\0" + bytes(20_000))),
        "a JPEG by content": (REFUSED, b"\xff\xd8\xff\xe0\0\x10JFIF\0" + bytes(40)),
        "a GIF by content": (REFUSED, b"GIF89a" + bytes(30)),
        "an SVG": (REFUSED, b"<svg xmlns='http://www.w3.org/2000/svg'/>"),
        "EPS": (REFUSED, b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"),
    }
    changes = [
        Change(f"{file}: {what}", expect, content(file, lambda _, b=body: b), name)
        for what, (expect, body) in made.items()
    ]  # type: ignore[misc]
    without_end: Callable[[bytes], bytes] = lambda b: b[:-12]  # noqa: E731
    return [
        *changes,
        Change(f"{file}: no end", HARMLESS, content(file, without_end), name),
        Change(
            f"{file}: a wrong checksum",
            REFUSED,
            content(file, lambda b: b[:45] + bytes([b[45] ^ 255]) + b[46:]),
            name,
        ),
    ]
