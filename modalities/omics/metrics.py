"""What eval may measure on tumours: the genes of the PAM50 list, all genes, the subtype."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ...core.modality import Panel, Record, Task, View
from ...core.profile import PatientProfile
from .modules import PAM50
from .pictures import picture
from .tumours import SUBTYPES

if TYPE_CHECKING:
    from pandas import DataFrame

SUBTYPE = "the PAM50 subtype"
GENES = tuple(gene for group in PAM50.values() for gene in group.split())


def features(records: Sequence[Record]) -> "DataFrame":
    """(record, feature): log2 expression of the PAM50 genes that are there, median, share not detected."""
    everything = inputs(records)
    table = everything[[gene for gene in GENES if gene in everything.columns]].copy()
    table["median of all genes"] = everything.median(axis=1)
    table["share not detected"] = (everything == 0).mean(axis=1)
    return table


def inputs(records: Sequence[Record]) -> "DataFrame":
    """(record, gene) log2 expression of all genes."""
    from pandas import DataFrame

    values = np.stack([record.arrays["rna"] for record in records]).astype(np.float64)
    table = DataFrame(values, columns=[str(symbol) for symbol in records[0].arrays["rna_var"]])
    return table.loc[:, ~table.columns.duplicated()]


def survival(records: Sequence[Record]) -> "DataFrame":
    """(record, 2): months followed, and 1 where death ended them; NaN where it is not known."""
    from pandas import DataFrame

    rows = [[record.facts.get(name, np.nan) for name in ("os_months", "os_event")] for record in records]
    return DataFrame(np.array(rows, dtype=np.float64), columns=["months", "death"])


def subtype(profile: PatientProfile, record: Record) -> float:
    """Place in SUBTYPES, NaN where it is unknown."""
    name = profile.traits.get("pam50") or record.facts.get("pam50")
    return float(SUBTYPES.index(name)) if name in SUBTYPES else float("nan")


PANELS = (
    Panel(
        "genes", "all genes", "genes", inputs,
        "Correlations, modules, and the genes that differ between luminal A and basal-like tumours.",
        (SUBTYPE, "LumA", "Basal"),
    ),
    Panel("survival", "overall survival", "event", survival, "Months to death or to the last contact."),
)  # fmt: skip


def views() -> list[View]:
    """One view: RNA expression of the tumour."""
    return [
        View(
            name="rna",
            title="Tumour gene expression",
            needs="rna",
            features=features,
            inputs=inputs,
            tasks=(Task(SUBTYPE, SUBTYPES, subtype),),
            panels=PANELS,
            picture=picture,
            about="Distances use log2 expression of the genes of the PAM50 list that the data hold, the "
            "median of all genes and the share not detected; the classifiers see all genes.",
            blind=("microRNA and methylation, but for the picture", "stage and response to treatment"),
        )
    ]
