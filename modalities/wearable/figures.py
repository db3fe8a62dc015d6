"""Figures: the parameters of configs/wearable/body.yaml and the device presets of devices.yaml."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml


@dataclass(frozen=True)
class Device:
    """A preset, as the head of configs/wearable/devices.yaml says."""

    name: str
    site: str
    channels: Mapping[str, int]
    at_night: tuple[str, ...] = ()
    charging: float = 0.0
    lost: float = 0.0
    drift: float = 0.0
    sync: float = 0.0
    wear: float = 0.0
    gap: float = 0.0
    noise: Mapping[str, float] = field(default_factory=dict)


def _read(name: str) -> dict[str, Any]:
    path = Path(str(files("polyclinic.configs"))) / "wearable" / f"{name}.yaml"
    found: dict[str, Any] = yaml.safe_load(path.read_text())
    return found


@cache
def figures() -> dict[str, Any]:
    """The shipped parameters; each group names its source."""
    found = _read("body")
    for group in found.values():
        for part in group.values():
            if isinstance(part, dict) and "source" in part:
                named = part["source"] if isinstance(part["source"], list) else [part["source"]]
                assert set(named) <= set(found["sources"]), f"a source is not listed: {named}"
    return found


@cache
def devices() -> dict[str, Device]:
    """Presets by name."""
    return {
        name: Device(name, **{**given, "at_night": tuple(given.get("at_night", ()))})
        for name, given in _read("devices").items()
    }
