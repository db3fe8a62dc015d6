"""How fast cohorts are made, beside build 6d7c809, which is built in an environment of its own; and what it weighs.

    python benchmarks/throughput.py [--quick] [--full-install] [--place DIR] [--pairs N] [--only PART,..] [--old COMMIT]

Processor time on one thread; both builds work by turns, figures are medians over the pairs. The old build uses the
packages that are installed here; --full-install has pip download its own. Both write the same formats: the default
ones (DICOM, WFDB, zarr, FHIR and notes); today's FHIR has 25 kinds of resources, the old one's fewer. --quick draws
cohorts of 48 patients in place of 1,000 and 10,000, so that its figure for patients leaves start-up and the joining of
a cohort apart, and does without release; the bars are the same. Ray's rows are those of throughput_ray.py. --only names
parts (slices, cohorts, demo, weight, evaluate, release, peers, ray), so that a long run can be made in pieces.
Peers need neurokit2 here, and POLYCLINIC_CLINOSIM, the `clinosim` of an environment of its own. Exits 1 when short; a
figure that was asked for and could not be measured counts as short, with a reason.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from throughput_builds import Build, Worker, alternated, built, environment, present, spent

OLD = "6d7c809"
RATE, WRITE, DEMO = 2.5, 20.0, 15.0  # times, ms a patient, processor s
SIZE, PACKAGES = 1.4, 80  # GB
HEAVIEST = 24  # packages that are listed
MEMORY, GROWTH = 600.0, 1.05  # MB; of the larger cohort over the smaller
JUDGED, RAY, PEERS = 0.5, 0.9, 60.0  # of the old build's time, of the pool's rate, times


@dataclass(frozen=True)
class Row:
    """A figure, the old build's, its bar, and whether a greater one is better; value None could not be measured."""

    name: str
    value: float | None
    old: float | None
    bar: float
    above: bool = False
    why: str = ""

    @property
    def met(self) -> bool:
        """Whether the bar is met."""
        return self.value is not None and (self.value >= self.bar if self.above else self.value <= self.bar)

    def __str__(self) -> str:
        value, old = (f"{v:,.2f}" if v is not None else "-" for v in (self.value, self.old))
        verdict = "met" if self.met else f"SHORT{f': {self.why}' if self.why else ''}"
        return f"{self.name:64}{value:>10}{old:>12}{('>= ' if self.above else '<= ') + f'{self.bar:g}':>10}  {verdict}"


def drawn(old: Build, new: Build, pairs: int, place: Path) -> tuple[list[Row], float]:
    """Patients a minute and writing, both builds loaded and warm; peak memory of the present one as it goes on.

    And ms of one core that a patient takes the present one.
    """
    workers = [Worker(build, place) for build in (old, new)]
    patients = 48
    for worker in workers:
        worker.draw(16, 1)
    seeds = iter(range(100, 100 + 2 * pairs))
    found: list[list[Any]] = alternated([lambda w=w: w.draw(patients, next(seeds)) for w in workers], pairs)
    early, last = found[1][0]["peak"], workers[1].draw(3 * patients, 99)["peak"]
    for worker in workers:
        worker.end()
    each = [
        statistics.median(1000 * (r["drawing"] + r["writing"]) / patients for r in runs) for runs in found
    ]
    write = [statistics.median(1000 * r["writing"] / patients for r in runs) for runs in found]
    join = [statistics.median(r["joining"] for r in runs) for runs in found]
    print(
        f"a patient, ms of one core: {each[1]:.1f} (old {each[0]:.1f}); joining a cohort, s: {join[1]:.2f} "
        f"(old {join[0]:.2f}); start and load, s: {workers[1].ready:.1f} (old {workers[0].ready:.1f})\n"
    )
    rows = [
        Row("patients a CPU minute, slices alone, times the old build", each[0] / each[1], 1.0, RATE, True),
        Row("writing a patient, ms, moving and hashing included", write[1], write[0], WRITE),
        Row("peak memory of the process after 64 patients, MB", early, found[0][0]["peak"], MEMORY),
        Row(f"peak memory after {64 + 2 * pairs * patients:,} over that", last / early, None, GROWTH),
    ]
    return rows, each[1]


def cohorts(
    old: Build, new: Build, pairs: int, place: Path, small: int = 1000, large: int = 10_000
) -> list[Row]:
    """Whole commands: `small` cohorts by turns, a `large` one once by the present build."""

    def make(build: Build, many: int) -> tuple[float, float]:
        out = place / f"{build.name}-{many}"
        shutil.rmtree(out, ignore_errors=True)
        words = ("generate", "--cohort", "cardio_oncology", "--patients", str(many), "--seed", "7")
        return build.command(*words, "--workers", "1", "--out", str(out), cwd=place)

    found: list[list[Any]] = alternated([lambda b=b: make(b, small) for b in (old, new)], pairs)
    took = [statistics.median(seconds for seconds, _ in runs) for runs in found]
    peaks = [statistics.median(peak for _, peak in runs) for runs in found]
    _, most = make(new, large)
    return [
        Row(
            f"patients a CPU minute, {small:,} patients from process start, times the old",
            took[0] / took[1],
            1.0,
            RATE,
            True,
        ),
        Row(f"peak memory of the largest process at {small:,} patients, MB", peaks[1], peaks[0], MEMORY),
        Row(f"peak memory at {large:,} patients over that at {small:,}", most / peaks[1], None, GROWTH),
    ]


def demos(old: Build, new: Build, pairs: int, place: Path) -> Row:
    """Processor seconds of the demo from process start."""

    def demo(build: Build) -> float:
        out = place / f"{build.name}-demo"
        shutil.rmtree(out, ignore_errors=True)
        return build.command("demo", "--out", str(out), cwd=place)[0]

    found: list[list[Any]] = alternated([lambda b=b: demo(b) for b in (old, new)], pairs)
    return Row(
        "demo, processor s from process start",
        statistics.median(found[1]),
        statistics.median(found[0]),
        DEMO,
    )


def judged(old: Build, new: Build, pairs: int, place: Path, patients: int, way: str, data: Path) -> list[Row]:
    """evaluate --quick, or release by the internal policy, of a cohort of each build's own."""
    key = place / "steward.pem"
    subprocess.run(
        ["openssl", "genpkey", "-algorithm", "ed25519", "-out", str(key)], check=True, capture_output=True
    )
    for build in (old, new):
        shutil.rmtree(place / f"{build.name}-judged", ignore_errors=True)
        words = ("--cohort", "cardio_oncology", "--patients", str(patients), "--seed", "7", "--workers", "1")
        build.command("generate", *words, "--out", f"{build.name}-judged", cwd=place)
    words_of: Callable[[Build], tuple[str, ...]] = {
        "evaluate --quick": lambda b: ("evaluate", f"{b.name}-judged", "--quick", "--out", f"{b.name}-report"),
        "release internal": lambda b: (
            "release", f"{b.name}-judged", "--policy", "internal", "--key", str(key), "--reference", str(data),
        ),
    }[way]  # fmt: skip

    def judge(build: Build) -> float:
        for left in ("report", "again"):
            shutil.rmtree(place / f"{build.name}-{left}", ignore_errors=True)
        words = list(words_of(build))
        if words[0] == "release":  # a verdict stands: each time a copy that was not judged
            shutil.copytree(place / words[1], place / f"{build.name}-again")
            words[1] = f"{build.name}-again"
        return build.command(*words, cwd=place)[0]

    found: list[list[Any]] = alternated([lambda b=b: judge(b) for b in (old, new)], pairs)
    before, now = (statistics.median(runs) for runs in found)
    print(f"{way}, processor s: {now:.1f} (old {before:.1f})\n")
    return [Row(f"{way} of {patients} patients, over the old build", now / before, 1.0, JUDGED)]


def weights(old: Build, new: Build, place: Path) -> list[Row]:
    """What an installation brings, by the metadata of the packages: the size leaves out what pip compiles."""
    before, now = old.weight(place), new.weight(place)
    print(f"{'package':24}{'MB':>8}  asked for by")
    for name, size, askers in now[:HEAVIEST]:
        print(f"{name:24}{size / 1e6:8.1f}  {', '.join(askers)}")
    print()
    return [
        Row("installed size, GB", *(sum(size for _, size, _ in all_) / 1e9 for all_ in (now, before)), SIZE),
        Row("packages that pip installs beside Polyclinic", len(now) - 1, len(before) - 1, PACKAGES),
    ]


def relay(linked: float, place: Path, patients: int = 16) -> Row:
    """Peers who draw a patient's records one after the other, over the ms of this build: what none of them links."""
    name = "a relay of peers over a linked patient, times"
    try:
        import neurokit2 as nk
        import torch
        from diffusers import DDIMScheduler, UNet2DModel
    except ImportError as error:
        return Row(name, None, None, PEERS, True, f"{error.name} is not installed")
    clinosim = shutil.which(os.environ.get("POLYCLINIC_CLINOSIM", ""))
    if clinosim is None:
        return Row(name, None, None, PEERS, True, "POLYCLINIC_CLINOSIM names no clinosim")
    torch.set_num_threads(1)
    # the widths of our own network, the smallest that draws X-rays here; it has no upsampler: 64 pixels are its image
    blocks = ("DownBlock2D", "DownBlock2D", "AttnDownBlock2D"), ("AttnUpBlock2D", "UpBlock2D", "UpBlock2D")
    net = UNet2DModel(
        sample_size=64, in_channels=1, out_channels=1, block_out_channels=(64, 96, 128),
        down_block_types=blocks[0], up_block_types=blocks[1], norm_num_groups=16,
    ).eval()  # fmt: skip
    scheduler, began = DDIMScheduler(), time.process_time()
    scheduler.set_timesteps(50)
    with torch.inference_mode():
        x = torch.randn(4, 1, 64, 64)
        for moment in scheduler.timesteps:
            x = scheduler.step(net(x, moment).sample, moment, x).prev_sample
    image = 1000 * spent(began) / 4
    began = time.process_time()
    for seed in range(4):
        nk.ecg_simulate(duration=10, sampling_rate=500, method="multileads", random_state=seed)
    trace = 1000 * spent(began) / 4
    out = place / "clinosim"
    words = ("simulate", "-p", str(10 * patients), "-s", "7", "--country", "US", "--format", "fhir-r4")
    seconds = Build("clinosim", Path(clinosim), environment()).run(*words, "-o", str(out), cwd=place)[0]
    people = sum(len(path.read_bytes().splitlines()) for path in out.rglob("Patient.ndjson"))
    if not people:
        return Row(name, None, None, PEERS, True, "clinosim wrote no Patient.ndjson")
    record = 1000 * seconds / people
    print(
        f"a patient of peers, ms: X-ray of 64 pixels {image:.0f}, 12-lead ECG {trace:.0f}, record {record:.0f} "
        f"({people} patients, start-up included); of ours, 256 pixels and written: {linked:.0f}\n"
    )
    return Row(name, (image + trace + record) / linked, None, PEERS, True)


def ray(new: Build, place: Path, patients: int, pairs: int) -> list[Row]:
    """What throughput_ray.py measures, in a process of its own: its cluster of two nodes ends with it."""
    names = ("Ray on two nodes of one core, over the process pool of two", "Ray, share of files after a kill")
    if find_spec("ray") is None:
        bars = zip(names, (RAY, 1.0), strict=True)
        return [Row(name, None, None, bar, True, "ray is not installed") for name, bar in bars]
    script = str(Path(__file__).with_name("throughput_ray.py"))
    said = new.run(script, "--json", "--patients", str(patients), "--pairs", str(pairs), cwd=place)[2]
    found: dict[str, Any] = json.loads(
        next(line for line in said.splitlines() if line.startswith('{"local"'))
    )
    shares = [over / under for under, over in zip(found["local"], found["ray"], strict=True)]
    wrong = "" if found["same"] == 2 * len(shares) else "its bytes differ"
    return [
        Row(names[0], None if wrong else statistics.median(shares), None, RAY, True, wrong),
        Row(names[1], found["kept"] / found["files"], None, 1.0, True),
    ]


def _show(rows: list[Row]) -> None:
    for row in rows:
        print(row, flush=True)


def main() -> int:
    """Print the table; 0 if all bars are met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="reference of release")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--full-install", action="store_true")
    parser.add_argument(
        "--place", type=Path, help="where the old build is made and kept (default: thrown away)"
    )
    parser.add_argument("--pairs", type=int, help="5; with --quick 2, and 1 of demo and evaluate")
    parser.add_argument("--only", default="", help="parts, with commas")
    parser.add_argument(
        "--patients",
        type=int,
        nargs="+",
        help="of cohorts, 1000 10000; the first is that of evaluate and release",
    )
    parser.add_argument("--old", default=OLD, help="the build to compare with")
    options = parser.parse_args()
    pairs = options.pairs or (2 if options.quick else 5)
    whole = 1 if options.quick else pairs
    many = options.patients[0] if options.patients else 32 if options.quick else 100
    sizes = options.patients if options.patients and len(options.patients) > 1 else (1000, 10_000)
    parts: dict[str, Callable[[Build, Build, Path], list[Row]]] = {
        "slices": lambda old, new, place: drawn(old, new, pairs, place)[0],
        "cohorts": lambda old, new, place: cohorts(old, new, pairs, place, *sizes),
        "demo": lambda old, new, place: [demos(old, new, whole, place)],
        "weight": weights,
        "evaluate": lambda old, new, place: judged(
            old, new, whole, place, many, "evaluate --quick", options.data
        ),
        "release": lambda old, new, place: judged(
            old, new, whole, place, many, "release internal", options.data.resolve()
        ),
        "peers": lambda old, new, place: [relay(drawn(old, new, 1, place)[1], place)],
        "ray": lambda old, new, place: ray(new, place, 96, whole),
    }
    usual = [name for name in parts if not (options.quick and name in ("cohorts", "release"))]
    asked = options.only.split(",") if options.only else usual
    if strange := [name for name in asked if name not in parts]:
        parser.error(f"--only {strange[0]}: expected some of {', '.join(parts)}")
    if "release" in asked and not options.data.is_dir():
        parser.error(f"--data {options.data}: no such folder; release needs real data to compare with")
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    )
    print(f"{'figure':64}{'present':>10}{options.old:>12}{'bar':>10}  verdict", flush=True)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        old, new = (
            built(options.old, (options.place or place).absolute(), options.full_install),
            present(),
        )
        for name in asked:
            try:
                found = parts[name](old, new, place)
            except RuntimeError as error:  # a command of a build failed: the other figures are still wanted
                found = [Row(name, None, None, 0.0, why=str(error))]
            _show(found)
            rows += found
    return 0 if all(row.met for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
