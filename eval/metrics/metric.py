"""Metric: one figure of likeness, and compare(), which gives it its real baseline, interval, verdict and sentence."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...core.modality import Panel
from ...core.types import FloatArray, IntArray
from ..profile import EvaluationProfile
from ..sample import one_each, resample
from ..score import AS_REAL, CLOSE, DIFFERENT, FURTHER, MEASURED, Score, around, not_measured
from .distances import LEAST, comparable

FEATURES, CATEGORIES = "features", "categories"  # tables that every view has
NUMBERS, EVENT, SERIES, EMBEDDING, PIXELS, GENES, MASKS = (
    "numbers",
    "event",
    "series",
    "embedding",
    "pixels",
    "genes",
    "masks",
)
HALF = 0.5  # of the draws must give a number
WORDS = {
    AS_REAL: "as another group of real patients would show",
    CLOSE: "a little worse than another group of real patients would show",
    DIFFERENT: "worse than another group of real patients would show",
}


@dataclass(frozen=True)
class Group:
    """values (row, column), NaN where a record does not tell; patients (row,) a number a patient.

    classes: (row,) 0 or 1 of two classes that are held against each other, NaN for the others.
    """

    values: FloatArray
    names: tuple[str, ...]
    patients: IntArray
    classes: FloatArray | None = None

    def at(self, rows: IntArray) -> "Group":
        """The rows at these places."""
        classes = None if self.classes is None else self.classes[rows]
        return replace(self, values=self.values[rows], patients=self.patients[rows], classes=classes)


Against = Callable[[Group], Callable[[Group], float]]  # real group -> judged group -> number, NaN: cannot say


@dataclass(frozen=True)
class Metric:
    """against(real)(judged) is the figure; real baselines and intervals are of the same function.

    question: one of score.DETAILED. table: FEATURES, CATEGORIES, or the kind of a panel. says: what the figure is, for
    the sentence, `{}` its value. close: how far past the real baseline's range still counts as close, as a share of
    `top` (the scale's end; None: it follows the values). heavy: takes seconds. lacks: why there may be no figure.
    missing: tells what has to be installed for it, None where nothing has.
    """

    name: str
    title: str
    question: str
    against: Against
    says: str
    table: str = FEATURES
    higher: bool = False
    top: float | None = 1.0
    close: float = 0.1
    heavy: bool = False
    lacks: str = "too little is known of these records"
    missing: Callable[[], str | None] = lambda: None

    @classmethod
    def of(cls, plugin: Any) -> "Metric":
        """A metric of another package, which has no more than core.contracts.Metric asks for; ours as it is."""
        if isinstance(plugin, cls):
            return plugin

        def against(real: Group) -> Callable[[Group], float]:
            return lambda judged: float(plugin.compute(real.values, judged.values))

        says = plugin.title.replace("{", "{{").replace("}", "}}") + ": {}"
        return cls(
            plugin.name, plugin.title, FURTHER, against, says, higher=plugin.higher, top=None, close=0.5
        )

    def compute(self, real: FloatArray, synthetic: FloatArray) -> float:
        """The figure of rows that are each a patient's, their columns without names."""
        names = tuple(map(str, range(real.shape[1])))
        one, other = (Group(rows, names, np.arange(len(rows))) for rows in (real, synthetic))
        return self.against(one)(other)

    @property
    def direction(self) -> str:
        """In words."""
        return "higher is better" if self.higher else "lower is better"


def compare(
    metric: Metric,
    synthetic: Group,
    train: Group,
    test: Group,
    profile: EvaluationProfile,
    seed: int,
    panel: Panel | None = None,
) -> Score:
    """The figure of synthetic records against real test records; real baseline: as many real training patients.

    One row a patient of the judged side, at most 400 and at most half of the training patients; all test rows.
    The interval resamples both sides by patient; that of a heavy figure the judged side only.
    """
    if metric.heavy and not profile.heavy:
        return unmeasured(metric, "left out of a quick look", panel)
    counts = [len(np.unique(group.patients)) for group in (synthetic, train, test)]
    size = comparable(counts[0], counts[1])
    if size < LEAST or counts[2] < LEAST:
        reason = (
            f"needs {LEAST} synthetic, {2 * LEAST} training and {LEAST} test patients, there are {counts}"
        )
        return unmeasured(metric, reason, panel)
    if absent := metric.missing():
        return unmeasured(metric, absent, panel)
    rng = np.random.default_rng(seed)
    figure = metric.against(test)
    some = synthetic.at(one_each(synthetic.patients, size, rng))
    value = figure(some)
    times = profile.slow_draws if metric.heavy else profile.real_baselines
    real_baselines = _known([figure(train.at(one_each(train.patients, size, rng))) for _ in range(times)])
    if not np.isfinite(value) or len(real_baselines) < HALF * times:
        return unmeasured(metric, metric.lacks, panel)
    draws = []
    for _ in range(profile.slow_draws if metric.heavy else profile.bootstraps):
        judged = some.at(rng.integers(size, size=size))
        held_out = figure if metric.heavy else metric.against(test.at(resample(test.patients, rng)))
        draws.append(held_out(judged))
    share = (
        size / counts[1]
    )  # draws of the same patients vary less than new ones would: see distances.real_baseline
    middle = float(np.mean(real_baselines))
    reach = around(real_baselines, middle, float(np.sqrt((1 + share) / (1 - share))))
    return _score(metric, panel, value, around(_known(draws) or [value], value), middle, reach, size)


def _title(metric: Metric, panel: Panel | None) -> str:
    return f"{metric.title}: {panel.title}" if panel else metric.title


def unmeasured(metric: Metric, reason: str, panel: Panel | None = None) -> Score:
    """The measure without a figure."""
    title = _title(metric, panel)
    return not_measured(metric.name, title, metric.question, reason, panel=panel.name if panel else None)


def _known(draws: list[float]) -> list[float]:
    return [draw for draw in draws if np.isfinite(draw)]


def _score(
    metric: Metric,
    panel: Panel | None,
    value: float,
    interval: tuple[float, float],
    real_baseline: float,
    reach: tuple[float, float],
    size: int,
) -> Score:
    top = metric.top if metric.top is not None else 1.25 * max(value, reach[1], 1e-6)
    unit = metric.top if metric.top is not None else max(real_baseline, 1e-6)
    past = reach[0] - value if metric.higher else value - reach[1]
    verdict = AS_REAL if past <= 0 else CLOSE if past <= metric.close * unit else DIFFERENT
    said = metric.says.format(f"{value:.3g}")
    return Score(
        metric=metric.name,
        title=_title(metric, panel),
        panel=panel.name if panel else None,
        question=metric.question,
        status=MEASURED,
        direction=metric.direction,
        value=value,
        interval=interval,
        real_baseline=real_baseline,
        real_baseline_interval=reach,
        verdict=verdict,
        scale=(0.0, max(top, value, reach[1])),
        sentence=f"{said}, {WORDS[verdict]} (real against real: {real_baseline:.3g}; {size} synthetic records).",
        details={"rows": size},
    )
