"""Lossless compression of DICOM pixels: RLE, JPEG-LS and JPEG 2000."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

from ....core.errors import InputError

if TYPE_CHECKING:
    from pydicom import Dataset

Compression = Literal["none", "rle", "jpeg-ls", "j2k"]


class Codec(NamedTuple):
    """A transfer syntax, and pydicom's name of the one encoder used: another might give other bytes."""

    syntax: str
    encoder: str
    least: int = 1  # pixels of the shorter side below which the encoder fails


CODECS: Mapping[str, Codec] = {
    "rle": Codec("1.2.840.10008.1.2.5", "pydicom"),
    "jpeg-ls": Codec("1.2.840.10008.1.2.4.80", "pyjpegls", 8),
    "j2k": Codec("1.2.840.10008.1.2.4.90", "pylibjpeg", 32),
}


def check(compression: Compression, sides: Sequence[int]) -> None:
    """Raises InputError where the encoder is not installed, or an image is too small for it; sides in pixels."""
    if compression == "none":
        return
    from pydicom.pixels.encoders.base import get_encoder

    codec = CODECS[compression]
    encoder = get_encoder(codec.syntax)
    if codec.encoder not in encoder.available_plugins:
        missing = "; ".join(line for line in encoder.missing_dependencies if line.startswith(codec.encoder))
        raise InputError(f"compression: {compression} cannot be written here, {missing}")
    if min(sides, default=codec.least) < codec.least:
        raise InputError(
            f"compression: {compression} needs images of at least {codec.least} x {codec.least} pixels, "
            f"got a side of {min(sides)}; write them with rle or none"
        )


def compress(dataset: "Dataset", compression: Compression) -> None:
    """Compress the pixels in place, every bit kept; UIDs and all other tags stay."""
    if compression != "none":
        codec = CODECS[compression]
        dataset.compress(codec.syntax, encoding_plugin=codec.encoder, generate_instance_uid=False)
