"""A sample of bad inputs of every format and command: no traceback, no hang, nothing half-written, nothing silent.

`benchmarks/bad_inputs.py` runs all of them.
"""

from contextlib import closing
from pathlib import Path

import pytest

from bad_inputs.case import Case
from bad_inputs.runner import Runner, Worker
from bad_inputs.table import sample

SEED = 2


def cheap(case: Case) -> bool:
    """Whether a valid input is made of files alone, and is but read."""
    return case.base.argv[0] == "read"


def bad_of(cases: list[Case], folder: Path) -> list[str]:
    """What is wrong with those that are not as they should be."""
    with Worker(folder) as worker, closing(Runner(worker, folder)) as runner:
        return [
            f"{verdict.kind}: {case.name}: {verdict.why}"
            for case, _, verdict in runner.judge_all(cases)
            if not verdict.good
        ]


WARNS = pytest.mark.filterwarnings(
    "ignore:zarr v3 autosharding", "ignore:Consolidated metadata"
)  # of valid inputs


@WARNS
@pytest.mark.timeout(600)
def test_two_bad_inputs_of_every_format_end_well(tmp_path: Path) -> None:
    cases = [case for case in sample(1, SEED) if cheap(case)]
    assert len(cases) >= 22
    assert not bad_of(cases, tmp_path)


@pytest.mark.slow
@WARNS
@pytest.mark.timeout(1200)
def test_two_bad_inputs_of_every_command_end_well(tmp_path: Path) -> None:
    """Of inputs that take commands to make, a training, say."""
    cases = [case for case in sample(1, SEED) if not cheap(case)]
    assert len(cases) >= 40
    assert not bad_of(cases, tmp_path)
