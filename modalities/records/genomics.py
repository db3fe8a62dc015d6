"""Genotypes stated: diplotypes, their phenotypes and pathogenic variants, as HL7 Genomics Reporting has them."""

from collections.abc import Mapping
from typing import Any

from ...core.fields import LOINC
from ...core.modality import Facts
from .codes import HGNC, RXNORM, codes
from .data import IMPLICATION, Resource, concept
from .formats.fhir import Writer
from .simulation.chart import INDEX_STARTS, Visit

GENOTYPE, MEANS, VARIANT = "genotype", "genotype-means", "variant"  # how keys of the resources begin
# HGNC ids of the genes that are stated
GENE_CODES = {
    "CYP2C19": "HGNC:2621", "CYP2C9": "HGNC:2623", "VKORC1": "HGNC:23663", "SLCO1B1": "HGNC:10959",
    "TPMT": "HGNC:12014", "DPYD": "HGNC:3012", "NUDT15": "HGNC:23063", "CYP3A5": "HGNC:2638", "CYP4F2": "HGNC:2645",
    "ABCG2": "HGNC:74", "BRCA1": "HGNC:1100", "BRCA2": "HGNC:1101", "CHEK2": "HGNC:16627",
}  # fmt: skip
# LOINC of questions and answers; the names are those of the implementation guide
TERMS = {
    "genotype": ("84413-4", "Genotype display name"),
    "gene": ("48018-6", "Gene studied [ID]"),
    "drug": ("51963-7", "Medication assessed [ID]"),
    "metabolism": ("53040-2", "Genetic variation's effect on drug metabolism"),
    "variant": ("69548-6", "Genetic variant assessment"),
    "change": ("48004-6", "DNA change (c.HGVS)"),
    "source": ("48002-0", "Genomic source class [Type]"),
    "significance": ("53037-8", "Genetic variation clinical significance [Imp]"),
    "present": ("LA9633-4", "Present"),
    "germline": ("LA6683-2", "Germline"),
    "pathogenic": ("LA6668-3", "Pathogenic"),
    "ultrarapid metabolizer": ("LA10315-2", "Ultrarapid metabolizer"),
    "rapid metabolizer": ("LA25390-8", "Rapid metabolizer"),
    "normal metabolizer": ("LA25391-6", "Normal metabolizer"),
    "intermediate metabolizer": ("LA10317-8", "Intermediate metabolizer"),
    "poor metabolizer": ("LA9657-3", "Poor metabolizer"),
}
DRUGS = {
    "CYP2C9": ("warfarin",),
    "VKORC1": ("warfarin",),
    "SLCO1B1": ("atorvastatin",),
}  # of the bundled list


def genotypes(writer: Writer, facts: Facts) -> None:
    """An Observation a diplotype, one a phenotype, one a pathogenic variant, and the report, at the index visit."""
    at, visit = INDEX_STARTS + 0.1, writer.chart.index_visit
    sample = writer.drawn("blood", at, visit)
    results, said = [], []
    for gene, diplotype in facts.get("diplotypes", {}).items():
        if gene in GENE_CODES:
            results.append(_diplotype(writer, gene, diplotype, at, visit, sample))
    for gene, means in facts.get("phenotypes", {}).items():
        if gene in GENE_CODES:
            results.append(_means(writer, gene, means, at, visit, sample))
            said.append(f"{gene} {facts['diplotypes'][gene]}, {means}")
    for number, variant in enumerate(facts.get("pathogenic", ())):
        results.append(_variant(writer, f"{VARIANT}-{number}", variant, at, visit, sample))
        said.append(f"{variant}, pathogenic")
    if results:
        more = {
            "result": [{"reference": f"Observation/{r['id']}"} for r in results],
            "specimen": [sample["specimen"]],
            "basedOn": sample["basedOn"],
        }
        writer.report("genotypes", f"Genotypes: {'; '.join(said) or 'none to act on'}.", at, visit, more)


def _diplotype(
    writer: Writer, gene: str, diplotype: str, at: float, visit: Visit, sample: Mapping[str, Any]
) -> Resource:
    content = {"valueCodeableConcept": {"text": f"{gene} {diplotype}"}, "component": [_gene(gene)], **sample}
    says = f"{gene} genotype {diplotype}"
    return _result(
        writer, f"{GENOTYPE}-{gene}", _term("genotype", f"{gene} genotype"), says, content, at, visit
    )


def _means(
    writer: Writer, gene: str, means: str, at: float, visit: Visit, sample: Mapping[str, Any]
) -> Resource:
    """The implication: coded where LOINC has the phenotype, and for which drugs of the bundled list."""
    text = f"{gene} {means}"
    value = _term(means, text) if means in TERMS else {"text": text}
    parts = [_gene(gene)]
    if means in TERMS:
        parts.append({"code": _term("metabolism"), "valueCodeableConcept": _term(means)})
    for name in DRUGS.get(gene, ()):
        drug = codes().drugs[name]
        parts.append(
            {"code": _term("drug"), "valueCodeableConcept": concept(RXNORM, drug.code, drug.display)}
        )
    content = {
        "valueCodeableConcept": value,
        "derivedFrom": [writer.refer("Observation", f"{GENOTYPE}-{gene}")],
        "component": parts,
        **sample,
    }
    code = concept(IMPLICATION, "therapeutic-implication", "Therapeutic Implication", f"{gene} phenotype")
    return _result(writer, f"{MEANS}-{gene}", code, f"{gene}: {means}", content, at, visit)


def _variant(
    writer: Writer, key: str, variant: str, at: float, visit: Visit, sample: Mapping[str, Any]
) -> Resource:
    gene, _, change = variant.partition(" ")
    content = {
        "valueCodeableConcept": _term("present", f"{variant}: present"),
        "component": [
            _gene(gene),
            {"code": _term("change"), "valueCodeableConcept": {"text": change}},
            {"code": _term("source"), "valueCodeableConcept": _term("germline")},
            {"code": _term("significance"), "valueCodeableConcept": _term("pathogenic")},
        ],
        **sample,
    }
    return _result(
        writer, key, _term("variant", f"{gene} variant"), f"{variant}, pathogenic", content, at, visit
    )


def _result(
    writer: Writer, key: str, code: Resource, says: str, content: Resource, at: float, visit: Visit
) -> Resource:
    return writer.result(key, "laboratory", code, says, content, at, visit, ("observation-lab",))


def _gene(gene: str) -> Resource:
    return {"code": _term("gene"), "valueCodeableConcept": concept(HGNC, GENE_CODES[gene], gene)}


def _term(name: str, text: str = "") -> Resource:
    return concept(LOINC, *TERMS[name], text)
