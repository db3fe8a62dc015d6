"""Train the ECG model, publicly or under a budget: decompose records, and fit the morphology model."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from pandas import DataFrame
from torch import Tensor

from ....core.condition import columns_of, field_of, select
from ....core.config import Settings, parse
from ....core.errors import InputError
from ....core.fields import SHIPPED
from ....core.modality import Conditioner, Record, TrainingSet
from ....core.profile import PatientProfile
from ....core.remarks import remark
from ....core.training.fit import Fit
from ....core.training.weights import Weights
from ....core.types import FloatArray, IntArray
from ..data import card
from ..layout import RATE, SINUS
from ..leads import Leads, in_order, noted
from ..metrics import ecg_features
from .beats import Decomposed, decompose, padded
from .critic_training import CriticTraining, Traces, train_critic
from .ectopic import EctopicModel, cut
from .morphology import Morphology, MorphologyModel, MorphologySpace
from .noise import measure
from .private import adapt
from .restriction import restricted
from .rhythm import Beat, Variability
from .sampler import PVC, RHYTHMS, EcgModel
from .trace import blocks, first_samples
from .windows import leads_of_folder, windows

KIND = "Gaussian copula of time-aligned beats and noise"
LEAST = 40  # patients of a private training, and of a critic's


class EcgTraining(Settings):
    """Ridge penalty (in patients) of the regression on the profile, and shrinkage of correlations to none.

    With `critic`, a critic is trained against the fitted model's draws.
    """

    ridge: float = 8.0
    shrink: float = 0.05
    critic: CriticTraining | None = None


def usable(record: Record) -> bool:
    """Whether beats were found often enough to tell what they have in common."""
    return 25 < record.facts["heart_rate"] < 220 and record.facts["beats"] >= 5


@dataclass(frozen=True)
class Records:
    """Usable records of all sets, decomposed, in leads that all have; their profiles and the place of their set.

    `features` has a row of what critics see of each, if asked for.
    """

    leads: Leads

    parts: list[Decomposed]
    profiles: list[PatientProfile]
    devices: list[int]
    features: list[DataFrame]

    @classmethod
    def of(cls, data: Sequence[TrainingSet], featured: bool = False) -> "Records":
        leads = _shared([leads_of_folder(part) for part in data])
        out, unusable = cls(leads, [], [], [], []), 0
        for place, part in enumerate(data):
            asked = replace(part, options={**part.options, "leads": leads.names})
            for profile, record in windows(asked):
                if not usable(record):
                    unusable += 1
                    continue
                out.parts.append(decompose(leads.free_of(record.arrays["ecg"]), record.arrays["r_peaks"]))
                out.profiles.append(profile.but(measurements=record.facts["baseline"]))
                out.devices.append(place)
                if featured:
                    out.features.append(ecg_features([record]))
        if unusable:
            remark(
                f"{unusable} of {unusable + len(out.parts)} ECGs: too few beats were found, so they are left out"
            )
        return out

    @property
    def patients(self) -> int:
        """How many different patients there are."""
        return len({(place, p.patient_id) for place, p in zip(self.devices, self.profiles, strict=True)})

    def require(self, least: int) -> None:
        """Raises InputError for fewer patients."""
        if self.patients < least:
            raise InputError(
                f"{self.patients} patients have an ECG whose beats were found: expected {least} or more; add patients"
            )

    def scored(self, space: MorphologySpace) -> FloatArray:
        """(record, score)."""
        return space.scores([part.beat for part in self.parts], [measure(part) for part in self.parts])


def train_ecg(
    data: Sequence[TrainingSet], conditioner: Conditioner, network: Mapping[str, Any],
    training: Mapping[str, Any], how: Fit, init: Weights | None = None,
) -> Weights:  # fmt: skip
    """Decompose records into beats and noise, and fit the models of morphology, premature beats and intervals.

    Each data set stands for an acquisition device: one column each joins the profile's code. Under a budget the
    morphology model of `init`, learnt from public records, is adapted to these patients; premature beats and intervals
    stay those of `init`.
    """
    began = time.monotonic()
    shape = parse(EcgModel, dict(network), "model.network")
    settings = parse(EcgTraining, dict(training), "model.training")
    if how.budget is not None:
        return _train_private(data, conditioner, network, how, init, began)
    if init is not None:
        raise InputError(
            f"--init {init.card.name}: public ECG weights are learnt from scratch; leave --init out"
        )
    records = Records.of(data, settings.critic is not None)
    parts, profiles = records.parts, records.profiles
    shape = shape.for_patients(records.patients)
    records.require(max(shape.patients_needed, 0 if settings.critic is None else LEAST))
    columns = columns_of(conditioner.columns, ["heart_rate", *(f for part in data for f in part.fields)])
    code = select(conditioner.encode(profiles), conditioner.columns, columns)
    counts = {"p": shape.p, "qrs": shape.qrs, "t": shape.t, "noise": shape.noise}
    beats, noises = [part.beat for part in parts], [measure(part) for part in parts]
    space = MorphologySpace.of(beats, noises, counts)
    scores = space.scores(beats, noises)
    redrawn = [
        decompose(*_redrawn(part, space.morphology(row), how.seed + i))
        for i, (part, row) in enumerate(zip(parts, scores, strict=True))
    ]
    model = MorphologyModel.fit(
        space, scores, space.scores([part.beat for part in redrawn], [measure(part) for part in redrawn]),
        np.concatenate([code, np.eye(len(data), dtype=np.float32)[records.devices]], axis=1),
        settings.ridge, settings.shrink,
    )  # fmt: skip
    early = [
        beat for part, profile in zip(parts, profiles, strict=True) if profile.has(PVC) for beat in cut(part)
    ]
    ectopic = EctopicModel.fit(early)
    rhythm = Variability.fit(
        [np.rint(part.peaks).astype(np.int64) for part in parts], RATE,
        np.array([np.nan if p.age is None else p.age for p in profiles]), [_rhythm(p) for p in profiles],
    )  # fmt: skip
    about = card(
        KIND, "ecg", data, len(parts), time.monotonic() - began, columns,
        {
            "network": shape.model_dump(), "rhythm": asdict(rhythm),
            "recorders": [part.source.name for part in data], "knows": [list(part.fields) for part in data],
            **noted(records.leads), **_shares(data, profiles),
        },
        {"records": float(len(parts)), "early_beats": float(len(early))},
    )  # fmt: skip
    prior = Weights(_halved(model.tensors() | ({} if ectopic is None else ectopic.tensors())), about)
    if settings.critic is None:
        return prior
    return _with_critic(prior, records, conditioner, settings.critic, how.seed, began)


def _with_critic(
    prior: Weights, records: Records, conditioner: Conditioner, settings: CriticTraining, seed: int, began: float
) -> Weights:  # fmt: skip
    """The weights with a critic that chooses among their proposals, if that helps on validation patients."""
    real = Traces(pd.concat(records.features).fillna(0.0), records.profiles, records.devices)
    critic, found = train_critic(prior, real, conditioner, settings, seed)
    before, after = found["validation_auc_prior"], found["validation_auc_chosen"]
    seen = f"a forest separates validation patients from draws with AUC {before:.3f}, from chosen ones {after:.3f}"
    if critic is None:
        remark(f"the critic does not help: {seen}; the prior draws alone")
        return prior
    kind = f"{KIND}, chosen by a critic"
    about = prior.card.model_copy(
        update={
            "kind": kind, "seconds": round(time.monotonic() - began), "figures": {**prior.card.figures, **found},
        }
    )  # fmt: skip
    return Weights({**prior.tensors, **critic.tensors()}, about)


def _shared(folders: Sequence[Leads]) -> Leads:
    """The leads of all folders. Raises InputError where they have none in common."""
    shared = [name for name in folders[0].names if all(name in leads.names for leads in folders)]
    if not shared:
        each = "; ".join(", ".join(leads.names) for leads in folders)
        raise InputError(f"the data sets have no lead in common: {each}")
    return in_order(shared)


def _rhythm(profile: PatientProfile) -> str:
    """Of a record that may have been read as having two: the first."""
    return next((name for code, name in RHYTHMS.items() if profile.has(code)), SINUS)


def _halved(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Bases in half precision, as they are many numbers of which none needs more."""
    return {name: tensor.half() if tensor.numel() > 4096 else tensor for name, tensor in tensors.items()}


def _train_private(
    data: Sequence[TrainingSet], conditioner: Conditioner, network: Mapping[str, Any], how: Fit,
    init: Weights | None, began: float,
) -> Weights:  # fmt: skip
    if init is None or "recorders" not in init.card.model:
        got = "" if init is None else f", got {init.card.name} ({init.card.kind})"
        raise InputError(f"ECGs under a budget start from public ECG weights{got}: add --init ecg")
    given = init.card.model.get("network", network)
    if differ := [name for name in network if network[name] != given.get(name)]:
        expected, got = (", ".join(f"{n} {of.get(n)}" for n in differ) for of in (network, given))
        raise InputError(
            f"--init {init.card.name}: expected a network of {expected} (model.network), got {got}; a private "
            "training keeps the network of the public weights: leave model.network out"
        )
    if how.resume:
        raise InputError("private ECG training takes seconds and keeps no checkpoint; leave out --resume")
    records = Records.of(data)
    records.require(LEAST)
    vocabulary = SHIPPED.declare(init.card.declared, "weights")
    init = restricted(init, records.leads, conditioner, vocabulary, how.seed)
    columns, more = len(init.card.columns), _unknown(conditioner.columns, data, init.card.columns)
    known = [*init.card.columns, *more]
    fresh = [place for place, name in enumerate(known) if place >= columns and not name.endswith("?")]
    code = select(conditioner.encode(records.profiles), conditioner.columns, known)
    model = replace(MorphologyModel.of(init.tensors), critic=None)  # it knows other patients than these
    devices = len(init.card.model["recorders"])
    # of the devices only the first is kept: it stands for the hospital's
    model = replace(
        model, regression=np.delete(model.regression, range(columns + 1, columns + devices), axis=0)
    )
    model = replace(model, regression=np.insert(model.regression, [columns] * len(more), 0.0, axis=0))
    name = "+".join(part.source.name for part in data)
    model, spent = adapt(
        model, records.scored(model.space), np.concatenate([code, np.ones((len(code), 1))], axis=1),
        [profile.patient_id for profile in records.profiles], how, name, fresh,
    )  # fmt: skip
    kept = {name: tensor for name, tensor in init.tensors.items() if name.startswith("ectopic.")}
    about = card(
        f"{KIND}, private moments on a public model", "ecg", data, 2, time.monotonic() - began, known,
        {**init.card.model, **noted(records.leads), "recorders": [name],
         "knows": [sorted({f for part in data for f in part.fields})]},
        {}, spent, init.card.data,
    )  # fmt: skip
    return Weights(_halved(model.tensors()) | kept, about)


def _shares(data: Sequence[TrainingSet], profiles: Sequence[PatientProfile]) -> dict[str, dict[str, float]]:
    """What the card says of declared flags: the share of those who have it among those of whom it is known."""
    found = {}
    for flag in {f.name: f for part in data for f in part.vocabulary.declared if f.kind == "flag"}:
        known = [value for profile in profiles if (value := profile.get(flag)) is not None]
        if known:
            found[flag] = round(float(np.mean([bool(value) for value in known])), 4)
    return {"shares": found} if found else {}


def _unknown(columns: Sequence[str], data: Sequence[TrainingSet], before: Sequence[str]) -> list[str]:
    """Columns of fields that the data know and the weights to start from do not."""
    coded = set(map(field_of, before))
    return columns_of(columns, [name for part in data for name in part.fields if name not in coded])


def _redrawn(part: Decomposed, morphology: Morphology, seed: int) -> tuple[FloatArray, IntArray]:
    """A record of this morphology with the beats of another, and their R peaks in samples."""
    full, intervals = padded(part.peaks)
    ahead = full[-1] + np.arange(1, 40) * intervals[-1] * RATE
    times = np.concatenate([full, ahead]) / RATE
    beats = (Beat(float(a), float(b - a)) for a, b in pairwise(times))
    trace = blocks(np.random.default_rng(seed), morphology, beats)
    drawn, _ = first_samples(trace, part.fitted.shape[1])
    return drawn, np.rint(part.peaks).astype(np.int64)
