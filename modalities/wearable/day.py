"""Days: every channel of a patient's day, one after the other; a day does not depend on which others are drawn."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ...core.types import AnyArray, FloatArray
from . import heart, movement, night, sugar
from .body import MINUTES, Body
from .figures import figures

CUFF = 3.0  # mm[Hg], by which a cuff is off
LEAD = 45  # minutes of the day before that the heart still feels


@dataclass(frozen=True)
class Basis:
    """What the rest of a day follows: stage (-1 out of bed), steps, METs of each minute, and the meals."""

    stage: AnyArray
    steps: AnyArray
    mets: FloatArray
    meals: sugar.Meals


@dataclass(frozen=True, eq=False)
class Day:
    """A day, counted from the index day; channels are made when they are asked for. `before` is the day before.

    Minutes are (1440,), five minutes (288,), `beats` (beat,) in s of the day; stage -1 to 3 (night.STAGES).
    """

    body: Body
    offset: int
    before: Basis
    basis: Basis

    @property
    def asleep(self) -> AnyArray:
        """(1440,) whether the patient sleeps."""
        return self.basis.stage > 0

    @cached_property
    def beats(self) -> FloatArray:
        """(beat,) times of the beats in s of the day."""
        mets = np.concatenate([self.before.mets[-LEAD:], self.basis.mets])
        slow = np.concatenate(
            [_slow(self.body, self.offset - 1, 8)[-LEAD:], _slow(self.body, self.offset, 8)]
        )
        rate = heart.target(self.body, self.offset, self._stage, mets, slow, LEAD)
        return heart.beats(
            self.body, self.offset, rate, self.breath, _variability(self.body, self.basis, rate)
        )

    @cached_property
    def breath(self) -> FloatArray:
        """(1440,) breaths a minute."""
        return _breath(self.body, self.offset, self.basis)

    @cached_property
    def saturation(self) -> FloatArray:
        """(1440,) %."""
        return _saturation(self.body, self.offset, self.basis)

    @cached_property
    def wrist(self) -> FloatArray:
        """(1440,) Cel, of the skin there."""
        return _skin(self.body, self.offset, self._stage, "wrist")

    @cached_property
    def finger(self) -> FloatArray:
        """(1440,) Cel, of the skin there."""
        return _skin(self.body, self.offset, self._stage, "finger")

    @cached_property
    def glucose(self) -> FloatArray:
        """(288,) mg/dL."""
        return sugar.curve(self.body, self.offset, self.basis.meals, self.before.meals, self.basis.mets)

    @cached_property
    def systolic(self) -> FloatArray:
        """(2,) mm[Hg], in the morning and in the evening."""
        evening = figures()["pressure"]["evening"]["systolic"]
        cuff = self.body.rng(10, self.offset).normal(0, CUFF, 2)
        return np.clip(pressure(self.body, self.offset) + np.array([0.0, evening]) + cuff, 70, 240)

    @property
    def diastolic(self) -> FloatArray:
        """(2,) mm[Hg]."""
        return np.clip(self.systolic * self.body.diastolic / self.body.systolic, 40, 140)

    @property
    def _stage(self) -> AnyArray:
        return np.concatenate([self.before.stage[-LEAD:], self.basis.stage])

    @cached_property
    def by_second(self) -> FloatArray:
        """(86400,) heart rate."""
        return heart.by_second(self.beats)

    @cached_property
    def by_minute(self) -> FloatArray:
        """(1440,) heart rate."""
        return heart.by_minute(self.beats)

    @cached_property
    def at_rest(self) -> AnyArray:
        """(1440,) whether the patient is awake and has made no step for ten minutes."""
        recent = np.convolve(self.basis.steps, np.ones(11), "full")[:MINUTES]
        still = (self.basis.stage == -1) & (recent == 0)
        still[:10] = False
        return still

    def resting(self) -> float:
        """Median heart rate of the minutes at rest; NaN where there are fewer than ten."""
        rates = self.by_minute[self.at_rest]
        return float(np.median(rates)) if len(rates) >= 10 else np.nan


def days(body: Body, first: int, count: int | None = None) -> Iterator[Day]:
    """So many days from day `first` on, counted from the index day; without end where no count is given."""
    before, offset = _basis(body, first - 1), first
    while count is None or offset < first + count:
        basis = _basis(body, offset)
        yield Day(body, offset, before, basis)
        before, offset = basis, offset + 1


def _basis(body: Body, offset: int) -> Basis:
    stage = night.stages(body, offset)
    if offset == 0:
        begin, end = movement.resting_minutes(body)
        stage[begin:end] = -1  # nobody sleeps through an ECG
    up = stage == -1
    walked = movement.steps(body, offset, up)
    noise = body.rng(7, offset).standard_normal(MINUTES)
    mets = movement.effort(walked, up, stage > 0, noise)
    if offset == 0:
        mets[begin:end] = 1.0
    return Basis(stage, walked, mets, sugar.meals(body, offset))


def _slow(body: Body, offset: int, stream: int) -> FloatArray:
    """(1440,) a curve through a normal number each hour, without a step at midnight."""
    knots = np.append(
        body.rng(stream, offset).standard_normal(24), body.rng(stream, offset + 1).standard_normal(24)[0]
    )
    return np.interp(np.arange(MINUTES) / 60, np.arange(25), knots)


def _variability(body: Body, basis: Basis, rate: FloatArray) -> FloatArray:
    """(1440,) RMSSD in ms that the vagus would give: more asleep, less in effort and at fast rates."""
    depth = np.select([basis.stage == night.DEEP, basis.stage > 0], [1.35, 1.2], 1.0)
    return (
        body.rmssd
        * depth
        * np.exp(-0.45 * np.maximum(basis.mets - 1, 0))
        * np.clip(body.resting / rate, 0.4, 1.3)
    )


def _breath(body: Body, offset: int, basis: Basis) -> FloatArray:
    given, rng = figures()["breath"], body.rng(11, offset)
    deeper = np.select(
        [basis.stage == night.DEEP, basis.stage == night.REM, basis.stage > 0],
        [given["asleep"]["deep"], given["asleep"]["rem"], given["asleep"]["light"]], 0.0,
    )  # fmt: skip
    worked = movement.settled(given["per_met"]["value"] * np.maximum(basis.mets - 1, 0), 1.5, 0.0)
    ill = body.acute["respiration"] * body.fading(offset)
    wander = 0.6 * _slow(body, offset, 12) + 0.5 * rng.standard_normal(MINUTES)
    return np.clip(body.respiration + deeper + worked + ill + wander, 6, 60)


def _saturation(body: Body, offset: int, basis: Basis) -> FloatArray:
    given, rng = figures()["breath"]["dips"], body.rng(13, offset)
    level = body.saturation + body.acute["oxygen_saturation"] * body.fading(offset) - 0.7 * (basis.stage > 0)
    out = level + 0.4 * _slow(body, offset, 14) + 0.35 * rng.standard_normal(MINUTES)
    often = given["base"] + given["per_bmi"] * max(0.0, body.bmi - 25)
    often += sum(float(value) for code, value in given.items() if code in body.codes)
    dips = np.flatnonzero((basis.stage > 0) & (rng.random(MINUTES) < often / 60))
    out[dips] -= 2 + rng.exponential(2.2, len(dips)).clip(0, 12)
    return np.clip(out, 60, 100)


def _skin(body: Body, offset: int, stage: AnyArray, site: str) -> FloatArray:
    given, cold = figures()["skin"], _slow(body, offset, 9)
    warm = movement.settled((stage >= 0).astype(float), 25, 0.0)[LEAD:]
    level = given["day"][site] + given["night"][site] * warm + 0.35 * cold * (1 - 0.5 * warm)
    if body.female and 15 <= body.age < 48:
        length = given["cycle"]["days"]
        level = level + given["cycle"]["luteal"] * (((body.phase + offset) % length) > length / 2)
    ill = body.acute["skin_temperature"] * body.fading(offset)
    return np.clip(level + ill + 0.08 * body.rng(15, offset, len(site)).standard_normal(MINUTES), 22, 41)


def pressure(body: Body, offset: int) -> float:
    """Systolic pressure of a day, which remembers the days next to it; the index day has the acute illness."""
    given = figures()["pressure"]
    keep, spread = given["remembers"]["day_to_day"], np.sqrt(given["within"] ** 2 - CUFF**2)
    value = float(body.rng(16, 0).standard_normal())
    for day in range(1, abs(offset) + 1):
        value = keep * value + np.sqrt(1 - keep**2) * float(
            body.rng(16, day if offset > 0 else -day).standard_normal()
        )
    return float(body.systolic + body.acute["systolic"] * body.fading(offset) + spread * value)
