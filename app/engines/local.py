"""The local engine: slices are drawn in this process, or in a pool of spawned ones."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool

from ...core.errors import InputError
from .job import Job


def draw(job: Job, numbers: Sequence[int], workers: int) -> Iterator[int]:
    """Slice numbers as they are written (core.contracts.Engine); one worker is this process."""
    return map(job.write, numbers) if workers == 1 else _in_pool(job, numbers, workers)


def _in_pool(job: Job, numbers: Sequence[int], workers: int) -> Iterator[int]:
    """Slice numbers as they are done; at most two tasks a worker are under way."""
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _start_worker, (job,))
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


_job: Job | None = None


def _start_worker(job: Job) -> None:
    """Leave interrupts to the parent, end when it ends, and note the job."""
    global _job
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _job = job


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _write(number: int) -> int:
    assert _job is not None
    return _job.write(number)
