"""Concepts: the standard OMOP concept ids of codes, and which codes the tables named."""

from collections.abc import Iterator
from datetime import date
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from ....core.config import read_yaml
from ....core.fields import ICD10, LOINC, SNOMED
from ..codes import DICOM, HGNC, RXNORM, UCUM, codes
from ..data import IMPLICATION
from ..us_core.lists import NCIT, SOPT

# FHIR's system -> the vocabulary's name in OMOP
VOCABULARIES = {
    ICD10: "ICD10CM", LOINC: "LOINC", RXNORM: "RxNorm", SNOMED: "SNOMED", UCUM: "UCUM", HGNC: "HGNC",
    DICOM: "DICOM", NCIT: "NCIt", SOPT: "SOPT", IMPLICATION: "GenomicsReporting",
}  # fmt: skip
# In these the bundled ids are those of the very codes; of ICD-10-CM they are what a code maps to.
_STANDARD = {LOINC, RXNORM, SNOMED}
_ALWAYS = (date(1970, 1, 1), date(2099, 12, 31))


@cache
def _facts() -> dict[str, Any]:
    return read_yaml(Path(str(files("polyclinic.configs"))) / "omop" / "concepts.yaml")


@cache
def _listed() -> dict[tuple[str, str], int]:
    lists = codes()
    by_system = (
        (ICD10, lists.conditions), (LOINC, lists.observations), (RXNORM, lists.drugs),
        (SNOMED, lists.procedures), (SNOMED, lists.answers),
    )  # fmt: skip
    return {(system, entry.code): entry.omop for system, those in by_system for entry in those.values()}


class Concepts:
    """Looks concept ids up, and remembers which codes were asked for."""

    def __init__(self) -> None:
        self._used: dict[tuple[str, str], tuple[str, int]] = {}

    @staticmethod
    def fixed(name: str, code: str | None = None) -> int:
        """The id of a thing of configs/omop/concepts.yaml, or of one code of a group there; 0 where it has none."""
        found = _facts()[name]
        return int(found if code is None else found.get(code, 0))

    def of(self, concept: dict[str, Any] | None) -> tuple[int, int, str]:
        """Standard id, source id and source value of a CodeableConcept: of its first coding, else of its text."""
        coding = ((concept or {}).get("coding") or [{}])[0]
        if "code" not in coding:
            text = str((concept or {}).get("text", ""))
            self._remember("", text, text, 0)
            return 0, 0, text
        system, code = str(coding.get("system", "")), str(coding["code"])
        found = _listed().get((system, code), 0)
        self._remember(system, code, str(coding.get("display", "")), found)
        return found, found if system in _STANDARD else 0, code

    def unit(self, code: str | None) -> int | None:
        """The id of a UCUM unit; None without one."""
        if not code:
            return None
        found = self.fixed("unit", code)
        self._remember(UCUM, code, code, found)
        return found

    def _remember(self, system: str, code: str, display: str, found: int) -> None:
        if code:
            self._used.setdefault((VOCABULARIES.get(system, system or "none"), code), (display, found))

    def lacking(self) -> list[str]:
        """The codes without a standard concept id, each with its vocabulary."""
        return [f"{name} {code}" for (name, code), (_, found) in sorted(self._used.items()) if not found]

    def used(self) -> Iterator[dict[str, Any]]:
        """A row of source_to_concept_map for each code that was asked for, in order of vocabulary and code."""
        for (name, code), (display, found) in sorted(self._used.items()):
            yield {
                "source_code": code,
                "source_concept_id": found if name in ("LOINC", "RxNorm", "SNOMED", "UCUM") else 0,
                "source_vocabulary_id": name,
                "source_code_description": display,
                "target_concept_id": found,
                "target_vocabulary_id": ("SNOMED" if name == "ICD10CM" else name) if found else "None",
                "valid_start_date": _ALWAYS[0],
                "valid_end_date": _ALWAYS[1],
            }
