#!/usr/bin/env bash
# wfdb 4.3.1: wfdb_to_edf writes a data record too many, so that 10 s of one lead last 20 s in EDF.
#
# Guess: a WFDB record of 5,000 samples at 500 Hz becomes an EDF file of 10 s. Seen: one lead becomes 20 s (two data records of
# 10 s), twelve leads become 11 s (eleven of 1 s): the number of data records is the whole number that fits, and one more, also
# where nothing is left for it. The first 10 s are right to a step of the 16 bits. No error, no warning.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check wfdb==4.3.1 edfio==0.4.18
cd "$work"
"$work/env/bin/python" - <<'PYTHON'
import numpy as np
import wfdb
from edfio import read_edf
from wfdb.io.convert.edf import wfdb_to_edf

wave = np.sin(np.arange(5000) / 50)
for leads, seconds in ((1, 20), (12, 11)):
    names = [f"lead{n}" for n in range(leads)]
    wfdb.wrsamp(
        f"r{leads}", fs=500, units=["mV"] * leads, sig_name=names, p_signal=np.tile(wave[:, None], leads),
        fmt=["16"] * leads, adc_gain=[1000.0] * leads, baseline=[0] * leads,
    )
    wfdb_to_edf(f"r{leads}", output_filename=f"r{leads}.edf")
    made = read_edf(f"r{leads}.edf")
    print(f"{leads} leads of {len(wave) / 500:g} s: {made.duration:g} s in EDF, {len(made.signals[0].data)} samples")
    assert made.duration == seconds, "changed"
    assert np.allclose(made.signals[0].data[:5000], wave, atol=0.002), "changed"
PYTHON
