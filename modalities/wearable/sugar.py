"""Sugar: meals, insulin and the glucose that follows, every five minutes."""

import math
from dataclasses import dataclass

import numpy as np

from ...core.types import FloatArray
from .body import MINUTES, Body
from .figures import figures

STEP = 5  # minutes
SLOTS = MINUTES // STEP
LOW, HIGH = 40.0, 400.0  # mg/dL, what a sensor shows
MEALS = (
    (7.6, 0.6, 45),
    (12.8, 0.5, 62),
    (18.9, 0.7, 70),
    (15.8, 1.2, 20),
    (21.3, 0.8, 14),
)  # hour, spread, g
EATEN = (0.93, 0.97, 0.98, 0.6, 0.4)  # chance that there is such a meal
LONG = 2  # days after which a meal is forgotten


@dataclass(frozen=True)
class Meals:
    """What was eaten and injected on a day: minutes of the day, grams of carbohydrate, units of insulin."""

    minute: FloatArray
    grams: FloatArray
    units: FloatArray


def meals(body: Body, offset: int) -> Meals:
    """The meals of a day; units are 0 for patients without insulin."""
    rng, given = body.rng(5, offset), figures()["glucose"]["insulin"]
    hour, spread, usual = np.array(MEALS).T
    at = hour + spread * rng.standard_normal(len(MEALS)) + 0.3 * (body.midpoint - 3.3)
    grams = usual * np.exp(0.3 * rng.standard_normal(len(MEALS)) - 0.045) * (0.85 if body.diabetic else 1.0)
    eaten = rng.random(len(MEALS)) < EATEN
    order = np.argsort(at[eaten])
    minute, grams = np.rint(60 * at[eaten][order]).clip(0, MINUTES - 1), np.rint(grams[eaten][order])
    units = np.rint(grams * given["units_per_gram"]) * (body.insulin & (grams >= 25))
    return Meals(minute, grams, units)


def _response(body: Body) -> tuple[float, float]:
    """Greatest rise by a gram in mg/dL, and minutes to it."""
    given = figures()["glucose"]
    kind = "diabetes" if body.diabetic else "well"
    less = 1 - given["insulin"]["share"] if body.insulin else 1.0
    return given["per_gram"][kind] * less, given["peak"][kind]


def curve(body: Body, offset: int, today: Meals, before: Meals, mets: FloatArray) -> FloatArray:
    """(288,) glucose in mg/dL of a day; over many days its mean is the body's."""
    from scipy.signal import lfilter

    given, rng = figures()["glucose"], body.rng(6, offset)
    kind = "diabetes" if body.diabetic else "well"
    rise, peak = _response(body)
    time = STEP * np.arange(SLOTS) + STEP / 2
    out = np.zeros(SLOTS)
    for eaten, shift in ((before, -MINUTES), (today, 0)):
        since = np.maximum(time[:, None] - eaten.minute - shift, 0) / peak
        out += (rise * eaten.grams * since * np.exp(1 - since)).sum(1)
    grams = sum(g * share for (_, _, g), share in zip(MEALS, EATEN, strict=True)) * (
        0.85 if body.diabetic else 1.0
    )
    dawn = given["dawn"][kind] * np.exp(-0.5 * ((time / 60 - 6.5) / 1.6) ** 2)
    active = mets.reshape(SLOTS, STEP).mean(1)
    burnt = lfilter([0.06], [1, -0.94], np.maximum(active - 1.05, 0)) * (14 if body.diabetic else 3)
    keep = float(np.exp(-STEP / given["wander"]["memory"]))
    noise = rng.standard_normal(SLOTS + 24)
    wander = lfilter([np.sqrt(1 - keep**2)], [1, -keep], noise)[24:] * given["wander"][kind]
    daily = given["wander"][kind] * 0.7 * rng.standard_normal()
    base = body.glucose - rise * grams * peak * math.e / MINUTES - dawn.mean()
    out += base + dawn - (burnt - burnt.mean()) + wander + daily
    if body.insulin and rng.random() < 0.15:  # too much insulin
        at, deep = rng.choice(np.append(today.minute, 120.0)) + rng.uniform(90, 180), rng.uniform(50, 110)
        out -= deep * np.exp(-0.5 * ((time - at) / 35) ** 2)
    floor = 66.0 if not body.insulin else 48.0
    return np.clip(np.where(out < floor, floor + 0.25 * (out - floor), out), LOW, HIGH)


def hba1c(body: Body) -> float:
    """HbA1c in %, of the body's mean glucose, so that over people the mean glucose lies about the ADAG line.

    The line gives glucose by HbA1c. The other way round it is flatter, by the share of the variance that it explains,
    about the middle of the study.
    """
    line = figures()["glucose"]["line"]
    usual = line["slope"] * line["middle"] + line["intercept"]
    value = (line["middle"] + line["explained"] * (body.glucose - usual) / line["slope"]) * (1 + body.gap)
    return round(float(np.clip(value, 4.2, 17.0 if body.diabetic else 6.2)), 1)
