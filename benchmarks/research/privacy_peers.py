"""Peers beside us: the same attacks and the same scores on each, one row a generator and a kind of record.

A plain copula, a nearest-neighbour copier, tsgm's BetaVAE (vitals) and NeuroKit2 (ECGs), each taught on the members,
who are the training rows that the attacks look at, and of as many records as ours. NeuroKit2 learns from nobody: of
the members it takes heart rates alone. tsgm is an extra whose row reads "not measured" where it is not installed.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray
from privacy_arms import Real, copula, faulty, of_inputs

from polyclinic import Record
from polyclinic.core.modality import Modality, TrainingSet
from polyclinic.eval.attacks.attack import attack
from polyclinic.eval.gate import CHANCE
from polyclinic.eval.report.report import score
from polyclinic.eval.sample import Sample, collect, real_rows

Values = NDArray[np.float64]
HOURS = 24
UNKNOWN = -1.0  # a label that is not known, as a number
EPOCHS = (20, 5)  # of tsgm's model: whole, quick
NOT_MEASURED = "not measured"
HEAD = (
    f"{'record':24}{'generator':20}{'KS':>6}{'C2ST':>11}{'TSTR':>8}{'highest attack':>30}{'AUC':>7}"
    f"{'range':>14}{'exact':>7}{'near':>6}"
)


def peers(
    real: Real, modality: Modality, train: TrainingSet, ours: Sample, quick: bool
) -> Iterator[tuple[str, Callable[[], Sample] | str]]:
    """(name, how to make its cohort, or why there is none) of each peer that makes this kind of record."""
    rng = np.random.default_rng(9)
    values = real.train.inputs.to_numpy(np.float64)
    rows = rng.integers(len(values), size=len(ours))
    yield "plain copula", lambda: _copula(real, values, rows, ours, rng)
    yield "nearest-neighbour copier", faulty(real, ours, seed=9)["neighbour copier"]
    if real.view.needs == "ecg":
        yield "NeuroKit2", lambda: _neurokit(real, modality, train, ours)
    if real.view.needs == "vitals":
        why = "tsgm is not installed"
        yield (
            "tsgm BetaVAE",
            (lambda: _tsgm(real, modality, train, ours, quick)) if find_spec("tsgm") else why,
        )


def _copula(
    real: Real, values: Values, rows: NDArray[np.int64], ours: Sample, rng: np.random.Generator
) -> Sample:
    """Of measurements and labels together, so that it may teach something."""
    labels = np.stack([np.nan_to_num(own, nan=UNKNOWN) for own in real.train.labels.values()], axis=1)
    drawn = copula(np.concatenate([values, labels], axis=1), len(rows), rng)
    made = of_inputs(real, drawn[:, : values.shape[1]], rows, ours.profiles)
    told = np.where(drawn == UNKNOWN, np.nan, drawn)[:, values.shape[1] :]
    return replace(made, labels=dict(zip(real.train.labels, told.T, strict=True)))


def _members(modality: Modality, train: TrainingSet, needs: str) -> list[Record]:
    return [record for _, record in real_rows(modality, [train], 0) if needs in record.arrays]


def _neurokit(real: Real, modality: Modality, train: TrainingSet, ours: Sample) -> Sample:
    from signals_ecg_peers import neurokit

    rates = [r.facts.get("heart_rate", 75.0) for r in _members(modality, train, "ecg")]
    rng = np.random.default_rng(9)
    records, _ = neurokit([float(rates[i]) for i in rng.integers(len(rates), size=len(ours))], 9)
    return _seen(real, ours, records)


def _tsgm(real: Real, modality: Modality, train: TrainingSet, ours: Sample, quick: bool) -> Sample:
    from signals_tsgm import betavae

    stays = [r.arrays["vitals"] for r in _members(modality, train, "vitals")]
    full = np.stack([stay[:HOURS] for stay in stays if len(stay) >= HOURS]).astype(np.float32)
    drawn = betavae(full, len(ours), 9, epochs=EPOCHS[quick])
    return _seen(real, ours, [Record({"vitals": stay}) for stay in drawn])


def _seen(real: Real, ours: Sample, records: list[Record]) -> Sample:
    (found,) = collect([real.view], list(zip(ours.profiles, records, strict=True)))
    assert found is not None
    return found


def compared(real: Real, name: str, synthetic: Sample | str) -> None:
    """Print one row."""
    title = f"{real.view.title[:23]:24}{name[:19]:20}"
    if isinstance(synthetic, str):
        print(f"{title}{NOT_MEASURED}: {synthetic}", flush=True)
        return
    found = score(real.view, synthetic, real.train, real.test, None, 0)
    by_metric = {s.metric: s for s in found.scores if s.task is None}
    shares = [
        (s.value - CHANCE) / (s.real_baseline_interval[0] - CHANCE)
        for s in found.scores
        if s.metric == "tstr_auroc"
        and s.value is not None
        and s.real_baseline_interval
        and s.real_baseline_interval[0] > CHANCE
    ]
    privacy = attack({real.modality: [real.against(synthetic)]})
    top, (copied,) = privacy.strongest, privacy.memorization
    assert top is not None
    assert top.interval is not None
    low, high = top.interval
    print(
        f"{title}{_cell(by_metric['ks'].value):>6}{_cell(by_metric['c2st_auc'].value):>11}"
        f"{_cell(float(np.mean(shares)) if shares else None):>8}{top.title.partition(': ')[2][-29:]:>30}{top.auc:7.3f}"
        f"{f'{low:.2f} to {high:.2f}':>14}{copied.exact:7}{copied.near:6}",
        flush=True,
    )


def _cell(value: float | None) -> str:
    return "n. m." if value is None else f"{value:.2f}"
