"""Body: what stays the same of one patient over a month, from the profile, the facts of the ECG and the seed."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
from scipy.special import gammaincinv, ndtr

from ...core.assertions import FIBRILLATION, FLUTTER, SINUS, rhythm
from ...core.modality import Facts
from ...core.profile import PatientProfile
from ...core.study import Study
from ...core.types import FloatArray
from .figures import figures

ECG_RATE = 500  # Hz, of the marks among the facts of an ECG
CUT, EDGE = 2, 0.03  # beats at the ends of an ECG that may have no mark; s from the end at which they are
DAY, MINUTES = 86400, 1440
INJECTS = 190.0  # mg/dL, the usual glucose above which a diabetic patient has insulin
CALM = (48.0, 110.0)  # /min, resting heart rates of people at home
_ANY_DAY = date(2000, 1, 3)  # a Monday, for patients without a calendar


@dataclass(frozen=True, eq=False)
class Strip:
    """An ECG of the index day: when it begins (second of that day), how long it is, its R peaks in s from there.

    `facts` are those of the ECG that it was read from, as far as they were needed.
    """

    begins: float
    seconds: float
    peaks: FloatArray
    rate: float
    facts: Facts


@dataclass(frozen=True, eq=False)
class Body:
    """One patient. Rates a minute, pressures mm[Hg], glucose mg/dL, temperatures Cel, times of day in hours.

    `resting` is the heart rate awake at rest when well, `acute` what the illness of the visit adds on the index day.
    `monday` is the weekday of the index date. `codes` are the conditions that are present.
    """

    seed: int
    age: float
    female: bool
    bmi: float
    codes: frozenset[str]
    rhythm: str
    paced: bool
    resting: float
    acute: Mapping[str, float]
    greatest: float
    capacity: float
    rmssd: float
    saturation: float
    respiration: float
    steps: float
    sleep: float
    midpoint: float
    efficiency: float
    systolic: float
    diastolic: float
    glucose: float
    diabetic: bool
    insulin: bool
    gap: float
    weekday: int
    phase: float
    strip: Strip | None = None
    ectopic: float = 0.0

    def fading(self, offset: int) -> float:
        """The share of the acute illness that is there on a day, counted from the index day."""
        return math.exp(min(0, offset) / float(figures()["acute"]["fading"]))

    def rng(self, *stream: int) -> np.random.Generator:
        """Random numbers of this patient; a stream a purpose and a day."""
        return np.random.default_rng([self.seed, *(number % 2**32 for number in stream)])


def body_of(profile: PatientProfile, facts: Mapping[str, Facts], seed: int) -> Body:
    """The body of a patient; `facts` are those of other modalities, of which an ECG among `signals` is heeded."""
    given, rng = figures(), np.random.default_rng([seed, 0])
    z = dict(zip(_TRAITS, rng.standard_normal(len(_TRAITS)), strict=True))
    codes = frozenset(code for code, present in profile.conditions.items() if present)
    age = 50.0 if profile.age is None else profile.age
    signals = facts.get("signals", {})
    strip = _strip(signals, profile)
    found = str(signals.get("rhythm", rhythm(tuple(codes))))
    acute = _acute(codes)
    known = profile.measurements
    shown = strip.rate if strip else float(known.get("heart_rate", 70 + 8 * z["rate"]))
    resting = float(np.clip(shown - acute.get("heart_rate", 0.0), *CALM))
    acute["heart_rate"] = shown - resting
    bmi = 26.0 if not (profile.height and profile.weight) else profile.weight / (profile.height / 100) ** 2
    heart, female = given["heart"], profile.sex == "F"
    capacity = heart["capacity"]
    level, slope = capacity["F" if female else "M"]
    mets = (level + slope * age) * _factor(heart["capacity_factor"], codes) * math.exp(0.15 * z["fitness"])
    rmssd = float(np.interp(age, heart["rmssd"]["years"], heart["rmssd"]["ms"]))
    rmssd *= _factor(heart["rmssd_factor"], codes) * math.exp(heart["rmssd_spread"]["log"] * z["rmssd"])
    sleep = given["sleep"]
    shown_systolic = float(known.get("systolic", 122 + 13 * z["systolic"]))
    systolic = float(np.clip(shown_systolic - acute["systolic"], 92, 200))
    day = profile.index_date or _ANY_DAY
    saturation = known.get("oxygen_saturation", 97 + z["saturation"]) - acute["oxygen_saturation"]
    breath = known.get("respiration", 15 + 1.5 * z["breath"]) - acute["respiration"]
    efficient = sleep["efficiency"]["mean"] + sleep["efficiency"]["per_decade"] * (age - 45) / 10
    share = float(np.clip(known.get("diastolic", 0.62 * shown_systolic) / shown_systolic, 0.45, 0.78))
    injects = any(code.startswith("E10") for code in codes) or float(known.get("glucose", 0)) > INJECTS
    diabetic = any(code.startswith(("E10", "E11", "E13")) for code in codes)
    greatest = max(heart["greatest"]["at_birth"] + heart["greatest"]["per_year"] * age, resting + 25)
    return Body(
        seed=seed, age=age, female=female, bmi=float(np.clip(bmi, 14, 60)), codes=codes, rhythm=found,
        paced="Z95.0" in codes, resting=resting, acute=acute, greatest=float(greatest),
        capacity=max(float(mets), float(capacity["least"])), rmssd=rmssd,
        saturation=float(np.clip(saturation, 86, 99)),
        respiration=float(np.clip(breath, 9, 26)),
        steps=_steps(age, codes, z), sleep=float(np.clip(sleep["mean"] + sleep["deviation"] * z["sleep"], 3, 10.5)),
        midpoint=float(sleep["midpoint"]["clock"] + sleep["midpoint"]["between"] * z["midpoint"]),
        efficiency=float(np.clip(efficient + 0.03 * z["efficiency"], 0.55, 0.97)),
        systolic=systolic, diastolic=systolic * share,
        glucose=_glucose(known, diabetic, acute, z), diabetic=diabetic,
        insulin=diabetic and injects,
        gap=given["glucose"]["gap"]["share"] * float(z["gap"]), weekday=day.weekday(),
        phase=float(rng.uniform(0, given["skin"]["cycle"]["days"])), strip=strip,
        ectopic=sum(heart["ectopic"].get(code, 0.0) for code in codes),
    )  # fmt: skip


_TRAITS = (
    "rate", "fitness", "rmssd", "saturation", "breath", "steps", "sleep", "midpoint", "efficiency", "systolic",
    "glucose", "gap",
)  # fmt: skip


def _factor(table: Mapping[str, Any], codes: frozenset[str]) -> float:
    return math.prod(float(value) for code, value in table.items() if code in codes)


def _acute(codes: frozenset[str]) -> dict[str, float]:
    """What the acute illnesses of the visit add on its day, by channel; of steps the least of their factors."""
    table = figures()["acute"]
    names = ("heart_rate", "skin_temperature", "respiration", "oxygen_saturation", "systolic")
    found = {name: float(sum(table[name].get(code, 0) for code in codes)) for name in names}
    found["steps"] = min((float(table["steps"][code]) for code in codes & set(table["steps"])), default=1.0)
    return found


def _strip(signals: Facts, profile: PatientProfile) -> Strip | None:
    """The ECG that the facts tell of; None without one."""
    rate = signals.get("heart_rate")
    if rate is None:
        return None
    marks = [at for at, kind in signals.get("waves", ()) if kind == "N"]
    peaks = np.array(marks, dtype=np.float64) / ECG_RATE
    peaks = _completed(peaks, int(signals.get("beats", len(peaks))) - len(peaks))
    study = Study.of(signals, profile.index_date or _ANY_DAY)
    begins = 9 * 3600.0
    if study is not None and study.taken is not None:
        begins = float((study.taken - study.taken.replace(hour=0, minute=0, second=0)).total_seconds())
    last = float(peaks[-1]) if len(peaks) else 10.0
    known = {
        name: signals[name] for name in ("heart_rate", "rhythm", "beats", "study_uid") if name in signals
    }
    known["waves"] = [[at, "N"] for at in marks]
    return Strip(begins, max(10.0, last + 0.01), peaks, float(rate), known)


def _completed(peaks: FloatArray, missing: int) -> FloatArray:
    """(beat,) R peaks in s, with those at the ends of the ECG whose QRS is cut, so that they have no mark; at most CUT.

    Such a peak is within EDGE of an end; of one, it is the end at which a beat is due. Others are not known: none then.
    """
    if missing <= 0:
        return peaks
    if missing > CUT or len(peaks) < 3:
        return np.empty(0)
    usual, last = float(np.median(np.diff(peaks))), max(10.0, float(np.ceil(peaks[-1]))) - EDGE
    ends = sorted(
        ((abs(peaks[0] - EDGE - usual), EDGE), (abs(last - peaks[-1] - usual), last)), key=lambda end: end[0]
    )
    return np.sort(np.concatenate([peaks, [at for _, at in ends[:missing]]]))


def _steps(age: float, codes: frozenset[str], z: Mapping[str, float]) -> float:
    """Mean steps a day: the published distribution at the percentile that age, conditions and chance give."""
    given = figures()["steps"]
    older = given["of_age"]
    share = older["share"]
    years = float(np.clip((age - older["middle"]) / older["spread"], -2.5, 2.5))
    place = math.sqrt(1 - share**2) * z["steps"] - share * years
    place += sum(float(value) for code, value in given["by_condition"].items() if code in codes)
    shape = (given["mean"] / given["deviation"]) ** 2
    return float(max(200.0, gammaincinv(shape, ndtr(place)) * (given["mean"] / shape)))


def _glucose(
    known: Mapping[str, float], diabetic: bool, acute: Mapping[str, float], z: Mapping[str, float]
) -> float:
    """Mean glucose of the month."""
    given = figures()["glucose"]
    lab = float(known.get("glucose", 150.0 if diabetic else given["well"]["mean"]))
    if diabetic:
        return float(np.clip(lab * math.exp(given["diabetes"]["log"] * z["glucose"]), 105, 380))
    mean = (
        given["well"]["mean"] + given["well"]["between"] * z["glucose"] + 0.2 * (np.clip(lab, 70, 125) - 98)
    )
    return float(np.clip(mean, 80, 128))


def rhythm_of(body: Body) -> str:
    """sinus, atrial fibrillation or atrial flutter, as the intervals are drawn."""
    return body.rhythm if body.rhythm in (FIBRILLATION, FLUTTER) else SINUS
