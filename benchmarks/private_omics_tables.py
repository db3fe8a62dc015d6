"""Peers of private tumours whose model is a table: MST and AIM of dpmm over the PAM50 class and public module scores.

A table of 2,000 binned genes is out of their reach: MST looks at two million pairs, and at epsilon 1 the noise (272)
on a gene's four counts would be above the counts (154). So a column is the score of a public group of genes, the mean
of its genes' normal scores, in quarters of a standard normal distribution; what spread a score has without looking at
patients follows from what one expects of a gene and its module (a correlation of 0.6). Each drawn gene follows the
mean of its groups' drawn scores by that correlation; genes of no group have their public marginal alone. Taken as
public: the marginals of all features, as by the other peers, and the groups, as by ours. What such a table cannot
hold: a gene's own departure from its group, genes beside the groups, other assays, age and stage.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from omics import DELTA, Real
from omics_baselines import NormalScores
from omics_measures import Cohort
from population_peers import asked
from scipy.special import ndtr, ndtri

from polyclinic.modalities.omics.classes import SUBTYPES
from polyclinic.modalities.omics.data import read_assays
from polyclinic.modalities.omics.gene_groups import GROUPS
from polyclinic.modalities.omics.modules import MEMBER

SCORED = ("luminal", "basal", "growth", "HER2", "apocrine", "normal", "muscle", "immune", "cilia", "matrix")
BINS = 4
FOLLOWS = MEMBER["rna"]


class ModuleTable:
    """The private table of the train rows, and how drawn rows become tumours."""

    def __init__(self, real: Real, rna: NormalScores, python: str) -> None:
        self.real, self.rna, self.python = real, rna, python
        symbols = [name.lower() for name in read_assays(real.train_set)["rna"].symbols]
        wanted = [set(GROUPS[name].lower().split()) for name in SCORED]
        self.members = np.array([[own in group for group in wanted] for own in symbols], dtype=np.float64)

    def codes(self) -> NDArray[np.int64]:
        """(patient, column): the subtype, then each group's score in quarters."""
        sizes = self.members.sum(0)
        spread = np.sqrt(FOLLOWS**2 + (1 - FOLLOWS**2) / sizes)
        scores = self.rna.scores @ self.members / sizes / spread
        bins = np.minimum((ndtr(scores) * BINS).astype(np.int64), BINS - 1)
        return np.concatenate([self.real.train.subtype[:, None], bins], axis=1)

    def cohort(self, method: str, epsilon: float, seed: int) -> Cohort:
        """Tumours of drawn rows, as many as train rows. The peer's noise is its own, the rest is by the seed.

        "exact": of the train patients' own rows, without privacy, which is what such a table can hold at best.
        """
        codes, sizes = self.codes(), [len(SUBTYPES), *[BINS] * len(SCORED)]
        rows = codes
        if method != "exact":
            rows, _ = asked(self.python, method, codes, sizes, (epsilon, DELTA), len(codes))
        rng = np.random.default_rng(seed)
        scores = ndtri((rows[:, 1:] + rng.uniform(1e-3, 1 - 1e-3, (len(rows), len(SCORED)))) / BINS)
        number = self.members.sum(1)
        follows = np.where(number > 0, FOLLOWS, 0.0)
        genes = follows * (scores @ self.members.T) / np.maximum(number, 1)
        genes += np.sqrt(1 - follows**2) * rng.standard_normal(genes.shape)
        return replace(self.real.cohort(self.rna.values(genes), ["rna"]), subtype=rows[:, 0])
