"""Cohort: a folder of linked synthetic patients on disk, written in slices, resumable, every file hashed.

A slice of 16 patients is the unit of work. Its files are written below `.pending/`, moved to their places,
and then `.pending/slice-00000.json` says that the slice is done. Files that patients share are joined
when all slices are done. A process killed at any moment leaves a cohort that resume() completes to the
same bytes.
"""

import errno
import fcntl
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from hashlib import sha256
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..capabilities import Joining
from ..config import read_json
from ..errors import InputError
from ..instance_name import stem_of
from ..memory import give_back
from ..modality import Modality
from ..pipeline import Patient
from ..profile import PatientProfile
from ..remarks import remark
from . import file_list, manifests, patients_table
from .check import MANIFEST as MANIFEST
from .check import check
from .damage import Files, damage, require_files, require_records
from .disk import is_empty, move_into, names_below, new_folder, refusals, require_room, write_atomic
from .file_list import ShardedFiles
from .labels import Part, stores_of, write_labels

if TYPE_CHECKING:
    import pyarrow as pa

SLICE = 16  # patients
TOGETHER = 64  # slices whose profiles are in memory at once when the cohort is finished
RESUME = "run again with --resume"
PATIENTS = patients_table.FILE
PENDING = ".pending"
APART = ".joined"  # ends the name of a slice's folder of files that are joined with those of other slices
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # of some network disks
FIRST_MOMENT = f".{MANIFEST}.part"  # all that a run killed before its first manifest leaves


class Cohort:
    """A cohort folder: manifest, one table of patients, native files. Make one with create, resume or open.

    `header` is what two runs must share to give the same bytes: seed, number of patients, population,
    modalities, hashes of the weights, software versions.
    """

    def __init__(self, folder: Path, manifest: Mapping[str, Any]) -> None:
        self.folder = folder
        self.manifest = dict(manifest)

    # -- open, create, go on

    @classmethod
    def open(cls, folder: Path) -> "Cohort":
        """A cohort on disk, finished or not. Raises InputError."""
        return cls(Path(folder), manifests.read(Path(folder)))

    @classmethod
    def create(cls, folder: Path, header: Mapping[str, Any]) -> "Cohort":
        """A new cohort in a new or empty folder.

        Raises InputError: the folder is not empty, not writable, or its disk has too little room.
        """
        cohort = cls(Path(folder), manifests.begun(header))
        if cohort.folder.is_dir() and (cohort.folder / MANIFEST).exists():
            raise InputError(
                f"{folder}: holds a cohort already; choose another folder, or complete it with --resume"
            )
        made = new_folder(cohort.folder, ignore=FIRST_MOMENT)
        try:
            require_room(cohort.folder, cohort.patients * manifests.bytes_per_patient(header))
            with refusals(cohort.folder):
                cohort._save(cohort.manifest)
        except (OSError, InputError):
            if made:
                cohort.folder.rmdir()
            raise
        return cohort

    @classmethod
    def resume(cls, folder: Path, header: Mapping[str, Any]) -> "Cohort":
        """The unfinished cohort there, or a new one where nothing is; a finished one is returned as it is.

        Raises InputError naming the first setting in which the cohort there differs from `header`.
        """
        folder = Path(folder)
        if not folder.exists() or (folder.is_dir() and is_empty(folder, ignore=FIRST_MOMENT)):
            return cls.create(folder, header)
        cohort = cls.open(folder)
        asked = manifests.begun(header)
        if difference := manifests.difference(cohort.manifest, asked):
            raise InputError(
                f"{folder}: cannot resume, {difference}; ask for the same, or choose another folder"
            )
        if cohort.complete:
            shutil.rmtree(folder / PENDING, ignore_errors=True)
        else:
            left = sum(cohort._slice(number) is None for number in range(cohort.slices)) * SLICE
            require_room(folder, left * manifests.bytes_per_patient(header))
            if cohort.manifest.get("use") != asked.get("use"):  # the same weights at another place
                there = {key: value for key, value in cohort.manifest.items() if key != "use"}
                cohort._save(there | {key: asked[key] for key in ("use",) if key in asked})
        return cohort

    @property
    def resampled(self) -> dict[str, int]:
        """How often each modality was resampled for a release, by name."""
        return dict(self.manifest.get("draw", {}).get("resampled", {}))

    @property
    def complete(self) -> bool:
        """Whether all patients are there and the manifest lists every file."""
        return bool(self.manifest["status"] == "complete")

    def require_complete(self) -> None:
        """Raises InputError unless the cohort is finished."""
        if not self.complete:
            raise InputError(f"{self.folder}: unfinished; complete it with polyclinic generate --resume")

    @property
    def shards(self) -> Files:
        """Hash and size of the shards of the manifest, by path; none where it lists all files itself."""
        files = self.manifest.get("files")
        return files.shards if isinstance(files, ShardedFiles) else {}

    @property
    def patients(self) -> int:
        """How many patients the cohort has, or will have."""
        return int(self.manifest["patients"])

    # -- write

    @property
    def slices(self) -> int:
        """Number of slices of 16 patients."""
        return -(-self.patients // SLICE)

    def span(self, number: int) -> range:
        """Places of the patients of a slice."""
        return range(number * SLICE, min(self.patients, (number + 1) * SLICE))

    def missing(self) -> list[int]:
        """Slices yet to be written: those not done, and those whose files do not match their hashes."""
        if self.complete:
            return []
        return [
            n
            for n in range(self.slices)
            if not (part := self._slice(n)) or damage(self.folder, part["files"])
        ]

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the folder while slices are written and the cohort is finished.

        Raises InputError if another run holds it. A run that fails before its first slice is done leaves
        nothing behind.
        """
        pending = self.folder / PENDING
        with refusals(self.folder, RESUME):
            pending.mkdir(exist_ok=True)
            lock = (pending / "lock").open("w")
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InputError(f"{self.folder}: another run is writing there; wait for it to end") from None
            except OSError as error:
                if error.errno not in NO_LOCKS:
                    raise
                remark(f"{self.folder}: its disk has no locks; see that no other run writes there")
            try:
                yield
            except Exception:
                if not self.complete and not any(self._slice(n) for n in range(self.slices)):
                    shutil.rmtree(pending)
                    (self.folder / MANIFEST).unlink()
                    if is_empty(self.folder):
                        self.folder.rmdir()
                raise

    def write_slice(self, number: int, patients: Sequence[Patient], modalities: Sequence[Modality]) -> None:
        """Write the files of one slice; it is done when this returns, and may be written again.

        Raises InputError when the disk is full; the slice is then not done, the others are kept.
        """
        assert len(patients) == len(self.span(number))
        staging = self.folder / PENDING / slice_name(number)
        with refusals(self.folder, RESUME), ExitStack() as undo:
            shutil.rmtree(staging, ignore_errors=True)
            undo.callback(shutil.rmtree, staging, ignore_errors=True)
            files: Files = {}
            have: dict[str, list[str]] = {}
            for modality in modalities:
                those = [p for p in patients if modality.name in p.records]
                have[modality.name] = [p.profile.patient_id for p in those]
                if those:
                    place = staging / modality.name
                    place.mkdir(parents=True)
                    records = [p.records[modality.name] for p in those]
                    modality.export(records, [p.profile for p in those], place)
            for modality in modalities:
                if (place := staging / modality.name).is_dir():
                    if isinstance(modality, Joining):
                        files |= self._listed(_apart(place, modality.joined))
                    files |= self._listed(place) if modality.shared else self._moved(place)
            part = {"profiles": [p.profile.to_dict() for p in patients], "have": have, "files": files}
            write_atomic(staging.with_suffix(".json"), json.dumps(part).encode())
            undo.pop_all()
        give_back()

    def finish(self, modalities: Sequence[Modality]) -> None:
        """Join shared files, write the table of patients, the labels and the full manifest. All slices must be done.

        Slices are gone through some at a time, so that memory does not grow with their number.
        """
        give_back()
        pending, table = self.folder / PENDING, self.folder / PATIENTS
        joined: Files = {}
        stores: dict[str, str] = {}  # what a modality that many patients share wrote -> its name
        with refusals(self.folder, RESUME):
            for modality in modalities:
                pieces = [pending / slice_name(n) / modality.name for n in range(self.slices)]
                pieces = [piece for piece in pieces if piece.is_dir()]
                if isinstance(modality, Joining):
                    apart = [pending / slice_name(n) / f"{modality.name}{APART}" for n in range(self.slices)]
                    pieces = [piece for piece in apart if piece.is_dir()]
                if (modality.shared or isinstance(modality, Joining)) and pieces:
                    place = pending / "joined" / modality.name
                    shutil.rmtree(place, ignore_errors=True)
                    place.mkdir(parents=True)
                    modality.assemble(pieces, place)
                    give_back()
                    joined |= (made := self._moved(place))
                    if not modality.shared:
                        continue
                    own = f"{stem_of(modality.name)}/" if ":" in modality.name else ""
                    stores |= {
                        own + store: modality.name for store in stores_of(p.removeprefix(own) for p in made)
                    }
            patients_table.write(table, self._tables)
            joined[PATIENTS] = _fingerprint(table)
            fields = self.manifest.get("labels") or patients_table.fields(table)
            for path in write_labels(self.folder, self._labelled(), fields, list(joined), stores):
                joined[path.relative_to(self.folder).as_posix()] = _fingerprint(path)
            listing = file_list.write(self.folder, chain(self._own_files(), [joined]), pending / "listing")
            self._save(self.manifest | {"status": "complete", "modalities": self._modes(listing), **listing})
        shutil.rmtree(pending)

    def _own_files(self) -> Iterator[Files]:
        """The files of patients, by slice; those of all are joined of pieces that are no files of the cohort."""
        for part in self._parts():
            yield {path: f for path, f in part["files"].items() if not path.startswith(PENDING)}

    def _tables(self) -> Iterator["pa.Table"]:
        """The table of patients, some slices at a time."""
        parts = self._parts()
        while some := list(islice(parts, TOGETHER)):
            profiles = [PatientProfile.from_dict(row) for part in some for row in part["profiles"]]
            have = {}
            for name in self.manifest["modalities"]:
                owners = {patient for part in some for patient in part["have"][name]}
                have[name] = [p.patient_id in owners for p in profiles]
            yield patients_table.columns(profiles, have)

    def _labelled(self) -> Iterator[Part]:
        """Patients as the table has them, by slice, with their files and records."""
        profiles = patients_table.profiles(self.folder / PATIENTS)
        for part, files in zip(self._parts(), self._own_files(), strict=True):
            yield Part(list(islice(profiles, len(part["profiles"]))), files, part["have"])

    def _modes(self, listing: Mapping[str, Any]) -> dict[str, Any]:
        """The manifest's modalities, with how many have a record, and, beside a list of files, who has none."""
        modes = {name: {**own, "with_record": 0} for name, own in self.manifest["modalities"].items()}
        without: dict[str, list[str]] = {name: [] for name in modes if "files" in listing}
        for part in self._parts():
            for name, own in modes.items():
                own["with_record"] += len(part["have"][name])
                if name in without:
                    has = set(part["have"][name])
                    ids = (row["patient_id"] for row in part["profiles"])
                    without[name] += [patient for patient in ids if patient not in has]
        return {
            name: own | ({"without_record": without[name]} if name in without else {})
            for name, own in modes.items()
        }

    def _parts(self) -> Iterator[dict[str, Any]]:
        """What each slice's file says, in order."""
        for number in range(self.slices):
            part = self._slice(number)
            assert part, "finish() before all slices are done"
            yield part

    def _slice(self, number: int) -> dict[str, Any] | None:
        """What a slice's file says, None if it is not done."""
        path = self.folder / PENDING / f"{slice_name(number)}.json"
        if not path.exists():
            return None
        part: dict[str, Any] = read_json(path.read_text(encoding="utf-8"))
        return part

    def _listed(self, place: Path) -> Files:
        """Hashes of the files below a folder of the cohort, by path."""
        home = place.relative_to(self.folder).as_posix()
        return {f"{home}/{name}": _fingerprint(place / name) for name in names_below(place)}

    def _moved(self, place: Path) -> Files:
        """Move files below `place` to the same paths below the cohort; their hashes."""
        files = {name: _fingerprint(place / name) for name in names_below(place)}
        move_into(place, self.folder)
        return files

    def _save(self, manifest: dict[str, Any]) -> None:
        if "shards" in manifest:
            manifest |= {"format_version": manifests.SHARDED_VERSION}
        write_atomic(self.folder / MANIFEST, (json.dumps(manifest, indent=1) + "\n").encode())
        self.manifest = manifests.with_files(self.folder, manifest)

    # -- check and read

    def verify(self, progress: Path | None = None) -> list[str]:
        """Each file that is missing or was changed, one line each; empty if all is as it was written.

        Shards of the manifest come first, and alone where they are damaged. `progress` is a file that says how far a
        check of this very manifest has come, and what it found: one that was stopped goes on there. It is removed at
        the end. Raises InputError where it is no such file.
        """
        if self.complete:
            return damage(self.folder, self.shards) or check(self.folder, self.manifest["files"], progress)
        return [
            line
            for n in range(self.slices)
            if (p := self._slice(n))
            for line in damage(self.folder, p["files"])
        ]

    def require_files(self, hashes: bool = False) -> None:
        """Raises InputError unless the files of a finished cohort are there, of their size, and with their hashes."""
        self.require_complete()
        require_files(self.folder, self.manifest["files"], hashes)

    def profiles(self) -> Iterator[PatientProfile]:
        """The patients, in order. Raises InputError if the cohort is unfinished or its table is damaged."""
        self.require_complete()
        return patients_table.profiles(self.folder / PATIENTS)

    def records(self, modality: Modality) -> Iterator[Patient]:
        """The patients who have a record of this modality, with that record."""
        return (p for p in self.read([modality]) if p.records)

    def read(self, modalities: Sequence[Modality], chunk: int = 64) -> Iterator[Patient]:
        """All patients in order, with their records of these modalities, `chunk` patients at a time.

        Raises InputError for a record that the manifest knows and that is not there.
        """
        waiting = self.profiles()
        while some := list(islice(waiting, chunk)):
            ids = [profile.patient_id for profile in some]
            found = {m.name: m.read(self.folder, ids) for m in modalities}
            for name, own in found.items():
                require_records(self.folder, self.manifest, name, ids, own)
            for profile in some:
                pid = profile.patient_id
                yield Patient(profile, {name: own[pid] for name, own in found.items() if pid in own})


def _fingerprint(path: Path) -> dict[str, Any]:
    """Hash and size, in one reading."""
    state, size = sha256(), 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            state.update(block)
            size += len(block)
    return {"sha256": state.hexdigest(), "bytes": size}


def _apart(place: Path, joined: Sequence[str]) -> Path:
    """The folder beside `place` that the files named by `joined` are moved to, which are joined at the end."""
    apart = place.with_name(f"{place.name}{APART}")
    for name in joined:
        if (path := place / name).is_file():
            (apart / name).parent.mkdir(parents=True, exist_ok=True)
            path.replace(apart / name)
    return apart


def slice_name(number: int) -> str:
    return f"slice-{number:05d}"
