"""Jobs: cohorts drawn from the page, each by `polyclinic generate` in a process of its own, one at a time."""

import asyncio
import contextlib
import os
import signal
import sys
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...core.cohort.cohort import PENDING, SLICE, Cohort
from ...core.errors import InputError
from ...core.limits import require
from ...core.paths import file_name
from .posted import posted

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute

RUNNING, DONE, CANCELLED, FAILED = "running", "done", "cancelled", "failed"
MOST = 100_000  # patients that the page may ask for
STOPPING = 20.0  # s that a job may take to end in order
CHILD = (  # it ends with the viewer, and leaves a cohort that can be resumed
    "import os, sys; from polyclinic.core.children import end_with; end_with(int(sys.argv.pop(1))); "
    "from polyclinic.app.cli import main; main()"
)
FORM = {"name": str, "cohort": str, "fields": str, "patients": int, "seed": int}


@dataclass
class Job:
    """A cohort that is drawn into a folder; `asked` are the options of the command."""

    number: int
    folder: Path
    asked: tuple[str, ...]
    state: str = RUNNING
    message: str = ""
    process: asyncio.subprocess.Process | None = None
    task: asyncio.Task[None] | None = None

    def describe(self) -> dict[str, Any]:
        """How far it is, in plain JSON types; `total` is None until the command has read what to draw."""
        done, total = self.progress()
        return {
            "number": self.number, "name": self.folder.name, "state": self.state, "done": done, "total": total,
            "message": self.message, "command": " ".join(("polyclinic", "generate", *map(_quoted, self.asked))),
        }  # fmt: skip

    def progress(self) -> tuple[int, int | None]:
        """Patients that are on disk, and in all."""
        try:
            cohort = Cohort.open(self.folder)
        except InputError:
            return 0, None
        if cohort.complete:
            return cohort.patients, cohort.patients
        slices = sum(1 for _ in (self.folder / PENDING).glob("slice-*.json"))
        return min(cohort.patients, slices * SLICE), cohort.patients


def _quoted(text: str) -> str:
    return f'"{text}"' if " " in text else text


class Jobs:
    """The jobs of one viewer; cohorts are made in new folders below `home`."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.jobs: list[Job] = []

    def routes(self) -> "list[BaseRoute]":
        """GET and POST of the list, POST of a job's `cancel` and `resume`."""
        from starlette.routing import Route

        return [
            Route("/", self._list, methods=["GET"]),
            Route("/", self._add, methods=["POST"]),
            Route("/{number:int}/cancel", self._cancel, methods=["POST"]),
            Route("/{number:int}/resume", self._resume, methods=["POST"]),
        ]

    async def start(self, form: dict[str, Any]) -> Job:
        """Begin a job. Raises InputError: another runs, the name is taken, or a value cannot be."""
        self._require_idle()
        folder = self.home / file_name(form.get("name", ""), "name")
        if folder.exists():
            raise InputError(f"name: {folder.name} is there already; choose another name")
        cohort, fields = form.get("cohort", ""), form.get("fields", "").strip()
        if cohort not in cohorts():
            raise InputError(f"cohort: expected one of {', '.join(cohorts())}, got {cohort!r}")
        patients, seed = form.get("patients"), form.get("seed", 0)
        require(seed=seed)
        if (patients is None) == (not fields):
            raise InputError("expected either how many patients, or how many of each class of a field")
        if patients is not None and not 1 <= patients <= MOST:
            raise InputError(f"patients: expected 1 to {MOST:,}, got {patients:,}")
        counts = ("--fields", fields) if fields else ("--patients", str(patients))
        asked = ("--cohort", cohort, *counts, "--seed", str(seed), "--out", str(folder))
        job = Job(len(self.jobs) + 1, folder, asked)
        self.jobs.append(job)
        await self._run(job, job.asked)
        return job

    def _require_idle(self) -> None:
        if any(job.state == RUNNING for job in self.jobs):
            raise InputError("a job is running; wait for it, or cancel it")

    async def _run(self, job: Job, asked: tuple[str, ...]) -> None:
        job.state, job.message = RUNNING, ""
        job.process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", CHILD, str(os.getpid()), "generate", *asked, stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        job.task = asyncio.create_task(self._follow(job, job.process))

    async def _follow(self, job: Job, process: asyncio.subprocess.Process) -> None:
        """Keep the last line that the command says, and how it ended."""
        assert process.stderr is not None
        with contextlib.suppress(ValueError):  # a line beyond any length
            async for line in process.stderr:
                if text := line.decode(errors="replace").strip():
                    job.message = text.removeprefix("polyclinic: ")[:500]
        code = await process.wait()
        if code == 0:
            job.state, job.message = DONE, ""
        elif job.state == RUNNING:
            job.state = FAILED

    async def cancel(self, job: Job) -> None:
        """Stop a job in order; what is drawn is kept."""
        if job.state != RUNNING or job.process is None or job.task is None:
            return
        job.state = CANCELLED
        with contextlib.suppress(ProcessLookupError):
            job.process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(asyncio.shield(job.task), STOPPING)
        except TimeoutError:
            job.process.kill()
            await job.task

    async def close(self) -> None:
        """Stop what runs."""
        for job in self.jobs:
            await self.cancel(job)

    def folder(self, number: str) -> Path:
        """The folder of a job that is done. Raises InputError."""
        found = [job for job in self.jobs if str(job.number) == number and job.state == DONE]
        if not found:
            raise InputError(f"no job {number} is done")
        return found[0].folder

    def _job(self, request: "Request") -> Job:
        number = request.path_params["number"]
        if not 1 <= number <= len(self.jobs):
            raise InputError(f"no job {number}")
        return self.jobs[number - 1]

    async def _list(self, request: "Request") -> "Response":
        from starlette.responses import JSONResponse

        shown = [job.describe() for job in self.jobs]
        return JSONResponse({"jobs": shown, "cohorts": cohorts(), "home": self.home.resolve().name})

    async def _add(self, request: "Request") -> "Response":
        from starlette.responses import JSONResponse

        return JSONResponse((await self.start(await posted(request, FORM))).describe(), 201)

    async def _cancel(self, request: "Request") -> "Response":
        from starlette.responses import JSONResponse

        job = self._job(request)
        await self.cancel(job)
        return JSONResponse(job.describe())

    async def _resume(self, request: "Request") -> "Response":
        from starlette.responses import JSONResponse

        job = self._job(request)
        if job.state not in (CANCELLED, FAILED):
            raise InputError(f"job {job.number} is {job.state}; there is nothing to go on with")
        self._require_idle()
        await self._run(job, (*job.asked, "--resume"))
        return JSONResponse(job.describe())


def cohorts() -> list[str]:
    """Names of the cohorts that ship."""
    home = files("polyclinic.configs") / "cohort"
    return sorted(item.name.removesuffix(".yaml") for item in home.iterdir() if item.name.endswith(".yaml"))
