"""The viewer's server: a Starlette app of pages and JSON, behind a Guard and a strict content security policy."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from ...core.cohort.journal import JOURNAL
from ...core.config import read_json
from ...core.errors import InputError, Refused
from . import bundle
from .cohort_data import CohortData, compared
from .guard import COOKIE, Guard
from .jobs import Jobs
from .patient import routes as patient_routes
from .thumbnails import Thumbnails
from .ward import WardHub

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; font-src 'self'; frame-src 'self'; worker-src 'self' blob:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
REPORT_POLICY = (  # of the report in its frame: its own styles and pictures, and nothing that runs
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'"
)
HEADERS = {
    "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}  # fmt: skip


@dataclass(frozen=True)
class Viewer:
    """What one server shows: a cohort and one to compare it with, a ward, jobs, the ledger of a training."""

    guard: Guard
    ward: WardHub
    cohort: CohortData | None = None
    other: CohortData | None = None
    jobs: Jobs | None = None
    ledger: Path | None = None

    def app(self) -> Starlette:
        """The ASGI application."""
        pages = [
            Route("/", lambda request: bundle.serve(request, bundle.PAGE)),
            Route("/assets/{name}", lambda r: bundle.serve(r, f"assets/{r.path_params['name']}")),
            Route("/licenses.txt", lambda request: bundle.serve(request, "licenses.txt")),
            Route("/api/session", self._session),
        ]
        routes: list[BaseRoute] = [*pages, Mount("/api/ward", routes=self.ward.routes())]
        if self.cohort is not None:
            routes += [*_cohort_routes(self, self.cohort), *patient_routes(self.cohort)]
        if self.jobs is not None:
            routes.append(Mount("/api/jobs", routes=self.jobs.routes()))
        errors: dict[Any, Any] = {InputError: _input_error, Refused: _input_error}
        app = Starlette(routes=routes, exception_handlers=errors, lifespan=self._lifespan)
        app.add_middleware(_Guarded, guard=self.guard)
        return app

    @contextlib.asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await self.ward.stop()
            if self.jobs is not None:
                await self.jobs.close()

    def _session(self, request: Request) -> Response:
        return JSONResponse(
            {
                "session": self.guard.session,
                "cohort": self.cohort is not None,
                "compare": self.other is not None,
                "generate": self.jobs is not None,
                "ward": self.ward.can_start,
            },
            headers={"Cache-Control": "no-store"},
        )


def _cohort_routes(viewer: Viewer, cohort: CohortData) -> list[BaseRoute]:
    thumbnails = Thumbnails(cohort)

    def overview(request: Request) -> Response:
        return _json(cohort.overview())

    def conditions(request: Request) -> Response:
        return _json(cohort.conditions())

    def column(request: Request) -> Response:
        return _json(cohort.column(request.path_params["name"]))

    def thumbnail(request: Request) -> Response:
        return Response(thumbnails.of(request.path_params["id"]), media_type="image/jpeg")

    def compare(request: Request) -> Response:
        job = request.query_params.get("job", "")
        if job and viewer.jobs is not None:
            return _json(compared(cohort, CohortData(viewer.jobs.folder(job))))
        if viewer.other is None:
            raise InputError("one cohort is shown; start with polyclinic view COHORT COHORT2 to compare")
        return _json(compared(cohort, viewer.other))

    def report(request: Request) -> Response:
        page = cohort.path("report.html").read_bytes()
        return Response(page, media_type="text/html", headers={"Content-Security-Policy": REPORT_POLICY})

    def papers(request: Request) -> Response:
        return _json(_papers(cohort, viewer.ledger))

    return [
        Route("/api/cohort", overview),
        Route("/api/conditions", conditions),
        Route("/api/columns/{name}", column),
        Route("/api/thumbnails/{id}", thumbnail),
        Route("/api/compare", compare),
        Route("/api/report", report),
        Route("/api/papers", papers),
    ]


def _papers(cohort: CohortData, ledger: Path | None) -> dict[str, Any]:
    """Certificate, journal and ledger as they are written; None for what is not there."""
    found: dict[str, Any] = {"report": "report" in cohort.documents(), "certificate": None}
    if "certificate" in cohort.documents():
        found["certificate"] = _parsed(cohort.path("certificate.json").read_text(encoding="utf-8"))
    journal = cohort.path(JOURNAL) if (cohort.folder / JOURNAL).exists() else None
    for kind, path in (("journal", journal), ("ledger", ledger)):
        lines = [] if path is None else path.read_text(encoding="utf-8").splitlines()
        found[kind] = [_parsed(line) for line in lines if line.strip()] or None
    return found


def _parsed(text: str) -> Any:
    try:
        return read_json(text)
    except ValueError:
        raise InputError("a document of the cohort is not JSON; it was damaged") from None


def _json(content: Any) -> Response:
    return JSONResponse(content, headers={"Cache-Control": "no-store"})


def _input_error(request: Request, error: Exception) -> Response:
    status = 404 if request.method in ("GET", "HEAD") else 400
    return JSONResponse({"error": " ".join(str(error).split())}, status)


class _Guarded:
    """Refuses who may not enter, keeps the token in a cookie, and says what a page may load."""

    def __init__(self, app: "ASGIApp", guard: Guard) -> None:
        self._app, self._guard = app, guard

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)

        async def with_headers(message: "Message") -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("Content-Security-Policy", POLICY)
            await send(message)

        if refused := self._guard.refusal(request):
            answer: Response = PlainTextResponse(f"{refused[1]}\n", refused[0])
            await answer(scope, receive, with_headers)
            return
        if self._guard.token and "token" in request.query_params:
            answer = RedirectResponse(request.url.path, 303)
            answer.set_cookie(COOKIE, self._guard.token, httponly=True, samesite="strict")
            await answer(scope, receive, with_headers)
            return
        await self._app(scope, receive, with_headers)
