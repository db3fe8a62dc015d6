"""compare: a folder of synthetic data of any origin, read so that it can be judged against a folder of real data."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from ..conditioning.dataset.dataset import read_training_set
from ..core.capabilities import real_records
from ..core.config import DatasetConfig
from ..core.errors import InputError
from ..core.modality import Modality, TrainingSet
from ..core.pipeline import Patient
from ..core.profile import PatientProfile
from ..core.registry import load_modality
from ..core.tables import read_table
from .training import DATASET, describe

CHUNK = 64  # records read at a time
HALF = 0.5  # of the real patients are held out where no split is given


class PlainFolder:
    """Synthetic records of a training folder, of one modality, in the place of a cohort on disk.

    `most` patients, evenly spread, are looked at.
    """

    def __init__(self, rows: TrainingSet, modality: str, most: int | None = None) -> None:
        ids = list(dict.fromkeys(profile.patient_id for profile in rows.profiles))
        chosen = set(ids if most is None else ids[:: max(1, -(-len(ids) // most))])
        kept = [place for place, profile in enumerate(rows.profiles) if profile.patient_id in chosen]
        self.folder, self._modality, self._rows = rows.root, modality, _at(rows, kept)

    @property
    def patients(self) -> int:
        """How many different patients are looked at."""
        return len({profile.patient_id for profile in self._rows.profiles})

    def profiles(self) -> Iterator[PatientProfile]:
        """Each patient once, as the last of the rows says."""
        return iter({profile.patient_id: profile for profile in self._rows.profiles}.values())

    def records(self, modality: Modality) -> Iterator[Patient]:
        """Every row with its record."""
        if modality.name != self._modality:
            return
        for start in range(0, len(self._rows), CHUNK):
            some = _at(self._rows, range(start, min(start + CHUNK, len(self._rows))))
            for profile, record in real_records(modality, some):
                yield Patient(profile, {modality.name: record})


def _at(rows: TrainingSet, places: Sequence[int]) -> TrainingSet:
    """The rows at these places."""
    records = tuple(rows.records[place] for place in places)
    return replace(rows, records=records, profiles=tuple(rows.profiles[place] for place in places))


def read_both(
    real: Path, synthetic: Path, most: int | None
) -> tuple[Modality, tuple[TrainingSet, TrainingSet], PlainFolder]:
    """The modality of both folders, the real train and test rows, and `most` patients of the synthetic folder.

    Real patients are halved where the folder gives no split. Raises InputError: a folder that does not describe
    itself, or folders of two modalities.
    """
    (name, truth), (other, made) = _described(real), _described(synthetic)
    if name != other:
        raise InputError(
            f"{real} holds {name}, {synthetic} holds {other}; expected two folders of one modality"
        )
    truth = truth if _has_split(truth, real) else _with_share(truth, truth.test_share or HALF)
    pair = (read_training_set(truth, real, "train"), read_training_set(truth, real, "test"))
    rows = read_training_set(_with_share(made, 0), synthetic, "train")
    if not (len(rows) and len(pair[0])):
        raise InputError(
            f"{real if len(rows) else synthetic}: compare needs a table of patients or DICOM files"
        )
    return load_modality(name), pair, PlainFolder(rows, name, most)


def _described(folder: Path) -> tuple[str, DatasetConfig]:
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; expected the data to compare there")
    found = describe(folder)
    if found is None:
        raise InputError(
            f"{folder / DATASET}: no such file; it describes the folder (DICOM files alone need none)"
        )
    if not isinstance(name := found.options.get("modality"), str):
        raise InputError(
            f"{folder / DATASET}: options: expected `modality: NAME`, to know what the records are"
        )
    return name, found


def _with_share(config: DatasetConfig, share: float) -> DatasetConfig:
    """Split by a hash of the patient's id, whatever the table says."""
    return config.model_copy(update={"split": None, "test_share": share})


def _has_split(config: DatasetConfig, folder: Path) -> bool:
    table = folder / config.path / config.table if config.table else None
    return bool(config.split and table and table.exists() and config.split in read_table(table).columns)
