"""What links a patient's files: the assertions of all modalities, and which agree; in a process of its own.

Reading omics takes torch, which the server does not load. So a worker does it, kept for a minute after the last
question: `python -m polyclinic.app.viewer.patient_links COHORT` answers each patient id on its input with a line.
"""

import json
import select
import subprocess
import sys
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...core.errors import InputError

if TYPE_CHECKING:
    from ...core.assertions import Assertion
    from .cohort_data import CohortData
    from .patient_files import PatientFiles

IDLE = 60.0  # s
KEPT = 64  # patients whose answers are kept
LINES = (".ndjson", ".jsonl")  # files that many patients share, a line of each


class Links:
    """The worker of one cohort, started when it is asked for, and its last answers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._kept: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._worker: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()

    def of(self, patient_id: str) -> dict[str, Any]:
        """See answer(). Raises InputError with what the worker found wrong."""
        with self._lock:
            if patient_id not in self._kept:
                self._kept[patient_id] = self._ask(patient_id)
                while len(self._kept) > KEPT:
                    self._kept.popitem(last=False)
            found = self._kept[patient_id]
            if "error" in found:
                raise InputError(str(self._kept.pop(patient_id)["error"]))
            return found

    def close(self) -> None:
        """End the worker."""
        with self._lock:
            self._end()

    def _end(self) -> None:
        if self._worker is not None:
            self._worker.kill()
            self._worker.communicate()
            self._worker = None

    def _ask(self, patient_id: str) -> dict[str, Any]:
        for _ in range(2):  # one that was idle may have ended just now
            line = self._answer_of(patient_id)
            if line:
                found: dict[str, Any] = json.loads(line)
                return found
            self._end()
        raise InputError(f"the assertions of {patient_id} cannot be read: the worker that reads them ended")

    def _answer_of(self, patient_id: str) -> str:
        if self._worker is None or self._worker.poll() is not None:
            self._end()
            command = [sys.executable, "-m", __spec__.name, str(self.folder)]
            pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
            self._worker = subprocess.Popen(command, text=True, **pipes)
        assert self._worker.stdin is not None
        assert self._worker.stdout is not None
        try:
            self._worker.stdin.write(f"{patient_id}\n")
            self._worker.stdin.flush()
            return self._worker.stdout.readline()
        except (BrokenPipeError, OSError):
            return ""


def answer(cohort: "CohortData", patient_id: str) -> dict[str, Any]:
    """Subjects on which two sources speak: each with its statements, and whether those that must agree do.

    A statement that is not `certain` shows the subject only as a rule; whether it agrees with the certain ones is its
    own `agrees`. Raises InputError naming a file that cannot be read.
    """
    from ...core.registry import load_modality
    from ...eval.linkage.consistency import of_profile
    from .patient_files import PatientFiles

    files = PatientFiles(cohort, patient_id)
    profile = next(p for p in cohort.cohort.profiles() if p.patient_id == patient_id)
    said: list[Assertion] = list(of_profile(profile))
    with tempfile.TemporaryDirectory() as place:
        _alone(files, Path(place))
        for name, own in cohort.cohort.manifest["modalities"].items():
            modality = load_modality(name, own.get("options"))
            if hasattr(modality, "assertions"):
                said += modality.assertions(Path(place), [patient_id]).get(patient_id, [])
    return {"patient_id": patient_id, "subjects": subjects(said)}


def subjects(said: Iterable["Assertion"]) -> list[dict[str, Any]]:
    """Assertions of one patient by subject, those on which at least two sources speak, disagreement first."""
    from ...eval.linkage.consistency import meet

    held: dict[str, list[Assertion]] = {}
    for one in said:
        held.setdefault(one.subject, []).append(one)
    found = []
    for subject, own in held.items():
        certain = [one for one in own if one.certain]
        if len(own) < 2 or not certain:
            continue
        found.append({
            "subject": subject,
            "agrees": meet(certain),
            "compared": len(certain),
            "statements": [
                {"source": one.source, "value": _shown(one), "certain": one.certain,
                 "agrees": meet([*(c for c in certain if c is not one), one])}
                for one in own
            ],
        })  # fmt: skip
    return sorted(found, key=lambda one: bool(one["agrees"]))


def _shown(one: "Assertion") -> str:
    """The value in a reader's words: open ranges as `above` and `below`."""
    inf = float("inf")
    if str(one.high).startswith("9999-"):
        return f"from {one.low} on"
    if one.high == inf:
        return f"above {one.low:g}" if one.low != inf else str(one)
    if one.low == -inf:
        return f"below {one.high:g}"
    return str(one)


def _alone(files: "PatientFiles", place: Path) -> None:
    """The cohort's folder with this patient alone in files of lines, so that not all of a large record is read."""
    folder = files.cohort.folder.resolve()
    for path in sorted(folder.iterdir()):
        shared = [file for file in path.iterdir() if file.suffix in LINES] if path.is_dir() else []
        if not shared:
            (place / path.name).symlink_to(path)
            continue
        (place / path.name).mkdir()
        for file in shared:
            name = file.relative_to(folder).as_posix()
            (place / name).write_bytes(b"".join(files.raw_lines(name)))


def _worker(folder: Path) -> None:
    from .cohort_data import CohortData

    cohort = CohortData(folder)
    while select.select([sys.stdin], [], [], IDLE)[0] and (line := sys.stdin.readline()):
        found: Mapping[str, Any]
        try:
            found = answer(cohort, line.strip())
        except (InputError, OSError, ValueError, KeyError) as error:
            found = {"error": f"{error}"}
        sys.stdout.write(json.dumps(found) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _worker(Path(sys.argv[1]))
