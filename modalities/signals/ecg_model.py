"""Train the ECG model, and draw 12-lead records from its weights."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ...core.condition import columns_of, select
from ...core.config import Settings, parse
from ...core.errors import InputError
from ...core.modality import Batch, Conditioner, Record, TrainingSet
from ...core.profile import PatientProfile
from ...core.train import Fit
from ...core.weights import Weights
from .beats import KNOTS, Decomposed, decompose, padded
from .cards import card
from .data import FREE, read_ecgs, twelve
from .ecg_private import adapt
from .ectopic import EctopicLaw, cut
from .export import RATE
from .heart import Heart, HeartLaw, HeartSpace
from .noise import measure
from .rhythm import ATRIAL, FIBRILLATION, SINUS, VENTRICULAR, Beat, Ectopy, Variability, draw_beats
from .trace import blocks, marks, strip

KIND = "copula of registered beats and noise"
AF, VENTRICULAR_EARLY, ATRIAL_EARLY = "I48.91", "I49.3", "I49.1"


class EcgModel(Settings):
    """How many principal components describe each wave's shape and the noise."""

    p: int = 16
    qrs: int = 32
    t: int = 20
    noise: int = 30
    seconds: float = 10.0


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
                taken.parts.append(decompose(record.arrays["ecg"][list(FREE)], record.arrays["r_peaks"]))
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
        np.array([np.nan if p.age is None else p.age for p in profiles]), np.array([p.has(AF) for p in profiles]),
    )  # fmt: skip
    own = card(
        KIND, "ecg", data, len(parts), time.monotonic() - began, columns,
        {"network": shape.model_dump(), "rhythm": asdict(rhythm), "recorders": [part.source.name for part in data]},
        {"records": float(len(parts)), "early_beats": float(len(early))},
    )  # fmt: skip
    return Weights(_stored(law.tensors() | ({} if ectopic is None else ectopic.tensors())), own)


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
        {**init.card.model, "recorders": [name]}, {}, spent, init.card.data,
    )  # fmt: skip
    return Weights(_stored(law.tensors()) | kept, own)


def _redrawn(part: Decomposed, heart: Heart, seed: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """A record drawn from the heart of another, with its beats, and their R peaks in samples."""
    full, intervals = padded(part.peaks)
    ahead = full[-1] + np.arange(1, 40) * intervals[-1] * RATE
    times = np.concatenate([full, ahead]) / RATE
    beats = (Beat(float(a), float(b - a)) for a, b in pairwise(times))
    drawn, _ = strip(np.random.default_rng(seed), heart, beats, part.fitted.shape[1])
    return drawn, np.rint(part.peaks).astype(np.int64)


class EcgSampler:
    """12-lead ECGs from trained weights, one row at a time, so that rows cannot touch each other."""

    def __init__(self, weights: Weights, columns: Sequence[str], recorder: str | None = None) -> None:
        self.card, self.columns = weights.card, columns
        self.shape = EcgModel(**weights.card.model["network"])
        self.rhythm = Variability(**weights.card.model["rhythm"])
        names = weights.card.model["recorders"]
        if recorder is not None and recorder not in names:
            raise InputError(f"signals.recorder: expected one of {', '.join(names)}, got {recorder!r}")
        self.recorder = np.eye(len(names), dtype=np.float32)[names.index(recorder) if recorder else 0]
        self.law, self.ectopic = HeartLaw.of(weights.tensors), EctopicLaw.of(weights.tensors)

    def sample(self, batch: Batch) -> list[Record]:
        """One record a row; see SignalsGenerator."""
        code = select(batch.condition, self.columns, self.card.columns)
        return [self._one(p, c, s) for p, c, s in zip(batch.profiles, code, batch.seeds, strict=True)]

    def stream(
        self, profile: PatientProfile, condition: NDArray[np.float32], seed: int
    ) -> Iterator[tuple[NDArray[np.float32], list[Beat]]]:
        """(12, 5000) mV and the beats in it, ten seconds after ten seconds without end; `sample` is how it begins."""
        code = select(condition[None], self.columns, self.card.columns)[0]
        rng, heart, beats, ventricular, _ = self._drawn(profile, code, seed)
        for block, inside in blocks(rng, heart, beats, ventricular):
            yield twelve(block), inside

    def _drawn(
        self, profile: PatientProfile, code: NDArray[np.float32], seed: int
    ) -> tuple[np.random.Generator, Heart, Iterator[Beat], NDArray[np.float64] | None, str]:
        rng = np.random.Generator(np.random.PCG64(seed))
        rhythm = FIBRILLATION if profile.has(AF) else SINUS
        usual = rng.normal(88, 15) if rhythm == FIBRILLATION else rng.normal(72, 12)
        rate = profile.measurements.get("heart_rate", float(np.clip(usual, 45, 140)))
        heart = self.law.draw(rng, np.concatenate([code, self.recorder]))
        if rhythm == FIBRILLATION:
            heart = without_p(heart)
        ectopy, ventricular = self._ectopy(rng, profile, heart)
        age = 60.0 if profile.age is None else profile.age
        beats = draw_beats(rng, rate, age, rhythm, self.rhythm, self.shape.seconds, ectopy)
        return rng, heart, beats, ventricular, rhythm

    def _ectopy(
        self, rng: np.random.Generator, profile: PatientProfile, heart: Heart
    ) -> tuple[Ectopy | None, NDArray[np.float64] | None]:
        share = {
            kind: float(rng.uniform(0.06, 0.25))
            for kind, code in ((VENTRICULAR, VENTRICULAR_EARLY), (ATRIAL, ATRIAL_EARLY))
            if profile.has(code)
        }
        if VENTRICULAR in share and self.ectopic is None:
            raise InputError(f"{VENTRICULAR_EARLY}: the ECG weights were trained without ventricular beats")
        shape = (
            self.ectopic.draw(rng, heart.beat) if VENTRICULAR in share and self.ectopic is not None else None
        )
        return (Ectopy(share) if share else None), shape

    def _one(self, profile: PatientProfile, code: NDArray[np.float32], seed: int) -> Record:
        rng, heart, beats, ventricular, rhythm = self._drawn(profile, code, seed)
        samples = int(self.shape.seconds * RATE)
        drawn, inside = strip(rng, heart, beats, samples, ventricular)
        peaks = np.array([min(round(beat.at * RATE), samples - 1) for beat in inside], dtype=np.int64)
        shown = float(60 * RATE / np.median(np.diff(peaks))) if len(peaks) > 2 else 0.0
        facts = {
            "heart_rate": round(shown, 1), "rhythm": rhythm, "beats": len(peaks),
            "kinds": "".join(beat.kind for beat in inside), "waves": [list(m) for m in marks(heart, inside, samples)],
        }  # fmt: skip
        return Record({"ecg": twelve(drawn), "r_peaks": peaks}, facts)


def without_p(heart: Heart) -> Heart:
    """The same heart whose atria fibrillate: a straight line in place of the P wave."""
    until = heart.marks[1] - 0.015
    before = until > KNOTS
    level = np.stack([np.interp(until, KNOTS, lead) for lead in heart.beat])
    line = np.clip((KNOTS[before] - KNOTS[0]) / (until - KNOTS[0]), 0, 1)
    beat = heart.beat.copy()
    beat[:, before] = level[:, None] * line
    return Heart(beat, heart.marks, heart.noise)
