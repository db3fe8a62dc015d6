"""BoundedQueue: messages that wait to be sent, at most so many bytes; when full it drops and counts, or makes wait."""

import asyncio
from collections import deque
from collections.abc import Iterable

from .base import Message

LIMIT = 32_000_000  # bytes; of 1,000 beds of vitals two minutes, of 50 beds of ECG at 250 Hz forty seconds


class Closed(Exception):  # noqa: N818
    """Nothing more will come, or be taken."""


class BoundedQueue:
    """First in, first out. A message larger than the limit is taken when nothing else waits."""

    def __init__(self, wait: bool, limit: int = LIMIT) -> None:
        self.dropped = 0
        self._wait, self._limit, self._size = wait, limit, 0
        self._messages: deque[Message] = deque()
        self._closed = False
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._messages)

    async def put(self, message: Message) -> bool:
        """Add a message; False if it was dropped. Waits for room where that is the choice. Raises Closed."""
        while self._messages and self._size + len(message.payload) > self._limit:
            if not self._wait:
                self.dropped += 1
                return False
            await self._change()
        if self._closed:
            raise Closed
        self._messages.append(message)
        self._size += len(message.payload)
        self._changed.set()
        return True

    def fill(self, messages: Iterable[Message]) -> None:
        """Add messages whatever room there is: the few that everybody gets first."""
        for message in messages:
            self._messages.append(message)
            self._size += len(message.payload)
        self._changed.set()

    async def first(self) -> Message:
        """The oldest message, which stays until pop(). Raises Closed when nothing is left and none will come."""
        while not self._messages:
            await self._change()
        return self._messages[0]

    def pop(self) -> Message:
        """Take the oldest message away."""
        message = self._messages.popleft()
        self._size -= len(message.payload)
        self._changed.set()
        return message

    async def empty(self) -> None:
        """Wait until all messages have been taken. Raises Closed."""
        while self._messages:
            await self._change()

    def close(self) -> None:
        """Release all who wait; what is there may still be taken."""
        self._closed = True
        self._changed.set()

    async def _change(self) -> None:
        if self._closed:
            raise Closed
        self._changed.clear()
        await self._changed.wait()
