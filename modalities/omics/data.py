"""Expression matrices of training folders, and the map between expression and normal scores."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from ...core.errors import InputError
from ...core.modality import TrainingSet

MARKERS = ("ESR1", "PGR", "ERBB2", "MKI67")  # stated in the record: receptors and proliferation


def read_matrix(data: TrainingSet) -> tuple[NDArray[np.float32], NDArray[np.str_]]:
    """(patient, gene) values in the order of data.records, and the gene symbols.

    Options: `matrix`, a CSV (or csv.gz) with a row a patient; `key`, its id column. Column names
    `SYMBOL_ENTREZ` lose the number. Raises InputError: missing file, patient or number.
    """
    import pandas as pd

    path = data.root / str(data.options.get("matrix", "rna.csv.gz"))
    key = str(data.options.get("key", "patient_id"))
    if not path.exists():
        raise InputError(f"{path}: no such file; expected the expression matrix")
    table = pd.read_csv(path)
    if key not in table.columns:
        raise InputError(f"{path}: no column {key!r}; the first columns are: {', '.join(table.columns[:5])}")
    table = table.set_index(key)
    table.index = table.index.astype(str)
    if missing := [r for r in data.records if r not in table.index]:
        raise InputError(
            f"{path}: no row for patient {missing[0]!r}; {len(missing)} of {len(data)} are missing"
        )
    values = table.loc[list(data.records)]
    try:
        matrix = values.to_numpy(np.float32)
    except ValueError as error:
        raise InputError(f"{path}: expected numbers only ({error})") from None
    if not np.isfinite(matrix).all():
        row, column = np.argwhere(~np.isfinite(matrix))[0]
        raise InputError(
            f"{path}: {values.columns[column]} of patient {values.index[row]} is not a finite number; "
            "fill or drop missing values (0.0 means not detected)"
        )
    symbols = np.array([str(name).rsplit("_", 1)[0] for name in values.columns])
    return matrix, symbols


@dataclass(frozen=True)
class Marginals:
    """Each gene's distribution: the share not detected (exact 0.0), and quantiles of the detected values.

    undetected (gene,), quantiles (gene, level) at the middle of equal shares of the detected.
    """

    undetected: NDArray[np.float32]
    quantiles: NDArray[np.float32]

    @classmethod
    def fit(cls, matrix: NDArray[np.float32], levels: int = 64) -> "Marginals":
        """Of (patient, gene) values.

        A quantile is the mean of its share of the sorted values: of several patients, where there are many.
        """
        undetected = (matrix == 0).mean(0)
        quantiles = np.zeros((matrix.shape[1], levels), dtype=np.float32)
        for gene in range(matrix.shape[1]):
            seen = np.sort(matrix[matrix[:, gene] != 0, gene])
            if len(seen):
                fine = np.interp(np.linspace(0, len(seen) - 1, levels * 8), np.arange(len(seen)), seen)
                quantiles[gene] = fine.reshape(levels, 8).mean(1)
        return cls(undetected.astype(np.float32), quantiles)

    def to_scores(self, matrix: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
        """(patient, gene) normal scores; what is not detected ranks lowest, in random order."""
        levels = self.quantiles.shape[1]
        grid = (np.arange(levels) + 0.5) / levels
        share = np.empty(matrix.shape)
        for gene in range(matrix.shape[1]):
            p0 = float(self.undetected[gene])
            place = np.interp(matrix[:, gene], self.quantiles[gene], grid)
            low = rng.uniform(0, max(p0, 1e-6), size=len(matrix))
            share[:, gene] = np.where(matrix[:, gene] == 0, low, p0 + (1 - p0) * place)
        return ndtri(np.clip(share, 1e-3, 1 - 1e-3)).astype(np.float32)

    def to_values(self, scores: NDArray[np.float64]) -> NDArray[np.float32]:
        """Inverse of to_scores for one patient: (gene,) scores to log2 expression with 0.0 where not detected."""
        levels = self.quantiles.shape[1]
        share = ndtr(scores)
        inner = (share - self.undetected) / np.maximum(1 - self.undetected, 1e-6)
        place = np.clip(inner * levels - 0.5, 0, levels - 1)
        low = np.minimum(place.astype(np.int64), levels - 2)
        part = place - low
        rows = np.arange(len(scores))
        values = (1 - part) * self.quantiles[rows, low] + part * self.quantiles[rows, low + 1]
        return np.where(inner < 0, 0.0, np.round(values, 4)).astype(np.float32)
