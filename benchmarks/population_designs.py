"""How cohort designs keep their word, for population.py: a rare condition against rejection, joint shares."""

import time

import numpy as np

from polyclinic.conditioning.design.cohort_config import CohortConfig
from polyclinic.conditioning.design.design import CANDIDATES
from polyclinic.conditioning.population import Population
from polyclinic.core.config import load, parse


def judged(row: dict[str, float], bars: dict[str, tuple[float, str]]) -> int:
    """Each bar with its verdict; how many fell short."""
    missed = 0
    for name, (bar, way) in bars.items():
        good = row[name] <= bar if way == "at most" else row[name] >= bar
        missed += not good
        print(f"  {name:32}{row[name]:>12.4f}  {way} {bar:g}  {'met' if good else 'MISSED'}")
    return missed


def rare(quick: bool) -> int:
    """200 patients with a condition of 0.5 % prevalence, by design and by drawing until enough have it."""
    ward, _ = load(CohortConfig, "general_ward", "cohort")
    pneumothorax = ward.conditions["J93.9"].model_copy(update={"share": 0.005})
    ward = ward.model_copy(update={"conditions": {**ward.conditions, "J93.9": pneumothorax}})
    everybody = Population(ward)
    began = time.process_time()
    meant = Population(ward.model_copy(update={"include": {"J93.9": True}}))
    cohort = list(meant.draw(200, 1))
    designed = time.process_time() - began
    began, found, drawn = time.process_time(), [], 0
    while len(found) < (100 if quick else 400):
        patient = everybody.patient(drawn, 2)
        drawn += 1
        if patient.has("J93.9"):
            found.append(patient)
    rejected = (time.process_time() - began) * 200 / len(found)
    print(
        f"\n200 patients with a condition of {len(found) / drawn:.2%} (J93.9 in general_ward), "
        f"{len(found)} found by rejection"
    )
    _print_summary(meant, 200)
    compared = list(meant.draw(1000, 3))
    gaps = []
    for name in (
        "age",
        "sex",
        "I10",
        "I50.9",
        "J43.9",
        "J90",
        "A41.9",
        "heart_rate",
        "oxygen_saturation",
        "chest_view",
    ):
        one, other = ([_number(p.get(name)) for p in who] for who in (compared, found))
        error = np.sqrt(np.var(one) / len(one) + np.var(other) / len(other))
        gaps.append(abs(np.mean(one) - np.mean(other)) / error)
        print(
            f"  {name:32}{np.mean(one):>12.3f}{np.mean(other):>12.3f}  {gaps[-1]:.1f} standard errors apart"
        )
    figures = {"times faster than rejection": rejected / designed, "largest gap, standard errors": float(max(gaps)),
               "share who have it": float(np.mean([p.has("J93.9") for p in cohort]))}  # fmt: skip
    bars = {"times faster than rejection": (20.0, "at least"), "largest gap, standard errors": (3.5, "at most"),
            "share who have it": (1.0, "at least")}  # fmt: skip
    return judged(figures, bars)


def _print_summary(meant: Population, patients: int) -> None:
    for part in meant.summary:
        print(
            f"  {part.share:.1%} of the cohort: {part.title}; {part.prevalence:.3g} of all patients, "
            f"{part.effective:.0f} of {CANDIDATES} candidates effective"
        )
    print(
        f"  effective sample size for the whole population: {meant.effective_share * patients:.0f} of {patients}"
    )


def _number(value: object) -> float:
    return float(value in ("F", "AP", True)) if isinstance(value, str | bool) else float(str(value))


def joint() -> int:
    """Age by sex by condition as asked, and the rest of each stratum as it is in the population."""
    ward, _ = load(CohortConfig, "general_ward", "cohort")
    strata = [
        {"share": 0.25, "who": {"sex": sex, "age": age, "I50.9": True}}
        for sex in ("F", "M") for age in ([18, 60], [60, 98])
    ]  # fmt: skip
    config = parse(
        CohortConfig, {**ward.model_dump(mode="json", exclude_none=True), "strata": strata}, "joint"
    )
    meant = Population(config)
    cohort = list(meant.draw(2000, 1))
    print("\nfour strata of 25 %: heart failure by sex by age under and over 60, 2,000 patients")
    _print_summary(meant, 2000)
    shares = []
    for stratum in config.strata:
        (low, high), sex = stratum.who["age"], stratum.who["sex"]
        shares.append(
            np.mean([p.sex == sex and low <= (p.age or 0) <= high and p.has("I50.9") for p in cohort])
        )
    gap = float(max(abs(share - 0.25) for share in shares))
    return judged({"largest gap to a share asked": gap}, {"largest gap to a share asked": (0.03, "at most")})
