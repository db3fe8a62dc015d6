"""The VCF of genotypes in pysam, cyvcf2 and bcftools: a row a program, in the form of benchmarks/readers_rows.py.

    python benchmarks/readers_genotypes.py COHORT

COHORT was generated with `--modalities ...,genotypes`. rows(COHORT) gives the rows; a program that is not installed
gives none. Exits 1 on any error.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from readers_rows import AbsentError, Row

from polyclinic import open_cohort
from polyclinic.modalities.genotypes import Genotypes
from polyclinic.modalities.genotypes.data import FILE, FOLDER
from polyclinic.modalities.genotypes.panel import panel

REGION = "chr10:94700000-94800000"  # CYP2C19


def pysam_row(cohort: Path) -> Row:
    """Every call, and a region by the index."""
    if find_spec("pysam") is None:
        raise AbsentError("pip install pysam")
    import pysam

    errors: list[str] = []
    own = _own(cohort)
    with pysam.VariantFile(str(_path(cohort))) as opened:
        if list(opened.header.samples) != list(own):
            errors.append("samples are not the patients")
        calls = 0
        for i, row in enumerate(opened):
            for patient, sample in row.samples.items():
                expected = tuple(int(a) for a in own[patient][i] if a >= 0) or (None,)
                calls += 1
                if sample.allele_indices != expected:
                    errors.append(f"{row.id} of {patient}: {sample.allele_indices}, expected {expected}")
        found = [row.id for row in opened.fetch(region=REGION)]
    errors += _of_region(found)
    return Row(
        "pysam", version("pysam"), 2, f"{calls} calls, {len(found)} sites of CYP2C19 by the index", errors
    )


def cyvcf2_row(cohort: Path) -> Row:
    """Every call, and a region by the index."""
    if find_spec("cyvcf2") is None:
        raise AbsentError("pip install cyvcf2")
    from cyvcf2 import VCF

    errors: list[str] = []
    own = _own(cohort)
    opened = VCF(str(_path(cohort)))
    if opened.samples != list(own):
        errors.append("samples are not the patients")
    calls = 0
    for i, row in enumerate(opened):
        for patient, call in zip(opened.samples, row.genotypes, strict=True):
            calls += 1
            read = [a for a in call[:-1] if a >= 0]
            if read != [int(a) for a in own[patient][i] if a >= 0]:
                errors.append(f"{row.ID} of {patient}: {call}")
    found = [row.ID for row in VCF(str(_path(cohort)))(REGION)]
    errors += _of_region(found)
    return Row(
        "cyvcf2", version("cyvcf2"), 2, f"{calls} calls, {len(found)} sites of CYP2C19 by the index", errors
    )


def bcftools_row(cohort: Path) -> Row:
    """bcftools view, and its counts of variants."""
    program = shutil.which("bcftools")
    if program is None:
        raise AbsentError("apt-get install bcftools")
    named = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    errors: list[str] = []
    warnings: list[str] = []
    for arguments in (["view", "-Ou", "-o", "/dev/null"], ["stats"]):
        done = subprocess.run([program, *arguments, str(_path(cohort))], capture_output=True, text=True)
        said = [line for line in done.stderr.splitlines() if line]
        (errors if done.returncode else warnings).extend(said)
    records = re.search(r"number of records:\t(\d+)", done.stdout)
    if records is None or int(records[1]) != len(panel().sites):
        errors.append(f"{records and records[1]} records, expected {len(panel().sites)}")
    snps = re.search(r"number of SNPs:\t(\d+)", done.stdout)
    figure = f"{records and records[1]} sites, {snps and snps[1]} of them SNPs"
    return Row("bcftools", named.split()[1], 2, figure, errors, warnings)


READERS: dict[str, Callable[[Path], Row]] = {
    "pysam": pysam_row,
    "cyvcf2": cyvcf2_row,
    "bcftools": bcftools_row,
}


def rows(cohort: Path) -> list[Row]:
    """What the installed programs say of a cohort's VCF."""
    found = []
    for name, read in READERS.items():
        try:
            found.append(read(cohort))
        except AbsentError as why:
            print(f"{name} is absent: {why}", file=sys.stderr)
    return found


def _path(cohort: Path) -> Path:
    return cohort / FOLDER / FILE


def _own(cohort: Path) -> dict[str, list[list[int]]]:
    patients = [str(patient) for patient in open_cohort(cohort).patients.index]
    read = Genotypes().read(cohort, patients)
    return {patient: record.arrays["alleles"].tolist() for patient, record in read.items()}


def _of_region(found: list[str]) -> list[str]:
    expected = [site.id for site in panel().sites if site.block == "CYP2C19"]
    return [] if found == expected else [f"{REGION} by the index: {found}, expected {expected}"]


def main() -> int:
    """0 if no program has an error."""
    print("| program | version | files | errors | warnings | figure |\n|---|---|---|---|---|---|")
    errors = 0
    for row in rows(Path(sys.argv[1])):
        print(
            f"| {row.program} | {row.version} | {row.files} | {len(row.errors)} | {len(row.warnings)} | {row.figure} |"
        )
        for said in [*row.errors[:10], *row.warnings[:10]]:
            print(f"{row.program}: {said}", file=sys.stderr)
        errors += len(row.errors)
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
