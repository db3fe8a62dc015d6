"""Monitor: one patient at the bedside: vitals every second and an ECG without end."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ....core.config import Settings
from ....core.modality import Batch, Record
from ....core.profile import PatientProfile
from ..artefacts import Noise
from ..layout import CHANNELS, RATE, VITALS_UNITS
from ..leads import leads_of
from .rules import AtrialFibrillation, LeadOff, Rule, Sepsis
from .strip import RhythmState, Strip, free_leads
from .vitals import LiveVitals, displayed

if TYPE_CHECKING:
    from ..ecg.sampler import EcgSampler

RATES = (250, 500)  # Hz of the ECG
LOINC = {
    "HR": ("8867-4", "Heart rate"),
    "O2Sat": ("59408-5", "Oxygen saturation in Arterial blood by Pulse oximetry"),
    "Temp": ("8310-5", "Body temperature"),
    "SBP": ("8480-6", "Systolic blood pressure"),
    "MAP": ("8478-0", "Mean blood pressure"),
    "DBP": ("8462-4", "Diastolic blood pressure"),
    "Resp": ("9279-1", "Respiratory rate"),
}
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
        hours = arrays.get("vitals", ())
        charted = np.asarray(hours) if len(hours) else np.full((1, len(CHANNELS)), np.nan)
        self._vitals = LiveVitals(charted, seed, start, changes, str(record.facts.get("rhythm", "sinus")))
        known = np.isfinite(charted).any(0)
        self._shown = [name for name, there in zip(CHANNELS, known, strict=True) if there]
        self._origin, self._noise, self._leads = origin, noise or Noise(), leads_of(record)
        self._second: Callable[[], Second] | None = None
        if "ecg" in signals and "ecg" in arrays:
            if origin is None:
                self._second = self._replayed(record, seed, f"patient {profile.patient_id}")
            else:
                self._second = self._continued(*origin)
        has = {"ecg": self._second is not None, "vitals": bool(self._shown)}
        self.signals = tuple(name for name in signals if has.get(name, False))

    def vitals(self, second: int) -> Mapping[str, float]:
        """Channel to value as a monitor shows it, in the units of describe(); never charted ones are left out."""
        return displayed(self._vitals.at(second), self._shown)

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
        units = dict(zip(CHANNELS, VITALS_UNITS, strict=True))
        trace: dict[str, Any] = {"rate": self.rate, "unit": "uV", "leads": list(self._leads.names)}
        trace |= REPLAYED if self._origin is None else CONTINUED
        if not self._noise.silent:
            trace |= {"rule_based": f"{trace['rule_based']}; noise", "noise": self._noise.describe()}
        said = {
            "ecg": trace,
            "vitals": {
                "rate": 1,
                "channels": {
                    name: {"unit": units[name], "loinc": LOINC[name][0], "label": LOINC[name][1]}
                    for name in self._shown
                },
                "origin": "hourly vitals of the patient's drawn chart, which are the means of the hours",
                "rule_based": "variation within the hour",
            },
        }  # fmt: skip
        return {name: said[name] for name in self.signals}
