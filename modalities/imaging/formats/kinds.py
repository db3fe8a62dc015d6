"""The kinds of DICOM object that images can be written as, and what each may hold."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BeforeValidator

from ....core.errors import InputError
from ....core.types import AnyArray
from ..frame import FULL_SCALE

_STORAGE = "1.2.840.10008.5.1.4.1.1"
KindName = Literal["DX", "CR", "MG", "XA", "CT", "MR", "PT", "NM", "US", "OP", "ES", "GM", "XC", "DMS", "SC"]


@dataclass(frozen=True)
class Kind:
    """SOP class, Modality, and what an object holds: bits of a grey pixel, colour, volumes, which body part.

    A volume is a file a slice, or with `frames` one file.
    """

    sop_class: str
    modality: str
    noun: str
    bits: int = 12
    colour: bool = False
    series: bool = False
    frames: bool = False
    region: str | None = None  # the only one, where there is only one
    dated: bool = False  # its date may not be left empty


KINDS: Mapping[str, Kind] = {
    "DX": Kind(f"{_STORAGE}.1.1", "DX", "X-ray"),
    "CR": Kind(f"{_STORAGE}.1", "CR", "X-ray"),
    "MG": Kind(f"{_STORAGE}.1.2", "MG", "mammogram", region="BREAST"),
    "XA": Kind(f"{_STORAGE}.12.1", "XA", "angiogram"),
    "CT": Kind(f"{_STORAGE}.2", "CT", "CT", series=True),
    "MR": Kind(f"{_STORAGE}.4", "MR", "MR", series=True),
    "PT": Kind(f"{_STORAGE}.128", "PT", "PET", bits=16, series=True, dated=True),
    "NM": Kind(f"{_STORAGE}.20", "NM", "scintigram", bits=16, series=True, frames=True),
    "US": Kind(f"{_STORAGE}.6.1", "US", "ultrasound", bits=8, colour=True),
    "OP": Kind(
        f"{_STORAGE}.77.1.5.1", "OP", "fundus photograph", bits=8, colour=True, region="EYE", dated=True
    ),
    "ES": Kind(f"{_STORAGE}.77.1.1", "ES", "endoscopy", bits=8, colour=True),
    "GM": Kind(f"{_STORAGE}.77.1.2", "GM", "micrograph", bits=8, colour=True),
    "XC": Kind(f"{_STORAGE}.77.1.4", "XC", "photograph", bits=8, colour=True),
    "DMS": Kind(f"{_STORAGE}.77.1.7", "DMS", "dermoscopy", bits=8, colour=True),
    "SC": Kind(f"{_STORAGE}.7", "OT", "image", colour=True),
}
SIDES = ("L", "R")
VIEWS_OF_A_BREAST = ("MLO", "CC", "ML", "LM")


def default_kind(colour: bool) -> str:
    """What an image becomes where nobody says."""
    return "SC" if colour else "DX"


def check_kind(kind: str, colour: bool, slices: int, body_part: str) -> None:
    """Raises InputError where such an object cannot hold such an image."""
    holds = KINDS[kind]
    if colour and not holds.colour:
        raise InputError(f"iod: {kind} holds grey images, got RGB; expected {_those('colour')}")
    if slices > 1 and not holds.series:
        raise InputError(f"iod: {kind} holds one image, got {slices} slices; expected {_those('series')}")
    if holds.region not in (None, body_part):
        raise InputError(
            f"iod: {kind} needs body_part {holds.region}, got {body_part or 'none'}; "
            f"say it by shows: {{body_part: {holds.region}}}"
        )


def is_colour(image: AnyArray) -> bool:
    """Whether an image is (row, column, 3) RGB of 8 bits."""
    return image.dtype == np.uint8 and image.ndim == 3 and image.shape[-1] == 3


def stored(image: AnyArray, kind: str) -> AnyArray:
    """The pixels as such an object holds them: grey in 12 bits, or in 8 where it has no more; RGB as it is."""
    if is_colour(image) or (image.dtype == np.uint8) == (KINDS[kind].bits == 8):
        return image
    if image.dtype == np.uint8:
        return np.rint(image * (FULL_SCALE / 255)).astype(np.uint16)
    return np.rint(image * (255 / FULL_SCALE)).astype(np.uint8)


def _those(trait: str) -> str:
    names = [name for name, kind in KINDS.items() if getattr(kind, trait)]
    return f"{', '.join(names[:-1])} or {names[-1]}"


def _visible_light(given: Any) -> Any:
    if given == "VL":
        raise ValueError(
            "VL is ES (endoscopy), GM (microscopy), XC (photograph) or DMS (dermoscopy); write one of them"
        )
    return given


Iod = Annotated[KindName, BeforeValidator(_visible_light)]
