"""ServerSink: an HTTP server; each client names a path (/ward/bed/signal, / for all) and gets events or frames."""

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING, Any, ClassVar

from ...core.errors import InputError
from ...core.extras import need
from .address import Address
from .base import FLUSH, Message
from .broadcaster import Broadcaster
from .door import Door
from .login import server_files

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection, Request
    from starlette.responses import Response
    from starlette.websockets import WebSocket
    from uvicorn import Server

GOODBYE = 1.0  # s that a client may take to read the rest when the stream closes
CLIENTS = 128  # at once
WAITING = 128  # connections that the system holds until they are taken
LONGEST = 1024  # bytes of what a client may send over a WebSocket: none of it is of use
HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Connection": "close"}


class ServerSink:
    """A core.contracts.Sink. Each path answers GET with server-sent events, a WebSocket with a text frame a message.

    Who may read is the Door's to say; there are at most CLIENTS of them.
    """

    default_port: ClassVar = 8765
    takes_prefix: ClassVar = False
    takes_origins: ClassVar = True

    def __init__(self, address: Address, wait: bool, limit: int) -> None:
        need(f"--to {address}", "websockets", "starlette", "uvicorn")
        self._address, self._broadcaster = address, Broadcaster(wait, limit)
        self._door, self._tls = Door.of(address), server_files()
        self.notice = self._door.notice
        self._server: Server | None = None
        self.port = address.port  # the one it listens on, once it is open

    async def open(self, will: Message) -> None:
        """Listen. Raises InputError if the address is taken."""
        import uvicorn
        from starlette.applications import Starlette
        from starlette.routing import Route, WebSocketRoute

        from .http_connection import HttpConnection, one_line
        from .websocket_connection import DenyingWebSocket

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
        certified: dict[str, Any] = {}
        if self._tls is not None:
            certified = {"ssl_certfile": str(self._tls[0]), "ssl_keyfile": str(self._tls[1])}
        config = uvicorn.Config(
            app, http=HttpConnection, ws=DenyingWebSocket, ws_per_message_deflate=False, ws_max_size=LONGEST,
            lifespan="off", log_config=None, log_level="error", access_log=False, date_header=False,
            server_header=False, backlog=1, **certified,
        )  # fmt: skip
        config.load()
        # startup() and shutdown() in place of serve(), which would take Ctrl-C from the stream
        self._server = uvicorn.Server(config)
        self._server.lifespan = config.lifespan_class(config)
        asyncio.get_running_loop().set_exception_handler(one_line)
        await self._server.startup(sockets=[listener])
        # asyncio tries so many times in one go, and where no descriptor is left tells of, and repeats, each of them
        listener.listen(WAITING)

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
        from starlette.responses import StreamingResponse

        if refused := self._refusal(request):
            return refused
        headers = dict(HEADERS)
        if origin := request.headers.get("origin"):
            headers |= {"Access-Control-Allow-Origin": origin, "Vary": "Origin"}
        lines = (
            b"data: " + payload + b"\n\n" async for payload in self._broadcaster.payloads(_path(request))
        )
        return StreamingResponse(lines, headers=headers, media_type="text/event-stream")

    async def _frames(self, client: "WebSocket") -> None:
        if refused := self._refusal(client):
            await client.send_denial_response(refused)
            return
        await client.accept()
        tasks = asyncio.create_task(self._send(client)), asyncio.create_task(_left(client))
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
        for error in ended:
            if isinstance(error, Exception):  # a bug's
                raise error

    async def _send(self, client: "WebSocket") -> None:
        """All frames, until the stream ends or the client is gone."""
        from starlette.websockets import WebSocketDisconnect

        with contextlib.suppress(WebSocketDisconnect):
            async with contextlib.aclosing(self._broadcaster.payloads(_path(client))) as payloads:
                async for payload in payloads:
                    await client.send_text(payload.decode())
            await client.close()

    def _refusal(self, client: "HTTPConnection") -> "Response | None":
        """The answer to a client that does not get in; None if it does."""
        from starlette.responses import PlainTextResponse

        found = self._door.refusal(client)
        if found is None and len(self._broadcaster) >= CLIENTS:
            found = 503, f"{CLIENTS} clients are connected, which is the most; come again"
        if found is None and not self._broadcaster.knows(_path(client)):
            found = 404, self._unknown()
        if found is None:
            return None
        headers = dict(HEADERS) | ({"WWW-Authenticate": "Bearer"} if found[0] == 401 else {})
        return PlainTextResponse(f"{found[1]}\n", found[0], headers)

    def _unknown(self) -> str:
        beds = self._broadcaster.beds
        there = f"beds are /{beds[0]} to /{beds[-1]}; " if beds else ""
        return f"no such ward, bed or signal; {there}/ is all of them"


def _path(client: "HTTPConnection") -> str:
    return str(client.path_params["path"]).strip("/")


async def _left(client: "WebSocket") -> None:
    """Come back when the client has left; what it says is of no use."""
    while (await client.receive())["type"] != "websocket.disconnect":
        pass


class SseSink(ServerSink):
    """The same server on the port that sse:// has by default."""

    default_port: ClassVar = 8766
