"""DenyingWebSocket: uvicorn's WebSocket, which takes a refusal in HTTP for an end of its handshake."""

from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol


class DenyingWebSocket(WebSocketsSansIOProtocol):
    """uvicorn's own logs each refusal (ASGI's websocket.http.response) as a handshake that was never completed."""

    async def send(self, message: Any) -> None:
        """See ASGI."""
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body", False):
            self.handshake_complete = True
