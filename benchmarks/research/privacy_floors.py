"""What the limits of a policy make of real patients: how often they would be refused, had they been drawn by a model.

    python benchmarks/research/privacy_floors.py [--data DIR] [--quick] [--policy partner] [--size 120] [--only omics]

A cohort here is a random group of real training patients, who are taken out of the reference; the other training
rows and the test rows judge it. No synthetic record is involved, so a limit that refuses these groups is too narrow
for its cohort size, and this is what limits may be set from. Printed for each check
of both gates: the figure nearest to the limit, the middle one, the limit, and how many of the groups break it; for
usefulness also the share of the mean of what real records teach (`point`), beside the share of the lower end of its
range, which the gates use. Bar: no check refuses more than one group in ten. Exits 1 if a bar falls short.
"""

import argparse
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from polyclinic import load_modality
from polyclinic.app.training import references
from polyclinic.core.config import load, parse
from polyclinic.eval.attacks.attack import attack
from polyclinic.eval.gate import CHANCE, judge
from polyclinic.eval.policy import Policy
from polyclinic.eval.reference import samples
from polyclinic.eval.report.report import score
from polyclinic.eval.sample import Comparison, Sample
from polyclinic.eval.verdict import ONE, TWO

GROUPS, QUICK = 20, 5
MODALITIES = ("imaging", "signals", "omics")
MOST = 0.1  # of the groups may be refused by a check


def split(train: Sample, size: int, seed: int) -> tuple[Sample, Sample]:
    """The rows of `size` random patients, and those of the others."""
    patients = train.patients
    chosen = np.random.default_rng(seed).permutation(np.unique(patients))[:size]
    own = np.isin(patients, chosen)
    return train.take(np.flatnonzero(own)), train.take(np.flatnonzero(~own))


def figures(policy: Policy, name: str, real: list[Comparison], size: int, seed: int) -> dict[str, Any]:
    """Checks of one group, by key, and the point shares of usefulness."""
    views, sides = [], []
    for side in real:
        assert side.train is not None
        assert side.test is not None
        own, rest = split(side.train, min(size, side.train.patient_count // 2), seed)
        views.append({**score(side.view, own, rest, side.test, None, seed).to_dict(), "modality": name})
        sides.append(Comparison(side.view, own, rest, side.test))
    scores = {"views": views, "privacy": attack({name: sides}, seed).to_dict()}
    manifest = {"patients": size, "modalities": {name: {"with_record": size}}}
    verdict = judge(policy, manifest, scores, [], {})
    found: dict[str, Any] = {c.key: c for c in verdict.checks if c.modality == name and c.gate in (ONE, TWO)}
    points = {
        f"tstr/{view['view']}/{s['task']}": (s["value"] - CHANCE) / (s["real_baseline"] - CHANCE)
        for view in views
        for s in view["scores"]
        if s["metric"] == "tstr_auroc" and s["value"] is not None and s["real_baseline_interval"][0] > CHANCE
    }
    return {"checks": found, "points": points}


def judged(policy: Policy, name: str, options: argparse.Namespace) -> tuple[int, int]:
    """How many checks of a modality were measured, and how many refused too many groups."""
    modality, pairs = load_modality(name), references(options.data)[name]
    real = [
        Comparison(view, None, *both)
        for view, both in zip(modality.views(), samples(modality, pairs, 0), strict=True)
        if None not in both
    ]
    began, values, points = time.monotonic(), defaultdict(list), defaultdict(list)
    for seed in range(QUICK if options.quick else GROUPS):
        found = figures(policy, name, real, options.size, seed)
        for key, check in found["checks"].items():
            values[key].append(check)
        for key, value in found["points"].items():
            points[key].append(value)
    bars = missed = 0
    for key, checks in sorted(values.items()):
        known = [c for c in checks if c.value is not None]
        if not known or key.startswith("tstr_tasks/"):
            continue
        numbers = sorted(c.value for c in known)
        nearest = numbers[-1] if known[0].at_most else numbers[0]
        broken, limit = sum(not c.passed for c in known), known[0].limit
        met = broken <= MOST * len(known)
        line = f"{key[:58]:60}{nearest:8.3f}{np.median(numbers):8.3f}{limit:7.2f}{broken:5} of {len(known):2}"
        if key in points:
            low = sum(p < limit for p in points[key])
            line += f"  point: {min(points[key]):6.2f}{np.median(points[key]):6.2f}, {low} of {len(points[key])} below"
        print(f"{line}  {'met' if met else 'MISSED'}", flush=True)
        bars, missed = bars + 1, missed + (not met)
    print(f"  {name}: {time.monotonic() - began:.0f} s", flush=True)
    return bars, missed


def main() -> int:
    """0 if all bars are met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} groups")
    parser.add_argument("--policy", default="partner")
    parser.add_argument("--size", type=int, default=120, help="patients of a group")
    parser.add_argument("--only", choices=MODALITIES)
    options = parser.parse_args()
    own = load(Policy, options.policy, "policy")[0].model_dump()
    own["terms"]["patients_at_least"] = 1
    policy = parse(Policy, own, "benchmark")
    print(f"{'check':60}{'nearest':>8}{'middle':>8}{'limit':>7}{'refused':>11}")
    counts = [judged(policy, name, options) for name in ([options.only] if options.only else MODALITIES)]
    bars, missed = (sum(column) for column in zip(*counts, strict=True))
    print(f"\n{bars} bars, {missed} missed")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
