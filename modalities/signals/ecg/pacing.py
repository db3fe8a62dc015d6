"""Pacing spikes: the pulses of a pacemaker ahead of the beats that it starts. Rule-based."""

import numpy as np

from ....core.types import FloatArray

SIZE = (0.5, 2.0)  # mV, the greatest of the free leads
AHEAD = (0.008, 0.03)  # s before the QRS begins
VARIES = (
    0.35  # of the size from spike to spike: a pulse is shorter than a sample, and not all of it is caught
)
# From the tip in the right ventricle's apex to the box under the collarbone: of I, II, V1 to V6
TOWARDS = np.array([-0.2, -0.7, 0.3, 0.5, 0.6, 0.4, 0.2, -0.1])


class Spikes:
    """The spikes of one patient: (lead,) mV in I, II, V1 to V6, `ahead` seconds before the R peak."""

    def __init__(self, rng: np.random.Generator, onset: float) -> None:
        """`onset` is where the QRS begins, in s from the R peak."""
        leads = TOWARDS + 0.3 * rng.standard_normal(len(TOWARDS))
        leads *= rng.uniform(*SIZE) / np.abs(leads).max()
        self.leads: FloatArray = leads * rng.choice((-1, 1))
        self.ahead = float(rng.uniform(*AHEAD) - onset)
        self._seed = int(rng.integers(2**31))

    def add(self, signal: FloatArray, begins: float, peak: float, rate: int) -> None:
        """Onto (lead, sample) mV that begins at time `begins`, the part of the spike of the beat at `peak`, both in s.

        A spike is as long as a sample and lies between two; its size depends on patient and beat alone, so that
        blocks may end within it.
        """
        place = (peak - self.ahead - begins) * rate
        rng = np.random.default_rng([self._seed, abs(round(peak * rate))])
        size = float(np.clip(1 + VARIES * rng.standard_normal(), 0.2, 2))
        first = int(np.floor(place))
        for sample, share in ((first, 1 - (place - first)), (first + 1, place - first)):
            if 0 <= sample < signal.shape[1]:
                signal[:, sample] += size * share * self.leads
