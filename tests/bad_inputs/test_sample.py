"""A sample of bad inputs of every format and command: no traceback, no hang, nothing half-written, nothing silent.

`benchmarks/bad_inputs.py` runs all of them.
"""

from contextlib import closing
from pathlib import Path

import pytest

from bad_inputs.runner import Runner, Worker
from bad_inputs.table import sample

CASES, SEED = 90, 1


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_sample_of_bad_inputs_ends_well(tmp_path: Path) -> None:
    with Worker(tmp_path) as worker, closing(Runner(worker, tmp_path)) as runner:
        bad = [
            f"{verdict.kind}: {case.name}: {verdict.why}"
            for case, _, verdict in runner.judge_all(sample(CASES, SEED))
            if not verdict.good
        ]
    assert not bad, "\n".join(bad)
