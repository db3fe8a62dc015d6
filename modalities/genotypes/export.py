"""VCF 4.3 of all patients, bgzip-compressed with a tabix index, by pysam."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...core.extras import need
from ...core.modality import Record
from ...core.profile import PatientProfile
from ...core.types import AnyArray
from .data import FILE, FOLDER, read
from .panel import CHROMOSOMES, Panel, Site, panel

ALLELES, PATIENTS = "alleles.npy", "patients.json"
SYNTHETIC = "synthetic data, of no real person"
LENGTHS = (  # of the chromosomes of GRCh38, in the order of CHROMOSOMES
    248956422, 242193529, 198295559, 190214555, 181538259, 170805979, 159345973, 145138636, 138394717, 133797422,
    135086622, 133275309, 114364328, 107043718, 101991189, 90338345, 83257441, 80373285, 58617616, 64444167,
    46709983, 50818468, 156040895, 57227415,
)  # fmt: skip


def check_writer() -> None:
    """Raise InputError where pysam is not installed."""
    need("writing genotypes (bgzip, tabix)", "pysam")


class Vcf:
    """The format genotypes.vcf; see core.contracts.PatientFormat, JoiningFormat and ReadableFormat."""

    name, modality = "vcf", "genotypes"

    def write(
        self, records: Sequence[Record], profiles: Sequence[PatientProfile], folder: Path
    ) -> list[Path]:
        """A slice: alleles (patient, site, haplotype) and the patients' ids."""
        place = folder / FOLDER
        place.mkdir(parents=True, exist_ok=True)
        np.save(place / ALLELES, np.stack([record.arrays["alleles"] for record in records]))
        (place / PATIENTS).write_text(json.dumps([profile.patient_id for profile in profiles]))
        return [place / ALLELES, place / PATIENTS]

    def assemble(self, pieces: Sequence[Path], folder: Path, provenance: Mapping[str, Any]) -> list[Path]:
        """One VCF with a column a patient, and its index. Raises InputError where pysam is absent."""
        check_writer()
        import pysam

        ids = [id for piece in pieces for id in json.loads((piece / FOLDER / PATIENTS).read_text())]
        alleles = np.concatenate([np.load(piece / FOLDER / ALLELES) for piece in pieces])
        place = folder / FOLDER
        place.mkdir(parents=True, exist_ok=True)
        plain, packed = place / FILE.removesuffix(".gz"), place / FILE
        with plain.open("w", encoding="ascii", newline="\n") as file:
            file.writelines(lines(alleles, ids, panel()))
        pysam.tabix_compress(str(plain), str(packed), force=True)
        pysam.tabix_index(str(packed), preset="vcf", force=True)
        plain.unlink()
        return [packed, packed.with_name(f"{FILE}.tbi")]

    def read(self, folder: Path, patient_ids: Sequence[str]) -> dict[str, Record]:
        """See data.read."""
        return read(folder, patient_ids)


def lines(alleles: AnyArray, ids: Sequence[str], made: Panel) -> Iterator[str]:
    """The lines of a VCF 4.3 of alleles (patient, site, haplotype)."""
    yield from (f"##{line}\n" for line in _header(made))
    yield "\t".join(["#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO", "FORMAT", *ids]) + "\n"
    kinds = {block.name: block.kind for block in made.blocks}
    for i, site in enumerate(made.sites):
        own = alleles[:, i]
        calls = (_call(site, pair) for pair in own)
        info = (
            f"AC={int((own == 1).sum())};AN={int((own >= 0).sum())};EURAF={site.frequency:.6g};"
            f"GENE={site.block};KIND={kinds[site.block]}"
        )
        row = [
            f"chr{site.chromosome}",
            str(site.position),
            site.id,
            site.ref,
            site.alt,
            ".",
            "PASS",
            info,
            "GT",
        ]
        yield "\t".join([*row, *calls]) + "\n"


def _header(made: Panel) -> Iterator[str]:
    yield "fileformat=VCFv4.3"
    yield "source=Polyclinic"
    yield f"synthetic={SYNTHETIC}"
    yield f"reference={made.assembly}"
    for name, length in zip(CHROMOSOMES, LENGTHS, strict=True):
        yield f"contig=<ID=chr{name},length={length},assembly={made.assembly}>"
    yield 'FILTER=<ID=PASS,Description="All filters passed">'
    yield 'INFO=<ID=AC,Number=A,Type=Integer,Description="Count of ALT alleles in this file">'
    yield 'INFO=<ID=AN,Number=1,Type=Integer,Description="Count of called alleles in this file">'
    yield 'INFO=<ID=EURAF,Number=A,Type=Float,Description="Frequency of ALT in Europeans that the panel states">'
    yield 'INFO=<ID=GENE,Number=1,Type=String,Description="Block of the panel: gene or nearest gene">'
    yield 'INFO=<ID=KIND,Number=1,Type=String,Description="pharmacogene, hereditary, locus or marker">'
    yield 'FORMAT=<ID=GT,Number=1,Type=String,Description="Phased genotype; one allele on X and Y of men">'


def _call(site: Site, pair: AnyArray) -> str:
    first, second = (int(one) for one in pair)
    if first < 0:
        return "."
    return f"{first}|{second}" if second >= 0 else str(first)
