"""ContinuousEcg: a patient's ECG without end, from the same morphology, at the heart rate of the bedside."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.signal import firwin, upfirdn

from ....core.errors import InputError
from ....core.modality import Batch
from ....core.types import FloatArray
from ..artefacts import Artefacts, Noise
from ..ecg.rhythm import Beat, follow_rate
from ..ecg.sampler import EcgSampler, EcgSource, RateFunction
from ..ecg.trace import STEP
from ..layout import FLUTTER, RATE
from ..leads import Leads

LOWPASS = firwin(41, 110, fs=RATE)  # before every second sample is left out


class ContinuousEcg:
    """The ECG of the record that was drawn from a row, second by second; each is taken once, in order.

    Blocks of ten seconds are drawn ahead of need, at most two are held; monitors that start together draw theirs at
    different times, so that a ward's work is even. `noise` is what the device adds, as in the record. `heart_rate` is
    followed; without it the ECG is the record, continued. With it, `fibrillates` says when the atria fibrillate by
    rule. Raises InputError where that would change flutter or fibrillation in episodes.
    """

    def __init__(
        self, sampler: EcgSampler, row: Batch, rate: int, noise: Noise, heart_rate: RateFunction | None = None,
        fibrillates: Callable[[float], bool] | None = None,
    ) -> None:  # fmt: skip
        assert len(row) == 1
        source = sampler.source(row.profiles[0], row.condition[0], row.seeds[0], heart_rate)
        if heart_rate is not None:
            source = _steered(sampler, source, row, heart_rate, fibrillates)
        self._blocks = _recorded(rate, source, noise, row)
        self._rate, self._second = rate, 0
        self._samples = np.empty((len(source.leads), 0), dtype=np.int16)
        self._peaks: deque[int] = deque()
        self._ahead = int(np.random.default_rng([row.seeds[0], 4]).integers(STEP * rate // RATE))
        self._draw(rate)

    def take(self) -> tuple[NDArray[np.int16], list[int]]:
        """The next second: (lead, rate) whole microvolts, and the R peaks in it."""
        self._draw(self._rate + self._ahead)
        leads, self._samples = self._samples[:, : self._rate], self._samples[:, self._rate :]
        begin = self._second * self._rate
        self._second += 1
        peaks = []
        while self._peaks and self._peaks[0] < begin + self._rate:
            peaks.append(self._peaks.popleft() - begin)
        return leads, peaks

    def _draw(self, samples: int) -> None:
        """Blocks until so many samples are held."""
        while self._samples.shape[1] < samples:
            block, beats = next(self._blocks)
            self._samples = np.concatenate([self._samples, block], axis=1)
            self._peaks.extend(round(beat.at * self._rate) for beat in beats)


def _steered(
    sampler: EcgSampler, source: EcgSource, row: Batch, heart_rate: RateFunction,
    fibrillates: Callable[[float], bool] | None,
) -> EcgSource:  # fmt: skip
    """The source at a rate that changes, and in fibrillation while a rule says so.

    Flutter follows by its conduction, and a rhythm that comes in episodes from beat to beat, already.
    """
    if source.rhythm == FLUTTER or source.paroxysms is not None:
        if fibrillates is not None:
            has = "atrial flutter" if source.rhythm == FLUTTER else "fibrillation in episodes"
            raise InputError(
                f"{row.profiles[0].patient_id} has {has}, which the scenario's atrial_fibrillation cannot "
                "turn; leave this bed out of its beds"
            )
        return source
    rng, mean = np.random.default_rng([row.seeds[0], 5]), source.rate
    turn = fibrillates or (lambda time: False)
    beats = follow_rate(source.beats, mean, lambda time: heart_rate(time, mean), turn, rng)
    return replace(
        source, beats=beats, atria=None if fibrillates is None else sampler.fibrillatory(rng, turn)
    )


def _recorded(
    rate: int, source: EcgSource, noise: Noise, row: Batch
) -> Iterator[tuple[NDArray[np.int16], list[Beat]]]:
    """(lead, sample) whole microvolts at `rate` Hz, noise and lost leads with them, with the beats of each block."""
    if noise.silent:
        yield from _at(rate, source.blocks(), source.leads)
        return
    drawn = source.leads
    artefacts = Artefacts(noise, row.profiles[0].patient_id, row.seeds[0], drawn)
    step, begin, lost = RATE // rate, 0, round(noise.lost * 1000)
    for leads, beats in _at(rate, _noisy(source.blocks(), artefacts, drawn), drawn):
        for electrode, first, end in artefacts.off(step * leads.shape[1]):
            # of RATE Hz, of which every step-th sample is here
            leads[drawn.lost(electrode), -(-first // step) - begin : -(-end // step) - begin] = lost
        begin += leads.shape[1]
        yield leads, beats


def _noisy(
    blocks: Iterator[tuple[FloatArray, list[Beat]]], artefacts: Artefacts, leads: Leads
) -> Iterator[tuple[FloatArray, list[Beat]]]:
    """(free lead, sample) mV with noise on top, which comes after a record's trace was rounded."""
    for block, beats in blocks:
        yield leads.free_of(leads.drawn(block)) + artefacts.take(block.shape[1]), beats


def _at(
    rate: int, blocks: Iterator[tuple[FloatArray, list[Beat]]], leads: Leads
) -> Iterator[tuple[NDArray[np.int16], list[Beat]]]:
    """(lead, sample) whole microvolts at `rate` Hz of (free lead, sample) mV at RATE Hz, with each block's beats."""
    history: FloatArray | None = None
    for block, beats in blocks:
        if rate < RATE:
            half = len(LOWPASS) // 2
            before = np.repeat(block[:, :1], half, axis=1) if history is None else history
            whole = np.concatenate([before, block], axis=1)
            history = whole[:, -2 * half :]
            block = upfirdn(LOWPASS, whole, 1, RATE // rate, axis=1)[:, half : (whole.shape[1] + 1) // 2]
        yield np.rint(leads.drawn(block) * 1000).astype(np.int16), beats
