"""Scales: what is publicly known of the numbers of an assay, before any patient is looked at."""

from dataclasses import dataclass

import numpy as np

from ...core.types import FloatArray
from .modules import KNOWN
from .tumours import Layout

# Genes of the modules are few and tell subtypes apart: they get half the others' noise.
KNOWN_WEIGHT = 2.0


@dataclass(frozen=True)
class Scale:
    """What is publicly known of an assay's numbers.

    A usual value and spread of a feature, how far means of features differ (in spreads), the range of
    values, and how much of the budget's precision a feature gets beside others.
    """

    middle: float
    unit: float
    between: float
    low: float
    high: float
    weight: float


SCALES = {
    "rna": Scale(6.0, 1.8, 1.6, -9.0, 21.0, 1.0),
    "mirna": Scale(4.0, 1.3, 3.0, -6.0, 20.0, 0.7),
    "meth": Scale(0.0, 0.8, 1.8, -7.0, 7.0, 0.5),
}
OTHER = Scale(5.0, 2.0, 2.0, -10.0, 25.0, 0.6)


@dataclass(frozen=True)
class Public:
    """The scale of each feature, (feature,) arrays; RNA of the modules' genes weighs more."""

    middle: FloatArray
    unit: FloatArray
    between: FloatArray
    low: FloatArray
    high: FloatArray
    weight: FloatArray

    @classmethod
    def of(cls, layout: Layout) -> "Public":
        """From the names of assays and features alone."""
        scales = {name: SCALES.get(name, OTHER) for name in layout.symbols}
        parts = {
            key: layout.spread({name: getattr(scale, key) for name, scale in scales.items()})
            for key in Scale.__dataclass_fields__
        }
        known = [name == "rna" and gene in KNOWN for name, own in layout.symbols.items() for gene in own]
        return cls(**{**parts, "weight": parts["weight"] * np.where(known, KNOWN_WEIGHT, 1.0)})
