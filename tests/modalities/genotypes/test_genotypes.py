"""Genotypes: frequencies, equilibrium, linkage, odds ratios, sex chromosomes, carriers, and what the rules refuse."""

import math
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from polyclinic import Batch, PatientProfile, Record
from polyclinic.core.errors import InputError
from polyclinic.core.types import AnyArray
from polyclinic.modalities.genotypes import Genotypes
from polyclinic.modalities.genotypes.export import LENGTHS
from polyclinic.modalities.genotypes.metrics import (
    carriers,
    expected_r_squared,
    frequency,
    hardy_weinberg,
    odds_ratio,
    r_squared,
)
from polyclinic.modalities.genotypes.model import GenotypeRules
from polyclinic.modalities.genotypes.panel import CHROMOSOMES, Block, Panel, panel
from polyclinic.testing import check_modality

PANEL = panel()
NUMBER = 4000  # of each of affected and unaffected; seeds are fixed, so that chance fails no run
SURE = 0.99999  # of each interval: some hundred are looked at
DISEASES = PANEL.conditions


def draw(profiles: Sequence[PatientProfile], made: Panel = PANEL) -> AnyArray:
    """(patient, site, haplotype)"""
    rules = GenotypeRules(made)
    return np.stack([rules.alleles(profile, seed) for seed, profile in enumerate(profiles)])


def women(
    affected: bool, ages: AnyArray | None = None, basal: AnyArray | None = None
) -> list[PatientProfile]:
    """With all diseases of the panel, or known to have none."""
    known = dict.fromkeys(DISEASES, affected)
    return [
        PatientProfile(
            f"p{i}", sex="F", conditions=known, age=None if ages is None else float(ages[i]),
            traits={} if basal is None else {"pam50": "Basal" if basal[i] else "LumA"},
        )
        for i in range(NUMBER)
    ]  # fmt: skip


@pytest.fixture(scope="module")
def well() -> AnyArray:
    return draw(women(False))


@pytest.fixture(scope="module")
def sick() -> AnyArray:
    return draw(women(True))


def copies(alleles: AnyArray, block: Block) -> AnyArray:
    """(patient, haplotype) places of haplotypes in a block of an autosome or of women's X."""
    own = alleles[:, PANEL.rows[block.name]]
    return np.array([[block.places[tuple(copy)] for copy in zip(*one.tolist(), strict=True)] for one in own])


def test_the_contract(tmp_path: Path) -> None:
    check_modality(Genotypes(), tmp_path)


def test_the_panel_is_sound() -> None:
    lengths = dict(zip(CHROMOSOMES, LENGTHS, strict=True))
    assert len(PANEL.sites) >= 50
    for site in PANEL.sites:
        assert 0 < site.position <= lengths[site.chromosome], site
        assert site.ref != site.alt, site
        assert set(site.ref + site.alt) <= set("ACGT"), site
        assert len(site.ref) == 1 or len(site.alt) == 1 or site.ref[0] == site.alt[0], site
        assert 0 < site.frequency < 1, site
    for block in PANEL.blocks:
        assert sum(h.frequency for h in block.haplotypes) == pytest.approx(1)
        assert len(block.places) == len(block.haplotypes), "two haplotypes carry the same"
        for haplotype in block.haplotypes:
            for ratio, low, high in haplotype.odds_ratio.values():
                assert math.isnan(low) or low < ratio < high


def test_unaffected_people_have_the_stated_frequencies(well: AnyArray) -> None:
    for i, site in enumerate(PANEL.sites):
        if site.chromosome == "Y":
            continue
        assert abs(frequency(well[:, i]) - site.frequency) < 0.05
        count = int(well[:, i].sum())
        assert stats.binomtest(count, 2 * NUMBER, site.frequency).pvalue > 1 - SURE, site


def test_affected_and_unaffected_are_in_equilibrium(well: AnyArray, sick: AnyArray) -> None:
    for group in (well, sick):
        values = [hardy_weinberg(group[:, i]) for i, s in enumerate(PANEL.sites) if s.chromosome != "Y"]
        assert min(values) > 1 - SURE
        assert np.mean(np.array(values) < 0.05) < 0.2
    inbred = np.repeat(well[:, :, :1], 2, axis=2)  # the same haplotype twice
    assert min(hardy_weinberg(inbred[:, i]) for i in range(len(PANEL.sites))) < 1e-12


@given(st.integers(0, 12), st.integers(0, 12), st.integers(0, 12))
def test_the_exact_test_agrees_with_counting_every_pairing(none: int, one: int, two: int) -> None:
    calls = np.array([[0, 0]] * none + [[0, 1]] * one + [[1, 1]] * two).reshape(-1, 2)
    total, rare = none + one + two, one + 2 * two
    ways = {  # heterozygous patients -> share of all orders of the alleles
        h: math.comb(total, h) * math.comb(total - h, (rare - h) // 2) * 2**h
        for h in range(min(rare, 2 * total - rare) + 1)
        if (rare - h) % 2 == 0
    }
    expected = sum(w for w in ways.values() if w <= ways[one]) / sum(ways.values()) if total else 1.0
    assert hardy_weinberg(calls) == pytest.approx(expected)


def test_alleles_of_a_block_stand_together_and_blocks_apart(well: AnyArray) -> None:
    place = {site.id: i for i, site in enumerate(PANEL.sites)}
    pairs = 0
    for block in PANEL.blocks:
        shares = np.array([h.frequency for h in block.haplotypes])
        for a, b in product(block.sites, block.sites):
            if a.id >= b.id or block.chromosome == "Y" or min(a.frequency, b.frequency) < 0.003:
                continue
            carry = [np.array([float(s.id in h.carries) for h in block.haplotypes]) for s in (a, b)]
            found = r_squared(well[:, place[a.id]], well[:, place[b.id]])
            assert found == pytest.approx(expected_r_squared(shares, *carry), abs=0.06), (a.id, b.id)
            pairs += 1
    assert pairs >= 6
    assert r_squared(well[:, place["rs12769205"]], well[:, place["rs4244285"]]) == pytest.approx(1)
    assert r_squared(well[:, place["rs12248560"]], well[:, place["rs1799853"]]) < 0.01


def test_odds_ratios_are_recovered_where_a_cohort_has_any_share_of_affected(
    well: AnyArray, sick: AnyArray
) -> None:
    affected = np.arange(NUMBER + NUMBER // 2) < NUMBER
    apart = 0
    for block in PANEL.blocks:
        if not any(h.odds_ratio for h in block.haplotypes):
            continue
        drawn = np.concatenate([copies(sick, block), copies(well[: NUMBER // 2], block)])
        for i, haplotype in enumerate(block.haplotypes[1:], 1):
            calls = np.where(drawn == i, 1, np.where(drawn == 0, 0, -1))
            (stated, *_), *others = haplotype.odds_ratio.values()
            assert not others
            found = odds_ratio(calls, affected, SURE)
            assert found.low <= stated <= found.high, (block.name, haplotype.name, stated, found)
            apart += not found.low <= 1 <= found.high
    assert apart >= 3  # the intervals are narrow enough to tell


def test_a_condition_that_is_not_known_moves_nothing() -> None:
    nobody = [PatientProfile(f"p{i}", sex="F") for i in range(50)]
    without = [PatientProfile(f"p{i}", sex="F", conditions=dict.fromkeys(DISEASES, False)) for i in range(50)]
    assert np.array_equal(draw(nobody), draw(without))


def test_polygenic_scores_are_higher_in_the_affected_of_that_disease_alone() -> None:
    one = DISEASES[0]
    batch = [PatientProfile(f"p{i}", sex="F", conditions={one: i % 2 == 0}) for i in range(NUMBER)]
    rules = GenotypeRules()
    records = rules.sample(Batch(tuple(batch), np.zeros((NUMBER, 0), np.float32), tuple(range(NUMBER))))
    scores = {c: np.array([r.facts["polygenic"][c] for r in records]) for c in DISEASES}
    affected = np.arange(NUMBER) % 2 == 0
    for code, values in scores.items():
        gap = values[affected].mean() - values[~affected].mean()
        assert abs(values[~affected].mean()) < 0.1
        assert values[~affected].std() == pytest.approx(1, abs=0.1)
        assert gap > 0.15 if code == one else abs(gap) < 0.15, code


def test_men_have_one_x_and_one_y_women_no_y_and_unknown_is_not_called() -> None:
    for sex, x, y in (("M", 1, 1), ("F", 2, 0), (None, 0, 0)):
        alleles = draw([PatientProfile(f"p{i}", sex=sex) for i in range(300)])
        assert ((alleles[:, PANEL.on["X"]] >= 0).sum(axis=2) == x).all()
        assert ((alleles[:, PANEL.on["Y"]] >= 0).sum(axis=2) == y).all()
        others = [i for i, s in enumerate(PANEL.sites) if s.chromosome not in "XY"]
        assert (alleles[:, others] >= 0).all()
        if sex == "M":
            share = frequency(alleles[:, PANEL.on["X"][0]])
            assert share == pytest.approx(PANEL.sites[PANEL.on["X"][0]].frequency, abs=0.1)
            assert alleles[:, PANEL.on["Y"], 0].sum(axis=1).max() == 1  # of one line of descent


def test_carriers_of_brca_have_more_earlier_and_more_basal_like_breast_cancer() -> None:
    rng = np.random.default_rng(5)
    ages = rng.normal(62, 13, NUMBER).clip(25, 95)
    basal = rng.random(NUMBER) < 0.15
    sick, well = draw(women(True, ages, basal)), draw(women(False, ages))
    for gene, ratio in (("BRCA1", 10.57), ("BRCA2", 5.85)):
        rows = PANEL.rows[gene]
        with_variant = carriers([sick[:, i] for i in rows])
        calls = np.concatenate([sick[:, rows].max(axis=1), well[:, rows].max(axis=1)])
        found = odds_ratio(calls, np.arange(2 * NUMBER) < NUMBER, 0.9999)
        assert found.low < ratio < found.high
        assert found.low > 1
        young, old = ages < 50, ages > 70
        assert with_variant[young].mean() > 1.5 * with_variant[old].mean()
        assert ages[with_variant].mean() < ages[~with_variant].mean() - 3
    first = carriers([sick[:, i] for i in PANEL.rows["BRCA1"]])
    assert basal[first].mean() > 3 * basal[~first].mean()


def test_facts_name_star_alleles_and_what_they_mean() -> None:
    rules = GenotypeRules()
    people = tuple(PatientProfile(f"p{i}", sex="M") for i in range(400))
    records = rules.sample(Batch(people, np.zeros((400, 0), np.float32), tuple(range(400))))
    seen = {(r.facts["diplotypes"]["CYP2C19"], r.facts["phenotypes"]["CYP2C19"]) for r in records}
    known = {
        "*1/*1": "normal metabolizer", "*1/*2": "intermediate metabolizer", "*2/*2": "poor metabolizer",
        "*1/*17": "rapid metabolizer", "*17/*17": "ultrarapid metabolizer", "*2/*17": "intermediate metabolizer",
    }  # fmt: skip
    assert set(known.items()) <= seen
    assert {r.facts["karyotype"] for r in records} == {"XY"}


def test_rules_see_an_impossible_haplotype_and_a_y_beside_two_x() -> None:
    alleles = draw([PatientProfile("p", sex="M")])[0]
    modality = Genotypes()
    assert modality.breaches(Record({"alleles": alleles})) == []
    wrong = alleles.copy()
    wrong[PANEL.on["X"], 1] = 0
    wrong[PANEL.rows["APOE"]] = 1  # e2 and e4 on one haplotype
    assert [rule for rule, _ in modality.breaches(Record({"alleles": wrong}))] == ["karyotype", "haplotypes"]
    assert {"karyotype", "haplotypes"} == set(modality.rule_names())


def test_nothing_is_trained_or_read_from_real_people() -> None:
    with pytest.raises(InputError, match="nothing to train"):
        Genotypes().train([], None, {}, None, None)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="format"):
        Genotypes({"format": "plink"})
