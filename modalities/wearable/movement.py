"""Movement: the steps of each minute of a day, in bouts of walking among sporadic steps, and the effort in METs."""

import numpy as np

from ...core.types import AnyArray, FloatArray
from .body import MINUTES, Body
from .figures import figures

PEAKS = ((8.2, 1.1, 0.7), (12.7, 1.5, 0.8), (17.6, 2.2, 1.2))  # hour, spread, height: when people walk
SPORADIC, FEW = 0.45, 12  # share of the steps outside of bouts, and how many they are in such a minute
CADENCE, METS = (0.0, 20.0, 100.0, 130.0, 170.0), (1.0, 1.6, 3.0, 6.0, 10.0)
COMFORT = 0.65  # share of the capacity at which people walk at most
REST = (10, 8)  # minutes at rest before an ECG and from its beginning on


def resting_minutes(body: Body) -> tuple[int, int]:
    """First and last minute of the index day at which the patient lies for the ECG; empty without one."""
    if body.strip is None:
        return 0, 0
    at, lasts = int(body.strip.begins // 60), int(np.ceil(body.strip.seconds / 60))
    return max(0, at - REST[0]), min(MINUTES, at + lasts + REST[1])


def steps(body: Body, offset: int, awake: AnyArray) -> AnyArray:
    """(1440,) int16 steps of each minute of a day; `awake` says in which the patient is out of bed."""
    given, rng = figures()["steps"], body.rng(2, offset)
    spread = given["day"]["log"]
    target = body.steps * float(np.exp(spread * rng.standard_normal() - spread**2 / 2))
    target *= 1 - (1 - body.acute["steps"]) * body.fading(offset)
    free = awake.copy()
    if offset == 0:
        first, last = resting_minutes(body)
        free[first:last] = False
    out = np.zeros(MINUTES)
    if free.sum() < 30:
        return out.astype(np.int16)
    hours = np.arange(MINUTES) / 60
    weight = 0.25 + sum(h * np.exp(-0.5 * ((hours - at) / width) ** 2) for at, width, h in PEAKS)
    weight = np.where(free, weight, 0.0)
    edges = np.cumsum(weight / weight.sum())
    cadence = float(np.clip(108 - 0.4 * max(0, body.age - 45) + 6 * rng.standard_normal(), 60, 130))
    cadence = min(cadence, float(np.interp(1 + COMFORT * (body.capacity - 1), METS, CADENCE)))
    number = 160
    begins = np.searchsorted(edges, rng.random(number)).clip(0, MINUTES - 1)
    lengths = 1 + rng.exponential(4, number).astype(int)
    speeds = cadence * (1 + 0.09 * rng.standard_normal(number))
    if body.age < 65 and body.capacity > 8 and rng.random() < 0.06 * (body.capacity - 7):  # a run
        lengths[0], speeds[0] = int(rng.uniform(18, 45)), 150 + 8 * rng.standard_normal()
    left = (1 - SPORADIC) * target
    for begin, length, speed in zip(begins.tolist(), lengths.tolist(), speeds.tolist(), strict=True):
        span = slice(begin, begin + min(length, 1 + int(left / speed)))
        mine = np.where(free[span], np.maximum(out[span], speed), out[span])
        left -= float((mine - out[span]).sum())
        out[span] = mine
        if left <= 0:
            break
    where = np.flatnonzero(free & (out == 0))
    few = rng.choice(
        where, min(len(where), round(SPORADIC * target / FEW)), replace=False, p=_shares(weight[where])
    )
    out[few] = rng.exponential(FEW, len(few)).clip(1, 3.5 * FEW)
    total = out.sum()
    if total > 0:
        out *= min(target / total, 1.25)
    return np.rint(out + rng.uniform(-0.5, 0.5, MINUTES) * (out > 0)).clip(0, 200).astype(np.int16)


def _shares(weight: FloatArray) -> FloatArray:
    return (weight + 1e-9) / (weight + 1e-9).sum()


def effort(walked: AnyArray, awake: AnyArray, asleep: AnyArray, noise: FloatArray) -> FloatArray:
    """METs of each minute: 1 at rest (0.95 asleep), 3 at 100 steps a minute, 6 at 130."""
    mets = np.interp(walked, CADENCE, METS)
    posture = np.where(awake & (walked == 0), 0.12 * np.abs(noise), 0.0)  # hands move, one sits up
    return np.where(asleep, 0.95, mets + posture)


def settled(values: FloatArray, minutes: float, before: float) -> FloatArray:
    """The values as a body follows them, with a time constant in minutes, from `before` on."""
    from scipy.signal import lfilter

    keep = float(np.exp(-1 / minutes))
    out, _ = lfilter([1 - keep], [1, -keep], values, zi=[keep * before])
    return np.asarray(out)
