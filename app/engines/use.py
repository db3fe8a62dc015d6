"""Use: weight files that the user names in place of those in force, and those that a cohort was drawn with."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from ...core.capabilities import WeightKinds
from ...core.cohort.cohort import Cohort
from ...core.errors import InputError
from ...core.modality import Modality
from ...core.registry import load_modality, sound
from ...core.remarks import remark
from ...core.training import weights
from ...core.training.weights import Card

Use = Mapping[str, str | Path]  # name of weights -> file


@contextmanager
def using(use: Use, modalities: Sequence[str] = ()) -> Iterator[None]:
    """The files of `use` in force for these modalities (all installed ones by default).

    Raises InputError: no such file, not weights, a name that no modality reads, or weights of another modality or kind.
    """
    if not isinstance(use, Mapping):
        raise InputError(f"use: expected {{name: file}}, as {{'imaging': 'skin.safetensors'}}, got {use!r}")
    files = {name: Path(file).resolve() for name, file in use.items()}
    cards = {name: _card(name, file) for name, file in files.items()}
    with weights.using(files):
        if cards:
            _check([load_modality(name) for name in dict.fromkeys(modalities or sound("modalities"))], cards)
        yield


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
        if card.modality != reader.name:
            raise InputError(
                f"--use {name}: expected weights of {reader.name}, got weights of {card.modality}"
            )
        kinds = reader.weight_kinds().get(name, ()) if isinstance(reader, WeightKinds) else ()
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
        elif weights.available().get(name) is None or (
            weights.digest(weights.find(name)) != cohort.manifest["weights"][name]
        ):
            remark(f"{cohort.folder}: the weights {name} that it was drawn with are no longer {file}")
    return found
