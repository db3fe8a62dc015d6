"""When beats come: the RR intervals of sinus rhythm, atrial fibrillation, pacing and premature beats."""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ....core.types import FloatArray, IntArray
from ..layout import FIBRILLATION, SINUS

ARRHYTHMIA = "sinus arrhythmia"  # a sinus rhythm by its intervals alone
PACED_RHYTHM = "paced"  # whatever the atria do
PACED_CV = 0.006  # of the intervals of a pacemaker
NORMAL, VENTRICULAR, ATRIAL = "N", "V", "A"  # WFDB codes of beats
COMPENSATED = {
    VENTRICULAR: 1.0,
    ATRIAL: 0.45,
}  # share of what a premature beat takes that the pause gives back
SHORTEST = 0.3  # s, refractory
TRIES = 50  # draws of a strip until the early beats that its patient has are in it
FIRST, EPISODE, PAUSE = (
    10.0,
    30.0,
    20.0,
)  # s: of sinus rhythm at first, and the least of an episode and of a pause
LONGER = {True: 60.0, False: 120.0}  # s by which episodes of fibrillation, and pauses, are longer on average
ASKED = 0.01  # how near the rate of a strip comes to the one asked for
STEPS, SHIFTS = 40, 6  # in which it is sought: stretches by one ASKED more or less, strips some beats later
CAUGHT_UP = 0.02  # share of a beat too many or too few that the next one makes up, where a rate is followed
IRREGULAR = 0.2  # coefficient of variation of the intervals of fibrillation by rule
BREATH = (0.15, 0.4)  # Hz, high-frequency band of heart-rate variability (Task Force 1996)


@dataclass(frozen=True)
class Variability:
    """Heart-rate variability: the logarithm of the coefficient of variation of RR intervals.

    For sinus rhythm a line in age and heart rate with normal scatter, for fibrillation and sinus arrhythmia a normal.
    """

    level: float = -3.4
    per_decade: float = -0.12
    per_10_bpm: float = -0.1
    scatter: float = 0.5
    fibrillation: float = -1.6
    fibrillation_scatter: float = 0.25
    arrhythmia: float = -2.4
    arrhythmia_scatter: float = 0.4

    @classmethod
    def fit(
        cls, peaks: Sequence[IntArray], rate: int, age: FloatArray, rhythms: Sequence[str]
    ) -> "Variability":
        """Least squares over records (peaks in samples, age in years with NaN as 60, rhythm)."""
        rows = []
        levels: dict[str, list[float]] = {FIBRILLATION: [], ARRHYTHMIA: []}
        for beats, years, rhythm in zip(peaks, np.nan_to_num(age, nan=60.0), rhythms, strict=True):
            gaps = np.diff(beats) / rate
            if len(gaps) < 4:
                continue
            # median absolute deviation, so that one missed beat counts little; breathing swings are in it, unlike in
            # successive differences
            cv = 1.4826 * np.median(np.abs(gaps - np.median(gaps))) / np.median(gaps)
            spot = np.log(max(cv, 0.003))
            if rhythm in levels:
                levels[rhythm].append(spot)
            else:
                rows.append((1.0, (years - 60) / 10, (60 / np.median(gaps) - 70) / 10, spot))
        table = np.array(rows)
        if len(table) < 10:
            return cls()
        line, *_ = np.linalg.lstsq(table[:, :3], table[:, 3], rcond=None)
        scatter = float(np.std(table[:, 3] - table[:, :3] @ line))
        level, per_decade, per_10_bpm = (float(x) for x in line)
        found: dict[str, float] = {}
        for name, key in ((FIBRILLATION, "fibrillation"), (ARRHYTHMIA, "arrhythmia")):
            if len(spots := levels[name]) >= 5:
                found |= {key: float(np.mean(spots)), f"{key}_scatter": float(np.std(spots))}
        return cls(level, per_decade, per_10_bpm, scatter, **found)


@dataclass(frozen=True)
class Beat:
    """One beat of a rhythm: its R peak in s, the interval in s that follows, and its kind as WFDB marks it.

    `p` is whether it has the P wave of its morphology; where the atria fibrillate by rule it has none.
    """

    at: float
    interval: float
    kind: str = NORMAL
    p: bool = True


@dataclass(frozen=True)
class Ectopy:
    """How often beats come early, by kind (V ventricular, A atrial), and when: as a share of the usual interval."""

    share: dict[str, float]
    early: tuple[float, float] = (0.55, 0.78)


def _gaps(
    rng: np.random.Generator, mean: float, age: float, rhythm: str, how: Variability
) -> Iterator[float]:
    """Intervals in s about `mean`, without end.

    Sinus: they swing with breathing (high frequency) and slowly (Mayer waves, 0.1 Hz), with a little jitter; in
    sinus arrhythmia with breathing above all. Fibrillation: independent and log-normal. Paced: all but the same.
    """
    while rhythm == PACED_RHYTHM:
        yield max(SHORTEST, mean * (1 + PACED_CV * float(rng.standard_normal())))
    if rhythm == FIBRILLATION:
        cv = float(np.exp(np.clip(rng.normal(how.fibrillation, how.fibrillation_scatter), -2.3, -0.9)))
        while True:
            yield max(SHORTEST, mean * float(np.exp(rng.normal(-(cv**2) / 2, cv))))
    spot, scatter = how.arrhythmia, how.arrhythmia_scatter
    if rhythm != ARRHYTHMIA:
        spot = how.level + how.per_decade * (age - 60) / 10 + how.per_10_bpm * (60 / mean - 70) / 10
        scatter = how.scatter
    cv = float(np.exp(np.clip(rng.normal(spot, scatter), -5.5, -1.9)))
    breath, slow = rng.uniform(*BREATH), rng.uniform(0.07, 0.12)
    share = rng.uniform(0.7 if rhythm == ARRHYTHMIA else 0.4, 0.9)
    turn = rng.uniform(0, 2 * np.pi, size=2)
    when = 0.0
    while True:
        swing = share * np.sin(2 * np.pi * breath * when + turn[0])
        swing += 1.6 * (1 - share) * np.sin(2 * np.pi * slow * when + turn[1])
        gap = max(SHORTEST, mean * (1 + np.sqrt(2) * cv * (swing + 0.4 * rng.standard_normal())))
        when += gap
        yield float(gap)


def _kinds(rng: np.random.Generator, ectopy: Ectopy | None) -> Iterator[str]:
    """Kinds of beats without end; no early beat follows another."""
    last = NORMAL
    while True:
        kind = NORMAL
        if ectopy is not None and last == NORMAL:
            u = rng.random()
            for name, share in ectopy.share.items():
                if u < share:
                    kind = name
                    break
                u -= share
        yield kind
        last = kind


def draw_beats(
    rng: np.random.Generator, heart_rate: float, age: float, rhythm: str, how: Variability, seconds: float,
    ectopy: Ectopy | None = None,
) -> Iterator[Beat]:  # fmt: skip
    """Beats from about one before time 0 on, without end; over the first `seconds` the median rate is as asked.

    An early beat shortens the interval before it and lengthens the one after it. Each kind of early beat comes in the
    first `seconds` at least once, as in a record from which the diagnosis was made.
    """
    mean = 60 / heart_rate
    raw, kinds = _gaps(rng, mean, age, rhythm, how), _kinds(rng, ectopy)
    count = int(seconds / mean * 2) + 12
    for _ in range(TRIES if ectopy is not None else 1):
        start = -mean * (1 + rng.uniform(0, 1))
        first = list(_early(rng, raw, kinds, ectopy, count))
        times = start + np.cumsum([gap for gap, _ in first])
        shift, factor = _stretch(times, mean, seconds)
        inside = int(np.flatnonzero(times >= 0)[0])  # this peak stays where it is
        moved = times[inside] + (times - times[inside + shift]) * factor
        known = [Beat(float(t), 0.0, kind) for t, (_, kind) in zip(moved, first, strict=True)]
        shown = {beat.kind for beat in known if 0 <= beat.at < seconds}
        if ectopy is None or shown.issuperset(ectopy.share):
            break
    before = None
    for beat in known:
        if before is not None:
            yield replace(before, interval=beat.at - before.at)
        before = beat
    assert before is not None
    while True:
        for gap, kind in _early(rng, raw, kinds, ectopy, 64):
            beat = Beat(before.at + gap * factor, 0.0, kind)
            yield replace(before, interval=beat.at - before.at)
            before = beat


class Paroxysms:
    """When atria fibrillate that do so in episodes: by rule, from whole second to whole second, without end.

    The first episode begins in the first `seconds` and lasts at least EPISODE of them; an episode of less is not
    counted as atrial fibrillation (Hindricks et al., Eur Morphology J 2021;42:373).
    """

    def __init__(self, rng: np.random.Generator, seconds: float) -> None:
        assert seconds >= FIRST + EPISODE
        self._rng = rng
        self._edges = [float(np.floor(rng.uniform(FIRST, seconds - EPISODE)))]

    def on(self, time: float) -> bool:
        """Whether the atria fibrillate at this time in s."""
        while self._edges[-1] <= time:
            begun = len(self._edges) % 2 == 1
            least = EPISODE if begun else PAUSE
            self._edges.append(self._edges[-1] + float(np.ceil(least + self._rng.exponential(LONGER[begun]))))
        return bisect_right(self._edges, time) % 2 == 1

    def changes(self, seconds: float) -> list[tuple[float, str]]:
        """Times in s at which a rhythm begins, and which, from 0 on."""
        self.on(seconds)
        edges = [0.0, *(edge for edge in self._edges if edge < seconds)]
        return [(edge, (SINUS, FIBRILLATION)[k % 2]) for k, edge in enumerate(edges)]


def follow_rate(
    beats: Iterator[Beat], mean_rate: float, rate: Callable[[float], float], fibrillates: Callable[[float], bool],
    rng: np.random.Generator,
) -> Iterator[Beat]:  # fmt: skip
    """Beats whose mean rate is `mean_rate` a minute, at a rate that may change from second to second.

    Intervals keep their irregularity relative to the mean; beats are counted, so that over minutes there are as many as
    the rate asks for. Where the atria fibrillate by rule, intervals are independent and log-normal, without P waves.
    """
    at, ahead = None, 0.0
    for beat in beats:
        at = beat.at if at is None else at
        now = rate(at)
        if fibrillates(at):
            gap = 60 / now * float(np.exp(rng.normal(-(IRREGULAR**2) / 2, IRREGULAR)))
            beat = Beat(at, 0.0, p=False)
        else:
            gap = beat.interval * mean_rate / now
        gap = max(SHORTEST, gap * float(np.clip(1 + CAUGHT_UP * ahead, 0.9, 1.1)))
        yield replace(beat, at=at, interval=gap)
        ahead = float(np.clip(ahead + 1 - gap * now / 60, -10, 10))
        at += gap


def _early(
    rng: np.random.Generator, raw: Iterator[float], kinds: Iterator[str], ectopy: Ectopy | None, count: int
) -> Iterator[tuple[float, str]]:
    """`count` pairs of the interval before a beat and its kind; the last is never early."""
    owed = 0.0
    for k in range(count):
        gap, kind = next(raw) + owed, next(kinds)
        owed = 0.0
        if kind != NORMAL and ectopy is not None and k < count - 1:
            lost = gap * (1 - rng.uniform(*ectopy.early))
            owed = lost * COMPENSATED[kind]
            yield max(SHORTEST, gap - lost), kind
        else:
            yield gap, NORMAL


def _stretch(times: FloatArray, mean: float, seconds: float) -> tuple[int, float]:
    """Beats to skip and the factor on time with which the median interval in the strip is the mean asked for.

    Stretching moves beats over the ends of the strip, which changes the median where intervals are irregular;
    then the nearest stretch that comes within ASKED is taken, or that of a strip some beats later.
    """
    inside = np.flatnonzero((times >= 0) & (times < seconds))
    if len(inside) < 3:
        return 0, 1.0
    first, ratio = times[inside[0]], mean / np.median(np.diff(times[inside]))
    best, least = (0, 1.0), np.inf
    for shift in range(SHIFTS):
        since = times - times[inside[0] + shift]
        for step in range(2 * STEPS):  # by turns a little less and more
            factor = float(ratio * (1 + ASKED) ** ((step + 1) // 2 * (-1) ** step))
            moved = first + since * factor
            shown = moved[(moved >= 0) & (moved < seconds)]
            off = float(abs(np.median(np.diff(shown)) / mean - 1)) if len(shown) > 2 else np.inf
            if off < ASKED:
                return shift, factor
            if off < least:
                best, least = (shift, factor), off
    return best
