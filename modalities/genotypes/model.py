"""Draws genotypes given the profile: haplotypes by their frequencies, tilted by the odds ratios of the diagnoses.

Under a log-additive model, with OR the odds ratio of a copy and Hardy-Weinberg proportions in the unaffected, Bayes'
theorem gives the two haplotypes of an affected person independently of each other, with weights frequency x OR. So the
odds ratio in a cohort is the stated one whatever its case mix, and affected and unaffected each are in equilibrium.
"""

import math

import numpy as np

from ...core.fields import BREAST_CANCER
from ...core.modality import Batch, Record
from ...core.profile import PatientProfile
from ...core.types import AnyArray, FloatArray
from .interpretation import facts_of
from .panel import Block, Panel, panel

ABSENT = -1  # no second haplotype, or no call
DIAGNOSED = (
    62.0,
    13.0,
)  # mean and spread of age (years) at which breast cancer is seen: cardio_oncology.yaml, near SEER's
BASAL_SHARE = 0.15  # of all breast tumours; cardio_oncology.yaml
YOUNGEST, OLDEST = 25.0, 95.0


class GenotypeRules:
    """The generator: no weights, the panel alone."""

    def __init__(self, made: Panel | None = None) -> None:
        self.panel = made or panel()
        blocks = self.panel.blocks
        self._most = max(len(block.haplotypes) for block in blocks)
        self._frequency = np.zeros((len(blocks), self._most))  # (block, haplotype)
        for row, block in zip(self._frequency, blocks, strict=True):
            row[: len(block.haplotypes)] = [h.frequency for h in block.haplotypes]
        sites = self.panel.sites
        self._carries = np.zeros((len(sites), self._most), dtype=np.int8)  # (site, haplotype of its block)
        place = {block.name: i for i, block in enumerate(blocks)}
        self._block_of = np.array([place[site.block] for site in sites])
        for carries, site in zip(self._carries, sites, strict=True):
            haplotypes = blocks[place[site.block]].haplotypes
            carries[: len(haplotypes)] = [site.id in h.carries for h in haplotypes]

    def sample(self, batch: Batch) -> list[Record]:
        """Array `alleles` (site, haplotype) int8: 0 REF, 1 ALT, -1 none; men have one X and one Y."""
        drawn = (self.alleles(p, seed) for p, seed in zip(batch.profiles, batch.seeds, strict=True))
        return [Record({"alleles": alleles}, facts_of(alleles, self.panel)) for alleles in drawn]

    def alleles(self, profile: PatientProfile, seed: int) -> AnyArray:
        """(site, haplotype) of one patient."""
        weights = self._frequency * np.exp(self._tilt(profile))
        bounds = np.cumsum(weights / weights.sum(axis=1, keepdims=True), axis=1)
        drawn = np.random.default_rng(seed).random((2, len(bounds)))
        chosen = (drawn[..., None] >= bounds[None, :, :-1]).sum(axis=-1)  # (copy, block)
        alleles = np.stack(
            [self._carries[np.arange(len(self._block_of)), copy[self._block_of]] for copy in chosen], axis=1
        )
        unpaired = [*self.panel.on["X"], *self.panel.on["Y"]]
        if profile.sex == "F":
            alleles[self.panel.on["Y"]] = ABSENT
        elif profile.sex == "M":
            alleles[unpaired, 1] = ABSENT
        else:  # how many X and Y there are is not known
            alleles[unpaired] = ABSENT
        return alleles

    def _tilt(self, profile: PatientProfile) -> FloatArray:
        """(block, haplotype) logarithm of the factor that the diagnoses put on the frequency."""
        tilt = np.zeros_like(self._frequency)
        for row, block in zip(tilt, self.panel.blocks, strict=True):
            for i, haplotype in enumerate(block.haplotypes):
                for code, (ratio, *_) in haplotype.odds_ratio.items():
                    if profile.has(code):
                        row[i] += math.log(ratio) + _by_age(block, profile) + _by_subtype(block, profile)
        return tilt


def _by_age(block: Block, profile: PatientProfile) -> float:
    """The logarithm of the factor on a carrier's odds at that age; its mean over DIAGNOSED is 1."""
    if block.per_decade == 1 or profile.age is None:
        return 0.0
    mean, spread = DIAGNOSED
    slope = math.log(block.per_decade) / 10
    age = min(max(profile.age, YOUNGEST), OLDEST)
    return slope * (age - mean) - (slope * spread) ** 2 / 2


def _by_subtype(block: Block, profile: PatientProfile) -> float:
    """The logarithm of P(subtype | carrier) / P(subtype); its mean over subtypes is 1."""
    subtype = profile.traits.get("pam50")
    if block.basal is None or subtype is None or not any(profile.has(code) for code in BREAST_CANCER):
        return 0.0
    basal = subtype == "Basal"
    return math.log((block.basal if basal else 1 - block.basal) / (BASAL_SHARE if basal else 1 - BASAL_SHARE))
