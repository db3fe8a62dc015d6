"""Images of training folders as square 12-bit arrays of one size, read one at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field, field_validator

from ...core.config import Settings, parse
from ...core.errors import InputError, listed
from ...core.modality import TrainingSet
from ...core.paths import file_name, require_file
from ...core.profile import PatientProfile
from ...core.progress import counted
from ...core.remarks import remark
from ...core.types import AnyArray, FloatArray
from . import masks
from .burned_in import shows_text
from .formats.files import frames
from .formats.kinds import Iod
from .formats.nifti import Plane, is_nifti
from .frame import FULL_SCALE, Frame, Levels, Percentile, Slices, Window, grey, square, stretched
from .stack import places
from .symmetry import Symmetry

__all__ = ["FULL_SCALE", "Options", "read_images", "read_slices", "to_unit"]


class StatedKind(Settings):
    """The kind of object among what `shows` says; the rest is checked by model.Shows."""

    model_config = ConfigDict(extra="ignore")
    iod: Iod | None = None


class Options(Settings):
    """The `options` of an imaging dataset.yaml.

    How files are read: `window` or `percentiles` (black and white, in place of those of the files), `plane` of
    NIfTI volumes, `slices` of each file, `burned_in` text, `burned_in_list` (where files that show some are listed),
    `exclude` (a list of files to leave out). Archives: `npz`, `drop` and `hold_out`. What the set is for: `modality`,
    `reference`, `size`, `repeat`, `balance` (a condition or category whose values public training shows alike often),
    `prior` (whether the Gaussian prior is fitted to it). `shows` is what the images are of, see model.Shows. `symmetry`
    says how such images might as well lie: mirrored (`mirror`), also upside down (`rectangle`), or also turned
    (`square`); training shows them so at random. `enlarge` names public weights of an upsampler that draws images
    finer which are smaller than the network's.
    """

    window: Window | None = None
    percentiles: tuple[Percentile, Percentile] | None = None
    plane: Plane = "axial"
    slices: Slices = Slices()
    burned_in: Literal["refuse", "ignore"] = "refuse"
    burned_in_list: Path = Path("flagged.txt")
    exclude: Path | None = None
    npz: str | None = None
    drop: str | None = None
    hold_out: int = Field(default=0, ge=0)
    modality: str = "imaging"
    reference: bool = False
    size: int = Field(default=64, ge=1)
    repeat: int = Field(default=1, ge=1)
    balance: str | None = None
    prior: bool = False
    symmetry: Symmetry = "none"
    enlarge: str | None = None
    shows: dict[str, Any] = Field(default_factory=dict)

    @field_validator("percentiles")
    @classmethod
    def _rise(cls, percentiles: tuple[float, float] | None) -> tuple[float, float] | None:
        if percentiles is not None and percentiles[0] >= percentiles[1]:
            raise ValueError(f"expected two numbers that rise, black first, got {list(percentiles)}")
        return percentiles

    @field_validator("burned_in_list")
    @classmethod
    def _plain_name(cls, path: Path) -> Path:
        """It is written: a dataset.yaml of others must not choose another place than the working directory."""
        if path.suffix != ".txt":
            raise ValueError(f"expected the name of a .txt file, got {str(path)!r:.80}")
        return Path(file_name(path, "burned_in_list"))


COLOURED = 0.03  # difference of two of a pixel's three values, from which on it has a colour
LOOKED_AT = 8  # files of a set, to see whether its images are in colour


def channels_of(data: Sequence[TrainingSet]) -> int:
    """3 where images of a set are in colour, else 1: the first files of each are looked at.

    Whether a folder's images are in colour is taken as public, as their format is.
    """
    for part in data:
        for record in part.records[:LOOKED_AT]:
            if is_nifti(part.root / record):
                continue
            try:
                found = [
                    frame.pixels
                    for frame in islice(frames(part.root / record, Levels(), Slices(), "axial"), 1)
                ]
            except InputError:  # which reading all of them names
                continue
            if any(pixels.ndim == 3 and np.ptp(pixels, axis=2).mean() > COLOURED for pixels in found):
                return 3
    return 1


def read_images(
    data: TrainingSet, size: int, channels: int = 1
) -> tuple[NDArray[np.uint16], list[PatientProfile]]:
    """(row, channel, size, size) 12-bit images and the profile of each row; see read_slices."""
    images, profiles, _ = read_slices(data, size, channels)
    return images, profiles


def read_slices(
    data: TrainingSet, size: int, channels: int = 1, labels: int = 0
) -> tuple[NDArray[np.uint16], list[PatientProfile], FloatArray]:
    """(row, channel, size, size) 12-bit images, the profile of each row, and (row,) its place in its stack.

    With `labels` that many planes of the mask follow the channels (masks.planes), and images without a mask are left
    out, with a remark that counts them.

    A file of several frames, slices or pages gives a row each, all of that file's patient. One channel is
    grey (colour becomes luma), three are RGB (grey is repeated). Files are opened one at a time, and only
    the small images are kept. Images of npz archives count as a patient each. A place is 0 to 1 up the normal of
    the slice's plane, NaN where the image is no slice of a volume or series. Raises InputError, with all
    files that cannot be read or show burned-in text, unless `burned_in` is `ignore`.
    """
    if channels not in (1, 3):
        raise InputError(f"channels: expected 1 (grey) or 3 (RGB), got {channels}")
    options = options_of(data)
    images = np.empty((max(1, len(data)), channels + labels, size, size), dtype=np.uint16)
    without = 0
    profiles: list[PatientProfile] = []
    stacks: list[str] = []
    heights: list[float | None] = []
    for frame, profile in _frames(data, options):
        if labels and frame.labels is None:
            without += 1
            continue
        if len(profiles) == len(images):  # files of many frames: room doubles, and is used only where filled
            images = np.concatenate([images, np.empty_like(images)])
        images[len(profiles), :channels] = square(frame, size, channels)
        if labels:
            images[len(profiles), channels:] = masks.planes(frame, size, labels)
        profiles.append(profile)
        stacks.append(frame.stack)
        heights.append(frame.height)
    if without:
        remark(f"{data.root}: {without} images have no mask and are left out ({len(profiles)} have one)")
    if without and not profiles:
        raise InputError(f"{data.root}: none of {without} images has a mask; check mask in dataset.yaml")
    if not profiles:
        raise InputError(f"{data.root}: no images; options.slices chooses none of any file's")
    return images[: len(profiles)], profiles, places(stacks, heights)


def read_records(
    data: TrainingSet, size: int, channels: int
) -> Iterator[tuple[PatientProfile, NDArray[np.uint16], NDArray[np.uint8] | None]]:
    """Each image as read_slices() has it, with its patient and (size, size) labels where it has a mask."""
    for frame, profile in _frames(data, options_of(data)):
        cover = None if frame.labels is None else masks.resized(frame, size, len(data.mask_labels))
        yield profile, square(frame, size, channels), cover


def options_of(data: TrainingSet) -> Options:
    """The set's options, checked. Raises InputError."""
    given = {key: value for key, value in data.options.items() if key != "constants"}
    options = parse(Options, given, f"{data.source.name}: options")
    parse(StatedKind, options.shows, f"{data.source.name}: options.shows")
    return options


def _frames(data: TrainingSet, options: Options) -> Iterator[tuple[Frame, PatientProfile]]:
    if not data.records:
        if options.npz is None:
            raise InputError(
                f"{data.root}: without a table expected `dicom: PATTERN`, or options: {{npz: PATTERN}} for archives"
            )
        known: PatientProfile = data.options["constants"]
        held = archived(data.root, options.npz, options.drop, options.hold_out, data.split)
        for i, frame in enumerate(held):
            yield frame, known.but(patient_id=f"{data.source.name}-{i}")
        return
    levels = Levels(window=options.window, percentiles=options.percentiles)
    unreadable: list[str] = []
    marked: list[str] = []
    rows = _kept(data, options.exclude)
    masked = dict(zip(data.records, data.masks, strict=False))
    for record, profile in counted(rows, len(rows), "read", "images"):
        path, text = data.root / record, False
        mask = data.root / masked[record] if masked.get(record) else None
        searched = options.burned_in == "refuse" and not is_nifti(path)  # nobody prints on volumes
        try:
            shown = frames(path, levels, options.slices, options.plane)
            for frame in shown if mask is None else _with_masks(shown, mask, path, data, options):
                if searched and not text:
                    text = frame.annotated or shows_text(grey(frame.pixels))
                yield frame, profile
        except InputError as error:
            unreadable.append(str(error))
        if text:
            marked.append(record)
    if unreadable:
        raise InputError(
            f"{data.root}: {len(unreadable)} of {len(rows)} files cannot be read: {listed(unreadable)}"
        )
    if marked:
        where = _written(options.burned_in_list, data.root, marked)
        raise InputError(
            f"{data.root}: {len(marked)} of {len(rows)} images show burned-in text, which may name the patient: "
            f"{listed(marked)}{where}; blacken it, leave these out by options: "
            f"{{exclude: {options.burned_in_list.absolute()}}}, or set {{burned_in: ignore}} if it names nobody"
        )


def _with_masks(
    shown: Iterator[Frame], mask: Path, image: Path, data: TrainingSet, options: Options
) -> Iterator[Frame]:
    """The frames of an image, each with its mask. Raises InputError where they are not on one grid."""
    covers = masks.read_masks(mask, image, data.mask_labels, options.slices, options.plane)
    for frame in shown:
        labels, size = next(covers, None), frame.pixels.shape[:2]
        if labels is None:
            raise InputError(f"{mask}: has fewer frames or slices than its image {image.name}")
        if labels.shape != size:
            raise InputError(
                f"{mask}: expected the grid of its image {image.name}, {size[0]} x {size[1]} pixels, got "
                f"{labels.shape[0]} x {labels.shape[1]}"
            )
        yield replace(frame, labels=labels)
    if next(covers, None) is not None:
        raise InputError(f"{mask}: has more frames or slices than its image {image.name}")


def _written(path: Path, root: Path, marked: list[str]) -> str:
    """Write the list of flagged files, beside those of this folder that it holds; how to say where it is."""
    try:
        before = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        before = [name for name in before if name and (root / name).is_file()]
        path.write_text("".join(f"{name}\n" for name in dict.fromkeys([*before, *marked])), encoding="utf-8")
    except OSError as error:
        return f" (the list of all cannot be written to {path.absolute()}: {error.strerror})"
    return f" (all of them are in {path.absolute()})"


def _kept(data: TrainingSet, exclude: Path | None) -> list[tuple[str, PatientProfile]]:
    """Rows without those of the exclusion list: a file of records, one a line, below the folder or as a whole path.

    Raises InputError: no list, lines that name no file, nothing left.
    """
    rows = list(zip(data.records, data.profiles, strict=True))
    if exclude is None:
        return rows
    path = data.root / exclude
    if not path.is_file():
        raise InputError(f"{path}: no such file; options: exclude names a list of images, one a line")
    named = {line.strip() for line in path.read_text(encoding="utf-8").splitlines()} - {""}
    if strange := sorted(name for name in named if not (data.root / name).is_file()):
        raise InputError(f"{path}: {len(strange)} lines name no file in {data.root}: {listed(strange)}")
    kept = [row for row in rows if row[0] not in named]
    if not kept:
        raise InputError(f"{path}: leaves none of {len(rows)} images")
    if len(kept) < len(rows):
        remark(f"{data.root}: {len(rows) - len(kept)} of {len(rows)} images left out by {path.name}")
    return kept


def archived(root: Path, pattern: str, drop: str | None, hold_out: int, split: str) -> Iterator[Frame]:
    """The images of all npz files that match a pattern: (row, column) or (row, column, 3), 8 bits or 12.

    Each image is a patient of its own. `drop` names a flag array whose true rows are left out; with `hold_out` every
    so-manieth image is a test row, else all are in both splits. Raises InputError.
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
    require_file(path, "an npz archive of images")
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


def to_unit(images: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """12-bit images as 8 bits, the precision models train with."""
    return (images >> 4).astype(np.uint8)
