"""Sample: the rows of one view, as eval's numbers see them: features, labels, whose they are."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from ..core.capabilities import real_records
from ..core.modality import Modality, Record, Rows, TrainingSet, View
from ..core.profile import PatientProfile
from ..core.types import FloatArray, IntArray

if TYPE_CHECKING:
    from pandas import DataFrame

CHUNK = 64  # records in memory at a time
PICTURED = 48  # rows kept whole, for the pictures
PATIENTS = 1000  # of a training folder's split that are read at most


@dataclass(frozen=True)
class Sample:
    """Row i of `features` and `inputs` (row, named column) belongs to patient `profiles[i]`.

    labels: task -> (row,) class index, NaN where unknown. shown: some rows whole, for pictures. panels: the
    view's closer looks by name, (row, named column) each. declared: classes of the tasks of declared fields.
    """

    features: "DataFrame"
    inputs: "DataFrame"
    profiles: tuple[PatientProfile, ...]
    labels: dict[str, FloatArray]
    shown: Rows
    panels: dict[str, "DataFrame"] = field(default_factory=dict)
    declared: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.profiles)

    @property
    def patients(self) -> IntArray:
        """(row,) a number a patient."""
        return np.unique([p.patient_id for p in self.profiles], return_inverse=True)[1].astype(np.int64)

    @property
    def patient_count(self) -> int:
        """How many different patients there are."""
        return len({p.patient_id for p in self.profiles})

    def without(self, inputs: Sequence[str]) -> "Sample":
        """The same rows without some columns of the inputs."""
        kept = [name for name in self.inputs.columns if name not in inputs]
        return replace(self, inputs=self.inputs[kept]) if inputs else self

    def take(self, rows: IntArray) -> "Sample":
        """The rows at these places, in this order."""
        return replace(
            self,
            features=self.features.iloc[rows],
            inputs=self.inputs.iloc[rows],
            profiles=tuple(self.profiles[i] for i in rows),
            labels={task: values[rows] for task, values in self.labels.items()},
            panels={name: table.iloc[rows] for name, table in self.panels.items()},
        )


@dataclass(frozen=True)
class Comparison:
    """One view's rows: synthetic, real training, real test; None where there are none.

    unattacked: why attacks make no sense on these rows, where that is known beforehand.
    """

    view: View
    synthetic: Sample | None
    train: Sample | None = None
    test: Sample | None = None
    unattacked: str = ""

    @property
    def groups(self) -> tuple[Sample, ...]:
        """The sides that there are."""
        return tuple(side for side in (self.synthetic, self.train, self.test) if side is not None)

    def known(self) -> "Comparison | None":
        """With the tasks that a record of either side has a label for; None where neither side has a record."""
        if not self.groups:
            return None
        asked = {panel.contrast[0] for panel in self.view.panels if panel.contrast}
        tasks = tuple(
            task for task in self.view.tasks
            if task.name in asked or any(np.isfinite(side.labels[task.name]).any() for side in self.groups)
        )  # fmt: skip
        return replace(self, view=replace(self.view, tasks=tasks))


def collect(views: Sequence[View], pairs: Iterable[tuple[PatientProfile, Record]]) -> list[Sample | None]:
    """One Sample a view from a single pass over the records; None for a view that no record serves."""
    import pandas as pd

    parts: list[list[Sample]] = [[] for _ in views]
    waiting = iter(pairs)
    while chunk := list(islice(waiting, CHUNK)):
        for view, own in zip(views, parts, strict=True):
            rows = [pair for pair in chunk if view.needs in pair[1].arrays]
            if rows:
                own.append(_sample(view, rows, PICTURED - sum(len(part.shown) for part in own)))
    return [
        Sample(
            features=pd.concat([p.features for p in own], ignore_index=True, join="inner"),
            inputs=pd.concat([p.inputs for p in own], ignore_index=True, join="inner"),
            profiles=tuple(profile for p in own for profile in p.profiles),
            labels={t.name: np.concatenate([p.labels[t.name] for p in own]) for t in view.tasks},
            shown=[pair for p in own for pair in p.shown],
            panels={
                panel.name: pd.concat([p.panels[panel.name] for p in own], ignore_index=True)
                for panel in view.panels
            },
            declared=own[0].declared,
        )
        if own
        else None
        for view, own in zip(views, parts, strict=True)
    ]


def _sample(view: View, rows: Rows, keep: int) -> Sample:
    records = [record for _, record in rows]
    features = view.features(records)
    return Sample(
        features=features,
        inputs=features if view.inputs is None else view.inputs(records),
        profiles=tuple(profile for profile, _ in rows),
        labels={t.name: np.array([t.label(*row) for row in rows], dtype=np.float64) for t in view.tasks},
        shown=list(rows[: max(0, keep)]),
        panels={panel.name: panel.rows(records) for panel in view.panels},
        declared={task.name: task.classes for task in view.tasks if task.field},
    )


def real_rows(
    modality: Modality, sets: Sequence[TrainingSet], seed: int, most: int = PATIENTS
) -> Iterator[tuple[PatientProfile, Record]]:
    """Real rows of these sets, in random order; at most `most` patients of each are read."""
    for part in sets:
        rng = np.random.default_rng(seed)
        ids = sorted({profile.patient_id for profile in part.profiles})
        chosen = {ids[i] for i in rng.permutation(len(ids))[:most]}
        rows = [i for i in rng.permutation(len(part)) if part.profiles[i].patient_id in chosen]
        for profile, record in real_records(modality, part.at(rows)):
            yield profile.but(patient_id=f"{part.source.name}/{profile.patient_id}"), record


def one_each(patients: IntArray, size: int, rng: np.random.Generator) -> IntArray:
    """Places of one random row each of `size` different random patients (of all, if they are fewer)."""
    order = rng.permutation(len(patients))
    _, first = np.unique(patients[order], return_index=True)
    return rng.permutation(order[first])[:size]


def resample(patients: IntArray, rng: np.random.Generator) -> IntArray:
    """Places of all rows of patients drawn with replacement: one bootstrap draw of patients."""
    order = np.argsort(patients, kind="stable")
    rows = np.bincount(patients)
    starts = np.cumsum(rows) - rows
    drawn = rng.integers(len(rows), size=len(rows))
    many = rows[drawn]
    first = np.cumsum(many) - many  # of each patient drawn, among all places given
    return order[np.repeat(starts[drawn] - first, many) + np.arange(many.sum())]
