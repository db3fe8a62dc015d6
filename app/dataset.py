"""CohortDataset: a cohort's records as a torch Dataset, which opens files when an item is asked for."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset

from ..core.errors import InputError
from ..core.instance_name import base_of
from ..core.modality import Modality


class CohortDataset(Dataset[Any]):
    """Item i is a dict of `patient_id` and of each array of patient i as a tensor, or what `transform` makes of it.

    `homes` names the modality of each array, `modality_of` gives it. No record is kept, so that a dataset can be
    pickled and sent to workers, forked or spawned.
    """

    def __init__(
        self,
        folder: Path,
        homes: Mapping[str, str],
        patient_ids: Sequence[str],
        modality_of: Callable[[str], Modality],
        transform: Callable[[dict[str, Any]], Any] | None = None,
    ) -> None:
        self.folder, self.patient_ids, self.transform = folder, tuple(patient_ids), transform
        self._homes, self._modality_of = dict(homes), modality_of
        self._modalities: dict[str, Modality] = {}

    def __len__(self) -> int:
        return len(self.patient_ids)

    def __getitem__(self, place: int) -> Any:
        """The item of one patient. Raises InputError naming a file that cannot be read."""
        patient = self.patient_ids[place]
        item: dict[str, Any] = {"patient_id": patient}
        for name in dict.fromkeys(self._homes.values()):
            if name not in self._modalities:
                self._modalities[name] = self._modality_of(name)
            record = self._modalities[name].read(self.folder, [patient])[patient]
            for array in (array for array, home in self._homes.items() if home == name):
                if (own := base_of(array)) not in record.arrays:
                    raise InputError(f"{self.folder}: the {name} record of {patient} has no {array!r}")
                item[array] = torch.as_tensor(record.arrays[own].copy())
        return item if self.transform is None else self.transform(item)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_modalities": {}}
