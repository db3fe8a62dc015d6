"""WearableRules: the generator; a month of one body by rules, as its devices record it."""

from typing import Any

import numpy as np

from ...core.modality import Batch, Facts, Record
from ...core.profile import PatientProfile
from ...core.types import AnyArray
from .body import DAY, Body, body_of
from .channels import BEATS
from .day import Day, days
from .figures import devices
from .options import Options
from .pulse import RATE, SITES, segment
from .sugar import hba1c
from .wearing import Wearing


class WearableRules:
    """The Generator; a record depends on the profile, the row's seed and the facts of the ECG alone."""

    def __init__(self, options: Options) -> None:
        self.options = options

    def sample(self, batch: Batch) -> list[Record]:
        """Arrays `<device>/<channel>` (value,) float32, NaN where missing; see channels.CHANNELS for units.

        `<device>/beats` (beat,) uint32 ms since the first midnight; `meals/minute`, `meals/grams`, `meals/units`; with
        ppg `ppg/begins` (segment,) s, `ppg/wrist` and `ppg/finger` (segment, sample).
        """
        facts = batch.facts or ({},) * len(batch)
        rows = zip(batch.profiles, facts, batch.seeds, strict=True)
        return [self.one(profile, body_of(profile, known, seed)) for profile, known, seed in rows]

    def one(self, profile: PatientProfile, body: Body) -> Record:
        """The record of a body."""
        how, presets = self.options, devices()
        worn = [Wearing(presets[name], body, list(presets).index(name)) for name in how.device]
        parts: dict[str, list[AnyArray]] = {}
        seen, last = [], None
        by_heart = any({BEATS, "heart_rate"} & set(device.device.channels) for device in worn)
        for number, day in enumerate(days(body, 1 - how.days, how.days)):
            for device in worn:
                for name, values in device.record(day).items():
                    shift = number * DAY * 1000 if name == BEATS else 0
                    parts.setdefault(f"{device.device.name}/{name}", []).append(
                        values + shift if shift else values
                    )
            meals = day.basis.meals
            for name, values in (
                ("minute", meals.minute + 1440 * number),
                ("grams", meals.grams),
                ("units", meals.units),
            ):
                parts.setdefault(f"meals/{name}", []).append(values.astype(np.float32))
            resting = day.resting() if by_heart else np.nan
            seen.append((resting, day.glucose.mean(), int(day.basis.steps.sum()), int(day.asleep.sum())))
            last = day
        arrays = {name: np.concatenate(found) for name, found in parts.items()}
        for name in arrays:
            if name.endswith(f"/{BEATS}"):
                arrays[name] = arrays[name].astype(np.uint32)
        assert last is not None
        if how.ppg:
            arrays |= _pulse(last, how)
        return Record(arrays, self._facts(body, worn, np.array(seen, dtype=np.float64)))

    def _facts(self, body: Body, worn: list[Wearing], seen: AnyArray) -> Facts:
        resting, glucose, steps, asleep = seen.T
        facts: dict[str, Any] = {
            "rule_based": True, "days": self.options.days, "devices": list(self.options.device),
            "rhythm": body.rhythm, "clock_ppm": {w.device.name: w.clock.ppm for w in worn},
            "clock_phase": {w.device.name: w.clock.phase for w in worn},
            "steps_per_day": round(float(steps.mean())), "sleep_hours": round(float(asleep.mean()) / 60, 2),
            "hba1c": hba1c(body), "diabetes": body.diabetic,
        }  # fmt: skip
        if np.isfinite(resting).any():
            facts["resting_heart_rate"] = round(float(np.nanmedian(resting)))
        if any("glucose" in w.device.channels for w in worn):
            facts["mean_glucose"] = round(float(glucose.mean()), 1)
        if body.strip is not None:
            facts["ecg"] = dict(body.strip.facts)
            facts["ecg_at"] = float(
                body.strip.begins + DAY * (self.options.days - 1)
            )  # s since the first midnight
        if self.options.ppg:
            facts["ppg_rate"] = RATE
        return facts


def _pulse(day: Day, how: Options) -> dict[str, AnyArray]:
    """Segments of the index day, spread over it; the first begins with the ECG."""
    begins = [round((k + 0.5) * DAY / how.ppg_segments) for k in range(how.ppg_segments)]
    if day.body.strip is not None:
        begins[0] = int(day.body.strip.begins)
    found = [segment(day, begin, how.ppg_seconds) for begin in begins]
    waves = np.stack([one.wave for one in found])  # (segment, site, sample)
    return {
        "ppg/begins": np.array([one.begins for one in found], dtype=np.int32),
        **{f"ppg/{site}": np.round(waves[:, place], 4) for place, site in enumerate(SITES)},
    }
