"""Train the ECG model, publicly or under a budget: take records apart, and fit the law of hearts."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from torch import Tensor

from ....core.condition import columns_of, select
from ....core.config import Settings, parse
from ....core.errors import InputError
from ....core.modality import Conditioner, Record, TrainingSet
from ....core.profile import PatientProfile
from ....core.training.fit import Fit
from ....core.training.weights import Weights
from ....core.types import FloatArray, IntArray
from ..cards import card
from ..data import read_ecgs
from ..layout import INDEPENDENT, RATE
from .beats import Decomposed, decompose, padded
from .ectopic import EctopicLaw, cut
from .morphology import Heart, HeartLaw, HeartSpace
from .noise import measure
from .private import adapt
from .rhythm import SINUS, Beat, Variability
from .sampler import RHYTHMS, VENTRICULAR_EARLY, EcgModel
from .trace import strip

KIND = "copula of registered beats and noise"


class EcgTraining(Settings):
    """How strongly the line from profile to scores is held to 0 (in patients), and correlations to none."""

    ridge: float = 8.0
    shrink: float = 0.05


def usable(record: Record) -> bool:
    """Whether beats were found often enough to tell what they have in common."""
    return 25 < record.facts["heart_rate"] < 220 and record.facts["beats"] >= 5


@dataclass(frozen=True)
class _Taken:
    """Usable records of all sets, taken apart, with their profiles and the place of their set."""

    parts: list[Decomposed]
    profiles: list[PatientProfile]
    recorder: list[int]


def _take(data: Sequence[TrainingSet]) -> _Taken:
    taken = _Taken([], [], [])
    for place, part in enumerate(data):
        for record, profile in zip(read_ecgs(part), part.profiles, strict=True):
            if usable(record):
                taken.parts.append(
                    decompose(record.arrays["ecg"][list(INDEPENDENT)], record.arrays["r_peaks"])
                )
                taken.profiles.append(profile.but(measurements=record.facts["baseline"]))
                taken.recorder.append(place)
    return taken


def train_ecg(
    data: Sequence[TrainingSet], conditioner: Conditioner, network: Mapping[str, Any],
    training: Mapping[str, Any], how: Fit, init: Weights | None = None,
) -> Weights:  # fmt: skip
    """Take records apart into beats and noise, and fit the law of hearts, of early beats and of intervals.

    Each data set is a recorder with a look of its own: one column each joins the profile's code. Under a budget the
    law of `init`, learnt from public records, is moved to these patients; early beats and intervals stay those of
    `init`.
    """
    began = time.monotonic()
    shape = parse(EcgModel, dict(network), "model.network")
    settings = parse(EcgTraining, dict(training), "model.training")
    if how.budget is not None:
        return _train_private(data, conditioner, how, init, began)
    if init is not None:
        raise InputError("public ECG weights are learnt from scratch; leave out --init")
    taken = _take(data)
    parts, profiles = taken.parts, taken.profiles
    if len(parts) < 2 * max(shape.p, shape.qrs, shape.t, shape.noise):
        raise InputError(
            f"{len(parts)} records with regular beats: expected at least {2 * shape.qrs} for {shape.qrs} components; "
            "add records, or lower model.network"
        )
    columns = columns_of(conditioner.columns, ["heart_rate", *(f for part in data for f in part.fields)])
    code = select(conditioner.encode(profiles), conditioner.columns, columns)
    beats, noises = [part.beat for part in parts], [measure(part) for part in parts]
    counts = {"p": shape.p, "qrs": shape.qrs, "t": shape.t, "noise": shape.noise}
    space = HeartSpace.of(beats, noises, counts)
    scores = space.scores(beats, noises)
    again = [
        decompose(*_redrawn(part, space.heart(row), how.seed + i))
        for i, (part, row) in enumerate(zip(parts, scores, strict=True))
    ]
    law = HeartLaw.fit(
        space, scores, space.scores([part.beat for part in again], [measure(part) for part in again]),
        np.concatenate([code, np.eye(len(data), dtype=np.float32)[taken.recorder]], axis=1),
        settings.ridge, settings.shrink,
    )  # fmt: skip
    early = [
        beat
        for part, profile in zip(parts, profiles, strict=True)
        if profile.has(VENTRICULAR_EARLY)
        for beat in cut(part)
    ]
    ectopic = EctopicLaw.fit(early)
    rhythm = Variability.fit(
        [np.rint(part.peaks).astype(np.int64) for part in parts], RATE,
        np.array([np.nan if p.age is None else p.age for p in profiles]), [_rhythm(p) for p in profiles],
    )  # fmt: skip
    own = card(
        KIND, "ecg", data, len(parts), time.monotonic() - began, columns,
        {
            "network": shape.model_dump(), "rhythm": asdict(rhythm),
            "recorders": [part.source.name for part in data], "knows": [list(part.fields) for part in data],
        },
        {"records": float(len(parts)), "early_beats": float(len(early))},
    )  # fmt: skip
    return Weights(_stored(law.tensors() | ({} if ectopic is None else ectopic.tensors())), own)


def _rhythm(profile: PatientProfile) -> str:
    """Of a record that may have been read as having two: the first."""
    return next((name for code, name in RHYTHMS.items() if profile.has(code)), SINUS)


def _stored(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Bases in half precision, as they are many numbers of which none needs more."""
    return {name: tensor.half() if tensor.numel() > 4096 else tensor for name, tensor in tensors.items()}


def _train_private(
    data: Sequence[TrainingSet], conditioner: Conditioner, how: Fit, init: Weights | None, began: float
) -> Weights:
    if init is None or "recorders" not in init.card.model:
        raise InputError("ECGs under a budget start from public ECG weights: add --init ecg")
    if how.resume:
        raise InputError("private ECG training takes seconds and keeps no checkpoint; leave out --resume")
    taken = _take(data)
    code = select(conditioner.encode(taken.profiles), conditioner.columns, init.card.columns)
    law, rest = HeartLaw.of(init.tensors), len(init.card.model["recorders"])
    columns = len(init.card.columns)
    line = np.concatenate(
        [law.line[: columns + 1], law.line[columns + rest :]]
    )  # one recorder: theirs, like the first
    law = replace(law, line=line)
    beats, noises = [part.beat for part in taken.parts], [measure(part) for part in taken.parts]
    law, spent = adapt(
        law, law.space.scores(beats, noises), np.concatenate([code, np.ones((len(code), 1))], axis=1),
        [profile.patient_id for profile in taken.profiles], how, "+".join(part.source.name for part in data),
    )  # fmt: skip
    kept = {name: tensor for name, tensor in init.tensors.items() if name.startswith("ectopic.")}
    name = "+".join(part.source.name for part in data)
    own = card(
        f"{KIND}, private moments on a public law", "ecg", data, 2, time.monotonic() - began, init.card.columns,
        {**init.card.model, "recorders": [name], "knows": [sorted({f for part in data for f in part.fields})]},
        {}, spent, init.card.data,
    )  # fmt: skip
    return Weights(_stored(law.tensors()) | kept, own)


def _redrawn(part: Decomposed, heart: Heart, seed: int) -> tuple[FloatArray, IntArray]:
    """A record drawn from the heart of another, with its beats, and their R peaks in samples."""
    full, intervals = padded(part.peaks)
    ahead = full[-1] + np.arange(1, 40) * intervals[-1] * RATE
    times = np.concatenate([full, ahead]) / RATE
    beats = (Beat(float(a), float(b - a)) for a, b in pairwise(times))
    drawn, _ = strip(np.random.default_rng(seed), heart, beats, part.fitted.shape[1])
    return drawn, np.rint(part.peaks).astype(np.int64)
