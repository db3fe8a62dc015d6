"""The registry of profile fields: kind, label, codes, unit, classes and public range. Anyone declares more."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, model_validator
from pydantic import Field as Setting

from .config import Settings, parse, read_yaml, shipped
from .errors import InputError
from .profile import PatientProfile, Value

LOINC = "http://loinc.org"
SNOMED = "http://snomed.info/sct"
ICD10 = "http://hl7.org/fhir/sid/icd-10-cm"
SYSTEMS = {"icd10cm": ICD10, "snomed": SNOMED, "loinc": LOINC}  # by the name that a declaration uses
OWN = ("age", "sex", "height", "weight")  # fields that a profile has as attributes
RESERVED = (
    "patient_id", "index_date", "conditions", "measurements", "traits", "severity", "bmi", "part", "file",
)  # fmt: skip
TRUTH = {
    "true": True,
    "yes": True,
    "1": True,
    "1.0": True,
    "false": False,
    "no": False,
    "0": False,
    "0.0": False,
}
_ICD10CM = r"[A-Z]\d[0-9A-Z](\.[0-9A-Z]{1,4})?"
_FORMS = {"icd10cm": _ICD10CM, "snomed": r"\d{6,18}", "loinc": r"\d{1,7}-\d"}
_NAME = r"[A-Za-z][A-Za-z0-9_.-]{0,63}"


def class_of(value: Any) -> str:
    """The name of a category's class: text as it is, a number without idle zeros (0.0 is `0`)."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = str(value).strip()
    if not re.fullmatch(r"-?(0|[1-9]\d{0,14})(\.\d+)?", text):
        return text
    number = float(text)
    return str(int(number)) if number.is_integer() else repr(number)


Text = Annotated[str, BeforeValidator(lambda value: str(value) if isinstance(value, int | float) else value)]
ClassName = Annotated[str, BeforeValidator(class_of)]


class Declaration(Settings):
    """A field as YAML declares it: `{kind: flag, label: Melanoma, codes: {icd10cm: C43.9}}`.

    Classes of a category and the range of a number are public knowledge where they are stated; left out, they
    are learnt from public data. `sex` says that only women (F) or men (M) can have a flag.
    """

    kind: Literal["flag", "category", "number"]
    label: str = ""
    codes: dict[Literal["icd10cm", "snomed", "loinc"], Text] = Setting(default_factory=dict)
    classes: list[ClassName] | None = Setting(default=None, min_length=2, max_length=1000)
    unit: str = ""
    range: tuple[float, float] | None = None
    decimals: int | None = Setting(default=None, ge=0, le=6)
    sex: Literal["F", "M"] | None = None

    @model_validator(mode="after")
    def _possible(self) -> "Declaration":
        belongs = {
            "classes": "category",
            "unit": "number",
            "range": "number",
            "decimals": "number",
            "sex": "flag",
        }
        for key, kind in belongs.items():
            if getattr(self, key) not in (None, "") and self.kind != kind:
                raise ValueError(f"{key} belongs to a {kind}, this is a {self.kind}")
        if self.classes is not None and ("" in self.classes or len(set(self.classes)) < len(self.classes)):
            raise ValueError("a class is empty or listed twice")
        if self.range is not None and not -1e12 <= self.range[0] < self.range[1] <= 1e12:
            raise ValueError("range must be [low, high], low below high")
        for system, code in self.codes.items():
            if not re.fullmatch(_FORMS[system], code):
                raise ValueError(f"codes.{system}: {code!r} does not have the form of such a code")
        return self


@dataclass(frozen=True)
class Field:
    """One thing that may be known of a patient.

    Numbers lie in [low, high] of their UCUM unit (NaN where the range is yet to be learnt). Categories are one
    of `classes` (empty where they are yet to be learnt). Flags are present or absent. `declared` tells a field
    that somebody added from one of the shipped vocabulary.
    """

    name: str
    label: str
    kind: Literal["flag", "category", "number"]
    codes: Mapping[str, str] = field(default_factory=dict)
    unit: str = ""
    low: float = math.nan
    high: float = math.nan
    decimals: int = 0
    classes: tuple[str, ...] = ()
    sex: str | None = None
    declared: bool = False

    @classmethod
    def of(cls, name: str, declaration: Declaration, declared: bool = True) -> "Field":
        """The field that a declaration describes."""
        codes: dict[str, str] = {str(system): code for system, code in declaration.codes.items()}
        if declaration.kind == "flag" and re.fullmatch(_ICD10CM, name):
            codes.setdefault("icd10cm", name)
        low, high = declaration.range or (math.nan, math.nan)
        decimals = declaration.decimals
        if decimals is None:
            decimals = 0 if math.isnan(low) else _decimals(high - low)
        return cls(
            name, declaration.label or name, declaration.kind, codes, declaration.unit, low, high, decimals,
            tuple(declaration.classes or ()), declaration.sex, declared,
        )  # fmt: skip

    def declaration(self) -> dict[str, Any]:
        """The declaration as plain types, as a card or a manifest keeps it."""
        found: dict[str, Any] = {"kind": self.kind, "label": self.label}
        if self.codes:
            found["codes"] = dict(self.codes)
        if self.kind == "category" and self.classes:
            found["classes"] = list(self.classes)
        if self.kind == "number":
            found["unit"] = self.unit
            if self.settled:
                found |= {"range": [self.low, self.high], "decimals": self.decimals}
        if self.sex:
            found["sex"] = self.sex
        return found

    @property
    def settled(self) -> bool:
        """Whether its classes or range are known."""
        return bool(self.classes) if self.kind == "category" else self.kind == "flag" or self.low < self.high

    def settle(self, values: Iterable[Any], where: str) -> "Field":
        """The field with classes or range learnt from (public) values, where they are not stated yet.

        Classes are sorted. A range is rounded outwards to two digits of its width. Raises InputError.
        """
        if self.settled:
            return self
        known = [self.parse(value, where) for value in values]
        if self.kind == "category":
            numeric = all(re.fullmatch(r"-?\d+(\.\d+)?", str(v)) for v in known)
            classes = sorted({str(v) for v in known}, key=(lambda c: float(c)) if numeric else None)
            if not 2 <= len(classes) <= 100:
                raise InputError(
                    f"{where}: {self.name} has {len(classes)} classes; state 2 or more under declare"
                )
            return replace(self, classes=tuple(classes))
        numbers = [float(v) for v in known]
        if not numbers or min(numbers) == max(numbers) or not all(map(math.isfinite, numbers)):
            raise InputError(
                f"{where}: {self.name} has no range to learn; state `range: [low, high]` under declare"
            )
        step = 10.0 ** (math.floor(math.log10(max(numbers) - min(numbers))) - 1)
        low, high = math.floor(min(numbers) / step) * step, math.ceil(max(numbers) / step) * step
        low, high = float(f"{low:.12g}"), float(f"{high:.12g}")
        return replace(self, low=low, high=high, decimals=_decimals(high - low))

    def parse(self, cell: Any, where: str) -> Value:
        """A cell of a table as a value of this kind: yes, true and 1 are present. Raises InputError."""
        if self.kind == "flag":
            if (word := str(cell).strip().lower()) not in TRUTH:
                raise InputError(
                    f"{where}: {self.name} must be true or false, yes or no, 1 or 0, got {cell!r}"
                )
            return TRUTH[word]
        if self.kind == "category":
            return class_of(cell)
        try:
            return float(cell)
        except (TypeError, ValueError):
            raise InputError(f"{where}: {self.name} must be a number in {self.unit}, got {cell!r}") from None

    def check(self, value: Value, where: str = "profile") -> Value:
        """The value in its canonical type. Raises InputError with the expected range or classes."""
        if self.kind == "flag":
            if isinstance(value, bool):
                return value
            raise InputError(f"{where}: {self.name} ({self.label}) must be true or false, got {value!r}")
        if self.kind == "category":
            if class_of(value) in self.classes:
                return class_of(value)
            raise InputError(f"{where}: {self.name} must be one of {', '.join(self.classes)}, got {value!r}")
        number = self.parse(value, where)
        if not self.low <= float(number) <= self.high:  # also catches NaN
            raise InputError(
                f"{where}: {self.name} must lie in {self.low:g} to {self.high:g} {self.unit}, got {value!r}"
            )
        return number


def _decimals(width: float) -> int:
    """So many that a range has some hundred steps or more."""
    return max(0, min(6, 2 - math.floor(math.log10(width))))


class Vocabulary:
    """Fields by name. It is a value: declare() gives another one, and nothing is registered anywhere."""

    def __init__(self, fields: Sequence[Field]) -> None:
        self.fields = tuple(fields)
        self.by_name = {known.name: known for known in self.fields}

    def __contains__(self, name: object) -> bool:
        return name in self.by_name

    @property
    def declared(self) -> tuple[Field, ...]:
        """The fields that are not of the shipped vocabulary, or declared anew."""
        return tuple(known for known in self.fields if known.declared)

    def field(self, name: str, where: str = "profile") -> Field:
        """The field of that name. Raises InputError that says how to declare it."""
        if name in self.by_name:
            return self.by_name[name]
        raise InputError(
            f"{where}: unknown field or code {name!r}; {self.meant(name)}declare it there: "
            f"`declare: {{{name}: {{kind: flag, label: TEXT}}}}` (or kind: category, or number; docs/how-to/fields.md)"
        )

    def meant(self, name: str, more: Iterable[str] = ()) -> str:
        """`did you mean 'NAME'? Else ` where a field, or one of `more`, has nearly that name; else nothing."""
        near = get_close_matches(name, [*self.by_name, *more], n=1, cutoff=0.8)
        return f"did you mean {near[0]!r}? Else " if near and not re.fullmatch(_ICD10CM, name) else ""

    def declare(
        self, declarations: Mapping[str, Declaration | Mapping[str, Any]], where: str
    ) -> "Vocabulary":
        """This vocabulary and more fields. A field that is there already may be given another range or classes.

        Raises InputError: a name that cannot be, another kind or unit than the field of that name has, or a
        diagnosis that the vocabulary has under another name.
        """
        found = dict(self.by_name)
        for name, declaration in declarations.items():
            key = f"{where}: declare.{name}"
            if not isinstance(declaration, Declaration):
                declaration = parse(Declaration, declaration, key)
            if not re.fullmatch(_NAME, name) or name in RESERVED or name.startswith("has_"):
                raise InputError(
                    f"{key}: not a name for a field; expected letters, digits, _, - and ., a letter first, and none "
                    f"of {', '.join(RESERVED)} or has_..."
                )
            made, before = Field.of(name, declaration), found.get(name)
            if before is not None and (made.kind, made.unit) != (before.kind, before.unit):
                what = f"{before.kind} {f'in {before.unit}' if before.unit else ''}".strip()
                raise InputError(f"{key}: is a {what} already; leave it out of declare, or take another name")
            code = made.codes.get("icd10cm") if made.kind == "flag" else None
            for other in found.values():
                if (
                    code
                    and other.name != name
                    and other.kind == "flag"
                    and other.codes.get("icd10cm") == code
                ):
                    raise InputError(
                        f"{key}: {code} is the field {other.name} ({other.label}); use that name"
                    )
            same = before is not None and (
                not made.settled or replace(made, declared=before.declared, label=before.label) == before
            )
            found[name] = replace(before, declared=True) if before is not None and same else made
        return Vocabulary(tuple(found.values()))

    def settle(self, fields: Iterable[Field]) -> "Vocabulary":
        """With these in place of the fields of the same names."""
        return Vocabulary(tuple({**self.by_name, **{known.name: known for known in fields}}.values()))

    def checked(self, profile: PatientProfile, where: str = "profile") -> PatientProfile:
        """The profile itself, each known field validated. Raises InputError."""
        where = f"{where} {profile.patient_id}"
        for name in OWN:
            if (value := profile.get(name)) is not None:
                self.by_name[name].check(value, where)
        for kind, home in HOMES.items():
            for name, value in getattr(profile, home).items():
                known = self.field(name, where)
                if known.kind != kind:
                    raise InputError(f"{where}: {name} is a {known.kind}, given as a {kind}")
                known.check(value, where)
                if known.sex and value is True and profile.sex not in (known.sex, None):
                    sexes = {"F": "female", "M": "male"}
                    raise InputError(
                        f"{where}: {name} ({known.label}) is for {sexes[known.sex]} patients, the patient is "
                        f"{sexes[str(profile.sex)]}"
                    )
        return profile

    def with_values(
        self, profile: PatientProfile, values: Mapping[str, Value], where: str = "profile"
    ) -> PatientProfile:
        """The profile with fields set by name, each checked. Raises InputError."""
        changes: dict[str, Any] = {home: {} for home in HOMES.values()}
        for name, value in values.items():
            known = self.field(name, where)
            value = known.check(value, f"{where} {profile.patient_id}")
            if name in OWN:
                changes[name] = value
            else:
                changes[HOMES[known.kind]][name] = value
        return profile.but(**changes)


HOMES = {"flag": "conditions", "number": "measurements", "category": "traits"}  # where a profile keeps a kind


_LISTED = read_yaml(shipped() / "fields.yaml")
CONSTRAINTS: tuple[str, ...] = tuple(_LISTED.pop("constraints"))  # between fields, as `systolic > diastolic`
SHIPPED = Vocabulary(
    [Field.of(name, Declaration(**entry), declared=False) for name, entry in _LISTED.items()]
)
FIELDS, BY_NAME = SHIPPED.fields, SHIPPED.by_name
BREAST_CANCER = ("C50.919", "C50.929")
