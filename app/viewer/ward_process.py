"""The ward's own process: it streams beds as lines on standard output, and lets events befall them from standard input.

The viewer starts it, so that the viewer loads no model. A line of input is `{"bed": "bed-1", "what": "sepsis"}`; `what`
is a key of EVENTS, or `recovery`, which ends what the bed has. The process ends with its standard input.
"""

import asyncio
import json
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...core.capabilities import Live, LiveSource
from ...core.config import Settings, parse
from ...core.errors import InputError, Refused
from ...core.registry import load_modality
from ...core.text import say
from ..stream.address import parse_address
from ..stream.base import Message
from ..stream.message import encode
from ..stream.ndjson import NdjsonSink
from ..stream.network_faults import FAULTS, Fault, NetworkFaults
from ..stream.run import Device, Pace, Stream, run
from ..stream.scenario import Event
from ..stream.ward import WardRequest, ward_of_cohort, ward_of_population

RECOVERY = "recovery"
EVENTS: Mapping[str, Mapping[str, Any]] = {  # faster than at a bedside, so that one sees them happen
    "sepsis": {"over": 120, "severity": 0.9},
    "atrial_fibrillation": {"rate": 132},
    "lead_off": {"electrode": "LL", "lasts": 30},
    "dropout": {"lasts": 15},
}
SOON = 2  # s from when an event is asked for to when it begins


class Beds:
    """The beds of a stream, and what befalls them."""

    def __init__(self, stream: Stream, rules: Mapping[str, type[Settings]], sink: NdjsonSink) -> None:
        self._kinds, self._sink, self._ward = {**rules, **FAULTS}, sink, stream.ward.name
        self._devices: dict[str, list[Device]] = {}
        for device in stream.devices:
            self._devices.setdefault(device.bed.name, []).append(device)

    async def befall(self, bed: str, what: str) -> None:
        """From now on it happens to that bed; a patient that it cannot happen to is said, and nothing changes."""
        if bed not in self._devices or (what not in EVENTS and what != RECOVERY):
            return
        devices = self._devices[bed]
        now = max(device.second for device in devices)
        events = devices[0].bed.events
        if what == RECOVERY:
            events = tuple(_ended(event, now) for event in events)
        else:
            settings = parse(self._kinds[what], {**EVENTS[what], "at": now + SOON}, what)
            events = (*(e for e in events if e.what != what), Event(what, settings, None))
        try:
            await self._change(devices, events)
        except InputError as error:
            await self._tell(bed, {"error": str(error)})
            return
        await self._tell(bed, {"events": [event.describe() for event in events if _lasts(event, now)]})

    async def _change(self, devices: Sequence[Device], events: tuple[Event, ...]) -> None:
        """Give a bed a source with other rules, gone forward to where it is; its network other faults."""
        bed = devices[0].bed
        rules = [event.settings for event in events if not event.is_fault]
        if bed.renew is not None and rules != [e.settings for e in bed.events if not e.is_fault]:
            with_ecg = [device for device in devices if device.topic.endswith("/ecg")]
            reached = max((device.second for device in with_ecg), default=0)
            source = await asyncio.to_thread(_forward, bed.renew(rules), reached if with_ecg else 0)
            for device in with_ecg:  # what was sent meanwhile
                for second in range(reached, device.second):
                    source.ecg(second)
        else:
            source = bed.source
        faults = [event.settings for event in events if isinstance(event.settings, Fault)]
        for device in devices:
            device.bed = replace(bed, source=source, events=events)
            device.network = NetworkFaults(faults, 0)

    async def _tell(self, bed: str, content: Mapping[str, Any]) -> None:
        head = {"synthetic": True, "ward": self._ward, "bed": bed, "signal": "event"}
        await self._sink.send(Message(f"{self._ward}/{bed}/event", encode({**head, **content})))


def _forward(source: LiveSource, second: int) -> LiveSource:
    for passed in range(second):
        source.ecg(passed)
    return source


def _lasts(event: Event, now: int) -> bool:
    lasts, at = getattr(event.settings, "lasts", None), getattr(event.settings, "at", 0.0)
    return lasts is None or at + lasts > now


def _ended(event: Event, now: int) -> Event:
    """An event that lasts until now; one that has ended as it was."""
    if not _lasts(event, now):
        return event
    lasts = max(0.0, now - getattr(event.settings, "at", 0.0))
    return replace(event, settings=event.settings.model_copy(update={"lasts": lasts}))


async def _obey(stream: Stream, rules: Mapping[str, type[Settings]], sink: NdjsonSink) -> None:
    """Read events from standard input until it ends."""
    loop, reader = asyncio.get_running_loop(), asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    beds = Beds(stream, rules, sink)
    async for line in reader:
        asked = json.loads(line)
        await beds.befall(str(asked["bed"]), str(asked["what"]))


async def play(asked: Mapping[str, Any]) -> None:
    """Stream a ward until standard input ends. Raises InputError."""
    request = WardRequest(int(asked["beds"]), int(asked["seed"]), rate=250, renewable=True)
    source = str(asked["source"])
    ward = ward_of_cohort(Path(source), request) if asked["folder"] else ward_of_population(source, request)
    modality = load_modality(request.modality)
    assert isinstance(modality, Live)
    sink = NdjsonSink(parse_address("-?rate=250"), wait=False, limit=8_000_000)
    following: list[asyncio.Task[None]] = []

    def began(stream: Stream) -> None:
        following.append(asyncio.create_task(_obey(stream, modality.live_rules(), sink)))
        following[0].add_done_callback(lambda _: streaming.cancel())

    streaming = asyncio.ensure_future(run(ward, sink, Pace(1.0), began=began))
    await streaming
    if following and following[0].done() and not following[0].cancelled():
        following[0].result()  # an error of ours is not swallowed


def main() -> None:
    """Start from the JSON that is the one argument."""
    code = 0
    with suppress(KeyboardInterrupt):
        try:
            asyncio.run(play(json.loads(sys.argv[1])))
        except (InputError, Refused) as error:
            say(" ".join(str(error).split()), aside=True)
            code = 2
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # what is loaded takes seconds to unload, for which the page would wait


if __name__ == "__main__":
    main()
