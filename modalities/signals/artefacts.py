"""What a recording adds to an ECG: wander, muscle and mains noise at the electrodes, and electrodes that come off."""

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import count
from typing import Literal

import numpy as np
from pydantic import Field

from ...core.config import Settings
from ...core.modality import Record
from ...core.profile import PatientProfile, seed_for
from ...core.types import FloatArray
from .layout import ELECTRODES, RATE
from .leads import TWELVE, Leads, leads_of

Episode = tuple[str, int, int]  # electrode that is off, first sample, sample after the last

# Of each free lead (I, II, V1 to V6), the weight of each electrode; chest leads are against Wilson's terminal
WEIGHTS = np.vstack([
    [-1, 1, 0, *[0] * 6],
    [-1, 0, 1, *[0] * 6],
    np.hstack([np.full((6, 3), -1 / 3), np.eye(6)]),
])  # fmt: skip
WANDER_BAND = (0.05, 0.6)  # Hz: breathing, and electrodes that shift
MUSCLE_BAND = (20.0, 150.0)  # Hz: of the surface electromyogram, what a diagnostic recorder lets through
SWELL_BAND, SWELL = (0.1, 1.0), 0.4  # Hz, log: muscles tense and relax
DRIFT = 0.2  # share by which hum comes and goes
THIRD = 0.1  # third harmonic of the mains over the first
TONES = 8  # sinusoids of a slow curve
OFF_SECONDS = 3.0  # mean time until an electrode is put back
RAIL = 10.0  # mV, the end of an amplifier's range
BLOCK = 2 * RATE  # samples drawn at a time whatever is asked for, so that chunks of any length are the same
PIECE = 50  # samples of a part of a block; whole turns of the mains at 50 and 60 Hz


class Noise(Settings):
    """How noisy a recording is: mV of wander, muscle and mains, and the share of time with an electrode off.

    The amplitudes are root mean squares in a limb lead, over patients; a chest lead gets 0.82 of it. A lost lead
    reads 0 (`flat`) or 10 mV (`rail`).
    """

    wander: float = Field(default=0.0, ge=0, le=5)
    muscle: float = Field(default=0.0, ge=0, le=5)
    mains: float = Field(default=0.0, ge=0, le=5)
    mains_hz: Literal[50, 60] = 50
    lead_off: float = Field(default=0.0, ge=0, le=0.9)
    lead_off_level: Literal["flat", "rail"] = "flat"

    @property
    def silent(self) -> bool:
        """Whether it adds nothing."""
        return not (self.wander or self.muscle or self.mains or self.lead_off)

    def facts(self) -> dict[str, float]:
        """The dials that are not at zero, by name."""
        dials = {name: getattr(self, name) for name in ("wander", "muscle", "mains", "lead_off")}
        return {name: value for name, value in dials.items() if value}

    def describe(self) -> dict[str, float | str]:
        """The dials that are not at zero, with their settings, in plain JSON types."""
        kinds = {"mains_hz": bool(self.mains), "lead_off_level": bool(self.lead_off)}
        return self.facts() | {name: getattr(self, name) for name, used in kinds.items() if used}

    @property
    def lost(self) -> float:
        """What a lost lead reads, mV."""
        return 0.0 if self.lead_off_level == "flat" else RAIL


class Artefacts:
    """What the recording of one seed adds to a trace: from its first sample on, without end, in constant memory.

    Each dial draws from a stream of its own below the record's seed. Noise is that of the potentials of the electrodes,
    from which all leads follow; how many samples are taken at a time changes none of them.
    """

    def __init__(self, noise: Noise, patient_id: str, seed: int, leads: Leads = TWELVE) -> None:
        def stream(name: str) -> np.random.Generator:
            return np.random.Generator(np.random.PCG64(seed_for(seed, patient_id, f"artefact {name}")))

        # a limb lead is the difference of two electrodes, which adds their variances
        self._sources = [
            (level / np.sqrt(2), draw(stream(name), noise))
            for name, draw in SOURCES.items()
            if (level := getattr(noise, name))
        ]
        self._weights = leads.from_eight(WEIGHTS)
        self._block, self._used = np.zeros((len(self._weights), BLOCK)), BLOCK
        self._episodes = _episodes(stream("lead_off"), noise.lead_off, leads.electrodes)
        self._off, self._seen = next(self._episodes, None), 0

    def take(self, samples: int) -> FloatArray:
        """(free lead, sample) mV: the next noise."""
        out, have = np.zeros((len(self._weights), samples)), 0
        while self._sources and have < samples:
            if self._used == BLOCK:
                noise = sum(level * next(own) for level, own in self._sources)
                self._block, self._used = self._weights @ noise, 0
            part = min(samples - have, BLOCK - self._used)
            out[:, have : have + part] = self._block[:, self._used : self._used + part]
            have, self._used = have + part, self._used + part
        return out

    def off(self, samples: int) -> list[Episode]:
        """When an electrode is off in the next samples, which are counted from the first of all; cut at their ends."""
        begin, self._seen = self._seen, self._seen + samples
        found = []
        while self._off is not None and self._off[1] < self._seen:
            electrode, first, end = self._off
            found.append((electrode, max(first, begin), min(end, self._seen)))
            if end > self._seen:
                break
            self._off = next(self._episodes, None)
        return found


def add(record: Record, profile: PatientProfile, seed: int, noise: Noise, keep_clean: bool = False) -> Record:
    """The record with a noisy "ecg"; with `keep_clean` the trace as it was goes along as "ecg_clean".

    Marks stay what they were: the truth. Einthoven's law holds in whole microvolts; an electrode that is off takes away
    the leads that need it and leaves the others as they are. New facts: `noise`, the dials, and `lead_off`, [electrode,
    first sample, sample after the last] of each episode.
    """
    if noise.silent or "ecg" not in record.arrays:
        return record
    leads = leads_of(record)
    clean, artefacts = record.arrays["ecg"], Artefacts(noise, profile.patient_id, seed, leads)
    samples = clean.shape[1]
    ecg = np.empty(clean.shape, dtype=np.float32)
    for first in range(0, samples, BLOCK):  # block by block, as an hour has many
        free = leads.free_of(clean[:, first : first + BLOCK].astype(np.float64))
        ecg[:, first : first + BLOCK] = leads.drawn(free + artefacts.take(free.shape[1]))
    facts = {**record.facts, "noise": noise.facts()}
    if off := artefacts.off(samples):
        for electrode, first, end in off:
            ecg[leads.lost(electrode), first:end] = noise.lost
        facts["lead_off"] = [list(episode) for episode in off]
    beside = {"ecg_clean": clean} if keep_clean else {}
    return Record({**record.arrays, "ecg": ecg, **beside}, facts)


def _episodes(rng: np.random.Generator, share: float, electrodes: Sequence[str]) -> Iterator[Episode]:
    """Each time that an electrode is off, without end: a stationary Markov chain."""
    if not share:
        return
    stays = {True: OFF_SECONDS, False: OFF_SECONDS * (1 - share) / share}
    off, at = bool(rng.uniform() < share), 0
    while True:
        end = at + max(1, round(rng.exponential(stays[off]) * RATE))
        if off:
            yield str(rng.choice(electrodes)), at, end
        off, at = not off, end


def _slow(rng: np.random.Generator, curves: int, band: tuple[float, float]) -> Iterator[FloatArray]:
    """(curve, BLOCK) of mean square 1: sinusoids of that band in Hz, even in the logarithm.

    exp i(a + b) = exp(ia) exp(ib): a block is the product of the beginnings of its pieces, at their absolute time, with
    one piece, which takes a fiftieth of the sines.
    """
    turn = 2 * np.pi / RATE * np.exp(rng.uniform(np.log(band[0]), np.log(band[1]), (curves, 1, TONES)))
    phase = rng.uniform(0, 2 * np.pi, (curves, 1, TONES))
    piece = np.exp(1j * turn * np.arange(PIECE)[:, None]).swapaxes(1, 2)  # (curve, tone, sample)

    def block(start: int) -> FloatArray:
        begin = np.exp(1j * (turn * np.arange(start, start + BLOCK, PIECE)[:, None] + phase))
        return np.asarray(np.sqrt(2 / TONES) * (begin @ piece).imag.reshape(curves, BLOCK))

    return map(block, count(0, BLOCK))


def _wander(rng: np.random.Generator, noise: Noise) -> Iterator[FloatArray]:
    """(electrode, BLOCK), mean square 1."""
    return _slow(rng, len(ELECTRODES), WANDER_BAND)


def _muscle(rng: np.random.Generator, noise: Noise) -> Iterator[FloatArray]:
    """(electrode, BLOCK), mean square 1: noise of the muscle band that swells and fades."""
    from scipy import signal as dsp

    sos, level = _muscle_band()
    swell = _slow(rng, len(ELECTRODES), SWELL_BAND)
    settle = RATE // 2  # samples until the filter has forgotten that it began
    state = np.zeros((len(sos), len(ELECTRODES), 2))
    _, state = dsp.sosfilt(sos, rng.standard_normal((settle, len(ELECTRODES))).T, zi=state)
    for size in swell:
        rough, state = dsp.sosfilt(sos, rng.standard_normal((BLOCK, len(ELECTRODES))).T, zi=state)
        yield np.exp(SWELL * size - SWELL**2) * rough / level


@cache
def _muscle_band() -> tuple[FloatArray, float]:
    """Second-order sections of the muscle band, and the root mean square that they leave of white noise."""
    from scipy import signal as dsp

    sos = dsp.butter(2, MUSCLE_BAND, btype="bandpass", fs=RATE, output="sos")
    _, response = dsp.sosfreqz(sos, 4096)
    return sos, float(np.sqrt(np.mean(np.abs(response) ** 2)))


def _mains(rng: np.random.Generator, noise: Noise) -> Iterator[FloatArray]:
    """(electrode, BLOCK), mean square 1 over electrodes: one field, picked up by each in its own measure."""
    measure = rng.standard_normal((len(ELECTRODES), 1))
    phase = rng.uniform(0, 2 * np.pi, 2)
    turn = 2 * np.pi * noise.mains_hz * np.arange(PIECE) / RATE
    hum = np.tile(np.sin(turn + phase[0]) + THIRD * np.sin(3 * turn + phase[1]), BLOCK // PIECE)
    hum *= np.sqrt(2 / ((1 + THIRD**2) * (1 + DRIFT**2)))
    for drift in _slow(rng, 1, SWELL_BAND):
        yield measure * ((1 + DRIFT * drift) * hum)


SOURCES: dict[str, Callable[[np.random.Generator, Noise], Iterator[FloatArray]]] = {
    "wander": _wander, "muscle": _muscle, "mains": _mains,
}  # fmt: skip
