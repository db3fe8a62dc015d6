"""What docs/how-to/streams.md says to type to connect, typed as it stands there but for the ports."""

import json
import re
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from polyclinic.core.cohort.cohort import Cohort
from polyclinic.core.modality import Record
from polyclinic.core.pipeline import Patient
from polyclinic.core.profile import PatientProfile
from polyclinic.core.registry import load_modality

DOCS = Path(__file__).resolve().parents[3] / "docs" / "how-to" / "streams.md"
MOSQUITTO = shutil.which(
    "mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin:/opt/homebrew/sbin"
)


def snippet(language: str, having: str) -> str:
    """The block of the docs in that language that has these words."""
    found = [
        text
        for own, text in re.findall(r"```(\w*)\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
        if own == language and having in text
    ]
    assert len(found) == 1, f"{len(found)} blocks of {language!r} with {having!r}"
    return str(found[0])


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve patients with vitals, of the ward that the docs speak of."""
    folder, modality = tmp_path_factory.mktemp("made") / "cohort", load_modality("signals")
    chart = np.tile(np.array([[80, 96, 37, 120, 85, 70, 16]], np.float32), (24, 1))
    header = {"seed": 0, "patients": 12, "population": {"name": "icu"}, "modalities": {"signals": {}}}
    patients = [
        Patient(
            PatientProfile(f"PC-{i}", index_date=date(2024, 5, 1)),
            {"signals": Record({"vitals": chart}, {"hours": 24})},
        )
        for i in range(12)
    ]
    made = Cohort.create(folder, header)
    with made.writing():
        made.write_slice(0, patients, [modality])
        made.finish([modality])
    return folder


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def answers(port: int, process: subprocess.Popen[str]) -> bool:
    for _ in range(1200):
        assert process.poll() is None, process.stderr.read() if process.stderr else "ended"
        with socket.socket() as knock:
            if knock.connect_ex(("127.0.0.1", port)) == 0:
                return True
        time.sleep(0.05)
    return False


@contextmanager
def running(command: list[str], port: int | None = None) -> Iterator["subprocess.Popen[str]"]:
    """A process that listens on the port, ended afterwards."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert port is None or answers(port, process)
        yield process
    finally:
        process.kill()
        process.communicate()


def first_lines(command: list[str], wanted: int = 5, seconds: float = 60) -> list[str]:
    """Lines that a command says, as many as wanted; it is ended then."""
    with tempfile.TemporaryFile("w+") as complaints:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=complaints)
        try:
            assert process.stdout is not None
            text, end = b"", time.monotonic() + seconds
            while len(re.findall(rb"[^\n]\n", text)) < wanted and time.monotonic() < end:
                if select.select([process.stdout], [], [], 0.5)[0]:
                    if not (more := process.stdout.read1(65536)):  # type: ignore[attr-defined]
                        break
                    text += more
        finally:
            process.kill()
            process.wait()
            process.stdout.close()  # type: ignore[union-attr]
        complaints.seek(0)
        lines = [line for line in text.decode().splitlines() if line][:wanted]
        assert len(lines) == wanted, f"{lines}\n{complaints.read()}"
    return lines


def streaming(cohort: Path, to: str) -> list[str]:
    return [sys.executable, "-m", "polyclinic", "stream", str(cohort), "--to", to, "--signals", "vitals"]


@pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed")
def test_a_broker_as_the_docs_say(cohort: Path, tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "m.conf").write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nlog_dest none\n")
    python = snippet("python", "paho").replace("1883", str(port))
    shell = snippet("", "mosquitto_sub").strip() + f" -p {port}"
    with (
        running([str(MOSQUITTO), "-c", str(tmp_path / "m.conf")], port),
        running(streaming(cohort, f"mqtt://127.0.0.1:{port}/hospital")),
    ):
        for line in first_lines([sys.executable, "-u", "-c", python]):
            assert re.match(r"hospital/icu/bed-\d\d/vitals \{'HR': \d+", line)
        if shutil.which("mosquitto_sub"):
            topics = {line.split()[0] for line in first_lines(["bash", "-c", f"exec {shell}"], 40)}
            assert "hospital/icu/bed-01/meta" in topics
            assert any(topic.endswith("/vitals") for topic in topics)


def test_a_websocket_as_the_docs_say(cohort: Path, tmp_path: Path) -> None:
    port = free_port()
    with running(streaming(cohort, f"ws://127.0.0.1:{port}"), port):
        python = snippet("python", "websockets").replace("8765", str(port))
        lines = first_lines([sys.executable, "-u", "-c", python], 4)
        assert set(lines) == {"meta", "status", "vitals"}
        if (node := shutil.which("node")) is None:
            pytest.skip("node is not installed")
        script = tmp_path / "ward.mjs"
        script.write_text(snippet("javascript", "WebSocket").replace("8765", str(port)))
        for line in first_lines([node, "--no-warnings", "--experimental-websocket", str(script)]):
            assert re.fullmatch(r"bed-\d\d \d+", line)


def test_events_as_the_docs_say(cohort: Path, tmp_path: Path) -> None:
    port = free_port()
    with running(streaming(cohort, f"sse://127.0.0.1:{port}"), port):
        if shutil.which("curl"):
            shell = snippet("", "curl").strip().replace("8766", str(port)).replace("curl", "curl -s", 1)
            said = [
                json.loads(line.removeprefix("data: "))
                for line in first_lines(["bash", "-c", f"exec {shell}"])
            ]
            assert [message["signal"] for message in said[:2]] == ["meta", "status"]
            assert {message["bed"] for message in said[2:]} == {"bed-01"}
        node = shutil.which("node")
        if (
            node is None
            or subprocess.run([node, "--experimental-eventsource", "-e", ""], check=False).returncode
        ):
            pytest.skip("no node that knows EventSource")
        script = tmp_path / "ward.mjs"
        script.write_text(snippet("javascript", "EventSource").replace("8766", str(port)))
        lines = first_lines([node, "--no-warnings", "--experimental-eventsource", str(script)], 4)
        assert json.loads(lines[-1])["signal"] == "vitals"
