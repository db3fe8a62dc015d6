"""The Ray engine: slices are drawn by actors, on the nodes of a cluster or on this machine.

An actor loads the models once and draws each slice in a folder of its own. It puts the slice into the cohort's folder
where it sees that one (a disk that nodes share), else this process does. An actor that is lost, with its node or
alone, is replaced, and its slices are drawn again; the bytes are those of the local engine.
"""

import logging
import math
import os
import secrets
import signal
import socket
import tempfile
import threading
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...core.cohort import carry
from ...core.cohort.cohort import PENDING
from ...core.device import CUDA, kind_of
from ...core.errors import InputError, first_line
from ...core.extras import need
from ...core.remarks import remark

if TYPE_CHECKING:
    from .job import Job
    from .parcel import Parcel

need("--engine ray", "ray")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

TOKEN = "shared"  # file below .pending by which an actor knows the cohort's folder
UNDER_WAY = 2  # slices that an actor is asked for at once, so that it never waits
LOSSES = 4  # of the actors that draw a slice, before it is the slice's fault
MOST_ON_A_GPU = 16  # actors
EXPECTED = "expected HOST:PORT of its head, auto for one on this machine, or local for a new one"
PATIENCE = 60.0  # s without an answer, after which it is said what is waited for


def draw(job: "Job", numbers: Sequence[int], workers: int | None) -> Iterator[int]:
    """Slice numbers as they are written (core.contracts.Engine); by default an actor for each CPU of the cluster."""
    from .parcel import Parcel

    if not numbers:
        return
    token = secrets.token_hex(16)
    shared = job.folder / PENDING / TOKEN
    shared.write_text(token)
    parcel = Parcel.of(job)
    with _cluster(job.address, workers):
        import ray

        crew = _Crew(ray.put(parcel), job.folder.resolve(), token, job.device)
        try:
            crew.hire(min(workers or crew.room, len(numbers)))
            yield from crew.drawn(numbers)
        finally:
            crew.dismiss()
            shared.unlink(missing_ok=True)


class Worker:
    """An actor. What it answers is a text where it is an InputError."""

    def __init__(self, parcel: "Parcel", folder: Path, token: str) -> None:
        self.parcel, self.folder, self.token = parcel, folder, token
        self.home = tempfile.TemporaryDirectory(prefix="polyclinic-")
        self.job: Job | None = None

    def ready(self) -> str | None:
        """Unpack what there is to draw."""
        try:
            self.job = self.parcel.unpacked(Path(self.home.name))
        except InputError as error:
            return str(error)
        return None

    def write(self, number: int) -> carry.Files | str | None:
        """Draw a slice: its files, or None where they are in the cohort's folder already."""
        assert self.job is not None
        try:
            self.job.write(number)
            files = carry.taken(self.job.folder, number)
            for name in files:
                (self.job.folder / name).unlink()
            if not self._sees():
                return files
            carry.put(files, self.folder)
        except InputError as error:
            return str(error)
        return None

    def _sees(self) -> bool:
        try:
            return (self.folder / PENDING / TOKEN).read_text() == self.token
        except OSError:
            return False


class _Crew:
    """The actors of a run, and what each has been asked for."""

    def __init__(self, parcel: Any, folder: Path, token: str, device: str) -> None:
        import ray

        self.given, self.folder, has = (parcel, folder, token), folder, ray.cluster_resources()
        self.room = max(1, int(has.get("CPU", 1)))
        share = 0.0
        if kind_of(device) == CUDA:
            if not (gpus := has.get("GPU", 0)):
                raise InputError(
                    "--device cuda: no node of the Ray cluster has a GPU; leave it out, or add one"
                )
            share = math.floor(10_000 * min(1, max(gpus / self.room, 1 / MOST_ON_A_GPU))) / 10_000
        # a lost one is replaced here: another node may have room for it
        self.actor = ray.remote(Worker).options(num_cpus=1, num_gpus=share, max_restarts=0)
        self.coming: dict[Any, Any] = {}  # first answer -> actor
        self.asked: dict[Any, tuple[Any, int]] = {}  # a result to come -> actor, slice
        self.free: deque[Any] = deque()  # actors, each as often as it may be asked for a slice

    def hire(self, number: int) -> None:
        """Start actors; where there is no room for them they come later."""
        for _ in range(number):
            actor = self.actor.remote(*self.given)
            self.coming[actor.ready.remote()] = actor

    def drawn(self, numbers: Sequence[int]) -> Iterator[int]:
        """Slice numbers as they are done. Raises InputError."""
        import ray

        lost: Counter[int] = Counter()
        waiting = deque(numbers)
        gone = (
            ray.exceptions.RayActorError, ray.exceptions.ObjectLostError, ray.exceptions.NodeDiedError,
            ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError,
        )  # fmt: skip
        while waiting or self.asked:
            while waiting and self.free:
                actor, number = self.free.popleft(), waiting.popleft()
                self.asked[actor.write.remote(number)] = actor, number
            answer = self._next()
            first = answer in self.coming
            actor, number = (self.coming.pop(answer), -1) if first else self.asked.pop(answer)
            try:
                found = ray.get(answer)
            except gone:
                if not first:
                    waiting.appendleft(number)
                lost[number] += 1
                if lost[number] == LOSSES:
                    what = "started" if first else f"drew slice {number}"
                    raise InputError(
                        f"{self.folder}: {LOSSES} workers were lost while they {what}, perhaps for want of memory; "
                        "what is done is kept: run again with --resume and more memory a node"
                    ) from None
                self._replace(actor)
                continue
            if isinstance(found, str):
                raise InputError(f"a worker of the Ray cluster: {found}")
            if first:
                self.free.extend([actor] * UNDER_WAY)
                continue
            self.free.append(actor)
            if found is not None:
                carry.put(found, self.folder)
            yield number

    def _next(self) -> Any:
        """The next answer. A remark says where none comes for want of nodes."""
        import ray

        patience: float | None = None if self.asked else PATIENCE
        while True:
            answers, _ = ray.wait([*self.asked, *self.coming], num_returns=1, timeout=patience)
            if answers:
                return answers[0]
            remark("the Ray cluster has no free CPU (or GPU) for a worker; waiting for one")
            patience = None

    def _replace(self, actor: Any) -> None:
        """Another in place of a lost one, once nothing more of it is awaited."""
        import ray

        self.free = deque(one for one in self.free if one is not actor)
        if not any(one is actor for one, _ in self.asked.values()):
            ray.kill(actor)
            self.hire(1)

    def dismiss(self) -> None:
        """End the actors."""
        import ray

        crew = [*self.free, *self.coming.values(), *(one for one, _ in self.asked.values())]
        for actor in {id(one): one for one in crew}.values():
            ray.kill(actor)


def require_reachable(address: str) -> None:
    """Raises InputError unless something answers at an address; Ray itself would try for minutes."""
    if address in ("auto", "local"):
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not (port.isdecimal() and len(port) <= 5):
        raise InputError(f"--address {address:.300}: {EXPECTED}")
    try:
        socket.create_connection((host, int(port)), 5).close()
    except (OSError, OverflowError, ValueError) as error:  # ValueError: no name that a host may have
        raise InputError(
            f"--address {address:.300}: no Ray cluster answers there ({error}); {EXPECTED}"
        ) from None


@contextmanager
def _cluster(address: str | None, workers: int | None) -> Iterator[None]:
    """A connection to the cluster at an address, $RAY_ADDRESS, or a new one on this machine; or the one there is."""
    import ray

    if ray.is_initialized():
        yield
        return
    where = address or os.environ.get("RAY_ADDRESS") or "local"
    require_reachable(where)
    own = {"include_dashboard": False, "num_cpus": workers} if where == "local" else {}
    stops = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address=where, log_to_driver=False, logging_level=logging.ERROR, **own)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError, OSError) as error:
        raise InputError(
            f"--address {where}: no Ray cluster answers there ({first_line(error)}); {EXPECTED}"
        ) from None
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, stops)  # Ray's own would end without a word
    try:
        yield
    finally:
        ray.shutdown()
