"""Attacks on what ships, on generators of known faults and on peers; shadow models; audits of the private trainers.

    python benchmarks/research/privacy.py [--data DIR] [--quick] [--only attacks|peers|lira|audit]
        [--kind ecg] [--write]

First table: `polyclinic evaluate`'s own attacks on cohorts of our weights (profiles of the shipped populations,
never of real patients), on a Gaussian copula of the training rows, on a copier that moves each training row a little
towards its neighbour, on our cohort with a tenth of training rows copied in, on the training rows themselves, and on
noise. Members are training rows, controls test rows. Floors: the range that an AUC has by chance, and noise, which
knows nobody and shows how far training and test patients differ as groups. Bars: the range of the highest attack,
widened for having been chosen, must reach down to 0.50 for private and 0.55 for public weights, or to the highest
attack on noise; no exact copy, near ones no more than twice those of controls; copies must be found: the copier
and the training rows with a range above 0.50, nine of ten rows that were copied in. The bar of noise was added when
the children's X-rays, whose test set is the publisher's own, missed 0.50 and noise missed it as far.
Peers: the same attacks, and the same scores, on a copula, a copier, tsgm and NeuroKit2; reported.
LiRA: shadow models (16, quick 8) of the generators that train in seconds. Bars: the copier is found (range above
0.50); what was learnt under a budget of epsilon 1 is not.
Audits: one-run audits of the recipes of the shipped private weights and of the other private trainers, with
canaries in place of patients. Bars: the lower bound stays under the claim, and the ceiling, which is the bound
if all guesses were right, is above zero. --write keeps those of shipped weights beside them. Exits 1 if a bar falls
short.
"""

import _benchmarks  # noqa: F401

# isort: split
import argparse
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from privacy_arms import (
    COPIED,
    Real,
    faulty,
    first_rows,
    noise,
    real_views,
    shipped,
)
from privacy_gaussian import gaussian_bound, gaussian_ceiling
from privacy_peers import HEAD as PEERS_HEAD
from privacy_peers import compared, peers
from privacy_shadows import SHADOWS, Shadowed, lira, planted, too_long, trained
from privacy_trainers import CoarseMoments, MorphologyMoments, OmicsMoments, PrivateSteps, TableModelOf

from polyclinic import load_modality
from polyclinic.app.training import references
from polyclinic.conditioning.dataset.dataset import read_training_set
from polyclinic.core.config import TrainConfig, load
from polyclinic.core.dp.budget import Budget
from polyclinic.core.modality import TrainingSet
from polyclinic.core.training.weights import Card, available, read_card
from polyclinic.eval.attacks import audit_record as on_file
from polyclinic.eval.attacks.attack import attack
from polyclinic.eval.attacks.privacy_audit import audit
from polyclinic.modalities.omics.private import noise_of

PATIENTS, QUICK = 600, 250
PUBLIC, PRIVATE = 0.55, 0.50
FOUND = 0.9
KINDS = ("adults", "children", "ecg", "vitals", "tumours")

Pair = tuple[TrainingSet, TrainingSet]
# modality, kind of record, weights ("": those in force), whether private
OURS = (
    ("imaging", "adults", "", False),
    ("imaging", "children", "imaging_private", True),
    ("signals", "ecg", "", False),
    ("signals", "vitals", "", False),
    ("omics", "tumours", "", False),
    ("omics", "tumours", "omics_private", True),
    ("omics", "tumours", "omics_private1", True),
)
HEAD = (
    f"{'record':24}{'cohort':22}{'highest attack':42}{'AUC':>6}{'range':>14}{'by chance':>14}"
    f"{'exact':>7}{'near':>6}{'of':>6}"
)


def pair_of(data: Path, modality: str, kind: str) -> Pair:
    """The real sets that these weights learnt from."""
    if kind == "children":
        config, _ = load(TrainConfig, "imaging_private", "train")
        train, test = (read_training_set(config.datasets[0], data, split) for split in ("train", "test"))
        return train, test
    pairs = references(data)[modality]
    return next((pair for pair in pairs if pair[0].options.get("kind") in (None, kind)), pairs[0])


def row(real: Real, name: str, synthetic: Any, bar: str, limit: float = 0.5) -> tuple[bool | None, float]:
    """Print one arm; whether its bar is met, None if it has none, and the AUC of the highest attack."""
    found = attack({real.modality: [real.against(synthetic)]})
    top, (copied,) = found.strongest, found.memorization
    assert top is not None
    assert top.auc is not None
    assert top.interval is not None
    assert top.chance_interval is not None
    low = top.interval[0]
    met = {
        "ours": low <= limit and copied.exact == 0 and copied.near <= 2 * copied.expected,
        "found": low > limit,
        "copies": copied.exact >= FOUND * COPIED * copied.records,
        "": None,
    }[bar]
    title = top.title.partition(": ")[2]
    print(
        f"{real.view.title[:23]:24}{name:22}{title[:41]:42}{top.auc:6.3f}{_range(top.interval):>14}"
        f"{_range(top.chance_interval):>14}{copied.exact:7}{copied.near:6}{copied.records:6}"
        f"  {'reported' if met is None else 'met' if met else 'MISSED'}",
        flush=True,
    )
    return met, top.auc


def _range(ends: tuple[float, float]) -> str:
    return f"{ends[0]:.2f} to {ends[1]:.2f}"


def attacked(data: Path, quick: bool, only: str) -> Iterator[bool | None]:
    """The first table."""
    size = QUICK if quick else PATIENTS
    print(HEAD)
    before: tuple[str, str] | None = None
    floors: dict[str, float] = {}  # by view
    for name, kind, weights, private in OURS:
        if only not in ("", kind):
            continue
        modality = load_modality(name)
        if before != (name, kind):
            views = list(real_views(modality, pair_of(data, name, kind)))
        for real in views:
            ours = shipped(modality, real.view, kind, weights, size, seed=5)
            new = before != (name, kind)
            if new:
                _, floors[real.view.name] = row(real, "noise", noise(real, ours, 6), "")
            limit = max(PRIVATE if private else PUBLIC, floors[real.view.name])
            yield row(real, f"ours, {weights or 'public'}", ours, "ours", limit)[0]
            if new:
                bars = {"neighbour copier": "found", "10% copied in": "copies", "training rows": "found"}
                for arm, make in faulty(real, ours, seed=6).items():
                    yield row(real, arm, make(), bars.get(arm, ""))[0]
        before = (name, kind)


def beside_peers(data: Path, quick: bool, only: str) -> None:
    """The same attacks and scores on peers."""
    print(f"\n{PEERS_HEAD}")
    for name, kind, weights in dict.fromkeys(own[:3] for own in OURS if not own[3] or own[1] == "children"):
        if only not in ("", kind):
            continue
        modality, pair = load_modality(name), pair_of(data, name, kind)
        for real in real_views(modality, pair):
            ours = shipped(modality, real.view, kind, weights, QUICK if quick else PATIENTS, seed=5)
            compared(real, "ours", ours)
            for peer, make in peers(real, modality, pair[0], ours, quick):
                compared(real, peer, make if isinstance(make, str) else make())
            compared(real, "noise", noise(real, ours, 6))


def shadowed(data: Path, quick: bool, only: str) -> Iterator[bool | None]:
    """Shadow models: the copula and the copier on each kind of record, then our own trainers."""
    print(f"\n{'LiRA':46}{'patients':>9}{'AUC':>7}{'range':>14}{'by chance':>14}{'at 1 % false alarms':>21}")
    for name, kind, _, private in OURS:
        if not private and only in ("", kind):
            modality = load_modality(name)
            for real in real_views(modality, pair_of(data, name, kind)):
                for target in planted(kind, first_rows(real, QUICK if quick else PATIENTS)):
                    yield _lira(target, quick, "found" if "copier" in target.name else "")
    for target in trained(data, only):
        yield _lira(target, quick, "hidden" if target.name.endswith("epsilon 1") else "")
    for line in too_long() if not only else ():
        print(line)


def _lira(target: Shadowed, quick: bool, bar: str) -> bool | None:
    found = lira(target, SHADOWS[quick], 7)
    assert found.auc is not None
    assert found.interval is not None
    assert found.chance_interval is not None
    met = {"found": found.interval[0] > 0.5, "hidden": found.interval[0] <= 0.5, "": None}[bar]
    caught = "not measured" if found.tpr_at_1_fpr is None else f"{found.tpr_at_1_fpr:.1%}"
    print(
        f"{target.name:46}{len(target.rows):9}{found.auc:7.3f}{_range(found.interval):>14}{_range(found.chance_interval):>14}"
        f"{caught:>21}  {'reported' if met is None else 'met' if met else 'MISSED'}",
        flush=True,
    )
    return met


def audited(quick: bool, write: bool, only: str) -> Iterator[bool | None]:
    """The last table."""
    print(
        f"\n{'trainer':36}{'claimed':>9}{'canaries':>10}{'guesses':>9}{'right':>7}{'bound':>8}{'ceiling':>9}"
        f"{'Gaussian':>10}{'ceiling':>9}"
    )
    for name, trainer, budget, runs in trainers(quick, only):
        found = audit(trainer.train, trainer.canaries(), trainer.score, budget, runs=runs, seed=8)
        met = not found.refuted and found.ceiling > 0
        print(
            f"{name:36}{budget.epsilon:9.2f}{found.canaries:10}{found.guesses:9}{found.right:7}"
            f"{found.lower_bound:8.2f}{found.ceiling:9.2f}{gaussian_bound(found):10.2f}{gaussian_ceiling(found):9.2f}"
            f"  {'met' if met else 'MISSED'}",
            flush=True,
        )
        if write and (weights := name.partition("recipe of ")[2]) in available():
            on_file.write(
                found,
                available()[weights],
                f"{type(trainer).__name__} of benchmarks/research/privacy_trainers.py",
            )
        yield met


def trainers(quick: bool, only: str) -> Iterator[tuple[str, Any, Budget, int]]:
    """Each private trainer, the claim it is held to, and how often it is run."""
    often = 1 if quick else 4
    for weights, path in sorted(available().items()):
        card = read_card(path)
        if card.epsilon is None or card.delta is None:
            continue
        budget, (make, runs) = Budget(card.epsilon, card.delta), RECIPES[weights]
        if only in ("", weights):
            yield f"recipe of {weights}", make(budget, card), budget, runs * often
    if only:
        return
    between = Budget(3.0, 1e-4)
    yield "omics moments, epsilon 3", OmicsMoments(between, detail=True), between, 20 * often
    for epsilon in (10.0, 1.0):
        budget = Budget(epsilon, 1e-5)
        yield "profiles: graphical model", TableModelOf(budget), budget, 5 * often
        steps = PrivateSteps.under(budget, 1000)
        yield "DP-SGD, 20 steps, rate 0.3", steps, budget, often
        yield "ECGs: moments of morphology", MorphologyMoments(budget), budget, 20 * often


def _images(budget: Budget, card: Card) -> CoarseMoments:
    return CoarseMoments(budget)


def _omics(budget: Budget, card: Card) -> OmicsMoments:
    return OmicsMoments(budget, noise_of(budget, _patients(card))[0])


def _vitals(budget: Budget, card: Card) -> PrivateSteps:
    """The card's steps; the share of patients a step is that of the training YAML."""
    how = load(TrainConfig, "vitals_private", "train")[0].model["training"]
    return PrivateSteps.under(budget, 1000, card.steps, how["patients_per_step"] / _patients(card))


def _patients(card: Card) -> int:
    return next(used.patients for used in card.data if used.patients)


# trainer of each shipped private weight file, and how often it is run; one that is not here has no audit
RECIPES: dict[str, tuple[Callable[[Budget, Card], Any], int]] = {
    "imaging_private": (_images, 50),
    "imaging_private1": (_images, 50),
    "omics_private": (_omics, 20),
    "omics_private1": (_omics, 20),
    "vitals_private": (_vitals, 1),
    "vitals_private1": (_vitals, 1),
}


def main() -> int:
    """0 if all bars are met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} patients a cohort, fewer canaries")
    parser.add_argument("--only", choices=["attacks", "peers", "lira", "audit"], default="")
    parser.add_argument(
        "--kind", choices=[*KINDS, "profiles"], default="", help="one kind of record, no audits"
    )
    parser.add_argument(
        "--weights", choices=[*RECIPES], default="", help="the audit of one shipped file alone"
    )
    parser.add_argument("--write", action="store_true", help="keep audits of shipped weights beside them")
    options = parser.parse_args()
    began = time.monotonic()
    met: list[bool | None] = []
    if options.only in ("", "attacks"):
        met += attacked(options.data, options.quick, options.kind)
    if options.only in ("", "peers"):
        beside_peers(options.data, options.quick, options.kind)
    if options.only in ("", "lira"):
        met += shadowed(options.data, options.quick, options.kind)
    if options.only in ("", "audit") and not options.kind:
        met += audited(options.quick, options.write, options.weights)
    missed = sum(own is False for own in met)
    print(
        f"\n{np.sum([own is not None for own in met])} bars, {missed} missed, {time.monotonic() - began:.0f} s"
    )
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
