"""Web: requests to a service over HTTP: credentials, TLS, pauses, and what each failure means in one line."""

import base64
import os
import random
import ssl
import stat
import threading
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...core.errors import InputError, first_line
from ...core.extras import install_line
from ...core.paths import require_file
from .sender import Stopped
from .target import Target

if TYPE_CHECKING:
    import httpx2

AUTH = "POLYCLINIC_PUSH_AUTH"  # environment variable
TRIES = 8  # of one request
PAUSE, LONGEST = 0.5, 300.0  # s before the second try, doubled each time; the most that a server may ask for
PATIENCE = 60.0  # s for an answer
BUSY = (408, 425, 429, 502, 503, 504)
FORM = "`bearer TOKEN` or `basic USER:PASSWORD`"


class Broken(Exception):  # noqa: N818
    """No answer, or that of a busy server; it may be asked again after `wait` seconds, where it said so.

    `reached`: there was a connection.
    """

    def __init__(
        self, reason: str, wait: float | None = None, busy: bool = False, reached: bool = False
    ) -> None:
        super().__init__(reason)
        self.wait, self.busy, self.reached = wait, busy, reached


class Pauses:
    """Waits between tries of one thing: doubled each time, with jitter, or as long as the server says."""

    def __init__(self, closing: threading.Event) -> None:
        self._closing = closing
        self.reset()

    def reset(self) -> None:
        """It went well: begin anew."""
        self._left, self._pause = TRIES, PAUSE

    def wait(self, broken: Broken) -> None:
        """Raises Stopped after the last try, or where the run ends."""
        self._left -= 1
        if self._left <= 0:
            self._closing.set()  # what waits for the same server gives up too
            raise Stopped(str(broken))
        pause = self._pause * random.uniform(0.75, 1.25) if broken.wait is None else broken.wait
        self._pause *= 2
        if self._closing.wait(min(pause, LONGEST)):
            raise Stopped(str(broken))


def credentials(file: Path | None) -> str:
    """The Authorization header of a file, or of the environment; empty for none. Raises InputError.

    Either holds one line, `bearer TOKEN` or `basic USER:PASSWORD`; others may not read the file.
    """
    if file is None:
        return _header(os.environ.get(AUTH, ""), AUTH)
    require_file(file, f"a file of credentials, {FORM}")
    if file.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
        raise InputError(f"{file}: others can read these credentials; chmod 600 {file}")
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, ValueError):
        raise InputError(f"{file}: cannot be read; expected {FORM}") from None
    if not text.strip():
        raise InputError(f"{file}: is empty; expected {FORM}")
    return _header(text, str(file))


def _header(text: str, where: str) -> str:
    if not text.strip():
        return ""
    kind, _, rest = text.strip().partition(" ")
    if "\n" in rest or not rest or not rest.isprintable():
        raise InputError(f"{where}: expected one line, {FORM}")
    if kind.lower() == "bearer" and rest.isascii() and " " not in rest:
        return f"Bearer {rest}"
    if kind.lower() == "basic" and ":" in rest:
        return f"Basic {base64.b64encode(rest.encode()).decode()}"
    raise InputError(f"{where}: expected {FORM}")


def tls(ca: Path | None) -> ssl.SSLContext:
    """The certificates that are trusted: the system's, or those of a PEM file. Raises InputError."""
    if ca is not None:
        require_file(ca, "certificates in PEM")
    try:
        return ssl.create_default_context(cafile=ca)
    except (ssl.SSLError, OSError) as error:
        raise InputError(f"{ca}: expected certificates in PEM ({first_line(error)})") from None


class Web:
    """A client of one service; several threads may use it."""

    def __init__(self, target: Target, auth: Path | None, ca: Path | None, parallel: int) -> None:
        try:
            import httpx2
        except ImportError:
            raise InputError(f"--to {target.url}: needs httpx2; {install_line('push')}") from None
        header = credentials(auth)
        if header and target.web.startswith("http:") and not target.loopback:
            raise InputError(
                f"--to {target.url}: credentials over plain HTTP can be read on their way; use https, or send none"
            )
        self.target, self.closing = target, threading.Event()
        self._client = httpx2.Client(
            headers={"Authorization": header} if header else {},
            verify=tls(ca) if target.web.startswith("https:") else False,
            timeout=httpx2.Timeout(PATIENCE, connect=10.0, pool=None),
            limits=httpx2.Limits(max_connections=parallel, max_keepalive_connections=parallel),
        )
        self._errors: Any = httpx2

    def once(
        self,
        method: str,
        path: str,
        content: "bytes | Iterable[bytes] | None" = None,
        headers: Mapping[str, str] | None = None,
    ) -> "httpx2.Response":
        """The answer to one request, of any status that a caller may judge.

        Raises Broken where there is none or the server is busy, and InputError where it lets us not in at all.
        """
        url = path if path.startswith(("http:", "https:")) else self.target.web + path
        try:
            answer = self._client.request(method, url, content=content, headers=headers)
        except self._errors.InvalidURL as error:
            raise InputError(f"--to {self.target.url}: {first_line(error)}") from None
        except self._errors.RequestError as error:
            raise self._broken(error) from None
        if answer.status_code in BUSY:
            raise Broken(_said(answer), _retry_after(answer), busy=True)
        if answer.status_code in (401, 407):
            raise InputError(
                f"--to {self.target.url}: {_said(answer)}: it asks for credentials; give {FORM} in --auth FILE or in "
                f"{AUTH}"
            )
        if answer.is_redirect:
            place = answer.headers.get("location", "elsewhere")
            raise InputError(f"--to {self.target.url}: {_said(answer)}: it is at {place}; give that URL")
        return answer

    def _broken(self, error: Exception) -> Exception:
        said = first_line(error)
        if "CERTIFICATE_VERIFY_FAILED" in said or isinstance(error.__cause__, ssl.SSLCertVerificationError):
            return InputError(
                f"--to {self.target.url}: the server's certificate is not trusted ({said}); give its CA in --ca FILE"
            )
        if "[SSL" in said or "WRONG_VERSION" in said:
            return InputError(f"--to {self.target.url}: no TLS with this server ({said}); is it plain http?")
        unreached = self._errors.ConnectError, self._errors.ConnectTimeout
        return Broken(said or type(error).__name__, reached=not isinstance(error, unreached))

    def reach(self, path: str, headers: Mapping[str, str] | None = None) -> "httpx2.Response":
        """The answer to the first request. Raises InputError where nobody answers; a busy server is waited for."""
        pauses = Pauses(self.closing)
        while True:
            try:
                return self.once("GET", path, headers=headers)
            except Broken as broken:
                if broken.reached:
                    raise InputError(
                        f"--to {self.target.url}: takes connections, but gives no answer in HTTP ({broken}); is it the "
                        "port of another service?"
                    ) from None
                if not broken.busy:
                    raise InputError(f"--to {self.target.url}: cannot be reached ({broken})") from None
                try:
                    pauses.wait(broken)
                except Stopped as stopped:
                    raise InputError(f"--to {self.target.url}: busy: {stopped}; try again later") from None

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> "httpx2.Response":
        """The answer to a question that changes nothing, however often it is asked. Raises Stopped."""
        pauses = Pauses(self.closing)
        while True:
            try:
                return self.once("GET", path, headers=headers)
            except Broken as broken:
                pauses.wait(broken)

    def close(self) -> None:
        """Give up waiting; connections end."""
        self.closing.set()
        self._client.close()


def refusal(answer: "httpx2.Response", detail: Callable[[], str] = lambda: "") -> str:
    """A refusal in a line: the status and what the server said of it."""
    return " ".join(f"{_said(answer)} {detail()}".split())[:300]


def _said(answer: "httpx2.Response") -> str:
    return f"HTTP {answer.status_code} {answer.reason_phrase}".strip()


def _retry_after(answer: "httpx2.Response") -> float | None:
    """Seconds that the server asks to wait: a number, or a date."""
    text = answer.headers.get("retry-after", "").strip()
    if text.isdigit():
        return float(text)
    try:
        return max(0.0, (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None
