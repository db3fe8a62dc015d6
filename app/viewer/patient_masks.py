"""Masks: a segment of a DICOM segmentation, as the pixels of one image that it covers."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.errors import InputError
from .patient_files import DAMAGED, NotThere


def mask(path: Path, segment: int, image_uid: str) -> NDArray[np.uint8]:
    """(row, column), 255 where a segment covers that image, 0 elsewhere; between them where it is fractional.

    Raises NotThere where there is no frame of that segment over that image, InputError if the file cannot be read.
    """
    import pydicom
    from pydicom.errors import InvalidDicomError

    try:
        dataset = pydicom.dcmread(path)
        pixels = np.asarray(dataset.pixel_array)
    except (InvalidDicomError, *DAMAGED) as error:
        raise InputError(f"{path.name}: cannot be read as a segmentation ({type(error).__name__})") from None
    frames = pixels.reshape(-1, *pixels.shape[-2:])
    kind = str(dataset.get("SegmentationType", "BINARY"))
    labelled, whole = kind == "LABELMAP", 1
    if kind == "FRACTIONAL":
        whole = int(dataset.get("MaximumFractionalValue", 255))
    for frame, group in zip(frames, dataset.get("PerFrameFunctionalGroupsSequence", ()), strict=False):
        if image_uid and image_uid not in _sources(group):
            continue
        if labelled:
            return np.where(frame == segment, 255, 0).astype(np.uint8)
        if _segment(group, dataset) == segment:
            return (frame.astype(np.float64) / max(1, whole) * 255).clip(0, 255).astype(np.uint8)
    raise NotThere(f"{path.name}: has no frame of segment {segment} over that image")


def _segment(group: Any, dataset: Any) -> int:
    """The segment of a frame, which a file of one segment may say once for all frames."""
    for place in (group, *dataset.get("SharedFunctionalGroupsSequence", ())):
        for said in place.get("SegmentIdentificationSequence", ()):
            return int(said.ReferencedSegmentNumber)
    return 1


def _sources(group: Any) -> set[str]:
    return {
        str(source.ReferencedSOPInstanceUID)
        for derived in group.get("DerivationImageSequence", ())
        for source in derived.get("SourceImageSequence", ())
    }
