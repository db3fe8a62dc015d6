"""Cohort: a finished cohort on disk as tables and arrays, for notebooks and for training."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.capabilities import NamedColumns
from ..core.cohort.cohort import PATIENTS
from ..core.cohort.cohort import Cohort as CohortFolder
from ..core.config import read_json
from ..core.errors import InputError
from ..core.instance_name import label_of, named
from ..core.modality import Modality, Record
from ..core.paths import file_name
from ..core.types import AnyArray, Float32Array

if TYPE_CHECKING:
    from pandas import DataFrame

    from .dataset import CohortDataset

IMAGING, SIGNALS, OMICS, FHIR = "imaging", "signals", "omics", "fhir"


@dataclass(frozen=True)
class Cohort:
    """A finished cohort. Files are opened when something is asked for; nothing is kept in memory but the table.

    Raises InputError where the folder has no finished cohort, or no records of the kind asked for.

    >>> cohort = open_cohort(folder)
    >>> len(cohort), cohort
    (20, Cohort(folder=...))
    """

    folder: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "folder", Path(self.folder))
        self.on_disk.require_complete()

    def __reduce__(self) -> tuple[type["Cohort"], tuple[Path]]:
        return Cohort, (self.folder,)

    def __len__(self) -> int:
        return self.on_disk.patients

    @cached_property
    def on_disk(self) -> CohortFolder:
        """The folder with its manifest, as core.cohort reads and writes it."""
        return CohortFolder.open(self.folder)

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of the modalities whose records the cohort has.

        >>> open_cohort(folder).modalities
        ('imaging', 'omics', 'records', 'signals')
        """
        return tuple(sorted(self.on_disk.manifest["modalities"]))

    @property
    def patients(self) -> "DataFrame":
        """One row a patient, by `patient_id`: age (years), height (cm), weight (kg), codes, measurements.

        Columns are named as the fields are (docs/how-to/fields.md); an unknown value is missing. `has_<modality>`
        says whether the patient has such a record.

        >>> open_cohort(folder).patients[["age", "sex"]].shape
        (20, 2)
        """
        return self._table

    @cached_property
    def _table(self) -> "DataFrame":
        import pandas as pd

        return pd.read_parquet(self.folder / PATIENTS).set_index("patient_id")

    def records(self, modality: str) -> Iterator[tuple[str, Record]]:
        """(patient id, record) of everyone who has a record of that modality, in the cohort's order."""
        for patient in self.on_disk.records(self.modality(modality)):
            yield patient.profile.patient_id, patient.records[modality]

    def images(self, instance: str = "") -> Iterator[tuple[str, AnyArray]]:
        """(patient id, image) of each patient: (row, column) uint16, in the levels that the DICOM file stores.

        Images in colour are (row, column, 3) uint8. `instance` names the images of `imaging:<instance>`, as `skin`.

        >>> patient_id, image = next(open_cohort(folder).images())
        >>> image.ndim, str(image.dtype)
        (2, 'uint16')
        """
        return self._arrays(named(IMAGING, instance), "image")

    def ecgs(self, instance: str = "") -> Iterator[tuple[str, Float32Array]]:
        """(patient id, ECG) of each patient: (lead, sample) float32 mV at 500 Hz, leads I II III aVR aVL aVF V1 to V6.

        ECGs of other weights have their leads. `instance` names the ECGs of `ecg:<instance>`, as `holter`.

        >>> patient_id, ecg = next(open_cohort(folder).ecgs())
        >>> ecg.shape
        (12, 5000)
        """
        return self._arrays(named(SIGNALS, instance), "ecg")

    def vitals(self, instance: str = "") -> "DataFrame":
        """Vital signs of all patients, by `patient_id` and `hour`; a column a channel, missing where not charted.

        Units of the seven vital signs: HR and Resp /min, O2Sat %, Temp Cel, SBP, MAP and DBP mmHg; charts of weights of
        other data have the channels and units of those data. `instance` names those of `vitals:<instance>`, as `labs`.

        >>> open_cohort(folder).vitals().columns[0]
        'HR'
        """
        import pandas as pd

        signals = named(SIGNALS, instance)
        modality = self.modality(signals)
        tables = {
            pid: pd.DataFrame(
                record.arrays["vitals"],
                columns=modality.column_names("vitals", record)
                if isinstance(modality, NamedColumns)
                else None,
            )
            for pid, record in self.records(signals)
            if "vitals" in record.arrays
        }
        if not tables:
            raise InputError(f"{self.folder}: the records of {signals} have no vitals")
        return pd.concat(tables, names=["patient_id", "hour"])

    def omics(self, assay: str = "rna", instance: str = "") -> "DataFrame":
        """One assay of all patients who have it: a row a patient, a column a gene or probe.

        Values are those of the cohort's store: log2 expression of `rna` and `mirna`, beta values of `meth`. `instance`
        names the samples of `omics:<instance>`, as `leukaemia`.

        >>> open_cohort(folder).omics("rna").index.name
        'patient_id'
        """
        import pandas as pd

        rows = {}
        for pid, record in self.records(named(OMICS, instance)):
            if assay not in record.arrays:
                known = ", ".join(name for name in record.arrays if not name.endswith("_var"))
                raise InputError(f"{self.folder}: no assay {assay!r}; expected one of: {known}")
            rows[pid] = pd.Series(record.arrays[assay], index=record.arrays[f"{assay}_var"])
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis(index="patient_id")

    def fhir(self, resource_type: str) -> Iterator[dict[str, Any]]:
        """Resources of one FHIR R4 type, as mappings, in the order of the file.

        >>> next(open_cohort(folder).fhir("Patient"))["resourceType"]
        'Patient'
        """
        path = self.folder / FHIR / f"{file_name(resource_type, 'FHIR resource type')}.ndjson"
        if not path.parent.is_dir():
            raise InputError(f"{self.folder}: has no health record; generate it with the modality records")
        if not path.is_file():
            known = ", ".join(sorted(p.stem for p in path.parent.glob("*.ndjson"))) or "none"
            raise InputError(f"{self.folder}: no FHIR {resource_type!r}; expected one of: {known}")
        return _lines(path)

    def dataset(
        self,
        arrays: Sequence[str],
        transform: Callable[[dict[str, Any]], Any] | None = None,
    ) -> "CohortDataset":
        """A torch Dataset of the patients who have all of these arrays; it works with DataLoader workers.

        `arrays` are names of arrays of records: image, ecg, vitals, rna; `image:skin` of the modality `imaging:skin`.
        An item is a dict of these as torch tensors with `patient_id`; `transform` takes that dict and gives what the
        item shall be (at module level, to be sent to spawned workers).

        >>> dataset = open_cohort(folder).dataset(["ecg"])
        >>> dataset[0]["ecg"].shape
        torch.Size([12, 5000])
        """
        from .dataset import CohortDataset

        homes = self._homes([arrays] if isinstance(arrays, str) else arrays)
        complete = self.patients[[f"has_{name}" for name in set(homes.values())]].all(axis=1)
        ids = list(map(str, self.patients.index[complete]))
        return CohortDataset(self.folder, homes, ids, self.modality, transform)

    def _homes(self, arrays: Sequence[str]) -> dict[str, str]:
        """The modality that each array belongs to, found in the first record of each. Raises InputError."""
        if not arrays:
            raise InputError("dataset: name at least one array, as dataset(['image', 'ecg'])")
        known: dict[str, str] = {}
        for name in self.modalities:
            for _, first in islice(self.records(name), 1):
                numeric = (array for array, values in first.arrays.items() if values.dtype.kind in "biuf")
                known = {**{named(array, label_of(name)): name for array in numeric}, **known}
        if missing := [array for array in arrays if array not in known]:
            raise InputError(
                f"{self.folder}: no array {missing[0]!r} in its records; expected some of: {', '.join(known)}"
            )
        return {array: known[array] for array in arrays}

    def modality(self, name: str) -> Modality:
        """The modality of that name with the options that the cohort was drawn with."""
        from .engines.job import choose

        noted: Mapping[str, Any] = self.on_disk.manifest["modalities"]
        if name not in noted:
            raise InputError(f"{self.folder}: has no {name}; expected one of: {', '.join(noted)}")
        options = {name: noted[name]["options"]} if "options" in noted[name] else {}
        return choose([name], options)[0]

    def _arrays(self, modality: str, array: str) -> Iterator[tuple[str, AnyArray]]:
        return ((pid, r.arrays[array]) for pid, r in self.records(modality) if array in r.arrays)


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield read_json(line)
