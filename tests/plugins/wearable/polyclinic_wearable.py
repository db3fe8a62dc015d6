"""A wearable's photoplethysmogram (PPG): a pulse wave at 25 Hz, one CSV file a patient, which can also be streamed."""

import numpy as np
import pandas as pd

from polyclinic.core.config import Settings, parse
from polyclinic.core.errors import InputError
from polyclinic.core.modality import Record, View

RATE = 25  # Hz
FIELDS = {"perfusion_index": {"kind": "number", "label": "Perfusion index", "unit": "%", "range": [0, 20]}}


class Options(Settings):
    """`seconds` of each record."""

    seconds: int = 10


class Pulse:
    """Draws a pulse at the profile's heart rate, 70 where it is unknown."""

    def __init__(self, seconds):
        self.seconds = seconds

    def sample(self, batch):
        return [self._one(p, seed) for p, seed in zip(batch.profiles, batch.seeds, strict=True)]

    def _one(self, profile, seed):
        rng = np.random.default_rng(seed)
        rate = profile.measurements.get("heart_rate") or 70.0
        phase = 2 * np.pi * rate / 60 * np.arange(self.seconds * RATE) / RATE + rng.uniform(0, 2 * np.pi)
        wave = np.sin(phase) + 0.3 * np.sin(2 * phase) + rng.normal(0, 0.02, len(phase))
        return Record({"ppg": wave.round(4).astype(np.float32)}, {"heart_rate": float(rate)})


class Wearable:
    """The modality."""

    name = "ppg"
    after = ()
    shared = False
    indication = "every patient wears a sensor"

    def __init__(self, options=None):
        self.options = parse(Options, dict(options or {}), "ppg options")

    def indicated(self, profile):
        return True

    def weights(self):
        return []

    def generator(self, columns):
        return Pulse(self.options.seconds)

    def train(self, data, conditioner, config, fit, init):
        raise InputError("ppg: the pulse follows by a formula, there is nothing to train")

    def load(self, data):
        raise InputError("ppg: real pulse waves are not read")

    def export(self, records, profiles, folder):
        paths = []
        for record, profile in zip(records, profiles, strict=True):
            path = folder / "ppg" / profile.patient_id / "ppg.csv"
            path.parent.mkdir(parents=True)
            np.savetxt(path, record.arrays["ppg"], fmt="%.4f", header="SYNTHETIC, 25 Hz, arbitrary units")
            paths.append(path)
        return paths

    def assemble(self, pieces, folder):
        return []

    def read(self, folder, patient_ids):
        paths = {pid: folder / "ppg" / pid / "ppg.csv" for pid in patient_ids}
        return {
            pid: Record({"ppg": np.loadtxt(path, dtype=np.float32)})
            for pid, path in paths.items()
            if path.exists()
        }

    def views(self):
        return [View("ppg", "Pulse wave", "ppg", features, (), picture, "spread and crossings of zero")]

    def live_rules(self):
        return {}

    def live(self, profile, record, seed, **how):
        return Live(record)


class Live:
    """The record, again and again, a second at a time."""

    signals = ("vitals",)

    def __init__(self, record):
        self.record = record

    def vitals(self, second):
        wave = self.record.arrays["ppg"]
        return {"ppg": float(wave[second * RATE % len(wave)])}

    def ecg(self, second):
        return {}, []

    def describe(self):
        return {"vitals": {"channels": {"ppg": "1"}}}


def features(records):
    waves = [record.arrays["ppg"] for record in records]
    return pd.DataFrame(
        {
            "spread": [w.std() for w in waves],
            "crossings": [np.diff(np.sign(w)).astype(bool).mean() for w in waves],
        }
    )


def picture(figure, real, synthetic):
    figure.subplots().plot(synthetic[0][1].arrays["ppg"])
    return "A pulse wave."
