"""convert(): another form of the health records of a finished cohort, in a folder beside it."""

from itertools import islice
from pathlib import Path

from ..core.cohort.cohort import Cohort
from ..core.cohort.disk import refusals, require_folder, whole_folder
from ..core.cohort.quarantine import require_free
from ..core.contracts import CohortFormat
from ..core.errors import InputError
from ..core.registry import formats_of, load, load_modality

MODALITY = "records"
TOGETHER = 64  # patients in memory


def convert(cohort: Cohort, to: str, out: Path) -> list[Path]:
    """Write the records of a cohort in an installed format below `out`, which must be new or empty; the paths.

    The files are those that `records.formats` writes while a cohort is made. The cohort is not changed, and where
    something fails nothing is left. Raises InputError, and Refused for a cohort in quarantine.
    """
    cohort.require_complete()
    if to not in (known := formats_of(MODALITY)):
        raise InputError(f"--to {to}: expected one of the installed formats of records: {', '.join(known)}")
    if MODALITY not in cohort.manifest["modalities"]:
        raise InputError(
            f"{cohort.folder}: the cohort has no health records; generate it with the modality records"
        )
    made = load("formats", f"{MODALITY}.{to}")
    require_free(cohort.folder)
    cohort.require_files()
    require_folder(out)
    with refusals(out), whole_folder(out) as place:
        paths: list[Path] = []
        if isinstance(made, CohortFormat):
            paths = made.convert(cohort.folder, place)
        else:
            patients = cohort.records(load_modality(MODALITY))
            while some := list(islice(patients, TOGETHER)):
                paths += made.write([p.records[MODALITY] for p in some], [p.profile for p in some], place)
    return [out / path.relative_to(place) for path in paths]
