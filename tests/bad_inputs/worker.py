"""Worker: a warm process that forks a child for each case, so that a case costs no start and cannot spoil the next.

`python -m bad_inputs.worker SOCKET` answers JSON requests, a line each. The child runs the command line in process,
with an empty standard input, a limit on memory, and its outputs in files.
"""

import json
import os
import resource
import select
import signal
import socket
import sys
import time
from contextlib import suppress
from importlib import import_module
from math import ceil
from pathlib import Path

MEMORY = 3 << 30  # bytes that a case may take above what the warm process has
FAR = 5  # times its processor time a case may take by the clock, on a machine with other work
HEAVY = (
    "polyclinic.app.api",
    "polyclinic.app.training",
    "polyclinic.app.compare",
    "polyclinic.app.engines.generation",
    "polyclinic.app.governance.release",
    "polyclinic.app.stream.command",
    "polyclinic.core.dp.ledger",
    "polyclinic.core.training.trainer",
    "polyclinic.modalities.imaging.training",
    "polyclinic.modalities.omics.model",
    "polyclinic.modalities.signals.ecg.model",
    "polyclinic.modalities.signals.vitals.training",
    "polyclinic.modalities.records.model",
    "polyclinic.conditioning.table.learning",
    "anndata",
    "duckdb",
    "matplotlib",
    "pandas",
    "pyarrow.parquet",
    "pydicom",
    "safetensors.torch",
    "sklearn.ensemble",
    "wfdb",
    "zarr",
    "polyclinic.eval.report.report",
    "rich.table",
)


def main() -> None:
    """Serve whoever connects to the socket of the command line from a process of its own, until stdin ends."""
    path = sys.argv[1]
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(path)
        listener.listen()
        warm()
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        while True:
            ready, _, _ = select.select([listener, sys.stdin], [], [])
            if sys.stdin in ready:
                return
            connection, _ = listener.accept()
            if os.fork() == 0:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                listener.close()
                serve(connection)
                os._exit(0)
            connection.close()


def serve(connection: socket.socket) -> None:
    """Answer requests, a JSON line each, until the other end closes."""
    with connection.makefile("rw", encoding="utf-8") as lines:
        for line in lines:
            lines.write(json.dumps(run(**json.loads(line))) + "\n")
            lines.flush()


def warm() -> None:
    """Import what commands import, and read what every command reads."""
    from polyclinic.core.registry import sound, vocabulary

    for name in HEAVY:
        import_module(name)
    vocabulary()
    for kind in ("modalities", "formats", "metrics", "attacks"):
        sound(kind)


def run(
    argv: list[str], home: str, logs: str, seconds: float, environment: dict[str, str], plant: str = ""
) -> dict[str, object]:
    """Exit code (None: killed), stdout, stderr and duration of one command in the folder `home`.

    It is killed after `seconds` of processor time, or FAR times as many by the clock, as where it waits for ever.

    `plant` names a function, `module:name`, that the child calls first, to put a fault into the program.
    """
    begun = time.monotonic()
    out, err = Path(logs) / "stdout", Path(logs) / "stderr"
    child = os.fork()
    if child == 0:
        _child(argv, home, out, err, environment, plant, seconds)
    code = _wait(child, FAR * seconds)
    return {
        "code": code,
        "out": out.read_text(encoding="utf-8", errors="replace")[:200_000],
        "err": err.read_text(encoding="utf-8", errors="replace")[:200_000],
        "seconds": time.monotonic() - begun,
    }


def _wait(child: int, seconds: float) -> int | None:
    """Exit code of the child, negative for a signal; None if it had to be killed. Its own children go with it."""
    handle = os.pidfd_open(child)
    try:
        ended, _, _ = select.select([handle], [], [], seconds)
        _kill_group(child)
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        return code if ended and code != -signal.SIGXCPU else None
    finally:
        os.close(handle)


def _kill_group(leader: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


def _child(
    argv: list[str], home: str, out: Path, err: Path, environment: dict[str, str], plant: str, seconds: float
) -> None:
    """Run the command and end the process; never returns."""
    code = 70
    try:
        os.setpgid(0, 0)
        for stream, place in ((0, os.devnull), (1, out), (2, err)):
            handle = os.open(
                place, os.O_RDONLY if stream == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600
            )
            os.dup2(handle, stream)
        used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
        spent = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
        limit = ceil(spent + seconds)
        resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 2))
        os.chdir(home)
        os.environ.update(environment)
        for stream, mode in enumerate(("r", "w", "w")):
            name = ("stdin", "stdout", "stderr")[stream]
            setattr(sys, name, os.fdopen(stream, mode, closefd=False))
        code = _command(argv, plant)
    except BaseException:  # as the interpreter would show it: that is what is judged
        import traceback

        traceback.print_exc()
        code = 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _command(argv: list[str], plant: str) -> int:
    """The exit code of the command line."""
    from bad_inputs import probe
    from polyclinic.app import cli

    if plant:
        module, _, name = plant.partition(":")
        getattr(import_module(module), name)()
    probe.install()
    sys.argv = ["polyclinic", *argv]
    try:
        cli.main()
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 1
    return 0


if __name__ == "__main__":
    main()
