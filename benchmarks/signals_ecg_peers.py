"""ECGs of two generators that others ship: NeuroKit2's simulator and deepfake-ecg's GAN."""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from polyclinic import Record
from polyclinic.modalities.signals.data import twelve
from polyclinic.modalities.signals.export import LEADS, RATE


def neurokit(rates: Sequence[float], seed: int) -> tuple[list[Record], float]:
    """NeuroKit2's 12-lead simulator at these heart rates, and its ms a record."""
    import neurokit2 as nk

    began, out = time.process_time(), []
    for i, rate in enumerate(rates):
        how = {
            "duration": 10,
            "sampling_rate": RATE,
            "heart_rate": round(rate),
            "random_state": seed * 1000 + i,
        }
        table = nk.ecg_simulate(method="multileads", **how)
        out.append(Record({"ecg": table[list(LEADS)].to_numpy().T.astype(np.float32)}))
    return out, 1000 * (time.process_time() - began) / len(rates)


def deepfake(count: int) -> list[Record]:
    """deepfake-ecg's shipped GAN (Thambawita et al., Sci Rep 11:21896, 2021), microvolts of eight leads."""
    import deepfakeecg
    import torch

    place = Path(deepfakeecg.__file__).parent / "checkpoints" / "g_stat.pt"
    net = deepfakeecg.Generator()
    net.load_state_dict(torch.load(place, map_location="cpu")["stat_dict"])
    net.eval()
    with torch.no_grad():
        leads = [net(torch.empty(1, 8, 5000).uniform_(-1, 1))[0].numpy() * 6 for _ in range(count)]
    return [Record({"ecg": twelve(lead.astype(np.float64))}) for lead in leads]
