"""Cohort: a folder of linked synthetic patients on disk, written in slices, resumable, every file hashed.

A slice of 16 patients is the unit of work. Its files are written below `.pending/`, moved to their places,
and then `.pending/slice-00000.json` says that the slice is done. Files that patients share are joined
when all slices are done. A process killed at any moment leaves a cohort that resume() completes to the
same bytes.
"""

import fcntl
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from ..config import read_json
from ..errors import InputError
from ..instance_name import stem_of
from ..limits import SEED
from ..modality import Modality
from ..paths import require_file
from ..pipeline import Patient
from ..profile import PatientProfile
from ..training.weights import digest
from . import patients_table
from .damage import Files, damage, require_files, require_records
from .disk import is_empty, new_folder, refusals, require_room, write_atomic
from .labels import stores_of, write_labels

FORMAT = "polyclinic-cohort"
FORMAT_VERSION = 2
SLICE = 16  # patients
MOST_PATIENTS = 10**9
TOGETHER = 256  # slices whose profiles are in memory at once when the cohort is finished
RESUME = "run again with --resume"
BYTES_PER_RECORD = 1_000_000  # where the modality does not say; generous, to refuse a full disk early
MANIFEST = "manifest.json"
PATIENTS = "patients.parquet"
PENDING = ".pending"
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
        path = Path(folder) / MANIFEST
        if not path.exists():
            raise InputError(f"{folder}: no cohort there (expected a folder with {MANIFEST})")
        require_file(path, "the manifest of a cohort")
        try:
            manifest = read_json(path.read_text(encoding="utf-8"))
            kind, version = manifest["format"], manifest["format_version"]
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror})") from None
        except (ValueError, KeyError, TypeError):
            raise InputError(f"{path}: not the manifest of a cohort") from None
        if (kind, version) != (FORMAT, FORMAT_VERSION):
            raise InputError(
                f"{path}: expected {FORMAT} version {FORMAT_VERSION}, got {kind} version {version}; draw the cohort "
                "again with polyclinic generate, or read it with the version that wrote it"
            )
        _require_keys(manifest, path)
        return cls(Path(folder), manifest)

    @classmethod
    def create(cls, folder: Path, header: Mapping[str, Any]) -> "Cohort":
        """A new cohort in a new or empty folder.

        Raises InputError: the folder is not empty, not writable, or its disk has too little room.
        """
        cohort = cls(Path(folder), _manifest(header))
        if cohort.folder.is_dir() and (cohort.folder / MANIFEST).exists():
            raise InputError(
                f"{folder}: holds a cohort already; choose another folder, or complete it with --resume"
            )
        made = new_folder(cohort.folder, ignore=FIRST_MOMENT)
        try:
            require_room(cohort.folder, cohort.patients * _bytes_per_patient(header))
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
        asked = _manifest(header)
        if difference := _difference(_settings(cohort.manifest), _settings(asked)):
            raise InputError(
                f"{folder}: cannot resume, {_shortly(difference)}; ask for the same, or choose another folder"
            )
        if cohort.complete:
            shutil.rmtree(folder / PENDING, ignore_errors=True)
        else:
            left = sum(cohort._slice(number) is None for number in range(cohort.slices)) * SLICE
            require_room(folder, left * _bytes_per_patient(header))
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
        staging = self.folder / PENDING / _slice_name(number)
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
                    files |= self._listed(place) if modality.shared else self._moved(place)
            part = {"profiles": [p.profile.to_dict() for p in patients], "have": have, "files": files}
            write_atomic(staging.with_suffix(".json"), json.dumps(part).encode())
            undo.pop_all()

    def finish(self, modalities: Sequence[Modality]) -> None:
        """Join shared files, write the table of patients and the full manifest. All slices must be done."""
        pending = self.folder / PENDING
        files: Files = {}
        for part in self._parts():
            files |= {path: f for path, f in part["files"].items() if not path.startswith(PENDING)}
        stores: dict[str, list[str]] = {}  # modality that many patients share -> what it wrote
        with refusals(self.folder, RESUME):
            for modality in modalities:
                pieces = [pending / _slice_name(n) / modality.name for n in range(self.slices)]
                pieces = [piece for piece in pieces if piece.is_dir()]
                if modality.shared and pieces:
                    joined = pending / "joined" / modality.name
                    shutil.rmtree(joined, ignore_errors=True)
                    joined.mkdir(parents=True)
                    modality.assemble(pieces, joined)
                    made = self._moved(joined)
                    files |= made
                    own = f"{stem_of(modality.name)}/" if ":" in modality.name else ""
                    stores[modality.name] = [own + s for s in stores_of(p.removeprefix(own) for p in made)]
            without = self._write_roster()
            files[PATIENTS] = _fingerprint(self.folder / PATIENTS)
            table = self.folder / PATIENTS
            fields = self.manifest.get("labels") or patients_table.fields(table)
            ids = [profile.patient_id for profile in patients_table.profiles(table)] if stores else []
            shared: dict[str, list[str]] = {}
            for name, paths in stores.items():
                lacking = set(without[name])
                owners = [one for one in ids if one not in lacking]
                shared |= {path: owners for path in paths}
            for path in write_labels(
                self.folder, patients_table.profiles(table), fields, list(files), shared
            ):
                files[path.relative_to(self.folder).as_posix()] = _fingerprint(path)
            modes = {
                name: {
                    **self.manifest["modalities"][name],
                    "with_record": self.patients - len(lacking),
                    "without_record": lacking,
                }
                for name, lacking in without.items()
            }
            self._save(
                self.manifest
                | {"status": "complete", "modalities": modes, "files": dict(sorted(files.items()))}
            )
        shutil.rmtree(pending)

    def _write_roster(self) -> dict[str, list[str]]:
        """Write the table of patients, some slices at a time; a modality's patients without a record, by name."""
        without: dict[str, list[str]] = {name: [] for name in self.manifest["modalities"]}
        tables = []
        parts = self._parts()
        while some := list(islice(parts, TOGETHER)):
            profiles = [PatientProfile.from_dict(row) for part in some for row in part["profiles"]]
            have = {}
            for name, lacking in without.items():
                owners = {patient for part in some for patient in part["have"][name]}
                have[name] = [p.patient_id in owners for p in profiles]
                lacking += [p.patient_id for p in profiles if p.patient_id not in owners]
            tables.append(patients_table.columns(profiles, have))
        write_atomic(self.folder / PATIENTS, patients_table.join(tables))
        return without

    def _parts(self) -> Iterator[dict[str, Any]]:
        """What each slice's file says, in order."""
        for number in range(self.slices):
            part = self._slice(number)
            assert part, "finish() before all slices are done"
            yield part

    def _slice(self, number: int) -> dict[str, Any] | None:
        """What a slice's file says, None if it is not done."""
        path = self.folder / PENDING / f"{_slice_name(number)}.json"
        if not path.exists():
            return None
        part: dict[str, Any] = read_json(path.read_text(encoding="utf-8"))
        return part

    def _listed(self, place: Path) -> Files:
        """Hashes of the files below a folder of the cohort, by path."""
        found = sorted(path for path in place.rglob("*") if path.is_file())
        return {path.relative_to(self.folder).as_posix(): _fingerprint(path) for path in found}

    def _moved(self, place: Path) -> Files:
        """Move files below `place` to the same paths below the cohort, each in one step; their hashes."""
        files: Files = {}
        for path in sorted(path for path in place.rglob("*") if path.is_file()):
            target = self.folder / path.relative_to(place)
            target.parent.mkdir(parents=True, exist_ok=True)
            files[path.relative_to(place).as_posix()] = _fingerprint(path)
            path.replace(target)
        shutil.rmtree(place)
        return files

    def _save(self, manifest: dict[str, Any]) -> None:
        write_atomic(self.folder / MANIFEST, (json.dumps(manifest, indent=1) + "\n").encode())
        self.manifest = manifest

    # -- check and read

    def verify(self) -> list[str]:
        """Each file that is missing or was changed, one line each; empty if all is as it was written."""
        if self.complete:
            return damage(self.folder, self.manifest["files"])
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
        waiting = list(self.profiles())
        for start in range(0, len(waiting), chunk):
            some = waiting[start : start + chunk]
            ids = [profile.patient_id for profile in some]
            found = {m.name: m.read(self.folder, ids) for m in modalities}
            for name, own in found.items():
                require_records(self.folder, self.manifest, name, ids, own)
            for profile in some:
                pid = profile.patient_id
                yield Patient(profile, {name: own[pid] for name, own in found.items() if pid in own})


def _manifest(header: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest of a cohort that has no file yet, in plain JSON types."""
    kind = {"format": FORMAT, "format_version": FORMAT_VERSION, "synthetic": True, "status": "incomplete"}
    plain: dict[str, Any] = json.loads(json.dumps({**kind, **header}))
    return plain


_KEYS: dict[str, tuple[type, ...]] = {
    "status": (str,), "patients": (int,), "modalities": (dict,), "files": (dict,), "weights": (dict,), "draw": (dict,),
    "labels": (list,), "use": (dict,), "watermark": (dict,), "seed": (int,), "population": (dict,),
}  # fmt: skip


def _require_keys(manifest: Mapping[str, Any], path: Path) -> None:
    """Raises InputError where a key of a manifest that is there is of another kind than we write."""
    for key in (
        "status",
        "patients",
        "modalities",
        *(["files"] if manifest.get("status") == "complete" else []),
    ):
        if key not in manifest:
            raise InputError(f"{path}: damaged: {key} is missing; draw the cohort again, or copy it again")
    for key, kinds in _KEYS.items():
        value = manifest.get(key)
        if key in manifest and (not isinstance(value, kinds) or isinstance(value, bool)):
            raise InputError(
                f"{path}: damaged: {key} is {type(value).__name__}, expected {kinds[0].__name__}"
            )
    if not 0 < manifest["patients"] <= MOST_PATIENTS or manifest["status"] not in ("complete", "incomplete"):
        raise InputError(f"{path}: damaged: patients or status is not what a cohort has")
    if not SEED.low <= manifest.get("seed", 0) <= SEED.high:
        raise InputError(f"{path}: damaged: expected a seed of 64 bits")
    entries = manifest.get("files", {}).values()
    if not all(isinstance(e, dict) and isinstance(e.get("bytes"), int) and "sha256" in e for e in entries):
        raise InputError(f"{path}: damaged: files: expected bytes and sha256 of each file")
    if not all(isinstance(own, dict) for own in manifest["modalities"].values()):
        raise InputError(f"{path}: damaged: modalities: expected settings of each modality")


def _bytes_per_patient(header: Mapping[str, Any]) -> int:
    """What a patient may take on disk while the cohort is written, over all modalities."""
    return sum(own.get("bytes_per_record", BYTES_PER_RECORD) for own in header["modalities"].values())


def _settings(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What two runs must share: all of the header but where weights lie, of the modalities their names."""
    kept = {key: value for key, value in manifest.items() if key not in ("status", "files", "use")}
    return {**kept, "modalities": sorted(manifest["modalities"])}


def _shortly(text: str) -> str:
    return text if len(text) < 600 else f"{text[:600]}..."


def _difference(there: Any, asked: Any, key: str = "") -> str | None:
    """The first setting that differs, in words."""
    if isinstance(there, dict) and isinstance(asked, dict):
        for name in dict.fromkeys([*there, *asked]):
            inner = f"{key}.{name}" if key else str(name)
            if found := _difference(there.get(name), asked.get(name), inner):
                return found
        return None
    return None if there == asked else f"{key} is {there!r} there and {asked!r} was asked for"


def _fingerprint(path: Path) -> dict[str, Any]:
    return {"sha256": digest(path), "bytes": path.stat().st_size}


def _slice_name(number: int) -> str:
    return f"slice-{number:05d}"
