"""Masks of images: read from files on the grid of their image, drawn as planes beside it, turned back into labels.

A plane holds, for one label, the signed distance to its edge, clipped at a share of the image's side, so that what a
model adds to it moves the edge a little. A pixel has the label of the highest plane, and none where all are below 0.
"""

import struct
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...core.config import MaskLabel
from ...core.dicom_patient import SEGMENTATIONS, broken
from ...core.errors import InputError, first_line
from ...core.types import AnyArray, BoolArray, Float32Array, FloatArray
from .formats import nifti
from .formats.dicom import read_dataset
from .formats.files import PICTURES, require_rows
from .frame import FULL_SCALE, Frame, Slices, fitted

if TYPE_CHECKING:
    from pydicom import Dataset

Labels = Mapping[int, MaskLabel]
REACH = 1 / 8  # of the image's side: distances from an edge that a plane tells apart
LOSSLESS = PICTURES - {".jpg", ".jpeg"}
GREYS = ("1", "L", "P", "I;16", "I;16B", "I;16L", "I")  # Pillow's modes whose pixels are values


def read_masks(
    path: Path, image: Path, labels: Labels, slices: Slices, plane: nifti.Plane
) -> Iterator[NDArray[np.uint8]]:
    """(row, column) of each chosen frame of an image: 0, or the place of the pixel's label in `labels`, from 1.

    Raises InputError naming the mask: unreadable, a grid in space that is not the image's, values without a label.
    """
    if nifti.is_nifti(path):
        if not nifti.is_nifti(image):
            raise InputError(
                f"{path}: expected a mask of {image.name}, which is no NIfTI volume; give a picture"
            )
        nifti.require_same_grid(path, image)
        volume = nifti.planes_of(path, plane)
        for place in slices.of(len(volume)):
            yield _numbered(volume[place], labels, path)
    elif path.suffix.lower() in PICTURES:
        yield from _of_picture(path, labels, slices)
    else:
        yield from _of_dicom(path, image, labels, slices)


def _of_picture(path: Path, labels: Labels, slices: Slices) -> Iterator[NDArray[np.uint8]]:
    if path.suffix.lower() not in LOSSLESS:
        raise InputError(f"{path}: JPEG changes the values of a mask; give it as PNG, TIFF, NIfTI or DICOM")
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected the mask of an image")
    try:
        with Image.open(path) as file:
            if file.format == "PNG":
                require_rows(path)
            for page in slices.of(getattr(file, "n_frames", 1)):
                file.seek(page)
                if file.mode not in GREYS:
                    raise InputError(
                        f"{path}: expected a value a pixel, got {file.mode}; save it as grey or palette"
                    )
                yield _numbered(np.asarray(file).astype(np.int64), labels, path)
    except (
        OSError, EOFError, SyntaxError, zlib.error, struct.error, Image.DecompressionBombError
    ) as error:  # fmt: skip
        raise InputError(f"{path}: cannot be read as a picture ({first_line(error)})") from None


def _numbered(values: AnyArray, labels: Labels, path: Path) -> NDArray[np.uint8]:
    """Values as places of their labels. Raises InputError for others than 0 and those that have a label."""
    found = np.zeros(values.shape, dtype=np.uint8)
    known = values == 0
    for number, value in enumerate(labels, start=1):
        here = values == value
        found[here] = number
        known |= here
    if not known.all():
        strange = np.unique(values[~known])
        said = ", ".join(f"{value:g}" for value in strange[:5].tolist())
        raise InputError(
            f"{path}: {len(strange)} values have no label ({said}); mask_labels names "
            f"{', '.join(map(str, labels))}, and 0 is the background"
        )
    return found


def _of_dicom(path: Path, image: Path, labels: Labels, slices: Slices) -> Iterator[NDArray[np.uint8]]:
    """Of a DICOM segmentation, or of a DICOM image whose stored values are labels."""
    dataset = read_dataset(path)
    uid, count = "", 1
    if not nifti.is_nifti(image) and image.suffix.lower() not in PICTURES:
        of = read_dataset(image, pixels=False)
        uid, count = str(of.get("SOPInstanceUID", "")), int(of.get("NumberOfFrames") or 1)
    try:
        pixels = np.asarray(dataset.pixel_array)
        frames = pixels.reshape(-1, *pixels.shape[-2:])
        if str(dataset.SOPClassUID) not in SEGMENTATIONS:
            for place in slices.of(len(frames)):
                yield _numbered(frames[place].astype(np.int64), labels, path)
            return
        covered = list(segments(dataset, frames))
        numbers = _segment_numbers(dataset, labels, path)
        if uid and not any(uid in sources for _, _, sources in covered):
            raise InputError(f"{path}: this segmentation does not name the image {image.name} ({uid})")
        for place in slices.of(count):
            found = np.zeros(frames.shape[1:], dtype=np.uint8)
            for number, wanted in enumerate(numbers, start=1):
                for segment, here, sources in covered:
                    if segment in wanted and (not uid or sources.get(uid, -1) in (0, place + 1)):
                        found[here] = number
            yield found
    except broken() as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: cannot read this DICOM segmentation ({first_line(error)})") from None


def segments(dataset: "Dataset", frames: AnyArray) -> Iterator[tuple[int, BoolArray, dict[str, int]]]:
    """Of each frame and segment: its number, (row, column) where it is, and the images that it is of.

    Those are SOP instance UID -> number of the frame, 0 where the image has one frame.
    """
    kind = str(dataset.get("SegmentationType", "BINARY"))
    half = int(dataset.get("MaximumFractionalValue", 255)) / 2 if kind == "FRACTIONAL" else 0
    shared = dataset.get("SharedFunctionalGroupsSequence") or ()
    whole = {
        str(one.ReferencedSOPInstanceUID): 0
        for series in dataset.get("ReferencedSeriesSequence") or ()
        for one in series.get("ReferencedInstanceSequence") or ()
    }
    for frame, group in zip(frames, dataset.PerFrameFunctionalGroupsSequence, strict=True):
        sources = {
            str(one.ReferencedSOPInstanceUID): int(np.ravel(one.get("ReferencedFrameNumber") or 0)[0])
            for derived in group.get("DerivationImageSequence") or ()
            for one in derived.get("SourceImageSequence") or ()
        } or (whole if len(whole) == 1 else {})
        if kind == "LABELMAP":
            for value in np.unique(frame[frame > 0]):
                yield int(value), frame == value, sources
            continue
        said = next(s for g in (group, *shared) for s in g.get("SegmentIdentificationSequence") or ())
        yield int(said.ReferencedSegmentNumber), frame > half, sources


def _segment_numbers(dataset: "Dataset", labels: Labels, path: Path) -> list[set[int]]:
    """For each label the segments that it is: those of its name, else the one of its value. Raises InputError."""
    said = {
        int(one.SegmentNumber): str(one.get("SegmentLabel", "")).strip() for one in dataset.SegmentSequence
    }
    said.pop(0, None)  # the background of a label map
    names = [one.label.casefold() for one in labels.values()]
    by_name = {
        number: names.index(text.casefold()) for number, text in said.items() if text.casefold() in names
    }
    by_value = {
        number: list(labels).index(number) for number in said if number in labels and number not in by_name
    }
    places = {**by_value, **by_name}
    if strange := [f"{number} ({text})" for number, text in said.items() if number not in places]:
        raise InputError(
            f"{path}: {len(strange)} segments have no label: {', '.join(strange[:5])}; mask_labels names "
            f"{', '.join(f'{value}: {one.label}' for value, one in labels.items())}"
        )
    return [{number for number, place in places.items() if place == label} for label in range(len(names))]


def resized(frame: Frame, size: int, labels: int) -> NDArray[np.uint8]:
    """(size, size) labels of the mask of a frame, cut as its image: the one that most of a pixel has."""
    assert frame.labels is not None, "asked for the mask of a frame without one"
    each = [(frame.labels == number).astype(np.float32) for number in range(labels + 1)]
    shares = [fitted(one, size, frame.aspect, Image.Resampling.BOX) for one in each]
    return np.stack(shares).argmax(0).astype(np.uint8)


def planes(frame: Frame, size: int, labels: int) -> NDArray[np.uint16]:
    """(label, size, size) 12-bit planes of the mask of a frame, cut and resized as its image; half is the edge."""
    number = resized(frame, size, labels)
    found = [_distance(number == n) for n in range(1, labels + 1)]
    return np.rint((np.stack(found) + 1) / 2 * FULL_SCALE).astype(np.uint16)


def _distance(inside: BoolArray) -> FloatArray:
    """(row, column) signed distance to the edge of a region, in units of REACH, from -1 (outside) to 1."""
    from scipy.ndimage import distance_transform_edt

    if inside.all() or not inside.any():
        return np.full(inside.shape, 1.0 if inside.all() else -1.0)
    away = np.where(inside, distance_transform_edt(inside) - 0.5, 0.5 - distance_transform_edt(~inside))
    return np.asarray(np.clip(away / (REACH * len(inside)), -1, 1))


def labelled(drawn: Float32Array, factor: int = 1) -> NDArray[np.uint8]:
    """(row, column) labels, 0 the background, of (label, row, column) planes in [-1, 1]; each pixel `factor` times."""
    found = np.where(drawn.max(0) > 0, drawn.argmax(0) + 1, 0).astype(np.uint8)
    return found.repeat(factor, axis=0).repeat(factor, axis=1)
