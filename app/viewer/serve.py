"""serve(): open a cohort, listen, tell where, and serve until it is stopped."""

import os
import socket
import sys
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ...core.config import read_json
from ...core.errors import InputError
from ...core.extras import need
from ..stream.loopback import is_loopback
from .bundle import require_bundle
from .guard import Guard

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from uvicorn import Server

PORT = 8777
GOODBYE = 1  # s that a page may take to read the rest
WAITING = 128  # connections that the system holds until they are taken


def serve(
    folder: Path, other: Path | None = None, *, host: str = "127.0.0.1", port: int = PORT,
    token_file: Path | None = None, generate: Path | None = None, no_generate: bool = False,
    ledger: Path | None = None, open_page: bool = True, report: Callable[[str], None],
) -> None:  # fmt: skip
    """Serve the viewer until it is interrupted; `report` gets its address.

    `generate` is the folder where cohorts may be drawn from the page: beside the cohort by default, and beyond
    loopback nowhere. Raises InputError, and Refused for a cohort in quarantine.
    """
    need("polyclinic view", "starlette", "uvicorn")
    from .cohort_data import CohortData
    from .jobs import Jobs
    from .server import Viewer
    from .ward import WardHub

    require_host(host)
    guard = Guard.of(host, token_file)
    if generate is not None and not generate.is_dir():
        raise InputError(f"--generate {generate}: expected a folder that is there")
    if ledger is not None:
        require_ledger(ledger)
    cohort, second = CohortData(folder), None if other is None else CohortData(other)
    require_bundle()
    if generate is None and is_loopback(host) and not no_generate:
        generate = folder.resolve().parent
    jobs = None if generate is None or no_generate else Jobs(generate)
    ward = WardHub(folder, can_start=is_loopback(host) or generate is not None)
    viewer = Viewer(guard, ward, cohort, second, jobs, ledger)
    listener = listen(host, port)
    address = page_address(host, listener.getsockname()[1])
    report(f"{cohort.patients} patients of {folder}: {address} (Ctrl-C ends it)")
    if token_file is not None:
        report(f"open {address}?token=TOKEN with the token of {token_file}")
    if open_page and token_file is None and _has_screen():
        webbrowser.open(address)
    server_of(viewer.app()).run(sockets=[listener])


def require_host(host: str) -> None:
    """Raises InputError if a host has no address here."""
    try:
        socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise InputError(
            f"--host {host}: expected an address of this machine, or a name that has one"
        ) from None


def require_ledger(path: Path) -> None:
    """Raises InputError if a file is no ledger: a JSON object a line."""
    written = "`polyclinic train --epsilon ...` writes one"
    try:
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except FileNotFoundError:
        raise InputError(f"--ledger {path}: no such ledger; {written}") from None
    except (OSError, UnicodeDecodeError) as error:
        said = error.strerror if isinstance(error, OSError) else "not text"
        raise InputError(f"--ledger {path}: cannot be read ({said})") from None
    for number, line in enumerate(lines, 1):
        try:
            entry = read_json(line)
        except ValueError:
            entry = None
        if not isinstance(entry, dict):
            raise InputError(
                f"--ledger {path}, line {number}: expected a ledger, a JSON object a line; {written}"
            )


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens. Raises InputError if the address is taken, or is none of this machine."""
    if not 0 <= port <= 65_535:
        raise InputError(f"--port: expected 0 to 65535, got {port}")
    try:
        return socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=WAITING
        )
    except (OSError, UnicodeError) as error:
        said = error.strerror if isinstance(error, OSError) else "no name of a host"
        raise InputError(f"{host}:{port}: cannot listen there ({said}); choose another --port") from None


def server_of(app: "Starlette") -> "Server":
    """The server of an ASGI application: quiet, its connections bounded."""
    import uvicorn

    from ..stream.http_connection import HttpConnection

    config = uvicorn.Config(
        app, http=HttpConnection, ws="none", log_config=None, log_level="error", access_log=False, server_header=False,
        date_header=False, timeout_graceful_shutdown=GOODBYE, timeout_keep_alive=30,
    )  # fmt: skip
    return uvicorn.Server(config)


def page_address(host: str, port: int) -> str:
    """The address of the first page."""
    name = "localhost" if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
    return f"http://{name}:{port}/"


def _has_screen() -> bool:
    return sys.platform != "linux" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
