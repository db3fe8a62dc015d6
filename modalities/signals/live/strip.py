"""Strip: an ECG without end from a short one, beat by beat, each beat as long as the heart rate asks."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ....core.errors import InputError
from ....core.types import FloatArray, IntArray
from ..ecg.atria import FIBRILLATORY, FIBRILLATORY_SIZE
from ..ecg.rhythm import IRREGULAR
from ..leads import TWELVE, Leads

BEFORE = 0.28  # s from the cut between two beats to the R peak: in the pause before the P wave
QRS = 0.05  # s either side of the R peak that are never stretched
QT = 0.40  # s at a beat of one second, from R to the end of T; grows with the root of the interval (Bazett)
SEAM = 0.08  # s over which the end of the strip is blended into its beginning
SHORTEST, LONGEST = 0.25, 3.0  # s a beat may last
FEWEST = 3  # beats in a strip


@dataclass(frozen=True)
class RhythmState:
    """The rhythm at one moment: rate a minute, and whether the atria fibrillate by rule."""

    rate: float
    fibrillates: bool = False


@dataclass(frozen=True)
class Beat:
    """Where a beat lies in the loop: first sample, samples to the R peak, samples in all."""

    start: int
    before: int
    length: int


class Strip:
    """An ECG that goes on from a short one, its beats in their order over and over, in constant memory.

    `free` is (free lead, sample) microvolts of `leads` at `rate` Hz, `peaks` its R peaks. Beats are cut in the pause
    before the P wave. A beat keeps its share of irregularity and is stretched to the rate asked for: QRS not
    at all, ST and T by the root, the rest of the pause as needed. At the strip's rate it is the record itself.
    Raises InputError, naming `where`, when the strip has fewer than three whole beats.
    """

    def __init__(
        self, free: NDArray[np.floating], peaks: IntArray, rate: int, seed: int, where: str = "ECG",
        leads: Leads = TWELVE,
    ) -> None:  # fmt: skip
        self.rate, self._leads = rate, leads
        self._loop, self._beats = _loop(np.asarray(free, dtype=np.float64), peaks, rate, where)
        lengths = np.array([beat.length for beat in self._beats])
        self._share = lengths / lengths.mean()
        self.mean_rate = 60 * rate / float(lengths.mean())
        self._rng = np.random.default_rng([seed, 0])
        self._turn = self._rng.uniform(0, 2 * np.pi, len(FIBRILLATORY))
        self._next, self._done, self._end = 0, 0, 0.0
        self._waiting: list[FloatArray] = []
        self._peaks: list[int] = []

    def take(self, count: int, state: Callable[[float], RhythmState]) -> tuple[NDArray[np.int16], list[int]]:
        """The next `count` samples, (lead, count) whole microvolts, and the R peaks among them.

        `state` gives the rhythm at a time in seconds since the first sample.
        """
        have = sum(part.shape[1] for part in self._waiting)
        while have < count:
            beat, peak = self._beat(state(self._done / self.rate))
            self._peaks.append(have + peak)
            self._waiting.append(beat)
            have += beat.shape[1]
            self._done += beat.shape[1]
        whole = np.concatenate(self._waiting, axis=1)
        peaks = [peak for peak in self._peaks if peak < count]
        self._peaks = [peak - count for peak in self._peaks if peak >= count]
        self._waiting = [whole[:, count:]]
        return np.rint(self._leads.drawn(whole[:, :count] / 1000) * 1000).astype(np.int16), peaks

    def _beat(self, state: RhythmState) -> tuple[FloatArray, int]:
        """(free lead, sample) the next beat, and the sample of its R peak."""
        beat, share = self._beats[self._next], self._share[self._next]
        self._next = (self._next + 1) % len(self._beats)
        if state.fibrillates:
            share = np.exp(self._rng.normal(-(IRREGULAR**2) / 2, IRREGULAR))
        seconds = float(np.clip(share * 60 / state.rate, SHORTEST, LONGEST))
        self._end += seconds * self.rate
        length = round(self._end) - self._done
        new, old = _knots(beat, length, self.rate)
        spot = beat.start + np.interp(np.arange(length), new, old)
        first = np.floor(spot).astype(np.int64)
        share_of_next = spot - first
        total = self._loop.shape[1]
        drawn = self._loop[:, first % total] * (1 - share_of_next)
        drawn += self._loop[:, (first + 1) % total] * share_of_next
        if state.fibrillates:
            self._fibrillate(drawn, int(new[1]))
        return drawn, int(new[1]) + round(QRS * self.rate)

    def _fibrillate(self, drawn: FloatArray, atrial: int) -> None:
        """Put fibrillatory waves in place of the P wave, which lies in the first `atrial` samples."""
        if atrial > 1:
            drawn[:, :atrial] = np.linspace(drawn[:, 0], drawn[:, atrial - 1], atrial, axis=1)
        time = (self._done + np.arange(drawn.shape[1])) / self.rate
        waves = np.sin(2 * np.pi * np.outer(FIBRILLATORY, time) + self._turn[:, None]).sum(0)
        drawn += 1000 * self._leads.from_eight(FIBRILLATORY_SIZE)[:, None] * waves


def free_leads(ecg: NDArray[np.floating], rate: int, stored: int, leads: Leads = TWELVE) -> FloatArray:
    """(lead, sample) mV at `stored` Hz to (free lead, sample) microvolts at `rate` Hz."""
    free = leads.free_of(np.asarray(ecg, dtype=np.float64)) * 1000
    if rate == stored:
        return free
    from scipy.signal import resample_poly

    return np.asarray(resample_poly(free, rate, stored, axis=1))


def _loop(free: FloatArray, peaks: IntArray, rate: int, where: str) -> tuple[FloatArray, list[Beat]]:
    """(free lead, sample) that may be repeated without a seam, and its beats."""
    seam = round(SEAM * rate)
    if len(peaks) < FEWEST:
        raise InputError(f"{where}: expected an ECG of {FEWEST} marked beats or more, got {len(peaks)}")
    gaps = np.diff(peaks)
    before = np.minimum(round(BEFORE * rate), (0.4 * np.concatenate([gaps[:1], gaps])).astype(np.int64))
    cuts = peaks - before
    usable = np.flatnonzero(cuts >= seam)
    cuts, before = cuts[usable], before[usable]
    if len(cuts) < 2:
        raise InputError(f"{where}: expected an ECG with two whole beats or more after {SEAM} s")
    first, last = int(cuts[0]), int(cuts[-1])
    lead_in = free[:, first - seam : first]
    loop = free[:, first:last].copy()
    drift = loop[:, -seam:].mean(1) - lead_in.mean(1)
    loop -= drift[:, None] * np.linspace(0, 1, loop.shape[1])
    share = np.linspace(0, 1, seam + 1)[1:]
    loop[:, -seam:] = (1 - share) * loop[:, -seam:] + share * lead_in
    return loop, [
        Beat(int(cut) - first, int(lead), int(after - cut))
        for cut, after, lead in zip(cuts[:-1], cuts[1:], before[:-1], strict=True)
    ]


def _knots(beat: Beat, length: int, rate: int) -> tuple[list[float], list[float]]:
    """Times (samples since the cut) that meet when a beat is stretched to `length`: new, old."""
    near = round(QRS * rate)
    atrial = max(1, beat.before - near)
    rest = beat.length - beat.before - near
    wave = min(QT * np.sqrt(beat.length * rate) - near, 0.7 * rest)
    old = [0, atrial, atrial + 2 * near, atrial + 2 * near + wave, beat.length]
    if length == beat.length:
        return list(map(float, old)), list(map(float, old))
    ratio = length / beat.length
    new_atrial, new_wave = atrial * min(1.0, np.sqrt(ratio)), wave * np.sqrt(ratio)
    room = length - 2 * near - 2  # at a very fast rate T runs into P, as it does in patients
    squeeze = min(1.0, room / (new_atrial + new_wave))
    new_atrial = max(1, round(new_atrial * squeeze))
    end = new_atrial + 2 * near + new_wave * squeeze
    return [0.0, new_atrial, new_atrial + 2 * near, min(end, length - 1), length], list(map(float, old))
