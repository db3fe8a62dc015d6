"""Ten minutes of a large ward through bad luck, and 3,000 patients with images: nothing lost, memory flat.

    python benchmarks/soak.py [--quick] [--only streams|generate] [--beds N] [--seconds S] [--patients N] [--out DIR]

streams: three senders of the command line, each a ward of 200 beds of made-up charts: to a Mosquitto of its own (Debian
package mosquitto) at QoS 1 and at QoS 0, and a server with two WebSocket and two SSE clients. The broker is stopped and
started twice. generate: 3,000 patients with images by one worker, from the shipped weights, in a folder that goes
afterwards. --quick: 20 beds for a minute, 60 patients. --data is accepted for uniformity and not used. Exits 1 when a
bar falls short. Bars: of first copies 0 missing and 0 out of order at QoS 1 and of each client of the server, 0 out of
order at QoS 0; memory grows by 2 MB, or 1 MB a minute, at most after the first third; of generate by 15 % at most.
"""

import argparse
import http.client
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import psutil
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from websockets.sync.client import connect

from polyclinic.core.cohort.cohort import SLICE, Cohort
from polyclinic.core.modality import Record
from polyclinic.core.pipeline import Patient
from polyclinic.core.profile import PatientProfile
from polyclinic.core.registry import load_modality

PATHS = "/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin:/opt/homebrew/sbin"
START = 300.0  # s that the senders have, of a busy machine
AWAY = 3.0  # s that the broker is gone
GROWTH = 1.0  # MB a minute
SLACK = 2.0  # MB
SHARE = 1.15
Row = tuple[str, float, float | None]  # what, figure, the most that it may be


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def await_port(port: int, process: "subprocess.Popen[bytes]") -> None:
    """Wait until somebody listens there. Raises SystemExit if the process ends instead."""
    while process.poll() is None:
        with socket.socket() as knock:
            if knock.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise SystemExit(f"{process.args}: ended with {process.returncode}")


class Broker:
    """A Mosquitto of our own, which keeps sessions and messages over a restart."""

    def __init__(self, home: Path) -> None:
        program = shutil.which("mosquitto", path=PATHS)
        if program is None:
            raise SystemExit("this benchmark needs mosquitto (Debian: apt-get install mosquitto)")
        home.chmod(0o777)
        self.port, self.config, self.program = free_port(), home / "m.conf", program
        self.config.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location {home}/\n"
            f"max_queued_messages 0\nlog_dest none\nuser {'root' if os.getuid() == 0 else 'mosquitto'}\n"
        )
        self.start()

    def start(self) -> None:
        """Come back when it listens."""
        self.process = subprocess.Popen([self.program, "-c", str(self.config)])
        await_port(self.port, self.process)

    def stop(self) -> None:
        """In good order: what it has goes to the disk."""
        self.process.terminate()
        self.process.wait(30)


@dataclass
class Seen:
    """What a reader got: of each topic the numbers in the order of their first copies, and copies."""

    order: dict[str, list[int]] = field(default_factory=dict)
    known: dict[str, set[int]] = field(default_factory=dict)
    copies: int = 0
    ended: bool = False

    def note(self, payload: bytes | str) -> None:
        """Take a message."""
        message = json.loads(payload)
        if message.get("signal") == "status":
            self.ended = message["state"] in ("ended", "stopped")
        if "seq" not in message:
            return
        topic, number = f"{message['bed']}/{message['signal']}", message["seq"]
        known = self.known.setdefault(topic, set())
        if number in known:
            self.copies += 1
            return
        known.add(number)
        self.order.setdefault(topic, []).append(number)

    def missing(self, beds: int, seconds: int | None) -> int:
        """Of all that was sent; with None of what lies between the first and the last message of each bed."""
        if seconds is None:
            gaps = sum(max(own) - min(own) + 1 - len(own) for own in self.order.values())
            return gaps + beds - len(self.order)
        return beds * seconds - sum(map(len, self.order.values()))

    @property
    def out_of_order(self) -> int:
        """First copies that came after a later one."""
        return sum(int((np.diff(own) < 0).sum()) for own in self.order.values())


@contextmanager
def subscriber(port: int, topics: str, qos: int) -> Iterator[Seen]:
    """A client that keeps its session over the broker's restarts."""
    seen, ready = Seen(), threading.Event()
    client = Client(CallbackAPIVersion.VERSION2, client_id=f"soak{qos}", protocol=MQTTProtocolVersion.MQTTv5)
    client.reconnect_delay_set(1, 1)
    client.on_message = lambda c, d, message: seen.note(message.payload)
    client.on_connect = lambda c, d, flags, r, p: (
        None if flags.session_present else c.subscribe(topics, qos=qos)
    )
    client.on_subscribe = lambda *_: ready.set()
    lasting = Properties(PacketTypes.CONNECT)
    lasting.SessionExpiryInterval = 3600
    client.connect("127.0.0.1", port, clean_start=False, properties=lasting)
    client.loop_start()
    assert ready.wait(30)
    try:
        yield seen
    finally:
        client.disconnect()
        client.loop_stop()


def frames(port: int) -> Iterator[str | bytes]:
    """Of a WebSocket, until the server closes."""
    with connect(f"ws://127.0.0.1:{port}/") as client:
        yield from client


def events(port: int) -> Iterator[bytes]:
    """Of server-sent events, until the server closes."""
    client = http.client.HTTPConnection("127.0.0.1", port)
    client.request("GET", "/")
    for line in client.getresponse():
        if line.startswith(b"data: "):
            yield line[6:]


def read_all(source: Callable[[int], Iterable[str | bytes]], port: int, seen: Seen) -> None:
    """Note all that a client gets."""
    for payload in source(port):
        seen.note(payload)


def ward(folder: Path, beds: int) -> Path:
    """A cohort of made-up charts of a day."""
    modality, random = load_modality("signals"), np.random.default_rng(7)
    header = {"seed": 0, "patients": beds, "population": {"name": "icu"}, "modalities": {"signals": {}}}
    cohort = Cohort.create(folder, header)
    usual = np.array([80, 96, 37, 120, 85, 70, 16], np.float32)
    with cohort.writing():
        for number in range(cohort.slices):
            patients = []
            for place in cohort.span(number):
                chart = (usual + random.normal(0, 1, (24, 7))).astype(np.float32)
                profile = PatientProfile(f"PC-{place}", index_date=date(2024, 5, 1))
                patients.append(Patient(profile, {"signals": Record({"vitals": chart}, {"hours": 24})}))
            assert len(patients) <= SLICE
            cohort.write_slice(number, patients, [modality])
        cohort.finish([modality])
    return folder


def megabytes(process: psutil.Process) -> float:
    """Resident memory of a process and its children."""
    total = 0
    for one in [process, *process.children(recursive=True)]:
        try:
            total += one.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total / 1e6


def grown(samples: list[tuple[float, float]]) -> tuple[float, float]:
    """(MB grown after the first third, its bar) of (second, MB) samples; medians of five, since single ones jump."""
    third = len(samples) // 3
    first, last = samples[third : third + 5], samples[-5:]
    minutes = (last[0][0] - first[0][0]) / 60
    growth = float(np.median([m for _, m in last]) - np.median([m for _, m in first]))
    return growth, max(SLACK, GROWTH * minutes)


def streams(beds: int, seconds: int, home: Path) -> Iterator[Row]:
    """Three senders, four clients, two restarts."""
    broker, cohort, port = Broker(home), ward(home / "ward", beds), free_port()
    addresses = {
        "QoS 1": f"mqtt://127.0.0.1:{broker.port}/one?qos=1",
        "QoS 0": f"mqtt://127.0.0.1:{broker.port}/none?qos=0",
        "server": f"ws://127.0.0.1:{port}",
    }
    common = ["--signals", "vitals", "--seconds", str(seconds)]
    memory: dict[str, list[tuple[float, float]]] = {name: [] for name in addresses}
    clients = {f"{kind} client {n}": Seen() for kind in ("WebSocket", "SSE") for n in (1, 2)}
    started = time.monotonic()
    with subscriber(broker.port, "one/#", 1) as one, subscriber(broker.port, "none/#", 0) as none:
        senders = {
            name: subprocess.Popen(
                [sys.executable, "-m", "polyclinic", "stream", str(cohort), "--to", to, *common],
                stderr=subprocess.PIPE,
            )
            for name, to in addresses.items()
        }
        try:
            await_port(port, senders["server"])
            readers = [
                threading.Thread(
                    target=read_all, args=(events if "SSE" in name else frames, port, seen), daemon=True
                )
                for name, seen in clients.items()
            ]
            for reader in readers:
                reader.start()
            while not (one.order and none.order):
                if any(sender.poll() for sender in senders.values()) or time.monotonic() - started > START:
                    raise SystemExit("the senders do not send")
                time.sleep(0.1)
            began, restarts = time.monotonic(), [seconds / 3, 2 * seconds / 3]
            print(f"the senders took {began - started:.0f} s to start", file=sys.stderr)
            while any(sender.poll() is None for sender in senders.values()):
                now = time.monotonic() - began
                for name, sender in senders.items():
                    if sender.poll() is None and now < seconds - 5:
                        memory[name].append((now, megabytes(psutil.Process(sender.pid))))
                if restarts and now > restarts[0]:
                    restarts.pop(0)
                    broker.stop()
                    time.sleep(AWAY)
                    broker.start()
                if now > 2 * seconds + 300:
                    raise SystemExit("the senders do not end")
                time.sleep(1.0)
            for _ in range(300):
                if one.ended:
                    break
                time.sleep(0.1)
            for reader in readers:
                reader.join(10)
        finally:
            for sender in senders.values():
                sender.kill()
            broker.stop()
    for name, sender in senders.items():
        said = sender.stderr.read().decode().strip() if sender.stderr else ""
        print(f"{name}: {said.splitlines()[-1] if said else 'said nothing'}", file=sys.stderr)
    yield "QoS 1: messages missing", one.missing(beds, seconds), 0
    yield "QoS 1: first copies out of order", one.out_of_order, 0
    yield "QoS 1: copies, taken off by their number", one.copies, None
    yield (
        "QoS 0: messages missing, of those sent while the broker was away",
        none.missing(beds, seconds),
        None,
    )
    yield "QoS 0: out of order", none.out_of_order, 0
    for name, seen in clients.items():
        yield f"{name}: messages missing", seen.missing(beds, None), 0
        yield f"{name}: out of order or doubled", seen.out_of_order + seen.copies, 0
        yield f"{name}: messages", sum(map(len, seen.order.values())), None
    for name, samples in memory.items():
        growth, bar = grown(samples)
        yield f"{name}: memory at the end, MB", samples[-1][1], None
        yield f"{name}: memory grown after the first third, MB", round(growth, 2), bar


def generate(patients: int, home: Path) -> Iterator[Row]:
    """A cohort with images by one worker."""
    command = [
        "generate",
        "--patients",
        str(patients),
        "--seed",
        "7",
        "--modalities",
        "imaging",
        "--workers",
        "1",
    ]
    began = time.monotonic()
    run = subprocess.Popen([sys.executable, "-m", "polyclinic", *command, "--out", str(home / "c")])
    own, samples = psutil.Process(run.pid), list[tuple[int, float]]()
    try:
        while run.poll() is None:
            done = len(list((home / "c" / ".pending").glob("slice-*.json"))) * SLICE
            if done:
                samples.append((done, megabytes(own)))
            time.sleep(1.0)
    finally:
        run.kill()
    if run.wait():
        raise SystemExit(f"generate ended with {run.returncode}")
    early = [m for done, m in samples if done <= max(SLICE, patients // 3)]
    peak = max(m for _, m in samples)
    yield "generate: patients a minute", round(60 * patients / (time.monotonic() - began), 1), None
    yield "generate: peak memory of the first third, MB", round(max(early)), None
    yield "generate: peak memory, MB", round(peak), round(SHARE * max(early))
    yield "generate: damaged files", len(Cohort.open(home / "c").verify()), 0


def main() -> None:
    """Print a table, and exit 1 where a bar falls short."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", choices=("streams", "generate"))
    parser.add_argument("--beds", type=int)
    parser.add_argument("--seconds", type=int)
    parser.add_argument("--patients", type=int)
    parser.add_argument("--out", help="where folders are made; the system's temporary folder by default")
    parser.add_argument("--data")
    asked = parser.parse_args()
    beds, seconds = asked.beds or (20 if asked.quick else 200), asked.seconds or (60 if asked.quick else 600)
    patients = asked.patients or (60 if asked.quick else 3000)
    parts: dict[str, Callable[[Path], Iterator[Row]]] = {
        "streams": lambda home: streams(beds, seconds, home),
        "generate": lambda home: generate(patients, home),
    }
    print(f"{platform.platform()}, Python {platform.python_version()}, {datetime.now(UTC):%Y-%m-%d}")
    print(
        f"{beds} beds for {seconds} s; {patients} patients\n\n| what | figure | bar | |\n|---|---|---|---|",
        flush=True,
    )
    failed = 0
    for name, part in parts.items():
        if asked.only in (None, name):
            with tempfile.TemporaryDirectory(dir=asked.out) as folder:
                for what, figure, bar in part(Path(folder)):
                    wrong = bar is not None and figure > bar
                    failed += wrong
                    print(
                        f"| {what} | {figure:g} | {'' if bar is None else f'{bar:g}'} | {'FAILS' if wrong else ''} |",
                        flush=True,
                    )
    print(f"\nload {os.getloadavg()[2]:.1f} over fifteen minutes; {failed} bars missed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
