#!/usr/bin/env bash
# pydicom 3.0.1: a window over a negative rescale slope comes out inverted.
#
# PS3.3 C.11.2.1.2.1: in the linear window values at and below the low edge become the smallest output, values above the high
# edge the largest. Guess: apply_windowing gives greater output for greater rescaled input, whatever the slope. Seen:
# with RescaleSlope -10 the output falls while the rescaled input rises (correlation -1; +1 with slope 10), because
# the ends of the output range are taken through the slope and swap places. A reader that takes the smallest output for
# black shows a negative; one that scales from the image of the low edge to that of the high edge shows the right picture.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check pydicom==3.0.1 numpy==2.4.0
"$work/env/bin/python" - <<'PYTHON'
import numpy as np
from pydicom.dataset import Dataset
from pydicom.pixels import apply_rescale, apply_windowing

stored = np.arange(0, 4096, 64, dtype=np.uint16)
for slope, intercept, sign in ((10, 0, 1), (-10, 3000, -1)):
    image = Dataset()
    image.BitsStored, image.PixelRepresentation = 12, 0
    image.PhotometricInterpretation = "MONOCHROME2"
    image.RescaleSlope, image.RescaleIntercept = str(slope), str(intercept)
    rescaled = apply_rescale(stored, image)
    image.WindowCenter = f"{(rescaled.min() + rescaled.max()) / 2:g}"
    image.WindowWidth = f"{np.ptp(rescaled):g}"
    shown = apply_windowing(rescaled, image)
    found = np.corrcoef(rescaled, shown)[0, 1]
    print(f"slope {slope}: rescaled {rescaled.min():g} to {rescaled.max():g}, correlation with the output {found:+.3f}")
    assert round(found) == sign, "changed"
PYTHON
