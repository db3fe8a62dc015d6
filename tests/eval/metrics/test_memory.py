"""Memory of the metrics on wide tables: neither all pairs of 12,625 probes nor all ranks are held at once."""

import tracemalloc

import numpy as np
import pytest

from polyclinic.eval.attacks.memorization import copies
from polyclinic.eval.metrics.metric import Against, Group
from polyclinic.eval.metrics.structured import gene_correlations, modules


@pytest.mark.parametrize("metric", [gene_correlations, modules])
def test_wide_tables_take_bounded_memory(metric: Against) -> None:
    values = np.random.default_rng(0).normal(size=(40, 12_625))
    group = Group(values, tuple(map(str, range(12_625))), np.arange(40))
    tracemalloc.start()
    metric(group)(group)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 400e6  # all pairs in single precision alone take 640 MB


def test_copies_in_wide_tables_take_bounded_memory() -> None:
    values = np.random.default_rng(0).normal(size=(600, 12_625))
    copies(values[:40], values[40:50], np.arange(40), 0)  # imports what takes memory of its own
    tracemalloc.start()
    copies(values[:400], values[400:], np.arange(400), 0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * values.nbytes  # 2.3 times; with the ranks of all rows at once 4.1 times
