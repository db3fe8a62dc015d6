"""References: the real data that a cohort is held against, and which modality, or instance of one, each set is for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..core.errors import InputError
from ..core.instance_name import base_of, split
from ..core.modality import Modality, TrainingSet
from ..core.remarks import remark
from ..core.training import weights
from .training import describe, references

Pairs = list[tuple[TrainingSet, TrainingSet]]  # train rows, and held-out test rows
Given = str | Path | Mapping[str, str | Path] | Sequence["str | Path | tuple[str, str | Path]"]


@dataclass(frozen=True)
class References:
    """Real data by the modality that the user named, and those of which only the kind of records is known.

    `shipped` are the names of sets that the training configurations describe, not their folder.
    """

    named: Mapping[str, Pairs]
    others: Mapping[str, Pairs]
    shipped: frozenset[str] = frozenset()

    @classmethod
    def load(cls, given: Given) -> "References":
        """A folder (see app.training.references), {modality: folder}, or a list of folders and (modality, folder).

        Raises InputError: no such folder, no reference data in it, none of the modality named.
        """
        rows = list(given.items()) if isinstance(given, Mapping) else given
        rows = [rows] if isinstance(rows, str | Path) else rows
        named: dict[str, Pairs] = {}
        others: dict[str, Pairs] = {}
        shipped: set[str] = set()
        for name, folder in (row if isinstance(row, tuple) else ("", row) for row in rows):
            base, _ = split(name)
            found = references(Path(folder))
            if not name:
                for kind, pairs in found.items():
                    others.setdefault(kind, []).extend(pairs)
                    if describe(Path(folder)) is None:
                        shipped |= {pair[0].source.name for pair in pairs}
            elif base in found:
                named.setdefault(name, []).extend(found[base])
            else:
                raise InputError(
                    f"{folder}: expected reference data of {base}, got those of {', '.join(found)}"
                )
        return cls(named, others, frozenset(shipped))

    def all(self) -> dict[str, Pairs]:
        """Everything, by name or kind."""
        kinds = dict.fromkeys([*self.others, *self.named])
        return {kind: [*self.named.get(kind, ()), *self.others.get(kind, ())] for kind in kinds}

    def of(self, modalities: Sequence[Modality]) -> dict[str, Pairs]:
        """What each of a cohort's modalities is held against.

        A set whose modality was not named goes to those of its kind whose weights were learnt from a set of its name,
        else to the plain one; if the kind has one instance alone and no set has such a name, to that one, unless
        it is a set that ships as reference: chest X-rays say nothing of skin.
        Raises InputError for a modality that the cohort lacks.
        """
        known = {modality.name: modality for modality in modalities}
        if strange := [name for name in self.named if name not in known]:
            raise InputError(f"--reference {strange[0]}: the cohort has {', '.join(known)}")
        found = {name: list(pairs) for name, pairs in self.named.items()}
        for kind, pairs in self.others.items():
            alike = [modality for name, modality in known.items() if base_of(name) == kind]
            for name, own in _meant(kind, pairs, alike, self.shipped).items():
                if name not in self.named:
                    found[name] = own
        return found


def parse(texts: Sequence[str]) -> Given | None:
    """What the command line says, `DIR` and `modality=DIR`, as References.load takes it; None of nothing."""
    return [_parsed(text) for text in texts] or None


def _parsed(text: str) -> str | tuple[str, str]:
    name, equals, folder = text.partition("=")
    return (name, folder) if equals and name.replace(":", "").replace("-", "").isidentifier() else text


def _meant(kind: str, pairs: Pairs, alike: Sequence[Modality], shipped: frozenset[str]) -> dict[str, Pairs]:
    """The sets of one kind by the names of the modalities of that kind that they are for."""
    if [modality.name for modality in alike] == [kind]:
        return {kind: pairs}
    given = {pair[0].source.name for pair in pairs}
    meant = {modality.name: _learnt_from(modality) & given for modality in alike}
    left = given.difference(*meant.values())
    if kind in meant:
        meant[kind] |= left
    elif len(meant) == 1 and left == given and not left & shipped:
        meant = dict.fromkeys(meant, left)
    elif meant and left:
        remark(
            f"reference {', '.join(sorted(left))}: left out, {' and '.join(meant)} not being learnt from data of that "
            f"name; say which it is for: --reference {next(iter(meant))}=DIR"
        )
    return {
        name: [pair for pair in pairs if pair[0].source.name in own] for name, own in meant.items() if own
    }


def _learnt_from(modality: Modality) -> set[str]:
    """Names of the data that a modality's weights have seen."""
    return {data.name for name in modality.weights() for data in weights.read_card(weights.find(name)).data}
