"""How real the hourly vitals are: every bar, with floors and baselines in one run.

    python benchmarks/signals_vitals.py [--data DIR] [--quick] [--only ours|refiner|private|speed] [--weights FILE]
        [--seeds SEED ...]

Real stays are test patients of vitals_icu; as in the literature only stays of 24 hours or more count, and their
first 24 hours. Synthetic stays get the profiles of train patients (age, sex, sepsis, medians of their own stay), so
that the case mix is the real one, and count where the drawn stay lasts as long. Floor: train rows in place of
synthetic ones. Baselines: a Gaussian copula over all hours and gaps (of train rows), and tsgm's BetaVAE where the
extra `tsgm` is installed, with tsgm's own metrics. --only private reports the shipped weights that were learnt
under a budget; a run without --only leaves them out. The same weights with their refiner are reported beside;
--only refiner reports these two alone, without baselines; --only speed their speed. --quick takes one seed, 1,500
stays a side for classifiers, and of private weights 5,000 draws. Exits 1 if a bar is missed.

Figures: boosting AUC, five folds of gradient boosting on the summary features of `polyclinic evaluate`; GRU
score, |accuracy - 0.5| of a recurrent classifier on readings and gaps, in three folds so that every stay is judged
once (Yoon et al. 2019; chance alone gives about 0.4 over the root of the stays judged); KS, mean over channels of
pooled readings; missing, largest gap of a channel's share not charted; ACF error, mean over channels and lags 1 to 6
of each patient's autocorrelation, gaps carried forward (pooled: charted pairs of all patients at once); sepsis, AUROC
on test patients of boosting trained on synthetic. Classifiers get as many stays of either side, the other figures all.
"""

import argparse
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from signals_tsgm import BASE, MEASURED_ON, TRAINED_ON, betavae
from signals_vitals_figures import CLASSIFIERS, FIGURES, HOURS, Cohort, Stays, sepsis_auroc

from polyclinic import Batch, PatientProfile, ProfileEncoder, seed_for
from polyclinic.core.training.weights import Weights, find
from polyclinic.core.training.weights import load as load_weights
from polyclinic.eval.metrics.tsgm_adapter import METRICS, ask, missing
from polyclinic.modalities.signals.channels import CHANNELS, VITAL_FIELDS
from polyclinic.modalities.signals.vitals.sampler import VitalsSampler
from polyclinic.modalities.signals.vitals.trajectory import SEPSIS

# what figures may come to at most
BARS = {"boosting AUC": 0.58, "GRU score": 0.006, "KS": 0.016, "missing": 0.01, "ACF error": 0.01}
NONE: Mapping[str, float] = {}
SEPSIS_LOST = 0.01  # of what real stays teach of sepsis
PRIVATE_BARS = {"boosting AUC": 0.72, "GRU score": 0.02}  # at epsilon 10
PRIVATE_SEPSIS = 0.66
PRIVATE_QUICK = 5000  # profiles that private weights draw for with --quick
WITHIN = {  # of a stay's median from its profile: per minute, %, degrees, mmHg
    "heart_rate": 3, "oxygen_saturation": 2, "temperature": 0.3, "systolic": 5, "diastolic": 5, "respiration": 3,
}  # fmt: skip
FOLLOWS = 0.95  # share of stays
PRIVATE = ("vitals_private", "vitals_private1")
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
        gaps = norm.ppf((rankdata(seen + rng.uniform(0, 0.5, own.shape), axis=0)) / (len(own) + 1))
        ranks = rankdata(own, axis=0, nan_policy="omit") / (seen.sum(0) + 1)
        scores = np.concatenate([np.where(seen, norm.ppf(np.where(seen, ranks, 0.5)), 0), gaps], axis=1)
        weights = np.concatenate([seen, np.ones_like(seen)], axis=1).astype(float)
        # each pair over the stays that have both, then made positive definite
        values, vectors = np.linalg.eigh((scores.T @ scores) / (weights.T @ weights).clip(min=1))
        root = vectors * np.sqrt(values.clip(min=1e-3))
        root /= np.sqrt(np.square(root).sum(1, keepdims=True))
        wanted = round(count * train.sepsis.mean())
        wanted = wanted if label else count - wanted
        normal = norm.cdf(rng.standard_normal((wanted, len(root))) @ root.T)
        out = np.empty((wanted, own.shape[1]))
        for j, column in enumerate(own.T):  # values as they were charted, gaps as often as there were
            out[:, j] = np.quantile(column[seen[:, j]], normal[:, j], method="nearest")
            out[normal[:, own.shape[1] + j] < 1 - seen[:, j].mean(), j] = np.nan
        stays.append(out.reshape(-1, *train.stays.shape[1:]).astype(np.float32))
        labels += [label] * wanted
    profiles = tuple(
        PatientProfile(f"copula{i}", conditions={SEPSIS: bool(label)}) for i, label in enumerate(labels)
    )
    return Cohort.of(np.concatenate(stays), profiles, train.lengths)


@dataclass(frozen=True)
class Arena:
    """Real test stays, the train stays behind everything else, and what train stays themselves score."""

    test: Cohort
    train: Cohort
    order: NDArray[np.int64]  # of train stays
    seed: int
    most: int  # stays a side for a classifier

    def figures(self, other: Cohort) -> dict[str, float]:
        """All but sepsis; classifiers get as many stays of either side."""
        rng = np.random.default_rng(self.seed)
        size = min(self.most, len(self.test), len(other))
        pair = [cohort.take(rng.permutation(len(cohort))[:size]) for cohort in (self.test, other)]
        return {
            name: figure(*(pair if name in CLASSIFIERS else (self.test, other)), self.seed)
            for name, figure in FIGURES.items()
        }

    def rows(
        self, name: str, other: Cohort, floors: dict[str, float], bars: Mapping[str, float] = NONE
    ) -> Iterator[Row]:
        """Figures as rows."""
        for figure, value in self.figures(other).items():
            yield Row(figure, name, self.seed, value, floors[figure], bars.get(figure))

    def sepsis(self, name: str, other: Cohort, floor: float, bar: float | None = None) -> Row:
        """Whether sepsis can be learnt from it."""
        value = sepsis_auroc(self.test, other, self.seed)
        return Row("sepsis AUROC", name, self.seed, value, floor, bar, True)


def rows(
    data: Path, quick: bool, only: str, weights: dict[str, Weights], seeds: Sequence[int]
) -> Iterator[Row]:  # fmt: skip
    """All figures of weights by name; those of "ours" against the bars, the others reported."""
    test, train = Cohort.read(data, "test"), Cohort.read(data, "train")
    for seed in seeds:
        order = np.random.default_rng(seed).permutation(len(train))
        arena = Arena(test, train, order, seed, 1500 if quick else len(test))
        floors, useful = arena.figures(train), sepsis_auroc(test, train, seed)
        for name, own in weights.items():
            # as many as there are train stays: sepsis is rare, and has to be learnt from them
            count = PRIVATE_QUICK if quick and only == "private" else len(train)
            synthetic = generated(own, train, order[:count], seed)
            judged = name == "ours"
            bars, sepsis = (BARS, useful - SEPSIS_LOST) if judged else (NONE, None)
            if only == "private" and (own.card.epsilon or 0) > 5:
                bars, sepsis = PRIVATE_BARS, PRIVATE_SEPSIS
            yield from arena.rows(name, synthetic, floors, bars)
            yield arena.sepsis(name, synthetic, useful, sepsis)
            if judged:
                yield from _follows(synthetic, seed)
            if judged and only == "ours":
                yield from _blind(own, arena, floors)
                yield Row("stays under 24 h, share", name, seed, float((synthetic.lengths < HOURS).mean()),
                          float((test.lengths < HOURS).mean()))  # fmt: skip
                base = copula(train, len(train), seed)
                yield from arena.rows("copula", base, floors)
                yield arena.sepsis("copula", base, useful)
                yield from _tsgm(arena, synthetic, floors)


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


def _blind(weights: Weights, arena: Arena, floors: dict[str, float]) -> Iterator[Row]:
    """The same when the network knows age, sex and sepsis alone."""
    some = arena.train.take(arena.order[: arena.most])
    bare = tuple(
        PatientProfile(p.patient_id, age=p.age, sex=p.sex, conditions=p.conditions) for p in some.profiles
    )
    stays, lengths = drawn(weights, bare, arena.seed)
    found = arena.figures(Cohort.of(stays[lengths >= HOURS], (), lengths))
    for figure in ("boosting AUC", "KS"):
        yield Row(figure, "ours, levels unknown", arena.seed, found[figure], floors[figure])


def _tsgm(arena: Arena, synthetic: Cohort, floors: dict[str, float]) -> Iterator[Row]:
    if reason := missing():
        print(f"{BASE:34}not measured: {reason}")
        return
    real, train = arena.test.stays[:1500], arena.train
    base = betavae(train.stays[:TRAINED_ON], len(real), arena.seed)
    yield from arena.rows(BASE, Cohort.of(base, (), train.lengths), floors)
    some, same, ours, theirs = (s[:MEASURED_ON] for s in (real, train.stays, synthetic.stays, base))
    for metric in METRICS:
        floor = ask(metric, some, same)
        for name, stays in (("ours", ours), (BASE, theirs)):
            yield Row(f"{metric} (tsgm)", name, arena.seed, ask(metric, some, stays), floor)


def _speed(name: str, weights: Weights, train: Cohort, quick: bool) -> Iterator[Row]:
    """Seconds for 10,000 patients of 48 hours, in two processes; and peak memory against a tenth of them.

    Wall seconds are judged, and mean something on idle cores alone; CPU seconds, halved, are those of a process.
    """
    import multiprocessing

    count = 2000 if quick else 10_000
    profiles = [train.profiles[i % len(train)] for i in range(count // 2)]
    context = multiprocessing.get_context("spawn")
    peaks = []
    for size in (count // 20, count // 2):
        with context.Pool(2, initializer=_limit) as pool:
            pool.map(_warm, [weights, weights], chunksize=1)
            began = time.monotonic()
            spent = pool.starmap(
                _draw,
                [(weights, profiles[:size], seed) for seed in (0, 1)],
                chunksize=1,
            )
            seconds = time.monotonic() - began
            peaks.append(max(peak for peak, _ in spent))
    busy = sum(cpu for _, cpu in spent)
    yield Row("seconds for 10,000 x 48 h", name, 0, seconds * 10_000 / count, None, SPEED)
    yield Row("CPU seconds of each of the two", name, 0, busy / 2 * 10_000 / count)
    yield Row("peak memory, 10 times as many", name, 0, peaks[1] / peaks[0], None, 1.15)


def _limit() -> None:
    import torch

    torch.set_num_threads(1)


def _warm(weights: Weights) -> None:
    drawn(weights, [PatientProfile("warm")], 0)


def _draw(weights: Weights, profiles: Sequence[PatientProfile], seed: int) -> tuple[int, float]:
    """Draw and forget; peak memory of this process, in kB, and its CPU seconds."""
    import resource

    began = time.process_time()
    for start in range(0, len(profiles), 640):
        drawn(weights, profiles[start : start + 640], seed, hours=48)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time() - began


def _refining(weights: Weights) -> Weights:
    """The same, their refiner in use."""
    model = {**weights.card.model, "refines": True}
    return Weights(weights.tensors, weights.card.model_copy(update={"model": model}))


def main(arguments: Sequence[str] | None = None) -> int:
    """Print one table; how many bars were missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument(
        "--quick",
        action="store_true",
        help="one seed, classifiers on 1,500 stays a side",
    )
    parser.add_argument("--only", choices=("ours", "refiner", "private", "speed"), default="ours")
    parser.add_argument("--weights", type=Path, help="a file in place of the shipped weights")
    parser.add_argument("--seeds", nargs="+", type=int, help="in place of 0 and 1")
    options = parser.parse_args(arguments)
    seeds = options.seeds or ((0,) if options.quick else (0, 1))
    if options.only == "private":
        weights = {f"epsilon {w.card.epsilon:.3g}": w for w in (load_weights(find(name)) for name in PRIVATE)}
    else:
        ours = load_weights(options.weights or find("vitals"))
        weights = {"ours": ours, "refined": _refining(ours)}
    print(
        f"{'figure':34}{'generator':22}{'seed':>5}{'value':>9}{'floor':>9}{'bar':>9}  verdict",
        flush=True,
    )
    if options.only == "speed":
        train = Cohort.read(options.data, "train")
        made = (row for name, own in weights.items() for row in _speed(name, own, train, options.quick))
    else:
        made = rows(options.data, options.quick, options.only, weights, seeds)
    missed = 0
    for row in made:
        print(row, flush=True)
        missed += row.missed
    return missed


if __name__ == "__main__":
    sys.exit(int(main() > 0))
