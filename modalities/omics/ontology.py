"""Ontology terms of obs, under the names that CELLxGENE's schema uses: organism, tissue, disease, sex, assay.

Sources: NCBI Taxonomy, UBERON, MONDO, PATO and EFO; the schema is that of CZ CELLxGENE Discover, version 5. It is
followed in the names and ids alone: these are bulk samples, so cell type and suspension are left out.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

UNKNOWN = ("unknown", "unknown")  # id and label
ORGANISM = ("NCBITaxon:9606", "Homo sapiens")
BREAST = ("UBERON:0000310", "breast")
BREAST_CANCER = ("MONDO:0007254", "breast cancer")
SEXES = {"F": "PATO:0000383", "M": "PATO:0000384"}
ASSAYS = {  # of the weights that ship; EFO has one for each way of measuring
    "rna": ("EFO:0008896", "RNA-Seq"),
    "mirna": ("EFO:0002896", "microRNA profiling by high throughput sequencing"),
    "meth": ("EFO:0002759", "methylation profiling by array"),
}


def patient_terms(obs: "pd.DataFrame", of_breast: bool) -> dict[str, Any]:
    """Columns that hold for all samples of a patient: donor, organism, tissue, disease, sex."""
    return {
        "donor_id": _words([str(name) for name in obs.index]),
        **_same("organism", ORGANISM, len(obs)),
        **_same("tissue", BREAST if of_breast else UNKNOWN, len(obs)),
        **_same("disease", BREAST_CANCER if of_breast else UNKNOWN, len(obs)),
        "tissue_type": _words(["tissue"] * len(obs)),
        "sex_ontology_term_id": _words(
            [SEXES.get(sex, "unknown") if isinstance(sex, str) else "unknown" for sex in obs["sex"]]
        ),
    }


def assay_terms(assay: str, kinds: Mapping[str, str], samples: int) -> dict[str, Any]:
    """How it was measured, as the data learnt from were; unknown for assays of the user."""
    return _same("assay", UNKNOWN if assay in kinds else ASSAYS.get(assay, UNKNOWN), samples)


def with_terms(obs: "pd.DataFrame", terms: Mapping[str, Any]) -> "pd.DataFrame":
    """obs with the columns that it does not have: a field that the user declared stays."""
    return obs.assign(**{name: values for name, values in terms.items() if name not in obs.columns})


def _same(name: str, term: tuple[str, str], count: int) -> dict[str, Any]:
    identifier, label = term
    return {f"{name}_ontology_term_id": _words([identifier] * count), name: _words([label] * count)}


def _words(values: list[str]) -> Any:
    import pandas as pd

    return pd.Categorical(pd.Series(values, dtype=object))
