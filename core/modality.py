"""What a modality is: the required contract that every room meets at; core.capabilities has the optional ones."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from .config import MaskLabel
from .errors import InputError
from .fields import SHIPPED, Field, Vocabulary
from .instance_name import base_of
from .profile import PatientProfile
from .types import AnyArray, Float32Array

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

    from .training.fit import Fit
    from .training.weights import Weights

Facts = Mapping[str, Any]
Condition = Float32Array  # (patient, column)
Rows = Sequence[tuple[PatientProfile, "Record"]]


@dataclass(frozen=True)
class Record:
    """One patient's record of one modality: arrays by name, and the facts measured on them.

    Facts are plain JSON types. They are what later modalities and the health record may state.
    """

    arrays: Mapping[str, AnyArray]
    facts: Facts = field(default_factory=dict)


@dataclass(frozen=True)
class Batch:
    """What a generator is asked for: one record a row, each from its own profile and seed.

    condition is (row, column) float32; facts holds, a row, the facts of the modalities that came
    earlier: {modality name: facts}. declared are the fields beyond the shipped vocabulary that profiles may know.
    """

    profiles: tuple[PatientProfile, ...]
    condition: Condition
    seeds: tuple[int, ...]
    facts: tuple[Mapping[str, Facts], ...] = ()
    declared: tuple[Field, ...] = ()

    def __len__(self) -> int:
        return len(self.profiles)


class Conditioner(Protocol):
    """Profiles to numbers, the same code for every modality. conditioning.encoder.ProfileEncoder is ours."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Name of each column of the code: `<field>` values and `<field>?` masks."""
        ...

    @property
    def declared(self) -> tuple[Field, ...]:
        """The fields beyond the shipped vocabulary that profiles may know."""
        ...

    def encode(self, profiles: Sequence[PatientProfile]) -> Condition:
        """(patient, column) float32; columns of an unknown field are 0, its mask too."""
        ...


class Generator(Protocol):
    """Draws records. Row i may depend on row i's profile, condition, seed and facts only."""

    def sample(self, batch: Batch) -> list[Record]:
        """One record a row of the batch."""
        ...


@dataclass(frozen=True)
class DatasetSource:
    """Where a training set came from, as its card must tell."""

    name: str
    licence: str
    citation: str = ""


@dataclass(frozen=True)
class TrainingSet:
    """Rows of a training folder: which file or key, whose, and what is known of that patient.

    `records[i]` is the path (or row key) of row i, `profiles[i].patient_id` its patient. Several rows
    may belong to one patient. `options` are the folder's modality-specific settings; `vocabulary` holds the
    fields that the folder declares, beyond those that ship. `others` are records of the table's other rows, None where
    they are not known. `masks[i]` is the path of the mask of row i, empty where it has none; `mask_labels` says what
    its values mean.
    """

    root: Path
    source: DatasetSource
    records: tuple[str, ...]
    profiles: tuple[PatientProfile, ...]
    fields: tuple[str, ...]
    split: str
    options: Mapping[str, Any] = field(default_factory=dict)
    vocabulary: Vocabulary = SHIPPED
    others: frozenset[str] | None = None
    masks: tuple[str, ...] = ()
    mask_labels: Mapping[int, MaskLabel] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.records)

    def at(self, places: Iterable[int]) -> "TrainingSet":
        """The rows at these places, in this order."""
        rows = list(places)
        return replace(
            self,
            records=tuple(self.records[i] for i in rows),
            profiles=tuple(self.profiles[i] for i in rows),
            masks=tuple(self.masks[i] for i in rows) if self.masks else (),
        )


@dataclass(frozen=True)
class Task:
    """Something a model can be taught to read off a record, for train-on-synthetic-test-on-real.

    label gives the place in `classes` (0, 1, ...), NaN where it is unknown. `field` is the declared field that it
    is the label of, if it is.
    """

    name: str
    classes: tuple[str, ...]
    label: Callable[[PatientProfile, Record], float]
    field: str = ""


@dataclass(frozen=True)
class Panel:
    """A closer look at the records of a view, for measures of one kind; eval.metrics.registry lists the kinds.

    rows: records -> (record, named number), NaN where a record does not tell. contrast: a task of the view and
    two of its classes, for kinds that compare patients of two classes.
    """

    name: str
    title: str
    kind: str
    rows: Callable[[Sequence[Record]], "DataFrame"]
    about: str
    contrast: tuple[str, str, str] | None = None


@dataclass(frozen=True)
class View:
    """How eval may look at a modality without knowing it; records without the array `needs` are left out.

    features: records -> finite numbers (record, named feature), on which distances run; `about` says in
    plain words what they are, `blind` what they cannot see. inputs: what classifiers see, where that is
    more than the features. panels: closer looks, for measures of their own. picture: draws real rows beside
    synthetic ones (or synthetic ones alone) on a matplotlib Figure and returns the alternative text.
    states: label (a task's name, `age`, `sex`) -> the inputs that state it; its classifier does not see them.
    """

    name: str
    title: str
    needs: str
    features: Callable[[Sequence[Record]], "DataFrame"]
    tasks: tuple[Task, ...]
    picture: Callable[["Figure", "Rows", "Rows"], str]
    about: str
    blind: tuple[str, ...] = ()
    inputs: Callable[[Sequence[Record]], "DataFrame"] | None = None
    panels: tuple[Panel, ...] = ()
    states: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


class Modality(Protocol):
    """One kind of record: how it is learnt, drawn, written, read and looked at."""

    name: str
    after: tuple[str, ...]  # modalities whose facts this one reads
    shared: bool  # True: many patients share a file, so export writes pieces that assemble() joins
    indication: str  # one sentence for the manifest: who has such a record

    def indicated(self, profile: PatientProfile) -> bool:
        """Whether this patient has such a record at all."""
        ...

    def generator(self, columns: Sequence[str]) -> Generator:
        """The generator on the weights in force, fed with conditions of these columns."""
        ...

    def weights(self) -> list[str]:
        """Names of the weight files that generator() reads."""
        ...

    def train(
        self,
        data: Sequence[TrainingSet],
        conditioner: Conditioner,
        config: Mapping[str, Any],
        fit: "Fit",
        init: "Weights | None",
    ) -> "Weights":
        """Learn from training rows; the card of the result says from what and at which privacy cost."""
        ...

    def load(self, data: TrainingSet) -> list[Record]:
        """Real records of a training folder, in the generator's own units. Raises InputError."""
        ...

    def export(
        self, records: Sequence[Record], profiles: Sequence[PatientProfile], folder: Path
    ) -> list[Path]:
        """Write these patients' files below folder, in the cohort's layout; the paths written."""
        ...

    def assemble(self, pieces: Sequence[Path], folder: Path) -> list[Path]:
        """Join what export() wrote into the folders `pieces` (in patient order) into files below folder."""
        ...

    def read(self, folder: Path, patient_ids: Sequence[str]) -> dict[str, Record]:
        """Records back from a cohort folder; patients without one are left out."""
        ...

    def views(self) -> list[View]:
        """What eval may measure; empty where there is no real counterpart."""
        ...


def in_order(modalities: Sequence[Modality]) -> list[Modality]:
    """Each modality after those whose facts it reads, all their instances. Raises InputError on a circle."""
    waiting = list(modalities)
    done: list[Modality] = []
    while waiting:
        due = {base_of(m.name) for m in waiting}
        ready = [m for m in waiting if not set(m.after) & due]
        if not ready:
            raise InputError(f"modalities wait for each other in a circle: {[m.name for m in waiting]}")
        done += ready
        waiting = [m for m in waiting if m not in ready]
    return done
