"""The detailed metrics, by entry point (ours and those of other packages), and detailed_scores(), which runs them."""

import sys
from collections.abc import Iterator
from functools import cache

import numpy as np

from ...core.modality import Panel, View
from ...core.registry import sound
from ...core.types import FloatArray
from ..profile import EvaluationProfile
from ..sample import Sample
from ..score import DETAILED, Score
from . import tabular
from .metric import CATEGORIES, EVENT, FEATURES, NUMBERS, Group, Metric, compare, unmeasured


def metrics_of(table: str) -> tuple[Metric, ...]:
    """The installed metrics on one kind of table: FEATURES, CATEGORIES or the kind of a panel."""
    return tuple(metric for metric in _installed(tuple(sys.path)) if metric.table == table)


@cache
def _installed(path: tuple[str, ...]) -> tuple[Metric, ...]:
    """All of them, loaded once for each path that packages are found on."""
    found = [Metric.of(plugin) for plugin in sound("metrics").values()]
    return tuple(sorted(found, key=lambda metric: (DETAILED.index(metric.question), metric.name)))


def detailed_scores(
    view: View, synthetic: Sample, train: Sample, test: Sample, profile: EvaluationProfile, seed: int
) -> Iterator[Score]:
    """Every figure of the registry that the view's features, patients and panels allow."""
    three = synthetic, train, test
    names = tuple(map(str, test.features.columns))
    tables = [sample.features[list(names)].to_numpy(np.float64) for sample in three]
    yield from _compared(metrics_of(FEATURES), three, names, tables, profile, seed)
    known = tabular.category_names(test.profiles)
    yield from _compared(
        metrics_of(CATEGORIES),
        three,
        tuple(known),
        [tabular.categories(s.profiles, known) for s in three],
        profile,
        seed,
    )
    for panel in view.panels:
        if all(panel.name in sample.panels for sample in three):
            yield from of_panel(panel, view, three, profile, seed)
        else:  # records that are numbers alone
            yield from _without(panel, "a side was read without its records")


def of_panel(
    panel: Panel, view: View, three: tuple[Sample, Sample, Sample], profile: EvaluationProfile, seed: int
) -> Iterator[Score]:
    """The figures of one panel, on the columns that all three sides have."""
    own = [sample.panels[panel.name] for sample in three]
    names = [name for name in own[2].columns if all(name in table.columns for table in own)]
    tables = [table[names].to_numpy(np.float64) for table in own]
    classes = [_contrast(panel, view, sample) for sample in three]
    yield from _compared(
        metrics_of(panel.kind),
        three,
        tuple(map(str, names)),
        tables,
        profile,
        seed,
        classes,
        panel if _several(panel) else None,
    )


def _contrast(panel: Panel, view: View, sample: Sample) -> FloatArray | None:
    """(row,) 0 or 1 of the panel's two classes, NaN for the others."""
    if panel.contrast is None:
        return None
    name, *two = panel.contrast
    task = next(task for task in view.tasks if task.name == name)
    places = [task.classes.index(word) for word in two]
    labels = sample.labels[name]
    return np.select([labels == places[0], labels == places[1]], [0.0, 1.0], np.nan)


def _compared(
    metrics: tuple[Metric, ...],
    three: tuple[Sample, Sample, Sample],
    names: tuple[str, ...],
    tables: list[FloatArray],
    profile: EvaluationProfile,
    seed: int,
    classes: list[FloatArray | None] | None = None,
    panel: Panel | None = None,
) -> Iterator[Score]:
    groups = [
        Group(table, names, sample.patients, own)
        for table, sample, own in zip(tables, three, classes or [None] * 3, strict=True)
    ]
    for metric in metrics:
        if names:
            yield compare(metric, groups[0], groups[1], groups[2], profile, seed, panel)
        else:
            yield unmeasured(metric, "synthetic and real records share nothing of the kind", panel)


def unmeasured_scores(view: View, reason: str) -> list[Score]:
    """All of them without a figure."""
    found = [unmeasured(metric, reason) for table in (FEATURES, CATEGORIES) for metric in metrics_of(table)]
    for panel in view.panels:
        found += _without(panel, reason)
    return found


def _without(panel: Panel, reason: str) -> list[Score]:
    return [
        unmeasured(metric, reason, panel if _several(panel) else None) for metric in metrics_of(panel.kind)
    ]


def _several(panel: Panel) -> bool:
    """Whether a view may have several panels of this kind, so that a score names its panel."""
    return panel.kind in (NUMBERS, EVENT)
