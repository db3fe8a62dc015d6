"""The whole stream: who first, then each second once, then how it ended; addresses."""

import asyncio
import json

import numpy as np
import pytest
from live_patients import Jumping, ward

from polyclinic.app.stream.address import parse_address
from polyclinic.app.stream.run import Pace, run
from polyclinic.core.errors import InputError
from polyclinic.modalities.signals.layout import LEADS


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://x", "expected mqtt://"),
        ("mqtt://x:99999/y", "expected mqtt://"),
        ("mqtt://x:1883/a?qos=2", "qos is one of 0, 1, got '2'"),
        ("ws://127.0.0.1:1?qos=1", "unknown key 'qos'; ws takes rate"),
        ("-?rate=100", "rate is one of 250, 500"),
        ("ws://127.0.0.1:1/path", "a server has no prefix"),
        ("mqtt://u:secret@x", "others see a password in a command line; set POLYCLINIC_MQTT_USER"),
        ("mqtt://x/a+b", "no \\+ and no #"),
    ],
)
def test_a_wrong_address_is_one_clear_line(url, message):
    with pytest.raises(InputError, match=message) as error:
        parse_address(url)
    assert "secret" not in str(error.value)


def test_servers_listen_on_loopback_unless_told():
    assert parse_address("ws://:8000").host == "127.0.0.1"
    assert str(parse_address("mqtt://h:1884/a/b?qos=0&rate=250")) == "mqtt://h:1884/a/b"


class Memory:
    """A sink that remembers, and may be slow to take."""

    def __init__(self, refuse=lambda message: False, after=None):
        self.got, self.refuse, self.after = [], refuse, after

    async def open(self, will):
        self.will = json.loads(will.payload)

    async def ready(self):
        pass

    async def send(self, message):
        if self.after and len(self.got) >= self.after:
            asyncio.current_task().cancel()
            self.after = None
            await asyncio.sleep(0)
        if self.refuse(message):
            return False
        self.got.append(message)
        return True

    async def close(self):
        return 0


def said(messages):
    return [json.loads(message.payload) for message in messages]


def played(own, sink=None, **pace):
    sink = sink or Memory()
    tally = asyncio.run(run(own, sink, Pace(**{"seconds": 3, **pace}), Jumping()))
    return tally, said(sink.got)


def test_a_stream_says_who_first_then_each_second_once_then_how_it_ended():
    tally, messages = played(ward(2), speed=10.0)
    assert [m["signal"] for m in messages[:3]] == ["meta", "meta", "status"]
    assert all(m["synthetic"] is True for m in messages)
    for bed in ("bed-1", "bed-2"):
        for name in ("ecg", "vitals"):
            own = [m for m in messages if (m.get("bed"), m["signal"]) == (bed, name)]
            assert [m["seq"] for m in own] == [0, 1, 2]
            assert [m["time"] for m in own] == [f"2024-05-01T00:00:0{n}.000Z" for n in range(3)]
            assert np.diff([m["due"] for m in own]) == pytest.approx([0.1, 0.1], abs=2e-4)
    ecg = next(m for m in messages if m["signal"] == "ecg")
    assert {name: len(row) for name, row in ecg["leads"].items()} == dict.fromkeys(LEADS, 500)
    assert messages[-1] | {"late_ms": 0} == {
        "synthetic": True, "ward": "icu", "signal": "status", "state": "ended", "t": messages[-1]["t"], "made": 12,
        "sent": 12, "dropped": 0, "duplicated": 0, "lost_by_scenario": 0, "late_ms": 0,
    }  # fmt: skip
    assert tally.sent == 12


def test_as_fast_as_possible_the_same_seed_gives_the_same_bytes():
    assert played(ward(2), speed=None)[1] == played(ward(2), speed=None)[1]
    assert "due" not in str(played(ward(1), speed=None)[1])


def test_what_is_dropped_is_counted_and_leaves_a_gap():
    sink = Memory(refuse=lambda message: b'"seq":1,' in message.payload)
    tally, messages = played(ward(1), sink, speed=None)
    assert (tally.made, tally.sent, tally.dropped) == (6, 4, 2)
    assert messages[-1]["dropped"] == 2
    assert [m["seq"] for m in messages if m["signal"] == "vitals"] == [0, 2]


def test_a_stopped_stream_says_so():
    tally, messages = played(ward(1), Memory(after=9), speed=None, seconds=None)
    assert tally.state == messages[-1]["state"] == "stopped"


def test_a_bad_network_on_the_wire(tmp_path):
    events = [
        {"what": "dropout", "at": 10, "lasts": 5, "beds": [1]},
        {"what": "late", "at": 0, "share": 0.3, "by": 2.5, "beds": [2]},
        {"what": "duplicates", "at": 0, "share": 0.3, "beds": [2]},
        {"what": "clock_drift", "at": 0, "jump": 60, "beds": [1]},
    ]
    tally, messages = played(ward(2, ("vitals",), events, tmp_path), speed=1.0, seconds=60)
    one, two = (
        [m for m in messages if (m.get("bed"), m["signal"]) == (bed, "vitals")] for bed in ("bed-1", "bed-2")
    )
    assert [m["seq"] for m in one] == [*range(10), *range(15, 60)]
    assert one[0]["time"] == "2024-05-01T00:01:00.000Z"
    order = [m["seq"] for m in two]
    assert sorted(set(order)) == list(range(60))
    assert order != sorted(order)
    assert len(order) == 60 + tally.duplicated > 60
    assert messages[-1]["lost_by_scenario"] == 5


def test_fhir_observations_are_valid():
    from fhir.resources.R4B.observation import Observation

    _, messages = played(ward(1), speed=1.0, fhir=True)
    own = [m for m in messages if m.get("resourceType") == "Observation"]
    assert len(own) == 6
    for resource in own:
        Observation.model_validate(resource)
        assert resource["meta"]["tag"][0]["code"] == "HTEST"
        assert resource["subject"] == {"reference": "Patient/PC-0"}
    ecg = next(m for m in own if m["identifier"][0]["value"] == "icu/bed-1/ecg/0")
    sampled = ecg["component"][0]["valueSampledData"]
    assert sampled["period"] == 2.0
    assert len(sampled["data"].split()) == 500


def test_fhir_says_which_lead_is_off(tmp_path):
    from fhir.resources.R4B.observation import Observation

    off = [{"what": "lead_off", "at": 0, "electrode": "V2"}]
    _, messages = played(ward(1, ("ecg",), off, tmp_path), speed=None, seconds=1, fhir=True)
    ecg = next(m for m in messages if "resourceType" in m)
    Observation.model_validate(ecg)
    absent = [part["code"]["coding"][0]["display"] for part in ecg["component"] if "dataAbsentReason" in part]
    assert absent == ["MDC_ECG_ELEC_POTL_V2"]
