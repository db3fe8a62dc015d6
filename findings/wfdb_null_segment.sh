#!/usr/bin/env bash
# wfdb 4.3.1: a multi-segment record with a gap cannot be read.
#
# A WFDB header may list segments, and `~` in place of a segment's name stands for samples that were not
# recorded (header(5), "multi-segment records"). Guess: rdrecord joins the segments and gives NaN in the gap.
# Seen: the same record without its gap is joined (300 samples); with the gap
# rdrecord raises AttributeError: 'NoneType' object has no attribute 'p_signal' (wfdb 4.3.1, Python 3.11).
# So a reader that must not lose such records joins the segments itself.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check wfdb==4.3.1
cd "$work"
"$work/env/bin/python" - <<'PYTHON'
from pathlib import Path

import numpy as np
import wfdb

RATE = 100
for name, samples in (("one", 100), ("two", 200)):
    wave = np.sin(np.arange(samples) / 10)[:, None]
    wfdb.wrsamp(name, fs=RATE, units=["mV"], sig_name=["II"], p_signal=wave, fmt=["16"])

Path("whole.hea").write_text(f"whole/2 1 {RATE} 300\none 100\ntwo 200\n")
Path("gap.hea").write_text(f"gap/3 1 {RATE} 350\none 100\n~ 50\ntwo 200\n")

whole = wfdb.rdrecord("whole")
print("without a gap:", whole.p_signal.shape)
assert whole.p_signal.shape == (300, 1)

header = wfdb.rdheader("gap")
print("the header is understood:", header.seg_name, header.seg_len)
assert header.seg_name == ["one", "~", "two"]
try:
    wfdb.rdrecord("gap")
except AttributeError as error:
    print("with a gap:", type(error).__name__, error)
    assert "NoneType" in str(error)
else:
    raise SystemExit("changed: the record with a gap is read")
PYTHON
