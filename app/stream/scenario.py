"""Scenario: what happens on a ward, from a small YAML of timed events; some befall patients, some the network."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import model_validator

from ...core.config import Settings, load, parse
from ...core.errors import InputError
from .network_faults import FAULTS, Fault


class ScenarioConfig(Settings):
    """A scenario YAML. Each event has `what`, `at`, the parameters of its kind, and `beds` (all by default)."""

    title: str
    events: list[dict[str, Any]]


class Place(Settings):
    """Which beds an event befalls: all of them, or numbers from 1."""

    what: str
    beds: Literal["all"] | list[int] = "all"

    @model_validator(mode="after")
    def _from_one(self) -> "Place":
        if self.beds != "all" and (not self.beds or min(self.beds) < 1):
            raise ValueError("beds are `all` or numbers from 1")
        return self


@dataclass(frozen=True)
class Event:
    """One event: its kind's name, its settings, and the beds (None: all)."""

    what: str
    settings: Settings
    beds: frozenset[int] | None

    @property
    def is_fault(self) -> bool:
        """Whether it befalls the network and not the patient."""
        return isinstance(self.settings, Fault)

    def describe(self) -> dict[str, Any]:
        """Plain JSON types; all that happens by a scenario is rule-based."""
        return {
            "what": self.what,
            "rule_based": True,
            **self.settings.model_dump(mode="json", exclude_none=True),
        }


@dataclass(frozen=True)
class Scenario:
    """Events in the order of the file."""

    title: str = ""
    events: tuple[Event, ...] = ()

    def of(self, bed: int) -> list[Event]:
        """The events that befall a bed, numbered from 1."""
        return [event for event in self.events if event.beds is None or bed in event.beds]


def read_scenario(name: str, rules: Mapping[str, type[Settings]], beds: int) -> Scenario:
    """A shipped scenario by name or a YAML file; `rules` are what may befall patients, by name.

    Raises InputError naming file and event: an unknown kind or key, a value out of range, a bed that is not there.
    """
    config, path = load(ScenarioConfig, name, "scenario")
    kinds = {**rules, **FAULTS}
    events = tuple(_event(given, kinds, beds, path, place) for place, given in enumerate(config.events, 1))
    return Scenario(config.title, events)


def _event(
    given: Mapping[str, Any], kinds: Mapping[str, type[Settings]], beds: int, path: Path, place: int
) -> Event:
    where = f"{path}: event {place}"
    common = parse(Place, {key: given[key] for key in ("what", "beds") if key in given}, where)
    if common.what not in kinds:
        raise InputError(f"{where}: what: expected one of {', '.join(sorted(kinds))}, got {common.what!r}")
    own = {key: value for key, value in given.items() if key not in ("what", "beds")}
    settings = parse(kinds[common.what], own, f"{where} ({common.what})")
    there: Sequence[int] | None = None if common.beds == "all" else common.beds
    if there is not None and max(there) > beds:
        raise InputError(f"{where}: beds: the ward has beds 1 to {beds}, got {max(there)}")
    return Event(common.what, settings, None if there is None else frozenset(there))
