"""Servers of WebSocket and SSE, and real clients."""

import asyncio
import json
import socket

import pytest
from live_patients import ward
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from polyclinic.app.stream.address import make_sink, parse_address
from polyclinic.app.stream.command import StreamRequest, stream_live
from polyclinic.app.stream.run import Pace, run
from polyclinic.core.errors import InputError


async def websocket_client(port, path, count):
    async with connect(f"ws://127.0.0.1:{port}/{path}", close_timeout=0.3) as client:
        return [json.loads(await client.recv()) for _ in range(count)]


async def sse_client(port, path, count):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET /{path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    assert b"200 OK" in head
    assert b"text/event-stream" in head
    got = []
    reader._limit = 2**20
    while len(got) < count:
        text = await reader.readuntil(b"\n\n")
        assert text.startswith(b"data: ")
        got.append(json.loads(text[6:]))
    writer.close()
    return got


CLIENTS = {"ws": websocket_client, "sse": sse_client}


@pytest.mark.parametrize("scheme", CLIENTS)
def test_a_server_gives_each_client_what_it_asks_for(scheme):
    """Where the choice is to wait, the stream waits for a client and then for each: nothing is lost."""

    async def play():
        sink = make_sink(parse_address(f"{scheme}://127.0.0.1:0"), wait=True, limit=100_000)
        task = asyncio.create_task(run(ward(2), sink, Pace(40.0, 20)))
        while getattr(sink, "_server", None) is None:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        ask = CLIENTS[scheme]
        whole = asyncio.create_task(ask(sink.port, "", 3 + 80 + 1))
        part = await ask(sink.port, "icu/bed-2/vitals", 5)
        return await task, await whole, part

    tally, whole, part = asyncio.run(play())
    assert (tally.sent, tally.dropped, tally.left) == (80, 0, 0)
    assert [m["signal"] for m in whole[:3]] == ["meta", "meta", "status"]
    assert whole[-1]["state"] == "ended"
    for bed, name in (("bed-1", "ecg"), ("bed-2", "ecg"), ("bed-1", "vitals"), ("bed-2", "vitals")):
        assert [m["seq"] for m in whole if (m.get("bed"), m["signal"]) == (bed, name)] == list(range(20))
    assert {m.get("bed") for m in part} == {"bed-2", None}
    seqs = [m["seq"] for m in part if m["signal"] == "vitals"]
    assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))


@pytest.mark.parametrize("scheme", CLIENTS)
def test_a_slow_client_drops_for_itself_alone(scheme, monkeypatch):
    for name in ("FLUSH", "GOODBYE"):
        monkeypatch.setattr(f"polyclinic.app.stream.server.{name}", 0.2)

    async def play():
        sink = make_sink(parse_address(f"{scheme}://127.0.0.1:0"), wait=False, limit=200_000)
        task = asyncio.create_task(run(ward(2), sink, Pace(None)))
        while getattr(sink, "_server", None) is None:
            await asyncio.sleep(0.01)
        _, asleep = await asyncio.open_connection("127.0.0.1", sink.port)
        hello = "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        if scheme == "ws":
            key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
            hello += "Upgrade: websocket\r\nConnection: Upgrade\r\n" + key
        asleep.write(f"{hello}\r\n".encode())  # and never reads
        awake = await CLIENTS[scheme](sink.port, "icu/bed-1/vitals", 30)
        task.cancel()
        tally = await task
        asleep.transport.abort()
        return tally, awake

    tally, awake = asyncio.run(play())
    assert tally.dropped > 0
    seqs = [m["seq"] for m in awake if m["signal"] == "vitals"]
    assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))


@pytest.mark.parametrize("scheme", CLIENTS)
def test_an_unknown_path_and_a_taken_port_are_refused(scheme, caplog):
    async def ask():
        sink = make_sink(parse_address(f"{scheme}://127.0.0.1:0"), wait=True)
        task = asyncio.create_task(run(ward(1, ("vitals",)), sink, Pace(None, 5)))
        while getattr(sink, "_server", None) is None:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        second = make_sink(parse_address(f"{scheme}://127.0.0.1:{sink.port}"), wait=True)
        with pytest.raises(InputError, match="cannot listen there"):
            await run(ward(1), second, Pace(None, 5))
        if scheme == "ws":
            with pytest.raises(InvalidStatus, match="404"):
                await websocket_client(sink.port, "icu/bed-9", 1)
        else:
            reader, writer = await asyncio.open_connection("127.0.0.1", sink.port)
            writer.write(b"GET /icu/bed-9 HTTP/1.0\r\nHost: [::1]\r\n\r\n")
            answer = await reader.read()
            assert b"404 Not Found" in answer
            assert b"beds are /icu/bed-1 to /icu/bed-" in answer
            writer.close()
        await CLIENTS[scheme](sink.port, "", 8)
        await task

    asyncio.run(ask())
    assert caplog.messages == []  # nor does uvicorn speak of its own


@pytest.mark.parametrize("scheme", CLIENTS)
def test_nothing_is_said_before_the_port_is_taken(scheme):
    said = []
    with socket.create_server(("127.0.0.1", 0)) as taken:
        to = f"{scheme}://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(InputError, match="cannot listen there"):
            stream_live(StreamRequest(to, cohort="cardio_oncology", patients=1, seconds=1), said.append)
    assert said == []
