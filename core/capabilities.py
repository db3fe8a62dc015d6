"""Capabilities: what a modality may also be able to do, each a Protocol; whoever uses one asks with isinstance().

core.modality.Modality is what every modality must have. A capability is had by having its methods; nothing is
declared. Whatever a modality lacks is left out where it would be used, which each Protocol says.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from .assertions import Assertion
from .cohort.watermark import Mark, Tally
from .config import Settings
from .modality import Modality, Record, TrainingSet, View
from .profile import PatientProfile
from .types import AnyArray


@runtime_checkable
class Asserting(Protocol):
    """States what its files say of a patient, for consistency checks between modalities. All of ours do."""

    def assertions(self, folder: Path, patient_ids: Sequence[str]) -> dict[str, list[Assertion]]:
        """What the files of a cohort folder say of these patients, read from the files themselves.

        Patients without such a file are left out. Raises InputError naming a file that cannot be read.
        """
        ...


@runtime_checkable
class Watermarking(Protocol):
    """Puts a watermark into its records; records of other modalities have none. Images, signals and omics can."""

    def mark(self, record: Record, mark: Mark, patient_id: str) -> Record:
        """The record with marks in its arrays, and facts that are true of the marked arrays."""
        ...

    def marks(self, record: Record, mark: Mark, patient_id: str) -> Tally:
        """How far a record's arrays agree with the marks."""
        ...


@runtime_checkable
class Measuring(Protocol):
    """Measures shipped numbers of the profile on real records, as a heart rate on an ECG. Signals does."""

    def baselines(self, data: TrainingSet) -> list[Mapping[str, float]]:
        """What each row's record shows, by field name."""
        ...


@runtime_checkable
class Windowed(Protocol):
    """Cuts long records of a training folder into several. Signals does; of others a row has one record."""

    def windows(self, data: TrainingSet) -> Iterator[tuple[PatientProfile, Record]]:
        """Every record of the rows, with its patient; see real_records."""
        ...


def real_records(modality: Modality, data: TrainingSet) -> Iterator[tuple[PatientProfile, Record]]:
    """Every record of a training folder's rows, with its patient."""
    if isinstance(modality, Windowed):
        yield from modality.windows(data)
    else:
        yield from zip(data.profiles, modality.load(data), strict=True)


@runtime_checkable
class Searchable(Protocol):
    """Searches its own files for traces of persons; files of other modalities are searched for real ids only."""

    def identifiers(self, folder: Path, patient_ids: Sequence[str]) -> Iterable[tuple[str, str]]:
        """(path below the folder, what it shows) of these patients' files in a cohort folder.

        Raises InputError naming a file that cannot be read.
        """
        ...


@runtime_checkable
class ClinicalRules(Protocol):
    """Has clinical rules that its records must keep; a release counts the breaches. Our health record has."""

    def rule_names(self) -> Mapping[str, str]:
        """Every rule that breaches() checks: name -> one plain sentence."""
        ...

    def breaches(self, record: Record) -> list[tuple[str, str]]:
        """(name of the rule, what breaks it) for each rule that a record breaks."""
        ...


@runtime_checkable
class SizedRecords(Protocol):
    """Knows how large its records are on disk, so that a full disk is refused early; 1 MB is taken of others."""

    @property
    def bytes_per_record(self) -> int:
        """Bytes that one patient's record takes at most while a cohort is written."""
        ...


@runtime_checkable
class NeedsPackages(Protocol):
    """Needs packages that only an extra brings, which is refused before models are loaded; others need none."""

    def require_packages(self) -> None:
        """Raises InputError where what its options ask for needs a package that is not installed."""
        ...


@runtime_checkable
class Joining(Protocol):
    """Has files that all patients share beside those of each patient, as annotations of images are; others have none.

    export() writes them for its slice of patients, and assemble() joins them, as all files of a `shared` modality.
    """

    @property
    def joined(self) -> Sequence[str]:
        """Their paths below the folder that export() writes to."""
        ...


@runtime_checkable
class WeightKinds(Protocol):
    """Says which kinds of model its weight files may be; those of other modalities are tried as they are."""

    def weight_kinds(self) -> Mapping[str, tuple[str, ...]]:
        """By name of the weights: what the kind in their card begins with, one of these."""
        ...


@runtime_checkable
class NamedColumns(Protocol):
    """Names the columns of its arrays, so that tables of them have heads; others are numbered. Signals of ours does."""

    def column_names(self, array: str, record: Record) -> tuple[str, ...]:
        """Names of the leads or channels of an array of this record."""
        ...


@runtime_checkable
class ViewsOfData(Protocol):
    """Looks at real data by what they hold; others have the same views for all data. All but records of ours do."""

    def views_of(self, data: Sequence[TrainingSet]) -> list[View]:
        """What eval may measure where real data are given. Raises InputError."""
        ...


@runtime_checkable
class OnRequest(Protocol):
    """Is drawn only where it is asked for by name; others are drawn by default. Genotypes of ours is so."""

    on_request: bool


def by_default(installed: Mapping[str, Modality]) -> list[str]:
    """Names of the modalities that a cohort has if none is named."""
    return [name for name, made in installed.items() if not (isinstance(made, OnRequest) and made.on_request)]


class LiveSource(Protocol):
    """One patient's signals; each second is asked for once, in order. The monitor of signals and LiveWearable are ours.

    One that is `sparse` has no vitals in most seconds, which are not sent then.
    """

    @property
    def signals(self) -> Sequence[str]:
        """Those of `ecg`, `vitals` and `ppg` that this patient has, and that were asked for."""
        ...

    def vitals(self, second: int) -> Mapping[str, float]:
        """Channel to value at that second."""
        ...

    def ecg(self, second: int) -> tuple[Mapping[str, NDArray[np.int16] | None], list[int]]:
        """A second of each lead in microvolts, None where its electrode is off, and the R peaks' samples."""
        ...

    def describe(self) -> dict[str, Any]:
        """Signal to what it is and where it comes from, in plain JSON types."""
        ...


@runtime_checkable
class LivePulse(Protocol):
    """A source that also has a pulse wave, the signal `ppg`."""

    def ppg(self, second: int) -> tuple[Mapping[str, AnyArray], list[int]]:
        """A second of each site in arbitrary units, and the R peaks' samples."""
        ...


@runtime_checkable
class Live(Protocol):
    """Streams its records as a monitor does; others cannot be streamed. Signals and wearables of ours can."""

    def live_rules(self) -> Mapping[str, type[Settings]]:
        """What may befall a patient in a scenario, by name."""
        ...

    def live(self, profile: PatientProfile, record: Record, seed: int, **how: Any) -> LiveSource:
        """A patient's signals; `how`: signals, rate (Hz of the ECG), start (second of the day), rules.

        Where it is known from what the record was drawn, `how` has also row, a Batch of one, and its columns.
        """
        ...


CAPABILITIES = (
    Asserting,
    Joining,
    Watermarking,
    Windowed,
    Searchable,
    ClinicalRules,
    SizedRecords,
    NamedColumns,
    ViewsOfData,
    Live,
)
