"""The adapter to tsgm: two of its metrics of series with gaps, taken in a process of their own.

tsgm (Nikitin et al. 2023) takes seconds to import, and importing it chooses a backend for Keras, adds a handler to
the root logger and prints. So one child process, started when the first figure is asked for, imports it on torch (it
needs no TensorFlow) and answers until this process ends; nothing of this process changes.
"""

import atexit
import os
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import cache, partial
from importlib.util import find_spec
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from ...core.children import end_with
from ...core.extras import install_line
from ...core.types import Float32Array

Stays = Float32Array  # (stay, hour, channel), NaN where nothing was charted
Scale = tuple[Float32Array, Float32Array]  # mean and deviation, (channel,)
ABSENT = install_line("tsgm")
WIDTH_FROM = 200  # real stays
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
    return _child().ask(metric, real, other)


class _Child:
    """A process of its own that has tsgm, by loky, which does not run the caller's main module again.

    `fault` tells why it does not answer.
    """

    def __init__(self) -> None:
        from joblib.externals.loky import ProcessPoolExecutor

        self._home = (
            TemporaryDirectory()
        )  # neither the user's settings of Keras, nor a file written among them
        settings = {**SETTINGS, "KERAS_HOME": self._home.name}
        self._pool = ProcessPoolExecutor(1, initializer=_silence, initargs=(os.getpid(),), env=settings)
        atexit.register(self.close)
        error = self._pool.submit(_start).exception()
        self.fault = error and f"tsgm does not start ({type(error).__name__}: {error})"

    def close(self) -> None:
        """End the process."""
        self._pool.shutdown()
        self._home.cleanup()

    def ask(self, metric: str, real: Stays, other: Stays) -> float:
        """The answer; what goes wrong in the child is raised here."""
        return float(self._pool.submit(_answer, metric, real, other).result())


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


def _silence(parent: int) -> None:
    """Warnings of the child's imports go nowhere, and it ends with its parent."""
    end_with(parent)
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def _start() -> None:
    load()


def _answer(metric: str, real: Stays, other: Stays) -> float:
    with redirect_stdout(sys.stderr):
        return METRICS[metric](real, other)
