"""Measure: one figure of likeness, and compare(), which gives any of them its floor, interval, verdict and sentence."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ...core.types import FloatArray, IntArray
from ..profile import Effort
from ..sample import one_each, resample
from ..score import AS_REAL, CLOSE, DIFFERENT, MEASURED, Score, around, not_measured
from .distances import LEAST, comparable

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
class Measure:
    """against(real)(judged) is the figure; floors and intervals are of the same function.

    question: one of score.FINER. says: what the figure is, for the sentence, `{}` its value. close: how far past
    the floor's range still counts as close, as a share of `top` (the scale's end; None: it follows the values).
    heavy: takes seconds. lacks: why there may be no figure. missing: tells what has to be installed for it, None
    where nothing has.
    """

    metric: str
    title: str
    question: str
    against: Against
    says: str
    higher: bool = False
    top: float | None = 1.0
    close: float = 0.1
    heavy: bool = False
    lacks: str = "too little is known of these records"
    missing: Callable[[], str | None] = lambda: None

    @property
    def direction(self) -> str:
        """In words."""
        return "higher is better" if self.higher else "lower is better"


def compare(
    measure: Measure, synthetic: Group, train: Group, test: Group, effort: Effort, seed: int, about: str = ""
) -> Score:
    """The figure of synthetic records beside real test records; floor: as many real training patients.

    One row a patient of the judged side, at most 400 and at most half of the training patients; all test rows.
    The interval resamples both sides by patient; that of a heavy figure the judged side only.
    """
    name, title = _named(measure, about)
    if measure.heavy and not effort.heavy:
        return not_measured(name, title, measure.question, "left out of a quick look")
    counts = [len(np.unique(group.patients)) for group in (synthetic, train, test)]
    size = comparable(counts[0], counts[1])
    if size < LEAST or counts[2] < LEAST:
        reason = (
            f"needs {LEAST} synthetic, {2 * LEAST} training and {LEAST} test patients, there are {counts}"
        )
        return not_measured(name, title, measure.question, reason)
    if absent := measure.missing():
        return not_measured(name, title, measure.question, absent)
    rng = np.random.default_rng(seed)
    figure = measure.against(test)
    some = synthetic.at(one_each(synthetic.patients, size, rng))
    value = figure(some)
    times = effort.slow_draws if measure.heavy else effort.floors
    floors = _known([figure(train.at(one_each(train.patients, size, rng))) for _ in range(times)])
    if not np.isfinite(value) or len(floors) < HALF * times:
        return not_measured(name, title, measure.question, measure.lacks)
    draws = []
    for _ in range(effort.slow_draws if measure.heavy else effort.bootstraps):
        judged = some.at(rng.integers(size, size=size))
        held_out = figure if measure.heavy else measure.against(test.at(resample(test.patients, rng)))
        draws.append(held_out(judged))
    share = size / counts[1]  # draws of the same patients vary less than new ones would: see distances.floor
    middle = float(np.mean(floors))
    reach = around(floors, middle, float(np.sqrt((1 + share) / (1 - share))))
    return _score(measure, name, title, value, around(_known(draws) or [value], value), middle, reach, size)


def _named(measure: Measure, about: str) -> tuple[str, str]:
    return (
        (f"{measure.metric}/{about}", f"{measure.title}: {about}")
        if about
        else (measure.metric, measure.title)
    )


def unmeasured(measure: Measure, reason: str, about: str = "") -> Score:
    """The measure without a figure."""
    name, title = _named(measure, about)
    return not_measured(name, title, measure.question, reason)


def _known(draws: list[float]) -> list[float]:
    return [draw for draw in draws if np.isfinite(draw)]


def _score(
    measure: Measure,
    name: str,
    title: str,
    value: float,
    interval: tuple[float, float],
    floor: float,
    reach: tuple[float, float],
    size: int,
) -> Score:
    top = measure.top if measure.top is not None else 1.25 * max(value, reach[1], 1e-6)
    unit = measure.top if measure.top is not None else max(floor, 1e-6)
    past = reach[0] - value if measure.higher else value - reach[1]
    verdict = AS_REAL if past <= 0 else CLOSE if past <= measure.close * unit else DIFFERENT
    said = measure.says.format(f"{value:.3g}")
    return Score(
        metric=name,
        title=title,
        question=measure.question,
        status=MEASURED,
        direction=measure.direction,
        value=value,
        interval=interval,
        floor=floor,
        floor_interval=reach,
        verdict=verdict,
        scale=(0.0, max(top, value, reach[1])),
        sentence=f"{said}, {WORDS[verdict]} (real beside real: {floor:.3g}; {size} synthetic records).",
        details={"rows": size},
    )
