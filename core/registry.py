"""The registry: plugins by entry point (ours too), each checked when it is loaded.

A package adds a plugin with one file and one entry-point line in the group `polyclinic.<kind>`:

    [project.entry-points."polyclinic.metrics"]
    energy_distance = "my_package:EnergyDistance"

CONTRACTS lists the kinds; core.contracts and core.modality.Modality say what each must have. `names(kind)` gives
the installed names, `load(kind, name)` the checked plugin. `sound(kind)` loads all that work, and says in one line
each which do not. A room uses it so:

    for metric in sound("metrics").values(): metric.compute(real, synthetic)
    make = load("sinks", "kafka"); sink = make(address, wait, limit)
"""

import sys
from collections.abc import Callable, Iterable, Mapping
from functools import cache, lru_cache
from importlib.metadata import EntryPoint, entry_points
from inspect import isclass, signature
from typing import Any

from .contracts import Attack, CohortFormat, Engine, Format, Metric, PatientFormat, Sink, SinkFactory
from .errors import InputError
from .fields import SHIPPED, Vocabulary
from .instance import instance
from .instance_name import split
from .modality import Modality
from .remarks import remark

CONTRACTS: dict[str, type] = {
    "modalities": Modality, "formats": Format, "sinks": SinkFactory, "engines": Engine, "metrics": Metric,
    "attacks": Attack, "fields": Mapping,
}  # fmt: skip
KINDS = tuple(CONTRACTS)
_FORMS: dict[str, type] = {"write": PatientFormat, "convert": CohortFormat}
_PLAIN = {"str": str, "bool": bool, "tuple[str, ...]": tuple}  # types of attributes that a contract names


def names(kind: str) -> dict[str, EntryPoint]:
    """Entry points of all installed plugins of a kind, by name; nothing is loaded."""
    assert kind in KINDS
    return dict(_named(kind, tuple(sys.path), entry_points))


@lru_cache
def _named(
    kind: str, path: tuple[str, ...], found: Callable[..., Iterable[EntryPoint]]
) -> dict[str, EntryPoint]:
    """Looked up once for each path of packages: it opens a file of every package that is installed."""
    return {point.name: point for point in sorted(found(group=f"polyclinic.{kind}"), key=_by_name)}


def _by_name(point: EntryPoint) -> str:
    return point.name


def package_of(point: EntryPoint) -> str:
    """Name and version of the package that a plugin comes from."""
    return f"{point.dist.name} {point.dist.version}" if point.dist else point.value


def load(kind: str, name: str, options: Mapping[str, Any] | None = None) -> Any:
    """The plugin of that name, checked against the contract of its kind.

    `options` are settings of a modality. Raises InputError in one line: not installed (names those that are), cannot
    be imported, lacks something that the contract asks for, takes no options, or does not know one of them.
    """
    points = names(kind)
    if name not in points:
        known = ", ".join(points) or "none"
        raise InputError(f"{_singular(kind)} {name!r} is not installed; expected one of: {known}")
    point = points[name]
    where = f"{_singular(kind)} {name!r} of {package_of(point)}"
    try:
        found = point.load()
        if options and not signature(found).parameters:
            raise InputError(f"{_singular(kind)} {name!r} takes no options, got {', '.join(options)}")
        if kind == "modalities" or (isclass(found) and kind in ("formats", "metrics", "attacks")):
            found = found(options) if options else found()
    except InputError:
        raise
    except Exception as error:  # a plugin is foreign code: whatever it raises is one line for the user
        raise InputError(f"{where} cannot be loaded: {type(error).__name__}: {error}") from error
    if problems := _problems(kind, name, found):
        raise InputError(f"{where} does not keep the contract: {'; '.join(problems)}")
    return found


def sound(kind: str) -> dict[str, Any]:
    """All plugins of a kind that load, by name; a remark in one line says which do not and why."""
    found, broken = checked(kind)
    for reason in broken.values():
        remark(f"left out: {reason}")
    return found


def checked(kind: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Plugins of a kind that load, by name; and of those that do not, why, in one line each."""
    found: dict[str, Any] = {}
    broken: dict[str, str] = {}
    for name in names(kind):
        try:
            found[name] = load(kind, name)
        except InputError as error:
            broken[name] = str(error)
    return found, broken


def load_modality(name: str, options: Mapping[str, Any] | None = None) -> Modality:
    """The modality of that name; `options` are settings of how its records are drawn and written.

    A modality that has such settings takes them as the one argument of its class. `imaging:skin` is an instance of
    imaging, on weights of its own. Raises InputError as load() does, and for a name that an instance cannot have.

    >>> load_modality("imaging").name
    'imaging'
    """
    base, label = split(name)

    def made() -> Modality:
        modality: Modality = load("modalities", base, options)
        return modality

    return instance(made, base, label) if label else made()


def load_format(modality: str, name: str) -> PatientFormat:
    """The format of that name, for a modality that writes its files a slice of patients at a time.

    Raises InputError as load() does, also for a format that has no `write`.
    """
    found = load("formats", f"{modality}.{name}")
    if not isinstance(found, PatientFormat):
        raise InputError(f"{modality}: formats: {name} cannot write patients (it has no `write`)")
    return found


def formats_of(modality: str) -> list[str]:
    """Names of the installed formats of a modality, ours and others', without loading them."""
    return [name.partition(".")[2] for name in names("formats") if name.partition(".")[0] == modality]


@cache
def vocabulary() -> Vocabulary:
    """The shipped vocabulary and what installed packages declare; a remark names a package that does not fit."""
    found = SHIPPED
    for name, declarations in sound("fields").items():
        point = names("fields")[name]
        try:
            found = found.declare(
                declarations, f"{package_of(point)}: entry point {name!r} of polyclinic.fields"
            )
        except InputError as error:
            remark(f"left out: {error}")
    return found


def _singular(kind: str) -> str:
    return {"modalities": "modality", "fields": "declaration of fields"}.get(kind, kind.removesuffix("s"))


def _problems(kind: str, name: str, found: Any) -> list[str]:
    """What a loaded plugin lacks."""
    if kind == "fields":
        return (
            []
            if isinstance(found, Mapping)
            else [f"expected a mapping of fields, got {type(found).__name__}"]
        )
    problems = lacks(found, CONTRACTS[kind])
    if kind == "sinks" and isclass(found):
        problems += lacks(found, Sink)
    expected = name.partition(".")[2] if kind == "formats" else name
    if kind in ("modalities", "formats") and not problems and found.name != expected:
        problems.append(f"its name is {found.name!r}, expected {expected!r}")
    if kind == "formats":
        problems += _problems_of_format(found)
    if kind == "formats" and not problems and found.modality != name.partition(".")[0]:
        problems.append(f"its modality is {found.modality!r}, expected {name.partition('.')[0]!r}")
    return problems


def _problems_of_format(found: Any) -> list[str]:
    """A format has `write`, or `convert`, or both; what those lack that it has."""
    asked = [contract for name, contract in _FORMS.items() if callable(getattr(found, name, None))]
    if not asked:
        return ["it has neither `write(records, profiles, folder)` nor `convert(source, folder)`"]
    return [problem for contract in asked for problem in lacks(found, contract)]


def lacks(thing: Any, contract: type) -> list[str]:
    """What `thing` (an object, a function or a class) lacks of a Protocol's attributes and methods, one line each."""
    problems = []
    for name, kind in getattr(contract, "__annotations__", {}).items():
        plain = _PLAIN.get(kind if isinstance(kind, str) else _spelt(kind))
        if not hasattr(thing, name):
            problems.append(f"attribute `{name}` is missing")
        elif plain is not None and not isinstance(value := getattr(thing, name), plain):
            problems.append(f"`{name}` must be {plain.__name__}, got {type(value).__name__}")
    for name, method in vars(contract).items():
        if name.startswith("_") and name != "__call__":
            continue
        asked = list(signature(method).parameters)[1:]
        said = f"{name}({', '.join(asked)})" if name != "__call__" else f"({', '.join(asked)})"
        own = thing if name == "__call__" else getattr(thing, name, None)
        if not callable(own):
            problems.append(f"method `{said}` is missing")
            continue
        given = ["self", *asked] if isclass(thing) and name != "__call__" else asked
        try:
            signature(own).bind(*given)
        except TypeError:
            problems.append(f"`{name}` cannot be called as {said}")
        except ValueError:  # a builtin without a signature
            continue
    return problems


def _spelt(kind: Any) -> str:
    return kind.__name__ if isclass(kind) and not hasattr(kind, "__args__") else str(kind)
