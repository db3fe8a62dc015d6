"""ProfileEncoder: profiles to one fixed code, with a mask a field, the same for every modality."""

from collections.abc import Iterable, Sequence

import numpy as np

from ..core.fields import BY_NAME, FIELDS, Field, Vocabulary
from ..core.profile import PatientProfile
from ..core.training.weights import find, read_card
from ..core.types import Float32Array

NUMBER_WAVES = 2  # sine and cosine of half and whole turns over the public range


def _columns(field: Field) -> list[str]:
    """A number with another range than the shipped field of its name carries that range in its columns."""
    mask = f"{field.name}?"
    if field.kind == "category":
        return [*(f"{field.name}={name}" for name in field.classes), mask]
    if field.kind == "flag":
        return [field.name, mask]
    shipped = BY_NAME.get(field.name)
    plain = shipped is not None and (shipped.low, shipped.high) == (field.low, field.high)
    name = field.name if plain else f"{field.name}[{field.low:g},{field.high:g}]"
    return [name, *(f"{name}~{wave}{k}" for k in range(1, NUMBER_WAVES + 1) for wave in ("sin", "cos")), mask]


class ProfileEncoder:
    """The Conditioner: a fixed map, public and free of any budget, so nothing is learnt from data here.

    A number is its place in the public range, scaled to [-1, 1], followed by sine and cosine of it; a
    category is one-hot; a flag is 1 present, -1 absent. `<field>?` is 1 where the field is known;
    all columns of an unknown field are 0. `declared` are the fields that profiles may know beyond those that ship, for
    the modalities' files. `fields` may hold a field twice, with other ranges or classes: a
    column that is there already is not made again.
    """

    def __init__(self, fields: Iterable[Field] = FIELDS, declared: tuple[Field, ...] = ()) -> None:
        self._fields: list[tuple[Field, list[int]]] = []  # and which of its columns are new
        places: dict[str, int] = {}
        for field in (field for field in fields if field.settled):
            new = [k for k, column in enumerate(_columns(field)) if column not in places]
            if new:
                self._fields.append((field, new))
                places |= {_columns(field)[k]: len(places) + i for i, k in enumerate(new)}
        self._names = tuple(places)
        self.declared = declared

    @classmethod
    def of(cls, vocabulary: Vocabulary, weights: Iterable[str] = ()) -> "ProfileEncoder":
        """The encoder of a vocabulary, and of what these weights declare that they were trained with."""
        cards = [read_card(find(name)) for name in dict.fromkeys(weights)]
        trained = [field for card in cards for field in card.declared_fields]
        return cls([*FIELDS, *vocabulary.fields, *trained], vocabulary.declared)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the code's columns."""
        return self._names

    def encode(self, profiles: Sequence[PatientProfile]) -> Float32Array:
        """(patient, column) float32."""
        rows = [
            [c[k] for field, new in self._fields for c in [_code(field, p)] for k in new] for p in profiles
        ]
        return np.asarray(rows, dtype=np.float32).reshape(len(profiles), len(self._names))


def _code(field: Field, profile: PatientProfile) -> list[float]:
    value = profile.get(field.name)
    if value is None:
        return [0.0] * len(_columns(field))
    if field.kind == "category":
        return [float(value == name) for name in field.classes] + [1.0]
    if field.kind == "flag":
        return [1.0 if value else -1.0, 1.0]
    x = 2 * (min(max(float(value), field.low), field.high) - field.low) / (field.high - field.low) - 1
    waves = [f(np.pi * k * x) for k in range(1, NUMBER_WAVES + 1) for f in (np.sin, np.cos)]
    return [x, *(float(w) for w in waves), 1.0]
