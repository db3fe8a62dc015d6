"""A DICOM file-set a patient, as on a CD: DICOMDIR and the images under names of eight characters (PS3.10 8)."""

import warnings
from collections.abc import Sequence
from pathlib import Path

from ....core.errors import InputError
from ....core.profile import PatientProfile, derived_uid

FOLDER = "media"


def check(profile: PatientProfile) -> None:
    """Raises InputError for a patient that no catalogue can list."""
    if profile.index_date is None:
        raise InputError(
            f"imaging.dicomdir: a catalogue needs a study date, patient {profile.patient_id} has no index_date"
        )


def write(paths: Sequence[Path], profile: PatientProfile, folder: Path) -> list[Path]:
    """Copies of a patient's images below media/<patient>/, with their DICOMDIR; the paths written."""
    from pydicom import dcmread
    from pydicom.fileset import FileSet
    from pydicom.uid import UID

    datasets = [dcmread(path) for path in paths]
    made = FileSet()
    made.UID = UID(derived_uid(datasets[0].StudyInstanceUID, "media"))
    made.ID = "SYNTHETIC"
    for dataset in datasets:
        made.add(dataset)
    home = folder / FOLDER / profile.patient_id
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="pydicom")
        made.write(home)
    made._stage["t"].cleanup()  # pydicom's temporary folder, which it leaves to the garbage collector
    return sorted(path for path in home.rglob("*") if path.is_file())
