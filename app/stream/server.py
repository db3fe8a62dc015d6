"""ServerSink: an HTTP server; each client names a path (/ward/bed/signal, / for all) and gets events or frames."""

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, ClassVar

from ...core.errors import InputError
from .address import Address
from .base import FLUSH, Message
from .bounded_queue import Closed
from .broadcaster import Broadcaster

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.websockets import WebSocket
    from uvicorn import Server

GOODBYE = 1.0  # s that a client may take to read the rest when the stream closes
HEADERS = {"Cache-Control": "no-store", "Access-Control-Allow-Origin": "*", "Connection": "close"}


class ServerSink:
    """A core.contracts.Sink. Each path answers GET with server-sent events, a WebSocket with a text frame a message."""

    default_port: ClassVar = 8765
    takes_prefix: ClassVar = False

    def __init__(self, address: Address, wait: bool, limit: int) -> None:
        self._address, self._broadcaster = address, Broadcaster(wait, limit)
        self._server: Server | None = None
        self.port = address.port  # the one it listens on, once it is open

    async def open(self, will: Message) -> None:
        """Listen. Raises InputError if the address is taken."""
        import uvicorn
        from starlette.applications import Starlette
        from starlette.routing import Route, WebSocketRoute

        family = socket.AF_INET6 if ":" in self._address.host else socket.AF_INET
        try:
            listener = socket.create_server((self._address.host, self._address.port), family=family)
        except OSError as error:
            raise InputError(
                f"--to {self._address}: cannot listen there ({error.strerror or error})"
            ) from None
        self.port = listener.getsockname()[1]
        path = "/{path:path}"
        app = Starlette(routes=[Route(path, self._events), WebSocketRoute(path, self._frames)])
        config = uvicorn.Config(
            app, http="h11", ws="websockets-sansio", ws_per_message_deflate=False, lifespan="off",
            log_config=None, log_level="error", access_log=False, date_header=False, server_header=False,
        )  # fmt: skip
        config.load()
        # startup() and shutdown() in place of serve(), which would take Ctrl-C from the stream
        self._server = uvicorn.Server(config)
        self._server.lifespan = config.lifespan_class(config)
        await self._server.startup(sockets=[listener])

    async def ready(self) -> None:
        """See core.contracts.Sink."""
        await self._broadcaster.ready()

    async def send(self, message: Message) -> bool:
        """See core.contracts.Sink."""
        return await self._broadcaster.send(message)

    async def close(self) -> int:
        """See core.contracts.Sink."""
        left = await self._broadcaster.drain(FLUSH)
        if self._server is not None:
            state = self._server.server_state
            for server in self._server.servers:
                server.close()
            if state.tasks:
                await asyncio.wait(set(state.tasks), timeout=GOODBYE)
            for client in list(state.connections):  # those that do not read
                client.transport.abort()
            await self._server.shutdown()
        return left

    async def _events(self, request: "Request") -> "Response":
        from starlette.responses import PlainTextResponse, StreamingResponse

        path = request.path_params["path"].strip("/")
        if not self._broadcaster.knows(path):
            return PlainTextResponse(self._unknown(), 404, {"Connection": "close"})
        lines = (b"data: " + payload + b"\n\n" async for payload in self._payloads(path))
        return StreamingResponse(lines, headers=HEADERS, media_type="text/event-stream")

    async def _frames(self, client: "WebSocket") -> None:
        from starlette.responses import PlainTextResponse
        from starlette.websockets import WebSocketDisconnect

        path = client.path_params["path"].strip("/")
        if not self._broadcaster.knows(path):
            await client.send_denial_response(PlainTextResponse(self._unknown(), 404))
            return
        await client.accept()
        try:
            async for payload in self._payloads(path):
                await client.send_text(payload.decode())
            await client.close()
        except WebSocketDisconnect:
            return

    def _unknown(self) -> str:
        beds = self._broadcaster.beds
        there = f"beds are /{beds[0]} to /{beds[-1]}; " if beds else ""
        return f"no such ward, bed or signal; {there}/ is all of them\n"

    async def _payloads(self, path: str) -> AsyncIterator[bytes]:
        """What a client gets, each payload taken off its queue once it was sent, until the stream ends."""
        with self._broadcaster.client(path) as queue:
            while True:
                try:
                    message = await queue.first()
                except Closed:
                    return
                yield message.payload
                queue.pop()


class SseSink(ServerSink):
    """The same server on the port that sse:// has by default."""

    default_port: ClassVar = 8766
