"""Wearables against published figures, their own ECG and the clock: figure, floor, bar, verdict.

    python benchmarks/wearable.py [--quick] [--patients N] [--months N] [--only PART]

Draws patients by rules, seed 7 (no real data: there is no real counterpart). Heart rates are compared in patients of
general_ward whose ECG is drawn too; HbA1c in a mix as ADAG had it (about half of the people with type 2 diabetes, and
as many of a wide range, against a sixth without); sleep and steps in the cohort `adults` against distributions of the
published mean and standard deviation (steps: gamma, sleep: normal). Exits 1 where a figure misses its bar.
"""

import argparse
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from scipy import signal, stats
from wearable_readers import read

from polyclinic import (
    Batch,
    PatientProfile,
    Population,
    ProfileEncoder,
    Record,
    generate,
    load_modality,
    seed_for,
)
from polyclinic.core.config import parse
from polyclinic.core.memory import give_back
from polyclinic.core.study import Study
from polyclinic.modalities.wearable import Wearable
from polyclinic.modalities.wearable.figures import figures
from polyclinic.modalities.wearable.metrics import breaches, persistence, rate_of_beats
from polyclinic.modalities.wearable.options import Options
from polyclinic.modalities.wearable.pulse import RATE

SEED = 7
TURNS = 5
SMALL = 32  # patients, with whose memory that of more is compared


@dataclass(frozen=True)
class Line:
    """A row of the table; `holds` is the verdict."""

    figure: str
    found: str
    floor: str
    bar: str
    holds: bool


def main() -> int:
    """0 if all bars hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--quick", action="store_true", help="a third of the patients, and a smaller pair for memory"
    )
    parser.add_argument("--patients", type=int, default=600, help="of the comparison with published figures")
    parser.add_argument("--months", type=int, default=1000, help="patients of 30 days whose memory is taken")
    parser.add_argument(
        "--grow", nargs=2, metavar=("PATIENTS", "DAYS"), help="only draw and write; print the peak in MB"
    )
    parser.add_argument("--only", choices=["rates", "sugar", "people", "cost", "memory", "readers"])
    options = parser.parse_args()
    if options.grow:
        for patients, megabytes in grow(int(options.grow[0]), int(options.grow[1])):
            print(patients, f"{megabytes:.1f}", flush=True)
        return 0
    number = options.patients // 3 if options.quick else options.patients
    parts = {
        "rates": heart_rates(3 if options.quick else 12),
        "sugar": hba1c(number),
        "people": people(number),
        "cost": cost(),
        "memory": memory(*((96, 3) if options.quick else (options.months, 30))),
        "readers": readers(),
    }
    lines = chain.from_iterable(part for name, part in parts.items() if options.only in (None, name))
    print("| figure | found | floor | bar | verdict |\n|---|---|---|---|---|")
    missed = False
    for line in lines:
        verdict = "holds" if line.holds else "MISSED"
        print(f"| {line.figure} | {line.found} | {line.floor} | {line.bar} | {verdict} |", flush=True)
        missed |= not line.holds
    return int(missed)


def draw(profiles: list[PatientProfile], **how: object) -> Iterator[Record]:
    """One record a patient, one by one."""
    rules = Wearable(how).generator(())
    for profile in profiles:
        row = Batch(
            (profile,), np.zeros((1, 0), np.float32), (seed_for(SEED, profile.patient_id, "wearable"),)
        )
        yield rules.sample(row)[0]


def heart_rates(number: int) -> Iterator[Line]:
    """ECG, R-R series, seconds, minutes and pulse of patients in sinus rhythm and in fibrillation."""
    population = Population.load("general_ward")
    modalities = [
        load_modality("signals"),
        Wearable({"days": 1, "device": "reference", "ppg": True, "ppg_segments": 3}),
    ]
    encoder = ProfileEncoder.of(population.vocabulary, modalities[0].weights())
    sinus: dict[str, list[float]] = {"ecg": [], "beats": [], "ppg": []}
    mean: dict[str, list[float]] = {"ecg": [], "beats": [], "ppg": []}
    people = (population.patient(i, SEED) for i in range(number * 3))
    for patient in generate(people, modalities, encoder, SEED):
        ecg, worn = patient.records["signals"], patient.records["wearable"]
        fibrillates = worn.facts["rhythm"] == "atrial fibrillation"
        into = mean if fibrillates else sinus
        seconds = worn.arrays["reference/heart_rate"].astype(float)
        minutes = seconds.reshape(-1, 60).mean(1)
        gaps = rate_of_beats(worn.arrays["reference/beats"], 1440)
        differences = minutes - gaps
        into["beats"].append(
            abs(float(np.nanmean(differences))) if fibrillates else float(np.nanmax(np.abs(differences)))
        )
        study = Study.of(ecg.facts, patient.profile.index_date)
        assert study is not None
        assert study.taken is not None
        begins = study.taken.hour * 3600 + study.taken.minute * 60 + study.taken.second
        near = worn.arrays["reference/beats"] / 1000 - begins
        peaks = np.asarray(ecg.arrays["r_peaks"]) / 500
        own = near[(near > peaks[0] - 0.05) & (near < peaks[-1] + 0.05)]
        shown = 60 * (len(own) - 1) / (own[-1] - own[0])
        into["ecg"].append(abs(shown - 60 * (len(peaks) - 1) / (peaks[-1] - peaks[0])))
        beats = np.append(worn.arrays["reference/beats"] / 1000, 86_400)
        for begin, wave in zip(worn.arrays["ppg/begins"].tolist(), worn.arrays["ppg/finger"], strict=True):
            if worn.arrays["reference/steps"][begin // 60 : begin // 60 + 2].sum() == 0:  # at rest
                ends = np.interp([begin, begin + len(wave) / RATE], beats, np.arange(len(beats)))
                into["ppg"].append(abs(pulse_rate(wave) - 60 * RATE * float(ends[1] - ends[0]) / len(wave)))
    for name, found in (("sinus", sinus), ("atrial fibrillation, mean", mean)):
        if not found["ecg"]:
            continue
        for key, words in (
            ("ecg", "ECG against R-R in its seconds"),
            ("beats", "seconds against R-R"),
            ("ppg", "pulse against R-R, at rest"),
        ):
            worst = float(np.mean(found[key]) if "mean" in name else np.quantile(found[key], 0.95))
            yield Line(f"heart rate a minute, {name}: {words} (/min)", f"{worst:.2f}", "0", "1", worst <= 1)


def pulse_rate(wave: np.ndarray) -> float:
    """Pulses a minute, by their steepest rises, without knowing the beats."""
    smooth = signal.sosfiltfilt(signal.butter(3, (0.6, 8), "band", fs=RATE, output="sos"), wave)
    slope = np.diff(smooth)
    rises, _ = signal.find_peaks(slope, distance=round(0.22 * RATE), height=0.12 * np.quantile(slope, 0.97))
    return 60 * RATE * (len(rises) - 1) / (rises[-1] - rises[0]) if len(rises) > 2 else float("nan")


def hba1c(number: int) -> Iterator[Line]:
    """R2 of the ADAG regression over people as ADAG had them."""
    rng, people = np.random.default_rng(SEED), []
    for i in range(number):
        diabetic = rng.random() > 1 / 6
        level = float(np.exp(rng.normal(np.log(155), 0.16))) if diabetic else float(rng.normal(97, 10))
        people.append(
            PatientProfile(f"a{i}", age=46.0, conditions={"E11.9": diabetic}, measurements={"glucose": level})
        )
    pairs = [(r.facts["mean_glucose"], r.facts["hba1c"]) for r in draw(people, days=3, device="cgm")]
    found = stats.linregress([b for _, b in pairs], [a for a, _ in pairs])
    share = float(found.rvalue**2)
    said = f"{share:.2f} (slope {found.slope:.1f}, intercept {found.intercept:.1f})"
    yield Line("HbA1c against mean glucose, R2", said, ".84 published", ".80 to .88", 0.8 <= share <= 0.88)


def people(number: int) -> Iterator[Line]:
    """Sleep, steps and pressure of adults."""
    given = figures()
    records = list(draw(list(Population.load("adults").draw(number, seed=SEED)), days=14, device="cuff"))
    for key, fact, name in (
        ("steps", "steps_per_day", "steps a day"),
        ("sleep", "sleep_hours", "hours of sleep"),
    ):
        values = np.array([record.facts[fact] for record in records], dtype=float)
        mean, spread = given[key]["mean"], given[key]["deviation"]
        shape = (mean / spread) ** 2
        law = stats.gamma(shape, scale=mean / shape) if key == "steps" else stats.norm(mean, spread)
        distance = float(stats.kstest(values, law.cdf).statistic)
        chance = float(
            np.mean([stats.kstest(law.rvs(number, random_state=s), law.cdf).statistic for s in range(20)])
        )
        said = f"{distance:.3f} (mean {values.mean():.1f}, SD {values.std():.1f}; published {mean}, {spread})"
        yield Line(
            f"{name}, KS against {given[key]['source']}", said, f"{chance:.3f}", "0.1", distance <= 0.1
        )
    systolic = np.stack([record.arrays["cuff/systolic"][::2] for record in records]).astype(float)
    within, between = float(systolic.std(1, ddof=1).mean()), float(systolic.mean(1).std())
    long = np.stack(
        [
            r.arrays["cuff/systolic"][::2]
            for r in draw(
                list(Population.load("adults").draw(number // 4, seed=SEED)), days=45, device="cuff"
            )
        ]
    )
    found = persistence(long.astype(float))
    said = f"{found:.2f} (SD within {within:.1f}, between {between:.1f}; Ohasama 8.6, 15.1)"
    yield Line(
        "morning systolic pressure, day to day, about the patient's mean",
        said,
        "0",
        ".4 to .8",
        0.4 <= found <= 0.8,
    )
    broken = sum(
        len(list(breaches(record)))
        for record in draw(
            list(Population.load("icu").draw(max(6, number // 20), seed=SEED)), days=2, device="reference"
        )
    )
    yield Line("breaches of the rules, patients of icu", str(broken), "0", "0", broken == 0)


def cost() -> Iterator[Line]:
    """CPU of drawing and writing all channels but the pulse: the median of TURNS."""
    profiles = list(Population.load("general_ward").draw(3, seed=SEED))
    days = 10
    modality, rates, size = Wearable({"days": days, "device": "reference"}), [], 0.0
    next(draw(profiles[:1], days=1, device="reference"))
    for _ in range(TURNS):
        with tempfile.TemporaryDirectory() as place:
            began = time.process_time()
            for number, record in enumerate(draw(profiles, days=days, device="reference")):
                modality.export([record], [profiles[number]], Path(place))
            rates.append(60 * len(profiles) * days / (time.process_time() - began))
            size = sum(path.stat().st_size for path in Path(place).rglob("*.parquet")) / len(profiles) / days
    rate = statistics.median(rates)
    yield Line(
        "patient-days a CPU minute, drawn and written, all channels but PPG",
        f"{rate:.0f} ({min(rates):.0f} to {max(rates):.0f}; {size / 1e6:.2f} MB a day)",
        "",
        "1000",
        rate >= 1000,
    )


def memory(patients: int, worn: int) -> Iterator[Line]:
    """The peak of memory as patients are added."""
    peaks = peaks_of(patients, worn)
    said = ", ".join(f"{megabytes:.0f} MB at {count}" for count, megabytes in peaks.items())
    flat = peaks[patients] <= 1.1 * peaks[SMALL]
    yield Line(
        f"memory as patients are added, {worn} days, all channels, 16 at a time", said, "", "+10 %", flat
    )


def peaks_of(patients: int, days: int) -> dict[int, float]:
    """MB at most by patients drawn, in a process of its own."""
    asked = [sys.executable, __file__, "--grow", str(patients), str(days)]
    told = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.split()
    return {int(count): float(megabytes) for count, megabytes in zip(told[::2], told[1::2], strict=True)}


def grow(patients: int, days: int) -> Iterator[tuple[int, float]]:
    """Draw and write slices of 16 as the engine does; patients drawn and MB at most, at SMALL and after each fifth."""
    options = parse(Options, {"days": days, "device": "reference"}, "wearable")
    modality = Wearable(options.model_dump())
    rules, population = modality.generator(()), Population.load("adults")
    ends = {SMALL, *(patients * k // 5 for k in range(1, 6))}
    with tempfile.TemporaryDirectory() as place:

        def write(part: tuple[PatientProfile, ...]) -> None:
            seeds = tuple(seed_for(SEED, one.patient_id, "wearable") for one in part)
            records = rules.sample(Batch(part, np.zeros((len(part), 0), np.float32), seeds))
            for path in modality.export(records, part, Path(place)):
                path.unlink()

        for begin in range(0, patients, 16):
            part = tuple(population.patient(i, SEED) for i in range(begin, min(begin + 16, patients)))
            write(part)  # no slice is held while the next is drawn
            give_back()
            for end in sorted(ends):
                if begin < end <= begin + len(part):
                    yield end, peak()


def peak() -> float:
    """MB of this process at most; getrusage() would begin at what the parent had."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) / 1024


def readers() -> Iterator[Line]:
    """Each format by its reader; what it says on the way is counted. Readers that are not installed are left out."""
    (profile,) = Population.load("general_ward").draw(1, seed=SEED)
    days, device = 2, "watch,patch,cgm,cuff"
    (record,) = draw([profile], days=days, device=device)
    with tempfile.TemporaryDirectory() as place:
        said, opened = read(record, profile, device, days, Path(place))
    yield Line(f"what readers say of {', '.join(opened)}", str(said), "0", "0", said == 0 and bool(opened))


if __name__ == "__main__":
    sys.exit(main())
