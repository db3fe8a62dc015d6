"""Guard: whom the viewer lets in: by Host and Origin as a stream's Door, beyond loopback by token; posts by session."""

import hmac
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ...core.errors import InputError
from ..stream.door import SHORTEST, Door
from ..stream.loopback import is_loopback

if TYPE_CHECKING:
    from starlette.requests import Request

COOKIE = "polyclinic-viewer"
SESSION = "x-polyclinic-session"  # header of a POST: what a page of another origin cannot know


@dataclass(frozen=True)
class Guard:
    """Of a viewer that listens on `host`. `token` "" is none; `session` changes with each start."""

    host: str
    token: str = ""
    session: str = field(default_factory=lambda: secrets.token_urlsafe(24))

    @classmethod
    def of(cls, host: str, token_file: Path | None) -> "Guard":
        """Raises InputError: no token beyond loopback, or one that is too short."""
        token = "" if token_file is None else _token(token_file)
        if not token and not is_loopback(host):
            raise InputError(
                f"--host {host}: expected --token-file beyond loopback: a file with a token of at least {SHORTEST} "
                "characters, which whoever looks must know"
            )
        return cls(host, token)

    def refusal(self, request: "Request") -> tuple[int, str] | None:
        """Status and reason for which a request is refused; None if it may enter."""
        followed = request.headers.get("sec-fetch-mode") == "navigate" and request.method == "GET"
        found = Door(self.host).refusal(request)
        if found is not None and not (followed and found[0] == 403 and "origin" not in request.headers):
            return found  # a link that was followed from another page is no page that reads
        if self.token and not self.knows(request):
            return 401, "expected the token: open the address with ?token=TOKEN once"
        if request.method not in ("GET", "HEAD"):
            return self._of_a_post(request)
        return None

    def knows(self, request: "Request") -> bool:
        """Whether a request has the token: in its cookie, as a bearer, or in its address."""
        scheme, _, said = request.headers.get("authorization", "").partition(" ")
        bearer = said if scheme.lower() == "bearer" else ""
        given = bearer or request.query_params.get("token", "") or request.cookies.get(COOKIE, "")
        return hmac.compare_digest(given.encode(), self.token.encode())

    def _of_a_post(self, request: "Request") -> tuple[int, str] | None:
        origin, host = request.headers.get("origin", ""), request.headers.get("host", "")
        if urlsplit(origin).netloc != host:
            return 403, f"Origin {origin!r} may not change anything here"
        if not hmac.compare_digest(request.headers.get(SESSION, "").encode(), self.session.encode()):
            return 403, "the session is another one; load the page again"
        return None


def _token(path: Path) -> str:
    try:
        token = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        said = error.strerror if isinstance(error, OSError) else "not text"
        raise InputError(f"--token-file {path}: cannot be read ({said})") from None
    if not (token.isascii() and token.isprintable() and len(token) >= SHORTEST):
        raise InputError(f"--token-file {path}: expected at least {SHORTEST} printable ASCII characters")
    return token
