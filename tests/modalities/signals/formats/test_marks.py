"""Annotation files: the bytes of wfdb.wrann."""

from pathlib import Path

import numpy as np
import wfdb
from wfdb.io.annotation import ann_labels

from polyclinic.modalities.signals.formats.wfdb_marks import CODES, encoded


def test_marks_are_the_bytes_that_wfdb_writes(tmp_path: Path) -> None:
    random, symbols = np.random.default_rng(0), sorted(set(CODES) - {" "})
    for case in range(24):
        count = int(random.integers(1, 9))
        away = random.choice([0, 1, 1023, 1024, 65_535, 65_536, 2**31 - 1, 2**33], count)
        names = list(random.choice(symbols, count))
        length = random.choice([0, 1, 2, 254, 255], count) if case % 3 else np.zeros(count, dtype=int)
        notes = ["".join(map(chr, random.integers(32, 256, n))) for n in length]
        places, rate = np.cumsum(away), int(random.integers(1, 2000))
        noted = notes if any(notes) else None
        wfdb.wrann("x", "atr", places, names, aux_note=noted, fs=rate, write_dir=str(tmp_path))
        marks = [(int(n), s, note) for n, s, note in zip(places, names, notes, strict=True)]
        assert encoded(marks, rate) == (tmp_path / "x.atr").read_bytes(), marks


def test_all_symbols_of_wfdb_are_known() -> None:
    assert {label.symbol: label.label_store for label in ann_labels} == CODES
