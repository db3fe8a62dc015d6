"""compare: a folder of synthetic data of any origin, read so that it can be judged against a folder of real data."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from ..conditioning.dataset.dataset import read_training_set
from ..conditioning.dataset.fhir_bulk import is_fhir_folder
from ..conditioning.table.table_model import POPULATION
from ..core.capabilities import real_records
from ..core.config import DatasetConfig
from ..core.errors import InputError
from ..core.modality import Modality, TrainingSet
from ..core.pipeline import Patient
from ..core.profile import PatientProfile
from ..core.registry import load_modality
from ..core.remarks import remark
from ..core.tables import STORES, read_table
from .patient_table import fhir_config, read_tables
from .training import DATASET, describe

CHUNK = 64  # records read at a time
HALF = 0.5  # of the real patients are held out where no split is given
NO_SPLIT = (
    "nobody says which real patients the generator was trained on; say so by a column `split` (train, test) in the "
    "real folder's table, or give their folder as --train (train= in Python)"
)


class PlainFolder:
    """Synthetic records of a training folder, of one modality, in the place of a cohort on disk.

    `most` patients, evenly spread, are looked at.
    """

    def __init__(self, rows: TrainingSet, modality: str, most: int | None = None) -> None:
        ids = list(dict.fromkeys(profile.patient_id for profile in rows.profiles))
        chosen = set(ids if most is None else ids[:: max(1, -(-len(ids) // most))])
        kept = [place for place, profile in enumerate(rows.profiles) if profile.patient_id in chosen]
        self.folder, self._modality, self._rows = rows.root, modality, rows.at(kept)

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
            some = self._rows.at(range(start, min(start + CHUNK, len(self._rows))))
            for profile, record in real_records(modality, some):
                yield Patient(profile, {modality.name: record})


@dataclass(frozen=True)
class Folders:
    """Two folders that are read: their modality, the real train and test rows, and the synthetic patients.

    unattacked: why nobody knows which real patients the generator may have seen; "" where the real folder says so.
    """

    modality: Modality
    real: tuple[TrainingSet, TrainingSet]
    synthetic: PlainFolder
    unattacked: str


def read_both(real: Path, synthetic: Path, most: int | None, train: Path | None = None) -> Folders:
    """Both folders, `most` patients of the synthetic one.

    `train` is a folder of the real patients that the generator was trained on; the whole of `real` is then held out.
    Without it the split of the real folder says who they are, and real patients are halved where there is none. A
    folder that does not describe itself is read by the real folder's dataset.yaml. Raises InputError: a real folder
    that does not describe itself, or folders of two modalities.
    """
    name, truth = _described(real)
    made = _like(synthetic, name, real, truth)
    stated = train is not None or _has_split(truth, real)
    if train is not None:
        members = _like(train, name, real, truth)
        pair = [(_with_share(members, 0), train, "train"), (_with_share(truth, 1), real, "test")]
    else:
        truth = truth if stated else _with_share(truth, truth.test_share or HALF)
        pair = [(truth, real, "train"), (truth, real, "test")]
    sides = [*pair, (_with_share(made, 0), synthetic, "train")]
    modality: Modality
    if name == POPULATION:
        table, read = read_tables(sides)
        modality = cast(Modality, table)  # compare asks for its name, records and views alone
    else:
        modality, read = load_modality(name), [read_training_set(*side) for side in sides]
    for (_, folder, _), rows in zip(sides, read, strict=True):
        if not len(rows):
            raise InputError(f"{folder}: compare needs a table of patients or DICOM files")
    return Folders(modality, (read[0], read[1]), PlainFolder(read[2], name, most), "" if stated else NO_SPLIT)


def _like(folder: Path, modality: str, real: Path, described: DatasetConfig) -> DatasetConfig:
    """The description of a folder that must hold what the real one holds. Raises InputError."""
    other, found = _described(folder, described)
    if other != modality:
        raise InputError(
            f"{real} holds {modality}, {folder} holds {other}; expected two folders of one modality"
        )
    return found


def _described(folder: Path, real: DatasetConfig | None = None) -> tuple[str, DatasetConfig]:
    """Modality and description of a folder; of the synthetic one by `real` where it has none."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; expected the data to compare there")
    found = describe(folder) or (fhir_config(folder) if is_fhir_folder(folder) else None)
    if found is None and real is not None:
        remark(f"{folder}: no {DATASET}; read as that of the real folder says")
        found = real.model_copy(update={"name": folder.resolve().name})
    if found is None:
        raise InputError(
            f"{folder / DATASET}: no such file; it describes the folder (folders of DICOM files or of FHIR resources "
            "alone need none)"
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
    is_table = table is not None and table.exists() and (table.is_file() or table.suffix in STORES)
    return bool(config.split and table and is_table and config.split in read_table(table).columns)
