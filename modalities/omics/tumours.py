"""Tumours: the data of a training folder about each sample (a tumour, blood, tissue), as the models take them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ...core.condition import columns_of, select
from ...core.errors import InputError
from ...core.modality import Conditioner, DatasetSource, TrainingSet
from ...core.profile import PatientProfile
from ...core.types import Float32Array, IntArray
from .classes import PAM50, Classes, classes_of, of_breast
from .data import options_of, read_assays, read_survival
from .followup import FollowUp


@dataclass(frozen=True)
class Layout:
    """Which features each assay has, one assay after the other along the feature axis."""

    symbols: Mapping[str, tuple[str, ...]]

    @property
    def features(self) -> int:
        """Of all assays."""
        return sum(map(len, self.symbols.values()))

    def slices(self) -> dict[str, slice]:
        """The place of each assay."""
        sizes = [len(features) for features in self.symbols.values()]
        ends = zip(self.symbols, sizes, np.cumsum(sizes).tolist(), strict=True)
        return {name: slice(end - size, end) for name, size, end in ends}


@dataclass(frozen=True)
class Tumours:
    """values (patient, feature) float32, NaN where an assay is missing; code (patient, column) of `columns`.

    profiles: of the same patients; followed: their survival, None if no set has it. classes: what the samples fall
    into; tumour: ICD-10-CM code of what they are of; indicated: fields of which a patient must have one to have such
    a sample; kinds: what the values of each assay were.
    """

    values: Float32Array
    layout: Layout
    code: Float32Array
    columns: tuple[str, ...]
    patients: tuple[str, ...]
    source: DatasetSource
    profiles: tuple[PatientProfile, ...] = ()
    followed: FollowUp | None = None
    classes: Classes = PAM50
    tumour: str | None = None
    indicated: tuple[str, ...] = ()
    kinds: Mapping[str, str] = field(default_factory=dict)

    @property
    def subtype(self) -> IntArray:
        """(patient,) the class of the sample, -1 where it is unknown."""
        return self.classes.places(self.code, self.columns)

    @property
    def linear(self) -> list[int]:
        """Places of the columns that are covariates of a linear model."""
        return self.classes.covariates(self.columns)

    @property
    def breast(self) -> bool:
        """Whether the samples are of breast cancer."""
        return of_breast(self.classes, self.tumour)


def read_tumours(
    data: Sequence[TrainingSet],
    conditioner: Conditioner,
    wanted: Sequence[str] | None,
    steer: Sequence[str] = (),
) -> Tumours:
    """All rows of the sets. `wanted` names the assays to learn, `steer` the fields of the code; default: all.

    Raises InputError: what read_assays and read_survival refuse; an assay or field that no set has; an assay
    whose features differ between sets; a patient with several samples.
    """
    options = [options_of(part) for part in data]
    classes = classes_of(data, next((own.classes for own in options if own.classes), None))
    read = [read_assays(part) for part in data]
    found = list(dict.fromkeys(name for assays in read for name in assays))
    names = list(wanted) if wanted else found
    if absent := [name for name in names if name not in found]:
        raise InputError(f"model.assays: no data set has {absent[0]!r}; expected some of: {', '.join(found)}")
    fields = list(dict.fromkeys(name for part in data for name in part.fields))
    if absent := [name for name in steer if name not in fields]:
        raise InputError(
            f"model.steer: no data set maps {absent[0]!r}; expected some of: {', '.join(fields)}"
        )
    symbols: dict[str, tuple[str, ...]] = {}
    for part, assays in zip(data, read, strict=True):
        for name in names:
            if name in assays:
                features = tuple(map(str, assays[name].symbols))
                if symbols.setdefault(name, features) != features:
                    raise InputError(f"{part.source.name}: the features of {name} differ from the set before")
    indicated = tuple(dict.fromkeys(name for own in options for name in own.indicated))
    for name in indicated:
        data[0].vocabulary.field(name, f"{data[0].source.name}: options.indicated")
    layout = Layout(symbols)
    values = np.full((sum(map(len, data)), layout.features), np.nan, np.float32)
    end = 0
    for part, assays in zip(data, read, strict=True):
        start, end = end, end + len(part)
        for name in symbols.keys() & assays.keys():
            values[start:end, layout.slices()[name]] = assays[name].values
    profiles = [profile for part in data for profile in part.profiles]
    patients = tuple(profile.patient_id for profile in profiles)
    if len(set(patients)) < len(patients):
        twice = next(p for i, p in enumerate(patients) if p in patients[:i])
        raise InputError(f"patient {twice!r} has several samples; expected one sample a patient")
    kept = np.asarray(~np.isnan(values).all(1))
    # a code holds the class, whatever else steers
    columns = columns_of(
        conditioner.columns, [*steer, *([classes.field] if classes.field else [])] if steer else fields
    )
    code = select(conditioner.encode(profiles), conditioner.columns, columns)
    followed = _followed(data)
    return Tumours(
        values[kept],
        layout,
        code[kept],
        tuple(columns),
        tuple(p for p, k in zip(patients, kept, strict=True) if k),
        data[0].source,
        tuple(p for p, k in zip(profiles, kept, strict=True) if k),
        followed and FollowUp(followed.months[kept], followed.event[kept]),
        classes,
        next((own.tumour for own in options if own.tumour), None),
        indicated,
        {name: assays[name].kind for assays in reversed(read) for name in assays if name in symbols},
    )


def _followed(data: Sequence[TrainingSet]) -> FollowUp | None:
    """Follow-up of all rows; unknown in sets without it, None if no set has it."""
    parts = [read_survival(part) for part in data]
    if not any(parts):
        return None
    unknown = [np.full(len(part), np.nan) for part in data]
    known = [part or FollowUp(nobody, nobody) for part, nobody in zip(parts, unknown, strict=True)]
    return FollowUp(np.concatenate([k.months for k in known]), np.concatenate([k.event for k in known]))
