"""Thumbnails: small JPEGs of a patient's first image, drawn when asked for, the last ones kept."""

import io
import threading
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING

from ...core.dicom_patient import SEGMENTATIONS
from ...core.errors import InputError

if TYPE_CHECKING:
    import pydicom
    from PIL import Image

    from .cohort_data import CohortData

SIDE = 96  # pixels
KEPT = 4_000_000  # bytes of JPEGs in memory


class Thumbnails:
    """Of one cohort; what was shown longest ago goes first."""

    def __init__(self, cohort: "CohortData", kept: int = KEPT) -> None:
        self._cohort, self._limit = cohort, kept
        self._held: OrderedDict[str, bytes] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    @property
    def held(self) -> int:
        """Bytes that are kept."""
        return self._bytes

    def of(self, patient_id: str) -> bytes:
        """A JPEG of at most SIDE x SIDE. Raises InputError: no such patient, no image, or it cannot be decoded."""
        with self._lock:  # one is drawn at a time
            if patient_id in self._held:
                self._held.move_to_end(patient_id)
                return self._held[patient_id]
            made = self._draw(patient_id)
            self._held[patient_id] = made
            self._bytes += len(made)
            while self._bytes > self._limit and len(self._held) > 1:
                self._bytes -= len(self._held.popitem(last=False)[1])
            return made

    def _draw(self, patient_id: str) -> bytes:
        names = self._cohort.files_of(patient_id)
        images = [n for n in names if n.endswith((".dcm", ".png", ".jpg")) and "waveforms/" not in n]
        if not images:
            raise InputError(f"{patient_id} has no image")
        for name in images:
            try:
                if (image := _opened(self._cohort.path(name))) is not None:
                    break
            except (
                ValueError,
                OSError,
                AttributeError,
                NotImplementedError,
                RuntimeError,
                KeyError,
            ) as error:
                raise InputError(f"{name}: cannot be shown ({type(error).__name__})") from None
        else:
            raise InputError(f"{patient_id} has segmentations and no image")
        from PIL import Image

        image.thumbnail((SIDE, SIDE), Image.Resampling.BOX)
        out = io.BytesIO()
        image.save(out, "JPEG", quality=80)
        return out.getvalue()


def _opened(path: Path) -> "Image.Image | None":
    """The picture of a file; None of a segmentation."""
    from PIL import Image

    if path.suffix != ".dcm":
        return Image.open(path).convert("RGB")
    import pydicom

    dataset = pydicom.dcmread(path)
    return None if dataset.get("SOPClassUID") in SEGMENTATIONS else _of_dicom(dataset)


def _of_dicom(dataset: "pydicom.Dataset") -> "Image.Image":
    """The first frame, in its own window, as 8 bits."""
    import numpy as np
    from PIL import Image
    from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut

    pixels = dataset.pixel_array
    colour = int(dataset.SamplesPerPixel) == 3
    if int(dataset.get("NumberOfFrames", 1) or 1) > 1:
        pixels = pixels[len(pixels) // 2]
    if colour:
        return Image.fromarray(np.asarray(pixels, dtype=np.uint8))
    shown = np.asarray(apply_voi_lut(apply_modality_lut(pixels, dataset), dataset), dtype=np.float64)
    low, high = float(shown.min()), float(shown.max())
    grey = (shown - low) * (255 / (high - low) if high > low else 0)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        grey = 255 - grey
    return Image.fromarray(grey.astype(np.uint8))
