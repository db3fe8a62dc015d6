"""The judge of bad inputs sees planted faults: a crash, rows dropped in silence, a hang, files written by halves."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from bad_inputs.case import HARMLESS, REFUSED, Case, Change, nothing
from bad_inputs.judge import Outcome, judge
from bad_inputs.runner import Runner, Worker
from bad_inputs.table import BASES, every_case, sample

PLANTS = {
    "crash": ("traceback", "exit 1: KeyError"),
    "drop": ("silent", "rows: 9 became 8 without a word"),
    "hang": ("hang", "killed after"),
    "leave": ("half-written", "wrote ../../elsewhere.txt"),
    "escape": ("unclear", "control character"),
    "halve": ("half-written", "exit 2, and changed half.txt"),
}


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    folder = tmp_path_factory.mktemp("bad")
    with Worker(folder) as worker:
        found = Runner(worker, folder)
        yield found
        found.close()


@pytest.mark.parametrize("plant", PLANTS)
def test_a_planted_fault_is_seen(plant: str, runner: Runner) -> None:
    base = replace(BASES["table"], seconds=5.0 if plant == "hang" else 60.0)
    case = Case(base, Change("planted", HARMLESS, nothing))
    found = judge(case, runner.run(case, f"bad_inputs.plants:{plant}"), runner.base(BASES["table"]))
    kind, why = PLANTS[plant]
    assert found.kind == kind
    assert why in found.why


def test_without_a_fault_the_same_case_is_harmless(runner: Runner) -> None:
    case = Case(BASES["table"], Change("nothing", HARMLESS, nothing))
    assert judge(case, runner.run(case), runner.base(case.base)).kind == "harmless"


def outcome(code: int | None, out: str = "", err: str = "") -> Outcome:
    return Outcome(code, out, err, 0.0, {}, {})


@pytest.mark.parametrize(
    ("code", "err", "kind"),
    [
        (2, "polyclinic: data.csv: row 3 has no id\n", "refused"),
        (2, "polyclinic: something is wrong somewhere\n", "unclear"),
        (2, "", "unclear"),
        (1, "polyclinic: data.csv is wrong\n", "traceback"),
        (-11, "", "traceback"),
        (0, "", "silent"),
        (0, "polyclinic: data.csv: 3 rows are left out\n", "silent"),
        (2, f"polyclinic: data.csv {'x' * 3000}\n", "unclear"),
    ],
)
def test_what_must_be_refused_is_refused_by_name(code: int, err: str, kind: str) -> None:
    case = Case(BASES["table"], Change("x", REFUSED, nothing, ("data.csv",)))
    assert judge(case, outcome(code, err=err), outcome(0)).kind == kind


def test_there_are_enough_cases_of_every_format() -> None:
    everything = every_case()
    assert len(everything) >= 1500
    assert len({case.base.format for case in everything}) >= 17
    assert {case.base.name for case in sample(100, seed=1)} == {case.base.name for case in everything}
    assert [case.name for case in sample(100, 1)] == [case.name for case in sample(100, 1)]
