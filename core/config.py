"""YAML to typed settings; an unknown key is an error that names the nearest known one."""

import json
import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic.fields import FieldInfo

from .errors import InputError
from .remarks import remark
from .wrong_settings import place, plainly
from .yaml_file import read_yaml as read_yaml

MOST_LABELS = 32  # of masks: each is a channel of the model
LARGEST = 1e12  # no setting in any unit is larger
INTEGERS = 2**63 - 1
NAMES = re.compile(r"\s*[\w.-]+(\s*,\s*[\w.-]+)*\s*")  # with commas between
SIGNED = frozenset(
    (
        "seed",
        "mean",
        "low",
        "high",
        "offset",
        "center",
        "above",
        "after",
        "over",
        "under",
        "ppm",
        "jump",
        "per_decade",
        "men",
        "women",
        "lead",
        "within",
        "range",
        "omop",
        "percentiles",
        "bins",
        "scales",
        "effect",
        "given",
        "shape",
        "shape_given",
        "table",
        "constants",
        "values",
        "figures",
        "hounsfield",
        "usual",
        "normal",
    )
)  # names of settings that may be negative
FROM_ZERO = frozenset(("steps", "components"))  # whole numbers that may be 0 for a part that is left out
POSITIVE = frozenset(
    (
        "scale",
        "learning_rate",
        "prior_rate",
        "max_grad_norm",
        "step_hours",
        "seconds",
        "extent_mm",
        "fine",
        "daily",
    )
)  # and of those, no whole numbers, that must be more than 0


class Settings(BaseModel):
    """Base of all settings: frozen, and strict about keys. `renamed`: what keys of earlier versions are called now.

    Numbers are finite, and bounded: at most LARGEST, or INTEGERS where whole; not negative unless SIGNED names them;
    more than 0 where POSITIVE does, or where they are whole and their default is, but for FROM_ZERO. The same holds
    for numbers in lists and mappings. A field's own bounds come first.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    renamed: ClassVar[Mapping[str, str]] = {}

    @model_validator(mode="before")
    @classmethod
    def _by_their_present_names(cls, values: Any) -> Any:
        """Keys of earlier versions are read under their present names, which is remarked."""
        if not isinstance(values, dict):
            return values
        for old, now in cls.renamed.items():
            if old in values and now not in values:
                remark(f"the setting {old!r} is called {now!r} now")
                values = {now if key == old else key: value for key, value in values.items()}
        return values

    @model_validator(mode="before")
    @classmethod
    def _no_truth_for_a_number(cls, values: Any) -> Any:
        """`true` is no number: pydantic would take it for 1."""
        for name, field in cls.model_fields.items() if isinstance(values, dict) else ():
            kinds = _kinds(field.annotation)
            if kinds & {int, float} and not kinds & {bool, Any} and _has_truth(values.get(name)):
                raise ValueError(f"{name}: expected a number, got {str(values[name]).lower()}")
        return values

    @model_validator(mode="before")
    @classmethod
    def _one_name_for_a_list(cls, values: Any) -> Any:
        """One text where a list of them is set is a list of one: `formats: edf`. Names may have commas between."""
        if not isinstance(values, dict):
            return values
        texts = {name for name, field in cls.model_fields.items() if _is_texts(field.annotation)}
        alone = {
            key: value for key, value in values.items() if key in texts and isinstance(value, str) and value
        }
        return {**values, **{key: _listed(value) for key, value in alone.items()}}

    @model_validator(mode="after")
    def _bounded(self) -> "Settings":
        """Every number that is set lies within the bounds of its name."""
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            for number in _numbers(value):
                most = INTEGERS if isinstance(number, int) else LARGEST
                if abs(number) > most:
                    raise ValueError(f"{name}: expected a number of at most {most:g}, got {_digits(number)}")
                if _has_low(field) or not _kinds(field.annotation) & {int, float}:
                    continue  # of what a class does not know, as the shape of a model, it knows no signs
                if (name in POSITIVE and number <= 0) or (
                    isinstance(number, int) and number < 1 and _counts(name, field)
                ):
                    raise ValueError(f"{name}: expected a number above 0, got {number}")
                if name not in SIGNED and number < 0:
                    raise ValueError(f"{name}: expected a number from 0 on, got {number}")
        return self


def _numbers(value: Any) -> Iterator[int | float]:
    """The numbers of a setting, also those in lists and mappings."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        yield value
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _numbers(part)
    elif isinstance(value, dict):
        yield from _numbers(list(value.values()))


def _listed(text: str) -> list[str]:
    """Names between commas, or the one text: a sentence or an expression keeps its commas."""
    return [part.strip() for part in text.split(",")] if NAMES.fullmatch(text) else [text]


def _is_texts(annotation: Any) -> bool:
    """Whether a setting is a list of texts."""
    parts = [part for part in get_args(annotation) if part is not Ellipsis]
    return get_origin(annotation) in (list, tuple) and parts == [str]


def _kinds(annotation: Any) -> set[Any]:
    """The plain types that an annotation names, also within lists and mappings."""
    parts = getattr(annotation, "__args__", ())
    return set().union(*map(_kinds, parts)) if parts else {annotation}


def _has_truth(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return any(map(_has_truth, value))
    return any(map(_has_truth, value.values())) if isinstance(value, dict) else isinstance(value, bool)


def _counts(name: str, field: FieldInfo) -> bool:
    """Whether a setting's whole numbers count something that is there: those of its default do."""
    usual = list(_numbers(field.default))
    return (
        bool(usual)
        and all(isinstance(number, int) and number > 0 for number in usual)
        and name not in SIGNED | FROM_ZERO
    )


def _has_low(field: FieldInfo) -> bool:
    return any(hasattr(part, "ge") or hasattr(part, "gt") for part in field.metadata)


def _digits(number: float) -> str:
    text = (
        str(number)
        if abs(number) < 10**100
        else f"{number:.3g}"
        if isinstance(number, float)
        else "a longer one"
    )
    return text


class FieldMap(Settings):
    """How one column of a table gives one profile field.

    `values` translates words (to null: that word says nothing); `scale` multiplies numbers into the
    vocabulary's unit; `pattern` makes a condition of a text column (present where the regular expression is
    found); `above` makes one of a number column.
    """

    column: str
    values: dict[str, str | float | bool | None] | None = None
    scale: float = 1.0
    pattern: str | None = None
    above: float | None = None

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str | None) -> str | None:
        try:
            re.compile(pattern or "")
        except re.error as error:
            raise ValueError(f"expected a regular expression, got {pattern!r} ({error})") from None
        return pattern


class MaskLabel(Settings):
    """What a value of masks means: a name, and its SNOMED CT code where one is known."""

    label: str = Field(pattern=r"^[^\\\x00-\x1f\x7f]{1,64}$")
    codes: dict[Literal["snomed"], str] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, given: Any) -> Any:
        return {"label": given} if isinstance(given, str) else given


class DatasetConfig(Settings):
    """A dataset.yaml: what the files of a training folder are and what its table's columns mean.

    `dicom` is a pattern of DICOM files whose tags say who the patients are, so that a table is not needed;
    `keep` chooses among them by tag. `test_share` is the share of patients held out where no split is given.
    `groups` names columns of the table that tell a patient's origin: evaluate shows errors by them; not learnt.
    `population` is the name under which a ledger books these people; `name` if it is not said.
    `declare` adds fields to the vocabulary (core.fields.Declaration); one that `fields` and `constants` do not
    mention is read from the column of its name.
    `mask` says where the mask of each image is: a column of the table; a path made of the image's (`{folder}`,
    `{stem}`, `{name}`); or, with `dicom`, a pattern (`*`) of DICOM segmentations, which name their images.
    `mask_labels` names the values of masks; 0 is the background.
    """

    name: str = ""
    population: str = ""
    licence: str = "not stated"
    citation: str = ""
    path: str = "."
    table: str | None = "patients.csv"
    record: str = "record"
    patient_id: str = "patient_id"
    split: str | None = "split"
    train: str = "train"
    test: str = "test"
    test_share: float | None = Field(default=None, ge=0, lt=1)
    dicom: str | None = None
    keep: dict[str, str | list[str]] = Field(default_factory=dict)
    fields: dict[str, FieldMap] = Field(default_factory=dict)
    declare: dict[str, dict[str, Any]] = Field(default_factory=dict)
    groups: dict[Literal["race", "ethnicity"], str] = Field(default_factory=dict)
    constants: dict[str, str | float | bool] = Field(default_factory=dict)
    mask: str | None = None
    mask_labels: dict[int, MaskLabel] = Field(default_factory=dict)
    options: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _masks_are_named(self) -> "DatasetConfig":
        if (self.mask is None) != (not self.mask_labels):
            raise ValueError("give mask and mask_labels together, such as mask_labels: {1: lung}")
        values, names = list(self.mask_labels), [one.label.casefold() for one in self.mask_labels.values()]
        if any(not 0 < value < 1 << 16 for value in values) or len(values) > MOST_LABELS:
            raise ValueError(
                f"mask_labels: expected at most {MOST_LABELS} values from 1 to 65535 (0 is the background)"
            )
        if len(set(names)) < len(names):
            raise ValueError("mask_labels: two values have one name; expected a name for each")
        return self

    @model_validator(mode="before")
    @classmethod
    def _dicom_needs_no_table(cls, values: Any) -> Any:
        return {"table": None, **values} if isinstance(values, dict) and values.get("dicom") else values

    @model_validator(mode="before")
    @classmethod
    def _declared_have_a_column(cls, values: Any) -> Any:
        if not (isinstance(values, dict) and isinstance(declare := values.get("declare"), dict)):
            return values
        fields, constants = (values.get(key) or {} for key in ("fields", "constants"))
        if not isinstance(fields, dict) or not isinstance(constants, dict):
            return values
        return {**values, "fields": {**{n: {"column": n} for n in declare if n not in constants}, **fields}}


class TrainConfig(Settings):
    """A training: on which sets, which model, for how long. `model` belongs to the modality."""

    modality: str
    name: str
    datasets: list[DatasetConfig] = Field(default_factory=list)
    model: dict[str, Any] = Field(default_factory=dict)
    seed: int = 0


S = TypeVar("S", bound=Settings)


def parse(model: type[S], values: Any, where: str) -> S:
    """Typed settings from plain values. Raises InputError: file, key, what was expected, what came."""
    if not isinstance(values, dict):
        raise InputError(f"{where}: expected a mapping of settings, got {type(values).__name__}")
    try:
        return model.model_validate(values)
    except ValidationError as error:
        # a key that nobody knows explains one that is missing
        first = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
        key = place(first)
        if first["type"] == "extra_forbidden":
            owner = _model_at(model, first["loc"][:-1])
            near = get_close_matches(str(first["loc"][-1]), owner.model_fields, n=1, cutoff=0.0)
            raise InputError(
                f"{where}: unknown key {key!r}; the nearest known one is {near[0]!r}; known: "
                + ", ".join(owner.model_fields)
            ) from None
        if not key and first["type"] == "value_error":  # of the whole, whose values nobody wants to read
            raise InputError(f"{where}: {first['ctx']['error']}") from None
        said = str(first["ctx"]["error"]) if first["type"] == "value_error" else plainly(first)
        got = "none" if first["type"] == "missing" else repr(first["input"])
        got = "" if ", got " in said else f", got {got}"
        raise InputError(f"{where}: {key or 'settings'}: {said}{got}") from None


def _model_at(model: type[BaseModel], loc: tuple[int | str, ...]) -> type[BaseModel]:
    """The settings class that owns a nested key, found through its annotations."""
    for part in loc:
        if isinstance(part, int) or part not in model.model_fields:
            continue
        todo: list[Any] = [model.model_fields[part].annotation]
        while todo:
            kind = todo.pop()
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                model = kind
                break
            todo += getattr(kind, "__args__", ())
    return model


def read_json(text: str | bytes) -> Any:
    """Plain values of JSON text. Raises ValueError, also where it is nested too deeply."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def shipped() -> Path:
    """The folder of the settings that ship."""
    return Path(str(files("polyclinic.configs")))


def load(model: type[S], name: str, kind: str) -> tuple[S, Path]:
    """Settings by shipped name (`cardio_oncology`) or by path; the file they came from.

    kind is the folder of the shipped ones: cohort, train. Raises InputError.
    """
    folder = shipped() / kind
    path = Path(name)
    if path.suffix not in (".yaml", ".yml") and not path.is_file():  # a folder `icu` does not hide the name
        path = folder / f"{name}.yaml"
        if not path.exists():
            known = ", ".join(sorted(p.stem for p in folder.glob("*.yaml")))
            raise InputError(f"no {kind} named {name!r}; expected one of {known}, or the path of a YAML file")
    return parse(model, read_yaml(path), str(path)), path
