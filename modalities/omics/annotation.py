"""The annotation of an assay: obs (patients), var (features), uns (meaning, provenance, licence)."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ...core.training.weights import Card
from . import log1p
from .classes import PAM50, Classes
from .genes import SOURCE_NAME, ensembl_ids, official_symbols

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

MEANINGS = {  # assay -> unit, what an exact zero means
    "rna": ("log2(RSEM + 1), upper-quartile normalised", "exactly 0.0 = not detected"),
    "mirna": ("log2(reads per million + 1)", "exactly 0.0 = not detected"),
    "meth": ("M-value: log2(beta / (1 - beta)) of the gene's mean beta", "beta = 0.5"),
}
UNKNOWN_MEANING = ("that of the data learnt from", "that of the data learnt from")
KINDS = {  # what the data learnt from had -> unit, what an exact zero means
    "log2": ("log2, as in the data learnt from", "exactly 0.0 = not detected"),
    "counts": ("log2(counts per million + 1)", "exactly 0.0 = not detected"),
    "intensities": ("log2(intensity + 1)", "exactly 0.0 = not detected"),
    "beta": ("M-value: log2(beta / (1 - beta))", "beta = 0.5"),
    "centred": ("log ratio or z-score, as in the data learnt from", "the middle"),
}
COUNTS_MEANING = "read counts, negative binomial about the shares of the log2 expression"
SYNTHETIC = "SYNTHETIC: drawn by a model, not measured on a person"
LICENCE = (
    "synthetic data; the cohort's manifest.json names the weights, and their cards the data and licences"
)
ALWAYS = ("age", "sex")  # fields that obs has, known or not, with that of the classes
CLASSES, BREAST_MARKERS, VALUES, INDEX = "classes", "breast_markers", "values", "index"  # of provenance
SYMBOL, ENSEMBL = "symbol", "ensembl"  # what may index var


def obs_of(table: "pa.Table", classes: str = PAM50.field) -> "pd.DataFrame":
    """Profile fields by name: words as categories, conditions as bool, numbers as float64; the index is the id.

    Unknown is NaN (NA in a condition). A field that nobody has is left out, but for age, sex and the field of the
    classes ("" for none).
    """
    import pandas as pd
    import pyarrow as pa

    ids = np.array(table["patient_id"].to_pylist(), dtype=object)
    nobody = pa.chunked_array([pa.nulls(len(ids), pa.string())])
    values: dict[str, Any] = {"patient_id": ids}
    always = [*ALWAYS, *([classes] if classes else [])]
    for name in [*always, *sorted(set(table.column_names) - {*always, "patient_id"})]:
        column = table[name] if name in table.column_names else nobody
        if name in always or column.null_count < len(ids):
            values[name] = _series(column)
    return pd.DataFrame(values, index=pd.Index(ids, dtype=object))


def var_of(names: Sequence[str], ids: Sequence[str], prefix: str = "", index: str = SYMBOL) -> "pd.DataFrame":
    """symbol, as HGNC and miRBase spell it; ensembl_id ("" where unknown); source_name and, if any, source_id.

    The last two are those of the training data. The index is prefix + symbol, or with `index` ENSEMBL prefix + id
    where there is one that no other feature has.
    """
    import pandas as pd

    symbols, genes = official_symbols(names), ensembl_ids(names, ids)
    values = {"symbol": symbols, "ensembl_id": genes, SOURCE_NAME: list(names)}
    if len(ids):
        values["source_id"] = list(ids)
    count = Counter(genes)
    keys = [
        gene if index == ENSEMBL and gene and count[gene] == 1 else symbol
        for gene, symbol in zip(genes, symbols, strict=True)
    ]
    return pd.DataFrame(
        values, index=pd.Index([f"{prefix}{key}" for key in keys], dtype=object), dtype=object
    )


def uns_of(assay: str, provenance: Mapping[str, Any], counted: bool = False) -> dict[str, Any]:
    """That it is synthetic, unit and zero, the logarithm's base, the model's provenance, and the licence."""
    kinds = kinds_of(provenance)
    unit, zero = KINDS[kinds[assay]] if assay in kinds else MEANINGS.get(assay, UNKNOWN_MEANING)
    about = {"synthetic": True, "statement": SYNTHETIC, "assay": assay, "unit": unit, "zero": zero}
    counts = {"counts": COUNTS_MEANING} if counted else {}
    logged = log1p.uns_of(assay, kinds)
    return {
        **about,
        **logged,
        **counts,
        "generator": "Polyclinic",
        "licence": LICENCE,
        **shared_uns(provenance),
    }


def shared_uns(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """What uns says of all assays: the model's provenance."""
    return {key: value for key, value in provenance.items() if key not in (VALUES, INDEX)}


def kinds_of(provenance: Mapping[str, Any]) -> Mapping[str, str]:
    """What the data learnt from held, by assay; weights of version 0.1 do not say."""
    found: Mapping[str, str] = provenance.get(VALUES, {})
    return found


def is_of_breast(provenance: Mapping[str, Any]) -> bool:
    """Whether the samples are breast cancers; those of weights of version 0.1 are."""
    return bool(provenance.get(BREAST_MARKERS, True))


def provenance_of(card: Card) -> dict[str, Any]:
    """Of the weights' card: the model, its privacy, and the data it learnt from with their licences.

    Also the field of the classes, whether the marker genes of breast cancer are stated, and what the values of each
    assay are, which cards of version 0.1 do not say.
    """
    limits = {"epsilon": card.epsilon, "delta": card.delta}
    about: dict[str, Any] = {}
    if "classes" in card.model:
        classes = Classes.of_card(card.model, card.columns)
        about = {
            CLASSES: classes.field,
            BREAST_MARKERS: card.model["breast"],
            VALUES: dict(card.model["values"]),
        }
    return {
        **about,
        "model": card.name,
        "model_kind": card.kind,
        "model_version": card.version,
        "privacy": card.privacy,
        **{name: value for name, value in limits.items() if value is not None},
        **{
            f"training_data{suffix}": np.array([getattr(used, field) for used in card.data], dtype=object)
            for suffix, field in (("", "name"), ("_licence", "licence"), ("_citation", "citation"))
        },
    }


def _series(column: "pa.ChunkedArray") -> Any:
    """A column of obs, of a type that AnnData keeps."""
    import pandas as pd
    import pyarrow as pa

    if pa.types.is_floating(column.type):
        return column.to_numpy()
    if pa.types.is_boolean(column.type):
        return pd.array(column.to_pylist(), "boolean") if column.null_count else column.to_numpy()
    words = column.cast(pa.string()).combine_chunks().dictionary_encode().to_pandas().astype("category")
    return words.cat.reorder_categories(sorted(words.cat.categories)).array
