"""Noise of a record: wander, muscle, mains and beat-to-beat changes, measured on records and drawn.

A band's power and how leads share it are one (lead, lead) covariance, kept as its matrix logarithm (Arsigny et al.,
Magn Reson Med 2006;56:411), so that any sum of such logarithms is a covariance again.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy import signal as dsp

from ....core.types import BoolArray, Float32Array, FloatArray
from ..layout import RATE
from .beats import KNOTS, QRS, Decomposed, around, padded, placing

EDGES = np.array(
    [0.05, 0.25, 0.5, 0.8, 1.2, 2, 3.5, 6, 10, 15, 22, 32, 42, 49, 51, 65, 90, 130, 180, 250.1]
)  # Hz
BANDS = len(EDGES) - 1
SLOW = 6.0  # Hz, below which quiet stretches are too short to measure in
STEEPEST = 3.6  # Hz, below which power falls as the square of frequency within a band
ROUGH = 12.0  # Hz, above which noise comes and goes from one tenth of a second to the next
# of noise that does not come and go: log of measured over true level, and the spreads of its log level, in
# common and a lead's own
STEADY_LEVEL, STEADY = -0.78, np.array([0.18, 0.36])
BLOCK = 10000  # samples drawn at once; neighbours overlap by half
WIDE = np.abs(np.gradient(KNOTS) - 0.008) < 1e-4  # knots of equal spacing, beside the QRS
TEXTURE = ("off the QRS", "common swing", "lead swing", "on the QRS", "beat size")


@dataclass(frozen=True)
class NoiseModel:
    """log_covariance (band, pair) of mV^2 a bin, upper triangles; texture: logarithms of the TEXTURE quantities.

    "off the QRS" and "on the QRS": size of what changes from beat to beat, by the beat's slope; "common swing", "lead
    swing": spread of the log level of fast noise over time; "beat size": spread of the QRS from beat to beat.
    """

    log_covariance: FloatArray
    texture: FloatArray


def slopes(beat: FloatArray) -> FloatArray:
    """(lead, knot) root mean square change in mV a 4 ms over 9 knots, above that of the beat's stillest third."""
    steep = np.gradient(beat, KNOTS, axis=1) * 0.004
    window = np.full(9, 1 / 9)
    size = np.sqrt(np.stack([np.convolve(np.square(lead), window, "same") for lead in steep]))
    return np.maximum(size - np.quantile(size[:, WIDE], 1 / 3, axis=1, keepdims=True), 0.0)


def upper_triangle(matrix: FloatArray) -> FloatArray:
    """(..., lead, lead) symmetric to its upper triangles (..., pair)."""
    rows, columns = np.triu_indices(matrix.shape[-1])
    return np.asarray(matrix[..., rows, columns])


def symmetric(upper: FloatArray) -> FloatArray:
    """(..., pair) upper triangles to (..., lead, lead)."""
    leads = round((np.sqrt(8 * upper.shape[-1] + 1) - 1) / 2)
    rows, columns = np.triu_indices(leads)
    out = np.zeros((*upper.shape[:-1], leads, leads))
    out[..., rows, columns] = upper
    out[..., columns, rows] = upper
    return out


def of_leads(noise: NoiseModel, weights: FloatArray) -> NoiseModel:
    """The same noise in leads that are sums of these, by `weights` (new lead, lead)."""
    covariance = weights @ _function(symmetric(noise.log_covariance), np.exp) @ weights.T
    return NoiseModel(upper_triangle(_function(covariance, np.log)), noise.texture)


def _function(matrix: FloatArray, of: "np.ufunc") -> FloatArray:
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray((vectors * of(values)[..., None, :]) @ np.swapaxes(vectors, -1, -2))


def measure(record: Decomposed) -> NoiseModel:
    """The noise of a decomposed record of some seconds."""
    rest = record.remainder - record.remainder.mean(1, keepdims=True)
    samples = rest.shape[1]
    outside = ~around(record.peaks, 0.09, 0.12, samples, np.ones_like(record.odd))
    odd = around(record.peaks, 0.3, 0.6, samples, record.odd)
    calm = outside & ~odd if (outside & ~odd).mean() > 0.2 else outside
    full, intervals = padded(record.peaks)
    place = placing(full, intervals, samples)
    slope = (place @ slopes(record.beat).T).T  # (lead, sample)
    activity = np.convolve(np.sqrt(np.square(slope).mean(0)), np.full(25, 1 / 25), "same")
    quiet = calm & (activity <= np.quantile(activity[calm], 0.25))
    covariance = _covariances(rest, calm)
    fast = dsp.sosfiltfilt(dsp.butter(2, ROUGH, "high", fs=RATE, output="sos"), rest, axis=1)
    swing = _swing(fast, quiet)
    level = _quietest(record.fitted + record.remainder)
    density = np.einsum("bll,b->l", covariance[EDGES[:-1] >= 10], np.diff(EDGES)[EDGES[:-1] >= 10]) * 2 / RATE
    gain = np.exp(0.5 * np.clip(level - STEADY_LEVEL - np.log(density), -2.5, 0.3))
    covariance[EDGES[:-1] >= SLOW] *= gain[:, None] * gain[None, :]
    waves = calm & ~quiet
    power = np.square(fast)
    above = power[:, waves].sum() - power[:, quiet].mean(1).sum() * waves.sum()
    off_qrs = above / max(np.square(slope[:, waves]).sum(), 1e-9)
    on_qrs = _changing(fast, slope, record, power[:, calm].mean(1).sum())
    size = record.scale[~record.odd].std() if (~record.odd).any() else 0.02
    off_qrs, on_qrs = np.sqrt(np.clip(off_qrs, 1e-4, 4)), np.sqrt(np.clip(on_qrs, 1e-6, 4))
    texture = np.log([off_qrs, *np.maximum(swing, 0.05), on_qrs, max(size, 0.004)])
    return NoiseModel(upper_triangle(_function(covariance, np.log)), texture)


def _covariances(rest: FloatArray, calm: BoolArray) -> FloatArray:
    """(band, lead, lead) mV^2 a Fourier bin of unit-power windows; shrunk to the diagonal where bins are few."""
    leads, samples = rest.shape
    fast = dsp.sosfiltfilt(dsp.butter(4, SLOW - 1, "high", fs=RATE, output="sos"), rest, axis=1)
    soft = np.convolve(calm, np.hanning(21) / np.hanning(21).sum(), "same")
    taper = dsp.windows.tukey(samples, 0.1)
    bridged = np.stack([np.interp(np.arange(samples), np.flatnonzero(calm), lead[calm]) for lead in rest])
    low = np.fft.rfft(bridged * taper) / np.sqrt(np.square(taper).sum())
    high = np.fft.rfft(fast * soft) / np.sqrt(np.square(soft).sum() + 1e-9)
    hertz = np.fft.rfftfreq(samples, 1 / RATE)
    out = np.empty((BANDS, leads, leads))
    for b in range(BANDS):
        bins = (low if EDGES[b] < SLOW else high)[:, (hertz >= EDGES[b]) & (hertz < EDGES[b + 1])]
        count = max(bins.shape[1], 1)
        raw = (bins @ bins.conj().T).real / count
        shrink = min(0.9, leads / (count + leads))
        out[b] = (1 - shrink) * raw + shrink * np.diag(np.diag(raw)) + 1e-9 * np.eye(leads)
    return out


def _changing(fast: FloatArray, slope: FloatArray, record: Decomposed, level: float) -> float:
    """Power on the QRS that differs from beat to beat, above `level` (summed over leads), over the slope's square."""
    samples = fast.shape[1]
    centres = [round(p) for p, odd in zip(record.peaks, record.odd, strict=True) if not odd]
    windows = [c + QRS for c in centres if c + QRS[0] >= 0 and c + QRS[-1] < samples]
    if len(windows) < 3:
        return 1e-6
    cut = np.stack([fast[:, window] for window in windows])
    varied = np.square(cut - cut.mean(0)).sum() / (len(windows) - 1) / len(QRS)
    steep = np.mean([np.square(slope[:, window]).sum(0).mean() for window in windows])
    return float((varied - level) / max(steep, 1e-9))


def _quietest(leads: FloatArray) -> FloatArray:
    """(lead,) log power of fast noise in the quietest fifth of all tenths of a second."""
    fast = dsp.sosfiltfilt(dsp.butter(2, ROUGH, "high", fs=RATE, output="sos"), leads, axis=1)
    step = RATE // 10
    count = fast.shape[1] // step
    power = np.square(fast)[:, : count * step].reshape(len(leads), count, step).mean(2)
    return np.asarray(np.quantile(np.log(power + 1e-9), 0.2, axis=1))


def _swing(fast: FloatArray, where: BoolArray) -> FloatArray:
    """How log power in tenths of a second varies over time: in common to all leads, and a lead by itself."""
    step = RATE // 10
    count = fast.shape[1] // step
    share = where[: count * step].reshape(count, step).sum(1)
    power = (np.square(fast) * where)[:, : count * step].reshape(len(fast), count, step).sum(2)
    use = share >= min(0.8 * step, np.sort(share)[-min(8, count)])
    log = np.log(power[:, use] / np.maximum(share[use], 1) + 1e-9)
    log -= log.mean(1)[:, None]
    common = log.mean(0)
    return np.array([common.std(), (log - common).std()])


def stream(rng: np.random.Generator, noise: NoiseModel) -> Iterator[tuple[FloatArray, FloatArray]]:
    """Pairs (lead, BLOCK / 2) without end and without a seam: noise in mV, and unit noise of 12 to 70 Hz to be shaped.

    Windows that overlap by half and whose squares add up to 1; the texture's swings are drawn block by block.
    """
    window = np.sin(np.pi * (np.arange(BLOCK) + 0.5) / BLOCK).astype(np.float32)
    half = BLOCK // 2
    root = _function(symmetric(noise.log_covariance) / 2, np.exp).astype(np.float32)
    spread = np.maximum(np.exp(2 * noise.texture[1:3]) - np.square(STEADY), 0)
    swing = 0.625 * np.sqrt(spread).astype(np.float32)
    before: tuple[FloatArray, FloatArray] | None = None
    while True:
        now = _block(rng, root, swing, window)
        if before is not None:
            yield before[0][:, half:] + now[0][:, :half], before[1][:, half:] + now[1][:, :half]
        before = now


def _block(
    rng: np.random.Generator, root: Float32Array, swing: Float32Array, window: Float32Array
) -> tuple[FloatArray, FloatArray]:
    hertz = np.fft.rfftfreq(BLOCK, 1 / RATE).astype(np.float64)
    edge = np.searchsorted(hertz, EDGES)
    tilt = _tilt(hertz, edge)
    leads = root.shape[-1]
    white = rng.standard_normal((leads, len(hertz), 2), dtype=np.float32).view(np.complex64)[..., 0]
    for b in range(BANDS):
        band = slice(edge[b], edge[b + 1])
        white[:, band] = root[b] @ (white[:, band] * tilt[band])
    white[:, : edge[0]] = 0
    split = int(np.searchsorted(hertz, ROUGH))
    size = np.float32(np.sqrt(BLOCK / 2))
    slow = fft.irfft(white[:, :split], BLOCK) * size
    white[:, :split] = 0
    fast = fft.irfft(white, BLOCK) * size
    swings = np.exp(swing[0] * _wave(rng, 1, 0.15) + swing[1] * _wave(rng, leads, 0.12))
    middle = slice(int(np.searchsorted(hertz, 12)), int(np.searchsorted(hertz, 70)))
    unit = np.zeros((leads, middle.stop), dtype=np.complex64)
    shape = (leads, middle.stop - middle.start, 2)
    unit[:, middle] = rng.standard_normal(shape, dtype=np.float32).view(np.complex64)[..., 0]
    flat = fft.irfft(unit, BLOCK) * np.float32(BLOCK / np.sqrt(4 * shape[1]))
    return (slow + fast * swings) * window, flat * window


def _tilt(hertz: FloatArray, edge: NDArray[np.integer]) -> Float32Array:
    """(bin,) share of a band's amplitude: as 1 / f in the bands of wander, whose power falls steeply; 1 elsewhere."""
    tilt = np.ones(len(hertz), dtype=np.float32)
    for low, high in pairwise(edge):
        if high > low and hertz[high - 1] < STEEPEST:
            falling = 1 / hertz[low:high]
            tilt[low:high] = falling / np.sqrt(np.square(falling).mean())
    return tilt


def _wave(rng: np.random.Generator, rows: int, seconds: float) -> Float32Array:
    """(row, BLOCK) normal numbers every `seconds`, straight in between."""
    step = round(seconds * RATE)
    knots = rng.standard_normal((rows, BLOCK // step + 2), dtype=np.float32)[..., None]
    part = np.arange(step, dtype=np.float32) / np.float32(step)
    return (knots[:, :-1] * (1 - part) + knots[:, 1:] * part).reshape(rows, -1)[:, :BLOCK]
