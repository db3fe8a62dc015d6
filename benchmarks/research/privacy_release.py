"""What the gates of a release do to our cohorts, to copied training rows, and to noise.

    python benchmarks/research/privacy_release.py [--data DIR] [--quick] [--policy partner]
        [--seeds 11 12 13] [--only ours]

Ours: cohorts of the shipped weights of one population, a seed each, under the policy with the owner's and the
steward's approval; printed are the verdict, each reason, and the checks that came nearest to their limits.
Memorised: training records of one modality under other names. Noise: each array uniform between its least and its
largest value. Bars: ours passes on every seed; memorised rows are refused by gate two, and noise by gate one, for
each modality that has real counterparts. Limits are the policy file's: nothing here sets one. Exits 1 if a bar
falls short.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from polyclinic import load_modality
from polyclinic.app.engines import generation as engine
from polyclinic.app.governance import certificate
from polyclinic.app.training import references
from polyclinic.conditioning.population import Population
from polyclinic.core.config import load, parse
from polyclinic.core.modality import Record
from polyclinic.core.pipeline import Patient
from polyclinic.core.profile import PatientProfile
from polyclinic.eval.gate import judge
from polyclinic.eval.policy import Policy
from polyclinic.eval.report.report import evaluate
from polyclinic.eval.verdict import ONE, TWO, Check, Verdict

SIZE, QUICK = 300, 120  # patients of ours
ROWS, QUICK_ROWS = 400, 120  # of each real set that is copied
SEEDS = (11, 12, 13)
NEAREST = 6  # checks that are printed of each cohort
SPOKEN = {"owner": {"a"}, "generator": {"b"}, "validator": {"c"}, "steward": {"d"}}
FIGURES = (
    "ks",
    "frechet",
    "c2st_auc",
    "tstr",
    "linkage",
    "attack",
    "memorization",
)  # those with room to speak of
MODALITIES = ("imaging", "signals", "omics")  # those with real counterparts
Pairs = list[tuple[PatientProfile, Record]]


@dataclass
class Held:
    """A cohort in memory, of one modality."""

    pairs: Pairs
    folder: Path  # empty: there are no files

    @property
    def patients(self) -> int:
        """How many."""
        return len(self.pairs)

    def profiles(self) -> Iterator[PatientProfile]:
        """Of all."""
        return (profile for profile, _ in self.pairs)

    def records(self, modality: Any) -> Iterator[Patient]:
        """All of them."""
        return (Patient(profile, {modality.name: record}) for profile, record in self.pairs)


def ours(policy: Policy, population: str, size: int, seed: int, reference: Any, keep: Path | None) -> Verdict:
    """The verdict on a cohort of the shipped weights; what lies in `keep` already is not drawn or measured again."""
    with tempfile.TemporaryDirectory() as place:
        folder = (keep or Path(place)) / f"{population}-{size}-{seed}"
        cohort = engine.make(Population.load(population), size, seed, folder, workers=1, resume=True)
        file = folder / certificate.SCORES
        if not file.exists():
            evaluate(cohort, engine.chosen_of(cohort), reference, folder, show_real=False)
        scores = json.loads(file.read_text(encoding="utf-8"))
        return judge(policy, cohort.manifest, scores, certificate.cards_of(cohort), SPOKEN)


def judged(policy: Policy, pairs: Pairs, name: str, reference: Any) -> Verdict:
    """The verdict on records of one modality; what only whole cohorts have is left out."""
    own = policy.model_dump()
    own["terms"]["patients_at_least"] = 1
    own["may_be_unmeasured"] += ["linkage/*", "rules"]
    with tempfile.TemporaryDirectory() as place:
        cohort = Held(pairs, Path(place))
        scores = evaluate(cohort, [load_modality(name)], reference, Path(place) / "out", show_real=False)
    manifest = {"patients": len(pairs), "modalities": {name: {"with_record": len(pairs)}}}
    return judge(parse(Policy, own, "benchmark"), manifest, json.loads(json.dumps(scores)), [], SPOKEN)


def training_rows(reference: Any, name: str, most: int) -> Pairs:
    """Training records of each real set of a modality, under other names."""
    found: Pairs = []
    for train, _ in reference[name]:
        some = replace(train, records=train.records[:most], profiles=train.profiles[:most])
        found += zip(some.profiles, load_modality(name).load(some), strict=True)
    return [(replace(p, patient_id=f"s-{i}"), record) for i, (p, record) in enumerate(found)]


def noise(pairs: Pairs, seed: int) -> Pairs:
    """The same patients and shapes, every number drawn anew between the least and the largest of its array."""
    rng = np.random.default_rng(seed)

    def drawn(array: Any) -> Any:
        if array.dtype.kind not in "fu":
            return array
        low, high = float(np.nanmin(array)), float(np.nanmax(array))
        return rng.uniform(low, high, array.shape).astype(array.dtype)

    return [(p, replace(r, arrays={key: drawn(array) for key, array in r.arrays.items()})) for p, r in pairs]


def room(check: Check) -> float:
    """How far a figure is on the right side of its limit, as a share of the limit."""
    assert check.value is not None
    far = check.limit - check.value if check.at_most else check.value - check.limit
    return far / max(abs(check.limit), 1e-9)


def told(name: str, verdict: Verdict, met: bool, began: float, shown: Sequence[Check]) -> bool:
    """Print one cohort's verdict."""
    said = "passed" if verdict.passed else f"refused by {verdict.refused_by}"
    measured = sum(check.value is not None for check in verdict.checks)
    print(
        f"{name:50}{said:24}{measured:4} of {len(verdict.checks)} checks measured {time.monotonic() - began:6.0f} s  "
        f"{'met' if met else 'MISSED'}"
    )
    for check in shown:
        print(f"    {check.key}: {check}")
    for check in (*verdict.failed, *verdict.lacking) if not met else ():
        print(f"    ! {check.key}: {check}")
    sys.stdout.flush()
    return met


def own_cohorts(policy: Policy, options: argparse.Namespace, reference: Any) -> Iterator[bool]:
    """Each seed."""
    size = options.size or (QUICK if options.quick else SIZE)
    for seed in options.seeds:
        began = time.monotonic()
        verdict = ours(policy, options.population, size, seed, reference, options.keep)
        figures = [c for c in verdict.checks if c.value is not None and c.key.partition("/")[0] in FIGURES]
        near = sorted((c for c in figures if c.limit > 0), key=room)[:NEAREST]
        name = f"ours, {options.population}, {size} patients, seed {seed}"
        yield told(name, verdict, verdict.passed, began, near)


def planted(policy: Policy, options: argparse.Namespace, reference: Any) -> Iterator[bool]:
    """Copies and noise, of each modality."""
    most = QUICK_ROWS if options.quick else ROWS
    for name in MODALITIES:
        began = time.monotonic()
        rows = training_rows(reference, name, most)
        verdict = judged(policy, rows, name, reference)
        failed = [c for c in verdict.failed if c.gate == TWO and c.modality == name]
        yield told(f"training rows of {name}", verdict, bool(failed), began, failed[:2])
        began = time.monotonic()
        verdict = judged(policy, noise(rows, 0), name, reference)
        failed = [c for c in verdict.failed if c.gate == ONE and c.modality == name]
        yield told(f"noise in the shape of {name}", verdict, verdict.refused_by == ONE, began, failed[:2])


def main() -> int:
    """0 if all bars are met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} patients a cohort, one seed")
    parser.add_argument("--policy", default="partner")
    parser.add_argument("--population", default="cardio_oncology")
    parser.add_argument("--size", type=int, default=0)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--keep", type=Path, help="folder in which cohorts and their scores stay")
    parser.add_argument("--only", choices=["ours", "planted"])
    options = parser.parse_args()
    policy, reference = load(Policy, options.policy, "policy")[0], references(options.data)
    met: list[bool] = []
    if options.only != "planted":
        met += own_cohorts(policy, options, reference)
    if options.only != "ours":
        met += planted(policy, options, reference)
    print(f"\n{len(met)} bars, {met.count(False)} missed")
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
