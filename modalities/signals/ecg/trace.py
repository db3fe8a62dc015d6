"""An ECG trace from a morphology and its beats: blocks without end and without a seam, and its wave marks."""

from collections.abc import Iterator
from itertools import chain
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ....core.types import FloatArray
from ..layout import RATE
from .atria import Waves, without_p
from .beats import KNEE, KNOTS, USUAL_INTERVAL, placing
from .morphology import Morphology
from .noise import BLOCK, slopes, stream
from .pacing import Spikes
from .rhythm import BREATH, NORMAL, VENTRICULAR, Beat

Scalar = TypeVar("Scalar", bound=np.generic)
STEP = BLOCK // 2  # samples of a block
REACH = 1.1  # s, farther than any beat goes on after its R peak


def blocks(
    rng: np.random.Generator, morphology: Morphology, beats: Iterator[Beat], ventricular: FloatArray | None = None,
    atria: Waves | None = None, spikes: Spikes | None = None,
) -> Iterator[tuple[FloatArray, list[Beat]]]:  # fmt: skip
    """Pairs of (free lead, STEP) mV and the beats whose R peaks lie in that block, from time 0 on.

    `ventricular` (lead, knot) is the beat of kind V; all others have the shape of the morphology. `atria` are waves
    that go on between the beats. `spikes` are those of a pacemaker, ahead of the beats that do not come early.
    """
    silent = without_p(morphology).beat - morphology.beat
    noise = stream(np.random.Generator(np.random.PCG64(rng.integers(2**63))), morphology.noise)
    off_qrs, _, _, on_qrs, size = np.exp(morphology.noise.texture)
    breath, turn = rng.uniform(*BREATH), rng.uniform()
    slope = slopes(morphology.beat)
    held: list[tuple[Beat, float]] = []
    at = 0.0  # s, start of the block
    while True:
        end = at + STEP / RATE
        while not held or held[-1][0].at < end - KNOTS[0]:
            beat = next(beats)
            swing = np.sqrt(2) * np.sin(2 * np.pi * (breath * beat.at + turn))
            held.append(
                (beat, float(np.clip(1 + size * (0.56 * swing + 0.7 * rng.standard_normal()), 0.6, 1.5)))
            )
        held = [pair for pair in held if pair[0].at > at - REACH]
        drawn, shaped = next(noise)
        peaks = np.array([(beat.at - at) * RATE for beat, _ in held])
        intervals = np.array([beat.interval for beat, _ in held])
        usual = np.array(
            [0.0 if beat.kind == VENTRICULAR and ventricular is not None else s for beat, s in held]
        )
        place = placing(peaks, intervals, STEP, usual)
        signal = (place @ morphology.beat.T).T
        near = np.zeros(STEP)
        for peak in peaks:
            near[max(0, int(peak - 0.08 * RATE)) : max(0, int(peak + 0.11 * RATE))] = 1
        gate = np.convolve(near, np.hanning(21) / np.hanning(21).sum(), "same")
        signal += (gate * on_qrs + (1 - gate) * off_qrs) * (place @ slope.T).T * shaped
        if ventricular is not None and (usual == 0).any():
            other = placing(peaks[usual == 0], intervals[usual == 0], STEP)
            signal += (other @ ventricular.T).T
        mute = np.array([not beat.p for beat, _ in held])
        if mute.any():
            signal += (placing(peaks[mute], intervals[mute], STEP, usual[mute]) @ silent.T).T
        if atria is not None:
            signal += atria(at + np.arange(STEP) / RATE)
        if spikes is not None:
            for beat, _ in held:
                if beat.kind == NORMAL:
                    spikes.add(signal, at, beat.at, RATE)
        yield signal + drawn, [beat for beat, _ in held if at <= beat.at < end]
        at = end


def first_samples(
    blocks: Iterator[tuple[NDArray[Scalar], list[Beat]]], samples: int
) -> tuple[NDArray[Scalar], list[Beat]]:
    """The first (lead, sample) of blocks of STEP samples each, and the beats in them."""
    block, beats = next(blocks)
    out = np.empty((len(block), samples), dtype=block.dtype)
    out[:, :STEP] = block[:, :samples]
    for place in range(STEP, samples, STEP):
        block, inside = next(blocks)
        out[:, place : place + STEP] = block[:, : samples - place]
        beats = beats + inside
    return out, [beat for beat in beats if beat.at < samples / RATE]


WAVE = {"p": "p", "qrs": "N", "t": "t"}  # WFDB symbols of the peaks of waves
# where a wave begins and ends: shares of its greatest height, and s by which cardiologists say earlier and later
LEVELS = {"p": (0.20, 0.30), "qrs": (0.05, 0.05), "t": (0.30, 0.20)}
EARLIER, LATER = {"p": 0.000, "qrs": 0.006, "t": 0.002}, {"p": 0.002, "qrs": 0.006, "t": 0.017}


def extents(morphology: Morphology) -> dict[str, tuple[float, float, float]]:
    """Onset, peak and end in s from the R peak of P, QRS and T of the noiseless beat; too flat a wave is left out.

    A wave begins and ends where it falls under a share of its greatest height over the straight line through its
    window, all leads together; shares and shifts were set so that times of beats which the model rebuilt from real
    ones agree in the median with cardiologists' marks of these in lead II (LUDB, training records).
    """
    p_peak, onset, finish, t_peak = morphology.fiducials
    grid = np.arange(KNOTS[0], KNOTS[-1], 0.002)
    beat = np.stack([np.interp(grid, KNOTS, lead) for lead in morphology.beat])
    windows = {
        "p": (max(KNOTS[0], p_peak - 0.11), min(onset - 0.012, p_peak + 0.10)),
        "qrs": (onset - 0.03, finish + 0.05),
        "t": (finish + 0.02, min(t_peak + 0.24, KNOTS[-1])),
    }
    found = {}
    for name, (first, last) in windows.items():
        inside = np.flatnonzero((grid >= first) & (grid <= last))
        if len(inside) < 8:
            continue
        wave = beat[:, inside]
        if name == "qrs":
            wave = np.gradient(wave, axis=1)
        else:
            wave = wave - (wave[:, :1] + (wave[:, -1:] - wave[:, :1]) * np.linspace(0, 1, len(inside)))
        height = np.sqrt(np.square(wave).sum(0))
        peak = int(height.argmax())
        if name != "qrs" and height[peak] < 0.04:
            continue
        begun, going = (height > level * height[peak] for level in LEVELS[name])
        left, right = peak, peak
        if name == "qrs":
            left, right = int(np.flatnonzero(begun)[0]), int(np.flatnonzero(going)[-1])
        else:
            while left > 0 and begun[left - 1]:
                left -= 1
            while right < len(inside) - 1 and going[right + 1]:
                right += 1
        middle = 0.0 if name == "qrs" else float(grid[inside[peak]])
        start, end = float(grid[inside[left]]) - EARLIER[name], float(grid[inside[right]]) + LATER[name]
        found[name] = (start, middle, end)
    return found


def marks(morphology: Morphology, beats: list[Beat], samples: int) -> list[tuple[int, str]]:
    """WFDB wave marks (sample, symbol) of the beats of the usual kind: ( onset, p N t peak, ) end."""
    waves = extents(morphology)
    out = []
    for beat in beats:
        if beat.kind != NORMAL:
            continue
        stretch = np.sqrt(np.clip(beat.interval, 0.35, 1.7) / USUAL_INTERVAL)
        for name, times in waves.items():
            if name == "p" and not beat.p:
                continue
            since = [t if t < KNEE else KNEE + (t - KNEE) * stretch for t in times]
            spots = [round((beat.at + t) * RATE) for t in since]
            if spots[0] >= 0 and spots[2] < samples:
                out.append(list(zip(spots, ("(", WAVE[name], ")"), strict=True)))
    return sorted(chain.from_iterable(out), key=lambda mark: mark[0])
