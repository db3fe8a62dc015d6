"""Address: where a stream goes, from a URL: mqtt(s)://host:port/prefix, ws://host:port, sse://host:port, or -."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit

from ...core.contracts import Sink
from ...core.errors import InputError
from ...core.registry import load, names
from .bounded_queue import LIMIT
from .login import PASSWORD, PASSWORD_FILE, USER

STDOUT = "ndjson"  # the scheme of -
LOOPBACK = "127.0.0.1"
RATES = {"rate": (250, 500)}  # of the ECG, Hz; any sink


@dataclass(frozen=True)
class Address:
    """A parsed URL. `prefix` comes before the topics, `rate` is the ECG's in Hz, `options` are the sink's.

    `origins` are web pages that may read a server besides its own.
    """

    scheme: str
    host: str = LOOPBACK
    port: int = 0
    prefix: str = ""
    rate: int = 500
    options: Mapping[str, int] = field(default_factory=dict)
    origins: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.scheme == STDOUT:
            return "standard output"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}" + (f"/{self.prefix}" if self.prefix else "")


def parse_address(url: str) -> Address:
    """The address a user wrote. Raises InputError: unknown scheme, port, key or value."""
    servers = [scheme for scheme in names("sinks") if scheme != STDOUT]
    expected = f"expected {', '.join(f'{scheme}://host:port' for scheme in servers)} or -"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise InputError(f"--to {url}: {error}; {expected}") from None
    stdout = not parts.scheme and parts.path == "-"
    if not stdout and parts.scheme not in servers:
        raise InputError(f"--to {url!r}: {expected}")
    scheme = STDOUT if stdout else parts.scheme
    sink = load("sinks", scheme)
    prefixed, known = getattr(sink, "takes_prefix", True), {**getattr(sink, "choices", {}), **RATES}
    asked = parse_qsl(parts.query, True)
    origins: tuple[str, ...] = ()
    if getattr(sink, "takes_origins", False):
        origins = tuple(_origin(url, value) for key, value in asked if key == "origin")
        asked = [(key, value) for key, value in asked if key != "origin"]
    options = {key: _choice(url, "-" if stdout else scheme, known, key, value) for key, value in asked}
    rate = options.pop("rate", 500)
    if stdout:
        return Address(scheme, rate=rate, options=options)
    prefix = parts.path.strip("/")
    if prefix and not prefixed:
        raise InputError(f"--to {url}: a server has no prefix, got {prefix!r}; clients choose a path")
    if set(prefix) & set("+#\0"):
        raise InputError(f"--to {url}: a topic prefix has no + and no #")
    if parts.username or parts.password:
        raise InputError(
            f"--to {url.replace(parts.netloc, '...')}: others see a password in a command line; set {USER} and "
            f"{PASSWORD} or {PASSWORD_FILE} in the environment"
        )
    prefix = prefix or ("polyclinic" if prefixed else "")
    port = getattr(sink, "default_port", 0) if port is None else port
    return Address(scheme, parts.hostname or LOOPBACK, port, prefix, rate, options, origins)


def make_sink(address: Address, wait: bool, limit: int = LIMIT) -> Sink:
    """The sink of an address; `wait` for room, or drop; `limit` is how many bytes may wait."""
    sink: Sink = load("sinks", address.scheme)(address, wait, limit)
    return sink


def _origin(url: str, value: str) -> str:
    """As a browser writes it: scheme, host, and the port unless it is the scheme's own."""
    if not re.fullmatch(r"https?://[^\s/?#@]+", value):
        raise InputError(f"--to {url}: origin is one as https://ward.example:8443, got {value!r}")
    return value


def _choice(url: str, scheme: str, choices: Mapping[str, tuple[int, ...]], key: str, value: str) -> int:
    if key not in choices:
        raise InputError(f"--to {url}: unknown key {key!r}; {scheme} takes {', '.join(choices)}")
    known = [str(choice) for choice in choices[key]]
    if value not in known:
        raise InputError(f"--to {url}: {key} is one of {', '.join(known)}, got {value!r}")
    return int(value)
