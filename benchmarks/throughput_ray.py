"""Ray on two local nodes of one core against the process pool of two: rate after start-up, bytes, a node killed.

    python benchmarks/throughput_ray.py [--patients 96] [--pairs 3] [--modalities signals,omics,records] [--json]

Runs alternate; the rate of a run is that of the patients after its first slice. Nodes are ended by their process ids.
--json prints the numbers alone, for throughput.py.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from polyclinic.app.engines.generation import make
from polyclinic.conditioning.population import Population

BAR = 0.9
NODE = {"num_cpus": 1, "object_store_memory": 200_000_000, "include_dashboard": False}
Row = tuple[str, str, str]  # figure, measured, bar


@dataclass(frozen=True)
class Found:
    """Patients a minute of each run; runs with the same files; files of the first that a lost node left as they are."""

    local: list[float]
    ray: list[float]
    same: int
    kept: int
    files: int

    @property
    def runs(self) -> int:
        """How many runs there were, but for that with a lost node."""
        return len(self.local) + len(self.ray)

    @property
    def shares(self) -> list[float]:
        """Ray's rate over the pool's, of each pair."""
        return [ray / local for local, ray in zip(self.local, self.ray, strict=True)]


@contextmanager
def cluster() -> Iterator[Any]:
    """A head of one core, and this process in it."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray
    from ray.cluster_utils import Cluster

    nodes = Cluster(initialize_head=True, head_node_args=NODE)
    try:
        ray.init(address=nodes.address, log_to_driver=False)
        yield nodes
    finally:
        ray.shutdown()
        nodes.shutdown()


def drawn(
    folder: Path, patients: int, engine: str, modalities: Sequence[str], kill: Any = None
) -> tuple[float, dict[str, str]]:
    """Patients a minute after the first slice, and the hash of each file."""
    seen: list[tuple[float, int]] = []

    def progress(done: int) -> None:
        seen.append((time.monotonic(), done))
        if kill is not None and len(seen) == 2:
            kill()

    made = make(
        Population.load("cardio_oncology"), patients, 7, folder, workers=2, engine=engine, progress=progress,
        modalities=modalities,
    )  # fmt: skip
    (first, some), (last, all_of_them) = seen[1], seen[-1]
    files = {
        path.relative_to(made.folder).as_posix(): sha256(path.read_bytes()).hexdigest()
        for path in sorted(made.folder.rglob("*"))
        if path.is_file()
    }
    return 60 * (all_of_them - some) / (last - first), files


def measured(patients: int = 96, pairs: int = 3, modalities: Sequence[str] = ()) -> Found:
    """Both engines by turns, then Ray with a node that is killed after the first slice."""
    rates: dict[str, list[float]] = {"local": [], "ray": []}
    contents = []
    with tempfile.TemporaryDirectory() as place, cluster() as nodes:
        second = nodes.add_node(**NODE)
        for pair in range(pairs):
            for engine, own in rates.items():
                rate, files = drawn(Path(place) / f"{engine}{pair}", patients, engine, modalities)
                print(f"{engine}: {rate:.0f} patients a minute", file=sys.stderr, flush=True)
                own.append(rate)
                contents.append(files)
        _, files = drawn(
            Path(place) / "killed",
            patients,
            "ray",
            modalities,
            lambda: nodes.remove_node(second, allow_graceful=False),
        )
    first = contents[0]
    return Found(
        **rates,
        same=sum(content == first for content in contents),
        kept=sum(files.get(name) == digest for name, digest in first.items()),
        files=len(first),
    )


def rows(found: Found) -> list[Row]:
    """Rows of a table: the figure, what was measured, the bar."""
    local, ray = statistics.median(found.local), statistics.median(found.ray)
    return [
        (
            "Ray on two nodes of one core over the process pool of two, patients a minute after start-up",
            f"{ray:.0f} over {local:.0f}: {statistics.median(found.shares):.2f} (median of {len(found.ray)} pairs, "
            f"{min(found.shares):.2f} to {max(found.shares):.2f})",
            f"{BAR}",
        ),
        ("runs with the same bytes", f"{found.same} of {found.runs}", "all"),
        ("files as they were, after a node is killed", f"{found.kept} of {found.files}", "all"),
    ]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patients", type=int, default=96)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--modalities", default="")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    if asked.patients < 48:
        parser.error(
            f"--patients {asked.patients}: expected 48 or more: the rate is that after the first slice of 16"
        )
    found = measured(asked.patients, asked.pairs, [name for name in asked.modalities.split(",") if name])
    if asked.json:
        print(json.dumps(asdict(found)), flush=True)
        return
    print("| figure | measured | bar |\n|---|---|---|")
    for row in rows(found):
        print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
