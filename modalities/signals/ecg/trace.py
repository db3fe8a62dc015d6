"""A trace from a heart and its beats: blocks without end and without a seam, and where the waves in it lie."""

from collections.abc import Iterator
from itertools import chain

import numpy as np

from ....core.types import FloatArray
from ..layout import RATE
from .atria import Waves, without_p
from .beats import KNEE, KNOTS, USUAL_INTERVAL, placing
from .morphology import Heart
from .noise import BLOCK, slopes, stream
from .pacing import Spikes
from .rhythm import BREATH, NORMAL, VENTRICULAR, Beat

STEP = BLOCK // 2  # samples of a block
REACH = 1.1  # s, farther than any beat goes on after its R peak


def blocks(
    rng: np.random.Generator, heart: Heart, beats: Iterator[Beat], ventricular: FloatArray | None = None,
    atria: Waves | None = None, spikes: Spikes | None = None,
) -> Iterator[tuple[FloatArray, list[Beat]]]:  # fmt: skip
    """Pairs of (lead, STEP) mV and the beats whose R peaks lie in that block, from time 0 on.

    `ventricular` (lead, knot) is the beat of kind V; all others look like the heart's own. `atria` are waves beside
    the beats, `spikes` those of a pacemaker, ahead of the beats that do not come early.
    """
    silent = without_p(heart).beat - heart.beat
    noise = stream(np.random.Generator(np.random.PCG64(rng.integers(2**63))), heart.noise)
    beside, _, _, on_qrs, size = np.exp(heart.noise.texture)
    breath, turn = rng.uniform(*BREATH), rng.uniform()
    slope = slopes(heart.beat)
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
        signal = (place @ heart.beat.T).T
        near = np.zeros(STEP)
        for peak in peaks:
            near[max(0, int(peak - 0.08 * RATE)) : max(0, int(peak + 0.11 * RATE))] = 1
        gate = np.convolve(near, np.hanning(21) / np.hanning(21).sum(), "same")
        signal += (gate * on_qrs + (1 - gate) * beside) * (place @ slope.T).T * shaped
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


def strip(
    rng: np.random.Generator, heart: Heart, beats: Iterator[Beat], samples: int
) -> tuple[FloatArray, list[Beat]]:
    """The first (lead, sample) mV of `blocks`, and the beats in it."""
    parts, own, have = [], list[Beat](), 0
    for block, inside in blocks(rng, heart, beats):
        parts.append(block)
        own += inside
        have += STEP
        if have >= samples:
            break
    return np.concatenate(parts, axis=1)[:, :samples], [beat for beat in own if beat.at < samples / RATE]


WAVE = {"p": "p", "qrs": "N", "t": "t"}  # WFDB symbols of the peaks of waves
# where a wave begins and ends: shares of its greatest height, and s by which cardiologists say earlier and later
LEVELS = {"p": (0.20, 0.20), "qrs": (0.05, 0.05), "t": (0.30, 0.20)}
EARLIER, LATER = {"p": 0.004, "qrs": 0.006, "t": 0.010}, {"p": 0.003, "qrs": 0.001, "t": 0.019}


def extents(heart: Heart) -> dict[str, tuple[float, float, float]]:
    """Onset, peak and end in s from the R peak of P, QRS and T of the noiseless beat; too flat a wave is left out.

    A wave begins and ends where it falls under a share of its greatest height over the straight line through its
    window, all leads together; shares and shifts were set so that times agree in the median with cardiologists'
    marks in lead II (LUDB, training records).
    """
    _, onset, finish, t_peak = heart.marks
    grid = np.arange(KNOTS[0], KNOTS[-1], 0.002)
    beat = np.stack([np.interp(grid, KNOTS, lead) for lead in heart.beat])
    windows = {
        "p": (max(KNOTS[0], heart.marks[0] - 0.11), min(onset - 0.012, heart.marks[0] + 0.10)),
        "qrs": (onset - 0.03, finish + 0.05),
        "t": (finish + 0.02, min(t_peak + 0.24, KNOTS[-1])),
    }
    found = {}
    for name, (first, last) in windows.items():
        inside = np.flatnonzero((grid >= first) & (grid <= last))
        if len(inside) < 8:
            continue
        own = beat[:, inside]
        if name == "qrs":
            height = np.sqrt(np.square(np.gradient(own, axis=1)).sum(0))
        else:
            height = np.sqrt(
                np.square(
                    own - (own[:, :1] + (own[:, -1:] - own[:, :1]) * np.linspace(0, 1, len(inside)))
                ).sum(0)
            )
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


def marks(heart: Heart, beats: list[Beat], samples: int) -> list[tuple[int, str]]:
    """WFDB wave marks (sample, symbol) of the beats that look like the heart's own: ( onset, p N t peak, ) end."""
    waves = extents(heart)
    out = []
    for beat in beats:
        if beat.kind != NORMAL:
            continue
        stretch = np.sqrt(np.clip(beat.interval, 0.35, 1.7) / USUAL_INTERVAL)
        for name, times in waves.items():
            if name == "p" and not beat.p:
                continue
            real = [t if t < KNEE else KNEE + (t - KNEE) * stretch for t in times]
            spots = [round((beat.at + t) * RATE) for t in real]
            if spots[0] >= 0 and spots[2] < samples:
                out.append(list(zip(spots, ("(", WAVE[name], ")"), strict=True)))
    return sorted(chain.from_iterable(out), key=lambda mark: mark[0])
