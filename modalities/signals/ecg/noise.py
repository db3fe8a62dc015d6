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
from scipy.ndimage import uniform_filter1d

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
# Hz, groups of bands whose usual level is measured, in windows of how many s, and of steady noise the log of measured
# over true level
GROUPS = (0.5, 2, 6, 15, 32, 65, 130, 250.1)
LASTING = (1.0, 0.5, 0.1, 0.1, 0.1, 0.1, 0.1)
STEADY_LEVEL = np.array([-0.43, -0.36, -0.43, -0.34, -0.25, -0.18, -0.12])
AHEAD, BEHIND = 1.7, 0.4  # beat-to-beat changes of P, and of ST and T, over what their slopes would give
# spreads of the log level of noise that does not come and go, common and a lead's own; and drawn over measured ones
STEADY, RECOVERED = np.array([0.18, 0.36]), np.array([0.4, 0.9], dtype=np.float32)
# Hz, of what changes from beat to beat: its band; power falls as frequency to FALL, and from CORNER on to twice FALL
CHANGING, FALL, CORNER = (2.0, 180.0), 1.2, 50.0
RESTLESS = (
    np.float32(0.45),
    1.0,
)  # spread of the log level of all noise, and s from one such level to the next
LOUDEST = np.float32(1.5)  # log of what bursts reach at most, over the usual level
NEAR = 2.0  # bands over which correlations of leads are shared
PHASE = 0.04  # s, the bins of a beat in which noise is looked at
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
    """(lead, knot) root mean square change in mV a 4 ms over 9 knots, above that of the beat's stiller half.

    Before and behind the QRS it is weighed as beat-to-beat changes are found to be in real records.
    """
    steep = np.gradient(beat, KNOTS, axis=1) * 0.004
    window = np.full(9, 1 / 9)
    size = np.sqrt(np.stack([np.convolve(np.square(lead), window, "same") for lead in steep]))
    part = np.where(KNOTS < -0.06, AHEAD, np.where(KNOTS > 0.08, BEHIND, 1.0))
    return part * np.maximum(size - np.quantile(size[:, WIDE], 1 / 2, axis=1, keepdims=True), 0.0)


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
    from scipy import signal as dsp

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
    for level, (low, high), steady in zip(
        _usual_level(rest, quiet), pairwise(GROUPS), STEADY_LEVEL, strict=True
    ):
        inside = (EDGES[:-1] >= low) & (EDGES[:-1] < high)
        density = np.einsum("bll,b->l", covariance[inside], np.diff(EDGES)[inside]) * 2 / RATE
        gain = np.exp(0.5 * np.clip(level - steady - np.log(density), -2.5, 0.3))
        covariance[inside] *= gain[:, None] * gain[None, :]
    power = np.square(fast)
    off_qrs = _on_waves(power.sum(0), np.square(slope).sum(0), calm, record.peaks[~record.odd])
    on_qrs = _changing(fast, slope, record, power[:, calm].mean(1).sum())
    size = record.scale[~record.odd].std() if (~record.odd).any() else 0.02
    off_qrs, on_qrs = np.sqrt(np.clip(off_qrs, 1e-4, 4)), np.sqrt(np.clip(on_qrs, 1e-6, 4))
    texture = np.log([off_qrs, *np.maximum(swing, 0.05), on_qrs, max(size, 0.004)])
    return NoiseModel(upper_triangle(_function(covariance, np.log)), texture)


def _covariances(rest: FloatArray, calm: BoolArray) -> FloatArray:
    """(band, lead, lead) mV^2 a Fourier bin of unit-power windows; of few bins correlations are the neighbours' too."""
    from scipy import signal as dsp

    leads, samples = rest.shape
    fast = dsp.sosfiltfilt(dsp.butter(4, SLOW - 1, "high", fs=RATE, output="sos"), rest, axis=1)
    soft = np.convolve(calm, np.hanning(21) / np.hanning(21).sum(), "same")
    taper = dsp.windows.tukey(samples, 0.1)
    bridged = np.stack([np.interp(np.arange(samples), np.flatnonzero(calm), lead[calm]) for lead in rest])
    low = np.fft.rfft(bridged * taper) / np.sqrt(np.square(taper).sum())
    high = np.fft.rfft(fast * soft) / np.sqrt(np.square(soft).sum() + 1e-9)
    hertz = np.fft.rfftfreq(samples, 1 / RATE)
    raw, counts = np.empty((BANDS, leads, leads)), np.empty(BANDS)
    for b in range(BANDS):
        bins = (low if EDGES[b] < SLOW else high)[:, (hertz >= EDGES[b]) & (hertz < EDGES[b + 1])]
        counts[b] = max(bins.shape[1], 1)
        raw[b] = (bins @ bins.conj().T).real / counts[b]
    sizes = np.sqrt(np.einsum("bll->bl", raw)) + 1e-9
    scale = sizes[:, :, None] * sizes[:, None, :]
    near = counts * np.exp(-np.abs(np.subtract.outer(np.arange(BANDS), np.arange(BANDS))) / NEAR)
    pooled = np.einsum("ab,bij->aij", near / near.sum(1, keepdims=True), raw / scale)
    shrink = np.minimum(0.9, leads / (counts + leads))[:, None, None]
    return np.asarray(
        (1 - shrink) * raw + shrink * scale * (0.9 * pooled + 0.1 * np.eye(leads)) + 1e-9 * np.eye(leads)
    )


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


def _on_waves(power: FloatArray, steep: FloatArray, calm: BoolArray, peaks: FloatArray) -> float:
    """Power beside the QRS that goes with the beat's slope, over that slope's square; medians over beats, by phase."""
    step = int(PHASE * RATE)
    starts = np.rint(peaks).astype(np.int64)[:, None] + np.arange(int(-0.3 * RATE), int(0.6 * RATE), step)
    ends = starts + step
    good = (starts >= 0) & (ends <= len(power))
    sums = [np.append(0.0, np.cumsum(x)) for x in (power, steep, calm.astype(np.float64))]
    low, high = np.where(good, starts, 0), np.where(good, ends, 0)
    own, slope, share = (np.where(good, (x[high] - x[low]) / step, np.nan) for x in sums)
    good &= share > 0.9
    use = good.sum(0) >= min(3, len(peaks))
    if use.sum() < 6:
        return 1e-4
    own, slope = (np.nanmedian(np.where(good, x, np.nan)[:, use], axis=0) for x in (own, slope))
    still = slope <= np.quantile(slope, 0.3)
    return float((own - own[still].mean()).sum() / max(slope.sum(), 1e-12))


def _usual_level(leads: FloatArray, quiet: BoolArray) -> FloatArray:
    """(group, lead) log power of noise in each of GROUPS: the median over short windows, so that bursts do not count.

    Windows of fast noise begin where the beat is still (`quiet`), as noise goes with the beat.
    """
    from scipy import signal as dsp

    out = []
    for low, high, seconds in zip(GROUPS, GROUPS[1:], LASTING, strict=False):
        kind = (
            {"Wn": (low, high), "btype": "bandpass"} if high < RATE / 2 else {"Wn": low, "btype": "highpass"}
        )
        band = dsp.sosfiltfilt(dsp.butter(2, fs=RATE, output="sos", **kind), leads, axis=1)
        power = uniform_filter1d(np.square(band), int(seconds * RATE), axis=1)
        out.append(np.median(np.log(power[:, quiet if low >= SLOW else slice(None)] + 1e-9), axis=1))
    return np.array(out)


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
    """Pairs (lead, BLOCK / 2) without end and without a seam: noise in mV, and noise of CHANGING to be shaped.

    The second has power 1 above ROUGH. Windows overlap by half, and their squares add up to 1; the texture's swings
    are drawn block by block.
    """
    window = np.sin(np.pi * (np.arange(BLOCK) + 0.5) / BLOCK).astype(np.float32)
    half = BLOCK // 2
    root = _function(symmetric(noise.log_covariance) / 2, np.exp).astype(np.float32)
    spread = np.maximum(np.exp(2 * noise.texture[1:3]) - np.square(STEADY), 0)
    swing = RECOVERED * np.sqrt(spread).astype(np.float32)
    opening = np.concatenate([np.ones(half, dtype=np.float32), window[half:]])  # nothing comes before
    before = _block(rng, root, swing, opening)
    yield before[0][:, :half], before[1][:, :half]
    while True:
        now = _block(rng, root, swing, window)
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
    restless = RESTLESS[0] * _wave(rng, 1, RESTLESS[1])
    swings = swing[0] * _wave(rng, 1, 0.15) + swing[1] * _wave(rng, leads, 0.12) + restless
    fast *= np.exp(np.minimum(swings, LOUDEST))
    middle = slice(int(np.searchsorted(hertz, CHANGING[0])), int(np.searchsorted(hertz, CHANGING[1])))
    unit = np.zeros((leads, middle.stop), dtype=np.complex64)
    shape = (leads, middle.stop - middle.start, 2)
    falling = _falling(hertz[middle])
    unit[:, middle] = rng.standard_normal(shape, dtype=np.float32).view(np.complex64)[..., 0] * falling
    return (slow * np.exp(restless) + fast) * window, fft.irfft(unit, BLOCK) * window


def _falling(hertz: FloatArray) -> Float32Array:
    """(bin,) amplitude of what changes from beat to beat, so that its power above ROUGH is 1."""
    power = hertz**-FALL * np.minimum(1, (CORNER / hertz) ** FALL)
    return (BLOCK / 2 * np.sqrt(power / power[hertz >= ROUGH].sum())).astype(np.float32)


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
