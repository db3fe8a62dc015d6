"""Identifiers: what a cohort's files still say of who a real patient is."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...core.capabilities import Searchable
from ...core.modality import Modality
from ..cohort import CHUNK, CohortFiles
from ..sample import Comparison

SHORTEST = 6  # characters of an id; shorter ones are found everywhere by chance
READ = 1 << 18  # bytes of a file that are searched, which is all of most and the header of the others
SHORTEST_NUMBER = 10  # digits of an id that has no letter; codes of terminologies are shorter
TOKEN = re.compile(rb"[A-Za-z0-9][A-Za-z0-9_-]{%d,63}" % (SHORTEST - 1))
MOST = 200  # findings that are listed
SEARCHED = 100  # patients whose own files are searched by their modality


@dataclass(frozen=True)
class Identifier:
    """A trace of a person: in which file, and what it is; never the identifying value itself."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


def identifiers(
    cohort: CohortFiles, modalities: Sequence[Modality], comparisons: Mapping[str, Sequence[Comparison]]
) -> list[Identifier]:
    """What the modalities find in their own files of 100 patients, and files that hold the id of a real patient."""
    found = []
    ids = searched([profile.patient_id for profile in cohort.profiles()])
    for modality in modalities:
        if isinstance(modality, Searchable):
            for start in range(0, len(ids), CHUNK):
                hits = modality.identifiers(cohort.folder, ids[start : start + CHUNK])
                found += [Identifier(where, what) for where, what in hits]
    return [*found, *real_ids(cohort.folder, known_ids(comparisons))][:MOST]


def searched(ids: Sequence[str]) -> list[str]:
    """At most 100 of them, evenly spread: reading every pixel takes time."""
    step = max(1, -(-len(ids) // SEARCHED))
    return list(ids[::step])


def known_ids(comparisons: Mapping[str, Sequence[Comparison]]) -> set[bytes]:
    """Ids of the reference's patients that are long enough not to be found by chance."""
    groups = [
        group
        for own in comparisons.values()
        for comparison in own
        for group in (comparison.train, comparison.test)
    ]
    ids = {
        profile.patient_id.partition("/")[2]
        for group in groups
        if group is not None
        for profile in group.profiles
    }
    return {own.encode() for own in ids if len(own) >= (SHORTEST_NUMBER if own.isdigit() else SHORTEST)}


def real_ids(folder: Path, known: set[bytes]) -> Iterable[Identifier]:
    """Files whose name or first quarter of a megabyte holds one of these ids."""
    if not known:
        return
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        with path.open("rb") as file:
            content = name.encode() + b" " + file.read(READ)
        if known.intersection(TOKEN.findall(content)):
            yield Identifier(name, "the id of a real patient of the reference")
