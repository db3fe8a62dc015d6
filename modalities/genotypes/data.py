"""Reads the alleles of a cohort's patients back from its VCF; to a reader bgzip is gzip, and pysam is not needed."""

import gzip
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...core.errors import InputError
from ...core.modality import Record
from ...core.types import AnyArray
from .interpretation import facts_of
from .panel import panel

FOLDER, FILE = "genotypes", "genotypes.vcf.gz"


def read(folder: Path, patient_ids: Sequence[str]) -> dict[str, Record]:
    """Records by patient; those without a column are left out. Raises InputError naming a damaged file."""
    path = folder / FOLDER / FILE
    if not path.exists():
        return {}
    made = panel()
    place = {site.id: i for i, site in enumerate(made.sites)}
    wanted, columns = set(patient_ids), {}
    alleles: dict[str, AnyArray] = {}
    try:
        with gzip.open(path, "rt", encoding="ascii") as file:
            for line in file:
                cells = line.rstrip("\n").split("\t")
                if line.startswith("#CHROM"):
                    columns = {id: i for i, id in enumerate(cells) if i > 8 and id in wanted}
                    alleles = {id: np.full((len(place), 2), -1, np.int8) for id in columns}
                elif not line.startswith("#"):
                    for id, column in columns.items():
                        alleles[id][place[cells[2]]] = _alleles_of(cells[column])
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, KeyError, IndexError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as our VCF ({type(error).__name__}: {error})") from error
    return {
        id: Record({"alleles": alleles[id]}, facts_of(alleles[id], made))
        for id in patient_ids
        if id in columns
    }


def _alleles_of(call: str) -> tuple[int, int]:
    if call == ".":
        return -1, -1
    first, _, second = call.partition("|")
    return int(first), int(second) if second else -1
