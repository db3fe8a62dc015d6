"""What hourly vitals are judged by: stays, and one number of real stays against others for each question."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from polyclinic import PatientProfile, Record
from polyclinic.conditioning.dataset.dataset import read_training_set
from polyclinic.core.config import TrainConfig, load
from polyclinic.modalities.signals.channels import CHANNELS
from polyclinic.modalities.signals.data import read_vitals
from polyclinic.modalities.signals.metrics import vitals_features
from polyclinic.modalities.signals.vitals.trajectory import SEPSIS

if TYPE_CHECKING:
    from torch import Tensor

HOURS = 24
LAGS = 6
FOLDS = 3
CLASSIFIERS = ("boosting AUC", "GRU score")
Stays = NDArray[np.float32]  # (stay, hour, channel), NaN not charted


@dataclass(frozen=True)
class Cohort:
    """Stays that last 24 hours or more, and whose they are; `lengths` is of all stays, shorter ones too."""

    stays: Stays
    features: NDArray[np.float64]  # (stay, feature) of `polyclinic evaluate`
    profiles: tuple[PatientProfile, ...]
    lengths: NDArray[np.int64]

    @classmethod
    def of(
        cls,
        stays: Stays,
        profiles: Sequence[PatientProfile],
        lengths: NDArray[np.int64],
    ) -> "Cohort":
        """Features are worked out once."""
        table = vitals_features([Record({"vitals": stay}) for stay in stays])
        return cls(stays, table.to_numpy(), tuple(profiles), lengths)

    @classmethod
    def read(cls, data: Path, split: str) -> "Cohort":
        """Of vitals_icu."""
        config, _ = load(TrainConfig, "vitals", "train")
        folder = read_training_set(config.datasets[0], data, split)
        records = read_vitals(folder, HOURS)
        lengths = np.array([record.facts["hours"] for record in records])
        full = np.flatnonzero(lengths >= HOURS)
        return cls.of(
            np.stack([records[i].arrays["vitals"] for i in full]),
            tuple(folder.profiles[i].but(measurements=records[i].facts["baseline"]) for i in full),
            lengths,
        )

    def __len__(self) -> int:
        return len(self.stays)

    def take(self, rows: Sequence[int] | NDArray[np.int64]) -> "Cohort":
        """Those rows."""
        profiles = tuple(self.profiles[i] for i in rows) if self.profiles else ()
        return Cohort(self.stays[rows], self.features[rows], profiles, self.lengths)

    @property
    def sepsis(self) -> NDArray[np.int64]:
        """(stay,) 1 or 0."""
        return np.array([int(profile.has(SEPSIS)) for profile in self.profiles])


def boosting_auc(real: Cohort, other: Cohort, seed: int) -> float:
    """Told apart by gradient boosting, five folds."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    x = np.concatenate([real.features, other.features])
    y = np.repeat([1, 0], [len(real), len(other)])
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    model = HistGradientBoostingClassifier(random_state=seed)
    return float(roc_auc_score(y, cross_val_predict(model, x, y, cv=folds, method="predict_proba")[:, 1]))


def gru_score(real: Cohort, other: Cohort, seed: int, steps: int = 600) -> float:
    """Discriminative score of a recurrent classifier on readings and gaps, every stay judged once."""
    import torch

    torch.manual_seed(seed)
    both = torch.from_numpy(np.concatenate([real.stays, other.stays]))
    mask = both.isfinite()
    count = mask.sum((0, 1)).clamp(min=1)
    mean = both.nan_to_num().sum((0, 1)) / count
    deviation = (((both - mean).nan_to_num() ** 2).sum((0, 1)) / count).sqrt()
    x = torch.cat([((both - mean) / deviation).nan_to_num(), mask.float()], dim=2)
    y = torch.cat([torch.ones(len(real)), torch.zeros(len(other))])
    folds = torch.randperm(len(y)).chunk(FOLDS)
    right = 0
    for fold in range(FOLDS):
        train = torch.cat([rows for i, rows in enumerate(folds) if i != fold])
        said = _recurrent(x[train], y[train], steps)(x[folds[fold]])
        right += int(((said > 0) == (y[folds[fold]] > 0.5)).sum())
    return abs(right / len(y) - 0.5)


def _recurrent(x: "Tensor", y: "Tensor", steps: int) -> "Callable[[Tensor], Tensor]":
    """Logits of a classifier that was trained on (stay, hour, input) and labels."""
    import torch
    from torch import nn

    net, head = nn.GRU(x.shape[2], 32, batch_first=True), nn.Linear(32, 1)
    optimizer = torch.optim.Adam([*net.parameters(), *head.parameters()], lr=2e-3)
    for _ in range(steps):
        rows = torch.randint(len(x), (128,))
        logit = head(net(x[rows])[1][0])[:, 0]
        optimizer.zero_grad()
        nn.functional.binary_cross_entropy_with_logits(logit, y[rows]).backward()
        optimizer.step()

    @torch.no_grad()
    def said(x: "Tensor") -> "Tensor":
        return head(net(x)[1][0])[:, 0]

    return said


def ks(real: Stays, other: Stays) -> float:
    """Mean over channels, pooled readings."""
    from scipy.stats import ks_2samp

    def pooled(stays: Stays, channel: int) -> NDArray[np.float32]:
        column = stays[..., channel]
        return column[np.isfinite(column)]

    return float(
        np.mean([ks_2samp(pooled(real, c), pooled(other, c)).statistic for c in range(len(CHANNELS))])
    )


def missing_gap(real: Stays, other: Stays) -> float:
    """Largest difference of a channel's share not charted."""
    return float(np.abs(np.isnan(real).mean((0, 1)) - np.isnan(other).mean((0, 1))).max())


def acf_error(real: Stays, other: Stays) -> float:
    """Mean absolute difference over channels and lags of the patients' mean autocorrelation, gaps carried forward."""
    return float(np.abs(_autocorrelation(real) - _autocorrelation(other)).mean())


def _autocorrelation(stays: Stays) -> NDArray[np.float64]:
    """(lag, channel), mean over the patients whose channel moves at all."""
    from pandas import DataFrame

    rows, hours, channels = stays.shape
    table = DataFrame(stays.transpose(0, 2, 1).reshape(-1, hours)).ffill(axis=1).bfill(axis=1)
    held = table.to_numpy().reshape(rows, channels, hours)
    away = held - held.mean(2, keepdims=True)
    power = np.square(away).mean(2)
    power[~(power > 1e-9)] = np.nan
    lags = [(away[..., lag:] * away[..., :-lag]).mean(2) / power for lag in range(1, LAGS + 1)]
    return np.nanmean(np.stack(lags), axis=1)


def pooled_acf_error(real: Stays, other: Stays) -> float:
    """The same with patients pooled, so that unsteady ones count most, and over charted pairs alone."""
    return float(np.abs(_pooled(real) - _pooled(other)).mean())


def _pooled(stays: Stays) -> NDArray[np.float64]:
    """(lag, channel), each patient's own mean taken off."""
    count = np.isfinite(stays).sum(1, keepdims=True).clip(min=1)
    away = stays - np.nansum(stays, axis=1, keepdims=True) / count
    power = np.nanmean(np.square(away), axis=(0, 1))
    lags = [np.nanmean(away[:, lag:] * away[:, :-lag], axis=(0, 1)) / power for lag in range(1, LAGS + 1)]
    return np.stack(lags)


def sepsis_auroc(test: Cohort, other: Cohort, seed: int) -> float:
    """Train on the other, test on the test patients."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import roc_auc_score

    model = HistGradientBoostingClassifier(
        max_iter=80,
        learning_rate=0.05,
        max_leaf_nodes=8,
        l2_regularization=10,
        random_state=seed,
    ).fit(other.features, other.sepsis)
    return float(roc_auc_score(test.sepsis, model.predict_proba(test.features)[:, 1]))


Told = Callable[[Cohort, Cohort, int], float]
FIGURES: dict[str, Told] = {
    "boosting AUC": boosting_auc,
    "GRU score": gru_score,
    "KS": lambda real, other, seed: ks(real.stays, other.stays),
    "missing": lambda real, other, seed: missing_gap(real.stays, other.stays),
    "ACF error, pooled": lambda real, other, seed: pooled_acf_error(real.stays, other.stays),
    "ACF error": lambda real, other, seed: acf_error(real.stays, other.stays),
}
