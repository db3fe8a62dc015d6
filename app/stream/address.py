"""Address: where a stream goes, from a URL: mqtt://host:port/prefix, ws://host:port, sse://host:port, or -."""

from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from ...core.errors import InputError

SCHEMES = ("mqtt", "ws", "sse")
PORTS = {"mqtt": 1883, "ws": 8765, "sse": 8766}
LOOPBACK = "127.0.0.1"
KEYS = {"mqtt": ("qos", "rate"), "ws": ("rate",), "sse": ("rate",), "-": ("rate",)}
CHOICES = {"qos": (0, 1), "rate": (250, 500)}  # rate: of the ECG, Hz


@dataclass(frozen=True)
class Address:
    """A parsed URL. `prefix` comes before the topics, `qos` is MQTT's, `rate` the ECG's in Hz."""

    scheme: str
    host: str = LOOPBACK
    port: int = 0
    prefix: str = "polyclinic"
    qos: int = 1
    rate: int = 500

    def __str__(self) -> str:
        if self.scheme == "-":
            return "standard output"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}" + (f"/{self.prefix}" if self.scheme == "mqtt" else "")


def parse_address(url: str) -> Address:
    """The address a user wrote. Raises InputError: unknown scheme, port, key or value."""
    expected = "expected mqtt://host:port/prefix, ws://127.0.0.1:port, sse://127.0.0.1:port or -"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise InputError(f"--to {url}: {error}; {expected}") from None
    scheme = "-" if not parts.scheme and parts.path == "-" else parts.scheme
    if scheme not in KEYS:
        raise InputError(f"--to {url!r}: {expected}")
    chosen = {key: _choice(url, scheme, key, value) for key, value in parse_qsl(parts.query, True)}
    qos, rate = chosen.get("qos", 1), chosen.get("rate", 500)
    if scheme == "-":
        return Address(scheme, rate=rate)
    prefix = parts.path.strip("/")
    if scheme != "mqtt" and prefix:
        raise InputError(f"--to {url}: a server has no prefix, got {prefix!r}; clients choose a path")
    if set(prefix) & set("+#\0"):
        raise InputError(f"--to {url}: a topic prefix has no + and no #")
    if parts.username or parts.password:
        raise InputError(
            f"--to {url.replace(parts.netloc, '...')}: brokers with a password are not supported"
        )
    port = PORTS[scheme] if port is None else port
    return Address(scheme, parts.hostname or LOOPBACK, port, prefix or "polyclinic", qos, rate)


def _choice(url: str, scheme: str, key: str, value: str) -> int:
    if key not in KEYS[scheme]:
        raise InputError(f"--to {url}: unknown key {key!r}; {scheme} takes {', '.join(KEYS[scheme])}")
    known = [str(choice) for choice in CHOICES[key]]
    if value not in known:
        raise InputError(f"--to {url}: {key} is one of {', '.join(known)}, got {value!r}")
    return int(value)
