"""Assays of training folders, in the order of the folder's patients and in the generator's units."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from ...core.config import Settings, parse
from ...core.errors import InputError
from ...core.modality import Record, TrainingSet
from ...core.paths import below, file_name
from ...core.types import BoolArray, Float32Array
from .classes import classes_of, of_breast
from .followup import Columns, FollowUp, read_followup
from .matrices import Matrix, Source, Values, read_matrix

MARKERS = ("ESR1", "PGR", "ERBB2", "MKI67")  # stated in the record: receptors and proliferation
OUTCOMES = {"os_months": "double", "os_event": "bool"}  # facts that obs has as columns -> arrow type
LARGEST_LOG2 = 64.0  # no expression is 2 to the 64th: such values are counts, or not logarithms
PER_MILLION = 1e6
BETA_EDGE = 1e-3  # methylation closer to 0 or 1 is taken as this far from it


class Options(Settings):
    """The `options` of an omics data set. An assay given as a file alone takes `values` and `key` from here.

    classes: the field that names the classes of the samples, or `none`. tumour: ICD-10-CM code of what the samples
    are of. indicated: fields (conditions) of which a patient must have one to have such a sample; all by default.
    """

    modality: Literal["omics"] = "omics"
    reference: bool = False
    assays: dict[str, str | Source] = Field(default={"rna": "rna.csv.gz"}, min_length=1)
    values: Values = "log2"
    key: str | None = None
    classes: str | None = None
    tumour: str | None = None
    indicated: list[str] = Field(default_factory=list)
    survival: Columns | None = None

    @field_validator("assays")
    @classmethod
    def _called_by(cls, assays: dict[str, str | Source]) -> dict[str, str | Source]:
        """Files are called by the names of assays."""
        for name in assays:
            file_name(name, "assays")
        return assays


@dataclass(frozen=True)
class Assay:
    """values: (patient, feature) float32 in the order of data.records, a NaN row where a patient lacks the assay.

    symbols: (feature,) str, each once. ids: (feature,) str, the identifiers in the data (Ensembl, Entrez), ""
    where unknown. kind: what the values in the data are.
    """

    values: Float32Array
    symbols: NDArray[np.str_]
    ids: NDArray[np.str_]
    kind: Values = "log2"

    @property
    def present(self) -> BoolArray:
        """(patient,) whether the patient has this assay."""
        return ~np.isnan(self.values[:, 0])


def read_assays(data: TrainingSet) -> dict[str, Assay]:
    """Each assay of the set, by name.

    Options: `assays`, {name: file} or {name: settings of Source}. `values: counts` are turned into
    log2(counts per million + 1), so that 0 stays exactly 0; `intensities` into log2, `beta` (methylation, 0 to 1)
    into M-values, log2(beta / (1 - beta)); `log2` and `centred` (log ratios, z-scores) stay as they are. Raises
    InputError, naming file and patient: what matrices.read_matrix refuses; a value that is missing, infinite or not
    of its kind; a patient without any assay.
    """
    options = options_of(data)
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
    columns = options_of(data).survival
    return None if columns is None else read_followup(data, columns)


def records_of(data: TrainingSet) -> list[Record]:
    """Real records of a set, as the generator draws them. Raises what read_assays and read_survival do."""
    assays, followed, options = read_assays(data), read_survival(data), options_of(data)
    classes = classes_of([data], options.classes)
    breast = of_breast(classes, options.tumour)
    return [
        Record(
            {
                key: array
                for name, assay in assays.items()
                if assay.present[row]
                for key, array in ((name, assay.values[row]), (f"{name}_var", assay.symbols))
            },
            {
                **classes.facts(classes.place(profile)),
                **(_markers(assays, row) if breast else {}),
                **_outcome(followed, row),
            },
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


def options_of(data: TrainingSet) -> Options:
    """The options of a set. Raises InputError."""
    given = {k: v for k, v in data.options.items() if k != "constants"}
    return parse(Options, given, f"{data.source.name}: options")


def _source(given: str | Source, options: Options) -> Source:
    return Source(file=given, values=options.values, key=options.key) if isinstance(given, str) else given


def _assay(data: TrainingSet, name: str, source: Source) -> Assay:
    path = below(data.root, source.file, f"{data.root / 'dataset.yaml'}: options.assays.{name}")
    matrix = read_matrix(path, data.records, name, source)
    if not matrix.symbols:
        raise InputError(f"{path}: the assay {name} has no features")
    _check(str(path), name, matrix, source.values)
    values = np.full((len(data), len(matrix.symbols)), np.nan, np.float32)
    place = {record: row for row, record in enumerate(data.records)}
    values[[place[key] for key in matrix.keys]] = SCALED[source.values](matrix.values)
    return Assay(values, np.array(matrix.symbols), np.array(matrix.ids), source.values)


def _check(where: str, name: str, matrix: Matrix, kind: Values) -> None:
    """Refuse what is not of the kind that the options say."""
    values = matrix.values
    low, high, why = POSSIBLE[kind]
    faults = (
        (~np.isfinite(values), "not a finite number; fill or drop missing values (0.0 means not detected)"),
        ((values < low) | (values > high), why),
    )
    for wrong, why in faults:
        if wrong.any():
            row, column = np.argwhere(wrong)[0]
            raise InputError(
                f"{where}: {name} {matrix.symbols[column]} of patient {matrix.keys[row]} is "
                f"{values[row, column]:g}, {why}"
            )
    if kind == "log2" and values.size and values.min() >= 0 and values.max() <= 1:
        raise InputError(
            f"{where}: {name} has values from {values.min():g} to {values.max():g} alone, no log2 values; say "
            "`values: beta` for methylation, `values: centred` for scores"
        )
    if kind == "counts" and not (totals := values.sum(1)).all():
        raise InputError(f"{where}: patient {matrix.keys[int(np.argmin(totals))]} has no counts at all")


def _log2_per_million(counts: Float32Array) -> Float32Array:
    """log2(counts per million + 1): each row has its scale, so that no patient's value depends on another's."""
    totals = counts.sum(1, keepdims=True, dtype=np.float64)
    return np.log2(counts * (PER_MILLION / totals) + 1).astype(np.float32)


def _log2_intensities(intensities: Float32Array) -> Float32Array:
    """log2(intensity), 0 for intensities up to 1, which nothing was bound to give."""
    return np.log2(np.maximum(intensities, 1.0)).astype(np.float32)


def _m_values(beta: Float32Array) -> Float32Array:
    """log2(beta / (1 - beta)) (Du et al., BMC Bioinformatics 11:587, 2010)."""
    inside = np.clip(beta.astype(np.float64), BETA_EDGE, 1 - BETA_EDGE)
    return np.log2(inside / (1 - inside)).astype(np.float32)


def _as_they_are(values: Float32Array) -> Float32Array:
    return values


SCALED: Mapping[Values, Callable[[Float32Array], Float32Array]] = {
    "log2": _as_they_are, "centred": _as_they_are, "counts": _log2_per_million,
    "intensities": _log2_intensities, "beta": _m_values,
}  # fmt: skip
POSSIBLE: Mapping[Values, tuple[float, float, str]] = {  # lowest and highest value, what is wrong beyond
    "log2": (
        -LARGEST_LOG2,
        LARGEST_LOG2,
        "not a log2 value; say `values: counts` if these are counts, `values: intensities` if array intensities",
    ),
    "centred": (-LARGEST_LOG2, LARGEST_LOG2, "not a log ratio or z-score"),
    "counts": (0.0, np.inf, "not a count"),
    "intensities": (0.0, np.inf, "not an intensity"),
    "beta": (0.0, 1.0, "not a beta value; expected 0 to 1, or `values: log2` for M-values"),
}
