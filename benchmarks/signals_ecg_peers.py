"""ECGs of others: NeuroKit2's simulator, deepfake-ecg's GAN, and the plain copula prior that ours grew out of."""

import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from polyclinic import Record
from polyclinic.modalities.signals.ecg.beats import Decomposed, decompose, placing
from polyclinic.modalities.signals.ecg.morphology import Basis
from polyclinic.modalities.signals.layout import INDEPENDENT, LEADS, RATE, twelve_leads

SHAPES = 60  # principal components of whole beats
EDGES = np.array([0.3, 1, 2, 4, 7, 12, 20, 35, 60, 100, 250.1])  # Hz, bands of the noise
SHRINK = 0.1  # of correlations


def neurokit(rates: Sequence[float], seed: int) -> tuple[list[Record], float]:
    """NeuroKit2's 12-lead simulator at these heart rates, and its ms a record."""
    import neurokit2 as nk

    began, out = time.process_time(), []
    for i, rate in enumerate(rates):
        how = {
            "duration": 10,
            "sampling_rate": RATE,
            "heart_rate": round(rate),
            "random_state": seed * 1000 + i,
        }
        table = nk.ecg_simulate(method="multileads", **how)
        out.append(Record({"ecg": table[list(LEADS)].to_numpy().T.astype(np.float32)}))
    return out, 1000 * (time.process_time() - began) / len(rates)


def deepfake(count: int) -> list[Record]:
    """deepfake-ecg's shipped GAN (Thambawita et al., Sci Rep 11:21896, 2021), microvolts of eight leads."""
    import deepfakeecg
    import torch

    place = Path(deepfakeecg.__file__).parent / "checkpoints" / "g_stat.pt"
    net = deepfakeecg.Generator()
    net.load_state_dict(torch.load(place, map_location="cpu")["stat_dict"])
    net.eval()
    with torch.no_grad():
        leads = [net(torch.empty(1, 8, 5000).uniform_(-1, 1))[0].numpy() * 6 for _ in range(count)]
    return [Record({"ecg": twelve_leads(lead.astype(np.float64))}) for lead in leads]


def copula(train: Sequence[Record], count: int, seed: int) -> list[Record]:
    """Size and shape of whole beats, intervals, and the noise of each lead and band by one Gaussian copula.

    No wave is registered, no profile followed, and noise is the same at all times: what a plain statistical model of
    the same training records reaches.
    """
    rng = np.random.default_rng(seed)
    parts = [decompose(r.arrays["ecg"][list(INDEPENDENT)], r.arrays["r_peaks"]) for r in train]
    beats = np.stack([part.beat.ravel() for part in parts])
    sizes = np.sqrt(np.square(beats).mean(1))
    basis = Basis.of(beats / sizes[:, None], SHAPES)
    gaps = [np.diff(part.peaks) / RATE for part in parts]
    table = np.column_stack([
        np.log(sizes), basis.scores(beats / sizes[:, None]), [np.log(np.median(own)) for own in gaps],
        [np.log(own.std() / own.mean() + 0.003) for own in gaps], [_loudness(part).ravel() for part in parts],
    ])  # fmt: skip
    normal = ndtri((table.argsort(0).argsort(0) + 0.5) / len(table))
    seen = (1 - SHRINK) * np.corrcoef(normal.T) + SHRINK * np.eye(table.shape[1])
    values, vectors = np.linalg.eigh(seen)
    place = ndtr(rng.standard_normal((count, len(seen))) @ (vectors * np.sqrt(values.clip(1e-6))).T)
    rows = np.stack([np.quantile(c, u) for c, u in zip(table.T, place.T, strict=True)], axis=1)
    return [_traced(row, basis, rng) for row in rows]


def _loudness(part: Decomposed) -> NDArray[np.float64]:
    """(lead, band) log power of what beats leave over."""
    power = np.square(np.abs(np.fft.rfft(part.remainder, axis=1)))
    hertz = np.fft.rfftfreq(part.remainder.shape[1], 1 / RATE)
    bands = [(hertz >= low) & (hertz < high) for low, high in pairwise(EDGES)]
    return np.log(np.stack([power[:, band].mean(1) for band in bands], axis=1) + 1e-12)


def _traced(row: NDArray[np.float64], basis: Basis, rng: np.random.Generator, samples: int = 5000) -> Record:
    """Ten seconds of one row of the copula's table."""
    beat = (np.exp(row[0]) * basis.values(row[1 : SHAPES + 1])).reshape(len(INDEPENDENT), -1)
    usual, uneven = np.exp(row[SHAPES + 1 : SHAPES + 3])
    gaps = (usual * (1 + uneven * rng.standard_normal(int(12 / usual) + 8))).clip(0.3)
    at = np.cumsum(gaps) - 2 * usual
    trace = (placing(at[:-1] * RATE, gaps[1:], samples) @ beat.T).T
    hertz = np.fft.rfftfreq(samples, 1 / RATE)
    band = np.clip(np.searchsorted(EDGES, hertz, side="right") - 1, 0, len(EDGES) - 2)
    size = (
        np.exp(0.5 * row[SHAPES + 3 :].reshape(len(INDEPENDENT), -1))[:, band]
        * (hertz >= EDGES[0])
        / np.sqrt(2)
    )
    white = rng.standard_normal((*size.shape, 2)) @ np.array([1, 1j])
    return Record({"ecg": twelve_leads(trace + np.fft.irfft(size * white, samples, axis=1))})
