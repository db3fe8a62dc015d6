"""The price of a release: white-box attacks with shadow trainings on tumours, ECGs and X-rays, and ten planted leaks.

    python benchmarks/private_attacks.py [--data DIR] [--quick] [--only tumours|ecg|images|leaks]

Each recipe is trained on a random half of the train rows' patients, and attacked by somebody who has the weights, the
record of every patient and the recipe, and trains it on other halves himself (shadows). A row is an attack: the AUC
and its 95 % range, and the members found at 1 % false alarms with their exact (Clopper-Pearson) interval.
"weights alone" uses no shadow; LiRA takes each patient's signal among shadows in and out; "learnt" weighs several
signals by a regression that the shadows teach, which for the flow's errors at fixed noises and times is the
noise-initialisation attack. "shipped" rows attack the weights that ship: members are train rows, controls test rows.
Bars: of a private recipe, neither the AUC nor the share found may lie above what a Gaussian mechanism of its epsilon
allows (lower ends of the ranges; the floor is chance); of a public one the price is reported. Every release costs
at most 15 minutes of a processor, its shadow trainings included. Each of ten planted leaks is found, and the same
without the leak is not. --quick takes 4 shadows of fewer patients and steps. Exits 1 if a bar falls short.
"""

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from private_attacks_leaks import LEAKS
from private_attacks_releases import FULL, QUICK, RELEASES, Profile, Release, Signals
from scipy.stats import norm

from polyclinic.core.dp.budget import Budget, noise_for
from polyclinic.core.types import BoolArray, FloatArray
from polyclinic.eval.attacks.attack_result import FALSE_ALARMS, AttackResult, Target
from polyclinic.eval.attacks.shadow_models import calibrated, halves, learnt, likelihood_ratio

MINUTES = 15
SEED = 19
HEAD = (
    f"{'release':34}{'attack':48}{'in, out':>10}{'AUC':>7}{'range':>14}{'bar':>6}"
    f"{'at 1 %':>8}{'exact':>16}{'bar':>7}"
)


def allowed(budget: Budget) -> tuple[float, float]:
    """The highest AUC, and share found at 1 % false alarms, that a Gaussian mechanism of this budget permits."""
    apart = 1 / noise_for(budget, [1.0])[0]
    return float(norm.cdf(apart / np.sqrt(2))), float(norm.cdf(norm.ppf(FALSE_ALARMS) + apart))


def played(release: Release, shadows: int) -> Iterator[tuple[str, AttackResult]]:
    """Every attack on one more training of the release, and on what ships."""
    rng = np.random.default_rng(SEED)
    people = len(release.pool)
    inside, seen = np.zeros(people, dtype=bool), np.zeros((shadows, people), dtype=bool)
    inside[release.pool] = halves(int(release.pool.sum()), 1, rng)[0]
    seen[:, release.pool] = halves(int(release.pool.sum()), shadows, rng)
    target = release.read(release.learn(inside, SEED))
    own = [release.read(release.learn(half, SEED + 1 + k)) for k, half in enumerate(seen)]
    read = {name: np.stack([shadow[name] for shadow in own]) for name in target}

    def found(name: str, scores: FloatArray, member: BoolArray) -> tuple[str, AttackResult]:
        return name, Target("", "", name, release.name).measured(scores, member, "", SEED)

    for name, scores in attacks(target, read, seen, release.pool, shipped=False):
        yield found(name, np.where(release.pool, scores, np.nan), inside)
    if release.shipped is not None:
        # no shadow saw a test patient: they are calibrated by as many shadows as a train patient, chosen as by chance
        seen[:, ~release.pool] = halves(int((~release.pool).sum()), shadows, rng)
        for name, scores in attacks(release.read(release.shipped()), read, seen, release.pool, shipped=True):
            yield found(f"shipped: {name}", scores, release.pool)


def attacks(
    target: Signals, read: Signals, seen: BoolArray, pool: BoolArray, shipped: bool
) -> Iterator[tuple[str, FloatArray]]:
    """Names and scores (person,). Shadows of another size than the attacked training calibrate it, and no more."""
    for name, signal in target.items():
        if signal.shape[1] > 1:
            yield f"{name}, learnt from shadows", learnt(signal, read[name], seen, pool)
            continue
        yield f"{name}, weights alone", signal[:, 0]
        ratio, how = (calibrated, "calibrated by shadows") if shipped else (likelihood_ratio, "LiRA")
        yield f"{name}, {how}", ratio(signal[:, 0], read[name][:, :, 0], seen)


def row(release: Release, attack: str, found: AttackResult) -> bool | None:
    """Print an attack; whether its bar is met, None if it has none."""
    if found.auc is None or found.interval is None:
        print(f"{release.name:34}{attack:48}not measured: {found.reason}", flush=True)
        return None
    line = f"{release.name:34}{attack:48}{f'{found.members}, {found.controls}':>10}{found.auc:7.3f}"
    line += f"{f'{found.interval[0]:.2f} to {found.interval[1]:.2f}':>14}"
    most = None if release.budget is None else allowed(release.budget)
    line += f"{'' if most is None else f'{most[0]:.2f}':>6}"
    met = None if most is None else found.interval[0] <= most[0]
    if found.tpr_at_1_fpr is None or found.tpr_interval is None:
        line += f"{'-':>8}{'-':>16}{'':>7}"
    else:
        low, high = found.tpr_interval
        line += f"{found.tpr_at_1_fpr:8.1%}{f'{low:.1%} to {high:.1%}':>16}"
        line += f"{'' if most is None else f'{most[1]:.1%}':>7}"
        met = None if most is None else met and low <= most[1]
    print(f"{line}  {'price' if met is None else 'met' if met else 'MISSED'}", flush=True)
    return met


def priced(data: Path, how: Profile, only: str) -> Iterator[bool | None]:
    """The first table, and what each release costs to attack. Reading the data counts to the first of a kind."""
    print(HEAD)
    for kind, releases in RELEASES.items():
        if only not in ("", kind):
            continue
        began = spent()
        for release in releases(data, how):
            for attack, found in played(release, how.shadows):
                yield row(release, attack, found)
            took, began = spent() - began, spent()
            fits = took <= 60 * MINUTES
            line = f"{release.name:34}{'processor seconds':48}{took:10.0f}"
            print(f"{line}, bar {60 * MINUTES}  {'met' if fits else 'MISSED'}", flush=True)
            yield fits


def leaked() -> Iterator[bool]:
    """The second table."""
    print(f"\n{'planted leak':50}{'figure':44}{'without':>9}{'with':>9}{'found above':>13}")
    for leak in LEAKS:
        without, planted = leak.measure(False), leak.measure(True)
        found = planted > leak.limit >= without
        print(
            f"{leak.name:50}{leak.figure:44}{without:9.3f}{planted:9.3f}{leak.limit:13.2f}"
            f"  {'found' if found else 'MISSED' if planted <= leak.limit else 'FALSE ALARM'}",
            flush=True,
        )
        yield found


def spent() -> float:
    """Seconds of a processor, of this process and its children."""
    return sum(os.times()[:4])


def main() -> int:
    """0 if all bars are met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--quick", action="store_true", help="4 shadows, fewer patients and steps")
    parser.add_argument("--only", choices=[*RELEASES, "leaks"], default="")
    options = parser.parse_args()
    how = QUICK if options.quick else FULL
    print(f"{how.shadows} shadows, seed {SEED}")
    met: list[bool | None] = []
    if options.only != "leaks":
        met += priced(options.data, how, options.only)
    if options.only in ("", "leaks"):
        met += leaked()
    missed = sum(own is False for own in met)
    said = f"{missed} bars missed" if missed else "no bar missed"
    print(f"\n{said} of {sum(own is not None for own in met)}; {spent():.0f} s of a processor")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
