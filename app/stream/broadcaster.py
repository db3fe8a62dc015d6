"""Hub: one stream to many clients, each with an outbox of its own, so that a slow one drops for itself alone."""

import asyncio
import contextlib
from collections.abc import Iterator
from contextlib import contextmanager

from .bounded_queue import Closed, Message, Outbox


class Hub:
    """Clients and what they asked for. Where the choice is to wait, the slowest sets the pace, and none stops it."""

    def __init__(self, wait: bool, limit: int) -> None:
        self._wait, self._limit = wait, limit
        self._clients: dict[Outbox, str] = {}
        self._retained: dict[str, Message] = {}
        self._came = asyncio.Event()

    def knows(self, path: str) -> bool:
        """Whether a path is the ward, a bed, or lies below a bed; the empty one is all of it."""
        homes = [topic.removesuffix("/meta") for topic in self._retained if topic.endswith("/meta")]
        return any(_below(home, path) or _below(path, home) for home in homes)

    @contextmanager
    def client(self, path: str) -> Iterator[Outbox]:
        """A client of all topics below a path, from now until the block ends; retained messages come first."""
        box = Outbox(self._wait, self._limit)
        self._clients[box] = path
        box.fill(message for topic, message in self._retained.items() if _about(topic, path))
        self._came.set()
        try:
            yield box
        finally:
            del self._clients[box]
            box.close()

    async def ready(self) -> None:
        """Wait for a client, where the choice is to wait."""
        while self._wait and not self._clients:
            self._came.clear()
            await self._came.wait()

    async def send(self, message: Message) -> bool:
        """To all clients below whose path the topic lies; False if one of them had no room."""
        if message.retain:
            self._retained[message.topic] = message
        else:
            await self.ready()
        took = True
        for box, path in list(self._clients.items()):
            if _about(message.topic, path):
                with contextlib.suppress(Closed):
                    took = await box.put(message) and took
        return took

    async def drain(self, seconds: float) -> int:
        """Wait until clients have been sent all; how many messages were left when the time was over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                for box in list(self._clients):
                    with contextlib.suppress(Closed):
                        await box.empty()
        left = sum(len(box) for box in self._clients)
        for box in self._clients:
            box.close()
        return left


def _below(topic: str, path: str) -> bool:
    return not path or topic == path or topic.startswith(f"{path}/")


def _about(topic: str, path: str) -> bool:
    """Below the path, or metadata and status of what lies above it."""
    home = topic.rpartition("/")[0]
    return _below(topic, path) or (topic.endswith(("/meta", "/status")) and _below(path, home))
