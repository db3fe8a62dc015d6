"""Train the critic: classifiers of real against drawn traces, crossed over patients, told to a line in scores."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from ....core.config import Settings
from ....core.critic import Critic
from ....core.modality import Conditioner, Record
from ....core.profile import PatientProfile, seed_for
from ....core.training.weights import Weights
from ....core.types import BoolArray, FloatArray, IntArray
from ..metrics import ecg_features
from .sampler import EcgSampler

if TYPE_CHECKING:
    from pandas import DataFrame

FOLDS = 4
ROUNDS = 5  # choices that are judged


class CriticTraining(Settings):
    """Draws a training record; inverse penalty of the classifier; penalty of the line in scores that learns from it."""

    draws: int = Field(default=4, ge=2, le=64)
    inverse_penalty: float = Field(default=0.02, gt=0)
    ridge: float = Field(default=100.0, gt=0)


@dataclass(frozen=True)
class Traces:
    """Features (record, feature) of real records, whose they are, and the place of their device."""

    features: "DataFrame"
    profiles: Sequence[PatientProfile]
    devices: Sequence[int]


@dataclass(frozen=True)
class _Drawn:
    """Draws for each profile: scores (draw, profile, score) and features (draw, profile, feature)."""

    scores: FloatArray
    features: FloatArray


def train_critic(
    prior: Weights, real: Traces, conditioner: Conditioner, settings: CriticTraining, seed: int
) -> tuple[Critic | None, dict[str, float]]:
    """The critic, or None where it does not help, and the AUCs that say so.

    For each fold of patients a classifier that learnt from the other patients and their draws says how real this
    fold's draws look; a line in the draws' scores learns that, so that no trace is needed to choose. On the first fold
    of patients, of whom neither classifiers nor line know, a forest judges real records against draws as they come and
    against those that are chosen.
    """
    drawn = _drawn(prior, real, conditioner, settings.draws, seed)
    shown = real.features.to_numpy(dtype=np.float64)
    fold = _folds(real.profiles, real.devices, seed)
    held = fold == 0
    trial = _line(drawn.scores[:, ~held], _ratios(shown, drawn, fold, ~held, settings)[:, ~held], settings)
    before, after = [], []
    for k in range(ROUNDS):
        random, at = np.random.default_rng([seed, k]), np.flatnonzero(held)
        first = random.integers(settings.draws, size=len(at))
        chosen = [trial.choose(random, drawn.scores[:, i]) for i in at]
        before.append(_auc(shown[held], drawn.features[first, at], seed + k))
        after.append(_auc(shown[held], drawn.features[chosen, at], seed + k))
    found = {
        "validation_auc_prior": round(float(np.mean(before)), 3),
        "validation_auc_chosen": round(float(np.mean(after)), 3),
    }
    if np.mean(after) >= np.mean(before):
        return None, found
    everyone = np.ones_like(held)
    return _line(drawn.scores, _ratios(shown, drawn, fold, everyone, settings), settings), found


def _drawn(prior: Weights, real: Traces, conditioner: Conditioner, draws: int, seed: int) -> _Drawn:
    own = tuple(real.profiles)
    code = conditioner.encode(own)
    names = prior.card.model["recorders"]
    samplers = [EcgSampler(prior, conditioner.columns, name) for name in names]
    scores, features = [], []
    for k in range(draws):
        records: list[Record] = []
        for i, (profile, device) in enumerate(zip(own, real.devices, strict=True)):
            sampler = samplers[device]
            source = sampler.source(
                profile, code[i], seed_for(seed, f"{profile.patient_id}/{i}/{k}", "critic")
            )
            assert source.morphology.scores is not None
            scores.append(source.morphology.scores)
            records.append(sampler.record(profile, source))
        features.append(ecg_features(records)[list(real.features)].to_numpy(dtype=np.float64))
    return _Drawn(np.reshape(scores, (draws, len(own), -1)), np.stack(features))


def _folds(profiles: Sequence[PatientProfile], devices: Sequence[int], seed: int) -> IntArray:
    """(record,) the fold of its patient."""
    whose = [(device, profile.patient_id) for device, profile in zip(devices, profiles, strict=True)]
    patients = sorted(set(whose))
    order = np.random.default_rng(seed).permutation(len(patients))
    place = {patient: int(order[i]) % FOLDS for i, patient in enumerate(patients)}
    return np.array([place[patient] for patient in whose])


def _ratios(
    real: FloatArray, drawn: _Drawn, fold: IntArray, of: BoolArray, settings: CriticTraining
) -> FloatArray:  # fmt: skip
    """(draw, profile) log odds that a draw is real, for the records `of`, by classifiers of their other folds."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    out = np.zeros(drawn.scores.shape[:2])
    count = len(out)
    for place in np.unique(fold[of]):
        learnt, judged = of & (fold != place), of & (fold == place)
        rows = np.concatenate([real[learnt], drawn.features[:, learnt].reshape(-1, real.shape[1])])
        label = np.repeat([1, 0], [int(learnt.sum()), int(learnt.sum()) * count])
        line = LogisticRegression(C=settings.inverse_penalty, class_weight="balanced", max_iter=500)
        classifier = make_pipeline(StandardScaler(), line).fit(rows, label)
        seen = drawn.features[:, judged].reshape(-1, real.shape[1])
        out[:, judged] = classifier.decision_function(seen).reshape(count, -1)
    return out


def _line(scores: FloatArray, ratios: FloatArray, settings: CriticTraining) -> Critic:
    """The line that tells log ratios (draw, profile) by scores (draw, profile, score)."""
    rows = scores.reshape(-1, scores.shape[-1])
    middle, spread = rows.mean(0), rows.std(0) + 1e-9
    x, y = (rows - middle) / spread, ratios.ravel() - ratios.mean()
    weight = np.linalg.solve(x.T @ x + settings.ridge * np.eye(x.shape[1]), x.T @ y)
    layer = (weight[None].astype(np.float32), np.zeros(1, dtype=np.float32))
    return Critic((layer,), middle.astype(np.float32), spread.astype(np.float32))


def _auc(real: FloatArray, drawn: FloatArray, seed: int) -> float:
    """AUC of a forest, five folds, as many of one as of the other."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    label = np.repeat([0, 1], [len(real), len(drawn)])
    forest = RandomForestClassifier(150, min_samples_leaf=2, random_state=seed)
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    rows = np.concatenate([real, drawn])
    seen = cross_val_predict(forest, rows, label, cv=folds, method="predict_proba")[:, 1]
    return float(roc_auc_score(label, seen))
