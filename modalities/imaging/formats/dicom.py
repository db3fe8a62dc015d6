"""Read DICOM images as displayed: any modality, bit depth and colour model, frame by frame."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ....core.config import LARGEST
from ....core.dicom_patient import broken, read_object
from ....core.errors import InputError, first_line
from ....core.extras import need
from ....core.remarks import remark
from ....core.types import AnyArray, BoolArray, Float32Array
from ..frame import Frame, Levels, Slices, stretched
from . import jpeg

if TYPE_CHECKING:
    from pydicom import Dataset

GREY = ("MONOCHROME1", "MONOCHROME2")
COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")  # pydicom hands all of them over as RGB
PALETTE = "PALETTE COLOR"
# The one codec used for a transfer syntax: others that may be installed differ on damaged data, up to ending the
# process. What is not named here has one codec in any case.
DECODERS = {
    "1.2.840.10008.1.2.4.50": "pillow",  # JPEG baseline
    **dict.fromkeys(jpeg.DECODER_DEPENDENCIES, jpeg.NAME),
    "1.2.840.10008.1.2.4.80": "pyjpegls",
    "1.2.840.10008.1.2.4.81": "pyjpegls",
    "1.2.840.10008.1.2.4.90": "pylibjpeg",  # JPEG 2000
    "1.2.840.10008.1.2.4.91": "pylibjpeg",
}
NEEDS = {"pyjpegls": ("jpeg_ls",), "pylibjpeg": ("pylibjpeg", "openjpeg"), jpeg.NAME: ("imagecodecs",)}
# Tags that enhanced objects may keep in functional groups, one value a frame (PS3.3 C.7.6.16.2).
PER_FRAME = (
    "RescaleSlope", "RescaleIntercept", "RescaleType", "WindowCenter", "WindowWidth", "VOILUTFunction",
    "PixelSpacing", "ImageOrientationPatient", "ImagePositionPatient",
)  # fmt: skip
DISPLAY = (
    *PER_FRAME, "BitsStored", "PixelRepresentation", "PhotometricInterpretation", "ModalityLUTSequence",
    "VOILUTSequence", "PixelPaddingValue", "PixelPaddingRangeLimit", "ImagerPixelSpacing", "PixelAspectRatio",
    "BitsAllocated",
)  # fmt: skip
SIGMOID_ENDS = 50  # window widths from the centre at which a window has long become black or white


def read_dataset(path: Path, pixels: bool = True) -> "Dataset":
    """A DICOM file, all of it. Raises InputError with the path."""
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected a DICOM image")
    try:
        return read_object(path, pixels)
    except broken() as error:
        raise InputError(f"{path}: expected a DICOM file, cannot read it ({first_line(error)})") from None


def frames_of(dataset: "Dataset", path: Path, several: bool) -> AnyArray:
    """Stored values: (frame, row, column) of an object that may hold `several` frames and does, else one image's."""
    if not several:
        return stored_pixels(dataset, path)
    require_decoder(dataset, path)
    try:
        return dataset.pixel_array
    except broken() as error:
        raise _unreadable(path, error) from None


def stored_pixels(dataset: "Dataset", path: Path) -> AnyArray:
    """(row, column) or (row, column, 3) stored values of a single-frame image. Raises InputError with the path."""
    require_single(dataset, path)
    require_decoder(dataset, path)
    try:
        return dataset.pixel_array
    except broken() as error:
        raise _unreadable(path, error) from None


def require_decoder(dataset: "Dataset", path: Path) -> str:
    """pydicom's name of the decoder, empty for any. Raises InputError where its package is not installed."""
    syntax = dataset.get("file_meta", {}).get("TransferSyntaxUID", "")
    decoder = DECODERS.get(str(syntax), "")
    need(f"{path}: {getattr(syntax, 'name', syntax)}", *NEEDS.get(decoder, ()))
    return decoder


def require_single(dataset: "Dataset", path: Path) -> None:
    """Raises InputError with the path of a multi-frame image."""
    if (frames := int(dataset.get("NumberOfFrames") or 1)) > 1:
        raise InputError(f"{path}: expected a single image, got {frames} frames; export them one a file")


def require_single_grey(dataset: "Dataset", path: Path) -> None:
    """Raises InputError with the path of a multi-frame or colour image."""
    require_single(dataset, path)
    if (samples := dataset.get("SamplesPerPixel", 1)) != 1:
        raise InputError(f"{path}: expected a grey image, got {samples} samples a pixel")


def frames(dataset: "Dataset", path: Path, levels: Levels, slices: Slices) -> Iterator[Frame]:
    """The chosen frames of an image as displayed, decoded one at a time.

    Grey: modality LUT or rescale, then the levels that were set, else the first VOI LUT or window, else
    smallest to greatest value; MONOCHROME1 inverted, padding black. Colour: palettes looked up, YBR
    converted, stretched by the stored bits. Raises InputError with the path.
    """
    from pydicom.pixels.utils import iter_pixels

    try:
        count = int(dataset.get("NumberOfFrames") or 1)
        chosen = slices.of(count)
        stack = str(dataset.get("SOPInstanceUID" if count > 1 else "SeriesInstanceUID") or "")
        annotated = str(dataset.get("BurnedInAnnotation", "")).strip().upper() == "YES"
        jpeg.install()
        decoder = require_decoder(dataset, path)
        decoded = iter_pixels(dataset, indices=chosen, decoding_plugin=decoder)
        for index, stored in zip(chosen, decoded, strict=True):
            tags = _display_tags(dataset, index)
            if tags.get("WindowWidth") not in (None, "") and _window(tags) is None and not levels.chosen:
                remark(
                    f"{path.parent}: some images have a window that shows nothing: all of their range is shown"
                )
            height = height_of(tags)
            if height is None and count > 1:
                height = float(index)
            yield Frame(_displayed(stored, dataset, tags, levels), _aspect(tags), annotated, stack, height)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except broken() as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: BaseException) -> InputError:
    return InputError(f"{path}: cannot read the pixels of this DICOM file ({first_line(error)})")


def _displayed(stored: AnyArray, dataset: "Dataset", tags: "Dataset", levels: Levels) -> Float32Array:
    """(row, column) or (row, column, 3) 0..1."""
    from pydicom.pixels.processing import apply_color_lut

    kind = str(tags.PhotometricInterpretation)
    if kind in GREY:
        return _grey(stored, tags, levels)
    if kind == PALETTE:
        looked_up = apply_color_lut(stored, dataset)[..., :3]
        return stretched(looked_up, 0, np.iinfo(looked_up.dtype).max)
    if kind in COLOUR:
        top = 2 ** int(tags.BitsStored) - 1
        return stretched(stored, *(levels.ends(stored) if levels.chosen else (0, top)))
    raise InputError(f"photometric interpretation {kind} is not known; expected {', '.join(GREY + COLOUR)}")


def _grey(stored: AnyArray, tags: "Dataset", levels: Levels) -> Float32Array:
    from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut

    padding = _padding(stored, tags)
    shown = np.asarray(apply_modality_lut(stored, tags))
    if levels.chosen:
        low, high = levels.ends(shown[~padding])
    elif tags.get("VOILUTSequence"):
        shown = apply_voi_lut(shown, tags, index=0, prefer_lut=True)
        low, high = 0.0, float(2 ** int(tags.VOILUTSequence[0].LUTDescriptor[2]) - 1)
    elif _window(tags) is not None:
        shown = apply_voi_lut(shown, tags, index=0)
        low, high = _window_ends(tags)
    else:
        low, high = levels.ends(shown[~padding])
    pixels = stretched(shown, low, high)
    if tags.PhotometricInterpretation == "MONOCHROME1":
        pixels = 1 - pixels
    pixels[padding] = 0
    return pixels


def _padding(stored: AnyArray, tags: "Dataset") -> BoolArray:
    """Where the scanner recorded nothing (PS3.3 C.7.5.1.1.2)."""
    ends = [tags.get(name) for name in ("PixelPaddingValue", "PixelPaddingRangeLimit")]
    known = [int(end) for end in ends if end is not None]
    if ends[0] is None or stored.dtype.kind == "f":
        return np.zeros(stored.shape, dtype=bool)
    if tags.PixelRepresentation == 1:  # the value is often written unsigned with signed pixels
        wrap = 2 ** int(tags.BitsAllocated)
        known = [end - wrap if end >= wrap // 2 else end for end in known]
    return (stored >= min(known)) & (stored <= max(known))


def _window(tags: "Dataset") -> tuple[float, float] | None:
    """Centre and width of the first window; None where there is none, or one that shows nothing."""
    from pydicom.multival import MultiValue

    values = [tags.get(name) for name in ("WindowCenter", "WindowWidth")]
    first = [value[0] if isinstance(value, MultiValue) and value else value for value in values]
    if None in first or isinstance(first[0], MultiValue) or isinstance(first[1], MultiValue):
        return None
    center, width = float(first[0]), float(first[1])
    narrowest = 1 if tags.get("VOILUTFunction", "LINEAR") == "LINEAR" else 0
    return (center, width) if width > narrowest else None


def _window_ends(tags: "Dataset") -> tuple[float, float]:
    """Black and white of a windowed image: what values far below and above the window become."""
    from pydicom.pixels.processing import apply_voi_lut

    window = _window(tags)
    assert window is not None, "asked for the ends of no window"
    center, width = window
    far = np.array([center - SIGMOID_ENDS * width, center + SIGMOID_ENDS * width])
    low, high = apply_voi_lut(far, tags, index=0)
    return float(low), float(high)


def _display_tags(dataset: "Dataset", index: int) -> "Dataset":
    """Tags that govern the display of one frame; functional groups of enhanced objects win over the rest."""
    from pydicom import Dataset

    tags = Dataset()
    tags.set_original_encoding(*dataset.original_encoding)  # the byte order of lookup tables written as OW
    if (meta := getattr(dataset, "file_meta", None)) is not None:
        tags.file_meta = meta
    for name in DISPLAY:
        if name in dataset:
            tags[name] = dataset[name]
    each = dataset.get("PerFrameFunctionalGroupsSequence") or []
    for groups in [*(dataset.get("SharedFunctionalGroupsSequence") or [])[:1], *each[index : index + 1]]:
        for group in groups:
            if group.VR != "SQ" or not group.value:
                continue
            for name in PER_FRAME:
                if name in group.value[0]:
                    tags[name] = group.value[0][name]
    _require_numbers(tags)
    return tags


def _require_numbers(tags: "Dataset") -> None:
    """Raises InputError for a number of the display that is none, or a slope of 0: decimal strings may say `nan`."""
    from pydicom.multival import MultiValue

    for name in PER_FRAME:
        if name not in tags or tags[name].VR != "DS":
            continue
        value = tags[name].value
        numbers = [
            float(part)
            for part in (value if isinstance(value, MultiValue) else [value])
            if part not in (None, "")
        ]
        slope = name == "RescaleSlope" and 0.0 in numbers
        if slope or not all(abs(number) <= LARGEST for number in numbers):
            raise InputError(f"expected {name} to be a number{' other than 0' if slope else ''}, got {value}")


def height_of(tags: "Dataset") -> float | None:
    """How far up the normal of its plane an image lies, in mm; None where the tags do not tell."""
    axes, corner = tags.get("ImageOrientationPatient"), tags.get("ImagePositionPatient")
    if not axes or not corner or (len(axes), len(corner)) != (6, 3):
        return None
    across, down = np.reshape(np.array(axes, dtype=float), (2, 3))
    return float(np.cross(across, down) @ np.array(corner, dtype=float))


def _aspect(tags: "Dataset") -> float:
    """Height over width of a pixel; 1 where the tags do not tell."""
    for name in ("PixelSpacing", "ImagerPixelSpacing", "PixelAspectRatio"):
        pair = tags.get(name)
        if pair is not None and len(pair) == 2 and min(float(pair[0]), float(pair[1])) > 0:
            return float(pair[0]) / float(pair[1])
    return 1.0
