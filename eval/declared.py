"""Tasks of declared fields: what a reference data set declares becomes something to read off its records."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from statistics import median
from typing import Any

from ..core.capabilities import ViewsOfData
from ..core.fields import Field
from ..core.modality import Modality, Record, Task, TrainingSet, View
from ..core.profile import PatientProfile, Value
from .metrics.classifier import LEAST_OF_CLASS


def views_of(modality: Modality, pairs: Sequence[tuple[TrainingSet, TrainingSet]] | None) -> list[View]:
    """The views of a modality, by its real data where it looks at these, with a task for every declared field."""
    if pairs and isinstance(modality, ViewsOfData):
        return with_declared(modality.views_of([train for train, _ in pairs]), pairs)
    return with_declared(modality.views(), pairs)


def with_declared(
    views: Sequence[View], pairs: Sequence[tuple[TrainingSet, TrainingSet]] | None
) -> list[View]:
    """The views with a task for every declared field that real rows know well enough, both train and test."""
    found: dict[str, Task] = {}
    for train, test in pairs or ():
        for field in train.vocabulary.declared:
            if field.name in train.fields and field.settled and (task := _task(field, train, test)):
                found.setdefault(field.name, task)
    return [replace(view, tasks=(*view.tasks, *_beyond(view, found.values()))) for view in views]


def _beyond(view: View, found: Iterable[Task]) -> list[Task]:
    """The tasks of fields that the view has no task of."""
    own = {task.field for task in view.tasks}
    return [task for task in found if task.field not in own]


def _task(field: Field, train: TrainingSet, test: TrainingSet) -> Task | None:
    """None if fewer than two classes have enough patients in each split."""
    classes: tuple[str, ...]
    if field.kind == "flag":
        classes, place = (f"no {field.label}", field.label), _place({False: 0, True: 1})
    elif field.kind == "category":
        classes, place = field.classes, _place({name: k for k, name in enumerate(field.classes)})
    else:
        numbers = [float(value) for p in train.profiles if (value := p.get(field.name)) is not None]
        if not numbers:
            return None
        middle = round(median(numbers), field.decimals)
        text = f"{middle:g} {field.unit}".strip()
        classes, place = (f"under {text}", f"{text} or more"), lambda value: float(float(value) >= middle)

    def label(profile: PatientProfile, record: Record) -> float:
        value = profile.get(field.name)
        return math.nan if value is None else place(value)

    nothing = Record({})
    for part in (train, test):
        of_patient = {p.patient_id: label(p, nothing) for p in part.profiles}
        counts = Counter(of_patient.values())
        if sum(counts[float(k)] >= LEAST_OF_CLASS for k in range(len(classes))) < 2:
            return None
    return Task(field.label, classes, label, field.name)


def _place(classes: Mapping[Any, int]) -> Callable[[Value], float]:
    return lambda value: float(classes.get(value, math.nan))
