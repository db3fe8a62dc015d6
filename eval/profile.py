"""Effort: how much of a cohort is looked at and how often a figure is drawn anew; all of it, or a quick look."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Effort:
    """patients: of the cohort that are looked at, all if None; real_patients: of a reference's split that are read.

    floors, bootstraps: draws of a figure.
    heavy: whether figures that take seconds each are measured; slow_draws: how often those are drawn anew.
    """

    name: str
    patients: int | None
    real_patients: int
    floors: int
    bootstraps: int
    slow_draws: int
    heavy: bool


FULL = Effort("full", None, 1000, 40, 60, 12, True)
QUICK = Effort("quick", 40, 200, 12, 12, 0, False)
