"""Memory of the metrics on wide tables: correlations are not taken of all pairs of 12,625 probes."""

import tracemalloc

import numpy as np
import pytest

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
