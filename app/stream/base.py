"""Sink: where messages go. One a transport, found by entry point: the entry point's name is the URL's scheme."""

from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import ClassVar, Protocol

from .bounded_queue import Message

FLUSH = 5.0  # s that a sink may take to send what waits when the stream ends
GROUP = "polyclinic.sinks"


class Sink(Protocol):
    """Takes messages in order. It is made from (address, wait for room or drop, bytes that may wait).

    mqtt.MqttSink, server.ServerSink (ws and sse) and ndjson.NdjsonSink are ours.
    """

    default_port: ClassVar[int]  # 0 where a URL has no host
    takes_prefix: ClassVar[bool]  # whether the URL's path is a prefix of the topics
    choices: ClassVar[Mapping[str, tuple[int, ...]]]  # keys of the URL's query and their values

    async def open(self, will: Message) -> None:
        """Connect or listen; `will` is what clients get should this process die. Raises InputError."""
        ...

    async def ready(self) -> None:
        """Wait until somebody listens, where the choice is to wait and the sink can know."""
        ...

    async def send(self, message: Message) -> bool:
        """False if the message was dropped for want of room. Raises Gone when nobody is left to send to."""
        ...

    async def close(self) -> int:
        """Send what waits, FLUSH seconds at most, and end; how many messages were not delivered."""
        ...


class Gone(Exception):  # noqa: N818
    """Whoever read the stream has left for good."""


def sink_schemes() -> list[str]:
    """Schemes of the sinks that are installed."""
    return sorted(entry_points(group=GROUP).names)


def sink_class(scheme: str) -> type[Sink]:
    """The sink of an installed scheme."""
    return entry_points(group=GROUP)[scheme].load()  # type: ignore[no-any-return]
