"""Sinks: where messages go. One a transport: MQTT broker, WebSocket server, SSE server, standard output."""

from typing import Protocol

from .address import Address
from .bounded_queue import LIMIT, Message

FLUSH = 5.0  # s that a sink may take to send what waits when the stream ends


class Sink(Protocol):
    """Takes messages in order. mqtt.MqttSink, websocket.WebSocketSink, sse.SseSink and lines.LinesSink are ours."""

    async def open(self, will: Message) -> None:
        """Connect or listen; `will` is what clients are told should this process die. Raises InputError."""
        ...

    async def ready(self) -> None:
        """Wait until somebody listens, where the choice is to wait and the sink can know."""
        ...

    async def send(self, message: Message) -> bool:
        """False if the message was dropped for want of room. Raises Gone when there is nobody to send to any more."""
        ...

    async def close(self) -> int:
        """Send what waits, FLUSH seconds at most, and end; how many messages were not delivered."""
        ...


class Gone(Exception):  # noqa: N818
    """Whoever read the stream has left for good."""


def make_sink(address: Address, wait: bool, limit: int = LIMIT) -> Sink:
    """The sink of an address; `wait` for room, or drop."""
    if address.scheme == "mqtt":
        from .mqtt import MqttSink

        return MqttSink(address, wait, limit)
    if address.scheme == "ws":
        from .websocket import WebSocketSink

        return WebSocketSink(address, wait, limit)
    if address.scheme == "sse":
        from .sse import SseSink

        return SseSink(address, wait, limit)
    from .ndjson import LinesSink

    return LinesSink(wait, limit)
