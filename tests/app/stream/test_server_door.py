"""Whom a live server lets in: by Host, Origin, token and number, asked over real sockets."""

import asyncio
import contextlib
import http.client
import json
import re
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from polyclinic.app.stream import http_connection, server
from polyclinic.app.stream.address import make_sink, parse_address
from polyclinic.app.stream.base import Message
from polyclinic.app.stream.door import TOKEN
from polyclinic.core.errors import InputError

META = Message("icu/bed-1/meta", b'{"signal":"meta"}', True)
SECRET = "a secret of sixteen"


def serve(url: str, ask: Callable[[Any], Awaitable[Any]]) -> Any:
    """What `ask` finds of a server at that URL that has one bed."""

    async def play() -> Any:
        sink = make_sink(parse_address(url), wait=False)
        await sink.open(META)
        try:
            await sink.send(META)
            return await ask(sink)
        finally:
            await sink.close()

    return asyncio.run(play())


async def events(port: int, headers: dict[str, str], path: str = "/icu/bed-1") -> tuple[int, str, str]:
    """Status, head, and the first bytes of the body of a GET."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    writer.write(f"GET {path} HTTP/1.1\r\n{lines}\r\n".encode())
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    body = (await reader.read(200)).decode()
    writer.close()
    return int(head.split()[1]), head, body


async def frames(port: int, headers: dict[str, str], path: str = "/icu/bed-1") -> int:
    """101 where a WebSocket gets its first frame, else the status."""
    own = {name: value for name, value in headers.items() if name not in ("Host", "Origin")}
    try:
        async with connect(
            f"ws://{headers.get('Host', f'127.0.0.1:{port}')}{path}", host="127.0.0.1", port=port,
            origin=headers.get("Origin"), additional_headers=own, close_timeout=0.3,
        ) as client:  # fmt: skip
            assert json.loads(await client.recv()) == {"signal": "meta"}
            return 101
    except InvalidStatus as error:
        return error.response.status_code


CASES = [  # headers, status, what is said of it
    ({"Host": "127.0.0.1:9"}, 200, ""),
    ({"Host": "localhost"}, 200, ""),
    ({"Host": "[::1]:80"}, 200, ""),
    ({"Host": "evil.example"}, 421, "Host: expected"),
    ({"Host": "127.0.0.1.evil.example"}, 421, "Host: expected"),
    ({"Host": "10.0.0.1"}, 421, "Host: expected"),
    ({"Host": "localhost", "Origin": "http://localhost:3000"}, 200, ""),
    ({"Host": "localhost", "Origin": "http://127.0.0.1"}, 200, ""),
    ({"Host": "localhost", "Origin": "https://ward.example"}, 200, ""),
    ({"Host": "localhost", "Origin": "https://evil.example"}, 403, "Origin"),
    ({"Host": "localhost", "Origin": "https://ward.example.evil.example"}, 403, "Origin"),
    ({"Host": "localhost", "Origin": "http://localhost@evil.example"}, 403, "Origin"),
    ({"Host": "localhost", "Origin": "http://ward.example"}, 403, "Origin"),
    ({"Host": "localhost", "Origin": "null"}, 403, "Origin"),
    ({"Host": "localhost", "Sec-Fetch-Site": "cross-site"}, 403, "another site"),
]


@pytest.mark.parametrize(("headers", "status", "said"), CASES)
def test_host_and_origin_are_checked(headers: dict[str, str], status: int, said: str) -> None:
    """For events and for a WebSocket alike."""

    async def ask(sink: Any) -> None:
        got, head, body = await events(sink.port, headers)
        assert (got, await frames(sink.port, headers)) == (status, 101 if status == 200 else status)
        assert said in body
        allowed = re.findall(r"(?i)^access-control-allow-origin: (.*?)\r$", head, re.M)
        assert allowed == ([headers["Origin"]] if status == 200 and "Origin" in headers else [])
        assert "*" not in head

    serve("sse://127.0.0.1:0?origin=https://ward.example", ask)


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ({}, 401),
        ({"Authorization": f"Bearer {SECRET}"}, 200),
        ({"Authorization": f"bearer {SECRET}"}, 200),
        ({"Authorization": f"Basic {SECRET}"}, 401),
        ({"Authorization": "Bearer"}, 401),
        ({"Authorization": f"Bearer {SECRET[:-1]}"}, 401),
        ({"Authorization": f"Bearer {SECRET}x"}, 401),
    ],
)
def test_beyond_loopback_a_token_is_required(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], status: int
) -> None:
    monkeypatch.setenv(TOKEN, SECRET)
    headers = {"Host": "10.1.2.3:8765", **given}

    async def ask(sink: Any) -> None:
        got, head, _ = await events(sink.port, headers)
        assert got == status
        assert ("www-authenticate: bearer" in head.lower()) == (status == 401)
        assert await frames(sink.port, headers) == (101 if status == 200 else status)
        assert SECRET not in sink.notice

    serve("ws://0.0.0.0:0", ask)


def test_a_token_is_made_where_none_is_given_and_may_stand_in_the_url(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(TOKEN, raising=False)
    found = []

    async def ask(sink: Any) -> None:
        token = re.search(r"the token (\S{32}),", sink.notice)
        assert token is not None
        found.append(token[1])
        for path, status in ((f"/icu/bed-1?token={token[1]}", 101), ("/icu/bed-1?token=x", 401)):
            assert await frames(sink.port, {"Host": "10.0.0.1"}, path) == status

    for _ in range(2):
        serve("ws://0.0.0.0:0", ask)
    assert found[0] != found[1]


def test_on_loopback_no_token_is_asked_for_unless_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TOKEN, raising=False)
    assert make_sink(parse_address("ws://localhost:0"), wait=False).notice == ""  # type: ignore[attr-defined]
    monkeypatch.setenv(TOKEN, SECRET)

    async def ask(sink: Any) -> int:
        return (await events(sink.port, {"Host": "localhost"}))[0]

    assert serve("ws://127.0.0.1:0", ask) == 401
    monkeypatch.setenv(TOKEN, "short")
    with pytest.raises(InputError, match="at least 16"):
        make_sink(parse_address("ws://127.0.0.1:0"), wait=False)


@pytest.mark.parametrize("origin", ["*", "null", "ward.example", "https://ward.example/", "https://a@b", ""])
def test_an_origin_is_scheme_and_host(origin: str) -> None:
    with pytest.raises(InputError, match="origin is one as https://"):
        parse_address(f"sse://127.0.0.1:0?origin={origin}")


def test_clients_are_bounded_and_those_who_leave_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "CLIENTS", 3)

    async def ask(sink: Any) -> None:
        url = f"ws://127.0.0.1:{sink.port}/icu"
        there = [await connect(url) for _ in range(3)]
        for client in there:
            await client.recv()
        status, _, body = await events(sink.port, {"Host": "localhost"})
        assert (status, await frames(sink.port, {})) == (503, 503)
        assert "3 clients are connected, which is the most" in body
        await there[0].close()
        for _ in range(100):  # the server sees it though it sends nothing
            if len(sink._broadcaster) == 2:
                break
            await asyncio.sleep(0.02)
        assert await frames(sink.port, {}) == 101
        for client in there[1:]:
            await client.close()

    serve("ws://127.0.0.1:0", ask)


def test_connections_are_bounded_and_mute_ones_are_closed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(http_connection, "MOST", 5)
    monkeypatch.setattr(http_connection, "FIRST_WORD", 0.3)
    monkeypatch.setattr(http_connection, "_said", {})

    async def ask(sink: Any) -> None:
        async def ended(reader: asyncio.StreamReader) -> float:
            began = time.monotonic()
            with contextlib.suppress(ConnectionResetError):
                assert await reader.read() == b""
            return time.monotonic() - began

        mute = [await asyncio.open_connection("127.0.0.1", sink.port) for _ in range(30)]
        times = await asyncio.wait_for(asyncio.gather(*(ended(reader) for reader, _ in mute)), 5)
        assert sum(t > 0.2 for t in times) == 5  # these had a place, and said nothing
        for _, writer in mute:
            writer.close()
        assert await frames(sink.port, {}) == 101

    serve("ws://127.0.0.1:0", ask)
    said = capsys.readouterr().err.splitlines()
    assert said == ["polyclinic: more than 5 connections at once: further ones are closed"]


FLOODED = """
import asyncio, resource, sys
from polyclinic.app.stream.address import make_sink, parse_address
from polyclinic.app.stream.base import Message

async def play():
    sink = make_sink(parse_address("ws://127.0.0.1:0"), wait=False)
    await sink.open(Message("icu/status", b"{}", True))
    await sink.send(Message("icu/bed-1/meta", b"{}", True))
    resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
    print(sink.port, flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await sink.close()

asyncio.run(play())
"""


def test_at_the_descriptor_limit_there_is_one_line() -> None:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert soft > 200, "this test needs 150 descriptors of its own"
    process = subprocess.Popen(
        [sys.executable, "-c", FLOODED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    port = int(process.stdout.readline())
    crowd = []
    for _ in range(100):
        client = socket.socket()
        client.setblocking(False)
        client.connect_ex(("127.0.0.1", port))
        crowd.append(client)
    time.sleep(2.5)
    for client in crowd:
        client.close()
    time.sleep(1.5)
    after = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    after.request("GET", "/nowhere")
    assert after.getresponse().status == 404
    after.close()
    _, err = process.communicate(b"", timeout=20)
    assert err.decode().splitlines() == [
        "polyclinic: no file descriptors are left: new clients wait; allow more with ulimit -n"
    ]
