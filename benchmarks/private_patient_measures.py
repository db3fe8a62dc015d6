"""What is measured on linked patients: utility, the link, re-linking, and membership by one modality and by all."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from private_attacks_signals import of_hearts, of_tumours
from private_patient_recipe import FRESH, HEART, MODALITIES, Released, tumours
from private_patient_world import (
    ENCODER,
    HOURS,
    ILL,
    LABELS,
    LATTICE,
    STRATUM,
    Patients,
    Values,
)
from scipy.spatial.distance import cdist
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from polyclinic.conditioning.table.table_model import TableModel
from polyclinic.core.condition import select
from polyclinic.eval.attacks.attack_result import tpr_at_false_alarms
from polyclinic.eval.attacks.linkability import Pair
from polyclinic.eval.attacks.linkability import scores as relinked
from polyclinic.modalities.imaging.gaussian_prior import GaussianPrior
from polyclinic.modalities.signals.vitals.chart_model import ChartModel
from polyclinic.modalities.signals.vitals.chart_statistics import placed
from polyclinic.modalities.signals.vitals.stay_features import feature_edges, features_of

TASK = "ill"
ASKED = 2500  # members, controls and synthetic patients whom re-linking compares
AXES = 20  # principal axes in which it does


def taught(people: Patients, view: str, label: str) -> Pipeline:
    """A logistic regression of a label on one modality's numbers."""
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=300))
    return model.fit(people.views[view], people.labels[label])


def scored(model: Pipeline, people: Patients, view: str) -> Values:
    """(patient,) log-odds."""
    return np.asarray(model.decision_function(people.views[view]))


def auroc(model: Pipeline, people: Patients, view: str, label: str) -> float:
    """Of the model's scores for that label."""
    return float(roc_auc_score(people.labels[label], scored(model, people, view)))


@dataclass(frozen=True)
class Judge:
    """Models of real patients who are in no training: one a modality and label."""

    models: Mapping[tuple[str, str], Pipeline]

    @classmethod
    def of(cls, people: Patients) -> "Judge":
        """Taught by these."""
        return cls({(view, label): taught(people, view, label) for view in MODALITIES for label in LABELS})

    def recovery(self, people: Patients, view: str) -> dict[str, float]:
        """AUROC of each label, read from one modality."""
        return {label: auroc(self.models[view, label], people, view, label) for label in LABELS}

    def together(self, people: Patients) -> dict[tuple[str, str], float]:
        """How far two modalities agree on illness: AUROC of one's score for the other's being above its median."""
        own = {view: scored(self.models[view, TASK], people, view) for view in MODALITIES}
        return {
            (a, b): float(roc_auc_score(own[b] > np.median(own[b]), own[a]))
            for a, b in combinations(MODALITIES, 2)
        }


def tstr(synthetic: Patients, test: Patients) -> dict[str, float]:
    """AUROC of illness on test patients, of a model that these taught; by modality."""
    return {view: auroc(taught(synthetic, view, TASK), test, view, TASK) for view in MODALITIES}


# -- re-linking


def relinking(inside: Patients, outside: Patients, synthetic: Patients) -> dict[tuple[str, str], float]:
    """Share of members at 1 % false alarms whose two records lead to one synthetic patient, by pair of modalities."""
    groups = [own.at(np.arange(min(ASKED, len(own)))) for own in (inside, outside, synthetic)]
    near = {view: _distances(*(own.views[view] for own in groups)) for view in MODALITIES}
    member = np.repeat([True, False], [len(groups[0]), len(groups[1])])
    found = {}
    for a, b in combinations(MODALITIES, 2):
        score = relinked(Pair((near[a], near[b]), member))
        score = score + 1e-6 * np.random.default_rng(0).random(len(score))  # ranks tie
        found[a, b] = tpr_at_false_alarms(score[member], score[~member])[0] or 0.0
    return found


def _distances(inside: Values, outside: Values, synthetic: Values) -> Values:
    """(real patient, synthetic patient) in the real ones' leading principal axes."""
    real = np.concatenate([inside, outside])
    spread = real.std(0) + 1e-9
    axes = np.linalg.svd((real - real.mean(0)) / spread, full_matrices=False)[2][:AXES] / spread
    return cdist((real @ axes.T).astype(np.float32), (synthetic @ axes.T).astype(np.float32)).astype(
        np.float32
    )


# -- membership


def likelihoods(released: Released, people: Patients) -> dict[str, Values]:
    """(patient,) of each modality: how likely the weights make the record. Whoever holds the weights can compute it."""
    code = select(ENCODER.encode(people.profiles), ENCODER.columns, [*HEART, *FRESH]).astype(np.float64)
    return {
        "profile": of_table(released.profile, people),
        "image": of_image(released.image, people),
        "ecg": of_hearts(released.ecg, people.ecg, code)[:, 0],
        "vitals": of_charts(released.vitals[0], people),
        "omics": of_tumours(released.omics, tumours(people))[:, 0],
    }


def jointly(target: Mapping[str, Values], shadow: Mapping[str, Values]) -> dict[str, Values]:
    """Scores of membership by each modality, less a shadow's of other people, and by all together."""
    own = {name: target[name] - shadow[name] for name in target}
    return own | {"all together": np.sum([(x - x.mean()) / (x.std() + 1e-12) for x in own.values()], axis=0)}


def of_image(prior: GaussianPrior, people: Patients) -> Values:
    """Log-density of the coarse image in its stratum."""
    place = {value: i for i, value in enumerate(prior.values)}
    kind = np.array(
        [place[p.traits[STRATUM] if prior.by == STRATUM else p.has(ILL)] for p in people.profiles]
    )
    out = np.empty(len(people))
    for i in np.unique(kind):
        away = people.image[kind == i] - prior.line[i, :, -1]
        free = np.linalg.solve(prior.root[i], away.T)
        out[kind == i] = -0.5 * np.square(free).sum(0) - np.linalg.slogdet(prior.root[i])[1]
    return out


def of_charts(model: ChartModel, people: Patients) -> Values:
    """Log-shares of the bins that the stay's features lie in, as if features were independent."""
    edges = feature_edges(LATTICE, HOURS)
    features = features_of(people.vitals, people.length, LATTICE)
    place = placed(features, edges)
    shares = np.diff(model.below, axis=1)
    each = np.log(np.take_along_axis(shares, place.T, axis=1).T + 1e-6)
    return np.where(features.known, each, 0.0).sum(1)


def of_table(model: TableModel, people: Patients) -> Values:
    """Log-probability of the row's levels."""
    codes = np.empty((len(people), len(model.columns)), dtype=np.int64)
    for k, column in enumerate(model.columns):
        values = people.table[column.name]
        if column.kind == "number":
            codes[:, k] = np.searchsorted(column.edges, values, "right").clip(1, len(column.levels)) - 1
        elif column.kind == "condition":
            codes[:, k] = values.astype(int)
        else:
            codes[:, k] = values.map(list(column.levels).index)
    groups = np.column_stack([m.group[codes[:, k]] for k, m in enumerate(model.graphical.merges)])
    out = np.zeros(len(people))
    for step in model.given().steps:
        at = np.zeros(len(people), dtype=np.int64)
        for parent, size in zip(step.parents, step.sizes, strict=True):
            at = at * size + groups[:, parent]
        shares = np.diff(step.cumulative, axis=1, prepend=0.0) / step.cumulative[:, -1:]
        out += np.log(shares[at, groups[:, step.column]] + 1e-9)
    return out
