"""Instance: one modality a second time in a cohort, on weights of its own: `imaging:skin` beside `imaging`.

It wraps the modality and changes what must differ: the name (and with it seeds, columns and rows of the manifest),
which weights are found, the folder of the files, and the names of views and of what is asserted.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .assertions import Assertion, subject_of
from .capabilities import CAPABILITIES, Measuring, WeightKinds
from .errors import InputError
from .instance_name import LABEL, named, stem_of
from .modality import Batch, Conditioner, Generator, Modality, Record, TrainingSet, View
from .profile import PatientProfile
from .training import weights

if TYPE_CHECKING:
    from .training.fit import Fit
    from .training.weights import Weights


def instance(make: Callable[[], Modality], base: str, label: str) -> "Instance":
    """The instance `label` of a modality that `make` makes; it has the modality's capabilities and no others."""
    with weights.of_instance(label):
        modality = make()
    had = [able for able in (*CAPABILITIES, Measuring, WeightKinds) if isinstance(modality, able)]
    found: dict[str, Any] = {}
    for able in had:
        for name, member in vars(able).items():
            if not name.startswith("_"):
                found[name] = _ADAPTED.get(name) or (
                    _property(name) if isinstance(member, property) else _method(name)
                )
    kind: type[Instance] = type("Instance", (Instance,), found)
    return kind(modality, base, label)


class Instance:
    """A modality under another name; see the file."""

    def __init__(self, modality: Modality, base: str, label: str) -> None:
        self.modality, self.base, self.label = modality, base, label
        self.name, self.after, self.shared = named(base, label), modality.after, modality.shared
        self.indication = modality.indication

    def indicated(self, profile: PatientProfile) -> bool:
        """As the modality has it."""
        return self.modality.indicated(profile)

    def weights(self) -> list[str]:
        """Those of its own, as `imaging:skin`, and whatever else they need. Raises InputError where it has none."""
        with self.scope:
            names = self.modality.weights()
            own = weights.own(names)
        if own:
            return [named(name, self.label) if name in own else name for name in names]
        if not names:
            raise InputError(f"{self.name}: {self.base} has no weights, so it has no instances")
        first = named(names[0], self.label)
        there = [name for name in weights.available() if name.startswith(f"{names[0]}-")]
        near = get_close_matches(stem_of(first), there, n=1, cutoff=0.8)
        meant = f"did you mean {self.base}:{near[0].removeprefix(f'{names[0]}-')}? Else " if near else ""
        raise InputError(
            f"{self.name}: there are no weights {first}; {meant}name them, `generate --use {first}=FILE`, "
            f"or put them into the folder of POLYCLINIC_WEIGHTS as {stem_of(first)}.safetensors"
        )

    def generator(self, columns: Sequence[str]) -> Generator:
        """The modality's, on the instance's weights."""
        self.weights()
        with self.scope:
            return _Drawing(self, self.modality.generator(columns))

    def train(
        self,
        data: Sequence[TrainingSet],
        conditioner: Conditioner,
        config: Mapping[str, Any],
        fit: "Fit",
        init: "Weights | None",
    ) -> "Weights":
        """Raises InputError: weights become an instance's when they are used."""
        raise InputError(
            f"{self.name}: train {self.base}; weights are named an instance where they are used: "
            f"generate --use {named('NAME', self.label)}=FILE"
        )

    def load(self, data: TrainingSet) -> list[Record]:
        """As the modality has it."""
        with self.scope:
            return self.modality.load(data)

    def export(
        self, records: Sequence[Record], profiles: Sequence[PatientProfile], folder: Path
    ) -> list[Path]:
        """The modality's files, in a folder of the instance's own below `folder`: `imaging-skin/`."""
        with self.scope:
            (home := self.home(folder)).mkdir(parents=True, exist_ok=True)
            return list(self.modality.export(records, profiles, home))

    def assemble(self, pieces: Sequence[Path], folder: Path) -> list[Path]:
        """The same of files that patients share."""
        with self.scope:
            (home := self.home(folder)).mkdir(parents=True, exist_ok=True)
            return list(self.modality.assemble([self.home(piece) for piece in pieces], home))

    def read(self, folder: Path, patient_ids: Sequence[str]) -> dict[str, Record]:
        """Records back from the instance's folder."""
        with self.scope:
            found = self.modality.read(self.home(folder), patient_ids)
        return {patient: self.labelled(record) for patient, record in found.items()}

    def views(self) -> list[View]:
        """The modality's, each under the instance's name and title."""
        self.weights()
        with self.scope:
            return [_of_instance(view, self.label) for view in self.modality.views()]

    # -- what the above and the capabilities share

    @property
    def scope(self) -> AbstractContextManager[None]:
        """The instance's weights go before the others inside it."""
        return weights.of_instance(self.label)

    def home(self, folder: Path) -> Path:
        """The instance's part of a cohort's folder."""
        return folder / stem_of(self.name)

    def labelled(self, record: Record) -> Record:
        """The record with the fact LABEL."""
        return replace(record, facts={**record.facts, LABEL: self.label})


class _Drawing:
    """The generator of an instance: its records say whose they are."""

    def __init__(self, own: Instance, drawn: Generator) -> None:
        self.own, self.drawn = own, drawn

    def sample(self, batch: Batch) -> list[Record]:
        """One record a row of the batch."""
        with self.own.scope:
            return [self.own.labelled(record) for record in self.drawn.sample(batch)]


def _method(name: str) -> Callable[..., Any]:
    """A method of the modality's, called with the instance's weights in force."""

    def call(self: Instance, *args: Any, **how: Any) -> Any:
        with self.scope:
            found = getattr(self.modality, name)(*args, **how)
        return _in_scope(self, found) if isinstance(found, Iterator) else found

    return call


def _property(name: str) -> property:
    return property(lambda self: getattr(self.modality, name))


def _in_scope(own: Instance, items: Iterator[Any]) -> Iterator[Any]:
    """The items, each made with the instance's weights in force, which are not when the caller has it."""
    while True:
        with own.scope:
            try:
                item = next(items)
            except StopIteration:
                return
        yield item


def _assertions(self: Any, folder: Path, patient_ids: Sequence[str]) -> dict[str, list[Assertion]]:
    """What is asserted, under the instance's name; see core.assertions.SHARED."""
    with self.scope:
        found = self.modality.assertions(self.home(folder), patient_ids)
    return {
        patient: [
            replace(one, subject=subject_of(one.subject, self.label), source=f"{one.source} ({self.label})")
            for one in own
        ]
        for patient, own in found.items()
    }


def _identifiers(self: Any, folder: Path, patient_ids: Sequence[str]) -> Iterable[tuple[str, str]]:
    """Traces of persons, by path from the cohort's folder on."""
    found = self.modality.identifiers(self.home(folder), patient_ids)
    for path, shown in _in_scope(self, iter(found)):
        yield f"{stem_of(self.name)}/{path}", shown


def _views_of(self: Any, data: Sequence[TrainingSet]) -> list[View]:
    """Views of real data, under the instance's name."""
    with self.scope:
        return [_of_instance(view, self.label) for view in self.modality.views_of(data)]


def _of_instance(view: View, label: str) -> View:
    return replace(view, name=named(view.name, label), title=f"{view.title} ({label})")


def _joined(self: Any) -> tuple[str, ...]:
    """Paths of shared files, in the instance's own folder."""
    return tuple(f"{stem_of(self.name)}/{path}" for path in self.modality.joined)


_ADAPTED: Mapping[str, Any] = {
    "joined": property(_joined), "assertions": _assertions, "identifiers": _identifiers, "views_of": _views_of,
}  # fmt: skip
