"""What genotypes say: diplotypes and phenotypes of pharmacogenes, pathogenic variants, polygenic scores."""

from typing import Any

from ...core.types import AnyArray
from .panel import HEREDITARY, MARKER, PHARMACOGENE, Block, Panel


def facts_of(alleles: AnyArray, made: Panel) -> dict[str, Any]:
    """Plain facts of one patient's alleles (site, haplotype).

    diplotypes: gene -> `*1/*2`; phenotypes: gene -> words; pathogenic: carried variants of hereditary breast cancer;
    polygenic: condition -> score in standard deviations of the unaffected; karyotype: XX, XY, or absent if not known.
    """
    diplotypes, phenotypes, pathogenic = {}, {}, []
    for block in made.blocks:
        copies = haplotypes_of(alleles, block, made)
        if block.kind == PHARMACOGENE or (block.kind == MARKER and block.name in ("APOE", "Y")):
            if copies:
                diplotypes[block.name] = "/".join(block.haplotypes[i].name for i in sorted(copies))
            if block.phenotypes and len(copies) == 2:
                score = sum(block.haplotypes[i].activity for i in copies)
                phenotypes[block.name] = next(
                    word for word, least in block.phenotypes.items() if score >= least
                )
        elif block.kind == HEREDITARY:
            pathogenic += [f"{block.name} {block.haplotypes[i].name}" for i in copies if i]
    found: dict[str, Any] = {
        "diplotypes": diplotypes,
        "phenotypes": phenotypes,
        "pathogenic": sorted(set(pathogenic)),
        "polygenic": polygenic(alleles, made),
    }
    if karyotype := karyotype_of(alleles, made):
        found["karyotype"] = karyotype
    return found


def haplotypes_of(alleles: AnyArray, block: Block, made: Panel) -> list[int]:
    """Places, in the block, of the one or two haplotypes there. Raises KeyError for one that the block lacks."""
    copies = zip(*alleles[made.rows[block.name]].tolist(), strict=True)
    return [block.places[copy] for copy in copies if copy[0] >= 0]


def polygenic(alleles: AnyArray, made: Panel) -> dict[str, float]:
    """Condition -> polygenic score in standard deviations of the unaffected, from their mean."""
    found = {}
    blocks = {block.name: block for block in made.blocks}
    for code, score in made.scores.items():
        own = sum(
            effects[i]
            for name, effects in score.effects.items()
            for i in haplotypes_of(alleles, blocks[name], made)
        )
        found[code] = round((own - score.mean) / score.spread, 3)
    return found


def karyotype_of(alleles: AnyArray, made: Panel) -> str:
    """XX or XY by the copies that are there; empty where neither is."""
    return "".join(name * int((alleles[rows] >= 0).sum(axis=1).max()) for name, rows in made.on.items())
