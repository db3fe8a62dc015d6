"""convert(): another form of the health records of a finished cohort, in a folder beside it."""

from itertools import islice
from pathlib import Path

from ..core.cohort.cohort import Cohort
from ..core.cohort.disk import new_folder, refusals
from ..core.contracts import CohortFormat
from ..core.errors import InputError
from ..core.registry import formats_of, load, load_modality

MODALITY = "records"
TOGETHER = 64  # patients in memory


def convert(cohort: Cohort, to: str, out: Path) -> list[Path]:
    """Write the records of a cohort in an installed format below `out`, which must be new or empty; the paths.

    The files are those that `records.formats` writes while a cohort is made. The cohort is not changed. Raises
    InputError.
    """
    cohort.require_complete()
    if to not in (known := formats_of(MODALITY)):
        raise InputError(f"--to {to}: expected one of the installed formats of records: {', '.join(known)}")
    if MODALITY not in cohort.manifest["modalities"]:
        raise InputError(
            f"{cohort.folder}: the cohort has no health records; generate it with the modality records"
        )
    made = load("formats", f"{MODALITY}.{to}")
    new_folder(out)
    with refusals(out):
        if isinstance(made, CohortFormat):
            return made.convert(cohort.folder, out)
        paths: list[Path] = []
        patients = cohort.records(load_modality(MODALITY))
        while some := list(islice(patients, TOGETHER)):
            paths += made.write([p.records[MODALITY] for p in some], [p.profile for p in some], out)
        return paths
