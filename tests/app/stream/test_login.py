"""Streams over TLS, with user and password from the environment or a file: Mosquitto, and servers of our own."""

import asyncio
import gc
import os
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect

from polyclinic.app.stream import login
from polyclinic.app.stream.address import Address
from polyclinic.app.stream.base import Message
from polyclinic.app.stream.login import Login
from polyclinic.app.stream.mqtt import MqttSink, SecureMqttSink
from polyclinic.app.stream.server import ServerSink
from polyclinic.core.errors import InputError

PLACES = "/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin:/opt/homebrew/bin"
MOSQUITTO, PASSWD, OPENSSL = (
    shutil.which(name, path=PLACES) for name in ("mosquitto", "mosquitto_passwd", "openssl")
)
needs_openssl = pytest.mark.skipif(OPENSSL is None, reason="openssl is not installed")
needs_broker = pytest.mark.skipif(
    None in (MOSQUITTO, PASSWD, OPENSSL), reason="mosquitto or openssl is not installed"
)
WILL = Message("icu/status", b"{}", True)
SECRET = "correct horse battery"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """cert.pem, which signs itself and is of 127.0.0.1, and key.pem."""
    home = tmp_path_factory.mktemp("tls")
    asked = [OPENSSL, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=ward"]
    asked += [
        "-addext",
        "subjectAltName=IP:127.0.0.1",
        "-keyout",
        home / "key.pem",
        "-out",
        home / "cert.pem",
    ]
    subprocess.run(asked, check=True, capture_output=True)  # type: ignore[arg-type]
    home.chmod(0o755)
    return home


@pytest.fixture(scope="module")
def broker(certificates: Path) -> Iterator[int]:
    """The port of a Mosquitto that speaks TLS and knows one user."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = int(taken.getsockname()[1])
    users = certificates / "users"
    subprocess.run([PASSWD, "-b", "-c", users, "monitor", SECRET], check=True, capture_output=True)  # type: ignore[arg-type]
    (certificates / "m.conf").write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous false\npassword_file {users}\nlog_dest none\nuser root\n"
        f"certfile {certificates}/cert.pem\nkeyfile {certificates}/key.pem\n"
    )
    process = subprocess.Popen([MOSQUITTO, "-c", certificates / "m.conf"])  # type: ignore[list-item]
    for _ in range(500):
        with socket.socket() as knock:
            if knock.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.01)
    yield port
    process.terminate()
    process.wait(timeout=10)


def known(monkeypatch: pytest.MonkeyPatch, **names: Any) -> None:
    for name, value in names.items():
        monkeypatch.setenv(getattr(login, name), str(value))


def send(port: int, count: int = 300) -> int:
    """How many of so many messages were left when the sink was closed."""

    async def play() -> int:
        sink = SecureMqttSink(
            Address("mqtts", "127.0.0.1", port, "hospital", options={"qos": 1}), True, 1_000_000
        )
        await sink.open(WILL)
        for number in range(count):
            await sink.send(Message("icu/bed-1/vitals", str(number).encode() * 50))
        return await sink.close()

    return asyncio.run(play())


@needs_broker
def test_user_and_password_from_a_file_over_tls(
    broker: int, certificates: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "password"
    secret.write_text(f"{SECRET}\n")
    secret.chmod(0o600)
    known(monkeypatch, USER="monitor", PASSWORD_FILE=secret, CA=certificates / "cert.pem")
    assert send(broker) == 0


@needs_broker
@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # paho leaves such a socket to the collector
@pytest.mark.parametrize(
    ("names", "says"),
    [
        ({"USER": "monitor", "PASSWORD": "wrong"}, "Not authorized|Bad user name or password"),
        ({}, "Not authorized|Bad user name or password"),
        ({"USER": "monitor", "PASSWORD": SECRET, "CA": ""}, "its certificate does not do"),
    ],
)
def test_who_is_not_known_or_cannot_be_trusted_is_refused(
    broker: int, certificates: Path, monkeypatch: pytest.MonkeyPatch, names: dict[str, str], says: str
) -> None:
    known(monkeypatch, **{"CA": certificates / "cert.pem", **names})
    with pytest.raises(InputError, match=says) as refused:
        send(broker, 1)
    assert SECRET not in str(refused.value)
    del refused
    gc.collect()


def test_a_password_does_not_cross_the_network_in_the_open(monkeypatch: pytest.MonkeyPatch) -> None:
    known(monkeypatch, USER="monitor", PASSWORD=SECRET)
    with pytest.raises(InputError, match="in the open; use mqtts://"):
        MqttSink(Address("mqtt", "broker.example", 1883), True, 1000)
    assert SECRET not in repr(Login.of_environment())


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ({"PASSWORD": "x"}, "no user; set POLYCLINIC_MQTT_USER"),
        ({"CA": "/nowhere.pem"}, "POLYCLINIC_MQTT_CA: /nowhere.pem: no such file"),
        ({"CERT": __file__}, "expected POLYCLINIC_MQTT_CERT and POLYCLINIC_MQTT_KEY together"),
        (
            {"USER": "m", "PASSWORD_FILE": "/nowhere"},
            "POLYCLINIC_MQTT_PASSWORD_FILE: /nowhere: cannot be read",
        ),
    ],
)
def test_a_login_that_will_not_do_is_one_line(
    monkeypatch: pytest.MonkeyPatch, names: dict[str, str], says: str
) -> None:
    known(monkeypatch, **names)
    with pytest.raises(InputError, match=says):
        Login.of_environment()


@pytest.mark.skipif(os.name != "posix", reason="files have no modes here")
def test_a_password_that_others_may_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = tmp_path / "password"
    secret.write_text(SECRET)
    secret.chmod(0o644)
    known(monkeypatch, USER="monitor", PASSWORD_FILE=secret)
    with pytest.raises(InputError, match="others may read it; chmod 600 it"):
        Login.of_environment()


@needs_openssl
def test_a_server_speaks_tls(certificates: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known(monkeypatch, SERVER_CERT=certificates / "cert.pem", SERVER_KEY=certificates / "key.pem")
    trusting = ssl.create_default_context(cafile=str(certificates / "cert.pem"))

    async def play() -> tuple[str, bytes]:
        sink = ServerSink(Address("ws", "127.0.0.1", 0), False, 1_000_000)
        await sink.open(WILL)
        await sink.send(Message("icu/bed-1/meta", b'{"signal":"meta"}', True))
        try:
            async with connect(f"wss://127.0.0.1:{sink.port}/", ssl=trusting) as client:
                frame = str(await client.recv())
            reader, writer = await asyncio.open_connection("127.0.0.1", sink.port, ssl=trusting)
            writer.write(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            head = await reader.readuntil(b"\r\n\r\n")
            writer.close()
            return frame, head
        finally:
            await sink.close()

    frame, head = asyncio.run(play())
    assert "meta" in frame
    assert head.startswith(b"HTTP/1.1 200")


def test_half_a_pair_of_server_files_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    known(monkeypatch, SERVER_CERT=__file__)
    with pytest.raises(
        InputError, match="expected POLYCLINIC_STREAM_CERT and POLYCLINIC_STREAM_KEY together"
    ):
        ServerSink(Address("ws", "127.0.0.1", 0), False, 1000)
    known(monkeypatch, SERVER_KEY=__file__)
    with pytest.raises(InputError, match="expected PEM files that belong together"):
        ServerSink(Address("ws", "127.0.0.1", 0), False, 1000)
