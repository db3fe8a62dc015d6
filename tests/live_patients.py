"""Patients with signals that no model drew, their monitors and wards, for tests of live streams."""

import asyncio
from datetime import date

import numpy as np
import yaml

from polyclinic.app.stream.ward import WardRequest
from polyclinic.core.modality import Record
from polyclinic.core.pipeline import Patient
from polyclinic.core.profile import PatientProfile
from polyclinic.core.registry import load_modality
from polyclinic.modalities.signals.layout import twelve_leads
from polyclinic.modalities.signals.live.monitor import Monitor


def record(rate=75.0, seed=0, hours=24):
    """10 s of an ECG with P, QRS and T, noise and drift, and a day of vitals with gaps."""
    rng = np.random.default_rng(seed)
    gaps = np.maximum(rng.normal(60 / rate, 0.02, 60), 0.3)
    peaks = (np.cumsum(gaps) * 500).astype(np.int64) - 100
    peaks = peaks[(peaks > 20) & (peaks < 4980)]
    at = np.arange(5000) / 500
    trace = 0.05 * np.sin(2 * np.pi * 0.2 * at + seed)
    for peak in peaks / 500:
        for centre, width, height in ((-0.16, 0.02, 0.12), (0, 0.01, 1.0), (0.25, 0.04, 0.25)):
            trace = trace + height * np.exp(-0.5 * ((at - peak - centre) / width) ** 2)
    free = np.outer(np.linspace(0.4, 1.6, 8), trace) + rng.normal(0, 0.005, (8, 5000))
    vitals = np.array([rate, 96, 37, 120, 85, 70, 16]) + rng.normal(0, 1, (hours, 7)) * [
        4,
        1,
        0.3,
        8,
        5,
        5,
        2,
    ]
    vitals[:, 1] = np.minimum(vitals[:, 1], 100)
    vitals[rng.uniform(size=vitals.shape) < 0.2] = np.nan
    vitals[0] = [rate, 96, 37, 120, 85, 70, 16]
    facts = {"heart_rate": rate, "rhythm": "sinus", "beats": len(peaks)}
    return Record({"ecg": twelve_leads(free), "r_peaks": peaks, "vitals": vitals.astype(np.float32)}, facts)


def profile(number=0):
    return PatientProfile(f"PC-{number}", age=60.0, sex="F", index_date=date(2024, 5, 1))


def monitor(seed=1, rules=(), signals=("ecg", "vitals"), rate=500, own=None, **how):
    return Monitor(profile(), own or record(), seed, signals=signals, rate=rate, rules=rules, **how)


def ward(beds=2, signals=("ecg", "vitals"), scenario=None, home=None):
    """A ward of such patients, as the app would make it."""
    from polyclinic.app.stream import ward as room

    modality = load_modality("signals")
    path = None
    if scenario is not None:
        path = home / "scenario.yaml"
        path.write_text(yaml.safe_dump({"title": "t", "events": scenario}))
    patients = [Patient(profile(i), {"signals": record(60 + 10 * i, i)}) for i in range(beds)]
    wanted = WardRequest(beds, 0, signals, 500, 0, None if path is None else str(path))
    return room._ward("icu", modality, patients, beds, wanted)


class Jumping:
    """A clock that stands still but when waited on, or told that work took time."""

    def __init__(self):
        self.time = 1000.0

    def now(self):
        return self.time

    async def until(self, moment):
        self.time = max(self.time, moment)
        await asyncio.sleep(0)
