"""Open an image file by its kind: pictures (PNG, JPEG, TIFF, BMP) here, DICOM and NIfTI in their own modules."""

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ....core.errors import InputError, first_line
from ..frame import Frame, Levels, Slices, grey, stretched, twelve_bits
from . import dicom, nifti
from .dicom import read_dataset, stored_pixels

__all__ = ["frames", "kind_of", "read_dataset", "read_image", "stored_pixels"]

PICTURES = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"}
DEEP = ("I;16", "I;16B", "I;16L", "I")  # Pillow's modes of 16-bit grey


def frames(path: Path, levels: Levels, slices: Slices, plane: nifti.Plane = "axial") -> Iterator[Frame]:
    """The chosen frames, slices or pages of any image file, one at a time; levels as set, else its own.

    What is neither a picture nor NIfTI by its name is read as DICOM. Raises InputError with the path.
    """
    if nifti.is_nifti(path):
        yield from nifti.slices_of(path, plane, levels, slices)
    elif path.suffix.lower() in PICTURES:
        yield from _pictures(path, levels, slices)
    else:
        yield from dicom.frames(read_dataset(path), path, levels, slices)


def kind_of(path: Path) -> dict[str, str]:
    """`iod` (its Modality) and `body_part` that the tags of a DICOM file state; empty for other files.

    Raises InputError for what is neither a picture nor NIfTI by its name, and no DICOM.
    """
    if nifti.is_nifti(path) or path.suffix.lower() in PICTURES:
        return {}
    tags = read_dataset(path, pixels=False)
    found = {"iod": tags.get("Modality"), "body_part": tags.get("BodyPartExamined")}
    return {key: str(value).strip().upper() for key, value in found.items() if value}


def read_image(path: Path) -> NDArray[np.uint16]:
    """(row, column) uint16 of a single grey image, 0 black to 4095 white (bright = dense), as displayed.

    Raises InputError with the path: no such file, unreadable, colour or multi-frame DICOM.
    """
    if path.suffix.lower() in PICTURES:
        read = _pictures(path, Levels(), Slices(last=0))
    else:
        dataset = read_dataset(path)
        dicom.require_single_grey(dataset, path)
        read = dicom.frames(dataset, path, Levels(), Slices())
    return twelve_bits(grey(next(read).pixels))


def _pictures(path: Path, levels: Levels, slices: Slices) -> Iterator[Frame]:
    """The pages of a picture file; 8 or 16 bits are stretched unless levels are set, transparency is ignored."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    if not path.is_file():
        raise InputError(f"{path}: no such file; expected a PNG, JPEG, TIFF or BMP image")
    try:
        with Image.open(path) as file:
            if file.format == "PNG":
                require_rows(path)
            count = getattr(file, "n_frames", 1)
            for page in slices.of(count):
                file.seek(page)
                picture: Image.Image = ImageOps.exif_transpose(file)
                if picture.mode == "F" and not levels.chosen:
                    raise InputError(
                        f"{path}: expected 8 or 16 bits a pixel, got floating point, whose white is unknown; "
                        "set options: {window: ...} or {percentiles: ...}"
                    )
                deep = picture.mode in (*DEEP, "F")
                if not deep:
                    picture = picture.convert("L" if picture.mode in ("1", "L", "LA") else "RGB")
                values = np.asarray(picture)
                white = 65535 if deep else 255
                ends = levels.ends(values) if levels.chosen else (0, white)
                stack = str(path) if count > 1 else ""
                yield Frame(stretched(values, *ends), stack=stack, height=float(page))
    except (
        UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, EOFError, zlib.error,
        struct.error,
    ) as error:  # fmt: skip
        raise InputError(f"{path}: expected an image file, cannot read it ({first_line(error)})") from None


PASSES = (
    (8, 8, 0, 0),
    (8, 8, 4, 0),
    (4, 8, 0, 4),
    (4, 4, 2, 0),
    (2, 4, 0, 2),
    (2, 2, 1, 0),
    (1, 2, 0, 1),
)  # of Adam7
BY_PALETTE = 3  # a colour type
SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # a pixel's, by colour type


def require_rows(path: Path) -> None:
    """Raises EOFError for a PNG without its palette, or whose pixels end before its last row: Pillow 12 shows both.

    Source: Portable Network Graphics, third edition, 7.2 and 8.1.
    """
    unpacked, expected, palette, stream = 0, 0, True, zlib.decompressobj()
    with path.open("rb") as file:
        file.seek(8)
        while len(head := file.read(8)) == 8 and head[4:] != b"IEND":
            length, kind = struct.unpack(">I4s", head)
            palette |= kind == b"PLTE"
            content = file.read(length) if kind in (b"IHDR", b"IDAT") else b""
            file.seek(length - len(content) + 4, 1)  # what is left of it, and its checksum
            if kind == b"IHDR":
                width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", content)
                expected = _bytes_of_rows(width, height, depth * SAMPLES.get(colour, 1), interlaced)
                palette = colour != BY_PALETTE
            while kind == b"IDAT" and content and unpacked < expected:  # a bomb unpacks no further
                unpacked += len(stream.decompress(content, 1 << 20))
                content = stream.unconsumed_tail
    if not palette:
        raise EOFError("its palette is missing")
    if unpacked < expected:
        raise EOFError(f"its pixels are cut: {unpacked:,} bytes of {expected:,}")


def _bytes_of_rows(width: int, height: int, bits: int, interlaced: int) -> int:
    """Of all rows of an image of so many bits a pixel, each row with the byte that names its filter."""
    passes = PASSES if interlaced else ((1, 1, 0, 0),)
    sizes = [(-(-(width - x) // across), -(-(height - y) // down)) for across, down, x, y in passes]
    return sum(rows * (1 + (columns * bits + 7) // 8) for columns, rows in sizes if rows > 0 and columns > 0)
