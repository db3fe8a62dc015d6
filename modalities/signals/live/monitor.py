"""Monitor: one patient at the bedside: vitals every second and an ECG without end."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ....core.config import Settings
from ....core.modality import Batch, Record
from ....core.profile import PatientProfile
from ....core.types import Float32Array, FloatArray
from ..artefacts import Noise
from ..channels import CHANNELS, VITALS, Channel, channels_of, step_of
from ..layout import RATE
from ..leads import leads_of
from .rules import AtrialFibrillation, LeadOff, Rule, Sepsis
from .strip import RhythmState, Strip, free_leads
from .vitals import LiveVitals, displayed

if TYPE_CHECKING:
    from ..ecg.sampler import EcgSampler

RATES = (250, 500)  # Hz of the ECG
CONTINUED = {
    "origin": "continued without end from the ECG morphology of the patient's record",
    "rule_based": "the heart rate is that of the vitals; flutter waves, where the rhythm is flutter; episodes of "
    "fibrillation; spikes of a pacemaker",
}
REPLAYED = {
    "origin": "beats of the patient's record, repeated",
    "rule_based": "length of each beat: that of the heart rate among the vitals",
}
Second = tuple[NDArray[np.int16], list[int]]  # (lead, rate) whole microvolts, samples of the R peaks


@dataclass(frozen=True)
class Held:
    """A channel that no monitor measures by the second: what was charted last is shown until the next reading."""

    channel: Channel
    values: FloatArray  # (row,) of time, NaN before the first reading
    seconds: float  # from row to row

    def at(self, second: int) -> float | None:
        """The value at a second of the chart, which begins anew after its end; None before the first reading."""
        value = float(self.values[int(second / self.seconds) % len(self.values)])
        return round(value, self.channel.decimals) if np.isfinite(value) else None


def _monitored(record: Record) -> tuple[Float32Array, dict[str, Held]]:
    """(hour, 7) readings of the vital signs that a monitor shows, and the chart's other channels by name."""
    chart, step = np.asarray(record.arrays.get("vitals", ())), step_of(record.facts)
    if not len(chart):
        return np.full((1, len(CHANNELS)), np.nan, dtype=np.float32), {}
    channels = channels_of(record.facts)
    if step == 1 and channels == VITALS:
        return chart, {}
    hours = max(1, round(len(chart) * step))
    vitals = np.full((hours, len(CHANNELS)), np.nan, dtype=np.float32)
    rows = np.minimum((np.arange(hours) / step).astype(np.int64), len(chart) - 1)
    held = {}
    for channel, column in zip(channels, chart.T, strict=True):
        if channel in VITALS:
            vitals[:, CHANNELS.index(channel.name)] = column[rows]
        elif (known := np.flatnonzero(np.isfinite(column))).size:
            last = np.searchsorted(known, np.arange(len(column)), side="right") - 1
            values = np.where(last >= 0, column[known[last.clip(min=0)]], np.nan)
            held[channel.name] = Held(channel, values, 3600 * step)
    return vitals, held


class Monitor:
    """A drawn record, live. Time goes forward: each second is asked for once, in order.

    `record` has "vitals" (hour, 7) with NaN where not charted, "ecg" (lead, sample) mV at 500 Hz and "r_peaks", or
    either. `origin` is the sampler and the row from which the record was drawn: the ECG goes on with that morphology.
    Where it is not known the record's own beats are repeated. `noise` is what was put on the record, and is put on what
    is drawn. `start` is the second of the chart at which the stream begins. Raises InputError: an ECG of too few beats,
    pressures that do not cohere, a rule that cannot be.
    """

    def __init__(
        self, profile: PatientProfile, record: Record, seed: int, *, signals: Sequence[str], rate: int = RATE,
        start: int = 0, rules: Sequence[Settings] = (), origin: "tuple[EcgSampler, Batch] | None" = None,
        noise: Noise | None = None,
    ) -> None:  # fmt: skip
        assert rate in RATES
        arrays = record.arrays
        self.rate, self._rules = rate, [rule for rule in rules if isinstance(rule, Rule)]
        self._fibrillations = [rule for rule in self._rules if isinstance(rule, AtrialFibrillation)]
        changes = [rule for rule in self._rules if isinstance(rule, Sepsis | AtrialFibrillation)]
        charted, self._held = _monitored(record)
        self._vitals = LiveVitals(charted, seed, start, changes, str(record.facts.get("rhythm", "sinus")))
        known = np.asarray(np.isfinite(charted).any(0))
        self._shown = [name for name, there in zip(CHANNELS, known, strict=True) if there]
        self._start = start
        self._origin, self._noise, self._leads = origin, noise or Noise(), leads_of(record)
        self._second: Callable[[], Second] | None = None
        if "ecg" in signals and "ecg" in arrays:
            if origin is None:
                self._second = self._replayed(record, seed, f"patient {profile.patient_id}")
            else:
                self._second = self._continued(*origin)
        has = {"ecg": self._second is not None, "vitals": bool(self._shown or self._held)}
        self.signals = tuple(name for name in signals if has.get(name, False))

    def vitals(self, second: int) -> Mapping[str, float]:
        """Channel to value as a monitor shows it, in the units of describe(); never charted ones are left out."""
        shown = displayed(self._vitals.at(second), self._shown)
        return shown | {
            name: value
            for name, held in self._held.items()
            if (value := held.at(self._start + second)) is not None
        }

    def ecg(self, second: int) -> tuple[Mapping[str, NDArray[np.int16] | None], list[int]]:
        """One second of each lead in microvolts (None: its electrode is off), and the R peaks in it."""
        assert self._second is not None
        leads, peaks = self._second()
        rows: list[NDArray[np.int16] | None] = list(leads)
        for rule in self._rules:
            if isinstance(rule, LeadOff) and rule.on(second):
                for place in self._leads.lost(rule.electrode):
                    rows[place] = None
        return dict(zip(self._leads.names, rows, strict=True)), peaks

    def _continued(self, sampler: "EcgSampler", row: Batch) -> Callable[[], Second]:
        from .continuous import ContinuousEcg

        if not self._fibrillations and "HR" not in self._shown:
            return ContinuousEcg(sampler, row, self.rate, self._noise).take
        fibrillates = self._fibrillates if self._fibrillations else None
        return ContinuousEcg(sampler, row, self.rate, self._noise, self._heart_rate, fibrillates).take

    def _replayed(self, record: Record, seed: int, where: str) -> Callable[[], Second]:
        free = free_leads(record.arrays["ecg"], self.rate, RATE, self._leads)
        peaks = np.asarray(record.arrays.get("r_peaks", ()), dtype=np.int64) * self.rate // RATE
        strip = Strip(free, peaks, self.rate, seed, where, self._leads)

        def state(time: float) -> RhythmState:
            return RhythmState(self._heart_rate(time, strip.mean_rate), self._fibrillates(time))

        return lambda: strip.take(self.rate, state)

    def _fibrillates(self, time: float) -> bool:
        return any(rule.on(time) for rule in self._fibrillations)

    def _heart_rate(self, time: float, otherwise: float) -> float:
        """That of the vitals; where it was never charted that of a rule, or `otherwise`."""
        held = [rule.rate for rule in self._fibrillations if rule.on(time)]
        return self._vitals.heart_rate(time, held[-1] if held else otherwise)

    def describe(self) -> dict[str, Any]:
        """What the signals are and where they come from, in plain JSON types."""
        trace: dict[str, Any] = {"rate": self.rate, "unit": "uV", "leads": list(self._leads.names)}
        trace |= REPLAYED if self._origin is None else CONTINUED
        if not self._noise.silent:
            trace |= {"rule_based": f"{trace['rule_based']}; noise", "noise": self._noise.describe()}
        channels = [channel for channel in VITALS if channel.name in self._shown]
        channels += [held.channel for held in self._held.values()]
        said = {
            "ecg": trace,
            "vitals": {
                "rate": 1,
                "channels": {
                    channel.name: {"unit": channel.unit, "loinc": channel.loinc, "label": channel.label}
                    for channel in channels
                },
                "origin": "hourly vitals of the patient's drawn chart, which are the means of the hours",
                "rule_based": "variation within the hour",
            },
        }  # fmt: skip
        return {name: said[name] for name in self.signals}
