"""Genotypes against the figures that they are drawn from: frequencies, equilibrium, linkage, odds ratios, carriers.

    python benchmarks/genotypes.py [--cohort NAME] [--patients N]

Draws the profiles of a shipped cohort (cardio_oncology, 20,000 patients) and their genotypes, seed 7. Each diagnosis is
compared within the sex that can have it. Exits 1 where more stated odds ratios lie outside the 95 % intervals, or more
sites out of equilibrium in the unaffected (p < 0.05), than chance allows once in 1,000 runs.
"""

import argparse
import sys

import numpy as np
from scipy import stats

from polyclinic import Population, seed_for
from polyclinic.modalities.genotypes.metrics import (
    carriers,
    expected_r_squared,
    frequency,
    hardy_weinberg,
    odds_ratio,
    r_squared,
)
from polyclinic.modalities.genotypes.model import GenotypeRules
from polyclinic.modalities.genotypes.panel import HEREDITARY, panel


def main() -> int:
    """0 if the figures hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--cohort", default="cardio_oncology")
    parser.add_argument("--patients", type=int, default=20_000)
    options = parser.parse_args()
    made = panel()
    people = tuple(Population.load(options.cohort).draw(options.patients, seed=7))
    seeds = tuple(seed_for(7, p.patient_id, "genotypes") for p in people)
    rules = GenotypeRules()
    alleles = np.stack([rules.alleles(one, seed) for one, seed in zip(people, seeds, strict=True)])
    female = np.array([p.sex == "F" for p in people])
    has = {c: np.array([p.has(c) for p in people]) for c in made.conditions}
    well = ~np.any(list(has.values()), axis=0)

    print(f"{len(people)} patients of {options.cohort}, {int(well.sum())} without any disease of the panel\n")
    errors, unequal, tested = [], 0, 0
    for i, site in enumerate(made.sites):
        if site.chromosome == "Y":
            continue
        errors.append(abs(frequency(alleles[well, i]) - site.frequency))
        if site.frequency > 0.01:
            tested += 1
            unequal += hardy_weinberg(alleles[well, i]) < 0.05
    print("| measure | figure |\n|---|---|")
    print(
        f"| allele frequency in the unaffected, error: mean, largest | {np.mean(errors):.4f}, {max(errors):.4f} |"
    )
    print(f"| Hardy-Weinberg equilibrium in the unaffected, sites with p < 0.05 | {unequal} of {tested} |")
    gaps = []
    for block in made.blocks:
        rows, shares = made.rows[block.name], np.array([h.frequency for h in block.haplotypes])
        for a, one in enumerate(block.sites):
            for b, other in enumerate(block.sites[:a]):
                if block.chromosome != "Y" and min(one.frequency, other.frequency) > 0.003:
                    carry = [
                        np.array([float(s.id in h.carries) for h in block.haplotypes]) for s in (one, other)
                    ]
                    found = r_squared(alleles[well, rows[a]], alleles[well, rows[b]])
                    gaps.append(abs(found - expected_r_squared(shares, *carry)))
    print(
        f"| linkage (r2) of {len(gaps)} pairs, error: mean, largest | {np.mean(gaps):.4f}, {max(gaps):.4f} |"
    )

    print(
        "\n| block | haplotype | diagnosis | stated odds ratio | found (95 %) | holds it |\n|---|---|---|---|---|---|"
    )
    outside = counted = 0
    for block in made.blocks:
        for i, haplotype in enumerate(block.haplotypes):
            for code, (stated, *_) in haplotype.odds_ratio.items():
                able = female if code == "C50.919" else np.ones(len(people), dtype=bool)
                own = alleles[able][:, made.rows[block.name]]
                place = np.array([[block.places[c] for c in zip(*one.tolist(), strict=True)] for one in own])
                calls = np.where(place == i, 1, np.where(place == 0, 0, -1))
                found = odds_ratio(calls, has[code][able])
                holds = found.low <= stated <= found.high
                outside, counted = outside + (not holds), counted + 1
                print(
                    f"| {block.name} | {haplotype.name} | {code} | {stated:.2f} | "
                    f"{found.ratio:.2f} ({found.low:.2f} to {found.high:.2f}) | {'yes' if holds else 'no'} |"
                )
    cancer = has["C50.919"]
    ages = np.array([p.age for p in people], dtype=float)
    basal = np.array([p.traits.get("pam50") == "Basal" for p in people])
    print("\n| women with breast cancer | number | mean age (years) | basal-like |\n|---|---|---|---|")
    rest = cancer.copy()
    for block in made.blocks:
        if block.kind == HEREDITARY:
            with_variant = cancer & carriers([alleles[:, i] for i in made.rows[block.name]])
            rest &= ~with_variant
            print(_group(f"carriers of {block.name}", with_variant, ages, basal))
    print(_group("others", rest, ages, basal))
    limits = [stats.binom.isf(0.0005, n, 0.05) for n in (counted, tested)]
    print(f"\n{outside} of {counted} odds ratios outside (at most {limits[0]:.0f})")
    return int(outside > limits[0] or unequal > limits[1])


def _group(title: str, who: np.ndarray, ages: np.ndarray, basal: np.ndarray) -> str:
    return f"| {title} | {int(who.sum())} | {ages[who].mean():.1f} | {basal[who].mean():.0%} |"


if __name__ == "__main__":
    sys.exit(main())
