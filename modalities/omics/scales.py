"""Scales: what is publicly known of the numbers of an assay, before any patient is looked at."""

from dataclasses import dataclass

import numpy as np

from ...core.types import FloatArray
from .modules import KNOWN
from .tumours import Layout

KNOWN_WEIGHT = (
    2.0  # of genes of the modules, which are few and separate subtypes: half the noise of other genes
)
SCALES = {  # assay -> the values of Public's fields, the same for all its features
    "rna": (6.0, 1.8, 1.6, -9.0, 21.0, 1.0),
    "mirna": (4.0, 1.3, 3.0, -6.0, 20.0, 0.7),
    "meth": (0.0, 0.8, 1.8, -7.0, 7.0, 0.5),
}
OTHER = (5.0, 2.0, 2.0, -10.0, 25.0, 0.6)


@dataclass(frozen=True)
class Public:
    """(feature,) arrays: a usual value and spread, and how far means of features differ (in spreads).

    Then the range of values, and the weight of a feature in the budget's precision.
    """

    middle: FloatArray
    unit: FloatArray
    between: FloatArray
    low: FloatArray
    high: FloatArray
    weight: FloatArray

    @classmethod
    def of(cls, layout: Layout) -> "Public":
        """From the names of assays and features alone."""
        features = [(assay, gene) for assay, genes in layout.symbols.items() for gene in genes]
        table = np.array([SCALES.get(assay, OTHER) for assay, _ in features])
        middle, unit, between, low, high, weight = table.T
        known = [assay == "rna" and gene in KNOWN for assay, gene in features]
        return cls(middle, unit, between, low, high, weight * np.where(known, KNOWN_WEIGHT, 1.0))
