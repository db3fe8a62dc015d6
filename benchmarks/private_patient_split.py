"""How a budget is split between modalities, by a rule, on a public world of other patients."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from private_patient_measures import TASK, Judge, auroc, taught
from private_patient_recipe import (
    LEARN,
    MODALITIES,
    Hospital,
    Released,
    drawn,
    drawn_table,
    parts_of,
    public_hearts,
)
from private_patient_world import Patients, World

from polyclinic.core.dp.budget import Budget

TRIED = (0.05, 0.1, 0.2, 0.4)
RUNS = 3
PROFILE = 5  # times that the profile's shortfall counts: every record is drawn from its profile
SHIFT = 0.3  # standard deviations that a hospital's devices move images and ECGs
PARTS = 20  # twentieths of the budget


def split(world: World, seed: int, count: int, folder: Path, whole: Budget) -> dict[str, float]:
    """Shares by modality, chosen on this world; each is tried on its own, with true profiles."""
    folder.mkdir(parents=True, exist_ok=True)
    people, judging, test = (world.patients(count, 100 * seed + k, f"{k}-", SHIFT) for k in range(3))
    hearts, judge = public_hearts(world, 100 * seed + 9), Judge.of(judging)
    curves: dict[str, list[float]] = {}
    for name in MODALITIES:
        truth = judge.recovery(test, name)
        best = auroc(taught(people, name, TASK), test, name, TASK)
        curves[name] = []
        for share in TRIED:
            budgets = parts_of(whole, {name: share, "others": 1 - share})
            errors = []
            for run in range(RUNS):
                own = folder / f"{name} {share} {run}"
                own.mkdir()
                hospital = Hospital(world, hearts, own, {name: budgets[name]}, whole)
                synthetic = alone(name, LEARN[name](hospital, people), people, run)
                found = judge.recovery(synthetic, name)
                lost = max(0.0, best - auroc(taught(synthetic, name, TASK), test, name, TASK))
                errors += [*(found[label] - truth[label] for label in truth), lost]
            curves[name].append(float(np.sqrt(np.mean(np.square(errors)))))
    return least(curves)


def alone(name: str, model: object, people: Patients, seed: int) -> Patients:
    """Patients of one modality's model, with true profiles; of profiles, drawn ones."""
    if name == "profile":
        rows = drawn_table(model, len(people), seed)  # type: ignore[arg-type]
        return replace(people, table=rows)
    return drawn(Released(**{**dict.fromkeys(MODALITIES), name: model}), people.table, seed, (name,))  # type: ignore[arg-type]


def least(curves: Mapping[str, list[float]]) -> dict[str, float]:
    """The shares, in twentieths, of which the sum of squared shortfalls is least; the profile's counts PROFILE times.

    A curve (one number a share of TRIED) is made to fall, and interpolated between the logs of the shares.
    """
    falling = {name: np.minimum.accumulate(own) for name, own in curves.items()}
    at = np.log(np.arange(1, PARTS + 1) / PARTS)
    cost = [
        np.square(np.interp(at, np.log(TRIED), own)) * (PROFILE if name == "profile" else 1)
        for name, own in falling.items()
    ]

    def shortfall(own: tuple[int, ...]) -> float:
        even = 1e-9 * float(np.square(own).sum())  # where nothing is gained, parts are even
        return even + float(sum(c[k - 1] for c, k in zip(cost, own, strict=True)))

    best = min(parts(PARTS, len(cost)), key=shortfall)
    return {name: k / PARTS for name, k in zip(curves, best, strict=True)}


def parts(whole: int, number: int) -> Iterator[tuple[int, ...]]:
    """Every way to cut a whole into so many parts of 1 and more."""
    if number == 1:
        yield (whole,)
        return
    for first in range(1, whole - number + 2):
        for rest in parts(whole - first, number - 1):
            yield (first, *rest)
