"""Genotypes: a panel of variants a patient, drawn by rules from published frequencies and odds ratios; VCF."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...core import registry
from ...core.assertions import PATIENT, SEX, Assertion
from ...core.config import Settings, parse
from ...core.contracts import JoiningFormat, ReadableFormat
from ...core.errors import InputError
from ...core.modality import Record, View
from ...core.profile import PatientProfile
from ...core.rule_based import RuleBased
from .export import Vcf, check_writer
from .model import GenotypeRules
from .panel import panel

SOURCE = "VCF"
RULES = {
    "karyotype": "A patient has two X and no Y, or one of each.",
    "haplotypes": "Alleles of a block stand together on haplotypes that the panel knows.",
}


class Options(Settings):
    """How records are written: `generate --set genotypes.format=vcf`."""

    format: str = Vcf.name


class Genotypes(RuleBased):
    """Pharmacogenes, hereditary breast cancer, common risk variants; rule-based, without weights."""

    name = "genotypes"
    after: tuple[str, ...] = ()
    shared = True
    on_request = True  # see core.capabilities.OnRequest
    bytes_per_record = 2_000
    indication = (
        "every patient, where asked for (--modalities ...,genotypes); by rules from published figures"
    )

    def __init__(self, options: Mapping[str, Any] | None = None) -> None:
        """Raises InputError for an unknown option or format."""
        self.options = parse(Options, dict(options or {}), "genotypes")
        known = {Vcf.name, *registry.formats_of(self.name)}
        if self.options.format not in known:
            raise InputError(
                f"genotypes: format: {self.options.format!r} is not installed; "
                f"expected one of: {', '.join(sorted(known))}"
            )

    def require_packages(self) -> None:
        """bgzip and tabix are pysam's; see core.capabilities.NeedsPackages."""
        check_writer()

    def generator(self, columns: Sequence[str]) -> GenotypeRules:
        """The rules; the code's columns are not used. Raises InputError where the files could not be written."""
        self.require_packages()
        return GenotypeRules()

    def export(
        self, records: Sequence[Record], profiles: Sequence[PatientProfile], folder: Path
    ) -> list[Path]:
        """A piece of the file."""
        return list(self._format().write(records, profiles, folder))

    def assemble(self, pieces: Sequence[Path], folder: Path) -> list[Path]:
        """genotypes/genotypes.vcf.gz of all patients, and its index."""
        return list(self._format().assemble(pieces, folder, {}))

    def read(self, folder: Path, patient_ids: Sequence[str]) -> dict[str, Record]:
        """Alleles of a cohort's patients, with what they say."""
        found = self._format()
        if not isinstance(found, ReadableFormat):
            raise InputError(f"genotypes: format: {self.options.format} cannot be read (it has no `read`)")
        return found.read(folder, patient_ids)

    def _format(self) -> Any:
        if self.options.format == Vcf.name:
            return Vcf()
        found = registry.load_format(self.name, self.options.format)
        if not isinstance(found, JoiningFormat):
            raise InputError(
                f"genotypes: format: {self.options.format} cannot join all patients (it has no `assemble`)"
            )
        return found

    def assertions(self, folder: Path, patient_ids: Sequence[str]) -> dict[str, list[Assertion]]:
        """Whose column it is, the sex that X and Y show, and the diplotypes; see core.capabilities.Asserting."""
        found = {}
        for patient_id, record in self.read(folder, patient_ids).items():
            found[patient_id] = [Assertion.of(PATIENT, SOURCE, patient_id)]
            if karyotype := record.facts.get("karyotype"):
                found[patient_id].append(Assertion.of(SEX, SOURCE, "M" if "Y" in karyotype else "F"))
            found[patient_id] += [
                Assertion.of(f"{gene} genotype", SOURCE, diplotype)
                for gene, diplotype in record.facts["diplotypes"].items()
            ]
        return found

    def rule_names(self) -> dict[str, str]:
        """See core.capabilities.ClinicalRules."""
        return RULES

    def breaches(self, record: Record) -> list[tuple[str, str]]:
        """What breaks a rule, each with the words for it."""
        from .interpretation import haplotypes_of, karyotype_of

        made, alleles = panel(), record.arrays["alleles"]
        found = []
        if (karyotype := karyotype_of(alleles, made)) not in ("XX", "XY", ""):
            found.append(("karyotype", f"copies: {karyotype}"))
        for block in made.blocks:
            try:
                haplotypes_of(alleles, block, made)
            except KeyError as error:
                found.append(("haplotypes", f"{block.name}: alleles {error}"))
        return found

    def views(self) -> list[View]:
        """None: there is no real counterpart; metrics.py holds them against the published figures."""
        return []
