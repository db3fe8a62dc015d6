"""Nights: when a patient sleeps, and in which stage, minute by minute."""

import numpy as np

from ...core.types import AnyArray
from .body import MINUTES, Body
from .figures import figures

WAKE, LIGHT, DEEP, REM = 0, 1, 2, 3
STAGES = ("wake", "light", "deep", "rem")
_DEEP = np.array([0.45, 0.3, 0.15, 0.07, 0.03, 0, 0, 0])  # of the night's, by cycle
_REM = np.array([0.07, 0.17, 0.22, 0.26, 0.28, 0.3, 0.3, 0.3])


def stages(body: Body, offset: int) -> AnyArray:
    """(1440,) int8 stage of each minute of a day, -1 out of bed."""
    day = np.full(MINUTES, -1, dtype=np.int8)
    for night in (offset, offset + 1):  # the one that ends on this day, and the one that begins on it
        begins, asleep = _night(body, night)
        begins += (night - offset) * MINUTES
        first, last = max(begins, 0), min(begins + len(asleep), MINUTES)
        if first < last:
            day[first:last] = asleep[first - begins : last - begins]
    return day


def _night(body: Body, offset: int) -> tuple[int, AnyArray]:
    """When the night that ends on a day begins, in minutes from its midnight (mostly negative), and its stages."""
    given, rng = figures()["sleep"], body.rng(1, offset)
    z = rng.standard_normal(3)
    hours = float(np.clip(body.sleep + given["night"]["hours"] * z[0], 2.0, 12.0))
    weekend = (body.weekday + offset) % 7 in (5, 6)
    middle = body.midpoint + given["midpoint"]["night"] * z[1] + given["midpoint"]["weekend"] * weekend
    total = round(60 * hours)
    awake = round(total * (1 / float(np.clip(body.efficiency + 0.03 * z[2], 0.5, 0.98)) - 1))
    older = (body.age - 40) / 10
    deep = total * max(given["deep"]["least"], given["deep"]["share"] + given["deep"]["per_decade"] * older)
    rem = total * (given["rem"]["share"] + given["rem"]["per_decade"] * older)
    asleep = _cycles(total, deep, rem, given["cycle"]["minutes"], rng)
    return round(60 * middle - (total + awake) / 2), _interrupted(asleep, awake, rng)


def _cycles(total: int, deep: float, rem: float, length: int, rng: np.random.Generator) -> AnyArray:
    """(total,) stages of an uninterrupted sleep: light, deep, light, REM, again and again."""
    count = max(1, round(total / length))
    lengths = np.diff(np.round(np.linspace(0, total, count + 1)).astype(int))
    weights = [np.resize(all_cycles, max(8, count))[:count] for all_cycles in (_DEEP, _REM)]
    weights = [own / own.sum() for own in weights]
    parts = []
    for minutes, share_deep, share_rem in zip(lengths, *weights, strict=True):
        own_deep = min(round(deep * share_deep), round(0.7 * minutes))
        own_rem = min(round(rem * share_rem), round(0.55 * minutes), minutes - own_deep)
        light = minutes - own_deep - own_rem
        first = round(light * rng.uniform(0.25, 0.5))
        parts += [(LIGHT, first), (DEEP, own_deep), (LIGHT, light - first), (REM, own_rem)]
    return np.repeat(np.array([p[0] for p in parts], np.int8), [max(0, p[1]) for p in parts])[:total]


def _interrupted(asleep: AnyArray, awake: int, rng: np.random.Generator) -> AnyArray:
    """The sleep with so many minutes awake: falling asleep first, then in awakenings at random moments."""
    latency = min(awake, 1 + int(rng.exponential(12)))
    rest, places, lengths = awake - latency, [0], [latency]
    while rest > 0:
        lasts = min(rest, 1 + int(rng.exponential(4)))
        places.append(int(rng.integers(1, max(2, len(asleep)))))
        lengths.append(lasts)
        rest -= lasts
    return np.insert(asleep, np.repeat(places, lengths), WAKE)
