"""What a recording adds to a heart: wander, muscle and mains noise at the electrodes, and electrodes that come off."""

from collections.abc import Callable, Iterator
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ...core.config import Settings
from ...core.modality import Record
from ...core.profile import PatientProfile, seed_for
from .layout import LEADS, RATE
from .live_rules import LOST

Array = NDArray[np.float64]

ELECTRODES = ("RA", "LA", "LL", "V1", "V2", "V3", "V4", "V5", "V6")
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


def add(record: Record, profile: PatientProfile, seed: int, noise: Noise, keep_clean: bool = False) -> Record:
    """The record with a noisy "ecg"; with `keep_clean` the trace as it was goes along as "ecg_clean".

    Marks stay what they were: the truth. Noise is added to the potentials of the electrodes, from which all leads
    follow, so that Einthoven's law holds in whole microvolts; an electrode that is off takes away the leads that need
    it and leaves the others as they are. Each dial draws from a stream of its own below the record's seed. New facts:
    `noise`, the dials, and `lead_off`, [electrode, first sample, sample after the last] of each episode.
    """
    if noise.silent or "ecg" not in record.arrays:
        return record
    from .data import FREE, twelve

    clean = record.arrays["ecg"]
    samples = clean.shape[1]

    def stream(name: str) -> np.random.Generator:
        return np.random.Generator(np.random.PCG64(seed_for(seed, profile.patient_id, f"artefact {name}")))

    potential = np.zeros((len(ELECTRODES), samples))
    sources: dict[str, Callable[[np.random.Generator, int], Array]] = {
        "wander": _wander,
        "muscle": _muscle,
        "mains": lambda rng, count: _mains(rng, count, noise.mains_hz),
    }
    for name, draw in sources.items():
        if level := getattr(noise, name):
            # a limb lead is the difference of two electrodes, which adds their variances
            potential += level / np.sqrt(2) * draw(stream(name), samples)
    ecg = twelve(clean[list(FREE)].astype(np.float64) + WEIGHTS @ potential)
    facts = {**record.facts, "noise": noise.facts()}
    if off := list(_episodes(stream("lead_off"), samples, noise.lead_off)):
        for electrode, first, end in off:
            ecg[lost_leads(electrode), first:end] = 0.0 if noise.lead_off_level == "flat" else RAIL
        facts["lead_off"] = [list(episode) for episode in off]
    beside = {"ecg_clean": clean} if keep_clean else {}
    return Record({**record.arrays, "ecg": ecg, **beside}, facts)


def lost_leads(electrode: str) -> list[int]:
    """Places of the leads that need this electrode."""
    return [place for place, lead in enumerate(LEADS) if lead in LOST[electrode]]


def _episodes(rng: np.random.Generator, samples: int, share: float) -> Iterator[tuple[str, int, int]]:
    """Electrode, first sample and sample after the last of each time that one is off: a stationary Markov chain."""
    if not share:
        return
    stays = {True: OFF_SECONDS, False: OFF_SECONDS * (1 - share) / share}
    off, at = bool(rng.uniform() < share), 0
    while at < samples:
        end = min(samples, at + max(1, round(rng.exponential(stays[off]) * RATE)))
        if off:
            yield str(rng.choice(ELECTRODES)), at, end
        off, at = not off, end


def _slow(rng: np.random.Generator, count: int, samples: int, band: tuple[float, float]) -> Array:
    """(count, sample) curves of mean square 1: sinusoids of that band in Hz, even in the logarithm."""
    frequency = np.exp(rng.uniform(np.log(band[0]), np.log(band[1]), (count, TONES)))
    phase = rng.uniform(0, 2 * np.pi, (count, TONES))
    time = np.arange(samples) / RATE
    return np.sqrt(2 / TONES) * sum(
        np.sin(2 * np.pi * frequency[:, k, None] * time + phase[:, k, None]) for k in range(TONES)
    )


def _wander(rng: np.random.Generator, samples: int) -> Array:
    """(electrode, sample), mean square 1."""
    return _slow(rng, len(ELECTRODES), samples, WANDER_BAND)


def _muscle(rng: np.random.Generator, samples: int) -> Array:
    """(electrode, sample), mean square 1: noise of the muscle band that swells and fades."""
    from scipy import signal as dsp

    sos = dsp.butter(2, MUSCLE_BAND, btype="bandpass", fs=RATE, output="sos")
    swell = np.exp(SWELL * _slow(rng, len(ELECTRODES), samples, SWELL_BAND) - SWELL**2)
    settle = RATE // 2  # samples until the filter has forgotten that it began
    white = rng.standard_normal((samples + settle, len(ELECTRODES))).T
    _, response = dsp.sosfreqz(sos, 4096)
    level = np.sqrt(np.mean(np.abs(response) ** 2))
    return np.asarray(swell * dsp.sosfilt(sos, white, axis=1)[:, settle:] / level)


def _mains(rng: np.random.Generator, samples: int, hertz: int) -> Array:
    """(electrode, sample), mean square 1 over electrodes: one field, picked up by each in its own measure."""
    measure = rng.standard_normal((len(ELECTRODES), 1))
    phase = rng.uniform(0, 2 * np.pi, 2)
    turn = 2 * np.pi * hertz * np.arange(samples) / RATE
    hum = np.sin(turn + phase[0]) + THIRD * np.sin(3 * turn + phase[1])
    drift = 1 + DRIFT * _slow(rng, 1, samples, SWELL_BAND)
    return measure * drift * hum * np.sqrt(2 / ((1 + THIRD**2) * (1 + DRIFT**2)))
