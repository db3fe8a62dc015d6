#!/usr/bin/env bash
# wfdb 4.3.1: in an EDF file of two sampling rates the faster channel comes out in digital units, labelled mV.
#
# EDF gives each channel its own rate; an ECG at 250 Hz with a heart rate at 1 Hz is common on bedside monitors. The docstring
# of wfdb.io.convert.edf.read_edf says that it handles signals of different sampling frequencies properly. Guess: each channel
# reads as edfio reads it, 1 mV as 1 mV. Seen: 1 mV is 1 mV in the file of the ECG alone; in the file with the heart rate it
# is 6553 while the units still say mV (the mean of each frame is taken before the digital values are divided by the gain),
# and the ECG has one value a second. The heart rate is right in both. No error, no warning. A reader that must have such
# files takes edfio, or reads each rate on its own.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check wfdb==4.3.1 edfio==0.4.18
cd "$work"
"$work/env/bin/python" -W error::UserWarning - <<'PYTHON'
import numpy as np
from edfio import Edf, EdfSignal, read_edf
from wfdb.io.convert import edf

ECG = EdfSignal(np.ones(2500), 250, label="II", physical_dimension="mV", physical_range=(-5, 5))
RATE = EdfSignal(np.full(10, 70.0), 1, label="HR", physical_dimension="bpm", physical_range=(0, 300))

for name, signals, expected in (("ecg", [ECG], 1.0), ("both", [ECG, RATE], 6553.0)):
    Edf(signals).write(f"{name}.edf")
    by_edfio = read_edf(f"{name}.edf").signals[0].data
    record = edf.read_edf(f"{name}.edf")
    first = record.p_signal[0, 0]
    print(f"{name}: edfio {by_edfio[0]:.3f} mV, wfdb {first:.3f} {record.units[0]}, {record.sig_len} samples at {record.fs} Hz")
    assert np.allclose(by_edfio, 1, atol=1e-3) and record.units[0] == "mV"
    assert abs(first - expected) < 0.01, "changed"
assert np.allclose(record.p_signal[:, 1], 70, atol=0.01) and record.fs == 1, "changed"
PYTHON
