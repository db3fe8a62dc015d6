"""Intervals from a private table: draw sets, fit each, combine. See docs/how-to/trial.md."""

from .app.inference import Formula, draw_sets, infer
from .eval.inference import Combined, combine
from .eval.regression import Estimates, cox, ipw, linear, logistic

__all__ = [
    "Combined",
    "Estimates",
    "Formula",
    "combine",
    "cox",
    "draw_sets",
    "infer",
    "ipw",
    "linear",
    "logistic",
]
