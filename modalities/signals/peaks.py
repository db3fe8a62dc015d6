"""R peaks of an ECG: the filters ahead of the search, and the search."""

from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import signal as dsp

from ...core.types import FloatArray, IntArray
from .layout import RATE

BAND = (0.5, 45.0)  # Hz, the same filter for real and synthetic records
SLOW = RATE // 2  # Hz, of what the filter lets through


@cache
def _sections(order: int, edges: float | tuple[float, float], kind: str, rate: int) -> FloatArray:
    """A Butterworth filter as second-order sections; to design one takes as long as to filter a lead."""
    return np.asarray(dsp.butter(order, edges, btype=kind, fs=rate, output="sos"))


def clean(ecg: NDArray[np.floating]) -> FloatArray:
    """(lead, sample) at 500 Hz without baseline wander (0.5 Hz) and mains hum (50 Hz)."""
    high = _sections(2, 0.5, "highpass", RATE)
    notch_b, notch_a = dsp.iirnotch(50, 30, fs=RATE)
    filtered = dsp.filtfilt(notch_b, notch_a, dsp.sosfiltfilt(high, ecg, axis=1), axis=1)
    return np.asarray(filtered, dtype=np.float64)


def r_peaks(ecg: NDArray[np.floating], rate: int = RATE) -> IntArray:
    """Sample numbers of the QRS complexes of a (lead, sample) record.

    Energy of the 5 to 20 Hz band over all leads, a moving window of 100 ms, an adaptive threshold with
    search back, after Pan and Tompkins (1985); the peak is where that energy is greatest.
    """
    band = _sections(2, (5, 20), "bandpass", rate)
    energy = np.square(dsp.sosfiltfilt(band, ecg, axis=1)).sum(0)
    width = max(1, int(0.1 * rate))
    smooth = np.convolve(energy, np.ones(width) / width, mode="same")
    blocks = smooth[: len(smooth) // rate * rate].reshape(-1, rate).max(1)
    level = np.median(blocks) if len(blocks) else smooth.max()
    if level <= 0:
        return np.zeros(0, dtype=np.int64)
    spots, _ = dsp.find_peaks(smooth, height=0.15 * level, distance=int(0.25 * rate))
    if len(spots) > 2:  # a T wave that passed: close behind a much stronger beat
        keep = [True] * len(spots)
        for k in range(1, len(spots)):
            near = spots[k] - spots[k - 1] < 0.4 * rate
            keep[k] = not (near and keep[k - 1] and smooth[spots[k]] < 0.4 * smooth[spots[k - 1]])
        spots = spots[np.array(keep)]
    half = width // 2
    refined = [max(0, s - half) + int(np.argmax(energy[max(0, s - half) : s + half + 1])) for s in spots]
    return np.array(sorted(set(refined)), dtype=np.int64)


def filtered(ecg: FloatArray) -> FloatArray:
    """(lead, sample) in BAND at the rate SLOW."""
    band = _sections(2, BAND, "bandpass", RATE)
    return np.asarray(dsp.sosfiltfilt(band, np.nan_to_num(ecg), axis=1)[:, ::2])
