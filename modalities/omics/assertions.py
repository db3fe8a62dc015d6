"""What the omics stores of a cohort say of their patients: obs, and the genes that decide receptors and subtype."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...core.assertions import AGE, PATIENT, SEX, STUDY_DATE, SUBTYPE, SURVIVAL, Assertion
from ...core.modality import Record
from ...core.tables import open_store
from .data import MARKERS
from .reading import read

if TYPE_CHECKING:
    import pandas as pd

SUBJECTS = {"patient_id": PATIENT, "sex": SEX, "pam50": SUBTYPE, "index_date": STUDY_DATE}
# What a subtype nearly always shows, log2 RSEM: the dip between the two modes of ESR1 and of ERBB2
# (Cancer Genome Atlas Network, Nature 2012;490:61, receptor status by subtype).
EXPECTED = {
    "LumA": ("ESR1", 9.5, inf), "LumB": ("ESR1", 9.5, inf), "Basal": ("ESR1", -inf, 9.5), "Her2": ("ERBB2", 14.0, inf),
}  # fmt: skip


def assertions(folder: Path, patient_ids: Sequence[str]) -> dict[str, list[Assertion]]:
    """See core.capabilities.Asserting."""
    found: dict[str, list[Assertion]] = {}
    for store in sorted((folder / "omics").glob("*.[zh]*")):
        for source, obs in _tables(store, store.stat().st_mtime_ns):
            for patient_id in obs.index.intersection(list(patient_ids)):
                found.setdefault(str(patient_id), []).extend(_headed(obs.loc[patient_id], source))
    for patient_id, record in read(folder, patient_ids).items():
        found[patient_id] += [*_genes(record), *_followed(record)]
    return found


@lru_cache(maxsize=8)
def _tables(store: Path, stamp: int) -> list[tuple[str, "pd.DataFrame"]]:
    """Name and obs of each table of a store; `stamp` is when it was last changed."""
    from anndata.io import read_elem

    with open_store(store) as root:
        groups = {f"{store.stem} obs": root} | {
            f"{name} obs": root["mod"][name] for name in root.get("mod", ())
        }
        return [(name, read_elem(group["obs"])) for name, group in groups.items()]


def _headed(row: Any, source: str) -> Iterator[Assertion]:
    for column, subject in SUBJECTS.items():
        if isinstance(value := row.get(column), str):
            yield Assertion.of(subject, source, value)
    if (age := row.get("age")) == age and age is not None:  # not NaN
        yield Assertion.of(AGE, source, float(age), within=0.05)


def _followed(record: Record) -> Iterator[Assertion]:
    """Months to death, or for who was last seen alive at least so many."""
    if (months := record.facts.get("os_months")) is not None:
        yield Assertion(SURVIVAL, "follow-up in obs", months, months if record.facts["os_event"] else inf)


def _genes(record: Record) -> Iterator[Assertion]:
    for gene in MARKERS:
        if gene in record.facts:
            yield Assertion.of(f"{gene} expression", "RNA", float(record.facts[gene]), within=0.006)
    if (subtype := record.facts.get("pam50")) in EXPECTED:
        gene, low, high = EXPECTED[subtype]
        yield Assertion(
            f"{gene} expression", f"usual range of the subtype ({gene})", low, high, certain=False
        )
