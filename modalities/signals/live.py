"""Monitor: one patient at the bedside: vitals every second and an ECG without end, from one record."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.config import Settings
from ...core.modality import Record
from ...core.profile import PatientProfile
from .export import CHANNELS, LEADS, RATE, VITALS_UNITS
from .live_ecg import Heart, Strip, free_leads
from .live_rules import LOST, AtrialFibrillation, LeadOff, Rule, Sepsis
from .live_vitals import Course, displayed

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


class Monitor:
    """A drawn record, live. Time goes forward: each second is asked for once, in order.

    `record` has "vitals" (hour, 7) with NaN where not charted, "ecg" (12, sample) mV at 500 Hz and "r_peaks", or
    either. The ECG is the record's own beats, repeated on whole beats and timed to the heart rate of the vitals.
    `start` is the second of the chart at which the stream begins. Raises InputError when the ECG has too few beats.
    """

    def __init__(
        self,
        profile: PatientProfile,
        record: Record,
        seed: int,
        *,
        signals: Sequence[str],
        rate: int = RATE,
        start: int = 0,
        rules: Sequence[Settings] = (),
    ) -> None:
        assert rate in RATES
        arrays = record.arrays
        self.rate, self._rules = rate, [rule for rule in rules if isinstance(rule, Rule)]
        changes = [rule for rule in self._rules if isinstance(rule, Sepsis | AtrialFibrillation)]
        hours = arrays.get("vitals", ())
        charted = np.asarray(hours) if len(hours) else np.full((1, len(CHANNELS)), np.nan)
        self._course = Course(charted, seed, start, changes)
        self._shown = [
            name for name, column in zip(CHANNELS, charted.T, strict=True) if np.isfinite(column).any()
        ]
        self._strip: Strip | None = None
        if "ecg" in signals and "ecg" in arrays:
            free = free_leads(arrays["ecg"], rate, RATE)
            peaks = np.asarray(arrays.get("r_peaks", ()), dtype=np.int64) * rate // RATE
            self._strip = Strip(free, peaks, rate, seed, f"patient {profile.patient_id}")
        has = {"ecg": self._strip is not None, "vitals": bool(self._shown)}
        self.signals = tuple(name for name in signals if has.get(name, False))

    def vitals(self, second: int) -> Mapping[str, float]:
        """Channel to value as a monitor shows it, in the units of describe(); never charted ones are left out."""
        return displayed(self._course.at(second))

    def ecg(self, second: int) -> tuple[Mapping[str, NDArray[np.int16] | None], list[int]]:
        """One second of each lead in microvolts (None: its electrode is off), and the R peaks in it."""
        assert self._strip is not None
        leads, peaks = self._strip.take(self.rate, self._heart)
        lost = {
            lead
            for rule in self._rules
            if isinstance(rule, LeadOff) and rule.on(second)
            for lead in LOST[rule.electrode]
        }
        return {name: None if name in lost else row for name, row in zip(LEADS, leads, strict=True)}, peaks

    def _heart(self, time: float) -> Heart:
        assert self._strip is not None
        af = [rule for rule in self._rules if isinstance(rule, AtrialFibrillation) and rule.on(time)]
        own = af[-1].rate if af else self._strip.own_rate
        return Heart(self._course.heart_rate(int(time), own), bool(af))

    def describe(self) -> dict[str, Any]:
        """What the signals are and where they come from, in plain JSON types."""
        units = dict(zip(CHANNELS, VITALS_UNITS, strict=True))
        said = {
            "ecg": {
                "rate": self.rate,
                "unit": "uV",
                "leads": list(LEADS),
                "origin": "beats of the patient's drawn ECG, repeated",
                "rule_based": "length of each beat: that of the heart rate among the vitals",
            },
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
