"""Runner: keeps valid inputs built, and has cases run by a warm worker and judged."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from .case import HARMLESS, Base, Case, Change, nothing
from .judge import Outcome, Verdict, judge, tree

TESTS = Path(__file__).parents[1]
PLUGIN = TESTS / "plugin"  # two fake modalities, which are installed for the cases


BUILDING = threading.Lock()  # of valid inputs, which runners may share


class Worker:
    """The warm process, which takes its time to start; it ends with the `with` block."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> "Worker":
        paths = [str(TESTS), str(PLUGIN), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {
            **os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore",
            "COLUMNS": "200", "MPLBACKEND": "Agg",
        }  # fmt: skip
        self.place = tempfile.mkdtemp()  # the path of a socket must be short
        self.socket = f"{self.place}/s"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bad_inputs.worker", self.socket], stdin=subprocess.PIPE, env=environment,
            cwd=self.folder,
        )  # fmt: skip
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()
        shutil.rmtree(self.place)

    def connect(self) -> socket.socket:
        """A connection to a process of one's own, waiting for the start."""
        while True:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                connection.connect(self.socket)
                return connection
            except (FileNotFoundError, ConnectionRefusedError):
                connection.close()
                assert self.process.poll() is None, "the worker has died"
                time.sleep(0.1)


class Runner:
    """Runs cases below a folder, one after the other. `store` keeps valid inputs, `valid` what they gave."""

    def __init__(
        self, worker: Worker, folder: Path, store: Path | None = None, valid: dict[str, Outcome] | None = None
    ) -> None:
        self.folder = folder
        self.store = store or folder / "valid"
        self.valid = {} if valid is None else valid
        folder.mkdir(parents=True, exist_ok=True)
        self.connection = worker.connect()
        self.lines = self.connection.makefile("rw", encoding="utf-8")

    def close(self) -> None:
        """Let the process at the other end go."""
        self.lines.close()
        self.connection.close()

    def judge_all(self, cases: Iterable[Case]) -> Iterator[tuple[Case, Outcome, Verdict]]:
        """Each case with what it did and the verdict."""
        for case in cases:
            try:
                valid = self.base(case.base)
                found = self.run(case)
            except Exception as error:  # of one case, whose edit does not fit its base: the others go on
                why = f"the case cannot be made: {type(error).__name__}: {error}"[:2000]
                yield case, Outcome(None, "", "", 0.0, {}, {}), Verdict("not run", why)
            else:
                yield case, found, judge(case, found, valid)

    def base(self, base: Base) -> Outcome:
        """What the valid input gives; raises AssertionError unless that is exit code 0 and all outputs."""
        if base.name not in self.valid:
            found = self.run(Case(base, Change("valid", HARMLESS, nothing)))
            assert found.code == 0, f"{base.name}: the valid input fails: {found.err[-3000:]}"
            missing = [path for path in base.outputs if path not in found.after]
            assert not missing, (
                f"{base.name}: the valid input does not make {missing}: {sorted(found.after)[:40]}"
            )
            self.valid[base.name] = found
        return self.valid[base.name]

    def built(self, base: Base) -> Path:
        """The folder of the valid input, made once."""
        place = self.store / base.name
        with BUILDING:
            if not place.exists():
                self._build(base, place)
        return place

    def _build(self, base: Base, place: Path) -> None:
        making = place.with_name(f"{base.name}.making")
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir(parents=True)
        base.build(making)
        for argv in base.prepare:
            said = self._ask(
                argv=list(argv),
                home=str(making),
                logs=str(self.folder),
                seconds=300.0,
                environment=dict(base.environment),
            )
            assert said["code"] == 0, f"{base.name}: {argv}: {said['err'][-3000:]}"
        making.rename(place)

    def run(self, case: Case, plant: str = "") -> Outcome:
        """Run a case in a fresh copy of its base."""
        root, logs = self.folder / "case", self.folder / "logs"
        home = root / "outer" / "home"
        for folder in (root, logs):
            shutil.rmtree(folder, ignore_errors=True)
        logs.mkdir()
        shutil.copytree(self.built(case.base), home, symlinks=True)
        case.change.edit(home)
        before = tree(root, home)
        said = self._ask(
            argv=list(case.argv),
            home=str(home),
            logs=str(logs),
            seconds=case.base.seconds,
            environment=dict(case.base.environment),
            plant=plant,
        )
        return Outcome(said["code"], said["out"], said["err"], said["seconds"], before, tree(root, home))

    def _ask(self, **request: Any) -> dict[str, Any]:
        self.lines.write(json.dumps(request) + "\n")
        self.lines.flush()
        line = self.lines.readline()
        if not line:
            raise SystemExit("the worker has died")
        answer: dict[str, Any] = json.loads(line)
        return answer
