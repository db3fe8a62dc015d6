"""Genotypes in the health record: what the VCF says, in codes, by the rules, and in OMOP and MEDS as one event each."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from polyclinic.conditioning.population import Population
from polyclinic.core.modality import Batch, Record
from polyclinic.core.profile import seed_for
from polyclinic.core.remarks import remarks
from polyclinic.modalities.genotypes import Genotypes
from polyclinic.modalities.records import Records
from polyclinic.modalities.records.genomics import GENE_CODES, TERMS

PROFILES = tuple(Population.load("cardio_oncology").draw(6, 3))


@pytest.fixture(scope="module")
def drawn() -> list[tuple[dict[str, Any], Record]]:
    """Facts of the genotypes, and the record: the first patient carries a variant and metabolises poorly."""
    seeds = tuple(seed_for(3, p.patient_id, "genotypes") for p in PROFILES)
    batch = Batch(PROFILES, np.zeros((len(PROFILES), 0), np.float32), seeds)
    pytest.importorskip("pysam")  # the generator asks for the writer
    facts = [dict(record.facts) for record in Genotypes().generator(()).sample(batch)]
    facts[0] |= {"pathogenic": ["BRCA1 c.5266dup (5382insC)"]}
    facts[0]["phenotypes"]["CYP2C19"] = "poor metabolizer"
    seeds = tuple(seed_for(3, p.patient_id, "records") for p in PROFILES)
    batch = Batch(
        PROFILES,
        np.zeros((len(PROFILES), 0), np.float32),
        seeds,
        tuple({"genotypes": own} for own in facts),
    )
    return list(zip(facts, Records().generator(()).sample(batch), strict=True))


def found(record: Record, key: str) -> list[dict[str, Any]]:
    resources = record.facts["resources"]
    patient = resources[0]["id"]
    return [
        r for r in resources if r["resourceType"] == "Observation" and r["id"].startswith(f"{patient}-{key}")
    ]


def test_every_pharmacogene_is_stated_with_its_meaning(drawn: list[tuple[dict[str, Any], Record]]) -> None:
    for facts, record in drawn:
        stated = {
            r["component"][0]["valueCodeableConcept"]["coding"][0]["display"]: r["valueCodeableConcept"][
                "text"
            ]
            for r in found(record, "genotype-")
            if r["code"]["coding"][0]["code"] == TERMS["genotype"][0]
        }
        assert stated == {
            gene: f"{gene} {text}" for gene, text in facts["diplotypes"].items() if gene in GENE_CODES
        }
        means = {
            r["component"][0]["valueCodeableConcept"]["coding"][0]["display"]: r["valueCodeableConcept"][
                "text"
            ]
            for r in found(record, "genotype-means-")
        }
        assert means == {gene: f"{gene} {text}" for gene, text in facts["phenotypes"].items()}
        (report,) = [r for r in record.facts["resources"] if r["id"].endswith("-report-genotypes")]
        assert len(report["result"]) == len(stated) + len(means) + len(facts["pathogenic"])
        assert Records().breaches(record) == []  # codes, references, order


def test_a_carrier_and_a_poor_metaboliser_are_coded(drawn: list[tuple[dict[str, Any], Record]]) -> None:
    _, record = drawn[0]
    (variant,) = found(record, "variant-")
    said = {part["code"]["coding"][0]["code"]: part["valueCodeableConcept"] for part in variant["component"]}
    assert said["48018-6"]["coding"][0]["code"] == "HGNC:1100"
    assert said["48004-6"]["text"] == "c.5266dup (5382insC)"
    assert said["53037-8"]["coding"][0]["code"] == "LA6668-3"
    (poor,) = found(record, "genotype-means-CYP2C19")
    assert poor["valueCodeableConcept"]["coding"][0]["code"] == "LA9657-3"
    (warfarin,) = found(record, "genotype-means-CYP2C9")
    assert warfarin["component"][-1]["valueCodeableConcept"]["coding"][0]["code"] == "11289"
    assert all(not found(record, "variant-") for facts, record in drawn if not facts["pathogenic"])


@pytest.mark.skipif(find_spec("fhir") is None, reason="pip install fhir.resources")
def test_fhir_resources_reads_them(drawn: list[tuple[dict[str, Any], Record]]) -> None:
    from fhir.resources.R4B.observation import Observation

    for _, record in drawn:
        for resource in [*found(record, "genotype-"), *found(record, "variant-")]:
            Observation.model_validate(resource)


def test_omop_and_meds_have_an_event_each(drawn: list[tuple[dict[str, Any], Record]], tmp_path: Path) -> None:
    modality = Records({"formats": ["omop", "meds"]})
    piece = tmp_path / "piece"
    piece.mkdir()
    modality.export([record for _, record in drawn], PROFILES, piece)
    with remarks(lambda _: None) as said:
        modality.assemble([piece], tmp_path)
    assert not any("none " in text for text in said)  # a diplotype is no code
    rows = pq.read_table(tmp_path / "omop" / "measurement.parquet").to_pylist()
    genotypes = [row for row in rows if row["measurement_source_value"] == "84413-4"]
    assert [row["value_source_value"] for row in genotypes if row["person_id"] == 1] == [
        f"{gene} {text}"[:50] for gene, text in drawn[0][0]["diplotypes"].items() if gene in GENE_CODES
    ]
    paths = (tmp_path / "meds" / "data").rglob("*.parquet")
    events = [row for path in paths for row in pq.read_table(path).to_pylist()]
    assert sum(e["code"].startswith("LOINC//84413-4") for e in events) == len(genotypes)
    assert not any("48018-6" in e["code"] for e in events)  # parts of a result are no results
