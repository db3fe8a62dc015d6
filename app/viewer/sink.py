"""ViewSink: `polyclinic stream ... --to view://127.0.0.1:8777` shows the ward of that stream in the browser."""

import asyncio
from typing import TYPE_CHECKING, ClassVar

from ...core.extras import need
from ..stream.address import Address
from ..stream.base import Message
from ..stream.door import Door
from .bundle import require_bundle
from .guard import Guard
from .ward import WardHub

if TYPE_CHECKING:
    from uvicorn import Server


class ViewSink:
    """A core.contracts.Sink: the viewer's page of a live ward, fed by this stream. Beds have no buttons there.

    Raises InputError if the address is taken, or the page is not built.
    """

    default_port: ClassVar = 8777
    takes_prefix: ClassVar = False

    def __init__(self, address: Address, wait: bool, limit: int) -> None:
        from .serve import listen, page_address

        need(f"--to {address}", "starlette", "uvicorn")
        require_bundle()
        self._listener = listen(address.host, address.port)
        self.port = self._listener.getsockname()[1]
        self._hub = WardHub(can_start=False)
        door = Door.of(address)
        self._guard = Guard(address.host, door.token)
        self.notice = f"open {page_address(address.host, self.port)}#/ward"
        if door.notice:
            self.notice = f"{self.notice.replace('#/ward', '?token=TOKEN')}; {door.notice}"
        self._server: Server | None = None
        self._task: asyncio.Task[None] | None = None

    async def open(self, will: Message) -> None:
        """Answer those who have come."""
        from .serve import server_of
        from .server import Viewer

        self._server = server_of(Viewer(self._guard, self._hub).app())
        self._task = asyncio.create_task(self._server._serve(sockets=[self._listener]))

    async def ready(self) -> None:
        """See core.contracts.Sink."""
        return

    async def send(self, message: Message) -> bool:
        """See core.contracts.Sink."""
        return await self._hub.feed(message)

    async def close(self) -> int:
        """See core.contracts.Sink."""
        await self._hub.stop()
        if self._server is not None and self._task is not None:
            self._server.should_exit = True
            await self._task
        return 0
