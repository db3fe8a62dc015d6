"""Contracts of the small plugins: what a format, a sink, an engine, a metric and an attack must have.

core.modality.Modality is the contract of a modality. core.registry finds plugins and checks them.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from .modality import Record
from .profile import PatientProfile
from .types import FloatArray


class Format(Protocol):
    """A further file format of one modality's records. Its entry point is named `<modality>.<name>`.

    It is asked for with `--set <modality>.formats=[<name>]`. A class is made without arguments. It offers `write`
    (PatientFormat), or `convert` (CohortFormat, for formats of records), or both.
    """

    name: str
    modality: str


@runtime_checkable
class PatientFormat(Protocol):
    """A format that is written a slice of patients at a time."""

    def write(
        self, records: Sequence[Record], profiles: Sequence[PatientProfile], folder: Path
    ) -> list[Path]:
        """Write these patients' files below `folder`, a folder a patient or a study; the paths written.

        It is called a slice of patients at a time, so that no file may hold several slices. The bytes depend on the
        records and the profiles alone. Raises InputError before the first file where a patient does not fit.
        """
        ...


@runtime_checkable
class ReadableFormat(Protocol):
    """Optional: a format that reads back what it wrote."""

    def read(self, folder: Path, patient_ids: Sequence[str]) -> dict[str, Record]:
        """Records by patient; patients without files are left out. Raises InputError naming a damaged file."""
        ...


@runtime_checkable
class CohortFormat(Protocol):
    """A format that is made once from the finished cohort, as tables of all patients are. Records alone have such."""

    def convert(self, source: Path, folder: Path) -> list[Path]:
        """Write files below `folder` from the joined files of the cohort below `source`; the paths written.

        The two are one folder while a cohort is made.
        """
        ...


@runtime_checkable
class JoiningFormat(Protocol):
    """Optional: a format with files that all patients share; it joins what write() made of each slice."""

    def assemble(self, pieces: Sequence[Path], folder: Path, provenance: Mapping[str, Any]) -> list[Path]:
        """Join the folders that write() filled, in order, below `folder`; the paths written.

        `provenance` says which weights the records are from. The bytes do not depend on how patients were sliced.
        """
        ...


class Sink(Protocol):
    """Takes the messages of a stream in order. A message has `topic`, `payload` (bytes) and `retain`."""

    async def open(self, will: Any) -> None:
        """Connect or listen; `will` is the message for clients should this process die. Raises InputError."""
        ...

    async def ready(self) -> None:
        """Wait until somebody listens, where the sink waits and can know."""
        ...

    async def send(self, message: Any) -> bool:
        """False if the message was dropped for want of room. Raises app.stream.base.Gone when its reader has left."""
        ...

    async def close(self) -> int:
        """Send what waits and end; how many messages were not delivered."""
        ...


class SinkFactory(Protocol):
    """Makes a Sink; its entry point is named after the scheme of the URL: `kafka` serves kafka://host:port."""

    def __call__(self, address: Any, wait: bool, limit: int) -> Sink:
        """`address` has scheme, host, port; `wait` for room or drop; `limit` bytes may wait for a reader."""
        ...


class Engine(Protocol):
    """Runs the slices of a cohort somewhere; its entry point's name is what `--engine` takes."""

    def __call__(self, job: Any, numbers: Sequence[int], workers: int | None) -> Iterator[int]:
        """Yield the number of each slice when it is written; `job` is what a worker needs and can be pickled.

        Writing a slice again does no harm. `workers` is None where the user leaves it to the engine; `job.address` is
        what `--address` says, for an engine that runs elsewhere.
        """
        ...


class Metric(Protocol):
    """A figure of likeness, taken on the features of each view. A class is made without arguments.

    `name` is its key in scores.json, `title` its row in the report, `higher` whether a higher value is better.
    """

    name: str
    title: str
    higher: bool

    def compute(self, real: FloatArray, synthetic: FloatArray) -> float:
        """(row, feature) of either side, NaN where a value is unknown -> the figure; NaN: it cannot say."""
        ...


class Attack(Protocol):
    """A membership attack on the features of each view. A class is made without arguments.

    eval gives its AUC, TPR at 1 % FPR and intervals.
    """

    name: str
    title: str

    def scores(
        self, synthetic: FloatArray, members: FloatArray, controls: FloatArray, seed: int
    ) -> tuple[FloatArray, FloatArray]:
        """(row, feature) of each group -> the score of each member's row and of each control's row.

        A higher score says that the row is taken for one that the generator was trained on.
        """
        ...
