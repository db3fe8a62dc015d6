"""Workers of a run end within a second of it, however it ended: while they load, and while they draw."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

SLACK = 2.0  # s, for an interpreter that starts on a machine with other work; loading takes 5 and more


def running(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize("after", [0.0, 0.5, 6.0])
def test_workers_end_with_their_parent(tmp_path: Path, after: float) -> None:
    command = [sys.executable, "-m", "polyclinic", "generate", "--cohort", "icu", "--patients", "640"]
    command += ["--workers", "2", "--modalities", "signals", "--out", str(tmp_path / "c")]
    run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while len(workers := psutil.Process(run.pid).children(recursive=True)) < 3:
            assert run.poll() is None
            time.sleep(0.01)
        time.sleep(after)
    finally:
        run.send_signal(signal.SIGKILL)
        run.wait()
    began = time.monotonic()
    while any(map(running, workers)) and time.monotonic() - began < 30:
        time.sleep(0.02)
    assert time.monotonic() - began < 1.0 + SLACK
