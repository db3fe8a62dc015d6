"""The local engine: slices are drawn in this process, or in a pool of spawned ones.

It imports little, so that a worker looks after its parent before it loads anything.
"""

import multiprocessing
import os
import pickle
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING

from ...core.children import end_with
from ...core.errors import InputError

if TYPE_CHECKING:
    from .job import Job

WORTH = 4  # slices that a worker must have to draw, by default, to be worth its start


def draw(job: "Job", numbers: Sequence[int], workers: int | None) -> Iterator[int]:
    """Slice numbers as they are written (core.contracts.Engine); one worker is this process.

    By default there is one a core, on a GPU as many as its memory holds, where each has WORTH slices or more to draw.
    """
    if workers is None:
        from ...core.device import processes

        workers = min(processes(job.device, _cores()), len(numbers) // WORTH)
    workers = max(1, min(workers, len(numbers)))
    return map(job.write, numbers) if workers == 1 else _in_pool(job, numbers, workers)


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _in_pool(job: "Job", numbers: Sequence[int], workers: int) -> Iterator[int]:
    """Slice numbers as they are done; at most two tasks a worker are under way."""
    start = os.getpid(), pickle.dumps(job)
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _start_worker, start)
    waiting, running = iter(numbers), set[Future[int]]()
    try:
        while True:
            while len(running) < 2 * workers and (number := next(waiting, None)) is not None:
                running.add(pool.submit(_write, number))
            if not running:
                break
            ready, running = wait(running, return_when=FIRST_COMPLETED)
            for task in ready:
                yield task.result()
    except BrokenProcessPool:
        raise InputError(
            f"{job.folder}: a worker process was killed, perhaps for want of memory; what is done is kept: run again "
            "with --resume (resume=True) and fewer --workers (workers=1). A Python script that starts workers needs "
            "`if __name__ == '__main__':` around its calls"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


_job: "Job | None" = None


def _start_worker(parent: int, packed: bytes) -> None:
    """Leave interrupts to the parent, end when it ends, and unpack the job, which loads what it needs."""
    global _job
    end_with(parent, by_kernel=True)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _job = pickle.loads(packed)


def _write(number: int) -> int:
    assert _job is not None
    return _job.write(number)
