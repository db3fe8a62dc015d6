"""SseSink: a server of server-sent events; each client names a path (/ward/bed/signal, / for all)."""

import asyncio
import contextlib

from ...core.errors import InputError
from .address import Address
from .bounded_queue import Closed, Message
from .broadcaster import Hub
from .sinks import FLUSH

PATIENCE = 10.0  # s that a client may take for its request
STREAM = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n"
    b"Access-Control-Allow-Origin: *\r\nConnection: close\r\n\r\n"
)
UNKNOWN = (
    b"HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n"
    b"no such ward, bed or signal; / is all of them\n"
)
REFUSED = b"HTTP/1.1 405 Method Not Allowed\r\nAllow: GET\r\nConnection: close\r\n\r\n"


class SseSink:
    """See sinks.Sink."""

    def __init__(self, address: Address, wait: bool, limit: int) -> None:
        self._address, self._hub = address, Hub(wait, limit)
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def port(self) -> int:
        """The port it listens on."""
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    async def open(self, will: Message) -> None:
        """Listen. Raises InputError if the address is taken."""
        try:
            self._server = await asyncio.start_server(self._begin, self._address.host, self._address.port)
        except OSError as error:
            raise InputError(
                f"--to {self._address}: cannot listen there ({error.strerror or error})"
            ) from None

    async def ready(self) -> None:
        """See sinks.Sink."""
        await self._hub.ready()

    async def send(self, message: Message) -> bool:
        """See sinks.Sink."""
        return await self._hub.send(message)

    async def close(self) -> int:
        """See sinks.Sink."""
        if self._server is not None:
            self._server.close()
        left = await self._hub.drain(FLUSH)
        if self._tasks:
            _, slow = await asyncio.wait(self._tasks, timeout=FLUSH)
            for task in slow:
                task.cancel()
            await asyncio.gather(*slow, return_exceptions=True)
        return left

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # a client may leave at any moment, or not speak HTTP
        with contextlib.suppress(
            OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError
        ):
            async with asyncio.timeout(PATIENCE):
                asked = await reader.readuntil(b"\r\n\r\n")
            method, _, rest = asked.decode("latin-1").partition(" ")
            path = rest.partition(" ")[0].partition("?")[0].strip("/")
            if method != "GET" or not self._hub.knows(path):
                writer.write(UNKNOWN if method == "GET" else REFUSED)
            else:
                writer.write(STREAM)
                await self._events(path, writer)
            await writer.drain()
        writer.close()

    async def _events(self, path: str, writer: asyncio.StreamWriter) -> None:
        with self._hub.client(path) as box, contextlib.suppress(Closed):
            while True:
                message = await box.first()
                writer.write(b"data: " + message.payload + b"\n\n")
                await writer.drain()
                box.pop()
