"""How fast a cohort is made, stage by stage, and how much memory it takes.

    python benchmarks/throughput.py [--data DIR] [--quick]

Drawn from the shipped weights; --data is accepted for uniformity and not used. Exits 1 when a bar falls short.
Bars: 100 linked patients in under 60 s after loading; peak memory at 1,000 patients at most 1.15 times
that at 100; `evaluate --quick` at 1,000 patients in at most a tenth of the processor time of drawing them.
"""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SECONDS_BAR = 60.0
MEMORY_BAR = 1.15
EVALUATE_BAR = 0.10

MAKE = """
import pathlib, resource, sys, time
from polyclinic.app.engines.generation import make
from polyclinic.conditioning.population import Population
began = time.monotonic()
population = Population.load("cardio_oncology")
make(population, int(sys.argv[1]), 7, pathlib.Path(sys.argv[2]), workers=int(sys.argv[3]))
ended = time.monotonic()
own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
processor = sum(part.ru_utime + part.ru_stime for part in (own, children))
print(ended - began, own.ru_maxrss / 1024, children.ru_maxrss / 1024, processor)
"""
JUDGE = """
import pathlib, resource, sys
from polyclinic.app.cli import _evaluate
_evaluate(pathlib.Path(sys.argv[1]), None, pathlib.Path(sys.argv[2]), True)
own = resource.getrusage(resource.RUSAGE_SELF)
print(own.ru_utime + own.ru_stime)
"""


def cohort(patients: int, workers: int) -> tuple[float, float]:
    """Seconds and peak memory (MB, the largest process) of one cohort in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        seconds, memory, _ = drawn(patients, workers, Path(folder) / "cohort")
    return seconds, memory


def drawn(patients: int, workers: int, folder: Path) -> tuple[float, float, float]:
    """The same, kept in a folder; the third is processor seconds of all processes."""
    seconds, own, children, processor = _run(MAKE, str(patients), str(folder), str(workers))
    return seconds, max(own, children), processor


def _run(program: str, *arguments: str) -> list[float]:
    """The numbers that a process of its own prints last."""
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [float(word) for word in done.stdout.strip().splitlines()[-1].split()]


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds a call took, and what it gave."""
    began = time.perf_counter()
    result = work()
    return time.perf_counter() - began, result


def stages(patients: int) -> list[tuple[str, float, float]]:
    """(stage, seconds of loading, milliseconds a patient) on one core, in this process."""
    import torch

    from polyclinic import Batch, Population, ProfileEncoder, load_modality, seed_for
    from polyclinic.core.modality import in_order

    torch.set_num_threads(1)
    rows: list[tuple[str, float, float]] = []
    load, population = timed(lambda: Population.load("cardio_oncology"))
    seconds, profiles = timed(lambda: tuple(population.draw(patients, 7)))
    rows.append(("profiles", load, 1000 * seconds / patients))
    encoder = ProfileEncoder()
    seconds, condition = timed(lambda: encoder.encode(profiles))
    rows.append(("conditions", 0.0, 1000 * seconds / patients))
    facts: list[dict[str, Any]] = [{} for _ in profiles]
    for modality in in_order([load_modality(n) for n in ("imaging", "signals", "omics", "records")]):
        load, generator = timed(lambda m=modality: m.generator(encoder.columns))
        own = [i for i, p in enumerate(profiles) if modality.indicated(p)]
        batch = Batch(
            tuple(profiles[i] for i in own),
            condition[own],
            tuple(seed_for(7, profiles[i].patient_id, modality.name) for i in own),
            tuple(facts[i] for i in own),
        )
        seconds, records = timed(lambda g=generator, b=batch: g.sample(b))
        rows.append((f"{modality.name}: sample", load, 1000 * seconds / len(own)))
        for i, record in zip(own, records, strict=True):
            facts[i] = {**facts[i], modality.name: record.facts}
        with tempfile.TemporaryDirectory() as folder:

            def write(m: Any = modality, r: Any = records, b: Any = batch, f: str = folder) -> None:
                piece = Path(f) / "piece"
                piece.mkdir()
                m.export(r, b.profiles, piece)
                if m.shared:
                    (Path(f) / "whole").mkdir()
                    m.assemble([piece], Path(f) / "whole")

            seconds, _ = timed(write)
        rows.append((f"{modality.name}: write", 0.0, 1000 * seconds / len(own)))
    return rows


def main() -> int:
    """Print the tables; 0 if all bars are met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", default="../shared/data")
    parser.add_argument("--quick", action="store_true", help="400 patients in place of 1,000 for memory")
    quick = parser.parse_args().quick
    cores = os.cpu_count() or 1
    print(
        f"{platform.processor() or platform.machine()}, {cores} cores, Python {platform.python_version()}, seed 7\n"
    )
    print(f"{'stage (one core, 64 patients)':34}{'load s':>9}{'ms a patient':>14}")
    for name, load, each in stages(64):
        print(f"{name:34}{load:9.2f}{each:14.2f}")
    many = 400 if quick else 1000
    cohort(1, 1)  # warm the file cache
    start, _ = cohort(1, 1)
    small, small_memory = cohort(100, cores)
    with tempfile.TemporaryDirectory() as place:
        large, large_memory, processor = drawn(many, cores, Path(place) / "cohort")
        (judged,) = _run(JUDGE, f"{place}/cohort", f"{place}/report")
    ratio = large_memory / small_memory
    print(f"\n{'figure':56}{'value':>10}{'bar':>10}  verdict")
    verdicts = [
        ("seconds for 100 patients, loading included", small, SECONDS_BAR),
        (f"peak memory at {many:,} over that at 100", ratio, MEMORY_BAR),
        (f"evaluate --quick over generate, {many:,}, processor time", judged / processor, EVALUATE_BAR),
    ]
    for name, value, bar in verdicts:
        print(f"{name:56}{value:10.2f}{bar:10.2f}  {'met' if value <= bar else 'MISSED'}")
    print(f"{'patients a minute, 100 patients':56}{6000 / small:10.0f}{'':>10}  reported")
    print(f"{f'patients a minute, {many:,} patients':56}{60 * many / large:10.0f}{'':>10}  reported")
    print(f"{'seconds of start and load (1 patient)':56}{start:10.2f}{'':>10}  reported")
    print(f"{'peak memory at 100, largest process, MB':56}{small_memory:10.0f}{'':>10}  reported")
    print(f"{f'peak memory at {many:,}, largest process, MB':56}{large_memory:10.0f}{'':>10}  reported")
    return 0 if all(value <= bar for _, value, bar in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
