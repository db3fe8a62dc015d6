"""Counts of sequencing reads drawn from log2 expression, as an option."""

import numpy as np
from numpy.typing import NDArray

from ...core.modality import Batch, Generator, Record
from ...core.profile import seed_for
from ...core.types import Float32Array

ASSAYS = ("rna", "mirna")  # those measured by counting reads
READS = 1500.0  # a feature on average: 30 million reads over 20,000 genes
LIBRARY_SPREAD = 0.3  # standard deviation of the natural logarithm of the library size
BASE_DISPERSION = (
    0.01  # of highly expressed genes: technical only, since the expression has the patients' variation
)
EXTRA_DISPERSION = 0.5  # over the mean count: what few reads add


def counts(log2_expression: Float32Array, rng: np.random.Generator) -> NDArray[np.int32]:
    """(feature,) log2 expression of one patient, exactly 0.0 where not detected, to (feature,) int32 read counts.

    The library size is log-normal around 1500 reads a feature; reads are shared out by expression, and each
    count is negative binomial about its share m with variance m + (0.01 + 0.5 / m) m^2, drawn as a
    gamma-Poisson mixture. What is not detected has no reads. Sources: negative binomial, Robinson and Smyth,
    Biostatistics 9:321, 2008; the dispersion's trend, Anders and Huber, Genome Biology 11:R106, 2010.
    """
    library = READS * len(log2_expression) * rng.lognormal(0.0, LIBRARY_SPREAD)
    abundance = np.where(log2_expression == 0, 0.0, np.exp2(log2_expression.astype(np.float64)))
    total = abundance.sum()
    mean = abundance * (library / total) if total > 0 else abundance
    # a gamma of shape 1 / dispersion has variance dispersion about 1; a mean of 0 keeps any shape harmless
    shape = mean / (BASE_DISPERSION * mean + EXTRA_DISPERSION)
    rate = mean * rng.standard_gamma(shape) / np.maximum(shape, np.finfo(np.float64).tiny)
    return np.minimum(rng.poisson(rate), np.iinfo(np.int32).max).astype(np.int32)


class Counted:
    """A generator whose records carry "<assay>_counts" with the log2 expression of RNA and miRNA.

    The counts have a separate seed, so that the expression is the same with and without them.
    """

    def __init__(self, generator: Generator) -> None:
        self.generator = generator

    def sample(self, batch: Batch) -> list[Record]:
        """One record a row of the batch."""
        drawn = self.generator.sample(batch)
        return [self._counted(record, seed) for record, seed in zip(drawn, batch.seeds, strict=True)]

    def _counted(self, record: Record, seed: int) -> Record:
        arrays = dict(record.arrays)
        for assay in (name for name in ASSAYS if name in record.arrays):
            rng = np.random.Generator(np.random.PCG64(seed_for(seed, assay, "counts")))
            arrays[f"{assay}_counts"] = counts(record.arrays[assay], rng)
        return Record(arrays, record.facts)
