"""Broadcaster: one stream to many clients, each with its own bounded queue; a slow one drops for itself alone."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager

from .base import Message
from .bounded_queue import BoundedQueue, Closed


class Broadcaster:
    """Clients and the paths they chose. Where the choice is to wait, the slowest sets the pace; none stops it."""

    def __init__(self, wait: bool, limit: int) -> None:
        self._wait, self._limit = wait, limit
        self._clients: dict[BoundedQueue, str] = {}
        self._retained: dict[str, Message] = {}
        self._came = asyncio.Event()

    def __len__(self) -> int:
        """How many clients there are."""
        return len(self._clients)

    def knows(self, path: str) -> bool:
        """Whether a path is the ward, a bed, or lies below a bed; the empty one is all of it."""
        return any(_below(home, path) or _below(path, home) for home in self.beds)

    @property
    def beds(self) -> list[str]:
        """The paths of the beds, as `icu/bed-1`, in order."""
        return [topic.removesuffix("/meta") for topic in self._retained if topic.endswith("/meta")]

    @contextmanager
    def client(self, path: str) -> Iterator[BoundedQueue]:
        """A client of all topics below a path, from now until the block ends; retained messages come first."""
        queue = BoundedQueue(self._wait, self._limit)
        self._clients[queue] = path
        queue.fill(message for topic, message in self._retained.items() if _about(topic, path))
        self._came.set()
        try:
            yield queue
        finally:
            del self._clients[queue]
            queue.close()

    async def payloads(self, path: str) -> AsyncGenerator[bytes, None]:
        """What a client gets, each payload taken off its queue once it was sent, until the stream ends."""
        with self.client(path) as queue:
            while True:
                try:
                    message = await queue.first()
                except Closed:
                    return
                yield message.payload
                queue.pop()

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
        for queue, path in list(self._clients.items()):
            if _about(message.topic, path):
                with contextlib.suppress(Closed):
                    took = await queue.put(message) and took
        return took

    async def drain(self, seconds: float) -> int:
        """Wait until clients have been sent all; how many messages were left when the time was over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                for queue in list(self._clients):
                    with contextlib.suppress(Closed):
                        await queue.empty()
        left = sum(len(queue) for queue in self._clients)
        for queue in self._clients:
            queue.close()
        return left


def _below(topic: str, path: str) -> bool:
    return not path or topic == path or topic.startswith(f"{path}/")


def _about(topic: str, path: str) -> bool:
    """Below the path, or metadata and status of what lies above it."""
    home = topic.rpartition("/")[0]
    return _below(topic, path) or (topic.endswith(("/meta", "/status")) and _below(path, home))
