"""Read one grey image from what people have: DICOM, PNG, JPEG or TIFF, as 12-bit MONOCHROME2."""

import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...core.errors import InputError

if TYPE_CHECKING:
    from pydicom import Dataset

TOP = 4095  # white in 12 bits
PICTURES = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"}


def read_image(path: Path) -> NDArray[np.uint16]:
    """(row, column) uint16, 0 black to 4095 white (bright = dense).

    Pictures: colour becomes luma, 8 or 16 bits are stretched to 12. DICOM: modality LUT, then the
    first VOI LUT or window (smallest to greatest value where there is none), MONOCHROME1 inverted.
    Raises InputError with the path: no such file, unreadable, colour or multi-frame DICOM.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected a DICOM, PNG or JPEG image")
    grey = _picture(path) if path.suffix.lower() in PICTURES else _dicom(path)
    return np.rint(grey * TOP).astype(np.uint16)


def read_dataset(path: Path) -> "Dataset":
    """A DICOM file, all of it. Raises InputError with the path."""
    from pydicom import dcmread
    from pydicom.errors import BytesLengthException, InvalidDicomError

    try:
        return dcmread(path)
    except (InvalidDicomError, BytesLengthException, OSError, EOFError, ValueError, struct.error) as error:
        raise InputError(f"{path}: expected a DICOM file, cannot read it ({_line(error)})") from None


def stored_pixels(dataset: "Dataset", path: Path) -> NDArray[Any]:
    """(row, column) stored values of a grey single-frame image. Raises InputError with the path."""
    if (frames := int(dataset.get("NumberOfFrames") or 1)) > 1:
        raise InputError(f"{path}: expected a single image, got {frames} frames; export them one a file")
    if (samples := dataset.get("SamplesPerPixel", 1)) != 1:
        raise InputError(f"{path}: expected a grey image, got {samples} samples a pixel")
    try:
        return dataset.pixel_array
    # what pydicom raises for absent tags, short data, and compression that no installed codec reads
    except (AttributeError, ValueError, NotImplementedError, RuntimeError, struct.error) as error:
        raise InputError(f"{path}: cannot read the pixels of this DICOM file ({_line(error)})") from None


def _picture(path: Path) -> NDArray[np.float64]:
    """(row, column) 0..1."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as picture:
            mode = picture.mode
            if mode in ("I;16", "I;16B", "I;16L", "I"):
                values, top = np.asarray(picture, dtype=np.float64), 65535.0
            else:
                values, top = np.asarray(picture.convert("L"), dtype=np.float64), 255.0
    except (UnidentifiedImageError, OSError, SyntaxError, zlib.error, struct.error) as error:
        raise InputError(f"{path}: expected an image file, cannot read it ({_line(error)})") from None
    if mode == "F":
        raise InputError(f"{path}: expected 8 or 16 bits a pixel, got floating point, whose white is unknown")
    return np.clip(values / top, 0, 1)


def _dicom(path: Path) -> NDArray[np.float64]:
    """(row, column) 0..1 as displayed."""
    from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut

    dataset = read_dataset(path)
    stored = stored_pixels(dataset, path)
    values = np.asarray(apply_modality_lut(stored, dataset))
    if dataset.get("VOILUTSequence"):
        shown = apply_voi_lut(values, dataset, index=0, prefer_lut=True)
        low, high = 0.0, float(2 ** int(dataset.VOILUTSequence[0].LUTDescriptor[2]) - 1)
    elif dataset.get("WindowWidth") is not None and dataset.get("WindowCenter") is not None:
        shown = apply_voi_lut(values, dataset, index=0)
        low, high = _ends(dataset)
    else:
        shown = values
        low, high = float(values.min()), float(values.max())
    grey = np.clip((np.asarray(shown, dtype=np.float64) - low) / (high - low or 1.0), 0, 1)
    return 1 - grey if dataset.PhotometricInterpretation == "MONOCHROME1" else grey


def _ends(dataset: "Dataset") -> tuple[float, float]:
    """Black and white of a windowed image: what values far below and above the window become."""
    from pydicom.multival import MultiValue
    from pydicom.pixels.processing import apply_voi_lut

    center, width = (
        float(value[0] if isinstance(value, MultiValue) else value)
        for value in (dataset.WindowCenter, dataset.WindowWidth)
    )
    far = np.array([center - 50 * width, center + 50 * width])
    low, high = apply_voi_lut(far, dataset, index=0)
    return float(low), float(high)


def _line(error: BaseException) -> str:
    """The first line of an error's message."""
    return (str(error).splitlines() or [type(error).__name__])[0]
