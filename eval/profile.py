"""Evaluation profile: how many patients are evaluated and how often a figure is resampled; full, or quick."""

from dataclasses import dataclass


@dataclass(frozen=True)
class EvaluationProfile:
    """patients: of the cohort that are looked at, all if None; real_patients: of a reference's split that are read.

    real_baselines, bootstraps: draws of a figure.
    heavy: whether figures that take seconds each are measured; slow_draws: how often those are drawn anew.
    """

    name: str
    patients: int | None
    real_patients: int
    real_baselines: int
    bootstraps: int
    slow_draws: int
    heavy: bool


FULL = EvaluationProfile("full", None, 1000, 40, 60, 12, True)
QUICK = EvaluationProfile("quick", 40, 200, 12, 12, 0, False)
