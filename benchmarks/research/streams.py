"""Whether one core carries a ward in real time: lateness, processor share and memory of `polyclinic stream`.

    python benchmarks/research/streams.py [--data DIR] [--quick] [--soak SECONDS] [--only WARD]

Streams of the cohort icu to a Mosquitto of its own (Debian package mosquitto) at QoS 1; the sender is held to one core,
the broker and a client that reads all are where the system puts them. --data is accepted for uniformity and not
used. The soak, 100 beds of vitals and 12-lead ECG at 250 Hz, takes ten minutes (45 s with --quick, or as --soak says).
Exits 1 when a bar falls short. Bars: the 99th percentile of lateness under 50 ms at the sender, from each message's
deadline to when it was handed over, and at the client, to when it was read, for 1,000 beds of 1 Hz vitals and for 50
beds of ECG, without and with all dials of noise; no message dropped or missing; memory grows by at most 1 MB a minute;
the dials at most double what drawing an ECG costs. Floor: a loop that sends and then sleeps a second, after 15 s of it.
"""

import argparse
import contextlib
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import yaml
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from polyclinic.app.stream.ward import WardRequest, ward_of_population

LATE_BAR = 50.0  # ms
GROWTH_BAR = 1.0  # MB a minute
SEED = 7
NAIVE_SECONDS = 15
FILLED = 75  # s, after half of which the buffers of noise have been filled, so that growth is growth
NOISE = "signals.noise={wander: 0.3, muscle: 0.1, mains: 0.05, lead_off: 0.02}"
DRAWN_SECONDS = 300  # of ECG, in turns without noise and with it
Row = tuple[str, float, float | None, float | None]  # figure, value, floor, bar
PATHS = "/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin:/opt/homebrew/sbin"

NAIVE = """
import json, sys, time
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion
client = Client(CallbackAPIVersion.VERSION2)
client.max_inflight_messages_set(20)
client.connect("127.0.0.1", int(sys.argv[1]))
client.loop_start()
began = time.time()
for second in range(int(sys.argv[3])):
    time.sleep(1)
    for bed in range(int(sys.argv[2])):
        values = {"HR": 80 + second % 5, "O2Sat": 97, "Temp": 36.8, "SBP": 121, "MAP": 88, "DBP": 71, "Resp": 15}
        due = round(began + second + 1, 4)
        message = {"bed": bed, "signal": "vitals", "seq": second, "due": due, "values": values}
        client.publish(f"bench/naive/{bed}/vitals", json.dumps(message), qos=1)
time.sleep(3)
client.publish("bench/naive/status", json.dumps({"state": "ended"}), qos=1).wait_for_publish()
client.disconnect()
"""


@contextmanager
def broker() -> Iterator[int]:
    """The port of a Mosquitto of our own."""
    program = shutil.which("mosquitto", path=PATHS)
    if program is None:
        sys.exit("this benchmark needs mosquitto (Debian: apt-get install mosquitto)")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = int(taken.getsockname()[1])
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "m.conf"
        config.write_text(
            f"listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\nlog_dest none\n"
        )
        process = subprocess.Popen([program, "-c", config])
        try:
            while process.poll() is None:
                with socket.socket() as knock:
                    if knock.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.02)
            yield port
        finally:
            process.terminate()
            process.wait()


@dataclass
class Reader:
    """A client that notes how late each message was, in ms, and keeps the last status."""

    late: list[float] = field(default_factory=list)
    status: dict[str, Any] = field(default_factory=dict)

    def note(self, client: Any, data: Any, message: Any) -> None:
        now, payload = time.time(), message.payload
        if message.topic.endswith("/status"):
            self.status = json.loads(payload)
        elif (
            at := payload.find(b'"due":')
        ) >= 0:  # early in the message; parsing all of it would be late itself
            end = payload.index(b",", at)
            self.late.append(1000 * (now - float(payload[at + 6 : end])))


@contextmanager
def reading(port: int, topics: str) -> Iterator[Reader]:
    """A reader of these topics, in a thread of its own."""
    reader = Reader()
    client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
    client.on_message = reader.note
    client.on_connect = lambda client, *_: client.subscribe(topics, qos=1)
    client.connect("127.0.0.1", port)
    client.loop_start()
    try:
        yield reader
    finally:
        client.disconnect()
        client.loop_stop()


@dataclass(frozen=True)
class Run:
    """Lateness in ms, the sender's share of a core, MB of memory at start and end and its growth a minute."""

    sender: tuple[float, float]
    client: tuple[float, float]
    missing: int
    share: float
    memory: tuple[float, float]
    growth: float


def streamed(port: int, beds: int, signals: str, seconds: int, noisy: bool = False) -> Run:
    """One stream of the command line, watched from outside."""
    core = max(os.sched_getaffinity(0))
    command = [
        "taskset", "-c", str(core), sys.executable, "-m", "polyclinic", "stream", "--cohort", "icu",
        "--patients", str(beds), "--seed", str(SEED), "--signals", signals, "--seconds", str(seconds),
        "--to", f"mqtt://127.0.0.1:{port}/bench?rate=250", *(["--set", NOISE] if noisy else []),
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with reading(port, "bench/icu/#") as reader:
        process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        watched = psutil.Process(process.pid)
        while not reader.late and process.poll() is None:
            time.sleep(0.05)
        began, before, memory = time.monotonic(), watched.cpu_times(), []
        spent, now = before, began
        while process.poll() is None and reader.status.get("state") != "ended":
            with contextlib.suppress(psutil.NoSuchProcess):
                spent, now = watched.cpu_times(), time.monotonic()
                memory.append((now - began, watched.memory_info().rss / 1e6))
            time.sleep(0.5)
        said = process.communicate()[1]
        time.sleep(0.5)
    if process.returncode or not reader.late:
        sys.exit(f"the stream failed: {said}")
    steady = np.array(memory[len(memory) // 2 :])
    growth = 60 * float(np.polyfit(steady[:, 0], steady[:, 1], 1)[0])
    used = spent.user + spent.system - before.user - before.system
    late = reader.status["late_ms"]
    return Run(
        (late["p50"], late["p99"]),
        (float(np.median(reader.late)), float(np.quantile(reader.late, 0.99))),
        beds * len(signals.split(",")) * seconds - len(reader.late),
        used / (now - began),
        (memory[0][1], memory[-1][1]),
        growth,
    )


def naive(port: int, beds: int, seconds: int) -> tuple[float, float]:
    """Median and 99th percentile of the lateness, ms, of a loop that sends and sleeps."""
    core = max(os.sched_getaffinity(0))
    with reading(port, "bench/naive/#") as reader:
        command = [
            "taskset",
            "-c",
            str(core),
            sys.executable,
            "-c",
            NAIVE,
            str(port),
            str(beds),
            str(seconds),
        ]
        subprocess.run(command, check=True)
        time.sleep(1)
    return float(np.median(reader.late)), float(np.quantile(reader.late, 0.99))


def drawing(noisy: bool) -> float:
    """Milliseconds of processor time that a second of one bed's ECG at 250 Hz takes to draw."""
    options = {"noise": yaml.safe_load(NOISE.partition("=")[2])} if noisy else {}
    source = ward_of_population("icu", WardRequest(1, SEED, ("ecg",), 250, options=options)).beds[0].source
    source.ecg(0)
    began = time.process_time()
    for second in range(1, DRAWN_SECONDS + 1):
        source.ecg(second)
    return 1000 * (time.process_time() - began) / DRAWN_SECONDS


def shown(ward: str, figure: str, value: float, floor: float | None, bar: float | None) -> bool:
    """Print a row of the table; whether its bar is met."""
    verdict = "reported" if bar is None else "met" if value <= bar else "MISSED"
    cells = "".join(f"{'-' if x is None else f'{x:.2f}':>{w}}" for x, w in ((floor, 9), (bar, 7)))
    print(f"{f'{ward}: {figure}':82}{value:9.2f}{cells}  {verdict}", flush=True)
    return verdict != "MISSED"


def main() -> int:
    """Print the table; 0 if all bars are met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", default="../shared/data")
    parser.add_argument("--quick", action="store_true", help="40 s a ward, 45 s of soak")
    parser.add_argument("--soak", type=int, help="seconds of the soak")
    parser.add_argument("--only", choices=("vitals", "ecg", "noisy", "soak"), help="one ward")
    asked = parser.parse_args()
    seconds, soak = (40, 45) if asked.quick else (120, 600)
    soak = asked.soak or soak
    machine = platform.processor() or platform.machine()
    cores = len(os.sched_getaffinity(0))
    print(f"{machine}, {cores} cores allowed, load {os.getloadavg()[0]:.1f}, seed {SEED}\n")
    wards = {
        "vitals": ("1,000 beds of vitals", 1000, "vitals", seconds, False),
        "ecg": ("50 beds of ECG, 12 leads, 250 Hz", 50, "ecg", seconds, False),
        "noisy": ("50 beds of it, all dials of noise", 50, "ecg", max(seconds, FILLED), True),
        "soak": (f"{soak} s of 100 beds, both", 100, "ecg,vitals", soak, False),
    }
    chosen = [ward for name, ward in wards.items() if asked.only in (None, name)]
    met = True
    with broker() as port:
        middle, late = naive(port, 1000, NAIVE_SECONDS) if asked.only in (None, "vitals") else (0.0, 0.0)
        print(f"{'figure':82}{'value':>9}{'floor':>9}{'bar':>7}  verdict", flush=True)
        for name, beds, signals, length, noisy in chosen:
            run = streamed(port, beds, signals, length, noisy)
            floor = late if signals == "vitals" else None
            rows: list[Row] = [
                ("ms late at the sender, 99th percentile", run.sender[1], None, LATE_BAR),
                ("ms late at the client, 99th percentile", run.client[1], floor, LATE_BAR),
                ("messages dropped or missing", float(run.missing), None, 0.0),
                ("MB of memory more a minute", run.growth, None, GROWTH_BAR),
                ("ms late at the sender, median", run.sender[0], None, None),
                ("ms late at the client, median", run.client[0], middle if floor else None, None),
                ("share of a core that the sender took", run.share, None, None),
                ("MB of memory at the start", run.memory[0], None, None),
                ("MB of memory at the end", run.memory[1], None, None),
            ]
            if noisy:
                plain, with_dials = np.median([(drawing(False), drawing(True)) for _ in range(3)], axis=0)
                rows.append(("ms of work to draw a second of an ECG with it", with_dials, plain, 2 * plain))
            for row in rows:
                met = shown(name, *row) and met
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
