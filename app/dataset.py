"""CohortDataset: a cohort's records as a torch Dataset, which opens files when an item is asked for."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import Dataset

from ..core.errors import InputError
from ..core.modality import Modality

if TYPE_CHECKING:
    from pathlib import Path

    from .cohort import Cohort


class CohortDataset(Dataset[Any]):
    """Item i is a dict of `patient_id` and of each array of patient i as a tensor, or what `transform` makes of it.

    Raises InputError for an array that no record has. It holds names alone, so that it can be pickled and sent to
    workers, forked or spawned.
    """

    def __init__(
        self,
        cohort: "Cohort",
        arrays: tuple[str, ...],
        transform: Callable[[dict[str, Any]], Any] | None = None,
    ) -> None:
        if not arrays:
            raise InputError("dataset: name at least one array, as dataset(['image', 'ecg'])")
        self.arrays, self.transform = arrays, transform
        self._cohort = cohort
        self._homes = _homes(cohort, arrays)
        patients = cohort.patients
        both = patients[[f"has_{name}" for name in set(self._homes.values())]].all(axis=1)
        self.patient_ids = tuple(map(str, patients.index[both]))
        self._modalities: dict[str, Modality] = {}

    @property
    def folder(self) -> "Path":
        """Where the cohort is."""
        return self._cohort.folder

    def __len__(self) -> int:
        return len(self.patient_ids)

    def __getitem__(self, place: int) -> Any:
        """The item of one patient. Raises InputError naming a file that cannot be read."""
        patient = self.patient_ids[place]
        item: dict[str, Any] = {"patient_id": patient}
        for name in set(self._homes.values()):
            record = self._modality(name).read(self.folder, [patient])[patient]
            for array in (array for array, home in self._homes.items() if home == name):
                if array not in record.arrays:
                    raise InputError(f"{self.folder}: the {name} record of {patient} has no {array!r}")
                item[array] = torch.as_tensor(record.arrays[array].copy())
        return item if self.transform is None else self.transform(item)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_modalities": {}}

    def _modality(self, name: str) -> Modality:
        if name not in self._modalities:
            self._modalities[name] = self._cohort.modality(name)
        return self._modalities[name]


def _homes(cohort: "Cohort", arrays: tuple[str, ...]) -> dict[str, str]:
    """The modality that each array belongs to, found in the first record of each."""
    known: dict[str, str] = {}
    for name in cohort.modalities:
        first = next(cohort.records(name), None)
        for array in () if first is None else first[1].arrays:
            if first is not None and first[1].arrays[array].dtype.kind in "biuf":
                known.setdefault(array, name)
    if missing := [array for array in arrays if array not in known]:
        raise InputError(
            f"{cohort.folder}: no array {missing[0]!r} in its records; expected some of: {', '.join(known)}"
        )
    return {array: known[array] for array in arrays}
