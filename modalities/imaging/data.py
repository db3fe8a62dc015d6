"""Images of training folders as square grey arrays of one size."""

from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from ...core.errors import InputError
from ...core.modality import TrainingSet
from ...core.profile import PatientProfile
from .export import read_image

FULL_SCALE = 4095  # 12 bit


def read_images(data: TrainingSet, size: int) -> tuple[NDArray[np.uint16], list[PatientProfile]]:
    """(row, size, size) 12-bit grey images and the profile of each row.

    A set without a table is a glob of npz files (options: `npz`, and `drop`, the name of a flag array
    whose true rows are left out); each of its images counts as its own patient. Raises InputError.
    """
    if not data.records:
        return _read_npz(data, size)
    images = np.empty((len(data), size, size), dtype=np.uint16)
    for i, record in enumerate(data.records):
        images[i] = square(read_image(data.root / record), size)
    return images, list(data.profiles)


def square(image: NDArray[np.uint16], size: int) -> NDArray[np.uint16]:
    """Centre crop to a square, resampled to size x size with antialiasing."""
    if image.shape == (size, size):
        return image
    picture = Image.fromarray(image.astype(np.float32))
    fitted = ImageOps.fit(picture, (size, size), method=Image.Resampling.LANCZOS)
    return np.clip(np.rint(np.asarray(fitted)), 0, FULL_SCALE).astype(np.uint16)


def _read_npz(data: TrainingSet, size: int) -> tuple[NDArray[np.uint16], list[PatientProfile]]:
    pattern = data.options.get("npz")
    paths = sorted(data.root.glob(pattern)) if isinstance(pattern, str) else []
    if not paths:
        raise InputError(f"{data.root}: no files {pattern!r}; expected npz files with an array `images`")
    stacks: list[NDArray[np.uint16]] = []
    for path in paths:
        try:
            file = np.load(path)
        except (OSError, ValueError, BadZipFile) as error:
            raise InputError(f"{path}: cannot be read as npz ({error})") from None
        with file as arrays:
            if "images" not in arrays:
                raise InputError(f"{path}: expected an array `images`, found {', '.join(arrays)}")
            images = arrays["images"]
            if (drop := data.options.get("drop")) and drop in arrays:
                images = images[~arrays[drop]]
        eight_bit = images.dtype == np.uint8
        scaled = (images.astype(np.uint32) * FULL_SCALE // 255 if eight_bit else images).astype(np.uint16)
        stacks.append(np.stack([square(image, size) for image in scaled]))
    stack = np.concatenate(stacks)
    known: PatientProfile = data.options["constants"]
    return stack, [
        PatientProfile(f"{data.source.name}-{i}", known.age, known.sex, conditions=known.conditions)
        for i in range(len(stack))
    ]


def to_unit(images: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """12-bit images as 8 bits, the precision models train with."""
    return (images >> 4).astype(np.uint8)
