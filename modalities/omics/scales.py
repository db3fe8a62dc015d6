"""Scales: what is publicly known of the numbers of an assay, before any patient is looked at."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ...core.types import FloatArray
from .gene_groups import groups_of, level
from .modules import KNOWN
from .tumours import Tumours

KNOWN_WEIGHT = (
    2.0  # of genes of the modules, which are few and separate subtypes: half the noise of other genes
)
SCALES = {  # assay -> the values of Public's fields, the same for all its features
    "rna": (6.0, 1.8, 1.6, -9.0, 21.0, 1.0),
    "mirna": (4.0, 1.3, 3.0, -6.0, 20.0, 0.7),
    "meth": (0.0, 0.8, 1.8, -7.0, 7.0, 0.5),
}
LEVELS = {  # of breast tumours: the usual value of silent, other, abundant and most abundant features
    "rna": (1.5, 5.0, 10.5, 10.5),
    "mirna": (2.0, 2.0, 6.5, 11.0),
}
AROUND_LEVELS = {"rna": 1.35, "mirna": 1.5}  # how far means of features differ from these, in spreads
PAIRED = {"rna": 1.0, "mirna": 1.1, "meth": 0.55}  # weight of a feature in its products with the factors
KNOWN_PAIRED = 1.35  # times this, of genes of the modules
OTHER = (5.0, 2.0, 2.0, -10.0, 25.0, 0.6)
KINDS = {  # of values that the data set says to be of this kind, whatever the assay is called
    "beta": SCALES["meth"],
    "centred": (0.0, 1.0, 0.8, -16.0, 16.0, 0.6),
    "intensities": (7.0, 1.5, 1.8, 0.0, 20.0, 0.6),
}  # fmt: skip


@dataclass(frozen=True)
class Public:
    """(feature,) arrays: a usual value and spread, and how far means of features differ (in spreads).

    Then the range of values, the weight of a feature in the budget, and its weight in the products. `groups`
    (assay -> (feature, group)) are those of gene_groups.py, of breast tumours.
    """

    middle: FloatArray
    unit: FloatArray
    between: FloatArray
    low: FloatArray
    high: FloatArray
    weight: FloatArray
    paired: FloatArray
    groups: Mapping[str, FloatArray]

    @classmethod
    def of(cls, data: Tumours) -> "Public":
        """From the names of assays and features alone, and what the data set states."""
        features = [(assay, gene) for assay, genes in data.layout.symbols.items() for gene in genes]
        scales = {a: KINDS.get(data.kinds.get(a, ""), SCALES.get(a, OTHER)) for a in data.layout.symbols}
        middle, unit, between, low, high, weight = np.array([scales[assay] for assay, _ in features]).T
        known = np.array([data.breast and assay == "rna" and gene in KNOWN for assay, gene in features])
        weight = weight * np.where(known, KNOWN_WEIGHT, 1.0)
        if not data.breast:
            return cls(middle, unit, between, low, high, weight, weight, {})
        for name, place in data.layout.slices().items():
            if name in LEVELS and scales[name] is SCALES[name]:
                middle[place] = [LEVELS[name][level(name, gene)] for gene in data.layout.symbols[name]]
                between[place] = AROUND_LEVELS[name]
        paired = np.array([PAIRED.get(assay, scales[assay][-1]) for assay, _ in features])
        groups = {name: groups_of(name, genes) for name, genes in data.layout.symbols.items()}
        return cls(
            middle, unit, between, low, high, weight, paired * np.where(known, KNOWN_PAIRED, 1.0), groups
        )
