"""WardHub: a live ward for pages: a process that streams it, or a stream that comes here, sent on as events."""

import asyncio
import contextlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...core.errors import InputError
from ..stream.base import Message
from ..stream.broadcaster import Broadcaster
from .jobs import cohorts
from .posted import posted

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute

OFF, STARTING, LIVE, ENDED = "off", "starting", "live", "ended"
EVENTS = ("sepsis", "atrial_fibrillation", "lead_off", "dropout", "recovery")
SHOWN = ("II", "V1")  # leads that a page gets
MOST_BEDS = 16
HELD = 4_000_000  # bytes that wait for a page that does not read
LONGEST = 1 << 20  # bytes of a line of the ward's process
STOPPING = 5.0  # s that it may take to end
RETAINED = ("meta", "status", "event")
START = {"source": str, "beds": int, "seed": int}
EVENT = {"bed": str, "what": str}


class WardHub:
    """One ward at a time. `folder` is the cohort whose patients may lie there; `can_start`: from the page."""

    def __init__(self, folder: Path | None = None, can_start: bool = True) -> None:
        self.can_start = can_start
        self.state, self.message, self.source = OFF, "", ""
        self._folder = folder
        self._broadcaster = Broadcaster(wait=False, limit=HELD)
        self._process: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None

    def routes(self) -> "list[BaseRoute]":
        """GET of the state and of the events as they come; POST of start, stop and event."""
        from starlette.routing import Route

        found: list[BaseRoute] = [Route("/", self._state), Route("/stream", self._stream)]
        if self.can_start:
            found += [
                Route("/start", self._start, methods=["POST"]),
                Route("/stop", self._stop, methods=["POST"]),
                Route("/event", self._event, methods=["POST"]),
            ]
        return found

    async def feed(self, message: Message) -> bool:
        """Send a message of a stream on to all pages; False if one of them had no room."""
        self.state = LIVE
        return await self._broadcaster.send(_fewer_leads(message))

    async def start(self, source: str, beds: int, seed: int) -> None:
        """Begin a ward: of the cohort's patients if `source` is "", else of a shipped cohort. Raises InputError."""
        if not 1 <= beds <= MOST_BEDS:
            raise InputError(f"beds: expected 1 to {MOST_BEDS}, got {beds}")
        if source not in cohorts() and not (source == "" and self._folder is not None):
            raise InputError(f"source: expected one of {', '.join(cohorts())}, got {source!r}")
        await self.stop()
        self._broadcaster = Broadcaster(wait=False, limit=HELD)
        self.state, self.message, self.source = STARTING, "", source
        asked = {"folder": not source, "source": source or str(self._folder), "beds": beds, "seed": seed}
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "polyclinic.app.viewer.ward_process", json.dumps(asked), stdin=pipe, stdout=pipe,
            stderr=pipe, limit=LONGEST,
        )  # fmt: skip
        self._task = asyncio.create_task(self._follow(self._process))

    async def _follow(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        assert process.stderr is not None
        saying = asyncio.create_task(process.stderr.read())
        async for line in process.stdout:
            said = json.loads(line)
            topic = "/".join(said[key] for key in ("ward", "bed", "signal") if key in said)
            await self.feed(Message(topic, line.rstrip(), said["signal"] in RETAINED))
        lines = (await saying).decode(errors="replace").strip().splitlines()
        code = await process.wait()
        self.state, self.message = ENDED, (lines[-1] if lines and code else "")
        await self._broadcaster.drain(1.0)

    async def stop(self) -> None:
        """End the ward, if there is one, and close the streams of its pages."""
        process, task = self._process, self._task
        self._process = self._task = None
        if process is not None and task is not None:
            assert process.stdin is not None
            process.stdin.close()  # which it takes for the end
            try:
                await asyncio.wait_for(asyncio.shield(task), STOPPING)
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await task
            self.state = OFF
        await self._broadcaster.drain(0.0)

    async def befall(self, bed: str, what: str) -> None:
        """Let an event befall a bed. Raises InputError where no ward runs here that can."""
        if what not in EVENTS:
            raise InputError(f"what: expected one of {', '.join(EVENTS)}, got {what!r}")
        if self._process is None or self._process.stdin is None or self.state != LIVE:
            raise InputError("no ward is running")
        self._process.stdin.write(json.dumps({"bed": bed, "what": what}).encode() + b"\n")
        with contextlib.suppress(ConnectionError):
            await self._process.stdin.drain()

    def describe(self) -> dict[str, Any]:
        """The state, in plain JSON types."""
        return {
            "state": self.state, "message": self.message, "events": list(EVENTS) if self.can_start else [],
            "sources": cohorts(), "cohort": self._folder is not None, "most_beds": MOST_BEDS,
        }  # fmt: skip

    async def _state(self, request: "Request") -> "Response":
        from starlette.responses import JSONResponse

        return JSONResponse(self.describe())

    async def _start(self, request: "Request") -> "Response":
        asked = await posted(request, START)
        await self.start(asked.get("source", ""), asked.get("beds", 4), asked.get("seed", 0))
        return await self._state(request)

    async def _stop(self, request: "Request") -> "Response":
        await self.stop()
        return await self._state(request)

    async def _event(self, request: "Request") -> "Response":
        asked = await posted(request, EVENT)
        await self.befall(asked.get("bed", ""), asked.get("what", ""))
        return await self._state(request)

    async def _stream(self, request: "Request") -> "Response":
        from starlette.responses import Response, StreamingResponse

        if self.state not in (STARTING, LIVE):
            return Response(status_code=204)  # which tells a browser not to come again
        lines = (b"data: " + payload + b"\n\n" async for payload in self._broadcaster.payloads(""))
        headers = {"Cache-Control": "no-store", "Connection": "close"}
        return StreamingResponse(lines, headers=headers, media_type="text/event-stream")


def _fewer_leads(message: Message) -> Message:
    """An ECG with the leads that a page shows, or the first two of a device that has others."""
    if not message.topic.endswith("/ecg"):
        return message
    said = json.loads(message.payload)
    leads = said.get("leads", {})
    names = [name for name in SHOWN if name in leads] or list(leads)[:2]
    said["leads"] = {name: leads[name] for name in names}
    return Message(message.topic, json.dumps(said, separators=(",", ":")).encode(), message.retain)
