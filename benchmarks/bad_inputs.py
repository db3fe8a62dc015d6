"""Bad inputs, judged: formats by what became of them; exits 1 unless no case ends in a traceback, a hang or silence.

    python benchmarks/bad_inputs.py [--quick] [--cases N] [--seed S] [--only BASE] [--out FILE [--again]]

All cases of tests/bad_inputs run in a warm process each; --quick takes a sample (the same bars). --out keeps one JSON
line a case, with the verdict and what was said, and leaves out what is in the file already, so that a run that was
stopped goes on; --again runs those of the file anew that were bad. --only takes the bases whose names contain a word.
"""

import argparse
import json
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from pathlib import Path
from queue import SimpleQueue
from random import Random
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from bad_inputs.case import Case
from bad_inputs.judge import BAD, GOOD, Outcome, Verdict
from bad_inputs.runner import Runner, Worker
from bad_inputs.table import every_case, sample

QUICK = 250


def judged(cases: list[Case], folder: Path, jobs: int) -> Iterator[tuple[Case, Outcome, Verdict]]:
    """Cases with outcome and verdict, from so many warm workers, each of which has its own folder."""
    with Worker(folder) as worker, ExitStack() as stack, ThreadPoolExecutor(jobs) as pool:
        valid: dict[str, Outcome] = {}
        runners = [Runner(worker, folder / f"{i}", folder / "valid", valid) for i in range(jobs)]
        free: SimpleQueue[Runner] = SimpleQueue()
        for runner in runners:
            stack.callback(runner.close)
            free.put(runner)

        def run(case: Case) -> tuple[Case, Outcome, Verdict]:
            runner = free.get()
            try:
                return next(runner.judge_all([case]))
            finally:
                free.put(runner)

        for done in as_completed([pool.submit(run, case) for case in cases]):
            yield done.result()


def kept(file: Path) -> dict[str, dict[str, Any]]:
    """Rows of an earlier run by the case's name, the last of each; a line that is cut is left out."""
    lines = file.read_text().splitlines() if file.exists() else []
    rows = [json.loads(line) for line in lines if line.endswith("}")]
    return {row["case"]: row for row in rows}


def main() -> int:
    """Run, print the table, and say whether the bars hold."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--cases", type=int, help="a sample of so many")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="")
    parser.add_argument("--match", default="", help="of the case's name")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--again", action="store_true", help="cases that --out has as bad")
    parser.add_argument("--jobs", type=int, default=1, help="cases at a time")
    parser.add_argument("--keep", type=Path, help="a folder in which valid inputs are kept")
    asked = parser.parse_args()
    number = asked.cases or (QUICK if asked.quick else None)
    cases = every_case() if number is None else sample(number, asked.seed)
    cases = [case for case in cases if asked.only in case.base.name and asked.match in case.name]
    Random(asked.seed).shuffle(cases)  # of all formats from the first minute on
    rows = kept(asked.out) if asked.out else {}
    bad_before = {name for name, row in rows.items() if row["verdict"] in BAD}
    todo = [case for case in cases if case.name not in rows or (asked.again and case.name in bad_before)]
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        for case, outcome, verdict in judged(todo, asked.keep or Path(folder), asked.jobs):
            rows[case.name] = {
                "case": case.name, "expect": case.change.expect, "verdict": verdict.kind, "why": verdict.why,
                "code": outcome.code, "seconds": round(outcome.seconds, 2), "err": outcome.err[-2500:],
            }  # fmt: skip
            if asked.out:
                with asked.out.open("a") as log:
                    print(json.dumps(rows[case.name]), file=log)
            if not verdict.good:
                print(f"{verdict.kind}: {case.name}: {verdict.why!a}", flush=True)
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for case in cases:
        found[case.base.format][rows[case.name]["verdict"]] += 1
    kinds = (*GOOD, *BAD)
    print("| " + " | ".join(("format", "cases", *kinds)) + " |\n" + "|---" * (len(kinds) + 2) + "|")
    for name, counts in [*sorted(found.items()), ("all", sum(found.values(), Counter[str]()))]:
        print("| " + " | ".join((name, str(counts.total()), *(str(counts[kind]) for kind in kinds))) + " |")
    bad = sum(counts[kind] for counts in found.values() for kind in BAD)
    print(
        f"{len(cases)} cases, {len(todo)} of them run now in {time.monotonic() - begun:.0f} s; {bad} to be mended"
    )
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
