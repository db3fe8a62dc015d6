"""Streams to a real Mosquitto: topics, retained metadata, both qualities of service, order through its restart."""

import asyncio
import json
import shutil
import socket
import subprocess
import threading
import time
from contextlib import contextmanager
from datetime import date

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from polyclinic.app.stream.address import Address, parse_address
from polyclinic.app.stream.base import Message
from polyclinic.app.stream.mqtt import Connection, MqttSink
from polyclinic.app.stream.network_faults import NetworkFaults
from polyclinic.app.stream.run import Pace, run
from polyclinic.app.stream.ward import Bed, Ward
from polyclinic.core.errors import InputError
from polyclinic.core.profile import PatientProfile

MOSQUITTO = shutil.which(
    "mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin:/opt/homebrew/sbin"
)
pytestmark = pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed")


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


class Broker:
    """A Mosquitto of our own, which forgets nothing when it is stopped, and is known by its pid alone."""

    def __init__(self, home):
        self.home, self.port, self.process = home, free_port(), None
        home.chmod(0o777)  # it runs as a user of its own
        (home / "m.conf").write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\npersistence true\n"
            f"persistence_location {home}/\nmax_queued_messages 0\nlog_dest none\nuser root\n"
        )

    def start(self):
        self.process = subprocess.Popen([MOSQUITTO, "-c", self.home / "m.conf"])
        for _ in range(500):
            with socket.socket() as knock:
                if knock.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.01)
        raise AssertionError("mosquitto did not start")

    def stop(self, kill=False):
        (self.process.kill if kill else self.process.terminate)()
        self.process.wait(timeout=10)


@pytest.fixture
def broker(tmp_path):
    own = Broker(tmp_path)
    own.start()
    yield own
    if own.process.poll() is None:
        own.stop()


@contextmanager
def subscriber(broker, topics="#"):
    """What a client that keeps its session has got: (topic, message, retained)."""
    got, ready = [], threading.Event()
    client = Client(CallbackAPIVersion.VERSION2, client_id="reader", protocol=MQTTProtocolVersion.MQTTv5)
    client.reconnect_delay_set(1, 1)
    client.on_message = lambda c, d, m: got.append((m.topic, json.loads(m.payload), m.retain))
    client.on_connect = lambda c, d, flags, reason, p: flags.session_present or c.subscribe(topics, qos=1)
    client.on_subscribe = lambda *_: ready.set()
    lasting = Properties(PacketTypes.CONNECT)
    lasting.SessionExpiryInterval = 3600
    client.connect("127.0.0.1", broker.port, clean_start=False, properties=lasting)
    client.loop_start()
    assert ready.wait(10)
    try:
        yield got
    finally:
        client.disconnect()
        client.loop_stop()


class Plain:
    """A source whose heart rate counts the seconds."""

    signals = ("vitals",)

    def vitals(self, second):
        return {"HR": second}

    def describe(self):
        return {"vitals": {"channels": {"HR": {"unit": "/min", "loinc": "8867-4", "label": "Heart rate"}}}}


def ward(beds=3):
    made = [PatientProfile(f"PC-{i}", index_date=date(2024, 5, 1)) for i in range(beds)]
    network = {"vitals": NetworkFaults((), 0)}
    return Ward("icu", tuple(Bed(f"bed-{i + 1}", p, Plain(), (), network, None) for i, p in enumerate(made)))


def sink_of(broker, qos=1, wait=True, limit=1_000_000):
    return MqttSink(parse_address(f"mqtt://127.0.0.1:{broker.port}/hospital?qos={qos}"), wait, limit)


def until(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def numbers(got, bed):
    return [m["seq"] for topic, m, _ in got if topic == f"hospital/icu/{bed}/vitals"]


@pytest.mark.parametrize("qos", [0, 1])
def test_a_ward_arrives_in_order_under_its_topics(broker, qos):
    with subscriber(broker) as got:
        sink = sink_of(broker, qos)
        tally = asyncio.run(run(ward(), sink, Pace(None, 200)))
        until(lambda: got and got[-1][1].get("state") == "ended")
    assert (tally.sent, tally.dropped, tally.left, sink.refused) == (600, 0, 0, 0)
    assert all(numbers(got, f"bed-{n}") == list(range(200)) for n in (1, 2, 3))
    assert {topic for topic, _, _ in got} == {
        "hospital/icu/status", *(f"hospital/icu/bed-{n}/{name}" for n in (1, 2, 3) for name in ("meta", "vitals")),
    }  # fmt: skip


def test_who_comes_later_learns_who_lies_there_and_how_it_went(broker):
    asyncio.run(run(ward(2), sink_of(broker), Pace(None, 5)))
    with subscriber(broker) as got:
        until(lambda: len(got) == 3)
    assert all(retained for _, _, retained in got)
    assert {topic for topic, _, _ in got} == {
        f"hospital/icu/{x}" for x in ("bed-1/meta", "bed-2/meta", "status")
    }
    status = next(m for topic, m, _ in got if topic.endswith("status"))
    assert (status["state"], status["made"], status["sent"], status["dropped"]) == ("ended", 10, 10, 0)


def test_the_will_says_that_the_ward_is_lost(broker):
    """A process that is killed cannot say so; the broker does."""

    async def die():
        connection = Connection(
            sink_of(broker)._address, Message("icu/status", b'{"state":"lost"}', True), print
        )
        await connection.start()
        sock = connection._client.socket()
        asyncio.get_running_loop().remove_reader(sock)
        sock.shutdown(socket.SHUT_RDWR)
        sock.close()

    with subscriber(broker) as got:
        asyncio.run(die())
        until(lambda: got)
    assert got[0][:2] == ("hospital/icu/status", {"state": "lost"})


@pytest.mark.parametrize("rough", [False, True])
def test_a_restart_of_the_broker_loses_nothing_and_keeps_the_order(broker, rough):
    """At QoS 1, first copies come in order and none is missing; after a stop in good order for readers too."""
    with subscriber(broker) as got:
        sink = sink_of(broker)
        done = []
        stream = threading.Thread(
            target=lambda: done.append(asyncio.run(run(ward(), sink, Pace(100.0, 300))))
        )
        stream.start()
        until(lambda: len(got) > 150)
        broker.stop(kill=rough)
        time.sleep(0.5)
        broker.start()
        stream.join(30)
        until(lambda: got and got[-1][1].get("state") == "ended")
        time.sleep(0.2)
    tally = done[0]
    assert sink.reconnections >= 1
    assert (tally.sent, tally.dropped, tally.left) == (900, 0, 0)
    for bed in ("bed-1", "bed-2", "bed-3"):
        order = list(dict.fromkeys(numbers(got, bed)))  # first copies
        assert order == sorted(order)
        if not rough:  # a killed broker forgets what it had acknowledged and not yet passed on
            assert order == list(range(300))


def test_while_the_broker_is_away_the_queue_is_bounded_and_what_is_dropped_is_counted(broker):
    async def play():
        sink = sink_of(broker, wait=False, limit=20_000)
        task = asyncio.create_task(run(ward(), sink, Pace(200.0)))
        await asyncio.sleep(0.3)
        await asyncio.to_thread(broker.stop)
        sizes = []
        for _ in range(20):
            await asyncio.sleep(0.05)
            sizes.append(sum(len(m.payload) for m in sink._queue._messages))
        await asyncio.to_thread(broker.start)
        while not sink.reconnections:
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.3)
        task.cancel()
        return await task, sizes

    tally, sizes = asyncio.run(play())
    assert max(sizes) <= 20_000
    assert sizes[-1] > 15_000
    assert tally.dropped > 0
    assert tally.made == tally.sent + tally.dropped
    assert tally.left == 0


def test_where_no_broker_is_there_is_one_line():
    sink = MqttSink(Address("mqtt", port=free_port(), prefix="polyclinic"), True, 1000)
    with pytest.raises(
        InputError, match=r"--to mqtt://127.0.0.1:\d+/polyclinic: no MQTT 5 broker takes the conn"
    ):
        asyncio.run(run(ward(), sink, Pace(None, 5)))


def test_a_broker_that_does_not_speak_is_given_up(monkeypatch):
    monkeypatch.setattr("polyclinic.app.stream.mqtt.PATIENCE", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        sink = MqttSink(Address("mqtt", port=mute.getsockname()[1]), True, 1000)
        with pytest.raises(InputError, match=r"\(no answer in 0.3 s\)"):
            asyncio.run(run(ward(), sink, Pace(None, 5)))
