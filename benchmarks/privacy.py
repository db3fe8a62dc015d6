"""Attacks on what ships and on generators of known faults; and audits of the private trainers.

    python benchmarks/privacy.py [--data DIR] [--quick] [--only omics]

First table: `polyclinic evaluate`'s own attacks on cohorts of our weights (profiles of the shipped populations,
never of real patients), on a Gaussian copula of the training rows, on a copier that moves each training row a little
towards its neighbour, on our cohort with a tenth of training rows copied in, on the training rows themselves, and on
noise. Members are training rows, controls test rows. Floors: the range that an AUC has by chance, and noise, which
knows nobody and shows how far training and test patients differ as groups. Bars: the range of the highest attack,
widened for having been chosen, must reach down to 0.50 for private and 0.55 for public weights, or to the highest
attack on noise; no exact copy, near ones no more than twice those of controls; copies must be found: the copier
and the training rows with a range above 0.50, nine of ten rows that were copied in. The bar of noise was added when
the children's X-rays, whose test set is the publisher's own, missed 0.50 and noise missed it as far.
LiRA: shadow models (16, quick 8) of the copula and the copier, reported.
Second table: one-run audits of the recipes of the shipped private weights and of the other private trainers, with
canaries in place of patients. Bars: the lower bound stays under the claim, and the ceiling, which is the bound
if all guesses were right, is above zero. Exits 1 if a bar falls short.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from privacy_arms import (
    COPIED,
    Real,
    copier,
    copula,
    faulty,
    first_rows,
    noise,
    real_views,
    shadow_auc,
    shipped,
)
from privacy_trainers import CoarseMoments, OmicsMoments, PrivateSteps, TableModelOf

from polyclinic import load_modality
from polyclinic.app.training import references
from polyclinic.conditioning.dataset import read_training_set
from polyclinic.core.config import TrainConfig, load
from polyclinic.core.modality import TrainingSet
from polyclinic.core.privacy import Budget
from polyclinic.core.weights import find, read_card
from polyclinic.eval.attacks import attack
from polyclinic.eval.audit import audit
from polyclinic.eval.exposure import outscored
from polyclinic.modalities.omics.private import noise_of

PATIENTS, QUICK = 600, 250
PUBLIC, PRIVATE = 0.55, 0.50
FOUND = 0.9
SHADOWS = (16, 8)

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
    top, (copied,) = found.worst, found.copies
    assert top is not None
    assert top.auc is not None
    assert top.interval is not None
    assert top.floor is not None
    low = top.interval[0]
    met = {
        "ours": low <= limit and copied.exact == 0 and copied.near <= 2 * copied.expected,
        "found": low > limit,
        "copies": copied.exact >= FOUND * COPIED * copied.of,
        "": None,
    }[bar]
    title = top.title.partition(": ")[2]
    print(
        f"{real.view.title[:23]:24}{name:22}{title[:41]:42}{top.auc:6.3f}{_range(top.interval):>14}"
        f"{_range(top.floor):>14}{copied.exact:7}{copied.near:6}{copied.of:6}"
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
        if only not in ("", name):
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
                shadowed(real, quick)
        before = (name, kind)


def shadowed(real: Real, quick: bool) -> None:
    """Reported: shadow models of the two generators that learn in no time."""
    pool = first_rows(real, QUICK if quick else PATIENTS)
    for name, make in (
        ("plain copula", lambda own, rng: copula(own, len(own), rng)),
        ("neighbour copier", lambda own, rng: copier(own, rng.integers(len(own), size=len(own)), rng)),
    ):
        scores, seen = shadow_auc(pool, make, SHADOWS[quick], 7)
        value = outscored(scores[seen], scores[~seen])
        print(
            f"{real.view.title[:23]:24}{name:22}{'LiRA, ' + str(SHADOWS[quick]) + ' shadow models':42}{value:6.3f}",
            flush=True,
        )


def audited(quick: bool) -> Iterator[bool | None]:
    """The second table."""
    print(
        f"\n{'trainer':36}{'claimed':>9}{'canaries':>10}{'guesses':>9}{'right':>7}{'bound':>8}{'ceiling':>9}"
        f"{'Gaussian':>10}{'ceiling':>9}"
    )
    for name, trainer, budget, runs in trainers(quick):
        found = audit(trainer.train, trainer.canaries(), trainer.score, budget, runs=runs, seed=8)
        met = not found.refuted and found.ceiling > 0
        print(
            f"{name:36}{budget.epsilon:9.2f}{found.canaries:10}{found.guesses:9}{found.right:7}"
            f"{found.lower_bound:8.2f}{found.ceiling:9.2f}{found.gaussian_bound:10.2f}{found.gaussian_ceiling:9.2f}"
            f"  {'met' if met else 'MISSED'}",
            flush=True,
        )
        yield met


def trainers(quick: bool) -> Iterator[tuple[str, Any, Budget, int]]:
    """Each private trainer, the claim it is held to, and how often it is run."""
    often = 1 if quick else 4
    for weights, make, runs in (
        ("imaging_private", CoarseMoments, 50),
        ("omics_private", _omics, 20),
        ("omics_private1", _omics, 20),
    ):
        card = read_card(find(weights))
        assert card.epsilon is not None
        assert card.delta is not None
        budget = Budget(card.epsilon, card.delta)
        yield f"recipe of {weights}", make(budget), budget, runs * often
    between = Budget(3.0, 1e-4)
    yield "recipe of omics_private, epsilon 3", _omics(between), between, 20 * often
    for epsilon in (10.0, 1.0):
        budget = Budget(epsilon, 1e-5)
        yield "profiles: graphical model", TableModelOf(budget), budget, 5 * often
        steps = PrivateSteps.under(budget, 1000)
        yield "DP-SGD, 20 steps, rate 0.3", steps, budget, often


def _omics(budget: Budget) -> OmicsMoments:
    patients = next(d.patients for d in read_card(find("omics_private")).data if d.patients)
    return OmicsMoments(budget, noise_of(budget, patients)[0])


def main() -> int:
    """0 if all bars are met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} patients a cohort, fewer canaries")
    parser.add_argument("--only", default="", help="one modality, without the audits; or `audit`")
    options = parser.parse_args()
    began = time.monotonic()
    met: list[bool | None] = []
    if options.only != "audit":
        met += attacked(options.data, options.quick, options.only)
    if options.only in ("", "audit"):
        met += audited(options.quick)
    missed = sum(own is False for own in met)
    print(
        f"\n{np.sum([own is not None for own in met])} bars, {missed} missed, {time.monotonic() - began:.0f} s"
    )
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
