#!/usr/bin/env bash
# edfio 0.4.18: a signal of a value each 300 s cannot be written for three days, though 864 records of 300 s are three days.
#
#   1 / 300 values a second is 0.0033333333333333335 in floating point; edfio divides the number of values by it, gets
#   259199.99999999997 s, and raises ValueError: not exactly divisible by data_record_duration. One and two days are written.
#   A fraction in place of the float is taken, and the file is right.
#
# Needs python3 and network; leaves nothing. Exits 0 while edfio behaves so.
set -euo pipefail
home=$(mktemp -d); trap 'rm -rf "$home"' EXIT
python3 -m venv "$home/env"
"$home/env/bin/pip" install -q edfio==0.4.18
cd "$home"
env/bin/python - <<'PY'
import sys
from fractions import Fraction

import edfio
import numpy as np


def written(days, rate):
    signal = edfio.EdfSignal(np.zeros(288 * days), rate, physical_range=(-1, 1))
    try:
        edfio.Edf([signal], data_record_duration=300).write("x.edf")
    except ValueError as error:
        return str(error)
    return f"{edfio.read_edf('x.edf').duration:g} s"


seen = {days: written(days, 1 / 300) for days in (1, 2, 3)}
fraction = written(3, Fraction(1, 300))
print(edfio.__version__, seen, fraction)
sys.exit(not (seen[1] == "86400 s" and "not exactly divisible" in seen[3] and fraction == "259200 s"))
PY
