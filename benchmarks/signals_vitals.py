"""How real the hourly vitals are: every bar, with floors and baselines in one run.

    python benchmarks/signals_vitals.py [--data DIR] [--quick] [--weights FILE] [--private FILE ...]

Real stays are test patients of vitals_icu; as in the literature only stays of 24 hours or more count, and their
first 24 hours. Synthetic stays get the profiles of train patients (age, sex, sepsis, medians of their own stay), so
that the case mix is the real one, and count where the drawn stay lasts as long. Floor: train rows in place of
synthetic ones. Baselines: a Gaussian copula over all hours and gaps (of train rows), and tsgm's BetaVAE where the
extra `tsgm` is installed. --quick takes one seed and at most 1,500 stays a side. Exits 1 if a bar is missed.

Figures: boosting AUC, five folds of gradient boosting on the summary features of `polyclinic evaluate`; GRU
score, |accuracy - 0.5| of a recurrent classifier on readings and gaps, a third held out (Yoon et al. 2019); KS, mean
over channels of pooled readings; missing, largest gap of a channel's share not charted; ACF error, mean over channels
and lags 1 to 6 of within-patient autocorrelation; sepsis, AUROC on test patients of boosting trained on synthetic.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from polyclinic import Batch, PatientProfile, ProfileEncoder, Record, seed_for
from polyclinic.conditioning.dataset import read_training_set
from polyclinic.core.config import TrainConfig, load
from polyclinic.core.weights import Weights, find
from polyclinic.core.weights import load as load_weights
from polyclinic.modalities.signals.data import VITAL_FIELDS, read_vitals
from polyclinic.modalities.signals.export import CHANNELS
from polyclinic.modalities.signals.metrics import vitals_features
from polyclinic.modalities.signals.vitals_course import SEPSIS
from polyclinic.modalities.signals.vitals_model import VitalsSampler

HOURS = 24
LAGS = 6
Stays = NDArray[np.float32]  # (stay, hour, channel), NaN not charted
# figure: (bar, whether more is better)
BARS = {
    "boosting AUC": (0.72, False),
    "GRU score": (0.01, False),
    "KS": (0.02, False),
    "missing": (0.01, False),
    "ACF error": (0.012, False),
    "sepsis AUROC": (0.69, True),
}
WITHIN = {  # of a stay's median from its profile: per minute, %, degrees, mmHg
    "heart_rate": 3, "oxygen_saturation": 2, "temperature": 0.3, "systolic": 5, "diastolic": 5, "respiration": 3,
}  # fmt: skip
FOLLOWS = 0.95  # share of stays
SPEED = 20.0  # seconds for 10,000 patients of 48 hours on two cores


@dataclass(frozen=True)
class Row:
    """One figure of one generator. `bar` is None where it is only reported."""

    figure: str
    generator: str
    seed: int
    value: float
    floor: float | None = None
    bar: float | None = None
    more_is_better: bool = False

    @property
    def missed(self) -> bool:
        """Whether it falls short; a figure that is not a number does."""
        if self.bar is None:
            return False
        return not (self.value >= self.bar if self.more_is_better else self.value <= self.bar)

    def __str__(self) -> str:
        bar, verdict = (
            ("", "reported") if self.bar is None else (f"{self.bar:.3f}", "MISSED" if self.missed else "met")
        )
        floor = "" if self.floor is None else f"{self.floor:.3f}"
        return (
            f"{self.figure:34}{self.generator:22}{self.seed:5}{self.value:9.3f}{floor:>9}{bar:>9}  {verdict}"
        )


@dataclass(frozen=True)
class Cohort:
    """Stays that last 24 hours or more, and whose they are; `lengths` is of all stays, shorter ones too."""

    stays: Stays
    features: NDArray[np.float64]  # (stay, feature) of `polyclinic evaluate`
    profiles: tuple[PatientProfile, ...]
    lengths: NDArray[np.int64]

    @classmethod
    def of(cls, stays: Stays, profiles: Sequence[PatientProfile], lengths: NDArray[np.int64]) -> "Cohort":
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


def drawn(
    weights: Weights, profiles: Sequence[PatientProfile], seed: int, hours: int = HOURS
) -> tuple[Stays, NDArray[np.int64]]:
    """A stay for each profile, and the hours it lasts."""
    encoder = ProfileEncoder()
    sampler = VitalsSampler(weights, encoder.columns, hours=hours)
    stays, lengths = [], []
    for start in range(0, len(profiles), sampler.ROWS):
        own = tuple(profiles[start : start + sampler.ROWS])
        seeds = tuple(seed_for(seed, f"{p.patient_id}/{start + i}", "signals") for i, p in enumerate(own))
        for record in sampler.sample(Batch(own, encoder.encode(own), seeds)):
            stays.append(record.arrays["vitals"])
            lengths.append(record.facts["hours"])
    return np.stack(stays), np.array(lengths)


def generated(weights: Weights, train: Cohort, rows: NDArray[np.int64], seed: int) -> Cohort:
    """Synthetic stays that last 24 hours, with the profiles of these train rows."""
    chosen = train.take(rows)
    stays, lengths = drawn(weights, chosen.profiles, seed)
    full = np.flatnonzero(lengths >= HOURS)
    return Cohort.of(stays[full], tuple(chosen.profiles[i] for i in full), lengths)


def copula(train: Cohort, count: int, seed: int) -> Cohort:
    """Readings and gaps of all hours by one Gaussian copula, fitted apart for stays with and without sepsis."""
    from scipy.stats import norm, rankdata

    rng = np.random.default_rng(seed)
    stays, labels = [], []
    for label in (0, 1):
        own = train.stays[train.sepsis == label].reshape((train.sepsis == label).sum(), -1)
        seen = np.isfinite(own)
        filled = np.where(seen, own, np.nanmedian(own, axis=0))
        values = np.concatenate([filled, seen + rng.uniform(0, 0.5, own.shape)], axis=1)
        scores = norm.ppf(np.apply_along_axis(rankdata, 0, values) / (len(values) + 1))
        matrix = 0.95 * np.corrcoef(scores.T) + 0.05 * np.eye(scores.shape[1])
        wanted = round(count * train.sepsis.mean()) if label else count - round(count * train.sepsis.mean())
        uniform = norm.cdf(rng.standard_normal((wanted, len(matrix))) @ np.linalg.cholesky(matrix).T)
        places = np.minimum((uniform * len(values)).astype(int), len(values) - 1)
        out = np.take_along_axis(np.sort(values, axis=0), places, axis=0)
        half = own.shape[1]
        readings = np.where(out[:, half:] >= 1, out[:, :half], np.nan)
        stays.append(readings.reshape(-1, *train.stays.shape[1:]).astype(np.float32))
        labels += [label] * wanted
    profiles = tuple(
        PatientProfile(f"copula{i}", conditions={SEPSIS: bool(label)}) for i, label in enumerate(labels)
    )
    return Cohort.of(np.concatenate(stays), profiles, train.lengths)


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
    """Discriminative score of a recurrent classifier on readings and gaps."""
    import torch
    from torch import nn

    torch.manual_seed(seed)
    both = torch.from_numpy(np.concatenate([real.stays, other.stays]))
    mask = both.isfinite()
    count = mask.sum((0, 1)).clamp(min=1)
    mean = both.nan_to_num().sum((0, 1)) / count
    deviation = (((both - mean).nan_to_num() ** 2).sum((0, 1)) / count).sqrt()
    x = torch.cat([((both - mean) / deviation).nan_to_num(), mask.float()], dim=2)
    y = torch.cat([torch.ones(len(real)), torch.zeros(len(other))])
    order = torch.randperm(len(y))
    train, test = order[len(y) // 3 :], order[: len(y) // 3]
    net, head = nn.GRU(x.shape[2], 32, batch_first=True), nn.Linear(32, 1)
    optimizer = torch.optim.Adam([*net.parameters(), *head.parameters()], lr=2e-3)
    for _ in range(steps):
        rows = train[torch.randint(len(train), (128,))]
        logit = head(net(x[rows])[1][0])[:, 0]
        optimizer.zero_grad()
        nn.functional.binary_cross_entropy_with_logits(logit, y[rows]).backward()
        optimizer.step()
    with torch.no_grad():
        right = (head(net(x[test])[1][0])[:, 0] > 0) == (y[test] > 0.5)
    return abs(float(right.float().mean()) - 0.5)


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
    """Mean absolute difference of within-patient autocorrelation over channels and lags."""
    return float(np.abs(_autocorrelation(real) - _autocorrelation(other)).mean())


def _autocorrelation(stays: Stays) -> NDArray[np.float64]:
    """(channel, lag), pooled over patients, each patient's own mean taken off."""
    count = np.isfinite(stays).sum(1, keepdims=True).clip(min=1)
    away = stays - np.nansum(stays, axis=1, keepdims=True) / count
    power = np.nanmean(np.square(away), axis=(0, 1))
    return np.stack(
        [np.nanmean(away[:, lag:] * away[:, :-lag], axis=(0, 1)) / power for lag in range(1, LAGS + 1)],
        axis=1,
    )


def sepsis_auroc(test: Cohort, other: Cohort, seed: int) -> float:
    """Train on the other, test on the test patients."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import roc_auc_score

    model = HistGradientBoostingClassifier(
        max_iter=80, learning_rate=0.05, max_leaf_nodes=8, l2_regularization=10, random_state=seed
    ).fit(other.features, other.sepsis)
    return float(roc_auc_score(test.sepsis, model.predict_proba(test.features)[:, 1]))


Told = Callable[[Cohort, Cohort, int], float]
FIGURES: dict[str, Told] = {
    "boosting AUC": boosting_auc,
    "GRU score": gru_score,
    "KS": lambda real, other, seed: ks(real.stays, other.stays),
    "missing": lambda real, other, seed: missing_gap(real.stays, other.stays),
    "ACF error": lambda real, other, seed: acf_error(real.stays, other.stays),
}


def rows(
    data: Path, quick: bool, shipped: Weights, others: Sequence[tuple[str, Weights]] = ()
) -> Iterator[Row]:
    """All figures; those of `shipped` against the bars, baselines and the weights `others` reported."""
    test, train = Cohort.read(data, "test"), Cohort.read(data, "train")
    most = 1500 if quick else len(test)
    for seed in (0,) if quick else (0, 1):
        rng = np.random.default_rng(seed)
        order = rng.permutation(len(train))
        chosen = test.take(rng.permutation(len(test))[:most])
        floor = train.take(order[-len(chosen) :])
        floors = {name: figure(chosen, floor, seed) for name, figure in FIGURES.items()}
        useful = sepsis_auroc(test, train, seed)
        for name, weights in (("ours", shipped), *others):
            # as many as there are train stays: sepsis is rare, and has to be learnt from them
            synthetic = generated(weights, train, order, seed)
            yield from _compared(name, name == "ours", chosen, synthetic, floors, seed)
            bar, more = BARS["sepsis AUROC"]
            value = sepsis_auroc(test, synthetic, seed)
            yield Row("sepsis AUROC", name, seed, value, useful, bar if name == "ours" else None, more)
            if name == "ours":
                ours = synthetic
                yield from _follows(synthetic, seed)
                yield from _blind(weights, chosen, floor, floors, seed)
                yield Row("stays under 24 h, share", name, seed, float((synthetic.lengths < HOURS).mean()),
                          float((test.lengths < HOURS).mean()))  # fmt: skip
        base = copula(train, len(train), seed)
        yield from _compared("copula", False, chosen, base, floors, seed)
        yield Row("sepsis AUROC", "copula", seed, sepsis_auroc(test, base, seed), useful)
        yield from _tsgm(train, chosen, ours, floors, seed, quick)
    yield from _speed(shipped, train, quick)


def _compared(
    name: str, judged: bool, real: Cohort, other: Cohort, floors: dict[str, float], seed: int
) -> Iterator[Row]:
    picked = other.take(np.random.default_rng(seed).permutation(len(other))[: len(real)])
    for figure, measure in FIGURES.items():
        bar = BARS[figure][0] if judged else None
        yield Row(figure, name, seed, measure(real, picked, seed), floors[figure], bar)


def _follows(synthetic: Cohort, seed: int) -> Iterator[Row]:
    """Share of stays whose median lies near their profile's."""
    for field, near in WITHIN.items():
        column = synthetic.stays[..., CHANNELS.index(VITAL_FIELDS[field])]
        has = np.isfinite(column).any(1) & np.array([field in p.measurements for p in synthetic.profiles])
        wanted = np.array(
            [p.measurements[field] for p, ok in zip(synthetic.profiles, has, strict=True) if ok]
        )
        share = float((np.abs(np.nanmedian(column[has], axis=1) - wanted) <= near).mean())
        yield Row(f"{field} within {near:g}", "ours", seed, share, None, FOLLOWS, True)


def _blind(
    weights: Weights, real: Cohort, floor: Cohort, floors: dict[str, float], seed: int
) -> Iterator[Row]:
    """The same when the network knows age, sex and sepsis alone."""
    bare = tuple(
        PatientProfile(p.patient_id, age=p.age, sex=p.sex, conditions=p.conditions) for p in floor.profiles
    )
    stays, lengths = drawn(weights, bare, seed)
    other = Cohort.of(stays[lengths >= HOURS], (), lengths)
    for figure in ("boosting AUC", "KS"):
        value = FIGURES[figure](real, other, seed)
        yield Row(figure, "ours, levels unknown", seed, value, floors[figure])


def _tsgm(
    train: Cohort, real: Cohort, synthetic: Cohort, floors: dict[str, float], seed: int, quick: bool
) -> Iterator[Row]:
    from signals_tsgm import available, betavae, mmd

    if not available():
        print("tsgm is not installed: its baseline is left out", file=sys.stderr)
        return
    count = 500  # its kernel takes all pairs at once
    floor = mmd(real.stays[:count], train.stays[:count])
    yield Row("MMD (tsgm)", "ours", seed, mmd(real.stays[:count], synthetic.stays[:count]), floor)
    base = betavae(train.stays[:3000], len(real), seed, epochs=5 if quick else 20)
    other = Cohort.of(base, (), train.lengths)
    yield from _compared("tsgm BetaVAE", False, real, other, floors, seed)
    yield Row("MMD (tsgm)", "tsgm BetaVAE", seed, mmd(real.stays[:count], base[:count]), floor)


def _speed(weights: Weights, train: Cohort, quick: bool) -> Iterator[Row]:
    """Seconds for 10,000 patients of 48 hours, in two processes; and peak memory against a tenth of them."""
    import multiprocessing

    count = 1000 if quick else 10_000
    profiles = [train.profiles[i % len(train)] for i in range(count // 2)]
    context = multiprocessing.get_context("spawn")
    peaks = []
    for size in (count // 20, count // 2):
        with context.Pool(2, initializer=_limit) as pool:
            pool.map(_warm, [weights, weights], chunksize=1)
            began = time.monotonic()
            peaks.append(
                max(pool.starmap(_draw, [(weights, profiles[:size], seed) for seed in (0, 1)], chunksize=1))
            )
            seconds = time.monotonic() - began
    yield Row("seconds for 10,000 x 48 h", "ours", 0, seconds * 10_000 / count, None, SPEED)
    yield Row("peak memory, 10 times the patients", "ours", 0, peaks[1] / peaks[0], None, 1.15)


def _limit() -> None:
    import torch

    torch.set_num_threads(1)


def _warm(weights: Weights) -> None:
    drawn(weights, [PatientProfile("warm")], 0)


def _draw(weights: Weights, profiles: Sequence[PatientProfile], seed: int) -> int:
    """Draw and forget; peak memory of this process, in kB."""
    import resource

    for start in range(0, len(profiles), 640):
        drawn(weights, profiles[start : start + 640], seed, hours=48)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main(arguments: Sequence[str] | None = None) -> int:
    """Print one table; 0 if all bars are met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--quick", action="store_true", help="one seed, at most 1,500 stays a side")
    parser.add_argument("--weights", type=Path, help="a file in place of the shipped weights")
    parser.add_argument(
        "--private", type=Path, nargs="*", default=[], help="private weights to report beside"
    )
    options = parser.parse_args(arguments)
    beside = [(f"epsilon {w.card.epsilon:.3g}", w) for w in map(load_weights, options.private)]
    missed = 0
    print(f"{'figure':34}{'generator':22}{'seed':>5}{'value':>9}{'floor':>9}{'bar':>9}  verdict")
    for row in rows(options.data, options.quick, load_weights(options.weights or find("vitals")), beside):
        print(row, flush=True)
        missed += row.missed
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
