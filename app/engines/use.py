"""Use: weight files that the user names in place of those in force, and those that a cohort was drawn with."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from ...core.capabilities import WeightKinds, by_default
from ...core.cohort.cohort import Cohort
from ...core.errors import InputError
from ...core.instance_name import base_of, named, split
from ...core.modality import Modality
from ...core.registry import load_modality, sound
from ...core.remarks import remark
from ...core.training import weights
from ...core.training.weights import Card

Use = Mapping[str, str | Path]  # name of weights -> file


@contextmanager
def using(use: Use, modalities: Sequence[str] = ()) -> Iterator[None]:
    """The files of `use` in force for these modalities (by default all installed ones, and instances that `use` names).

    Raises InputError: no such file, not weights, a name that no modality reads, or weights of another modality or kind.
    """
    if not isinstance(use, Mapping):
        raise InputError(f"use: expected {{name: file}}, as {{'imaging': 'skin.safetensors'}}, got {use!r}")
    files = {name: Path(file).resolve() for name, file in use.items()}
    cards = {name: _card(name, file) for name, file in files.items()}
    with weights.using(files):
        if cards:
            _check([load_modality(name) for name in dict.fromkeys(modalities or everything())], cards)
        yield


def everything() -> tuple[str, ...]:
    """What is drawn where nothing is named: all but those on request, and the instances of named weights."""
    return (*by_default(sound("modalities")), *instances(weights.named()))


def instances(names: Iterable[str]) -> list[str]:
    """Modalities that weights of these names are instances of: `signals:holter` for `ecg:holter`. Raises InputError."""
    parts = [(name, *split(name)) for name in names if ":" in name]
    readers = {w: m.name for m in sound("modalities").values() for w in _read_by(m)} if parts else {}
    found = []
    for name, base, label in parts:
        if base not in readers:
            raise InputError(
                f"--use {name}: no modality reads weights {base}; expected one of: "
                f"{', '.join(f'{known}:{label}' for known in sorted(readers))}"
            )
        found.append(named(readers[base], label))
    return list(dict.fromkeys(found))


def _read_by(modality: Modality) -> list[str]:
    """Names of all weights that a modality may read."""
    more = modality.weight_kinds() if isinstance(modality, WeightKinds) else ()
    return [*modality.weights(), *more]


def _card(name: str, file: Path) -> Card:
    if not file.is_file():
        raise InputError(
            f"--use {name}: {file}: no such file; expected weights that `polyclinic train` wrote"
        )
    return weights.read_card(file)


def _check(modalities: Iterable[Modality], cards: Mapping[str, Card]) -> None:
    readers = {name: modality for modality in modalities for name in modality.weights()}
    for name, card in cards.items():
        if name not in readers:
            raise InputError(
                f"--use {name}: no modality drawn here reads weights of that name; expected one of: "
                f"{', '.join(sorted(readers)) or 'none'}"
            )
        reader = readers[name]
        if card.modality != base_of(reader.name):
            raise InputError(
                f"--use {name}: expected weights of {base_of(reader.name)}, got weights of {card.modality}"
            )
        kinds = reader.weight_kinds().get(base_of(name), ()) if isinstance(reader, WeightKinds) else ()
        if kinds and not card.kind.startswith(kinds):
            raise InputError(f"--use {name}: expected weights of kind {' or '.join(kinds)}, got {card.kind}")


def places(names: Iterable[str], folder: Path) -> dict[str, str]:
    """Where the named ones of these weights lie, from a cohort's folder on."""
    there = weights.named()
    return {
        name: Path(os.path.relpath(there[name], folder.resolve())).as_posix()
        for name in names
        if name in there
    }


def recorded(cohort: Cohort) -> dict[str, Path]:
    """The weight files that were named when a cohort was drawn; a remark says which are gone or changed."""
    found = {}
    for name, place in cohort.manifest.get("use", {}).items():
        file = (cohort.folder / place).resolve()
        if file.is_file() and weights.digest(file) == cohort.manifest["weights"][name]:
            found[name] = file
        elif (there := weights.place_of(name)) is None or (
            weights.digest(there) != cohort.manifest["weights"][name]
        ):
            remark(f"{cohort.folder}: the weights {name} that it was drawn with are no longer {file}")
    return found
