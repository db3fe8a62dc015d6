"""The values of X as log2(quantity + 1), the form that scanpy's fold changes are computed from, and back to records.

A record holds log2 of the quantity, below 0 where that is below 1, and exactly 0.0 where nothing was detected.
scanpy undoes a logarithm as base ** x - 1, so such values give it fold changes that are wrong, or NaN. log2(quantity
+ 1) is 0 where nothing was detected and above 0 everywhere else, so that nothing is lost.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...core.types import AnyArray, Float32Array

BASE = 2.0  # of uns["log1p"]
PSEUDOCOUNT = "pseudocount"  # of uns: X is log2(quantity + this), where it is there
SEQUENCED = ("rna", "mirna")  # of the weights that ship: RSEM, reads per million
SHIFTED = ("intensities",)  # kinds of values whose logarithm a record holds as it is
LOGGED = ("log2", "counts", *SHIFTED)  # kinds whose base is 2


def is_shifted(assay: str, kinds: Mapping[str, str]) -> bool:
    """Whether X of an assay is log2(quantity + 1) in place of the record's log2; kinds are what the data held."""
    return kinds[assay] in SHIFTED if assay in kinds else assay in SEQUENCED


def uns_of(assay: str, kinds: Mapping[str, str]) -> dict[str, Any]:
    """What scanpy and a reader of ours look for in uns; empty for values that are no logarithm of a quantity."""
    logged = kinds[assay] in LOGGED if assay in kinds else assay in SEQUENCED
    about: dict[str, Any] = {"log1p": {"base": BASE}} if logged else {}
    return about | ({PSEUDOCOUNT: 1.0} if is_shifted(assay, kinds) else {})


def shifted(values: AnyArray) -> Float32Array:
    """log2(quantity + 1) of log2(quantity); exactly 0.0 stays."""
    logs = np.asarray(values, dtype=np.float64)
    return np.where(logs == 0, 0.0, np.logaddexp2(logs, 0.0)).astype(np.float32)


def unshifted(values: AnyArray, pseudocount: float = 1.0) -> Float32Array:
    """log2(quantity) of log2(quantity + pseudocount), to a few steps of float32; exactly 0.0 stays."""
    logs = np.asarray(values, dtype=np.float64) - np.log2(pseudocount)
    with np.errstate(divide="ignore", invalid="ignore"):
        back = np.log2(np.expm1(logs * np.log(2.0))) + np.log2(pseudocount)
    return np.where(logs == 0, 0.0, back).astype(np.float32)


def record_values(group: Any, values: AnyArray) -> AnyArray:
    """X of an AnnData group as a record holds it."""
    if "uns" not in group or PSEUDOCOUNT not in group["uns"]:
        return values
    return unshifted(values, float(np.asarray(group["uns"][PSEUDOCOUNT][()])))
