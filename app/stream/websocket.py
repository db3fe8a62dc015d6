"""WebSocketSink: a server; each client names a path (/ward/bed/signal, / for all) and gets a text frame a message."""

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING

from ...core.errors import InputError
from .address import Address
from .bounded_queue import Closed, Message
from .broadcaster import Hub
from .sinks import FLUSH

if TYPE_CHECKING:
    from websockets.asyncio.server import Server, ServerConnection
    from websockets.http11 import Request, Response

GOODBYE = 1.0  # s that a client may take to answer that the stream closes


class WebSocketSink:
    """See sinks.Sink."""

    def __init__(self, address: Address, wait: bool, limit: int) -> None:
        self._address, self._hub = address, Hub(wait, limit)
        self._server: Server | None = None
        self._open: set[ServerConnection] = set()

    @property
    def port(self) -> int:
        """The port it listens on."""
        assert self._server is not None
        return int(next(iter(self._server.sockets)).getsockname()[1])

    async def open(self, will: Message) -> None:
        """Listen. Raises InputError if the address is taken."""
        from websockets.asyncio.server import serve

        try:
            self._server = await serve(
                self._serve,
                self._address.host,
                self._address.port,
                process_request=self._known,
                compression=None,
                close_timeout=GOODBYE,
            )
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
        left = await self._hub.drain(FLUSH)
        if self._server is not None:
            self._server.close()
            try:
                await asyncio.wait_for(asyncio.shield(self._server.wait_closed()), 2 * GOODBYE)
            except TimeoutError:
                for client in self._open:  # those that do not read
                    client.transport.abort()
                await self._server.wait_closed()
        return left

    def _known(self, client: "ServerConnection", request: "Request") -> "Response | None":
        if self._hub.knows(_path(request)):
            return None
        return client.respond(HTTPStatus.NOT_FOUND, "no such ward, bed or signal; / is all of them\n")

    async def _serve(self, client: "ServerConnection") -> None:
        from websockets.exceptions import ConnectionClosed

        assert client.request is not None
        with self._hub.client(_path(client.request)) as box:
            self._open.add(client)
            try:
                while True:
                    message = await box.first()
                    await client.send(message.payload, text=True)
                    box.pop()
            except (Closed, ConnectionClosed):
                return
            finally:
                self._open.discard(client)


def _path(request: "Request") -> str:
    return request.path.partition("?")[0].strip("/")
