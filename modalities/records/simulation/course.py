"""Course: how a disease runs, as a state machine that a clinician can read; configs/courses/*.yaml are ours.

Entering a state, its actions are done in order. Then all moves whose guard holds race: each draws its wait
(a fixed or random span, an exponential one for a hazard, the next review, the discharge) and the earliest is
taken, the first listed on a tie. A state without an open move is the last one.
"""

import re
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator, model_validator

from ....core.config import Settings, parse, read_yaml
from ....core.errors import InputError
from ..codes import BREAST_CANCER, codes
from .expression import Expression

Formula = Annotated[Expression, PlainValidator(lambda text: Expression(text))]
_DAYS = {"hour": 1 / 24, "day": 1.0, "week": 7.0, "month": 30.44, "year": 365.25}
_SPAN = re.compile(r"([\d.]+)(?: to ([\d.]+))? (hour|day|week|month|year)s?")


class Span(Settings):
    """A wait in days: `3 days`; `3 to 12 days` (log-normal, nine in ten between them, never outside);
    `review` (the patient's next regular visit); `discharge` (the end of the stay)."""

    low: float = 0.0
    high: float = 0.0
    until: Literal["review", "discharge"] | None = None

    @model_validator(mode="before")
    @classmethod
    def _words(cls, value: Any) -> Any:
        if value in ("review", "discharge"):
            return {"until": value}
        if isinstance(value, str):
            found = _SPAN.fullmatch(value.strip())
            if not found:
                raise ValueError("expected `3 days`, `3 to 12 days`, `review` or `discharge`")
            unit = _DAYS[found[3]]
            low = float(found[1]) * unit
            if found[2] and not 0 < float(found[1]) < float(found[2]):
                raise ValueError("a range of time needs 0 < first < second")
            return {"low": low, "high": float(found[2]) * unit if found[2] else low}
        return value


class Move(Settings):
    """A way out of a state: with probability `chance`, when the guard holds, after a span or at a hazard a year."""

    to: str
    when: Formula | None = None
    chance: Formula = Expression(1)
    after: Span = Span()
    hazard: Formula | None = None


class Meeting(Settings):
    """A visit, or a stay that `lasts`; inside a running stay it is part of that stay (and may prolong it)."""

    kind: Literal["AMB", "EMER", "IMP"] = "AMB"
    reason: str | None = None
    lasts: Span = Span()


class Prescription(Settings):
    """A drug: one dose in the drug list's unit, `per_day` times a day or once every so many days, for how long."""

    drug: str
    dose: Formula
    per_day: int = Field(1, ge=1, le=6)
    every: Span | None = None
    lasts: Span | None = None
    reason: str | None = None


class Action(Settings):
    """One thing that is done; exactly one of the verbs, if the guard holds.

    observe: names of the list (a panel brings its parts), or name: formula, or name: an answer in words.
    set: the course's own variables. die: the reason.
    """

    when: Formula | None = None
    visit: Meeting | None = None
    diagnose: str | None = None
    resolve: str | None = None
    stage: Literal["kidney_disease"] | None = None
    observe: list[str] | None = None
    measure: dict[str, Formula] | None = None
    answer: dict[str, Formula] | None = None
    prescribe: Prescription | None = None
    stop: list[str] | None = None
    procedure: str | None = None
    report: Literal["pathology", "tumour-expression"] | None = None
    set: dict[str, Formula] | None = None
    die: str | None = None

    @model_validator(mode="after")
    def _one_verb(self) -> "Action":
        verbs = [name for name in self.model_fields_set if name != "when"]
        if len(verbs) != 1:
            raise ValueError(f"an action has exactly one verb beside `when`, got {sorted(verbs)}")
        return self


class State(Settings):
    """What is done on entering, and the ways out."""

    do: tuple[Action, ...] = ()
    next: tuple[Move, ...] = ()


class Course(Settings):
    """A disease. `who` is the condition (of the profile) that has this course, `onset` how long before the
    index visit it began (`index`: at it), `values` the patient's own variables, `body` the level of an
    observation that the disease sets, whoever measures it."""

    title: str
    sources: list[str]
    who: str
    onset: Span | Literal["index"]
    earliest_age: float = 18.0
    values: dict[str, Formula] = Field(default_factory=dict)
    body: dict[str, Formula] = Field(default_factory=dict)
    start: str
    states: dict[str, State]


TRAITS = {  # what a profile may know of a tumour: name in a course -> vocabulary field
    "profile_er": "estrogen_receptor",
    "profile_pr": "progesterone_receptor",
    "profile_her2": "her2",
    "tumor_stage": "tumor_stage",
}


def known_names() -> set[str]:
    """Names that every guard may use, besides the course's own values."""
    lists = codes()
    levels = {name for name, entry in lists.observations.items() if entry.unit}
    return {
        *lists.conditions, BREAST_CANCER, *lists.drugs, *lists.observations, *(f"usual_{name}" for name in levels),
        "age", "female", "male", "years", "years_to_index", "past", "inpatient_at_index", "days_left",
        "ESR1", "PGR", "ERBB2", "MKI67", "pam50", "rhythm", "lives", "dies", *TRAITS,
    }  # fmt: skip


def read_course(values: Any, where: str) -> Course:
    """A course from plain values. Raises InputError: key, what is unknown, and the nearest known name."""
    course = parse(Course, values, where)
    lists = codes()
    conditions = {*lists.conditions, BREAST_CANCER}
    _known(course.who, conditions, f"{where}: who")
    _known(course.start, set(course.states), f"{where}: start")
    names = {*known_names(), *course.values}
    for key, formulas in (("values", course.values), ("body", course.body)):
        for name, formula in formulas.items():
            _formula(formula, names, f"{where}: {key}.{name}")
    for name in course.body:
        _known(name, set(lists.observations), f"{where}: body")
    for label, state in course.states.items():
        for place, move in enumerate(state.next):
            at = f"{where}: states.{label}.next.{place}"
            _known(move.to, set(course.states), f"{at}.to")
            for guard in (move.when, move.chance, move.hazard):
                _formula(guard, names, at)
        for place, action in enumerate(state.do):
            _check_action(action, course, names, conditions, f"{where}: states.{label}.do.{place}")
    return course


def _check_action(action: Action, course: Course, names: set[str], conditions: set[str], at: str) -> None:
    lists = codes()
    _formula(action.when, names, at)
    reason = action.visit.reason if action.visit else None
    for named in (action.diagnose, action.resolve, action.die, reason):
        _known(named, conditions, at)
    observed = set(lists.observations)
    for name in action.observe or ():
        _known(name, observed, at)
    for name, formula in {**(action.measure or {}), **(action.answer or {})}.items():
        _known(name, observed, at)
        allowed = {*names, *lists.answers} if action.answer else names
        _formula(formula, allowed, f"{at}.{name}")
    for name, formula in (action.set or {}).items():
        _known(name, set(course.values), f"{at}.set")
        _formula(formula, names, f"{at}.set.{name}")
    _known(action.procedure, set(lists.procedures), at)
    for name in action.stop or ():
        _known(name, set(lists.drugs), at)
    if (order := action.prescribe) is not None:
        _known(order.drug, set(lists.drugs), f"{at}.prescribe")
        _formula(order.dose, names, f"{at}.prescribe.dose")
        _known(order.reason, conditions, f"{at}.prescribe.reason")
        reason = order.reason or course.who
        if reason not in lists.drugs[order.drug].treats:
            treats = ", ".join(lists.drugs[order.drug].treats)
            raise InputError(f"{at}.prescribe: {order.drug} is listed for {treats}, not for {reason}")


def _known(name: str | None, known: set[str], at: str) -> None:
    if name is not None and name not in known:
        near = get_close_matches(name, sorted(known), n=1, cutoff=0.0)[0]
        raise InputError(f"{at}: unknown name {name!r}; the nearest known one is {near!r}")


def _formula(formula: Expression | None, names: set[str], at: str) -> None:
    for name in sorted(formula.names if formula else ()):
        _known(name, names, f"{at}: {formula}")


@cache
def courses(folder: Path | None = None) -> dict[str, Course]:
    """The courses of configs/courses by file name, in order; those of a folder go before them by name.

    Raises InputError: no such folder, no course in it, a file that does not read, two that set one level.
    """
    found = _paths(Path(str(files("polyclinic.configs"))) / "courses")
    if folder is not None:
        if not folder.is_dir():
            raise InputError(f"records.courses: {folder}: no such folder; expected one of YAML courses")
        added = _paths(folder)
        if not added:
            raise InputError(f"records.courses: {folder}: expected courses (*.yaml), found none")
        found |= added
    read = {name: read_course(read_yaml(path), str(path)) for name, path in sorted(found.items())}
    owner: dict[str, str] = {}
    for name, course in read.items():
        for level in course.body:
            if level in owner:
                raise InputError(
                    f"{found[name]}: body.{level} is set by {found[owner[level]]} already; take it out, or name "
                    f"the file {found[owner[level]].name} to replace that course"
                )
            owner[level] = name
    return read


def _paths(folder: Path) -> dict[str, Path]:
    return {path.stem: path for path in folder.iterdir() if path.suffix in (".yaml", ".yml")}
