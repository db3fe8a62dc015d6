"""Children: a process that another one started ends within a second of it, however that one ended."""

import ctypes
import os
import signal
import sys
import threading
import time

EVERY = 0.2  # s
PR_SET_PDEATHSIG = 1  # prctl(2)


def end_with(parent: int, by_kernel: bool = False) -> None:
    """In a child: end when the process `parent`, which started it, has ended.

    A thread looks; it cannot while a library that loads holds the interpreter. `by_kernel` lets Linux kill the child
    at once, and also when the thread that started it ends: only for a thread that waits for its children.
    """
    if by_kernel and sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it had ended before
        os._exit(1)
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(EVERY)
    os._exit(1)
