"""Door: whom a server lets in, by Host, Origin and token, so that no web page and no stranger reads a ward."""

import hmac
import os
import secrets
import socket
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ...core.errors import InputError
from .address import Address
from .loopback import is_address, is_loopback

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection

TOKEN = "POLYCLINIC_STREAM_TOKEN"  # environment variable
SHORTEST = 16  # characters of a token of the user's own


@dataclass(frozen=True)
class Door:
    """Of a server that listens on `host`. `token` "" is none; `origins` are web pages that may read besides our own.

    Host is checked against DNS rebinding, Origin against other web pages. A page on this machine's own loopback may
    read a server there, as any program on this machine may.
    """

    host: str
    token: str = ""
    origins: tuple[str, ...] = ()

    @classmethod
    def of(cls, address: Address) -> "Door":
        """The token is that of the environment; beyond loopback there always is one. Raises InputError: too short."""
        token = os.environ.get(TOKEN, "")
        if token and not (token.isascii() and token.isprintable() and len(token) >= SHORTEST):
            raise InputError(f"{TOKEN}: expected at least {SHORTEST} printable ASCII characters")
        if not token and not is_loopback(address.host):
            token = secrets.token_urlsafe(24)
        return cls(address.host, token, address.origins)

    @property
    def notice(self) -> str:
        """What the user must know to let clients in; a token of the user's own is not printed."""
        if not self.token:
            return ""
        which = f"of {TOKEN}" if self.token == os.environ.get(TOKEN) else self.token
        return f"clients need the token {which}, as `Authorization: Bearer TOKEN` or `?token=TOKEN`"

    def refusal(self, client: "HTTPConnection") -> tuple[int, str] | None:
        """Status and reason for which a request is refused; None if it may enter."""
        host = client.headers.get("host", "")
        if not self._is_ours(host):
            return 421, f"Host: expected the name or address that the server listens on, got {host!r}"
        origin = client.headers.get("origin")
        if origin is None and client.headers.get("sec-fetch-site") == "cross-site":
            return 403, "a page of another site may not read this"
        if origin is not None and not self.admits(origin, host):
            return 403, f"Origin {origin!r} may not read this; allow it with --to '...?origin=ORIGIN'"
        if self.token and not self._has_token(client):
            return 401, "expected the token: `Authorization: Bearer TOKEN` or ?token=TOKEN"
        return None

    def admits(self, origin: str, host: str) -> bool:
        """Whether a page of that origin may read what it asked of that Host."""
        if origin in self.origins:
            return True
        parts = _split(origin)
        if parts is None or origin.partition("://")[0] not in ("http", "https"):
            return False
        return parts == _split(f"//{host}") or (is_loopback(self.host) and is_loopback(parts[0]))

    def _is_ours(self, host: str) -> bool:
        """Whether a Host header names this server, whatever the port: a tunnel may change that."""
        parts = _split(f"//{host}")
        if parts is None:
            return False
        name = parts[0]
        if is_loopback(self.host):
            return is_loopback(name)
        if _is_any(self.host):
            names = {"localhost", socket.gethostname().lower(), socket.getfqdn().lower()}
            return name in names or is_address(name)
        return name == self.host.lower()

    def _has_token(self, client: "HTTPConnection") -> bool:
        scheme, _, said = client.headers.get("authorization", "").partition(" ")
        given = said if scheme.lower() == "bearer" else client.query_params.get("token", "")
        return hmac.compare_digest(given.encode(), self.token.encode())


def _is_any(host: str) -> bool:
    return is_address(host) and ip_address(host).is_unspecified


def _split(url: str) -> tuple[str, int | None] | None:
    """Host in lower case and port; None where it is malformed."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if not host or parts.path or parts.query or parts.fragment or "@" in parts.netloc:
        return None
    return host, port
