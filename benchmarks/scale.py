"""What a large cohort costs beside its records: plan, slices, manifest, hashing and check, by simulation of slices.

    python benchmarks/scale.py --quick               # up to 10,000 patients; under 5 minutes
    python benchmarks/scale.py [--state FILE]        # up to 100,000 with files, a million of simulated slices
    python benchmarks/scale.py --drawn 100000        # records and tumours of so many, in place of 10,000
    python benchmarks/scale.py --only planned        # some of measured, listing, planned, drawn

Each size is a process of its own. `measured` patients have nine files of a few bytes and a row in the table of people;
slices are written, finished and verified by the cohort's own code. `planned` ones have all but the files: their slices
say that they are done, and the cohort is planned, finished (table, labels, manifest in shards) and opened. `listing` is
the list of files alone. `drawn` ones have records and tumours of the shipped models. Prints processor seconds, slope of
their logarithm over that of the number of patients (1 is linear), and peak memory. With --state, sizes that are done
are noted in a file, and a run that was stopped goes on there. Exits 1 where a slope is not 1.0 +- .05 (of drawn
patients, beyond what a first cohort of 32 costs), or memory grows by more than a fifth from the second largest size.
"""

import argparse
import json
import math
import multiprocessing
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from polyclinic.core.cohort import file_list
from polyclinic.core.cohort.cohort import PENDING, Cohort, slice_name
from polyclinic.core.cohort.damage import Files
from polyclinic.core.cohort.disk import write_atomic
from polyclinic.core.modality import Record
from polyclinic.core.pipeline import Patient
from polyclinic.core.profile import PatientProfile

FILES = 9  # of a patient: an image, ECG and vital signs in WFDB
TOPS = ("dicom", "wfdb")  # folders of the first of them, and of the others
SLOPE = 0.05
GROWTH = 1.2
FIRST = 32  # patients that are drawn before the clock starts: what is loaded and joined once


class Simulated:
    """Files of a few bytes."""

    name, after, shared, indication = "simulated", (), False, "everyone"

    def export(self, records: Sequence[Record], profiles: Sequence[PatientProfile], folder: Path) -> None:
        """FILES files a patient."""
        for profile in profiles:
            place = folder / "simulated" / profile.patient_id
            place.mkdir(parents=True)
            for number in range(FILES):
                (place / f"{number}.bin").write_bytes(profile.patient_id.encode())


def patient(place: int) -> Patient:
    """Number `place`."""
    conditions = {code: place % step == 0 for step, code in enumerate(("I10", "E11.9", "J18.9", "C50.9"), 2)}
    measurements = {"heart_rate": 60.0 + place % 40, "systolic_bp": 110.0 + place % 30}
    profile = PatientProfile(
        f"PC-{place:09}",
        age=20.0 + place % 70,
        sex="FM"[place % 2],
        conditions=conditions,
        measurements=measurements,
    )
    return Patient(profile, {"simulated": Record({}, {})})


def measured(patients: int, folder: Path) -> dict[str, float]:
    """Processor seconds of each phase, sizes, and peak memory, in this process."""
    _loaded(measured, patients, folder)
    found, noted = _phases()
    cohort = Cohort.create(folder, _header(patients))
    with cohort.writing():
        waiting = cohort.missing()
        noted("plan")
        for number in waiting:
            cohort.write_slice(number, [patient(place) for place in cohort.span(number)], [Simulated()])
        noted("slices")
        cohort.finish([Simulated()])
        noted("finish")
    assert Cohort.open(folder).verify() == []
    noted("verify")
    assert sum(1 for _ in Cohort.open(folder).profiles()) == patients
    noted("profiles")
    return _with_sizes(found, cohort)


def planned(patients: int, folder: Path) -> dict[str, float]:
    """The same without the files: slices say that they are done, and what they would have written."""
    _loaded(planned, patients, folder)
    found, noted = _phases()
    cohort = Cohort.create(folder, _header(patients))
    for top in TOPS:  # labels go there
        (folder / top).mkdir()
    with cohort.writing():
        assert len(cohort.missing()) == cohort.slices
        noted("plan")
        for number, files in enumerate(_entries(patients)):
            people = [patient(place).profile for place in cohort.span(number)]
            have = {"simulated": [profile.patient_id for profile in people]}
            part = {"profiles": [profile.to_dict() for profile in people], "have": have, "files": files}
            write_atomic(folder / PENDING / f"{slice_name(number)}.json", json.dumps(part).encode())
        noted("slices")
        cohort.finish([Simulated()])
        noted("finish")
    assert Cohort.open(folder).complete
    noted("open")
    assert sum(1 for _ in Cohort.open(folder).profiles()) == patients
    noted("profiles")
    return _with_sizes(found, cohort)


def _loaded(work: Callable[[int, Path], object], patients: int, folder: Path) -> None:
    """Do the work for one slice first: what is loaded once is no cost of a patient."""
    first = folder.with_name(f"{folder.name}.first")
    if patients > 16:
        work(16, first)
        shutil.rmtree(first)


def _header(patients: int) -> dict[str, Any]:
    return {"seed": 0, "patients": patients, "modalities": {"simulated": {"bytes_per_record": 1}}}


def _phases() -> tuple[dict[str, float], Callable[[str], None]]:
    """Processor seconds by phase, and what notes that one is over."""
    found: dict[str, float] = {}
    mark = time.process_time()

    def noted(phase: str) -> None:
        nonlocal mark
        found[phase], mark = time.process_time() - mark, time.process_time()

    return found, noted


def _with_sizes(found: dict[str, float], cohort: Cohort) -> dict[str, float]:
    return {
        **found,
        "all": sum(found.values()),
        "manifest_mb": (cohort.folder / "manifest.json").stat().st_size / 1e6,
        "shards": len(cohort.shards),
        "memory_mb": _peak(),
    }


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def listing(patients: int, folder: Path) -> dict[str, float]:
    """The list of the files of so many patients alone, without the files."""
    folder.mkdir()
    begun = time.process_time()
    stated = file_list.write(folder, _entries(patients), folder / "scratch")
    wrote = time.process_time()
    (folder / "manifest.json").write_text(json.dumps(stated))
    files = file_list.opened(folder, stated["shards"], folder / "manifest.json")
    assert sum(1 for _ in files.items()) == len(files) == FILES * patients
    return {
        "write": wrote - begun,
        "read": time.process_time() - wrote,
        "files": len(files),
        "shards": len(files.shards),
        "shards_mb": sum(one["bytes"] for one in files.shards.values()) / 1e6,
        "manifest_mb": (folder / "manifest.json").stat().st_size / 1e6,
        "memory_mb": _peak(),
    }


def _entries(patients: int) -> Iterator[Files]:
    for begin in range(0, patients, 16):
        yield {
            f"{top}/PC-{place:09}/{number}.bin": {"sha256": f"{place * FILES + number:064x}", "bytes": 1}
            for place in range(begin, min(begin + 16, patients))
            for number in range(FILES)
            for top in (TOPS[min(number, 1)],)
        }


def drawn(patients: int, folder: Path) -> dict[str, float]:
    """Health records and tumours of the shipped models, in one process, after a first cohort of FIRST patients."""
    from polyclinic import generate_cohort

    def made(number: int, out: Path) -> float:
        begun = time.process_time()
        cohort = generate_cohort(
            "cardio_oncology", patients=number, seed=1, out=out, modalities=["records", "omics"], workers=1
        )
        assert cohort.on_disk.verify() == []
        return time.process_time() - begun

    first = made(FIRST, folder / "first")
    once = made(FIRST, folder / "again")
    whole = made(patients, folder / "all")
    beyond = (whole - once) / (patients - FIRST) * patients
    return {"first": first, "again": once, "whole": whole, "all": beyond, "memory_mb": _peak()}


class Sizes:
    """Runs each work at a size in a process of its own, and notes in a file what is done."""

    def __init__(self, root: Path, state: Path | None) -> None:
        self.root, self.state = root, state
        self.done: dict[str, dict[str, float]] = (
            json.loads(state.read_text()) if state and state.exists() else {}
        )

    def of(self, work: Callable[[int, Path], dict[str, float]], patients: int) -> dict[str, float]:
        """The figures of a work at a size."""
        name = f"{work.__name__} {patients}"
        place = self.root / name.replace(" ", "-")
        if name not in self.done:
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                self.done[name] = pool.apply(work, (patients, place))
            if self.state:
                self.state.write_text(json.dumps(self.done, indent=1))
        found = self.done[name]
        said = "  ".join(f"{key} {value:,.1f}" for key, value in found.items())
        print(f"{work.__name__:8} {patients:9,} patients: {said}", flush=True)
        shutil.rmtree(place, ignore_errors=True)  # a million files take longer to remove than to write
        return found


def judged(by: dict[int, dict[str, float]], name: str, sloped: bool = True) -> list[str]:
    """What is wrong with how a work grows with the number of patients; prints it."""
    sizes, wrong = sorted(by), []
    for small, large in [(sizes[0], sizes[-1])] if sloped else []:
        found = math.log(by[large]["all"] / by[small]["all"]) / math.log(large / small)
        print(
            f"{name}: slope of processor time from {small:,} to {large:,} patients: {found:.3f} (bar 1.0 +- {SLOPE})"
        )
        wrong += [f"slope of {name}"] if abs(found - 1) > SLOPE else []
    growth = by[sizes[-1]]["memory_mb"] / by[sizes[-2]]["memory_mb"]
    print(
        f"{name}: peak memory at {sizes[-1]:,} patients over {sizes[-2]:,}: {growth:.2f} times (bar {GROWTH})",
        flush=True,
    )
    return wrong + ([f"memory of {name}"] if growth > GROWTH else [])


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--state", type=Path, help="a file where sizes that are done are noted")
    parser.add_argument("--place", type=Path, help="a folder for the cohorts (default: a temporary one)")
    parser.add_argument("--drawn", type=int, default=10_000, help="patients of the shipped models at most")
    parser.add_argument("--only", default="", help="some of measured, listing, planned, drawn, with commas")
    asked = parser.parse_args()
    works: list[tuple[Callable[[int, Path], dict[str, float]], tuple[int, ...], bool]] = [
        (measured, (100, 1_000, 10_000) if asked.quick else (100, 1_000, 10_000, 100_000), True),
        (listing, (20_000, 100_000) if asked.quick else (100_000, 1_000_000), False),
        (planned, (1_000, 10_000) if asked.quick else (10_000, 100_000, 1_000_000), True),
        (drawn, (64, 192) if asked.quick else (128, 1_000, asked.drawn), not asked.quick),
    ]
    names = [work.__name__ for work, _, _ in works]
    wanted = asked.only.split(",") if asked.only else names
    if strange := [name for name in wanted if name not in names]:
        parser.error(f"--only {strange[0]}: expected some of {', '.join(names)}")
    wrong = []
    if asked.place is not None:
        asked.place.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=asked.place) as folder:
        sizes = Sizes(Path(folder), asked.state)
        for work, numbers, sloped in [one for one in works if one[0].__name__ in wanted]:
            found = {number: sizes.of(work, number) for number in numbers}
            wrong += judged(found, work.__name__, sloped)
    print(f"missed: {', '.join(wrong)}" if wrong else "all met")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
