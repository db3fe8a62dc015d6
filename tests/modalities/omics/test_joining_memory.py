"""Joining pieces of omics: what is in memory at once is a block of rows, filled piece by piece."""

import tracemalloc
from pathlib import Path

import numpy as np

from polyclinic.core.modality import Record
from polyclinic.core.profile import PatientProfile
from polyclinic.modalities.omics import log1p, pieces

FEATURES = np.array([f"GENE{i}" for i in range(2000)])
SLICE = 4


def made(folder: Path, patients: int) -> list[Path]:
    """Pieces of four patients, each with a row of 8 kB."""
    found = []
    for begin in range(0, patients, SLICE):
        piece = folder / f"piece-{begin:04}"
        piece.mkdir()
        rows = np.random.default_rng(begin).normal(6, 3, (SLICE, len(FEATURES))).astype(np.float32)
        records = [Record({"rna": row, "rna_var": FEATURES}, {"pam50": "LumA"}) for row in rows]
        pieces.write(records, [PatientProfile(f"P{begin + i:04}") for i in range(SLICE)], piece)
        found.append(piece)
    return found


def test_a_block_is_in_memory_once(tmp_path: Path) -> None:
    assay = pieces.gather(made(tmp_path, 200))[1]["rna"]
    whole = np.concatenate([b.copy() for b in assay.blocks(pieces.VALUES, 96)])  # loads what is loaded once
    begin = 0
    tracemalloc.start()
    try:
        for block in assay.blocks(pieces.VALUES, 96, log1p.shifted):
            assert block.shape == (min(96, 200 - begin), 2000)
            assert block[-1, 7] == log1p.shifted(whole[begin + len(block) - 1, 7:8])[0]
            begin += len(block)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert begin == 200
    assert (
        peak < 1.5 * 96 * 8000
    )  # all pieces of it beside it, and their logarithms as float64, were 8.3 times
