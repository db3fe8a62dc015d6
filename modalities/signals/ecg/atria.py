"""Atrial activity outside sinus rhythm: flutter waves and fibrillatory waves, both rule-based."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from ....core.errors import InputError
from ....core.types import FloatArray
from .beats import KNOTS
from .morphology import Morphology
from .rhythm import Beat

Waves = Callable[[FloatArray], FloatArray]  # (sample,) s to (lead, sample) mV of I, II, V1 to V6
Rate = Callable[[float], float]  # s to beats a minute

FIBRILLATORY = (4.7, 5.8, 7.1)  # Hz
FIBRILLATORY_SIZE = np.array([12, 25, 45, 25, 12, 10, 10, 10.0]) / 1000  # mV in I, II, V1 to V6
RISE = 0.3  # s in which they swell
TYPICAL, ABLE = (240.0, 340.0), (200.0, 400.0)  # flutter waves a minute: of most circuits, and of any
CONDUCTED = (2, 3, 4, 5, 6)  # waves a beat that the atrioventricular node may let pass
USUAL = {2: 6.0, 3: 1.0, 4: 4.0, 5: 0.3, 6: 0.7}  # odds of one against another, where a rate allows both
VARIABLE = 0.3  # share of patients in whom conduction varies from beat to beat
UNSTEADY = (0.15, 0.7, 0.15)  # one wave less, as usual, one more, where it varies
# Of a counterclockwise circuit: negative sawteeth in II, III and aVF, next to nothing in I, and small positive waves
# in V1 that turn negative towards V6.
FLUTTER_SIZE = (0.14, 0.30)  # mV from top to bottom in II
FLUTTER_LEADS = np.array([0.08, 1.0, -0.45, -0.15, 0.1, 0.2, 0.25, 0.3])  # over II
DOWN = 0.62  # share of a wave in which it sinks to its trough, slowly; it comes back steeply
ROUND = 5  # harmonics of a wave: tissue rounds its corners
ODDS = 64  # places of one wave


class Flutter:
    """Beats of typical atrial flutter and its waves, `waves` a minute, each beat on a whole number of them.

    Conduction follows `rate`: the number of waves until the next beat is the nearest to what the rate asks for, and
    what is left over is owed. `variable` lets it vary where the rate would not.
    """

    def __init__(self, rng: np.random.Generator, waves: float, rate: Rate, variable: bool) -> None:
        self._rng, self._period, self._rate, self._variable = rng, 60 / waves, rate, variable
        self._leads = FLUTTER_LEADS * rng.normal(1, 0.15, len(FLUTTER_LEADS)) * rng.uniform(*FLUTTER_SIZE)
        self._begun = -self._period * rng.uniform(4, 8)
        self._turn = rng.uniform(0.1, 0.4)  # of a wave, from its top to the R peak

    def beats(self) -> Iterator[Beat]:
        """From some waves before time 0 on, without end."""
        at, owed, passed = self._begun, 0.0, 0
        while True:
            ideal = 60 / self._rate(at) / self._period + owed
            shift = self._rng.choice((-1, 0, 1), p=UNSTEADY) if self._variable else 0
            count = max(CONDUCTED[0], round(ideal + shift))
            owed = float(np.clip(ideal - count, -1.5, 1.5))
            yield Beat(at, count * self._period, p=False)
            passed += count
            at = self._begun + passed * self._period

    def waves(self, time: FloatArray) -> FloatArray:
        """See Waves."""
        place = (time - self._begun) / self._period + self._turn
        return np.asarray(np.outer(self._leads, np.interp(place % 1, np.arange(ODDS + 1) / ODDS, _SAW)))


def conduction(rng: np.random.Generator, heart_rate: float) -> tuple[float, bool]:
    """Flutter waves a minute with which a heart rate comes about, and whether conduction varies.

    Raises InputError for a heart rate that no conduction gives.
    """
    usual, able = (
        [count for count in CONDUCTED if low <= count * heart_rate <= high] for low, high in (TYPICAL, ABLE)
    )
    able = usual or able
    if not able:
        low, high = np.ceil(ABLE[0] / CONDUCTED[-1]), ABLE[1] / CONDUCTED[0]
        raise InputError(
            f"heart rate {heart_rate:g}: atrial flutter has {low:g} to {high:g} a minute, every second to sixth of "
            f"{ABLE[0]:g} to {ABLE[1]:g} waves; give another heart rate or take the flutter away"
        )
    odds = np.array([USUAL[count] for count in able])
    count = int(rng.choice(able, p=odds / odds.sum()))
    return count * heart_rate, bool(count > CONDUCTED[0] and rng.uniform() < VARIABLE)


def _saw() -> FloatArray:
    """(place,) one wave, 1 from top to bottom and 0 in the mean, its first value repeated at the end."""
    place = np.arange(ODDS) / ODDS
    sharp = np.where(place < DOWN, 1 - place / DOWN, (place - DOWN) / (1 - DOWN))
    spectrum = np.fft.rfft(sharp)
    spectrum[0], spectrum[ROUND + 1 :] = 0, 0
    wave = np.fft.irfft(spectrum, ODDS)
    return np.asarray(np.append(wave, wave[0]) / np.ptp(wave))


_SAW = _saw()


def fibrillatory(rng: np.random.Generator, when: Callable[[float], bool]) -> Waves:
    """Small irregular waves in the seconds in which `when` is true; they swell and fade within RISE of its change."""
    turn = rng.uniform(0, 2 * np.pi, len(FIBRILLATORY))

    def waves(time: FloatArray) -> FloatArray:
        first = np.floor(time[0])
        held = np.array([when(t) for t in np.arange(first - 1, np.floor(time[-1]) + 1)], dtype=float)
        if not held.any():
            return np.zeros((len(FIBRILLATORY_SIZE), len(time)))
        second = (np.floor(time) - first).astype(np.int64)
        risen = np.clip((time - np.floor(time)) / RISE, 0, 1)
        on = held[second] + (held[second + 1] - held[second]) * risen
        drawn = np.sin(2 * np.pi * np.outer(FIBRILLATORY, time) + turn[:, None]).sum(0)
        return np.asarray(np.outer(FIBRILLATORY_SIZE, drawn * on))

    return waves


def without_p(morphology: Morphology) -> Morphology:
    """The same morphology without atrial contraction: a straight line in place of the P wave."""
    until = morphology.fiducials[1] - 0.015
    before = until > KNOTS
    level = np.stack([np.interp(until, KNOTS, lead) for lead in morphology.beat])
    line = np.clip((KNOTS[before] - KNOTS[0]) / (until - KNOTS[0]), 0, 1)
    beat = morphology.beat.copy()
    beat[:, before] = level[:, None] * line
    return replace(morphology, beat=beat)
