"""Patients, ECG facts and draws that the tests of wearables share."""

from datetime import date
from typing import Any

import numpy as np

from polyclinic import Batch, PatientProfile, Record
from polyclinic.modalities.wearable import Wearable

VISIT = date(2024, 5, 17)
WELL = PatientProfile("well", age=38.0, sex="F", height=168, weight=62, index_date=VISIT)
SICK = PatientProfile(
    "sick", age=76.0, sex="M", height=172, weight=90, index_date=VISIT,
    conditions={"I48.91": True, "I50.9": True, "E11.9": True}, measurements={"glucose": 180.0},
)  # fmt: skip


def ecg(rate: float, rhythm: str = "sinus", seed: int = 1) -> dict[str, Any]:
    """Facts as an ECG of ten seconds has them."""
    spread = 0.2 if rhythm == "atrial fibrillation" else 0.02
    gaps = 60 / rate * np.exp(spread * np.random.default_rng(seed).standard_normal(30))
    peaks = np.cumsum(gaps)
    peaks = peaks[peaks < 10]
    marks = [[round(500 * at), "N"] for at in peaks]
    return {"heart_rate": rate, "rhythm": rhythm, "beats": len(peaks), "waves": marks, "study_uid": "2.25.77"}


def draw(
    profile: PatientProfile, facts: dict[str, Any] | None = None, seed: int = 3, **options: Any
) -> Record:
    modality = Wearable(options)
    batch = Batch((profile,), np.zeros((1, 0), np.float32), (seed,), ({"signals": facts} if facts else {},))
    return modality.generator(()).sample(batch)[0]
