"""Feature names: symbols and identifiers of genes, as data sets spell them and as Ensembl knows them."""

import gzip
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pandas import DataFrame

SYMBOL_ENTREZ = re.compile(r"(.+)_(\d+)")
ENSEMBL = re.compile(r"ENSG\d{11}")
MIRNA = re.compile(r"hsa[-_](mir|let)[-_](\d+[a-z]*)((?:[-_]\d+)?)", re.IGNORECASE)
SYMBOL_COLUMNS = (
    "symbol",
    "gene_symbol",
    "gene_symbols",
    "gene_name",
    "feature_name",
)  # of var, as people spell it
SOURCE_NAME = "source_name"  # of var of our own stores: the feature's name in the training data
ID_COLUMNS = ("ensembl_id", "gene_ids", "gene_id", "feature_id", "id", "entrez_id")
GENCODE = "gencode48.csv.gz"  # GENCODE release 48; symbols that several genes share are left out


def split_names(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Symbols and ids of a table's column names.

    Where all are spelt `SYMBOL_ENTREZ`, the number is the id; Ensembl ids are ids; else there is none ("").
    """
    parts = [SYMBOL_ENTREZ.fullmatch(name) for name in names]
    if names and all(parts):
        symbols, ids = zip(*(part.groups() for part in parts if part), strict=True)
        return _distinct(symbols, names), list(ids)
    return list(names), [name if ENSEMBL.match(name) else "" for name in names]


def feature_names(var: "DataFrame") -> tuple[list[str], list[str]]:
    """Symbols and ids of the features of an AnnData: its var_names, and the usual columns of var."""
    names = _column(var, (SOURCE_NAME,)) or [str(name) for name in var.index]
    ids = _column(var, ID_COLUMNS)
    if all(ENSEMBL.match(name) for name in names):
        return _distinct(_column(var, SYMBOL_COLUMNS) or names, names), names
    return (names, ids) if ids else split_names(names)


def ensembl_ids(symbols: Sequence[str], ids: Sequence[str] = ()) -> list[str]:
    """Ensembl gene id of each feature: its own id where that is one, else by symbol; "" where unknown.

    Knows the current HGNC symbols and miRBase hairpins (hsa-mir-100, hsa_let_7a_1), not withdrawn symbols.
    Source: GENCODE release 48 (Frankish et al., Nucleic Acids Research 51:D942, 2023).
    """
    known = _gencode()
    known_ids = ids if len(ids) else [""] * len(symbols)
    return [
        _without_version(i) or known.get(_hgnc(_spelt(s, known)), "")
        for s, i in zip(symbols, known_ids, strict=True)
    ]


def official_symbols(names: Sequence[str]) -> list[str]:
    """HGNC's or miRBase's spelling of names whose hyphens became underscores (HLA_DOB, hsa_let_7a_1); others stay.

    A spelling that another feature has stays too.
    """
    known = _gencode()
    spelt = [_spelt(name, known) for name in names]
    count = Counter([*spelt, *(name for name, new in zip(names, spelt, strict=True) if name != new)])
    return [new if count[new] == 1 else name for name, new in zip(names, spelt, strict=True)]


def _spelt(name: str, known: Mapping[str, str]) -> str:
    hyphened = name.replace("_", "-")
    hairpin = MIRNA.fullmatch(name)
    return hyphened if hairpin or (name not in known and hyphened in known) else name


def _column(var: "DataFrame", spellings: Sequence[str]) -> list[str]:
    """The first of the columns that is there, unknown values as ""; empty if none is."""
    for name in spellings:
        if name in var.columns:
            return [str(value) for value in var[name].astype(object).where(var[name].notna(), "")]
    return []


def _distinct(symbols: Sequence[str], names: Sequence[str]) -> list[str]:
    """The symbols; one that several features share, or that is empty, gives way to the whole name."""
    count = Counter(symbols)
    return [s if s and count[s] == 1 else name for s, name in zip(symbols, names, strict=True)]


def _without_version(identifier: str) -> str:
    """ENSG00000091831 of ENSG00000091831.25; "" if the id is of another kind."""
    found = ENSEMBL.match(identifier)
    return found.group() if found else ""


def _hgnc(symbol: str) -> str:
    """HGNC's name of a miRBase hairpin (MIR100, MIRLET7A1, MIR1-2); any other symbol as it is.

    HGNC keeps the hyphen before a copy's number only where two digits would meet.
    """
    hairpin = MIRNA.fullmatch(symbol)
    if not hairpin:
        return symbol
    family, number, copy = (part.upper() for part in hairpin.groups())
    copy = copy.replace("_", "-") if number[-1].isdigit() else copy[1:]
    return ("MIRLET" if family == "LET" else "MIR") + number + copy


@cache
def _gencode() -> dict[str, str]:
    """Ensembl gene id by symbol."""
    packed = files("polyclinic.modalities").joinpath("omics", GENCODE).read_bytes()
    return dict(row.split(",") for row in gzip.decompress(packed).decode().splitlines()[1:])
