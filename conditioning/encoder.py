"""ProfileEncoder: profiles to one fixed code, with a mask a field, the same for every modality."""

from collections.abc import Sequence

import numpy as np

from ..core.fields import FIELDS, Field
from ..core.profile import PatientProfile
from ..core.types import Float32Array

NUMBER_WAVES = 2  # sine and cosine of half and whole turns over the public range


def _columns(field: Field) -> list[str]:
    if field.kind == "category":
        columns = [f"{field.name}={choice}" for choice in field.choices]
    elif field.kind == "number":
        columns = [field.name] + [f"{field.name}~{wave}{k}" for k in (1, 2) for wave in ("sin", "cos")]
    else:
        columns = [field.name]
    return [*columns, f"{field.name}?"]


class ProfileEncoder:
    """The Conditioner: a fixed map, public and free of any budget, so nothing is learnt from data here.

    A number is its place in the public range, scaled to [-1, 1], followed by sine and cosine of it; a
    category is one-hot; a condition is 1 present, -1 absent. `<field>?` is 1 where the field is known;
    all columns of an unknown field are 0.
    """

    def __init__(self, fields: Sequence[Field] = FIELDS) -> None:
        self.fields = tuple(fields)
        self._columns = tuple(column for field in self.fields for column in _columns(field))

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the code's columns."""
        return self._columns

    def encode(self, profiles: Sequence[PatientProfile]) -> Float32Array:
        """(patient, column) float32."""
        rows = [[x for field in self.fields for x in self._code(field, p)] for p in profiles]
        return np.asarray(rows, dtype=np.float32).reshape(len(profiles), len(self._columns))

    @staticmethod
    def _code(field: Field, profile: PatientProfile) -> list[float]:
        value = profile.get(field.name)
        width = len(_columns(field))
        if value is None:
            return [0.0] * width
        if field.kind == "category":
            return [float(value == choice) for choice in field.choices] + [1.0]
        if field.kind == "condition":
            return [1.0 if value else -1.0, 1.0]
        x = 2 * (float(value) - field.low) / (field.high - field.low) - 1
        waves = [f(np.pi * k * x) for k in range(1, NUMBER_WAVES + 1) for f in (np.sin, np.cos)]
        return [x, *(float(w) for w in waves), 1.0]
