"""NdjsonSink: standard output, one line of JSON a message."""

import asyncio
import contextlib
import os
import stat
import sys
from typing import ClassVar

from ...core.errors import InputError
from .address import Address
from .base import FLUSH, Gone, Message
from .bounded_queue import BoundedQueue, Closed

TOGETHER = 64  # messages that are written at once


class NdjsonSink:
    """See core.contracts.Sink. A file takes all at once; a pipe or terminal as much as its reader reads."""

    takes_prefix: ClassVar = False

    def __init__(self, address: Address, wait: bool, limit: int) -> None:
        self._queue = BoundedQueue(wait, limit)
        self._pipe: asyncio.StreamWriter | None = None
        self._task: asyncio.Task[None] | None = None
        self._error: OSError | None = None

    async def open(self, will: Message) -> None:
        """Take standard output over."""
        self._file = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
        mode = os.fstat(self._file.fileno()).st_mode
        if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
            loop = asyncio.get_running_loop()
            transport, protocol = await loop.connect_write_pipe(
                lambda: asyncio.StreamReaderProtocol(asyncio.StreamReader()), self._file
            )
            self._pipe = asyncio.StreamWriter(transport, protocol, None, loop)
        self._task = asyncio.create_task(self._write())

    async def ready(self) -> None:
        """See core.contracts.Sink."""
        return

    async def send(self, message: Message) -> bool:
        """See core.contracts.Sink."""
        try:
            return await self._queue.put(message)
        except Closed:
            if self._error is None or isinstance(self._error, BrokenPipeError | ConnectionResetError):
                raise Gone from None
            raise InputError(f"standard output: cannot be written ({self._error.strerror})") from None

    async def close(self) -> int:
        """See core.contracts.Sink."""
        assert self._task is not None
        with contextlib.suppress(TimeoutError, Closed):
            await asyncio.wait_for(self._queue.empty(), FLUSH)
        left = len(self._queue)
        self._queue.close()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        if self._pipe is not None:
            if not self._pipe.is_closing():
                (self._pipe.transport.abort if left else self._pipe.close)()
            with contextlib.suppress(OSError):  # a reader that has left, which is no news
                await self._pipe.wait_closed()
            os.set_blocking(sys.stdout.fileno(), True)  # others may share the pipe
        self._file.close()
        return left

    async def _write(self) -> None:
        try:
            while True:
                await self._queue.first()
                some = [self._queue.pop().payload + b"\n" for _ in range(min(len(self._queue), TOGETHER))]
                if self._pipe is None:
                    rest = memoryview(b"".join(some))
                    while rest:
                        rest = rest[self._file.write(rest) :]
                else:
                    self._pipe.write(b"".join(some))
                    await self._pipe.drain()
        except Closed:
            return
        except OSError as error:
            self._error = error
            self._queue.close()
