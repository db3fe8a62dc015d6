"""Ventricular beats: those found in records, cut out, and a model of their shape."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ....core.types import FloatArray
from ..layout import RATE
from .beats import INTERVALS, KNEE, KNOTS, USUAL_INTERVAL, Decomposed, padded, placing
from .morphology import Basis, stored_floats

EARLY = 0.88  # of the usual interval: what comes sooner is premature
COMPONENTS = 4
WINDOW = (-0.16, 0.52)  # s around the R peak that a beat keeps
TAPER = 0.08  # s at either end of it
BIGGEST = 4.0  # times the others' size; what is beyond is an artefact


def cut(record: Decomposed) -> list[FloatArray]:
    """Premature beats (lead, knot) unlike the others, without wander or neighbours, in units of the others' size."""
    from scipy import signal as dsp

    gaps = np.diff(record.peaks)
    odd = [k for k in range(1, len(gaps)) if record.odd[k] and gaps[k - 1] < EARLY * np.median(gaps)]
    if not odd:
        return []
    full, intervals = padded(record.peaks)
    usual = np.concatenate([[1.0], np.where(record.odd, 0.0, record.scale), [1.0]])
    samples = record.fitted.shape[1]
    others = (placing(full, intervals, samples, usual) @ record.beat.T).T
    band = dsp.butter(2, 0.5, "high", fs=RATE, output="sos")
    rest = dsp.sosfiltfilt(band, record.fitted + record.remainder, axis=1) - others
    size = np.sqrt(np.square(record.beat).mean()) + 1e-3
    found = []
    for k in odd:
        stretch = np.sqrt(np.clip(intervals[k + 1], *INTERVALS) / USUAL_INTERVAL)
        since = np.where(KNOTS < KNEE, KNOTS, KNEE + (KNOTS - KNEE) * stretch)
        at = record.peaks[k] + since * RATE
        if at[0] < 0 or at[-1] >= samples:
            continue
        beat = np.stack([np.interp(at, np.arange(samples), lead) for lead in rest])
        first, last = np.searchsorted(KNOTS, WINDOW)
        part = (KNOTS - WINDOW[0]) / (WINDOW[1] - WINDOW[0])
        beat -= beat[:, first : first + 1] * (1 - part) + beat[:, last : last + 1] * part
        beat *= np.clip(np.minimum(KNOTS - WINDOW[0], WINDOW[1] - KNOTS) / TAPER, 0, 1) / size
        if np.sqrt(np.square(beat).mean()) < BIGGEST:
            found.append(beat)
    return found


@dataclass(frozen=True)
class EctopicModel:
    """Principal components of ventricular beats, relative to the size of the patients' usual beats.

    Their scores are normal with the standard deviation `spread`.
    """

    basis: Basis
    spread: FloatArray

    @classmethod
    def fit(cls, beats: Sequence[FloatArray]) -> "EctopicModel | None":
        """Of (lead, knot) beats; None if there are too few to tell."""
        if len(beats) < 2 * COMPONENTS:
            return None
        rows = np.stack([beat.ravel() for beat in beats])
        basis = Basis.of(rows, COMPONENTS)
        return cls(basis, basis.scores(rows).std(0))

    def draw(self, rng: np.random.Generator, beat: FloatArray) -> FloatArray:
        """(lead, knot) mV of the ventricular beat of a patient whose usual one is `beat`."""
        size = np.sqrt(np.square(beat).mean())
        shape = self.basis.values(self.spread * np.clip(rng.standard_normal(len(self.spread)), -1.5, 1.5))
        return np.asarray(size * shape.reshape(len(beat), -1))

    def of_leads(self, weights: FloatArray) -> "EctopicModel":
        """The same beats in leads that are sums of these, by `weights` (new lead, lead)."""

        def turned(rows: FloatArray) -> FloatArray:
            """(..., lead * knot) values."""
            return np.asarray(
                (weights @ rows.reshape(*rows.shape[:-1], weights.shape[1], -1)).reshape(*rows.shape[:-1], -1)
            )

        return EctopicModel(Basis(turned(self.basis.mean), turned(self.basis.axes)), self.spread)

    def tensors(self) -> dict[str, Tensor]:
        """For a weight file; `of` reads them."""
        arrays = {"mean": self.basis.mean, "axes": self.basis.axes, "spread": self.spread}
        return stored_floats({f"ectopic.{name}": value for name, value in arrays.items()})

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> "EctopicModel | None":
        """From the tensors of a weight file; None if it has none."""
        if "ectopic.spread" not in tensors:
            return None
        mean, axes, spread = (tensors[f"ectopic.{n}"].double().numpy() for n in ("mean", "axes", "spread"))
        return cls(Basis(mean, axes), spread)
