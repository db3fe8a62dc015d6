"""MqttSink: MQTT 5 to a broker, through its restarts: what was not acknowledged is sent again, in order."""

import asyncio
import contextlib
import ssl
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from itertools import count
from typing import Any, ClassVar

from ...core.errors import InputError
from ...core.extras import need
from .address import Address
from .base import FLUSH, Message
from .bounded_queue import BoundedQueue
from .login import Login
from .loopback import is_loopback

WINDOW = 200  # messages without an acknowledgement at most; fewer where the broker says so
KEEPALIVE = 30  # s
PATIENCE = 5.0  # s for a broker to answer
PAUSES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)  # s between attempts to reach it again


NOBODY = Login()


class Lost(Exception):  # noqa: N818
    """The connection ended."""


class Connection:
    """One connection, which is never used again once it is lost: paho's client under asyncio, without a thread.

    The order of messages over reconnections is the sink's; paho's own queue is not used. Raises Lost where
    the connection cannot be made, with the reason.
    """

    def __init__(
        self, address: Address, will: Message, on_acknowledged: Callable[[int, Any], None],
        login: Login = NOBODY, context: ssl.SSLContext | None = None,
    ) -> None:  # fmt: skip
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

        self._loop, self._address = asyncio.get_running_loop(), address
        self.window = WINDOW
        self.ended: asyncio.Future[str] = self._loop.create_future()  # why
        self._accepted: asyncio.Future[None] = self._loop.create_future()
        self._writable = asyncio.Event()
        self._client = Client(
            CallbackAPIVersion.VERSION2, client_id=f"polyclinic-{uuid.uuid4().hex[:12]}",
            protocol=MQTTProtocolVersion.MQTTv5, reconnect_on_failure=False,
        )  # fmt: skip
        self._client.max_inflight_messages_set(WINDOW)
        self._client.will_set(f"{address.prefix}/{will.topic}", will.payload, qos=1, retain=True)
        self._client.connect_timeout = PATIENCE
        if login.user is not None:
            self._client.username_pw_set(login.user, login.password)
        if context is not None:
            self._client.tls_set_context(context)
        self._acknowledged = on_acknowledged

    async def start(self) -> None:
        """Connect; come back when the broker has accepted."""
        host, port = self._address.host, self._address.port
        try:
            async with asyncio.timeout(PATIENCE):
                await asyncio.to_thread(self._client.connect, host, port, KEEPALIVE, clean_start=True)
                self._attend()
                both: set[asyncio.Future[Any]] = {self._accepted, self.ended}
                await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError:
            self.stop()
            raise Lost(f"no answer in {PATIENCE:g} s") from None
        except ssl.SSLCertVerificationError as error:
            raise Lost(f"its certificate does not do: {error.verify_message}") from None
        except OSError as error:
            raise Lost(getattr(error, "reason", None) or error.strerror or str(error)) from None
        if self.ended.done():
            raise Lost(self.ended.result())

    def publish(self, message: Message, qos: int) -> int:
        """Hand a message to the socket; its number. Raises Lost."""
        topic = f"{self._address.prefix}/{message.topic}"
        info = self._client.publish(topic, message.payload, qos=qos, retain=message.retain)
        self._write()
        if self.ended.done():
            raise Lost
        return info.mid

    async def writable(self) -> None:
        """Wait until the socket has taken what was handed to it. Raises Lost."""
        await self._writable.wait()
        if self.ended.done():
            raise Lost

    async def keep(self) -> None:
        """Send pings until the connection ends."""
        while not self.ended.done():
            self._client.loop_misc()
            await asyncio.wait({self.ended}, timeout=1.0)

    def stop(self) -> None:
        """Take leave, so that the broker does not send the will."""
        self._client.disconnect()
        if (sock := self._client.socket()) is not None:  # it took no more
            self._closed(self._client, None, sock)
            sock.close()
        self._end("stopped")

    def _attend(self) -> None:
        """Let the event loop serve the socket, now that the connecting thread is done with it."""
        client = self._client
        client.on_connect = self._connected
        client.on_disconnect = lambda client, data, flags, reason, properties: self._end(str(reason))
        client.on_publish = lambda client, data, mid, reason, properties: self._acknowledged(mid, reason)
        client.on_socket_close = self._closed
        sock = client.socket()
        if sock is None:
            self._end("the connection was closed")
        else:
            self._loop.add_reader(sock, self._read)
            self._write()

    def _read(self) -> None:
        """Take what has come; TLS may hold more than the socket shows."""
        self._client.loop_read()
        while isinstance(sock := self._client.socket(), ssl.SSLSocket) and sock.pending():
            self._client.loop_read()

    def _write(self) -> None:
        """Send what waits in paho; what the socket does not take now goes when it can."""
        if self._client.want_write():
            self._client.loop_write()
        waits, sock = self._client.want_write(), self._client.socket()
        if waits and sock is not None:
            self._writable.clear()
            self._loop.add_writer(sock, self._write)
        elif not self._writable.is_set():
            self._writable.set()
            if sock is not None:
                self._loop.remove_writer(sock)

    def _connected(self, client: Any, data: Any, flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            self._end(str(reason))
        elif not self._accepted.done():
            self.window = min(WINDOW, getattr(properties, "ReceiveMaximum", WINDOW))
            self._accepted.set_result(None)

    def _closed(self, client: Any, data: Any, sock: Any) -> None:
        self._loop.remove_reader(sock)
        self._loop.remove_writer(sock)
        self._end("the connection was closed")

    def _end(self, why: str) -> None:
        if not self.ended.done():
            self.ended.set_result(why)
        self._writable.set()


class MqttSink:
    """See core.contracts.Sink. At QoS 1 order and completeness survive the broker's restart, at QoS 0 order.

    A message is in the queue, then among the unacknowledged (QoS 1), and leaves when the broker has it. After a
    lost connection the unacknowledged go first, in their order; a broker that had some of them sends those twice.
    Retained messages are repeated, since the broker may have forgotten them.
    """

    default_port: ClassVar = 1883
    secure: ClassVar = False  # TLS
    choices: ClassVar[Mapping[str, tuple[int, ...]]] = {"qos": (0, 1)}

    def __init__(self, address: Address, wait: bool, limit: int) -> None:
        need(f"--to {address}", "paho")
        self._address, self._queue = address, BoundedQueue(wait, limit)
        self._login = Login.of_environment()
        if self._login.user is not None and not self.secure and not is_loopback(address.host):
            raise InputError(
                f"--to {address}: user and password would cross the network in the open; use mqtts://"
            )
        self._context = self._login.context() if self.secure else None
        self._unacknowledged: dict[int, Message] = {}
        self._again: deque[Message] = deque()
        self._retained: dict[str, Message] = {}
        self._acknowledgement = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.refused = 0
        self.reconnections = 0

    async def open(self, will: Message) -> None:
        """Connect. Raises InputError when no broker answers or it refuses."""
        self._will = will
        connection = self._connection()
        try:
            await connection.start()
        except Lost as lost:
            raise InputError(
                f"--to {self._address}: no MQTT 5 broker takes the connection ({lost}); start one there"
            ) from None
        self._task = asyncio.create_task(self._keep(connection))

    def _connection(self) -> Connection:
        return Connection(self._address, self._will, self._acknowledge, self._login, self._context)

    async def ready(self) -> None:
        """See core.contracts.Sink."""
        return

    async def send(self, message: Message) -> bool:
        """See core.contracts.Sink."""
        if message.retain:
            self._retained[message.topic] = message
        if self._task is not None and self._task.done():
            self._task.result()  # a bug's exception, if there was one
        return await self._queue.put(message)

    async def close(self) -> int:
        """See core.contracts.Sink."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FLUSH):
                await self._queue.empty()
                while self._again or self._unacknowledged:
                    self._acknowledgement.clear()
                    await self._acknowledgement.wait()
        left = len(self._queue) + len(self._again) + len(self._unacknowledged) + self.refused
        self._queue.close()
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        return left

    async def _keep(self, connection: Connection) -> None:
        """Send over this connection, then over those that follow."""
        while True:
            tasks = asyncio.create_task(self._send(connection)), asyncio.create_task(connection.keep())
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in tasks:
                    task.cancel()
                ended = await asyncio.gather(*tasks, return_exceptions=True)
                connection.stop()
            for error in ended:
                if isinstance(error, Exception) and not isinstance(error, Lost):
                    raise error
            connection = await self._reconnected()

    async def _reconnected(self) -> Connection:
        """A new connection, however long it takes; what goes first over it."""
        behind = [*self._unacknowledged.values(), *self._again]
        self._unacknowledged.clear()
        known = {id(message) for message in behind}
        self._again = deque([m for m in self._retained.values() if id(m) not in known] + behind)
        for attempt in count():
            connection = self._connection()
            with contextlib.suppress(Lost):
                await connection.start()
                self.reconnections += 1
                return connection
            await asyncio.sleep(PAUSES[min(attempt, len(PAUSES) - 1)])
        raise AssertionError("unreachable")

    async def _send(self, connection: Connection) -> None:
        """Hand messages to the broker, oldest first, until the connection is lost."""
        qos = self._address.options.get("qos", 1)
        while True:
            await connection.writable()
            while len(self._unacknowledged) >= connection.window:
                self._acknowledgement.clear()
                await self._acknowledgement.wait()
            message = self._again[0] if self._again else await self._queue.first()
            number = connection.publish(message, qos)
            # no await from here on: the message is in one place only, whenever the connection ends
            if self._again:
                self._again.popleft()
            else:
                self._queue.pop()
            if qos:
                self._unacknowledged[number] = message
            else:
                self._acknowledgement.set()

    def _acknowledge(self, number: int, reason: Any) -> None:
        if self._unacknowledged.pop(number, None) is not None:
            self.refused += reason.is_failure
        self._acknowledgement.set()


class SecureMqttSink(MqttSink):
    """The same over TLS, to the port that mqtts:// has by default."""

    default_port: ClassVar = 8883
    secure: ClassVar = True
