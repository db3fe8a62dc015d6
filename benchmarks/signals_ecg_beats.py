"""Beats as lessons: a classifier of normal and ventricular beats learns from drawn ones, and is tested on real ones.

Neither data set marks ventricular beats. A real beat counts as ventricular where its record has the diagnosis, it comes
early, and it is unlike the others; as normal where it is neither early nor unlike. Drawn beats have their own marks.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from polyclinic import PatientProfile, Record
from polyclinic.modalities.signals.ecg.beats import decompose
from polyclinic.modalities.signals.ecg.ectopic import EARLY
from polyclinic.modalities.signals.layout import INDEPENDENT
from polyclinic.modalities.signals.peaks import SLOW, filtered

VENTRICULAR = "I49.3"
BEFORE, AFTER, EVERY = int(0.2 * SLOW), int(0.4 * SLOW), 3  # samples around the R peak, and which of them


def real_kinds(record: Record, profile: PatientProfile) -> str:
    """N, V or ? of each R peak, by the rule above."""
    peaks = record.arrays["r_peaks"]
    part = decompose(record.arrays["ecg"][list(INDEPENDENT)], peaks)
    gaps = np.diff(peaks)
    early = np.append(False, gaps < EARLY * np.median(gaps))
    ill = bool(profile.conditions.get(VENTRICULAR))
    return "".join(
        "V" if ill and soon and odd else "N" if not (soon or odd) else "?"
        for soon, odd in zip(early, part.odd, strict=True)
    )


def beats(records: Sequence[Record], kinds: Sequence[str]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """(beat, value) traces around R peaks and the intervals beside them, and (beat,) whether it is ventricular."""
    rows, label = [], []
    for record, own in zip(records, kinds, strict=True):
        trace = filtered(record.arrays["ecg"][list(INDEPENDENT)].astype(np.float64))
        peaks = record.arrays["r_peaks"]
        gaps = np.diff(peaks) / np.median(np.diff(peaks))
        for k in range(1, len(peaks) - 1):
            at = int(peaks[k]) // 2
            if own[k] in "?A" or at < BEFORE or at + AFTER > trace.shape[1]:
                continue
            cut = trace[:, at - BEFORE : at + AFTER : EVERY].ravel()
            rows.append(np.concatenate([cut, gaps[k - 1 : k + 1]]))
            label.append(own[k] == "V")
    return np.array(rows), np.array(label)


def taught(
    fit: tuple[NDArray[np.float64], NDArray[np.bool_]], judge: tuple[NDArray[np.float64], NDArray[np.bool_]],
    seed: int,
) -> float:  # fmt: skip
    """AUROC of a forest for ventricular beats, learnt on `fit`, on the beats of `judge`."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.metrics import roc_auc_score

    forest = RandomForestClassifier(
        400, min_samples_leaf=2, class_weight="balanced", random_state=seed, n_jobs=-1
    )
    forest.fit(*fit)
    return float(roc_auc_score(judge[1], forest.predict_proba(judge[0])[:, 1]))
