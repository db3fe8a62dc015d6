"""Heart: the heart rate that each minute asks for, and the beats that it becomes, which all channels follow."""

import numpy as np

from ...core.assertions import FIBRILLATION, FLUTTER
from ...core.types import AnyArray, FloatArray
from .body import DAY, MINUTES, Body, rhythm_of
from .figures import figures
from .movement import resting_minutes, settled
from .night import DEEP, LIGHT, REM

GRID = 2  # Hz, on which the rate is integrated
WINDOW = 8.0  # s over which a heart rate by the second is counted
LEAST, MOST = 28.0, 215.0  # /min
SLOW_WAVE = 0.1  # Hz (Task Force, Circulation 1996;93:1043)


def target(
    body: Body, offset: int, stage: AnyArray, mets: FloatArray, slow: FloatArray, lead: int
) -> FloatArray:
    """(minute,) heart rate a minute asked for; the first `lead` minutes are the end of the day before."""
    given, rng = figures()["heart"], body.rng(3, offset)
    fibrillates = rhythm_of(body) == FIBRILLATION
    hours = (np.arange(-lead, MINUTES) % MINUTES) / 60
    calm = np.full(len(stage), body.resting) * (1 + 0.02 * np.cos(2 * np.pi * (hours - 16) / 24))
    for which, name in ((LIGHT, "light"), (DEEP, "deep"), (REM, "rem")):
        depth = 1 - given["asleep"][name]
        calm = np.where(stage == which, body.resting * (1 - depth * (0.7 if fibrillates else 1.0)), calm)
    since = np.minimum(0, offset + (np.arange(-lead, MINUTES) - MINUTES / 2) / MINUTES)  # days
    calm = calm + body.acute["heart_rate"] * np.exp(since / figures()["acute"]["fading"])
    share = np.clip((mets - 1) / (body.capacity - 1), 0, 0.95) * (
        given["rise"]["fibrillation"] if fibrillates else 1
    )
    asked = calm + np.maximum(body.greatest - calm, 10) * np.clip(share, 0, 0.95)
    asked *= 1 + given["slow"]["sinus"] * slow + 0.008 * rng.standard_normal(len(slow))
    lasts = given["settle"]["heart_failure" if "I50.9" in body.codes else "well"]
    rate = settled(asked, lasts, float(asked[0]))[lead:]
    if body.strip is not None and offset == 0:
        rate = _pinned(body, rate)
    lowest = LEAST
    if body.paced:
        lowest = min(given["paced"]["lowest"], body.strip.rate if body.strip else np.inf)
    return np.clip(rate, lowest, MOST)


def _pinned(body: Body, rate: FloatArray) -> FloatArray:
    """The same, at the ECG's own heart rate while the patient lies for it."""
    assert body.strip is not None
    first, last = resting_minutes(body)
    minute = np.arange(MINUTES)
    weight = np.clip(np.minimum(minute - first, last - 1 - minute) / 5, 0, 1)
    return rate * (1 - weight) + body.strip.rate * weight


def beats(
    body: Body, offset: int, rate: FloatArray, breath: FloatArray, variability: FloatArray
) -> FloatArray:
    """(beat,) times in s of the beats of a day, the first at 0; `rate` and `breath` a minute, RMSSD in ms.

    The phase of an integral pulse frequency modulator: sinus beats come where it is whole, swinging with the breath
    and slowly; in fibrillation at steps with an independent log-normal length. Beats of the ECG are its own.
    """
    given, rng = figures()["heart"], body.rng(4, offset)
    time = np.arange(DAY * GRID + 1) / GRID
    centre = 60.0 * np.arange(MINUTES) + 30
    per_second = np.interp(time, centre, rate / 60)
    kind = rhythm_of(body)
    if kind not in (FIBRILLATION, FLUTTER) and not body.paced:
        turn = 2 * np.pi * rng.random(2)
        frequency = np.interp(time, centre, breath / 60)
        swing = np.sin(2 * np.pi * np.cumsum(frequency) / GRID + turn[0])
        interval = 60 / rate
        # RMSSD of a sinusoid of amplitude a sampled every interval: a sqrt(2) sin(pi frequency interval)
        size = (
            0.8
            * variability
            / 1000
            / (np.sqrt(2) * np.abs(np.sin(np.pi * np.minimum(breath / 60 * interval, 0.5))) + 1e-3)
        )
        size = np.minimum(size / interval, 0.2)
        per_second *= 1 + np.interp(time, centre, size) * swing
        slow = np.sin(2 * np.pi * (SLOW_WAVE * time + 0.6 * np.sin(2 * np.pi * time / 47)) + turn[1])
        per_second *= 1 + np.interp(time, centre, np.minimum(0.7 * size, 0.08)) * slow
    phase = np.concatenate([[0.0], np.cumsum((per_second[1:] + per_second[:-1]) / (2 * GRID))])
    count = max(1, round(float(phase[-1])))
    phase *= count / phase[-1]
    if kind == FIBRILLATION:
        spread = given["irregular"]["fibrillation"]
        steps = np.exp(rng.normal(0, spread, count))
        here = np.interp(
            np.cumsum(steps) * (count / steps.sum()), phase, per_second[: len(phase)]
        )  # /s, there
        steps = np.maximum(steps, given["irregular"]["shortest"] * here)
        places = np.concatenate([[0.0], np.cumsum(steps)[:-1]]) * (count / steps.sum())
    else:
        jitter = given["irregular"]["flutter"] if kind == FLUTTER else given["paced"]["irregular"]
        if kind != FLUTTER and not body.paced:
            jitter = 0.35 * float(np.median(variability)) / 1000
        places = np.arange(count) + np.concatenate(
            [[0.0], np.clip(jitter * rng.standard_normal(count - 1), -0.3, 0.3)]
        )
        if body.ectopic:
            early = np.flatnonzero(rng.random(count) < body.ectopic)
            early = early[(early > 1) & np.concatenate([[True], np.diff(early) > 2])]
            places[early] -= rng.uniform(0.25, 0.4, len(early))
    found = np.interp(places, phase, time)
    return _with_strip(body, found) if offset == 0 else found


def _with_strip(body: Body, found: FloatArray) -> FloatArray:
    """The beats, those of the ECG in its time."""
    strip = body.strip
    if strip is None or len(strip.peaks) < 2:
        return found
    own = strip.begins + strip.peaks
    usual = 60 / strip.rate
    outside = (found < own[0] - 0.5 * usual) | (found > own[-1] + 0.5 * usual)
    return np.sort(np.concatenate([found[outside], own]))


def counted(found: FloatArray, times: FloatArray) -> FloatArray:
    """Beats, with fractions, since the first of a day at these seconds; the next day's first beat comes at its end."""
    return np.interp(times, np.concatenate([found, [float(DAY)]]), np.arange(len(found) + 1))


def by_second(found: FloatArray) -> FloatArray:
    """(86400,) heart rate at each second of a day, counted over WINDOW around it."""
    middle = np.asarray(np.arange(DAY) + 0.5, dtype=np.float64)
    begin, end = np.maximum(middle - WINDOW / 2, 0), np.minimum(middle + WINDOW / 2, DAY)
    return 60 * (counted(found, end) - counted(found, begin)) / (end - begin)


def by_minute(found: FloatArray) -> FloatArray:
    """(1440,) beats of each minute, with fractions."""
    return np.diff(counted(found, np.asarray(60 * np.arange(MINUTES + 1), dtype=np.float64)))


def rmssd(found: FloatArray, seconds: int = 300) -> FloatArray:
    """(bin,) root mean square of successive differences of intervals in ms, by bins of a day."""
    gaps = 1000 * np.diff(found)
    squares, at = np.diff(gaps) ** 2, (found[1:-1] // seconds).astype(int)
    bins = DAY // seconds
    number = np.bincount(at, minlength=bins)[:bins]
    total = np.bincount(at, squares, minlength=bins)[:bins]
    return np.sqrt(np.divide(total, number, out=np.full(bins, np.nan), where=number > 4))
