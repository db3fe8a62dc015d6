#!/usr/bin/env bash
# edfio 0.4.18: an annotation with a line break is written, and gone when the file is read.
#
# EDF+ allows line breaks in annotations (its specification, 2.2.2: ASCII 9, 10 and 13 may stand in them). Guess: the text comes
# back, or writing refuses it. Seen: the bytes stand in the file; read_edf drops that annotation without an error or a warning
# and keeps the next one. A writer that must be read by edfio keeps each annotation on one line.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check edfio==0.4.18
cd "$work"
"$work/env/bin/python" -W error - <<'PYTHON'
from pathlib import Path

import numpy as np
from edfio import Edf, EdfAnnotation, EdfSignal, read_edf

marks = [EdfAnnotation(0.1, None, "two\nlines"), EdfAnnotation(0.2, None, "one line")]
Edf([EdfSignal(np.arange(10.0), 10)], annotations=marks).write("a.edf")
assert b"two\nlines" in Path("a.edf").read_bytes(), "changed: not written"
found = [mark.text for mark in read_edf("a.edf").annotations]
print("written:", [mark.text for mark in marks], "read:", found)
assert found == ["one line"], "changed"
PYTHON
