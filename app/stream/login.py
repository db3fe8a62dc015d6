"""Login: user, password and certificates of a stream, from the environment or files, never from the command line."""

import os
import ssl
from dataclasses import dataclass, field
from pathlib import Path

from ...core.errors import InputError

USER, PASSWORD = "POLYCLINIC_MQTT_USER", "POLYCLINIC_MQTT_PASSWORD"
PASSWORD_FILE = "POLYCLINIC_MQTT_PASSWORD_FILE"  # its first line
CA, CERT, KEY = "POLYCLINIC_MQTT_CA", "POLYCLINIC_MQTT_CERT", "POLYCLINIC_MQTT_KEY"  # PEM files
SERVER_CERT, SERVER_KEY = "POLYCLINIC_STREAM_CERT", "POLYCLINIC_STREAM_KEY"  # PEM files


@dataclass(frozen=True)
class Login:
    """How a client makes itself known to a broker; the password is shown in no text. `ca` None: those of the system."""

    user: str | None = None
    password: str | None = field(default=None, repr=False)
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None

    @classmethod
    def of_environment(cls) -> "Login":
        """Raises InputError: a file that is not there or can be read by others, a half of a pair."""
        user, password = os.environ.get(USER) or None, os.environ.get(PASSWORD) or None
        if (named := os.environ.get(PASSWORD_FILE)) and password is None:
            password = _first_line(named)
        if password is not None and user is None:
            raise InputError(f"a password for the broker is given but no user; set {USER} too")
        cert, key = _file(CERT), _file(KEY)
        if (cert is None) != (key is None):
            raise InputError(f"expected {CERT} and {KEY} together, got only one of them")
        return cls(user, password, _file(CA), cert, key)

    def context(self) -> ssl.SSLContext:
        """TLS that checks the broker's certificate and name. Raises InputError for files that are no certificates."""
        try:
            made = ssl.create_default_context(cafile=None if self.ca is None else str(self.ca))
            if self.cert is not None and self.key is not None:
                made.load_cert_chain(self.cert, self.key)
        except (ssl.SSLError, OSError) as error:
            raise InputError(f"{CA}, {CERT}, {KEY}: expected PEM files ({_reason(error)})") from None
        return made


def server_files() -> tuple[Path, Path] | None:
    """Certificate and key with which a server speaks TLS; None without. Raises InputError: half of them, no PEM."""
    cert, key = _file(SERVER_CERT), _file(SERVER_KEY)
    if (cert is None) != (key is None):
        raise InputError(f"expected {SERVER_CERT} and {SERVER_KEY} together, got only one of them")
    if cert is None or key is None:
        return None
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(cert, key)
    except (ssl.SSLError, OSError) as error:
        raise InputError(
            f"{SERVER_CERT}, {SERVER_KEY}: expected PEM files that belong together ({_reason(error)})"
        ) from None
    return cert, key


def _file(name: str) -> Path | None:
    if not (value := os.environ.get(name)):
        return None
    if not (path := Path(value)).is_file():
        raise InputError(f"{name}: {path}: no such file; expected a PEM file")
    return path


def _first_line(named: str) -> str:
    path = Path(named)
    try:
        if os.name == "posix" and path.stat().st_mode & 0o077:
            raise InputError(f"{PASSWORD_FILE}: {path}: others may read it; chmod 600 it")
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{PASSWORD_FILE}: {path}: cannot be read ({_reason(error)})") from None
    if not lines or not lines[0]:
        raise InputError(f"{PASSWORD_FILE}: {path}: expected the password in the first line, got none")
    return lines[0]


def _reason(error: Exception) -> str:
    return getattr(error, "reason", None) or getattr(error, "strerror", None) or type(error).__name__
