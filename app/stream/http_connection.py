"""HttpConnection: one TCP connection of a server. Their number is bounded, and one that asks for nothing is closed."""

import asyncio
import time
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from ...core.text import say as print_line

MOST = 160  # connections at once; those that got nothing yet count too
FIRST_WORD = 10.0  # s in which a client must have asked
LINE_EVERY = 60.0  # s between two lines of the log that say the same
OUT_OF_RESOURCES = "socket.accept() out of system resource"  # asyncio's words
LATE_RETRY = "_start_serving"  # asyncio's next attempt to accept, of a server that was closed meanwhile


class HttpConnection(H11Protocol):
    """uvicorn's, closed when there are too many, or when no request comes."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See asyncio.Protocol."""
        super().connection_made(transport)
        if len(self.connections) > MOST:
            say(f"more than {MOST} connections at once: further ones are closed")
            transport.abort()
            return
        self.loop.call_later(FIRST_WORD, self._end_if_mute)

    def _end_if_mute(self) -> None:
        if self.scope is None and not self.transport.is_closing():
            self.transport.abort()


_said: dict[str, float] = {}


def say(text: str) -> None:
    """A line on stderr, once a minute at most."""
    now = time.monotonic()
    if now - _said.get(text, -LINE_EVERY) >= LINE_EVERY:
        _said[text] = now
        print_line(f"polyclinic: {text}", aside=True)


def one_line(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """An exception handler of the loop: no tracebacks while no descriptor is left for clients who wait."""
    message = str(context.get("message"))
    if message == OUT_OF_RESOURCES:
        say("no file descriptors are left: new clients wait; allow more with ulimit -n")
    elif not (LATE_RETRY in message and isinstance(context.get("exception"), ValueError)):
        loop.default_exception_handler(context)
