"""Charts of all training rows: read once, with what a card says of them, learnt or stated."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ....core.condition import select
from ....core.errors import InputError
from ....core.modality import Conditioner, TrainingSet
from ....core.profile import PatientProfile
from ....core.types import Float32Array, FloatArray, IntArray
from ..channels import Channel, channels_of, step_of
from ..data import read_vitals
from .charting import charts
from .options import SeriesOptions, series_options
from .quantizer import Lattice, Tokens
from .training import Stays

PATTERNS = 64  # sets of known baselines that a card holds


@dataclass(frozen=True)
class CohortCharts:
    """(stay, step, channel) readings, steps of each stay in the window, hours of onset or NaN, and whose they are.

    Profiles know the medians of their own chart. `settings` are those of the folders, which are alike.
    """

    readings: Float32Array
    length: IntArray
    onset: FloatArray
    profiles: Sequence[PatientProfile]
    channels: tuple[Channel, ...]
    settings: SeriesOptions

    @property
    def patients(self) -> list[str]:
        """Whose chart each is."""
        return [profile.patient_id for profile in self.profiles]

    def stays(self, conditioner: Conditioner, columns: Sequence[str], lattice: Lattice) -> Stays:
        """As the network takes them."""
        code = select(conditioner.encode(self.profiles), conditioner.columns, columns)
        tokens = Tokens.of(self.readings, lattice)
        onset = (self.onset / self.settings.step_hours).astype(np.float32)
        return Stays(
            tokens, charts(tokens), torch.from_numpy(self.length), torch.from_numpy(code),
            torch.from_numpy(onset),
        )  # fmt: skip

    def scales(self) -> list[tuple[float, float]]:
        """Median and half the middle 68 % of each channel in lattice units; never less than a step."""
        plain = Lattice.of(self.channels)
        inside = plain.inward(self.readings).reshape(-1, plain.count)
        out = []
        for values, (usual, spread), step in zip(inside.T, plain.scales, plain.step, strict=True):
            if len(known := values[np.isfinite(values)]) > 1:
                low, usual, high = np.percentile(known, [16, 50, 84])
                spread = max(float(high - low) / 2, float(known.std()) / 3, float(step))
            out.append((float(usual), float(spread)))
        return out

    def learnt(self) -> dict[str, Any]:
        """What a card says that public data teach: the shortest stay, the first onset, which baselines are known."""
        lengths, onsets = self.length[self.length > 0], self.onset[np.isfinite(self.onset)]
        return {
            **self.stated(),
            "shortest": int(lengths.min()) if len(lengths) else 1,
            "first_onset": float(onsets.min()) if len(onsets) else None,
            "known": known_sets(self.profiles, [c.field for c in self.channels if c.field]),
        }

    def stated(self) -> dict[str, Any]:
        """What the folder says, which is public."""
        s = self.settings
        return {
            "step_hours": s.step_hours,
            "shortest": max(1, int(s.shortest / s.step_hours)),
            "first_onset": s.lead + s.step_hours if s.onset else None,
        }


def known_sets(profiles: Sequence[PatientProfile], fields: Sequence[str]) -> dict[str, float]:
    """How often each set of these fields is known, the most frequent sets, joined by +."""
    if not fields:
        return {}
    found = Counter("+".join(f for f in fields if f in p.measurements) for p in profiles)
    return {names: number / len(profiles) for names, number in found.most_common(PATTERNS)}


def read_charts(data: Sequence[TrainingSet], rows: int) -> CohortCharts:
    """All rows of all sets. Raises InputError for sets of different channels or steps of time."""
    grids, lengths, onsets, profiles = [], [], [], []
    said: dict[str, tuple[tuple[Channel, ...], float]] = {}
    for part in data:
        for record, profile in zip(read_vitals(part, rows), part.profiles, strict=True):
            grids.append(record.arrays["vitals"])
            lengths.append(record.facts["hours"])
            onsets.append(record.facts.get("sepsis_onset", np.nan))
            profiles.append(profile.but(measurements={**profile.measurements, **record.facts["baseline"]}))
            said[part.source.name] = channels_of(record.facts), step_of(record.facts)
    if len(set(said.values())) != 1:
        raise InputError(
            f"{', '.join(said)}: the data sets have different channels or steps of time; describe them alike"
        )
    ((channels, _),) = set(said.values())
    return CohortCharts(
        np.stack(grids), np.array(lengths, dtype=np.int64), np.array(onsets, dtype=np.float64), profiles,
        channels, series_options(data[0].options, "options"),
    )  # fmt: skip
