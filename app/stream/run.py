"""run(): the one loop of a live stream. Each monitor's message is made when it is due, and handed to the sink."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ...core.capabilities import LivePulse
from ...core.contracts import Sink
from ...core.errors import InputError
from . import fhir, message
from .base import Gone, Message
from .scheduler import Clock, Lateness, Monotonic, Scheduler, offset
from .ward import Bed, Ward

STATUS_EVERY = 10.0  # s of the clock between two messages of the ward's status
LAST_WORD = 1.0  # s that the last of them may wait for room


@dataclass(frozen=True)
class Pace:
    """How fast and how long. `speed` None is as fast as possible; `start` is seconds after midnight."""

    speed: float | None = 1.0
    seconds: float | None = None
    start: int = 0
    fhir: bool = False


@dataclass
class Tally:
    """How the stream is (live, ended, stopped, gone: its reader left) and what became of the messages.

    `lateness` is from a message's deadline to when the sink had taken it.
    """

    made: int = 0
    sent: int = 0
    dropped: int = 0
    duplicated: int = 0
    lost_by_scenario: int = 0
    left: int = 0
    state: str = "live"
    lateness: Lateness = field(default_factory=Lateness)

    def describe(self) -> dict[str, Any]:
        """Plain JSON types; lateness in ms."""
        counts = ("made", "sent", "dropped", "duplicated", "lost_by_scenario")
        counted: dict[str, Any] = {name: getattr(self, name) for name in counts}
        if (middle := self.lateness.quantile(0.5)) is not None:
            late = self.lateness.quantile(0.99)
            counted["late_ms"] = {"p50": round(1000 * middle, 1), "p99": round(1000 * (late or 0.0), 1)}
        return counted


class Device:
    """One signal of one bed: numbers its messages and makes one a second."""

    def __init__(self, ward: str, bed: Bed, signal: str, pace: Pace) -> None:
        self.bed, self.network, self._pace = bed, bed.network[signal], pace
        self.topic = f"{ward}/{bed.name}/{signal}"
        self.second = 0
        self._signal = signal
        self._head = {
            "synthetic": True, "ward": ward, "bed": bed.name, "patient": bed.profile.patient_id, "signal": signal,
        }  # fmt: skip
        self._about = bed.source.describe()[signal]

    def make(self, due: float | None) -> bytes | None:
        """The message of the next second; `due` is when it is to be sent, in Unix time, None if at no time.

        None where a sparse source has nothing to say in that second.
        """
        second = self.second
        self.second += 1
        head = {**self._head, "seq": second, "t": second}
        shown = message.moment(self.bed.midnight, self._pace.start + self.network.shown(second))
        if shown is not None:
            head["time"] = shown
        if due is not None:
            head["due"] = round(due, 4)
        if self._signal == "vitals":
            values = self.bed.source.vitals(second)
            if not values and getattr(self.bed.source, "sparse", False):
                return None
            if self._pace.fhir:
                return fhir.vitals(head, values, self._about["channels"])
            return message.vitals(head, values)
        if self._signal == "ppg":
            assert isinstance(self.bed.source, LivePulse)
            waves, peaks = self.bed.source.ppg(second)
            made = fhir.pulse if self._pace.fhir else message.pulse
            return made({**head, "rate": self._about["rate"]}, waves, peaks)
        leads, peaks = self.bed.source.ecg(second)
        if self._pace.fhir:
            return fhir.ecg(head, leads, self._about["rate"])
        return message.ecg({**head, "rate": self._about["rate"]}, leads, peaks)


async def run(
    ward: Ward, sink: Sink, pace: Pace, clock: Clock | None = None,
    began: "Callable[[Stream], None] | None" = None,
) -> Tally:  # fmt: skip
    """Stream until the seconds are over, the reader is gone, or the task is cancelled; what became of it.

    `began` gets the stream before its first message.

    A cancelled run still sends what waits, says on the status topic that it was stopped, and returns.
    Raises InputError when the sink cannot be opened.
    """
    stream = Stream(ward, sink, pace, clock or Monotonic())
    await sink.open(stream.status("lost"))
    tally = stream.tally
    if began is not None:
        began(stream)
    try:
        await stream.play()
        tally.state = "ended"
    except Gone:
        tally.state = "gone"
    except asyncio.CancelledError:
        tally.state = "stopped"
    finally:
        tally.left = await stream.finish()
    return tally


Item = (
    Device | tuple[str, bytes]
)  # a device whose message is due, or a message that was held back: topic, payload


class Stream:
    """A ward that is being sent."""

    def __init__(self, ward: Ward, sink: Sink, pace: Pace, clock: Clock) -> None:
        self.ward, self.tally = ward, Tally()
        self._sink, self._pace, self._clock = sink, pace, clock
        self.devices = [
            Device(ward.name, bed, signal, pace) for bed in ward.beds for signal in bed.source.signals
        ]
        self._time = 0.0

    def status(self, state: str) -> Message:
        """The retained message on how the stream does: live, ended, stopped, or lost."""
        networks = [device.network for device in self.devices]
        self.tally.lost_by_scenario = sum(network.lost for network in networks)
        self.tally.duplicated = sum(network.doubled for network in networks)
        head = {"synthetic": True, "ward": self.ward.name, "signal": "status"}
        content = {**head, "state": state, "t": round(self._time, 3), **self.tally.describe()}
        return Message(f"{self.ward.name}/status", message.encode(content), True)

    async def play(self) -> None:
        """Send metadata, then each message when it is due."""
        for bed in self.ward.beds:
            await self._sink.send(self._meta(bed))
        await self._sink.send(self.status("live"))
        await self._sink.ready()
        scheduler: Scheduler[Item] = Scheduler(
            (1 + offset(place, len(self.devices)), device) for place, device in enumerate(self.devices)
        )
        began, unix, reported = self._clock.now(), time.time(), self._clock.now()
        speed = self._pace.speed
        async for due, item in scheduler.run(self._clock, speed):
            self._time = due
            if isinstance(item, Device):
                await self._serve(item, due, None if speed is None else unix + due / speed, scheduler)
            else:
                await self._hand(*item)
            if speed is not None:
                self.tally.lateness.add(self._clock.now() - began - due / speed)
                if self._clock.now() - reported >= STATUS_EVERY:
                    reported = self._clock.now()
                    await self._sink.send(self.status("live"))

    async def _serve(
        self, device: Device, due: float, unix: float | None, scheduler: Scheduler[Item]
    ) -> None:
        """Make a device's message, send what its network lets through, and note when its next one is due."""
        second = device.second
        if self._pace.seconds is not None and second >= self._pace.seconds:
            return
        scheduler.add(due + 1, device)
        if (made := device.make(unix)) is None:
            return
        self.tally.made += 1
        for delay, payload in device.network.carry(second, made):
            if delay:
                scheduler.add(due + delay, (device.topic, payload))
            else:
                await self._hand(device.topic, payload)

    async def finish(self) -> int:
        """Say how it ended and close the sink; how many messages were left."""
        with contextlib.suppress(Gone, TimeoutError, InputError):  # whoever does not read does not read this
            await asyncio.wait_for(self._sink.send(self.status(self.tally.state)), LAST_WORD)
        return await self._sink.close()

    async def _hand(self, topic: str, payload: bytes) -> None:
        if await self._sink.send(Message(topic, payload)):
            self.tally.sent += 1
        else:
            self.tally.dropped += 1

    def _meta(self, bed: Bed) -> Message:
        who = {"synthetic": True, "ward": self.ward.name, "bed": bed.name, "patient": bed.profile.patient_id}
        content = {**who, "signal": "meta", **bed.describe()}
        return Message(f"{self.ward.name}/{bed.name}/meta", message.encode(content), True)
