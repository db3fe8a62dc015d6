"""by_patient(): the joined NDJSON files of a cohort, one patient after the other; memory holds one patient."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from ....core.errors import InputError
from ..data import FOLDER, TYPES, Resource, patient_of, read_resources

SIGNALS = "wfdb"  # the folder of signals, a folder a patient


class _Stream:
    """The resources of one file, of which the next patient's are taken; the file is in the order of patients."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._waiting = read_resources(path)
        self._next = next(self._waiting, None)

    def take(self, patient_id: str) -> list[Resource]:
        """The next resources, as long as they are this patient's."""
        taken = []
        while self._next is not None and patient_of(self._next) in (patient_id, ""):
            if patient_of(self._next):
                taken.append(self._next)
            self._next = next(self._waiting, None)
        return taken

    def require_end(self) -> None:
        """Raises InputError if a resource is left: its patient is unknown or came earlier."""
        if self._next is not None:
            raise InputError(
                f"{self.path}: expected resources in the order of Patient.ndjson, got one of "
                f"{patient_of(self._next)} after the last; the file is damaged, generate the cohort again"
            )


def root_of(source: Path) -> Path:
    """The folder of the cohort: source, or while a cohort is made the folder above it that has the signals."""
    return next((place for place in (source, *source.parents[:3]) if (place / SIGNALS).is_dir()), source)


def by_patient(
    folder: Path, kinds: Sequence[str] = TYPES
) -> Iterator[tuple[Resource, dict[str, list[Resource]]]]:
    """Each Patient below folder, with the patient's resources by type. Raises InputError naming a damaged file."""
    place = folder / FOLDER
    paths = {kind: place / f"{kind}.ndjson" for kind in kinds if kind != "Patient"}
    streams = {kind: _Stream(path) for kind, path in paths.items() if path.exists()}
    for patient in read_resources(place / "Patient.ndjson"):
        yield patient, {kind: stream.take(str(patient["id"])) for kind, stream in streams.items()}
    for stream in streams.values():
        stream.require_end()
