"""Classes: the groups that samples fall into, as one field of the profile names them (PAM50, lineage, stage)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...core.condition import field_of
from ...core.errors import InputError
from ...core.fields import Field
from ...core.modality import Facts, TrainingSet
from ...core.profile import PatientProfile, Value
from ...core.remarks import remark
from ...core.types import Float32Array, IntArray

SUBTYPES = ("LumA", "LumB", "Basal", "Her2", "Normal")
NONE = "none"  # in options: the samples are of one class
BREAST = "C50"  # ICD-10-CM: what PAM50, the receptor genes and the breast modules are of


@dataclass(frozen=True)
class Classes:
    """The classes that one field gives samples: each has a mean and a covariance in the models.

    Without a field all samples are of one class. A flag has two classes, absent and present. `stated`: whether a
    drawn record says its class.
    """

    field: str
    names: tuple[str, ...]
    label: str = ""
    flag: bool = False
    stated: bool = True

    def __len__(self) -> int:
        return len(self.names)

    @classmethod
    def of(cls, field: Field) -> "Classes":
        """Those of a flag or a category."""
        flag = field.kind == "flag"
        names = (f"no {field.label}", field.label) if flag else field.classes
        return cls(field.name, names, field.label, flag)

    @classmethod
    def of_card(cls, model: Mapping[str, Any], columns: Sequence[str]) -> "Classes":
        """Those of trained weights. Cards of version 0.1 do not say: theirs are the PAM50 subtypes."""
        if (found := model.get("classes")) is None:
            return cls("pam50", SUBTYPES, PAM50.label, stated="pam50?" in columns)
        return cls(found["field"], tuple(found["names"]), found["label"], found["flag"])

    def for_card(self) -> dict[str, Any]:
        """Inverse of of_card, in plain types."""
        return {"field": self.field, "names": list(self.names), "label": self.label, "flag": self.flag}

    def place(self, profile: PatientProfile) -> int:
        """The class of a patient, -1 where it is unknown."""
        return self.place_of(profile.get(self.field)) if self.field else 0

    def place_of(self, value: Value | None) -> int:
        """The class that a value of the field stands for, -1 for an unknown one."""
        if self.flag:
            return -1 if value is None else int(bool(value))
        return self.names.index(value) if value in self.names else -1

    def places(self, code: Float32Array, columns: Sequence[str]) -> IntArray:
        """(row,) class of encoded profiles, -1 where it is unknown."""
        rows = len(code)
        if not self.field:
            return np.zeros(rows, dtype=np.int64)
        wanted = [self.field] if self.flag else [f"{self.field}={name}" for name in self.names]
        if not set(wanted) <= set(columns):
            return np.full(rows, -1)
        found = code[:, [columns.index(name) for name in wanted]]
        if self.flag:
            return np.where(found[:, 0] == 0, -1, (found[:, 0] > 0).astype(np.int64))
        return np.where(found.any(1), found.argmax(1), -1)

    def encoded(self, place: int) -> dict[str, float]:
        """Column of the code -> its value in that class."""
        if not self.field:
            return {}
        value = (self.field, 2.0 * place - 1) if self.flag else (f"{self.field}={self.names[place]}", 1.0)
        return dict([value, (f"{self.field}?", 1.0)])

    def facts(self, place: int) -> dict[str, Any]:
        """What a record states of its class."""
        if not self.field:
            return {}
        if not self.stated or place < 0:
            return {self.field: None}
        return {self.field: bool(place) if self.flag else self.names[place]}

    def covariates(self, columns: Sequence[str]) -> list[int]:
        """Places of the covariates of a linear model: numbers, conditions and categories except the classes.

        Waves and masks are left to networks.
        """
        return [
            i
            for i, column in enumerate(columns)
            if field_of(column) != self.field and "~" not in column and not column.endswith("?")
        ]


PAM50 = Classes("pam50", SUBTYPES, "the PAM50 subtype")
ALL = Classes("", ("all",))


def classes_of(data: Sequence[TrainingSet], wanted: str | None) -> Classes:
    """The classes of training folders: those of the field that is wanted, else PAM50, else of a declared category.

    The declared category is the first that the folder names. Raises InputError: a field that no set maps, or that
    is a number.
    """
    known = {field: part.vocabulary for part in data for field in part.fields}
    if wanted is None:
        declared = [
            field.name
            for part in data
            for field in part.vocabulary.declared
            if field.kind == "category" and field.settled and field.name in part.fields
        ]
        if "pam50" in known:
            return PAM50
        if not declared:
            return ALL
        wanted = declared[0]
        remark(
            f"omics: the classes of the samples are those of {wanted}; options.classes names another field, or none"
        )
    if wanted == NONE:
        return ALL
    if wanted == PAM50.field and wanted in known:
        return PAM50
    if wanted not in known:
        raise InputError(
            f"options.classes: no data set maps {wanted!r}; expected one of: {', '.join(known) or 'none'}, or {NONE}"
        )
    field = known[wanted].field(wanted)
    if field.kind == "number":
        raise InputError(f"options.classes: {wanted} is a number; expected a category or a flag, or {NONE}")
    return Classes.of(field)


def of_breast(classes: Classes, tumour: str | None) -> bool:
    """Whether samples are of breast cancer: by the code that the folder states, else by their classes."""
    return tumour.startswith(BREAST) if tumour else classes.field == PAM50.field


def drawn(facts: Facts, others: Sequence[str]) -> dict[str, Any]:
    """The fields of the profile among a record's facts: those that are not `others`, and known."""
    return {name: value for name, value in facts.items() if name not in others and value is not None}
