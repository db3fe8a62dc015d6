"""How real the records of the shipped weights are: every figure of `polyclinic evaluate`, real-vs-real and baseline.

    python benchmarks/quality.py [--data DIR] [--quick]

Synthetic patients get the profiles of real training rows (age, sex, findings, baseline heart rate, ...), so that
the case mix is the real one; all figures are against held-out test rows. Floor: other real rows (train) in place
of synthetic ones.
Baseline: independent marginals, every number of a record drawn from that place's values over the train rows.
--write keeps aggregates of the test rows (never rows) and the figures that need real rows, for reports that are
made where no real data are at hand. Bars are the working bars of a first release, set before the weights were
trained. Exits 1 if one falls short.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from polyclinic import Batch, Patient, PatientProfile, ProfileEncoder, Record, load_modality, seed_for
from polyclinic.app.training import references
from polyclinic.core.modality import Generator, Modality, TrainingSet
from polyclinic.core.training.weights import digest, find
from polyclinic.eval import reference
from polyclinic.eval.report.report import judge
from polyclinic.eval.score import MEASURED, Score

KEPT = Path(__file__).parent.parent / "eval" / "reference"

# what a first working generator should reach, by view and kind of figure: AUC of the classifier
# two-sample test at most, share of the AUROC of real records at least
BARS = {
    "c2st": 0.98,
    "tstr": 0.85,
}


@dataclass(frozen=True)
class Drawn:
    """Patients in memory, as eval needs a cohort."""

    patients_drawn: Sequence[Patient]

    @property
    def patients(self) -> int:
        """How many."""
        return len(self.patients_drawn)

    def records(self, modality: Modality) -> Iterator[Patient]:
        """Those with a record of the modality."""
        return (p for p in self.patients_drawn if modality.name in p.records)


def synthetic(modality: Modality, profiles: Sequence[PatientProfile], seed: int) -> Drawn:
    """Records for these profiles from the weights in force."""
    encoder = ProfileEncoder()
    generator: Generator = modality.generator(encoder.columns)
    patients = []
    for start in range(0, len(profiles), 64):
        own = tuple(profiles[start : start + 64])
        seeds = tuple(seed_for(seed, f"{p.patient_id}/{start + i}", modality.name) for i, p in enumerate(own))
        for profile, record in zip(
            own, generator.sample(Batch(own, encoder.encode(own), seeds)), strict=True
        ):
            patients.append(Patient(profile, {modality.name: record}))
    return Drawn(patients)


def independent(
    modality: Modality, records: Sequence[Record], train: TrainingSet, rows: Sequence[int], seed: int
) -> Drawn:
    """The baseline: each number of a record from another random train row, the profile kept."""
    rng = np.random.default_rng(seed)
    arrays = {}
    for name, first in records[0].arrays.items():
        if first.dtype.kind in "fiu" and all(r.arrays[name].shape == first.shape for r in records):
            stack = np.stack([r.arrays[name] for r in records])
            pick = rng.integers(len(stack), size=(len(rows), *first.shape), dtype=np.int32)
            arrays[name] = np.take_along_axis(stack, pick, axis=0)
        elif first.dtype.kind not in "fiu":
            arrays[name] = np.broadcast_to(first, (len(rows), *first.shape))
    return Drawn(
        [
            Patient(train.profiles[row], {modality.name: Record({n: a[i] for n, a in arrays.items()})})
            for i, row in enumerate(rows)
        ]
    )


def main() -> int:
    """Print one table; 0 if all bars are met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--quick", action="store_true", help="at most 300 records a set, one seed")
    parser.add_argument("--only", default="", help="one modality")
    parser.add_argument("--write", action="store_true", help="keep aggregates and figures in eval/reference")
    options = parser.parse_args()
    most, seeds = (300, (0,)) if options.quick else (1000, (0, 1))
    missed = 0
    print(f"{'view':12}{'figure':38}{'seed':>5}{'ours':>9}{'floor':>9}{'baseline':>10}  {'bar':>6}  verdict")
    for name, pairs in references(options.data).items():
        if options.only not in ("", name):
            continue
        modality = load_modality(name)
        quoted: dict[str, list[Score]] = {}
        for train, test in pairs:
            for seed in seeds:
                rng = np.random.default_rng(seed)
                rows = rng.choice(len(train), size=min(len(train), most), replace=False).tolist()
                real = modality.load(train) if train.records else []
                profiles = [
                    train.profiles[i].but(measurements=real[i].facts.get("baseline", {})) for i in rows
                ]
                ours = judge(synthetic(modality, profiles, seed), modality, [(train, test)], seed=seed)
                base = judge(
                    independent(modality, real, train, rows, seed), modality, [(train, test)], seed=seed
                )
                others = {view.view.name: view for view in base}  # of the signals that this set has
                for mine in (view for view in ours if view.view.name in others):
                    other = others[mine.view.name]
                    if seed == 0 and any(s.status == MEASURED for s in mine.scores):
                        quoted[mine.view.name] = [s for s in mine.scores if s.question != "distance"]
                    for score, other_score in zip(mine.scores, other.scores, strict=True):
                        missed += show(mine.view.name, score, other_score, seed)
        if options.write:
            drew = {own: digest(find(own)) for own in modality.weights()}
            reference.write(reference.aggregate(modality, pairs, quoted, 0, drew), KEPT / f"{name}.json")
    return 1 if missed else 0


def show(view: str, score: Score, other_score: Score, seed: int) -> int:
    """Print a row; 1 if a bar was missed."""
    value, floor, bar, verdict = score.value, score.real_baseline, "", "reported"
    if value is None:
        return 0
    if score.question == "c2st":
        limit = BARS["c2st"]
        bar, verdict = f"{limit:.2f}", "met" if value <= limit else "MISSED"
    elif score.question == "tstr" and floor is not None:
        limit = BARS["tstr"] * floor
        bar, verdict = f"{limit:.2f}", "met" if value >= limit else "MISSED"
    text = [f"{x:.3f}" if x is not None else "-" for x in (value, floor, other_score.value)]
    title = score.title[:37]
    print(
        f"{view:12}{title:38}{seed:5}{text[0]:>9}{text[1]:>9}{text[2]:>10}  {bar:>6}  {verdict}", flush=True
    )
    return verdict == "MISSED"


if __name__ == "__main__":
    sys.exit(main())
