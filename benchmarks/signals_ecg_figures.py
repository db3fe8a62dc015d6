"""What ECGs are judged by: classifiers that tell two groups apart, intervals by neurokit2 or cardiologists' marks."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from polyclinic import Record
from polyclinic.core.modality import TrainingSet
from polyclinic.modalities.signals.layout import LEADS, RATE

DELINEATED = ("RR", "PR", "QRS", "QT", "axis", "R amplitude")


def forest(real: pd.DataFrame, other: pd.DataFrame, seed: int) -> float:
    """AUC of a random forest, five folds, as many of one as of the other."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    rng = np.random.default_rng(seed)
    count = min(len(real), len(other))
    parts = [part.iloc[rng.permutation(len(part))[:count]] for part in (real, other)]
    label = np.repeat([0, 1], count)
    model = RandomForestClassifier(400, min_samples_leaf=2, random_state=seed, n_jobs=-1)
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    predicted = cross_val_predict(
        model, pd.concat(parts).to_numpy(), label, cv=folds, method="predict_proba"
    )[:, 1]
    return float(roc_auc_score(label, predicted))


def network(real: Sequence[Record], other: Sequence[Record], seed: int) -> float:
    """AUC of a small 1-D CNN on filtered traces at 125 Hz, five folds, 30 epochs."""
    import torch
    from scipy import signal
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold
    from torch import nn

    band = signal.butter(2, (0.5, 45), "bandpass", fs=RATE, output="sos")
    rng = np.random.default_rng(seed)
    count = min(len(real), len(other))
    chosen = [[part[i] for i in rng.permutation(len(part))[:count]] for part in (real, other)]
    free = [0, 1, 6, 7, 8, 9, 10, 11]
    kept = [record.arrays["ecg"][free].astype(np.float64) for part in chosen for record in part]
    traces = np.stack([signal.sosfiltfilt(band, trace, axis=1)[:, :5000:4] for trace in kept]).astype(
        np.float32
    )
    label = np.repeat([0.0, 1.0], count)
    predicted = np.zeros(len(label))
    for fit, judge in StratifiedKFold(5, shuffle=True, random_state=seed).split(traces, label):
        torch.manual_seed(seed)
        layers: list[nn.Module] = []
        for wide, own in ((8, 24), (24, 32), (32, 48), (48, 64)):
            layers += [nn.Conv1d(wide, own, 9, stride=2, padding=4), nn.BatchNorm1d(own), nn.ReLU()]
        net = nn.Sequential(*layers, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Dropout(0.3), nn.Linear(64, 1))
        optimiser = torch.optim.AdamW(net.parameters(), 2e-3, weight_decay=1e-2)
        x, y = torch.from_numpy(traces[fit]), torch.from_numpy(label[fit]).float()
        for _ in range(30):
            for rows in torch.randperm(len(x)).split(32):
                shift = int(torch.randint(0, 250, (1,)))
                loss = nn.functional.binary_cross_entropy_with_logits(
                    net(x[rows][..., shift : shift + 1000])[:, 0], y[rows]
                )
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
        net.eval()
        with torch.no_grad():
            predicted[judge] = net(torch.from_numpy(traces[judge]))[:, 0].numpy()
    return float(roc_auc_score(label, predicted))


def delineated(records: Sequence[Record]) -> pd.DataFrame:
    """DELINEATED of each record (s, degrees, mV) as neurokit2 finds them in lead II, axis from I and aVF."""
    import warnings

    import neurokit2 as nk

    rows = []
    for record in records:
        ecg = record.arrays["ecg"].astype(np.float64)
        row = dict.fromkeys(DELINEATED, np.nan)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                lead = nk.ecg_clean(ecg[1], sampling_rate=RATE)
                peaks = np.asarray(nk.ecg_peaks(lead, sampling_rate=RATE)[1]["ECG_R_Peaks"])
                waves = nk.ecg_delineate(lead, peaks, sampling_rate=RATE, method="dwt")[1]
            except (ValueError, IndexError, ZeroDivisionError, KeyError, TypeError):
                rows.append(row)
                continue
        spot = {name: np.asarray(at, dtype=float) for name, at in waves.items()}
        row["RR"] = float(np.median(np.diff(peaks)) / RATE) if len(peaks) > 2 else np.nan
        for name, start, end in (
            ("PR", "ECG_P_Onsets", "ECG_R_Onsets"), ("QRS", "ECG_R_Onsets", "ECG_R_Offsets"),
            ("QT", "ECG_R_Onsets", "ECG_T_Offsets"),
        ):  # fmt: skip
            if start in spot and end in spot and len(spot[start]) == len(spot[end]):
                gap = (spot[end] - spot[start]) / RATE
                row[name] = float(np.nanmedian(gap)) if np.isfinite(gap).any() else np.nan
        row |= _electrical(ecg, peaks)
        rows.append(row)
    return pd.DataFrame(rows)


def _electrical(ecg: NDArray[np.float64], peaks: NDArray[np.integer]) -> dict[str, float]:
    inside = [p for p in peaks if 40 <= p < ecg.shape[1] - 40]
    if not inside:
        return {"axis": np.nan, "R amplitude": np.nan}
    beats = np.stack([ecg[:, p - 40 : p + 40] for p in inside])
    beat = np.median(beats, axis=0)
    beat -= np.median(beat[:, :12], axis=1, keepdims=True)
    area = beat.sum(1)
    axis = np.degrees(np.arctan2(area[LEADS.index("aVF")], area[0]))
    return {"axis": float(axis), "R amplitude": float(beat[1].max())}


def marked(waves: Sequence[tuple[int, str]]) -> dict[str, float]:
    """PR, QRS and QT in s, medians over beats, of wave marks (sample, symbol) with onsets and ends."""
    spans: dict[str, list[tuple[int, int]]] = {"p": [], "N": [], "t": []}
    for (a, left), (_, middle), (b, right) in zip(waves, waves[1:], waves[2:], strict=False):
        if left == "(" and right == ")" and middle in spans:
            spans[middle].append((a, b))
    found: dict[str, list[float]] = {"PR": [], "QRS": [], "QT": []}
    for onset, end in spans["N"]:
        found["QRS"].append((end - onset) / RATE)
        before = [p for p in spans["p"] if 0 < onset - p[0] < 0.4 * RATE and p[1] <= onset + 10]
        after = [t for t in spans["t"] if 0 < t[1] - onset < 0.7 * RATE]
        if before:
            found["PR"].append((onset - before[-1][0]) / RATE)
        if after:
            found["QT"].append((after[0][1] - onset) / RATE)
    return {name: float(np.median(values)) if values else np.nan for name, values in found.items()}


def ludb_marks(part: TrainingSet, lead: str = "ii") -> pd.DataFrame:
    """The same by LUDB's cardiologists, of one lead."""
    import wfdb

    rows = []
    for name in part.records:
        marks = wfdb.rdann(str(part.root / name), lead)
        rows.append(marked(list(zip(marks.sample.tolist(), marks.symbol, strict=True))))
    return pd.DataFrame(rows)


def apart(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Kolmogorov-Smirnov distance of what is a number in both."""
    from scipy.stats import ks_2samp

    a, b = a[np.isfinite(a)], b[np.isfinite(b)]
    return float(ks_2samp(a, b).statistic) if len(a) > 4 and len(b) > 4 else float("nan")
