"""Assays of training folders, in the order of the folder's patients and in the generator's units."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ...core.config import Settings, parse
from ...core.errors import InputError
from ...core.modality import Record, TrainingSet
from ...core.types import BoolArray, Float32Array
from .followup import Columns, FollowUp, read_followup
from .matrices import Matrix, Source, read_matrix

MARKERS = ("ESR1", "PGR", "ERBB2", "MKI67")  # stated in the record: receptors and proliferation
LARGEST_LOG2 = 64.0  # no expression is 2 to the 64th: such values are counts, or not logarithms
PER_MILLION = 1e6


class Options(Settings):
    """The `options` of an omics data set. An assay given as a file alone takes `values` and `key` from here."""

    modality: Literal["omics"] = "omics"
    reference: bool = False
    assays: dict[str, str | Source] = Field(default={"rna": "rna.csv.gz"}, min_length=1)
    values: Literal["log2", "counts"] = "log2"
    key: str | None = None
    survival: Columns | None = None


@dataclass(frozen=True)
class Assay:
    """values: (patient, feature) float32 in the order of data.records, a NaN row where a patient lacks the assay.

    symbols: (feature,) str, each once. ids: (feature,) str, the identifiers in the data (Ensembl, Entrez), ""
    where unknown.
    """

    values: Float32Array
    symbols: NDArray[np.str_]
    ids: NDArray[np.str_]

    @property
    def present(self) -> BoolArray:
        """(patient,) whether the patient has this assay."""
        return ~np.isnan(self.values[:, 0])


def read_assays(data: TrainingSet) -> dict[str, Assay]:
    """Each assay of the set, by name.

    Options: `assays`, {name: file} or {name: settings of Source}; `values: counts` are turned into
    log2(counts per million + 1), so that 0 stays exactly 0. Raises InputError, naming file and patient: what
    matrices.read_matrix refuses; a value that is missing, infinite or no logarithm; a patient without any assay.
    """
    options = _parsed(data)
    if not data.records:
        raise InputError(f"{data.root}: omics needs a table that lists its patients; name it as `table`")
    if len(set(data.records)) < len(data.records):
        twice = next(r for i, r in enumerate(data.records) if r in data.records[:i])
        raise InputError(f"{data.root}: record {twice!r} is in the table twice; expected a row a sample")
    assays = {name: _assay(data, name, _source(source, options)) for name, source in options.assays.items()}
    without = ~np.any([assay.present for assay in assays.values()], axis=0)
    if without.any():
        first = data.records[int(np.argmax(without))]
        raise InputError(
            f"{data.root}: patient {first!r} is in the table but in no assay ({', '.join(assays)}); "
            f"{without.sum()} of {len(data)} are missing: drop their rows, or check `record` and `key`"
        )
    return assays


def read_survival(data: TrainingSet) -> FollowUp | None:
    """Follow-up of the set's patients; None if its options name none. Raises what read_followup does."""
    columns = _parsed(data).survival
    return None if columns is None else read_followup(data, columns)


def records_of(data: TrainingSet) -> list[Record]:
    """Real records of a set, as the generator draws them. Raises what read_assays and read_survival do."""
    assays, followed = read_assays(data), read_survival(data)
    return [
        Record(
            {
                key: array
                for name, assay in assays.items()
                if assay.present[row]
                for key, array in ((name, assay.values[row]), (f"{name}_var", assay.symbols))
            },
            {"pam50": profile.traits.get("pam50"), **_markers(assays, row), **_outcome(followed, row)},
        )
        for row, profile in enumerate(data.profiles)
    ]


def _markers(assays: Mapping[str, Assay], row: int) -> dict[str, float]:
    """log2 expression of the stated genes; none where the patient lacks RNA."""
    rna = assays.get("rna")
    if rna is None or not rna.present[row]:
        return {}
    return {m: float(rna.values[row, i]) for i, m in enumerate(rna.symbols.tolist()) if m in MARKERS}


def _outcome(followed: FollowUp | None, row: int) -> dict[str, float | bool]:
    """Overall survival, if it is known."""
    if followed is None or not followed.known[row]:
        return {}
    return {"os_months": round(float(followed.months[row]), 1), "os_event": bool(followed.event[row])}


def _parsed(data: TrainingSet) -> Options:
    given = {k: v for k, v in data.options.items() if k != "constants"}
    return parse(Options, given, f"{data.source.name}: options")


def _source(given: str | Source, options: Options) -> Source:
    return Source(file=given, values=options.values, key=options.key) if isinstance(given, str) else given


def _assay(data: TrainingSet, name: str, source: Source) -> Assay:
    path = data.root / source.file
    matrix = read_matrix(path, data.records, name, source)
    if not matrix.symbols:
        raise InputError(f"{path}: the assay {name} has no features")
    _check(str(path), name, matrix, source.values)
    values = np.full((len(data), len(matrix.symbols)), np.nan, np.float32)
    place = {record: row for row, record in enumerate(data.records)}
    found = _log2_per_million(matrix.values) if source.values == "counts" else matrix.values
    values[[place[key] for key in matrix.keys]] = found
    return Assay(values, np.array(matrix.symbols), np.array(matrix.ids))


def _check(where: str, name: str, matrix: Matrix, kind: str) -> None:
    """Refuse what is no finite logarithm, or no count."""
    values = matrix.values
    odd = {"log2": "not a log2 value; say `values: counts` if these are counts", "counts": "not a count"}
    faults = (
        (~np.isfinite(values), "not a finite number; fill or drop missing values (0.0 means not detected)"),
        (values < 0 if kind == "counts" else np.abs(values) > LARGEST_LOG2, odd[kind]),
    )
    for wrong, why in faults:
        if wrong.any():
            row, column = np.argwhere(wrong)[0]
            raise InputError(
                f"{where}: {name} {matrix.symbols[column]} of patient {matrix.keys[row]} is "
                f"{values[row, column]:g}, {why}"
            )
    if kind == "counts" and not (totals := values.sum(1)).all():
        raise InputError(f"{where}: patient {matrix.keys[int(np.argmin(totals))]} has no counts at all")


def _log2_per_million(counts: Float32Array) -> Float32Array:
    """log2(counts per million + 1): each row has its scale, so that no patient's value depends on another's."""
    totals = counts.sum(1, keepdims=True, dtype=np.float64)
    return np.log2(counts * (PER_MILLION / totals) + 1).astype(np.float32)
