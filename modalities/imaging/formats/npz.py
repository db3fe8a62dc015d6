"""Image archives without patients: npz files with an array `images`, each image its own patient."""

from collections.abc import Iterator
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from ....core.errors import InputError
from ....core.types import AnyArray
from ..frame import FULL_SCALE, Frame, stretched


def archived(root: Path, pattern: str, drop: str | None, hold_out: int, split: str) -> Iterator[Frame]:
    """The images of all npz files that match a pattern: (row, column) or (row, column, 3), 8 bits or 12.

    `drop` names a flag array whose true rows are left out; with `hold_out` every so-manieth image is a
    test row, else all are in both splits. Raises InputError.
    """
    paths = sorted(root.glob(pattern))
    if not paths:
        raise InputError(f"{root}: no files {pattern!r}; expected npz files with an array `images`")
    for path in paths:
        images = _images(path, drop, hold_out, split)
        white = np.iinfo(np.uint8).max if images.dtype == np.uint8 else FULL_SCALE
        for image in images:
            yield Frame(stretched(image, 0, white))


def _images(path: Path, drop: str | None, hold_out: int, split: str) -> AnyArray:
    try:
        file = np.load(path)
    except (OSError, ValueError, BadZipFile) as error:
        raise InputError(f"{path}: cannot be read as npz ({error})") from None
    with file as arrays:
        if "images" not in arrays:
            raise InputError(f"{path}: expected an array `images`, found {', '.join(arrays)}")
        images = arrays["images"]
        keep = np.ones(len(images), dtype=bool)
        if drop and drop in arrays:
            keep &= ~arrays[drop]
        if hold_out:
            keep &= (np.arange(len(images)) % hold_out == hold_out - 1) == (split == "test")
        return images[keep]
