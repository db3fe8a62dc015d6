"""Channels: what a wearable may record, with unit, code, bounds, and how a value is taken from a drawn day."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ...core.types import BoolArray, FloatArray
from . import heart
from .body import MINUTES
from .day import Day


@dataclass(frozen=True)
class Channel:
    """A channel: unit in UCUM, LOINC code or "", decimals, and the physiologic bounds that values keep."""

    name: str
    label: str
    unit: str
    loinc: str
    low: float
    high: float
    decimals: int = 0


BEATS = "beats"
CHANNELS = {
    channel.name: channel
    for channel in (
        Channel("heart_rate", "Heart rate", "/min", "8867-4", 25, 230),
        Channel("heart_rate_mean", "Heart rate, mean of the minute", "/min", "8867-4", 25, 230, 2),
        Channel("respiration", "Respiratory rate", "/min", "9279-1", 4, 70, 1),
        Channel("oxygen_saturation", "Oxygen saturation by pulse oximetry", "%", "59408-5", 60, 100),
        Channel("rmssd", "Heart rate variability, RMSSD", "ms", "", 0, 1500, 1),
        Channel("steps", "Steps", "{steps}", "55423-8", 0, 250),
        Channel("effort", "Effort", "[MET]", "", 0.8, 23, 1),
        Channel(
            "sleep_stage",
            "Sleep stage: -1 out of bed, 0 awake in bed, 1 light, 2 deep, 3 REM",
            "1",
            "",
            -1,
            3,
        ),
        Channel("skin_temperature", "Skin temperature", "Cel", "39106-0", 20, 42, 2),
        Channel("glucose", "Glucose in interstitial fluid", "mg/dL", "99504-3", 40, 400),
        Channel("systolic", "Systolic blood pressure", "mm[Hg]", "8480-6", 60, 250),
        Channel("diastolic", "Diastolic blood pressure", "mm[Hg]", "8462-4", 30, 150),
    )
}


def _mean(values: FloatArray, size: int) -> FloatArray:
    return values.reshape(-1, size).mean(1)


def _minutes(values: FloatArray, period: int) -> FloatArray:
    assert period % 60 == 0
    return _mean(np.asarray(values, dtype=np.float64), period // 60)


def _heart_rate(day: Day, period: int) -> FloatArray:
    return day.by_second[::period] if period < 60 else _minutes(day.by_minute, period)


def _stage(day: Day, period: int) -> FloatArray:
    return day.basis.stage[period // 120 :: period // 60].astype(np.float64)


def _sum(day: Day, period: int) -> FloatArray:
    return _minutes(day.basis.steps.astype(np.float64), period) * (period // 60)


_TAKEN: dict[str, Callable[[Day, int, str], FloatArray]] = {
    "heart_rate": lambda day, period, site: _heart_rate(day, period),
    "heart_rate_mean": lambda day, period, site: _minutes(day.by_minute, period),
    "respiration": lambda day, period, site: _minutes(day.breath, period),
    "oxygen_saturation": lambda day, period, site: _minutes(day.saturation, period),
    "rmssd": lambda day, period, site: heart.rmssd(day.beats, period),
    "steps": lambda day, period, site: _sum(day, period),
    "effort": lambda day, period, site: _minutes(day.basis.mets, period),
    "sleep_stage": lambda day, period, site: _stage(day, period),
    "skin_temperature": lambda day, period, site: _minutes(day.finger if site == "finger" else day.wrist, period),
    "glucose": lambda day, period, site: day.glucose,
    "systolic": lambda day, period, site: day.systolic,
    "diastolic": lambda day, period, site: day.diastolic,
}  # fmt: skip


def taken(name: str, day: Day, period: int, site: str) -> FloatArray:
    """(value,) of a channel on a day, one each `period` seconds, without errors and unrounded."""
    return _TAKEN[name](day, period, site)


def blocks(minutes: BoolArray, period: int) -> BoolArray:
    """(value,) whether any minute of each value's span is marked among (1440,) `minutes`."""
    if period < 60:
        return np.repeat(minutes, 60 // period)
    return np.asarray(minutes.reshape(-1, min(period // 60, MINUTES)).any(1))
