"""How fast tumour omics are drawn and written, in how much memory and how many files.

    python benchmarks/research/omics_scale.py [--data DIR] [--quick] [--million] [--evaluate]

Every figure is of processes of its own; --data is accepted for uniformity and not used. --million adds
stores of 1,000,000 patients x 2,000 genes and of 100,000 x 20,000 by row ranges (some 8 minutes, 8 GB of disk).
Exits 1 when a bar falls short. Bars: 10,000 patients x 2,000 genes drawn and written in under 10 s by two
workers, loading aside; 1,000 x 20,000, and each process of a large store, in under 2 GB; ten times the patients
take at most 1.25 times the memory and no more than 1,200 files. --evaluate measures `polyclinic evaluate` of 400
patients x 12,625 probes alone: its largest process in under 1.5 GB, 60 CPU seconds. Seconds on a
machine that is busy otherwise say little:
the workers' CPU seconds stand beside.
"""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

SECONDS_BAR, MEMORY_BAR, GROWTH_BAR, FILES_BAR = 10.0, 2048.0, 1.25, 1200
WORKERS, BATCH = 2, 64
EVALUATED, PROBES, EVALUATE_MEMORY, EVALUATE_SECONDS = 400, 12_625, 1536.0, 60.0
SUBTYPES = ("LumA", "LumB", "Basal", "Her2", "Normal")

Figure = tuple[str, float, float | None]  # name, value, the most it may be

_drawer: tuple[Any, Any] | None = None


def peak() -> float:
    """Largest memory of this process so far, MB."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def people(rows: range) -> tuple[Any, ...]:
    """Breast cancer of all subtypes; a patient does not depend on the range asked for."""
    from polyclinic import PatientProfile

    return tuple(
        PatientProfile(
            f"SYN-{i:07d}",
            30.0 + i % 50,
            "F",
            conditions={"C50.919": True},
            traits={"pam50": SUBTYPES[i % 5]},
        )
        for i in rows
    )


def sampler() -> tuple[Any, Any]:
    """Generator and conditioner, loaded once in a process."""
    global _drawer
    if _drawer is None:
        import torch

        from polyclinic import ProfileEncoder, load_modality

        torch.set_num_threads(1)
        encoder = ProfileEncoder()
        _drawer = load_modality("omics").generator(encoder.columns), encoder
    return _drawer


def drawn(rows: range) -> list[Any]:
    """Records of these patients."""
    from polyclinic import Batch, seed_for

    generator, encoder = sampler()
    profiles = people(rows)
    seeds = tuple(seed_for(7, p.patient_id, "omics") for p in profiles)
    records: list[Any] = generator.sample(Batch(profiles, encoder.encode(profiles), seeds))
    return records


def batches(rows: range) -> list[range]:
    return [rows[i : i + BATCH] for i in range(0, len(rows), BATCH)]


def write_range(store: str, rows: range) -> tuple[float, float]:
    """Draw a range of rows and write it: what one worker does. CPU seconds, and its peak memory so far, MB."""
    import zarr

    from polyclinic.modalities.omics.store import write_rows

    began = time.process_time()
    values = np.concatenate([np.stack([r.arrays["rna"] for r in drawn(part)]) for part in batches(rows)])
    write_rows(zarr.open_group(store, mode="r+"), rows.start, values)
    return time.process_time() - began, peak()


def by_ranges(patients: int, folder: str) -> None:
    """Workers fill one store at once, each its own rows.

    Prints seconds of loading, of work, CPU seconds, genes, peak MB of a worker and of the parent, files, MB.
    """
    import zarr

    from polyclinic.core.cohort.patients_table import columns
    from polyclinic.modalities.omics.annotation import obs_of, uns_of, var_of
    from polyclinic.modalities.omics.store import create

    began = time.monotonic()
    pool = ProcessPoolExecutor(WORKERS, get_context("spawn"))
    list(pool.map(drawn, [range(8)] * 2 * WORKERS))
    symbols = drawn(range(1))[0].arrays["rna_var"]
    loaded = time.monotonic()
    store = f"{folder}/rna.zarr"
    group = zarr.open_group(store, mode="w", zarr_format=3)
    obs = obs_of(columns(people(range(patients)), {}))
    layout = create(group, obs, var_of(symbols, ()), uns_of("rna", {}))
    ranges = layout.ranges()
    spent = list(pool.map(write_range, [store] * len(ranges), ranges))
    ended = time.monotonic()
    pool.shutdown()
    cpu, worker = sum(seconds for seconds, _ in spent), max(memory for _, memory in spent)
    sizes = [path.stat().st_size for path in Path(store).rglob("*") if path.is_file()]
    assert not np.isnan(np.asarray(group["X"][:: max(1, patients // 50)])).any()
    print(loaded - began, ended - loaded, cpu, len(symbols), worker, peak(), len(sizes), sum(sizes) / 2**20)


def weights(genes: int, folder: Path) -> None:
    """Omics weights of so many genes, learnt for a few steps from made-up rows."""
    import pandas as pd
    import torch

    from polyclinic import ProfileEncoder, load_modality
    from polyclinic.core.modality import DatasetSource, TrainingSet
    from polyclinic.core.training.fit import Fit

    torch.set_num_threads(1)
    profiles = people(range(60))
    ids = [p.patient_id for p in profiles]
    values = np.random.default_rng(0).normal(8, 2, (60, genes)).astype(np.float32)
    pd.DataFrame(values, ids, [f"G{i}" for i in range(genes)]).to_parquet(folder / "rna.parquet")
    options = {"assays": {"rna": "rna.parquet"}}
    source = DatasetSource("made up", "none")
    data = TrainingSet(folder, source, tuple(ids), profiles, ("age", "pam50"), "train", options)
    config = {"training": {"steps": 5, "batch_size": 16}}
    made = load_modality("omics").train([data], ProfileEncoder(), config, Fit(folder=folder), None)
    made.save(folder / "omics.safetensors")


def by_pieces(rows: Callable[[range], Sequence[Any]], patients: int, folder: str) -> None:
    """A cohort's way: pieces of 16 patients, then joined. Prints peak memory (MB), seconds, files."""
    from polyclinic import load_modality

    modality = load_modality("omics")
    began = time.monotonic()
    places = []
    for start in range(0, patients, 16):
        some = range(start, min(start + 16, patients))
        place = Path(folder) / f"slice-{start}"
        place.mkdir()
        modality.export(rows(some), people(some), place)
        places.append(place)
    whole = Path(folder) / "whole"
    whole.mkdir()
    files = modality.assemble(places, whole)
    print(peak(), time.monotonic() - began, len(files))


def made_up(genes: int) -> Callable[[range], Sequence[Any]]:
    """Records of numbers that cost nothing to draw."""
    from polyclinic import Record

    symbols = np.array([f"G{i}" for i in range(genes)])

    def rows(some: range) -> list[Any]:
        rng = np.random.default_rng(some.start)
        values = rng.normal(8, 2, (len(some), genes)).astype(np.float32)
        return [Record({"rna": row, "rna_var": symbols}, {"pam50": "LumA"}) for row in values]

    return rows


def child(part: str, patients: int, genes: int = 0) -> list[float]:
    """Numbers that a part prints, run in a process of its own with one thread of arithmetic."""
    with tempfile.TemporaryDirectory() as folder:
        threads = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
        environment = {**os.environ, **threads}
        if genes and part != "stream":
            subprocess.run(
                [sys.executable, __file__, "--part", "weights", "0", str(genes), folder], check=True
            )
            environment["POLYCLINIC_WEIGHTS"] = folder
        command = [sys.executable, __file__, "--part", part, str(patients), str(genes), folder]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    return [float(word) for word in done.stdout.split()]


def at_scale(patients: int, genes: int) -> list[Figure]:
    """Figures of one large store, of the shipped weights where genes is 0."""
    _, seconds, cpu, genes_there, worker, parent, files, size = child("ranges", patients, genes)
    return [
        (f"{patients:,} x {genes_there:,.0f} by row ranges: seconds", seconds, None),
        ("  CPU seconds of the workers", cpu, None),
        ("  peak MB of a worker", worker, MEMORY_BAR),
        ("  peak MB of the process that plans", parent, MEMORY_BAR),
        ("  files", files, FILES_BAR),
        ("  GB on disk", size / 1024, None),
    ]


def arrays(folder: Path) -> None:
    """A made-up array of EVALUATED patients and as many probes as an old chip has, a fifth of them test rows."""
    import pandas as pd

    rng = np.random.default_rng(0)
    kind = rng.choice(3, EVALUATED, p=(0.5, 0.2, 0.3))
    shift = rng.normal(size=(3, PROBES)) * (rng.random((3, PROBES)) < 0.05)
    values = rng.normal(7, 1.6, PROBES) + shift[kind] + rng.normal(size=(EVALUATED, PROBES))
    ids = [f"L{i:04d}" for i in range(EVALUATED)]
    split = np.where(np.arange(EVALUATED) % 5 == 0, "test", "train")
    lineage = np.array(["B", "T", "M"])[kind]
    pd.DataFrame({"sample": ids, "lineage": lineage, "split": split}).to_csv(
        folder / "patients.csv", index=False
    )
    table = pd.DataFrame(
        values.astype(np.float32), pd.Index(ids, name="sample"), [f"{i}_at" for i in range(PROBES)]
    )
    table.to_parquet(folder / "array.parquet")
    (folder / "dataset.yaml").write_text(
        "{name: made up, licence: internal, table: patients.csv, record: sample, patient_id: sample, split: split, "
        "declare: {lineage: {kind: category, classes: [B, T, M]}}, fields: {lineage: {column: lineage}}, "
        "options: {modality: omics, classes: lineage, assays: {array: array.parquet}}}"
    )
    (folder / "few.yaml").write_text(
        "{modality: omics, name: few, model: {training: {steps: 5, batch_size: 16}}}"
    )


def evaluated() -> list[Figure]:
    """Memory and processor time of `polyclinic evaluate`, its processes together and the largest of them."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "data"
        folder.mkdir()
        arrays(folder)
        polyclinic = [sys.executable, "-m", "polyclinic"]
        weights, cohort = f"{place}/array.safetensors", f"{place}/c"
        for command in (
            [
                "train",
                "omics",
                "--data",
                folder,
                "--out",
                weights,
                "--public",
                "--config",
                folder / "few.yaml",
            ],
            ["generate", "--cohort", "general_ward", "--use", f"omics={weights}", "--modalities", "omics",
             "--workers", 1, "--seed", 7, "--fields", "lineage: 200 B, 80 T, 120 M", "--out", cohort],
        ):  # fmt: skip
            subprocess.run([*polyclinic, *map(str, command)], check=True, stdout=subprocess.DEVNULL)
        child = subprocess.Popen(
            [*polyclinic, "evaluate", cohort, "--reference", str(folder), "--out", f"{place}/report"],
            stdout=subprocess.DEVNULL,
        )
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            sys.exit(f"evaluate ended with {child.returncode}")
    return [
        (f"evaluate of {EVALUATED} x {PROBES:,}: peak MB", used.ru_maxrss / 1024, EVALUATE_MEMORY),
        ("  CPU seconds", used.ru_utime + used.ru_stime, EVALUATE_SECONDS),
    ]


def run_part(part: str, patients: int, genes: int, folder: str) -> None:
    """What a child does."""
    if part == "ranges":
        by_ranges(patients, folder)
    elif part == "weights":
        weights(genes, Path(folder))
    elif part == "large":
        by_pieces(drawn, patients, folder)
    else:
        by_pieces(made_up(genes), patients, folder)


def main() -> int:
    """Print the table; 0 if all bars are met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", default="../shared/data")
    parser.add_argument(
        "--quick", action="store_true", help="2,000 and 20,000 patients, not 5,000 and 50,000"
    )
    parser.add_argument("--million", action="store_true", help="also 1,000,000 patients by row ranges")
    parser.add_argument("--evaluate", action="store_true", help="`polyclinic evaluate` alone")
    parser.add_argument("--part", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part:
        part, patients, genes, folder = arguments.part
        run_part(part, int(patients), int(genes), folder)
        return 0
    few = 2_000 if arguments.quick else 5_000
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {platform.python_version()}, seed 7"
    )
    print(f"load average {os.getloadavg()[0]:.1f}\n")
    if arguments.evaluate:
        return table(evaluated())
    loading, seconds, cpu, genes, worker, _, _, _ = child("ranges", 10_000)
    large, large_seconds, _ = child("large", 1_000, 20_000)
    small_peak, _, small_files = child("stream", few, 2_000)
    peak_many, many_seconds, many_files = child("stream", 10 * few, 2_000)
    growth = peak_many / small_peak
    figures: list[Figure] = [
        (f"10,000 x {genes:,.0f} by row ranges, {WORKERS} workers: seconds", seconds, SECONDS_BAR),
        ("  loading before, seconds", loading, None),
        ("  CPU seconds of the workers", cpu, None),
        ("  peak MB of a worker", worker, None),
        ("1,000 x 20,000 drawn and written: peak MB", large, MEMORY_BAR),
        ("  seconds, one process", large_seconds, None),
        (f"{few:,} x 2,000 streamed: peak MB", small_peak, None),
        (f"{10 * few:,} x 2,000 streamed: peak MB", peak_many, None),
        ("  times the memory", growth, GROWTH_BAR),
        ("  kB more for each patient more", 1000 * (peak_many - small_peak) / (9 * few), None),
        ("  seconds", many_seconds, None),
        (f"  files (at {few:,}: {small_files:.0f})", many_files, FILES_BAR),
    ]
    if arguments.million:
        figures += at_scale(1_000_000, 0) + at_scale(100_000, 20_000)
    return table(figures)


def table(figures: Sequence[Figure]) -> int:
    """Print figure, bar and verdict; 0 if all bars are met."""
    print(f"{'figure':56}{'value':>9}{'at most':>9}  verdict")
    for name, value, most in figures:
        verdict = "" if most is None else "met" if value <= most else "MISSED"
        print(f"{name:56}{value:9.4g}{most or '':>9}  {verdict}")
    return 0 if all(most is None or value <= most for _, value, most in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
