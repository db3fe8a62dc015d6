"""pydicom's decoder of extended (12-bit) and lossless JPEG by libjpeg-turbo, through imagecodecs.

Pillow has 8 bits only, pylibjpeg-libjpeg is under the GPL, and GDCM ends the process on some files.
"""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pydicom.pixels.decoders.base import DecodeRunner

NAME = "imagecodecs"
LOSSLESS = ("1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70")
DECODER_DEPENDENCIES = {uid: ("imagecodecs>=2024.1",) for uid in ("1.2.840.10008.1.2.4.51", *LOSSLESS)}


def install() -> None:
    """Make the decoder known to pydicom, once."""
    from pydicom.pixels.decoders.base import get_decoder

    for uid in DECODER_DEPENDENCIES:
        decoder = get_decoder(uid)
        if NAME not in (
            *decoder.available_plugins,
            *(line.split()[0] for line in decoder.missing_dependencies),
        ):
            decoder.add_plugin(NAME, (__name__, "decode"))


def is_available(uid: str) -> bool:
    """Whether imagecodecs is installed; pydicom asks."""
    from importlib.util import find_spec

    return find_spec("imagecodecs") is not None and uid in DECODER_DEPENDENCIES


def decode(source: bytes, runner: "DecodeRunner") -> bytes:
    """The pixels of one frame, little endian. Raises imagecodecs' RuntimeError for damaged data."""
    import imagecodecs

    lossless = str(runner.transfer_syntax) in LOSSLESS
    pixels = imagecodecs.ljpeg_decode(source) if lossless else imagecodecs.jpeg8_decode(source)
    if runner.samples_per_pixel > 1:
        runner.set_option("planar_configuration", 0)
        if not lossless:
            runner.set_option("photometric_interpretation", "RGB")  # as libjpeg hands it over
    runner.set_option("bits_allocated", 8 * pixels.itemsize)
    unused = runner.bits_allocated - runner.bits_stored
    if runner.pixel_representation == 1 and unused:  # JPEG has no sign
        pixels = (pixels << unused).view(f"i{pixels.itemsize}") >> unused
    return np.ascontiguousarray(pixels, dtype=pixels.dtype.newbyteorder("<")).tobytes()
