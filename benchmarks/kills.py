"""What a kill at any file or network operation leaves: the re-run repairs it, and nothing is lost or doubled.

    python benchmarks/kills.py [--quick] [--only NAME] [--most N]

Each command runs in a forked process that ends (os._exit, which runs no clean-up, as SIGKILL) at its n-th operation on
a file below its folder (opening to write, making, renaming, linking or removing), or on a connection (connecting,
sending, receiving). Files that are written in one step are also left half-written, and packets half-sent. A third of
the re-runs are killed too. Then the command runs again, and what is there is compared with a run that nobody disturbed.
A push goes to archives of its own (push_servers.py) and to a folder: each picture must have come once. A training that
is resumed is charged once; one that is begun anew says before it is charged that another was. --most bounds the kills
of a command (60), spread over its operations; --quick takes 12. --data is accepted for uniformity and not used. Exits 1
where one is not repaired. Bar: 0 of 100 or more.
"""

import argparse
import os
import platform
import random
import shutil
import socket
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kills_commands import COMMANDS, Command

KILLED = 9
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
CHANGES = ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.link", "os.truncate")


def armed(at: int | None, below: Path) -> list[int]:
    """From now on this process ends at its `at`-th operation on a file below a folder; the count so far, in a list."""
    count = [0]
    home = str(below)

    def step() -> bool:
        count[0] += 1
        return count[0] == at

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "socket.connect" and step():
            os._exit(KILLED)
        if not arguments or home not in str(arguments[0]):
            return
        if (event in CHANGES or (event == "open" and arguments[2] & WRITES)) and step():
            os._exit(KILLED)

    def write_bytes(self: Path, content: bytes) -> int:
        with self.open("wb") as file:
            if home in str(self) and step():
                file.write(content[: len(content) // 2])
                file.flush()
                os._exit(KILLED)
            return file.write(content)

    sync = os.fsync

    def fsync(number: int) -> None:
        if step():  # a line without its end
            os.ftruncate(number, max(0, os.fstat(number).st_size - 9))
            os._exit(KILLED)
        sync(number)

    for name in ("send", "sendall", "recv", "recv_into"):
        setattr(
            socket.socket, name, _counted(getattr(socket.socket, name), step, sends=name.startswith("send"))
        )
    Path.write_bytes = write_bytes  # type: ignore[method-assign,assignment]
    os.fsync = fsync  # type: ignore[assignment]
    sys.addaudithook(hook)
    return count


def _counted(real: Callable[..., Any], step: Callable[[], bool], sends: bool) -> Callable[..., Any]:
    """An operation of a socket that may be the last; half of what was to be sent is sent then."""

    def do(self: socket.socket, *args: Any) -> Any:
        if step():
            if sends:
                real(self, args[0][: len(args[0]) // 2])
            os._exit(KILLED)
        return real(self, *args)

    return do


def in_child(do: Callable[[], None]) -> int:
    """The exit code of a forked process that does it; what it prints goes to the log."""
    if child := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = 1
    try:
        do()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def operations(command: Command, place: Path) -> int:
    """How many there are in a run that nobody disturbs, which is left there to compare with."""
    place.mkdir()
    command.prepare(place)
    note = place.with_suffix(".count")

    def counted() -> None:
        count = armed(None, place)
        command.run(place, False)
        note.write_text(str(count[0]))

    if in_child(counted):
        raise SystemExit(f"{command.name}: fails though nobody kills it")
    return int(note.read_text())


def problem(command: Command, place: Path, at: int, twice: int | None, expected: Any) -> str:
    """What is not repaired after a kill at that operation, and at that of the re-run; nothing if all is."""
    place.mkdir()
    command.prepare(place)

    def killed(again: bool, when: int) -> Callable[[], None]:
        def do() -> None:
            armed(when, place)
            command.run(place, again)

        return do

    code = in_child(killed(False, at))
    if code not in (KILLED, 0):
        return f"the killed run failed by itself ({code})"
    if twice is not None and (code := in_child(killed(True, twice))) not in (KILLED, 0):
        return f"the killed re-run failed by itself ({code})"
    if code := in_child(lambda: command.run(place, True)):
        return f"the re-run failed ({code})"
    try:
        found = command.state(place)
    except Exception as error:
        return f"cannot be read: {type(error).__name__}: {error}"
    return "" if found == expected else f"is not the same: {str(found)[:300]}"


def main() -> None:
    """Print a table, and exit 1 unless every kill was repaired."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument(
        "--only", default="", help="commands whose names have one of these words, with commas"
    )
    parser.add_argument("--most", type=int, default=60)
    parser.add_argument("--data")
    asked = parser.parse_args()
    most = 12 if asked.quick else asked.most
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    began = time.monotonic()
    import polyclinic as pc
    from polyclinic.core.cohort import cohort as cohort_module
    from polyclinic.core.cohort.signing import new_key

    cohort_module.SLICE = 1  # a slice a patient: more operations for fewer patients
    print(f"{platform.platform()}, Python {platform.python_version()}, {datetime.now(UTC):%Y-%m-%d}\n")
    print("| command | operations | killed | not repaired | |\n|---|---|---|---|---|", flush=True)
    kills, bad = 0, list[str]()
    with tempfile.TemporaryDirectory() as folder:
        home, log = Path(folder), sys.stderr
        base = home / "base"
        base.mkdir()
        pc.generate_cohort("icu", 2, out=base / "c", seed=7, modalities=["records"], workers=1)
        new_key(base / "key.pem")
        for command in COMMANDS:
            if not any(word in command.name for word in asked.only.split(",")):
                continue
            start, draws = time.monotonic(), random.Random(command.name)
            (home / "warm").mkdir()
            command.prepare(home / "warm")
            command.run(home / "warm", False)  # what it imports is there for every fork
            shutil.rmtree(home / "warm")
            number = operations(command, home / "whole")
            expected = command.state(home / "whole")
            tries = min(most, number)
            points = sorted({1 + round(k * (number - 1) / max(1, tries - 1)) for k in range(tries)})
            failed = []
            for place, at in enumerate(points):
                twice = draws.randint(1, number) if place % 3 == 2 else None
                if said := problem(command, home / "one", at, twice, expected):
                    failed.append(f"{command.name}, killed at {at}{f' and {twice}' if twice else ''}: {said}")
                shutil.rmtree(home / "one")
            shutil.rmtree(home / "whole")
            kills, bad = kills + len(points), bad + failed
            took = time.monotonic() - start
            print(f"| {command.name} | {number} | {len(points)} | {len(failed)} | {took:.0f} s |", flush=True)
            for line in failed:
                print(line, file=log, flush=True)
    print(f"\n{len(bad)} of {kills} kills not repaired, in {time.monotonic() - began:.0f} s")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
