"""The adapter to tsgm: two of its metrics of series with gaps, taken in a process of their own.

tsgm (Nikitin et al. 2023) takes seconds to import, and importing it chooses a backend for Keras, adds a handler to
the root logger and prints. So one child process, started when the first figure is asked for, imports it on torch (it
needs no TensorFlow) and answers until this process ends; nothing of this process changes.
"""

import atexit
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import cache, partial
from importlib.util import find_spec
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Any

import numpy as np

from ...core.types import Float32Array

Stays = Float32Array  # (stay, hour, channel), NaN where nothing was charted
Scale = tuple[Float32Array, Float32Array]  # mean and deviation, (channel,)
ABSENT = "pip install 'polyclinic[tsgm]'"
WIDTH_FROM = 200  # real stays
PATIENCE = 10.0  # seconds that the child has to end
READY = "ready"
SETTINGS = {
    "KERAS_BACKEND": "torch",
    "KERAS_TORCH_DEVICE": "cpu",
    "NUMBA_DISABLE_JIT": "1",  # or antropy, which no metric of ours needs, is compiled anew at every import
}


def missing() -> str | None:
    """Why tsgm cannot be asked here; None where it can."""
    if find_spec("tsgm") is None:
        return ABSENT
    return _child().fault


def ask(metric: str, real: Stays, other: Stays) -> float:
    """The metric (a key of METRICS) of `other` beside `real`, by the child; only where nothing is missing()."""
    return float(_child().ask((metric, real, other)))


class _Child:
    """A Python with tsgm that answers pickled questions on its standard streams; `fault` tells why it does not."""

    def __init__(self) -> None:
        # not of multiprocessing: its children run the caller's main module again
        command = [sys.executable, "-P", "-m", __name__]
        environment = {**os.environ, **SETTINGS}
        self._said = TemporaryFile()  # noqa: SIM115, closed with the child
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._said, env=environment
        )
        atexit.register(self.close)
        self.fault = None if self._read() == READY else f"tsgm does not start ({self._last_line()})"

    def ask(self, question: Any) -> Any:
        assert self._process.stdin is not None
        pickle.dump(question, self._process.stdin)
        self._process.stdin.flush()
        answer = self._read()
        if answer is None:
            raise RuntimeError(f"tsgm broke off: {self._last_line()}")
        return answer

    def close(self) -> None:
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._said.close()

    def _read(self) -> Any:
        """None where the child has ended."""
        assert self._process.stdout is not None
        try:
            return pickle.load(self._process.stdout)
        except EOFError:
            return None

    def _last_line(self) -> str:
        self._process.wait(PATIENCE)
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"exit status {self._process.returncode}"


@cache
def _child() -> _Child:
    return _Child()


# -- in the process that has tsgm


def load() -> Any:
    """tsgm, on the Keras backend that is chosen, on torch if none is; what it prints goes to standard error."""
    os.environ.setdefault("KERAS_BACKEND", "torch")  # read when keras is imported
    with redirect_stdout(sys.stderr):
        import tsgm
    return tsgm


def scale_of(stays: Stays) -> Scale:
    """Mean and deviation of each channel; 0 and 1 of one that is never charted or never moves."""
    known = np.isfinite(stays)
    count = known.sum((0, 1)).clip(min=1)
    mean = np.where(known, stays, 0).sum((0, 1), dtype=np.float64) / count
    deviation = np.sqrt(np.square(np.where(known, stays - mean, 0)).sum((0, 1)) / count)
    return mean.astype(np.float32), np.where(deviation > 0, deviation, 1).astype(np.float32)


def filled(stays: Stays, scale: Scale) -> Stays:
    """Scaled, gaps at the mean of the channel in that stay, or of all where it was never charted."""
    scaled = (stays - scale[0]) / scale[1]
    known = np.isfinite(scaled)
    own = np.where(known, scaled, 0).sum(1, keepdims=True) / known.sum(1, keepdims=True).clip(min=1)
    return np.where(known, scaled, own).astype(np.float32)


def mmd(real: Stays, other: Stays) -> float:
    """Squared maximum mean discrepancy of whole stays, gaps filled, scaled by the real ones (Gretton et al. 2012).

    The Gaussian kernel is as wide as the median distance of real stays over the square root of 2. NaN where real
    stays are all the same. tsgm holds all pairs of stays at once: give it hundreds, not thousands.
    """
    scale = scale_of(real)
    ours, theirs = (filled(stays, scale) for stays in (other, real))
    some = theirs[:WIDTH_FROM].reshape(min(WIDTH_FROM, len(theirs)), -1)
    far = np.square(some[:, None] - some[None]).sum(-1)
    if not (far > 0).any():
        return float("nan")
    width = float(np.sqrt(np.median(far[far > 0]) / 2))
    metric = load().metrics.MMDMetric()  # its kernel is of width 1
    return max(0.0, float(metric(theirs / width, ours / width)))


def distance(real: Stays, other: Stays) -> float:
    """tsgm's DistanceMetric: root mean square difference of the mean, least and most reading of each channel.

    Over all stays and hours, in standard deviations of the real ones; gaps filled.
    """
    metrics, scale = load().metrics, scale_of(real)
    of = metrics.statistics
    statistics = [partial(one, axis=1) for one in (of.axis_mean_s, of.axis_min_s, of.axis_max_s)]
    apart = metrics.DistanceMetric(statistics, lambda a, b: np.sqrt(np.square(a - b).mean()))
    return float(apart(filled(real, scale), filled(other, scale)))


METRICS: dict[str, Callable[[Stays, Stays], float]] = {"mmd": mmd, "distance": distance}


def _answer() -> None:
    """Serve _Child until its end of the line closes."""
    answers = sys.stdout.buffer
    with TemporaryDirectory() as home:
        os.environ["KERAS_HOME"] = home  # neither the user's settings, nor a file written among them
        load()
    found: Any = READY
    while True:
        pickle.dump(found, answers)
        answers.flush()
        try:
            metric, real, other = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        with redirect_stdout(sys.stderr):
            found = METRICS[metric](real, other)


if __name__ == "__main__":
    _answer()
