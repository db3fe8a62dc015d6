"""Panel: the sites, haplotypes, frequencies and odds ratios of configs/genotypes/panel.yaml."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

CHROMOSOMES = (*map(str, range(1, 23)), "X", "Y")
PHARMACOGENE, HEREDITARY, LOCUS, MARKER = "pharmacogene", "hereditary", "locus", "marker"
_SECTIONS = {"pharmacogenes": PHARMACOGENE, "hereditary": HEREDITARY, "loci": LOCUS, "blocks": MARKER}


@dataclass(frozen=True)
class Site:
    """A position of GRCh38 (counted from 1) with its two alleles."""

    id: str
    block: str
    chromosome: str
    position: int
    ref: str
    alt: str
    frequency: float  # of ALT in Europeans


@dataclass(frozen=True)
class Haplotype:
    """What is inherited in one piece: the sites whose ALT it carries; odds ratios per copy against the reference.

    odds_ratio: condition -> (odds ratio, low, high); both ends NaN where no interval is published.
    """

    name: str
    carries: tuple[str, ...]
    frequency: float
    activity: float = 1.0
    odds_ratio: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Block:
    """Sites in full linkage: the haplotypes that occur, the reference first; frequencies add up to 1."""

    name: str
    kind: str
    chromosome: str
    sites: tuple[Site, ...]
    haplotypes: tuple[Haplotype, ...]
    source: str
    phenotypes: Mapping[str, float] = field(default_factory=dict)
    per_decade: float = 1.0
    basal: float | None = None
    risk: str = ""  # of a locus: the allele that the published odds ratio is of
    published: tuple[float, float, float] | None = None

    @cached_property
    def places(self) -> Mapping[tuple[int, ...], int]:
        """Alleles of a copy, in the order of `sites` -> place of that haplotype."""
        return {
            tuple(int(site.id in h.carries) for site in self.sites): i for i, h in enumerate(self.haplotypes)
        }

    def effects(self, condition: str) -> list[float]:
        """(haplotype,) logarithm of the odds ratio of a copy."""
        known = (h.odds_ratio.get(condition, (1.0,)) for h in self.haplotypes)
        return [math.log(ratio[0]) for ratio in known]


@dataclass(frozen=True)
class Panel:
    """Blocks, and their sites in the order of a VCF."""

    assembly: str
    sources: Mapping[str, str]
    blocks: tuple[Block, ...]

    @cached_property
    def sites(self) -> tuple[Site, ...]:
        """By chromosome and position."""
        every = [site for block in self.blocks for site in block.sites]
        return tuple(sorted(every, key=lambda s: (CHROMOSOMES.index(s.chromosome), s.position)))

    @cached_property
    def rows(self) -> Mapping[str, list[int]]:
        """Block -> where its sites stand among all, in the block's order."""
        place = {site.id: i for i, site in enumerate(self.sites)}
        return {block.name: [place[site.id] for site in block.sites] for block in self.blocks}

    @cached_property
    def on(self) -> Mapping[str, list[int]]:
        """X and Y -> where their sites stand among all."""
        return {name: [i for i, s in enumerate(self.sites) if s.chromosome == name] for name in ("X", "Y")}

    @cached_property
    def scores(self) -> Mapping[str, "Score"]:
        """Condition -> its polygenic score of the common variants."""
        return {code: Score.of(code, self.blocks) for code in self.conditions}

    @cached_property
    def conditions(self) -> tuple[str, ...]:
        """Codes of the diagnoses that a haplotype has an odds ratio for."""
        named = (code for block in self.blocks for h in block.haplotypes for code in h.odds_ratio)
        return tuple(dict.fromkeys(named))


@dataclass(frozen=True)
class Score:
    """A sum of log odds ratios over the haplotypes of a person; its mean and spread in the unaffected."""

    effects: Mapping[str, list[float]]  # block -> (haplotype,)
    mean: float
    spread: float

    @classmethod
    def of(cls, condition: str, blocks: tuple[Block, ...]) -> "Score":
        """Over the blocks with common variants that move the condition."""
        chosen = [b for b in blocks if b.kind == LOCUS and any(b.effects(condition))]
        mean = variance = 0.0
        for block in chosen:
            both = [
                (h.frequency, effect)
                for h, effect in zip(block.haplotypes, block.effects(condition), strict=True)
            ]
            expected = sum(share * effect for share, effect in both)
            mean += 2 * expected
            variance += 2 * (sum(share * effect**2 for share, effect in both) - expected**2)
        return cls({b.name: b.effects(condition) for b in chosen}, mean, math.sqrt(variance))


@cache
def panel() -> Panel:
    """The shipped one."""
    path = Path(str(files("polyclinic.configs"))) / "genotypes" / "panel.yaml"
    raw = yaml.safe_load(path.read_text())
    blocks = [
        _locus(name, given) if kind == LOCUS else _block(name, kind, given)
        for section, kind in _SECTIONS.items()
        for name, given in raw[section].items()
    ]
    made = Panel(raw["assembly"], raw["sources"], tuple(blocks))
    assert len({site.id for site in made.sites}) == len(made.sites), "a site is in two blocks"
    assert all(block.source in made.sources for block in blocks), "a source is not listed"
    return made


def _block(name: str, kind: str, given: Mapping[str, Any]) -> Block:
    haplotypes = [
        Haplotype(
            label,
            tuple(h["carries"]),
            h["frequency"],
            h.get("activity", 1.0),
            {code: _odds(numbers) for code, numbers in h.get("odds_ratio", {}).items()},
        )
        for label, h in given["haplotypes"].items()
    ]
    rest = 1 - sum(h.frequency for h in haplotypes)
    assert rest > 0, f"{name}: haplotypes are more than all"
    everyone = (Haplotype(given.get("reference", "reference"), (), rest), *haplotypes)
    chromosome = str(given["chromosome"])
    sites = tuple(
        Site(
            id, name, chromosome, position, ref, alt, sum(h.frequency for h in haplotypes if id in h.carries)
        )
        for id, (position, ref, alt) in given["sites"].items()
    )
    if kind == MARKER and any(h.odds_ratio for h in haplotypes):
        kind = LOCUS
    return Block(
        name, kind, chromosome, sites, everyone, given["source"],
        given.get("phenotypes", {}), given.get("per_decade", 1.0), given.get("basal"),
    )  # fmt: skip


def _locus(name: str, given: Mapping[str, Any]) -> Block:
    """One site; the odds ratio is turned to be that of ALT."""
    low, high = sorted((given["ref"], given["alt"]))
    assert given["risk"] in (low, high), f"{name}: the risk allele is neither REF nor ALT"
    of_alt = given["risk"] == given["alt"]
    frequency = given["frequency"] if of_alt else 1 - given["frequency"]
    published = _odds(given["odds_ratio"])
    ratio = published if of_alt else (1 / published[0], 1 / published[2], 1 / published[1])
    id, chromosome = given["id"], str(given["chromosome"])
    site = Site(id, name, chromosome, given["at"], given["ref"], given["alt"], frequency)
    haplotypes = (
        Haplotype(given["ref"], (), 1 - frequency),
        Haplotype(given["alt"], (id,), frequency, odds_ratio={given["disease"]: ratio}),
    )
    return Block(
        name, LOCUS, chromosome, (site,), haplotypes, given["source"], risk=given["risk"], published=published
    )


def _odds(numbers: list[float]) -> tuple[float, float, float]:
    ratio, low, high = numbers if len(numbers) == 3 else (numbers[0], math.nan, math.nan)
    return float(ratio), float(low), float(high)
