"""A sample of bad inputs of every format and command: no traceback, no hang, nothing half-written, nothing silent.

`benchmarks/bad_inputs.py` runs all of them.
"""

from contextlib import closing
from pathlib import Path

import pytest

from bad_inputs.runner import Runner, Worker
from bad_inputs.table import sample

CASES, SEED = 40, 1


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("made", [False, True], ids=["of files", "of what commands make"])
def test_a_sample_of_bad_inputs_ends_well(made: bool, tmp_path: Path) -> None:
    """`made`: valid inputs that take commands to make, a training, say."""
    cases = [case for case in sample(CASES, SEED) if bool(case.base.prepare) == made]
    assert len(cases) > 30
    with Worker(tmp_path) as worker, closing(Runner(worker, tmp_path)) as runner:
        bad = [
            f"{verdict.kind}: {case.name}: {verdict.why}"
            for case, _, verdict in runner.judge_all(cases)
            if not verdict.good
        ]
    assert not bad, "\n".join(bad)
